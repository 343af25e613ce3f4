"""Every alarm on the monitor's own metrics, triggered by the fault that it is for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest

from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.composition import Container
from bedrock_batch_monitor.app.poll import PollError
from bedrock_batch_monitor.app.telemetry import logger, metrics
from bedrock_batch_monitor.handlers import monitor as module
from bedrock_batch_monitor_cdk import alarms
from bedrock_batch_monitor_cdk.alarms import ALARMS
from bedrock_batch_monitor_cdk.config import MonitorConfig
from bedrock_batch_monitor_cdk.stack import STACK_ID, MonitorStack
from local.bedrock import Phase, Script
from tests.support.quick_app import quick_app

from .conftest import REGION, SETTINGS, Cloud, InlineExecutor
from .test_handler import Context

# AWS publishes these metrics, of the queues.
NOT_OURS = {alarms.DEAD_LETTERS, alarms.INBOX_STOPPED}
# Only with other accounts: see `test_scopes.py`.
OF_OTHERS = alarms.ROLE_REFUSED
MINUTE = 60


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The template of a deployment that looks for stalled jobs too."""
    app = quick_app(tmp_path_factory.mktemp("cdk.out"))
    MonitorStack(app, STACK_ID, config=MonitorConfig(stalled_after_minutes=30, late_alarms=True))
    synthesized: dict[str, Any] = app.synth().get_stack_by_name(STACK_ID).template
    return synthesized


def alarm_of(template: dict[str, Any], alarm_id: str) -> dict[str, Any]:
    """The properties of an alarm."""
    [alarm] = [
        resource["Properties"]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
        and re.fullmatch(rf"Alarms{alarm_id}[0-9A-F]{{8}}", name)
    ]
    assert isinstance(alarm, dict)
    return alarm


def published(output: str, alarm: dict[str, Any]) -> list[float]:
    """The values of the alarm's metric that an invocation published."""
    dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
    values: list[float] = []
    for line in output.splitlines():
        if '"_aws"' not in line:
            continue
        document = json.loads(line)
        for directive in document["_aws"]["CloudWatchMetrics"]:
            names = {metric["Name"] for metric in directive["Metrics"]}
            matches = (
                directive["Namespace"] == alarm["Namespace"]
                and alarm["MetricName"] in names
                and [set(one) for one in directive["Dimensions"]] == [set(dimensions)]
                and all(document[name] == value for name, value in dimensions.items())
            )
            if matches:
                values.extend(document[alarm["MetricName"]])
    return values


