"""Parts of the stack, built without the others and without a template, which is quick."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import aws_cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events_
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from bedrock_batch_monitor_cdk.alarms import Alarms
from bedrock_batch_monitor_cdk.config import MonitorConfig
from bedrock_batch_monitor_cdk.dashboard import Dashboard
from bedrock_batch_monitor_cdk.events import Events
from bedrock_batch_monitor_cdk.inbox import Inbox
from bedrock_batch_monitor_cdk.monitor import Monitor, PollSchedule
from bedrock_batch_monitor_cdk.multi_scope import multi_scope_of
from bedrock_batch_monitor_cdk.notifications import Notifications
from bedrock_batch_monitor_cdk.queue_target import build_queue
from bedrock_batch_monitor_cdk.record_errors import RecordErrors
from bedrock_batch_monitor_cdk.service import name_service
from bedrock_batch_monitor_cdk.tables import Tables
from bedrock_batch_monitor_cdk.widget import Widget
from tests.infra.conftest import ALL_KEYS, HOME

pytestmark = pytest.mark.xdist_group("template")

DEFAULT = MonitorConfig()
Resource = TypeVar("Resource", bound=aws_cdk.CfnResource)


class _Reader(Protocol):
    """A part with a function that reads a queue."""

    @property
    def queue(self) -> sqs.Queue:
        """The queue."""

    @property
    def function(self) -> lambda_.Function:
        """The function."""


class Parts:
    """What the parts need of each other, in a stack of its own."""

    def __init__(self, stack: aws_cdk.Stack, config: MonitorConfig) -> None:
        self.stack = stack
        self.config = config
        name_service(stack)
        self.tables = Tables(stack, "Tables", config, None)
        self.events = Events(stack, "Events", config, None, multi_scope_of(stack, config))

    def inbox(self) -> Inbox:
        """The inbox."""
        return Inbox(
            self.stack, "Inbox", config=self.config, tables=self.tables, events=self.events
        )

    def record_errors(self) -> RecordErrors:
        """The reading of results."""
        return RecordErrors(
            self.stack, "RecordErrors", config=self.config, tables=self.tables, events=self.events
        )

    def widget(self) -> Widget:
        """The function of the dashboard's widget."""
        return Widget(
            self.stack, "Widget", config=self.config, tables=self.tables, events=self.events
        )

    def monitor(self) -> Monitor:
        """The polls."""
        return Monitor(
            self.stack,
            "Monitor",
            config=self.config,
            tables=self.tables,
            events=self.events,
            topics={},
        )

    def alarms(self) -> Mapping[str, cloudwatch.CfnAlarm]:
        """The alarms by their id."""
        made = Alarms(
            self.stack,
            "Alarms",
            config=self.config,
            events=self.events,
            inbox=sqs.Queue(self.stack, "Queue"),
            dashboard_name="Dashboard",
        )
        return {alarm.node.id: only(alarm, cloudwatch.CfnAlarm) for alarm in made.alarms}

    def widgets_of_dashboard(self) -> list[dict[str, Any]]:
        """The widgets of the dashboard."""
        monitor = self.monitor()
        made = Dashboard(
            self.stack,
            "Overview",
            alarms=[],
            functions={"poll": monitor.function},
            # One of them, which is in the row of other graphs.
            queues={"dead letters": self.events.dead_letters},
            widget=self.widget().function,
            logs=[monitor.log_group],
            tables={"jobs": self.tables.jobs},
            poll_interval=aws_cdk.Duration.minutes(1),
            by_scope=True,
            shows_usage=True,
        )
        body = self.stack.resolve(only(made, cloudwatch.CfnDashboard).dashboard_body)
        [separator, parts] = body["Fn::Join"]
        text = separator.join(part if isinstance(part, str) else "token" for part in parts)
        widgets: list[dict[str, Any]] = json.loads(text)["widgets"]
        return widgets


def only(part: Construct, kind: type[Resource]) -> Resource:
    """The one resource of a kind in a part."""
    (found,) = (one for one in part.node.find_all() if isinstance(one, kind))
    return found


def timeout_of(function: lambda_.Function) -> float | None:
    """In seconds."""
    return only(function, lambda_.CfnFunction).timeout


@pytest.fixture
def parts() -> Callable[[MonitorConfig], Parts]:
    """What the parts of a configuration need."""

    def of(config: MonitorConfig) -> Parts:
        app = aws_cdk.App(context={"aws:cdk:bundling-stacks": []})
        return Parts(aws_cdk.Stack(app, "Stack", env=HOME), config)

    return of


