"""The alarms: their metrics are those that the function publishes, and they reach the topic."""

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
    "JobsLate": ("LateSeconds", "Maximum", 300, 1, 600),
    "DeadLetters": ("ApproximateNumberOfMessagesVisible", "Maximum", 300, 1, 0),
    "InboxStopped": ("ApproximateAgeOfOldestMessage", "Maximum", 300, 1, 600),
    "EventsWaiting": ("OldestPendingEventSeconds", "Maximum", 300, 1, 900),
    "JobsNeedAttention": ("JobsNeedAttention", "Maximum", 300, 1, 0),
    "JobsStalled": ("JobsStalled", "Maximum", 300, 1, 0),
    "JobsAtRisk": ("JobsAtRisk", "Maximum", 300, 1, 0),
    "JobsPastDeadline": ("JobsPastDeadline", "Maximum", 300, 1, 0),
    "BedrockDenies": ("Errors", "Sum", 1200, 1, 0),
    "ErrorsPersist": ("Errors", "Sum", 300, 12, 0),
}
DIMENSIONS = {
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


def test_each_alarm_has_its_metric_and_threshold(alarms: Alarms) -> None:
    """Every alarm is in the list for the docs."""
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


def test_condition_alarms_exist_only_with_their_settings(alarms: Alarms) -> None:
    """If no job is ever found to have stalled, there is no alarm to pay for."""
    late = {JOBS_AT_RISK, JOBS_PAST_DEADLINE}
    without = set(ALARMS) - set(alarms(MonitorConfig()))
    assert without == {JOBS_STALLED, ROLE_REFUSED, *late}
    assert set(alarms(MonitorConfig(late_alarms=True))) == (set(ALARMS) - without) | late


def test_missing_data_triggers_only_the_alarm_for_absent_polls(alarms: Alarms) -> None:
    found = alarms(STALLED)
    breaching = {name for name, alarm in found.items() if alarm["TreatMissingData"] == "breaching"}

    assert breaching == {"NoPoll"}
    assert found["NoPoll"]["ComparisonOperator"] == "LessThanThreshold"
    assert {
        (alarm["TreatMissingData"], alarm["ComparisonOperator"])
        for name, alarm in found.items()
        if name != "NoPoll"
    } == {("notBreaching", "GreaterThanThreshold")}


@pytest.mark.parametrize(
    ("minutes", "periods"), [(1, 12), (2, 12), (3, 10), (10, 3), (15, 3), (60, 3)]
)
def test_errors_persist_over_an_hour_and_three_periods(
    alarms: Alarms, minutes: int, periods: int
) -> None:
    """A failure of some minutes does not trigger it, whatever the interval of polls is."""
    alarm = alarms(MonitorConfig(poll_interval_minutes=minutes))["ErrorsPersist"]

    assert alarm["EvaluationPeriods"] == periods
    assert alarm["Period"] == 60 * max(5, 2 * minutes)
    assert alarm["Period"] * periods >= 3600
    assert "DatapointsToAlarm" not in alarm


@pytest.mark.parametrize("minutes", [1, 2, 3, 15, 60])
def test_every_alarm_period_contains_a_poll(alarms: Alarms, minutes: int) -> None:
    """For any interval, no alarm changes its state only because no poll was due."""
    found = alarms(MonitorConfig(poll_interval_minutes=minutes))
    own = [alarm for alarm in found.values() if alarm["Namespace"] == contract.METRICS_NAMESPACE]

    assert all(alarm["Period"] >= 2 * 60 * minutes for alarm in own)
    assert found["NoPoll"]["Period"] == 60 * max(5, 3 * minutes)
    # An unreachable job, which is read every 15 minutes, is refused in each window.
    assert found["BedrockDenies"]["Period"] == 60 * max(20, 3 * minutes)
    assert found["JobsLate"]["Threshold"] == 60 * max(10, 3 * minutes)
    assert found["ErrorsPersist"]["Period"] * found["ErrorsPersist"]["EvaluationPeriods"] >= 3000
    # What CloudWatch allows: a day in all for periods below an hour, a week for others.
    assert all(
        alarm["Period"] * alarm["EvaluationPeriods"]
        <= (86400 if alarm["Period"] < 3600 else 7 * 86400)
        for alarm in found.values()
    )


def test_function_publishes_the_metrics_of_the_alarms(
    alarms: Alarms, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Namespace, name and dimensions of every metric are those that a poll publishes."""
    monkeypatch.setattr(telemetry.metrics, "service", SERVICE[1])
    figures = summary.PollSummary(
        conditions=Counter({"Stalled": 1, "AtRisk": 1, "DeadlineMissed": 1}),
        newly_unreachable=1,
        detection_seconds=600,
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


def test_error_codes_of_alarms_are_those_of_the_runtime() -> None:
    """A call that Bedrock throttles has the code that the total of errors excludes."""
    reason = summary.THROTTLED.partition(".")[2]
    assert errors.ServiceError(bedrock.SERVICE, reason, "").code == summary.THROTTLED


@pytest.mark.parametrize("config", [STALLED, ALL_KEYS])
def test_alarms_publish_to_the_topic(alarms: Alarms, config: MonitorConfig) -> None:
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
def test_topic_allows_alarms_of_this_account_to_publish(
    synthesize: Synthesize, of_type: OfType, render: Render, config: MonitorConfig
) -> None:
    """The topic's own policy has the statement."""
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


def test_alarm_email_subscribes_to_the_topic(
    template: Template, synthesize: Synthesize, of_type: OfType, render: Render
) -> None:
    """Without `alarmEmail` there is no subscription."""
    kind = "AWS::SNS::Subscription"
    subscriptions = [
        render(subscription["Properties"])
        for subscription in of_type(synthesize(ALL_KEYS), kind).values()
    ]

    assert of_type(template, kind) == {}
    assert [one for one in subscriptions if one["TopicArn"] == TOPIC] == [
        {"Protocol": "email", "Endpoint": "a@example.com", "TopicArn": TOPIC}
    ]
