"""Which alarms a fault triggers, and in which minute: derived by injecting each fault.

Polls run every minute on moto and the Bedrock stand-in. Their metrics are evaluated against the
alarms of the synthesized template, as CloudWatch does. The metrics that AWS publishes for the
function and the queues follow from the fault.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest

from bedrock_batch_monitor.app.composition import Container
from bedrock_batch_monitor.app.poll import PollError
from bedrock_batch_monitor.app.telemetry import logger, metrics
from bedrock_batch_monitor.handlers import monitor as module
from bedrock_batch_monitor_cdk.alarms import ALARMS
from bedrock_batch_monitor_cdk.stack import STACK_ID
from local.bedrock import Phase, Script
from tests.docs.pages import rows, section

from .conftest import REGION, SETTINGS, Cloud, InlineExecutor
from .test_alarms import template  # noqa: F401 - a fixture
from .test_handler import Context

MINUTE = 60
# Minutes before the fault, so that every period of an alarm is healthy, and after it.
HEALTHY = 20
FAULTY = 75
# Periods that begin at the same time as the fault.
DEAD_LETTERS, INBOX_AGE = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"


@dataclass(frozen=True)
class Fault:
    """A fault that begins with `begin`, and what it does to what AWS measures.

    `polls` says whether a poll runs in a minute after the beginning, and `fails` whether it crashes
    before it publishes anything.
    """

    begin: Callable[[Cloud], None] = lambda _: None
    polls: Callable[[int], bool] = lambda _: True
    fails: Callable[[int], bool] = lambda _: False
    inbox_stops: bool = False
    dead_letters: int = 0


@dataclass
class Metrics:
    """Samples by metric name and error code, and by minute."""

    samples: dict[tuple[str, str, str | None], dict[int, list[float]]] = field(default_factory=dict)

    def add(
        self, namespace: str, name: str, code: str | None, minute: int, values: list[float]
    ) -> None:
        """Add samples of one minute."""
        of_metric = self.samples.setdefault((namespace, name, code), {})
        of_metric.setdefault(minute, []).extend(values)

    def add_published(self, output: str, minute: int) -> None:
        """Add what an invocation published in the embedded metric format."""
        for line in output.splitlines():
            if '"_aws"' not in line:
                continue
            document = json.loads(line)
            for directive in document["_aws"]["CloudWatchMetrics"]:
                for metric in directive["Metrics"]:
                    name, code = metric["Name"], document.get("code")
                    self.add(directive["Namespace"], name, code, minute, document[name])


def is_triggered(alarm: Mapping[str, Any], metrics_: Metrics, minute: int) -> bool:
    """Whether an alarm is in ALARM after a minute."""
    code = next((one["Value"] for one in alarm["Dimensions"] if one["Name"] == "code"), None)
    samples = metrics_.samples.get((alarm["Namespace"], alarm["MetricName"], code), {})
    periods, length = alarm["EvaluationPeriods"], alarm["Period"] // MINUTE
    breaching = 0
    for period in range(periods):
        end = minute - period * length
        values = [v for at in range(end - length + 1, end + 1) for v in samples.get(at, [])]
        breaching += _breaches(alarm, values)
    return bool(breaching >= alarm.get("DatapointsToAlarm", periods))


def _breaches(alarm: Mapping[str, Any], values: list[float]) -> bool:
    if not values:
        return bool(alarm["TreatMissingData"] == "breaching")
    statistic = {"Maximum": max, "Sum": sum, "SampleCount": len}[alarm["Statistic"]]
    if alarm["ComparisonOperator"] == "LessThanThreshold":
        return bool(statistic(values) < alarm["Threshold"])
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    return bool(statistic(values) > alarm["Threshold"])


def job_of(cloud: Cloud, number: int) -> str:
    """One of the jobs that the monitor tracks before the fault."""
    items = cloud.dynamodb.scan(TableName="jobs")["Items"]
    return sorted(str(item["jobArn"]["S"]) for item in items if "tracking" in item)[number]


def without_a_bus(cloud: Cloud) -> None:
    cloud.add_job("Failed")
    cloud.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    cloud.events.delete_rule(Name="all", EventBusName="monitor")
    cloud.events.delete_event_bus(Name="monitor")


def one_job_is_gone(cloud: Cloud) -> None:
    cloud.bedrock.faults.hide(job_of(cloud, 0))


def a_wrong_item(cloud: Cloud) -> None:
    cloud.track("not-an-arn")


def unknown_status(cloud: Cloud) -> None:
    now = cloud.bedrock.clock.now().timestamp()
    changes = {"status": "Paused", "lastModifiedTime": now}
    cloud.bedrock.faults.override(job_of(cloud, 0), changes)


FAULTS: dict[str, Fault] = {
    "Bedrock answers with errors (5xx)": Fault(lambda cloud: cloud.bedrock.faults.fail()),
    "Bedrock resets every connection": Fault(lambda cloud: cloud.bedrock.faults.fail("reset")),
    "Bedrock throttles every call": Fault(lambda cloud: cloud.bedrock.faults.throttle()),
    "Bedrock throttles a tenth of the calls": Fault(
        lambda cloud: cloud.bedrock.faults.throttle(share=0.1)
    ),
    "Bedrock denies every call": Fault(lambda cloud: cloud.bedrock.faults.deny()),
    "One job no longer exists": Fault(one_job_is_gone),
    "One item is wrong": Fault(a_wrong_item),
    "One job has an unknown status": Fault(unknown_status),
    "The event bus is deleted": Fault(without_a_bus),
    "The jobs table is deleted": Fault(lambda cloud: cloud.dynamodb.delete_table(TableName="jobs")),
    "The schedule is disabled": Fault(polls=lambda _: False),
    "One poll is not started": Fault(polls=lambda minute: minute != 0),
    "One poll fails": Fault(fails=lambda minute: minute == 0),
    "Every poll fails": Fault(fails=lambda _: True),
    "No poll for half an hour, during which a job ends": Fault(polls=lambda minute: minute > 30),
    "The inbox function is not invoked": Fault(inbox_stops=True),
    "A command cannot be handled": Fault(dead_letters=1),
}


@pytest.fixture
def invoke(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Invokes the function; a poll that fails is no error of the test."""
    parts = Container(
        SETTINGS, boto3.Session(region_name=REGION), clock=cloud.bedrock.clock.now, concurrency=1
    )
    composed = replace(parts.monitor(SETTINGS.scope, logger), new_executor=InlineExecutor)
    monkeypatch.setattr(module, "parts", lambda: parts)
    monkeypatch.setattr(module, "monitor", lambda _: composed)
    monkeypatch.setattr(metrics, "service", STACK_ID)
    metrics.clear_metrics()

    def run() -> None:
        with contextlib.suppress(PollError):
            module.handler({}, Context())  # type: ignore[arg-type]

    return run