MakeParts = Callable[[MonitorConfig], Parts]


def test_functions_of_a_few_calls_have_half_a_minute(parts: MakeParts) -> None:
    made = parts(ALL_KEYS)
    notifications = Notifications(
        made.stack, "Notifications", config=made.config, events=made.events
    )

    assert timeout_of(made.inbox().function) == 30
    assert timeout_of(made.widget().function) == 30
    assert timeout_of(notifications.function) == 30


@pytest.mark.parametrize(
    ("minutes", "seconds"), [(1, 55), (2, 115), (15, 895), (16, 900), (60, 900)]
)
def test_poll_ends_five_seconds_before_the_next(
    parts: MakeParts, minutes: int, seconds: int
) -> None:
    """Lambda allows 15 minutes."""
    made = parts(MonitorConfig(poll_interval_minutes=minutes))

    assert timeout_of(made.monitor().function) == seconds


def test_schedule_tries_a_poll_three_times_within_its_interval(parts: MakeParts) -> None:
    """The next poll does the work of one that did not start."""
    made = parts(MonitorConfig(poll_interval_minutes=7))
    schedule = PollSchedule(
        made.stack,
        "Poll",
        config=made.config,
        function=made.monitor().function,
        events=made.events,
    )
    target = made.stack.resolve(only(schedule, scheduler.CfnSchedule).target)

    assert target["retryPolicy"] == {"maximumEventAgeInSeconds": 420, "maximumRetryAttempts": 2}


def test_notifications_are_tried_three_times_within_six_hours(parts: MakeParts) -> None:
    """These are Lambda's own limits."""
    made = parts(MonitorConfig(notify_chat=True))
    notifications = Notifications(
        made.stack, "Notifications", config=made.config, events=made.events
    )
    invocations = only(notifications.function, lambda_.CfnEventInvokeConfig)

    assert invocations.maximum_retry_attempts == 2
    assert invocations.maximum_event_age_in_seconds == 6 * 3600


def test_message_is_hidden_until_its_invocation_has_ended(parts: MakeParts) -> None:
    """Lambda recommends six times the timeout; results that failed are read after 20 minutes."""
    made = parts(ALL_KEYS)

    def of(part: _Reader) -> tuple[float | None, float | None]:
        return timeout_of(part.function), only(part.queue, sqs.CfnQueue).visibility_timeout

    assert of(made.inbox()) == (30, 6 * 30)
    assert of(made.record_errors()) == (15 * 60, 20 * 60)


def test_functions_of_queues_run_twice_at_a_time(parts: MakeParts) -> None:
    """The inbox takes many messages at once, and results are read one job at a time."""
    made = parts(ALL_KEYS)

    def of(part: _Reader) -> tuple[float | None, Any]:
        source = only(part.function, lambda_.CfnEventSourceMapping)
        return source.batch_size, made.stack.resolve(source.scaling_config)

    assert of(made.inbox()) == (100, {"maximumConcurrency": 2})
    assert of(made.record_errors()) == (1, {"maximumConcurrency": 2})


@pytest.mark.parametrize(("megabytes", "used"), [(512, 1024), (1024, 1024), (2048, 2048)])
def test_function_of_record_errors_has_a_gigabyte_or_more(
    parts: MakeParts, megabytes: int, used: int
) -> None:
    """The setting can ask for more."""
    made = parts(replace(ALL_KEYS, function_memory_megabytes=megabytes))

    assert only(made.record_errors().function, lambda_.CfnFunction).memory_size == used
    assert only(made.monitor().function, lambda_.CfnFunction).memory_size == megabytes


def test_message_that_fails_five_times_is_a_dead_letter(parts: MakeParts) -> None:
    made = parts(DEFAULT)
    queue = build_queue(
        made.stack, events=made.events, visibility_timeout=aws_cdk.Duration.seconds(1)
    )

    assert made.stack.resolve(only(queue, sqs.CfnQueue).redrive_policy)["maxReceiveCount"] == 5


