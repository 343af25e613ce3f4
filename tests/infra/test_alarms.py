"""The alarms: what they look at is what the function publishes, and they reach the topic."""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters import bedrock, errors
from bedrock_batch_monitor.app import telemetry
from bedrock_batch_monitor.domain import summary
from bedrock_batch_monitor_cdk.alarms import (
    ALARMS,
    JOBS_AT_RISK,
    JOBS_PAST_DEADLINE,
    JOBS_STALLED,
    ROLE_REFUSED,
)
from bedrock_batch_monitor_cdk.config import MonitorConfig
from tests.infra.conftest import ALL_KEYS

pytestmark = pytest.mark.xdist_group("template")

Template = dict[str, Any]
OfType = Callable[[Template, str], dict[str, Any]]
Synthesize = Callable[[MonitorConfig], Template]
Render = Callable[[Any], Any]
Alarms = Callable[[MonitorConfig], dict[str, dict[str, Any]]]

KIND = "AWS::CloudWatch::Alarm"
SERVICE = ("service", "BedrockBatchMonitor")
TOPIC = "<AlarmsTopic3A2DFEBA>"
STALLED = MonitorConfig(stalled_after_minutes=60, late_alarms=True)

# Metric, statistic, period in seconds, periods, threshold; with a poll every minute.
EXPECTED = {
    "NoPoll": ("JobsRead", "SampleCount", 300, 1, 1),
    "ReadsLate": ("OldestReadSeconds", "Maximum", 300, 2, 180),
    "DetectionLate": ("DetectionSeconds", "Maximum", 300, 1, 900),
    "PollFails": ("Errors", "Sum", 60, 3, 0),
    "DeadLetters": ("ApproximateNumberOfMessagesVisible", "Maximum", 300, 1, 0),
    "InboxStopped": ("ApproximateAgeOfOldestMessage", "Maximum", 300, 1, 600),
    "EventsWaiting": ("OldestPendingEventSeconds", "Maximum", 300, 1, 900),
    "JobsUnreachable": ("JobsNewlyUnreachable", "Maximum", 300, 1, 0),
    "JobsStalled": ("JobsStalled", "Maximum", 300, 1, 0),
    "JobsAtRisk": ("JobsAtRisk", "Maximum", 300, 1, 0),
    "JobsPastDeadline": ("JobsPastDeadline", "Maximum", 300, 1, 0),
    "BedrockDenies": ("Errors", "Sum", 1200, 1, 0),
    "UnknownStatus": ("UnknownStatuses", "Maximum", 300, 1, 0),
    "ErrorsPersist": ("Errors", "Sum", 300, 12, 0),
}
DIMENSIONS = {
    "PollFails": {("FunctionName", "<MonitorFunction39E4128B>")},
    "DeadLetters": {("QueueName", "<EventsDeadLetters8A90034E.QueueName>")},
    "InboxStopped": {("QueueName", "<InboxQueue96F60793.QueueName>")},
    "BedrockDenies": {SERVICE, ("code", "Bedrock.Refused")},
}


@pytest.fixture
def alarms(synthesize: Synthesize, of_type: OfType, render: Render) -> Alarms:
    """The properties of a configuration's alarms by the id that the code knows them by."""

    def of(config: MonitorConfig) -> dict[str, dict[str, Any]]:
        found = {}
        for name, alarm in of_type(synthesize(config), KIND).items():
            match = re.fullmatch(r"Alarms(\w+)[0-9A-F]{8}", name)
            assert match is not None
            found[match[1]] = render(alarm["Properties"])
        return found

    return of


def dimensions(alarm: dict[str, Any]) -> set[tuple[str, str]]:
    """The dimensions of an alarm's metric."""
    return {(dimension["Name"], dimension["Value"]) for dimension in alarm["Dimensions"]}


def test_alarms(alarms: Alarms) -> None:
    """Each alarm looks at its metric in this way, and every one is in the list for the docs."""
    found = alarms(STALLED)

    assert {
        name: (
            alarm["MetricName"],
            alarm["Statistic"],
            alarm["Period"],
            alarm["EvaluationPeriods"],
            alarm["Threshold"],
        )
        for name, alarm in found.items()
    } == EXPECTED
    assert {name: dimensions(alarm) for name, alarm in found.items()} == {
        name: DIMENSIONS.get(name, {SERVICE}) for name in EXPECTED
    }
    # Only other accounts have roles to be refused: see `test_members.py`.
    assert set(ALARMS) == {*EXPECTED, ROLE_REFUSED}
    assert all(ALARMS[name].metric.startswith(alarm["MetricName"]) for name, alarm in found.items())


def test_alarms_on_conditions_of_jobs_exist_only_on_demand(alarms: Alarms) -> None:
    """Where no job is ever found to have stalled, no alarm is paid for that."""
    late = {JOBS_AT_RISK, JOBS_PAST_DEADLINE}
    without = set(ALARMS) - set(alarms(MonitorConfig()))
    assert without == {JOBS_STALLED, ROLE_REFUSED, *late}
    assert set(alarms(MonitorConfig(late_alarms=True))) == (set(ALARMS) - without) | late


def test_silence(alarms: Alarms) -> None:
    """Missing data is an alarm for the polls themselves and for nothing else."""
    found = alarms(STALLED)
    breaching = {name for name, alarm in found.items() if alarm["TreatMissingData"] == "breaching"}

    assert breaching == {"NoPoll"}
    assert found["NoPoll"]["ComparisonOperator"] == "LessThanThreshold"
    assert {
        (alarm["TreatMissingData"], alarm["ComparisonOperator"])
        for name, alarm in found.items()
        if name != "NoPoll"
    } == {("notBreaching", "GreaterThanThreshold")}