@pytest.fixture
def alarms(template: dict[str, Any]) -> dict[str, dict[str, Any]]:  # noqa: F811 - the fixture
    """The properties of the alarms by their ids."""
    found = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            match = re.fullmatch(r"Alarms(\w+)[0-9A-F]{8}", name)
            assert match is not None
            found[match[1]] = resource["Properties"]
    return found


def minutes_of(
    cloud: Cloud,
    fault: Fault,
    alarms_: Mapping[str, Mapping[str, Any]],
    invoke_: Callable[[], None],
    published: Callable[[], str],
) -> dict[str, list[int]]:
    """The minutes of a fault in which each alarm is on; minute 1 is the first with the fault."""
    measured = Metrics()
    cloud.add_job(Script((Phase("InProgress", (HEALTHY + 10) * MINUTE), Phase("Completed", None))))
    for _ in range(4):
        cloud.add_job("InProgress")
    found: dict[str, list[int]] = {}
    for minute in range(-HEALTHY, FAULTY):
        if minute == 0:
            fault.begin(cloud)
        begun = minute >= 0
        # A poll that crashes publishes nothing, as one that does not run.
        if not begun or (fault.polls(minute) and not fault.fails(minute)):
            invoke_()
        measured.add_published(published(), minute)
        age = (minute + 1) * MINUTE if fault.inbox_stops and begun else 0
        measured.add("AWS/SQS", INBOX_AGE, None, minute, [age])
        measured.add("AWS/SQS", DEAD_LETTERS, None, minute, [fault.dead_letters if begun else 0])
        for name, alarm in alarms_.items():
            # Before the first poll, no alarm has enough data.
            if minute >= -1 and is_triggered(alarm, measured, minute):
                found.setdefault(name, []).append(minute + 1)
        cloud.bedrock.clock.advance(MINUTE)
    return found


def shown(found: Mapping[str, list[int]]) -> str:
    """The alarms in the order in which they trigger, as the page has them."""

    def one(name: str, minutes: list[int]) -> str:
        clears = minutes[-1] < FAULTY
        return f"{name} {minutes[0]}" + (f" (clears {minutes[-1] + 1})" if clears else "")

    ordered = sorted(found.items(), key=lambda each: (each[1][0], [*ALARMS].index(each[0])))
    return ", ".join(one(name, minutes) for name, minutes in ordered) or "none"


def table() -> Iterator[tuple[str, str]]:
    """The rows of the page: the fault, and its alarms."""
    for cells in rows(section("docs/operating.md", "## Which alarm a fault triggers")):
        yield cells[0], cells[1]


def test_page_has_every_fault_of_the_table() -> None:
    """Each row of the table is derived below, and each fault is in the table."""
    assert [fault for fault, _ in table()] == [*FAULTS]


@pytest.mark.parametrize("name", FAULTS)
def test_alarms_trigger_in_the_minute_that_the_page_says(
    cloud: Cloud,
    alarms: dict[str, dict[str, Any]],
    invoke: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """With a poll every minute, these alarms are on from these minutes of the fault."""
    found = minutes_of(cloud, FAULTS[name], alarms, invoke, lambda: capsys.readouterr().out)

    assert all(minute > 0 for minutes in found.values() for minute in minutes)
    assert shown(found) == dict(table())[name]


@pytest.mark.parametrize(
    "name",
    [
        "Bedrock answers with errors (5xx)",
        "Bedrock throttles every call",
        "Bedrock denies every call",
        "One job has an unknown status",
    ],
)
def test_alarms_clear_when_the_fault_ends(
    cloud: Cloud,
    alarms: dict[str, dict[str, Any]],
    invoke: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """A metric that is no longer published is missing data, which clears the alarm."""
    ended = 30

    def polls(minute: int) -> bool:
        if minute == ended:
            cloud.bedrock.faults.clear()
        return True

    fault = replace(FAULTS[name], polls=polls)
    found = minutes_of(cloud, fault, alarms, invoke, lambda: capsys.readouterr().out)

    assert found
    # The longest period of an alarm is 20 minutes, and late jobs are read again by the next poll.
    assert max(minute for minutes in found.values() for minute in minutes) <= ended + 20