@pytest.mark.parametrize(
    ("record_messages", "detail"), [(True, None), (False, {"batchJobArn": [{"exists": True}]})]
)
def test_rule_of_hints_without_message_needs_an_arn(
    parts: MakeParts, *, record_messages: bool, detail: object
) -> None:
    """EventBridge cannot make the input of the target from an event without one."""
    made = parts(MonitorConfig(record_messages=record_messages))
    (rule,) = (
        one
        for one in made.inbox().node.find_all()
        if isinstance(one, events_.CfnRule) and "NativeEvents" in one.node.path
    )

    assert made.stack.resolve(rule.event_pattern).get("detail") == detail


# Period in minutes, periods and threshold, by the interval of polls in minutes.
ALARMS = {
    1: {
        "NoPoll": (5, 1, 1),
        "JobsLate": (5, 1, 600),
        "EventsWaiting": (5, 1, 900),
        "JobsNeedAttention": (5, 1, 0),
        "BedrockDenies": (20, 1, 0),
        "ErrorsPersist": (5, 12, 0),
        "DeadLetters": (5, 1, 0),
        "InboxStopped": (5, 1, 600),
    },
    4: {
        "NoPoll": (12, 1, 1),
        "JobsLate": (12, 1, 720),
        "EventsWaiting": (12, 1, 900),
        "JobsNeedAttention": (12, 1, 0),
        "BedrockDenies": (20, 1, 0),
        "ErrorsPersist": (8, 7, 0),
        "DeadLetters": (5, 1, 0),
        "InboxStopped": (5, 1, 600),
    },
    60: {
        "NoPoll": (180, 1, 1),
        "JobsLate": (180, 1, 3 * 3600),
        "EventsWaiting": (180, 1, 900),
        "JobsNeedAttention": (180, 1, 0),
        "BedrockDenies": (180, 1, 0),
        "ErrorsPersist": (120, 3, 0),
        "DeadLetters": (5, 1, 0),
        "InboxStopped": (5, 1, 600),
    },
}


@pytest.mark.parametrize("minutes", ALARMS)
def test_alarms_look_at_three_intervals_and_persistent_errors_at_an_hour(
    parts: MakeParts, minutes: int
) -> None:
    """A refusal, which an unreachable job repeats every 15 minutes, counts for 20."""
    found = parts(MonitorConfig(poll_interval_minutes=minutes)).alarms()

    assert {
        name: ((alarm.period or 0) / 60, alarm.evaluation_periods, alarm.threshold)
        for name, alarm in found.items()
    } == ALARMS[minutes]


def test_dashboard_has_of_another_scope_only_the_alarm_on_absent_polls(parts: MakeParts) -> None:
    """Its widget shows at most 100 alarms, and there can be 40 Regions of 100 accounts."""
    home = parts(DEFAULT).alarms()
    both = parts(MonitorConfig(regions=("eu-west-1",))).alarms()

    (other,) = both.keys() - home.keys()
    assert other.startswith("NoPoll-")
    assert other.endswith("-eu-west-1")


def test_dashboard_begins_with_alarms_and_jobs_and_fills_its_rows(parts: MakeParts) -> None:
    """A row is 24 columns wide."""
    widgets = parts(DEFAULT).widgets_of_dashboard()
    rows: dict[int, list[dict[str, Any]]] = {}
    for widget in widgets:
        rows.setdefault(widget["y"], []).append(widget)

    assert [
        (widget["properties"]["title"], widget["y"], widget["height"]) for widget in widgets[:2]
    ] == [("Alarms", 0, 3), ("Jobs", 3, 11)]
    for row in rows.values():
        ends = [widget["x"] + widget["width"] for widget in row]
        assert [widget["x"] for widget in row] == [0, *ends[:-1]]
        assert ends[-1] == 24
        assert len({widget["height"] for widget in row}) == 1


def test_dashboard_shows_metrics_by_five_minutes_and_tokens_by_day(parts: MakeParts) -> None:
    """Five minutes are CloudWatch's own period, which widgets leave out and searches name."""
    metrics = [
        metric
        for widget in parts(DEFAULT).widgets_of_dashboard()
        if widget["type"] == "metric"
        for metric in widget["properties"]["metrics"]
    ]
    searches = [metric[0] for metric in metrics if isinstance(metric[0], dict)]

    assert {metric[-1].get("period", 300) for metric in metrics} == {300, 86400}
    assert any("'Sum', 86400)" in search["expression"] for search in searches)
    for search in searches:
        period = 86400 if "'Sum', 86400)" in search["expression"] else 300
        assert search["expression"].endswith(f", {period})")
        assert search.get("period", 300) == period
