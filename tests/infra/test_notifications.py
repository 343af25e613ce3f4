"""Notifications: outcomes, recipients, delivery, and what the default stack contains of them."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bedrock_batch_monitor.domain.outcomes import NOTIFIABLE
from bedrock_batch_monitor.settings import NotificationSettings
from bedrock_batch_monitor_cdk.config import MonitorConfig
from tests.infra.conftest import ALL_KEYS
from tests.support.patterns import matched_by, matches, sample_events

pytestmark = pytest.mark.xdist_group("template")

Template = dict[str, Any]
OfType = Callable[[Template, str], dict[str, Any]]
Synthesize = Callable[[MonitorConfig], Template]
Render = Callable[[Any], Any]

FUNCTION = "NotificationsFunction75C140BC"
ROLE = "NotificationsRole48509D93"
LOG = "<NotificationsLogE9FDB5C2.Arn>"
TOPICS = {"EmailTopicArn", "ChatTopicArn"}
EMAIL_TOPIC = "<NotificationsEmailTopicDB7922FA>"
CHAT_TOPIC = "<NotificationsChatTopicB31898BA>"
DEAD_LETTERS = "<EventsDeadLetters8A90034E.Arn>"
BOTH = MonitorConfig(notify_email="team@example.com", notify_chat=True)
MAIL = MonitorConfig(notify_email="team@example.com")
CHAT = MonitorConfig(notify_chat=True)


def notifying_rules(template: Template, of_type: OfType, render: Render) -> list[dict[str, Any]]:
    """The rules whose target is the notification function."""
    rules = (render(rule["Properties"]) for rule in of_type(template, "AWS::Events::Rule").values())
    return [
        rule
        for rule in rules
        if [target["Arn"] for target in rule["Targets"]] == [f"<{FUNCTION}.Arn>"]
    ]


def test_default_stack_has_no_notifications(template: Template) -> None:
    """It has only the topic of the alarms."""
    resources = template["Resources"]

    assert not [name for name in resources if name.startswith(("Notifications", "Schemas"))]
    assert [name for name in resources if resources[name]["Type"] == "AWS::SNS::Topic"] == [
        "AlarmsTopic3A2DFEBA"
    ]


@pytest.mark.parametrize(
    ("config", "notified"),
    [
        (BOTH, set(NOTIFIABLE) - {"Completed"}),
        (replace(CHAT, notify_outcomes=tuple(NOTIFIABLE)), set(NOTIFIABLE)),
        (replace(MAIL, notify_outcomes=("Failed",)), {"Failed"}),
        (replace(MAIL, notify_outcomes=("Stalled",)), {"Stalled"}),
        (ALL_KEYS, {"Completed", "Failed"}),
    ],
)
def test_rules_match_only_the_notified_outcomes(
    synthesize: Synthesize,
    of_type: OfType,
    render: Render,
    config: MonitorConfig,
    notified: set[str],
) -> None:
    """The function gets exactly the events of the configured outcomes, each once."""
    matched = [
        name
        for rule in notifying_rules(synthesize(config), of_type, render)
        for name in matched_by(rule["EventPattern"])
    ]

    assert sorted(matched) == sorted(notified)


def test_unreachable_notification_requires_a_job_that_was_read(
    synthesize: Synthesize, of_type: OfType, render: Render
) -> None:
    """An ARN that was never readable has no status: it is in the monitor's summary instead."""
    rules = notifying_rules(synthesize(BOTH), of_type, render)
    [(_, unreachable)] = [event for event in sample_events() if event[0] == "Unreachable"]
    never_read = copy.deepcopy(unreachable)
    for unknown in ("status", "previousStatus", "jobName", "modelId"):
        del never_read["detail"]["data"][unknown]

    assert [matches(rule["EventPattern"], unreachable) for rule in rules].count(True) == 1
    assert not any(matches(rule["EventPattern"], never_read) for rule in rules)


@pytest.mark.parametrize(
    ("config", "topics"),
    [
        (BOTH, {"EMAIL_TOPIC_ARN": EMAIL_TOPIC, "CHAT_TOPIC_ARN": CHAT_TOPIC}),
        (MAIL, {"EMAIL_TOPIC_ARN": EMAIL_TOPIC}),
        (replace(CHAT, notify_outcomes=("Unreachable",)), {"CHAT_TOPIC_ARN": CHAT_TOPIC}),
        (replace(BOTH, notify_outcomes=("Failed", "Stalled")), {}),
        (MonitorConfig(), {}),
    ],
)
def test_monitor_function_has_the_topics_of_its_summary(
    synthesize: Synthesize, render: Render, config: MonitorConfig, topics: dict[str, str]
) -> None:
    """Only if unreachable jobs are notified; the inbox function never has them."""
    resources = render(synthesize(config)["Resources"])
    monitor, inbox = (
        resources[name]["Properties"]["Environment"]["Variables"]
        for name in ("MonitorFunction39E4128B", "InboxFunctionE487909E")
    )

    assert {name: arn for name, arn in monitor.items() if "TOPIC" in name} == topics
    assert not [name for name in inbox if "TOPIC" in name]