def test_one_failure_wakes_nobody(alarms: Alarms) -> None:
    """A single failed poll is made good for by the next; two out of three are an alarm."""
    alarm = alarms(MonitorConfig())["PollFails"]

    assert (alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (2, 3)


@pytest.mark.parametrize("minutes", [1, 2, 3, 15, 60])
def test_every_period_has_a_poll(alarms: Alarms, minutes: int) -> None:
    """Whatever the interval, no alarm comes and goes only because no poll was due."""
    found = alarms(MonitorConfig(poll_interval_minutes=minutes))
    own = [alarm for alarm in found.values() if alarm["Namespace"] == contract.METRICS_NAMESPACE]

    assert all(alarm["Period"] >= 2 * 60 * minutes for alarm in own)
    assert found["NoPoll"]["Period"] == 60 * max(5, 3 * minutes)
    assert found["PollFails"]["Period"] == 60 * minutes
    assert found["ErrorsPersist"]["Period"] * found["ErrorsPersist"]["EvaluationPeriods"] >= 3000
    # What CloudWatch allows: a day in all for periods below an hour, a week for others.
    assert all(
        alarm["Period"] * alarm["EvaluationPeriods"]
        <= (86400 if alarm["Period"] < 3600 else 7 * 86400)
        for alarm in found.values()
    )


def test_the_function_publishes_what_alarms_look_at(
    alarms: Alarms, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Namespace, name and dimensions of every metric of ours are those that a poll publishes."""
    monkeypatch.setattr(telemetry.metrics, "service", SERVICE[1])
    figures = summary.PollSummary(
        conditions=Counter({"Stalled": 1, "AtRisk": 1, "DeadlineMissed": 1}),
        newly_unreachable=1,
        detection_seconds=1,
        oldest_pending_event_seconds=1,
        unknown_statuses=1,
    )
    figures.errors.update((summary.THROTTLED, summary.REFUSED))
    telemetry.publish(figures)
    telemetry.metrics.flush_metrics()

    published = set()
    for line in capsys.readouterr().out.splitlines():
        document = json.loads(line)
        for directive in document.get("_aws", {}).get("CloudWatchMetrics", ()):
            (keys,) = directive["Dimensions"]
            published |= {
                (directive["Namespace"], metric["Name"], frozenset((k, document[k]) for k in keys))
                for metric in directive["Metrics"]
            }
    looked_at = {
        (alarm["Namespace"], alarm["MetricName"], frozenset(dimensions(alarm)))
        for alarm in alarms(STALLED).values()
        if not alarm["Namespace"].startswith("AWS/")
    }

    assert looked_at <= published


def test_codes_are_those_of_the_runtime() -> None:
    """A call that Bedrock throttles has the code that the total of the errors leaves out."""
    reason = summary.THROTTLED.partition(".")[2]
    assert errors.ServiceError(bedrock.SERVICE, reason, "").code == summary.THROTTLED


@pytest.mark.parametrize("config", [STALLED, ALL_KEYS])
def test_alarms_reach_the_topic(alarms: Alarms, config: MonitorConfig) -> None:
    """Every alarm reports to the topic when it triggers and clears, with meaning and remedy."""
    for name, alarm in alarms(config).items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]
        assert alarm["AlarmDescription"].startswith(ALARMS[name].meaning)
        assert f"First command: {ALARMS[name].command}. " in alarm["AlarmDescription"]
        assert "Dashboard: BedrockBatchMonitor-<AWS::Region>. " in alarm["AlarmDescription"]
        assert alarm["AlarmDescription"].endswith(f" {config.runbook_url}#{name.lower()}")
        # The limit of CloudWatch.
        assert len(alarm["AlarmDescription"]) <= 1024
        assert "AlarmName" not in alarm


@pytest.mark.parametrize("config", [MonitorConfig(), ALL_KEYS])
def test_topic(
    synthesize: Synthesize, of_type: OfType, render: Render, config: MonitorConfig
) -> None:
    """Alarms of this account may publish, which the topic's own policy has to say."""
    (policy,) = [
        policy
        for policy in of_type(synthesize(config), "AWS::SNS::TopicPolicy").values()
        if render(policy["Properties"]["Topics"]) == [TOPIC]
    ]
    allowed = [
        {key: value for key, value in statement.items() if key != "Sid"}
        for statement in render(policy["Properties"]["PolicyDocument"]["Statement"])
        if statement["Effect"] == "Allow"
    ]

    assert allowed == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": TOPIC,
            "Condition": {"StringEquals": {"aws:SourceAccount": "<AWS::AccountId>"}},
        }
    ]


def test_subscription(
    template: Template, synthesize: Synthesize, of_type: OfType, render: Render
) -> None:
    """`alarmEmail` subscribes to the topic; without it there is no subscription."""
    kind = "AWS::SNS::Subscription"
    subscriptions = [
        render(subscription["Properties"])
        for subscription in of_type(synthesize(ALL_KEYS), kind).values()
    ]

    assert of_type(template, kind) == {}
    assert [one for one in subscriptions if one["TopicArn"] == TOPIC] == [
        {"Protocol": "email", "Endpoint": "a@example.com", "TopicArn": TOPIC}
    ]