@pytest.fixture
def invoke(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Invokes the function as it is deployed, under the name of the stack."""
    rules = replace(SETTINGS.rules, stalled_after=timedelta(minutes=30), read_tags=True)
    parts = Container(
        replace(SETTINGS, rules=rules),
        boto3.Session(region_name=REGION),
        clock=cloud.bedrock.clock.now,
        concurrency=1,
    )
    composed = replace(parts.monitor(SETTINGS.scope, logger), new_executor=InlineExecutor)
    monkeypatch.setattr(module, "parts", lambda: parts)
    monkeypatch.setattr(module, "monitor", lambda _: composed)
    monkeypatch.setattr(metrics, "service", STACK_ID)
    # Metrics that another test added and did not flush would count for this one.
    metrics.clear_metrics()

    def run() -> None:
        module.handler({}, Context())  # type: ignore[arg-type]

    return run


def without_a_bus(cloud: Cloud) -> None:
    cloud.add_job("Failed")
    cloud.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    cloud.events.delete_rule(Name="all", EventBusName="monitor")
    cloud.events.delete_event_bus(Name="monitor")


def unreachable(cloud: Cloud) -> None:
    cloud.bedrock.faults.hide(cloud.add_job("InProgress"))


def unknown_status(cloud: Cloud) -> None:
    cloud.bedrock.faults.override(cloud.add_job("InProgress"), {"status": "Paused"})


def throttled(cloud: Cloud) -> None:
    cloud.add_job("InProgress")
    cloud.bedrock.faults.throttle()


def denied(cloud: Cloud) -> None:
    cloud.add_job("InProgress")
    cloud.bedrock.faults.deny()


def failing(cloud: Cloud) -> None:
    cloud.add_job("InProgress")
    cloud.bedrock.faults.fail()


def failing_for_a_while(cloud: Cloud) -> None:
    cloud.add_job(Script((Phase("InProgress", 5 * MINUTE), Phase("Completed", None))))
    cloud.bedrock.faults.fail(after_calls=1, next_calls=60)


def stalled(cloud: Cloud) -> None:
    cloud.add_job("Scheduled")


def late(cloud: Cloud) -> None:
    # At risk in the last tenth of the time, at least five minutes.
    cloud.add_job("Scheduled", tags={"bbm:deadline": "30m"})


def past_deadline(cloud: Cloud) -> None:
    cloud.add_job("Scheduled", tags={"bbm:deadline": "5m"})


FAULTS: tuple[tuple[str, Callable[[Cloud], None]], ...] = (
    (alarms.EVENTS_WAITING, without_a_bus),
    (alarms.JOBS_NEED_ATTENTION, unreachable),
    (alarms.JOBS_NEED_ATTENTION, unknown_status),
    (alarms.JOBS_STALLED, stalled),
    (alarms.JOBS_AT_RISK, late),
    (alarms.JOBS_PAST_DEADLINE, past_deadline),
    (alarms.JOBS_LATE, throttled),
    (alarms.JOBS_LATE, failing_for_a_while),
    (alarms.BEDROCK_DENIES, denied),
    (alarms.ERRORS_PERSIST, failing),
)


def test_every_alarm_has_a_fault_that_triggers_it() -> None:
    """No alarm on the monitor's own metrics is missing in the test below."""
    tested = {alarm_id for alarm_id, _ in FAULTS}
    assert tested | NOT_OURS | {alarms.NO_POLL, OF_OTHERS} == set(ALARMS)


@pytest.mark.parametrize(("alarm_id", "fault"), FAULTS)
def test_fault_triggers_its_alarm(  # noqa: PLR0913, PLR0917 - fixtures and a table
    cloud: Cloud,
    template: dict[str, Any],
    invoke: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    alarm_id: str,
    fault: Callable[[Cloud], None],
) -> None:
    """The metric that the code publishes under the fault is the one of the alarm."""
    alarm = alarm_of(template, alarm_id)
    invoke()
    sound = published(capsys.readouterr().out, alarm)
    assert not [value for value in sound if value > alarm["Threshold"]]

    fault(cloud)
    for _ in range(45):
        invoke()
        cloud.bedrock.clock.advance(MINUTE)
    values = published(capsys.readouterr().out, alarm)
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert alarm["TreatMissingData"] == "notBreaching"
    assert max(values) > alarm["Threshold"]


@pytest.mark.parametrize(
    ("code", "is_about_one_job"),
    [
        ("UnrecognizedClientException", False),
        ("ExpiredTokenException", False),
        ("ResourceNotFoundException", True),
        ("ValidationException", True),
    ],
)
def test_refusal_that_affects_every_job_triggers_the_alarm(  # noqa: PLR0913, PLR0917 - fixtures and a table
    cloud: Cloud,
    template: dict[str, Any],
    invoke: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    is_about_one_job: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """A Region that is not enabled refuses like a missing permission; an invalid ARN does not."""
    cloud.add_job("InProgress")

    def refuse(*_: object) -> None:
        error = ServiceError("Bedrock", code, "refused", status=403)
        raise error

    monkeypatch.setattr(BatchInferenceJobs, "get", refuse)
    alarm = alarm_of(template, alarms.BEDROCK_DENIES)
    invoke()
    values = published(capsys.readouterr().out, alarm)
    assert [value for value in values if value > alarm["Threshold"]] == (
        [] if is_about_one_job else [1]
    )


def test_absence_of_successful_polls_triggers_an_alarm(
    cloud: Cloud,
    template: dict[str, Any],
    invoke: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A poll that succeeds gives one sample, also without jobs; one that fails gives none."""
    alarm = alarm_of(template, alarms.NO_POLL)
    assert (alarm["Statistic"], alarm["ComparisonOperator"]) == (
        "SampleCount",
        "LessThanThreshold",
    )
    assert alarm["TreatMissingData"] == "breaching"
    invoke()
    assert published(capsys.readouterr().out, alarm) == [0]
    cloud.dynamodb.delete_table(TableName="jobs")
    with pytest.raises(PollError):
        invoke()
    assert published(capsys.readouterr().out, alarm) == []