def test_rules_on_the_bus_invoke_the_notification_function(
    synthesize: Synthesize, of_type: OfType, render: Render
) -> None:
    """Events that cannot be delivered are kept."""
    template = synthesize(BOTH)
    rules = notifying_rules(template, of_type, render)
    permissions = render(list(of_type(template, "AWS::Lambda::Permission").values()))

    assert {rule["EventBusName"] for rule in rules} == {"<EventsBus45DE4339>"}
    assert all(
        [target["DeadLetterConfig"] for target in rule["Targets"]] == [{"Arn": DEAD_LETTERS}]
        for rule in rules
    )
    assert {
        (one["Properties"]["Principal"], one["Properties"]["SourceArn"]) for one in permissions
    } == {
        ("events.amazonaws.com", "<NotificationsEndingsB914AE85.Arn>"),
        ("events.amazonaws.com", "<NotificationsOtherOutcomes97ED63CC.Arn>"),
        ("events.amazonaws.com", "<NotificationsUnreachable634C2E8F.Arn>"),
    }


def test_notification_function_has_only_its_topics(synthesize: Synthesize, render: Render) -> None:
    """Its environment has nothing of the monitor's tables."""
    properties = render(synthesize(BOTH)["Resources"][FUNCTION]["Properties"])

    assert properties["Handler"] == "bedrock_batch_monitor.handlers.notify.handler"
    assert properties["Timeout"] == 30
    assert properties["Environment"]["Variables"] == {
        "EMAIL_TOPIC_ARN": EMAIL_TOPIC,
        "CHAT_TOPIC_ARN": CHAT_TOPIC,
        "POWERTOOLS_SERVICE_NAME": "BedrockBatchMonitor",
        "POWERTOOLS_LOG_LEVEL": "INFO",
    }


@pytest.mark.parametrize(
    ("config", "read"),
    [
        (BOTH, NotificationSettings(EMAIL_TOPIC, CHAT_TOPIC)),
        (MAIL, NotificationSettings(EMAIL_TOPIC, None)),
        (CHAT, NotificationSettings(None, CHAT_TOPIC)),
    ],
)
def test_settings_of_the_stack_are_read_by_the_function(
    synthesize: Synthesize, render: Render, config: MonitorConfig, read: NotificationSettings
) -> None:
    variables = render(synthesize(config)["Resources"][FUNCTION]["Properties"]["Environment"])

    assert NotificationSettings.from_environment(variables["Variables"]) == read


def test_failed_notifications_are_retried_and_kept(
    synthesize: Synthesize, of_type: OfType, render: Render
) -> None:
    """Lambda tries three times, and keeps what failed."""
    [invocation] = [
        config
        for config in render(
            [
                one["Properties"]
                for one in of_type(synthesize(BOTH), "AWS::Lambda::EventInvokeConfig").values()
            ]
        )
        if config["FunctionName"] == f"<{FUNCTION}>"
    ]

    assert invocation["MaximumRetryAttempts"] == 2
    assert invocation["MaximumEventAgeInSeconds"] == 6 * 3600
    assert invocation["DestinationConfig"] == {"OnFailure": {"Destination": DEAD_LETTERS}}


@pytest.mark.parametrize(
    ("config", "topics"),
    [
        (BOTH, {"EmailTopicArn": EMAIL_TOPIC, "ChatTopicArn": CHAT_TOPIC}),
        (MAIL, {"EmailTopicArn": EMAIL_TOPIC}),
        (CHAT, {"ChatTopicArn": CHAT_TOPIC}),
    ],
)
def test_topics_are_encrypted_and_admit_only_the_function(
    synthesize: Synthesize,
    of_type: OfType,
    render: Render,
    config: MonitorConfig,
    topics: dict[str, str],
) -> None:
    """One topic for each configured way."""
    template = synthesize(config)
    made = {
        f"<{name}>": render(topic["Properties"])
        for name, topic in of_type(template, "AWS::SNS::Topic").items()
        if name.startswith("Notifications")
    }
    policies = [
        render(policy["Properties"])
        for name, policy in of_type(template, "AWS::SNS::TopicPolicy").items()
        if name.startswith("Notifications")
    ]
    values = {name: render(output["Value"]) for name, output in template["Outputs"].items()}

    assert set(made) == set(topics.values())
    assert {topic["KmsMasterKeyId"].rpartition(":")[2] for topic in made.values()} == {
        "alias/aws/sns"
    }
    assert {
        statement["Effect"]
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
    } == {"Deny"}
    assert {name: value for name, value in values.items() if name in TOPICS} == topics


def test_notify_email_subscribes_to_its_topic(
    synthesize: Synthesize, of_type: OfType, render: Render
) -> None:
    """The chat topic has no subscription here."""
    found = render(
        [one["Properties"] for one in of_type(synthesize(BOTH), "AWS::SNS::Subscription").values()]
    )

    assert found == [{"Protocol": "email", "Endpoint": "team@example.com", "TopicArn": EMAIL_TOPIC}]


def test_dashboard_shows_the_notification_function(synthesize: Synthesize, of_type: OfType) -> None:
    """With the metrics of the other functions."""
    [dashboard] = of_type(synthesize(CHAT), "AWS::CloudWatch::Dashboard").values()

    assert {"Ref": FUNCTION} in dashboard["Properties"]["DashboardBody"]["Fn::Join"][1]
