"""Notifications: what became of a job, told by mail and in a chat to those whom the settings name.

Rules on the monitor's bus invoke a function that puts the event into words. There is no queue in
between, as there is before the inbox function: these events are the few that people want to hear
of, and a burst of them calls nothing but SNS.

The topics hold what Bedrock says of jobs, so they are encrypted, with the key that SNS has for
nothing where `kms` asks for no other: it is the function that publishes, and it may use that key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Duration
from aws_cdk import aws_events as events_
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from bedrock_batch_monitor import contract, settings
from bedrock_batch_monitor.domain.outcomes import UNREACHABLE
from bedrock_batch_monitor.presentation.messages import OUTCOMES
from bedrock_batch_monitor_cdk.function import build_function, build_log_group
from bedrock_batch_monitor_cdk.permissions import notification_role
from bedrock_batch_monitor_cdk.service import service_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import aws_lambda as lambda_

    from bedrock_batch_monitor_cdk.config import MonitorConfig
    from bedrock_batch_monitor_cdk.events import Events

_TIMEOUT: Final = Duration.seconds(30)
# Lambda's own limits for asynchronous invocations.
_RETRIES: Final = 2
_LONGEST_AGE: Final = Duration.hours(6)
_KEY_OF_SNS: Final = "alias/aws/sns"


class Notifications(Construct):
    """The function, its rules, and a topic for each way that the settings ask for.

    `topics` are the topics by the environment variable that names each to a function.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: MonitorConfig, events: Events
    ) -> None:
        super().__init__(scope, construct_id)
        key = events.key or kms.Alias.from_alias_name(self, "KeyOfSns", _KEY_OF_SNS)
        self.email_topic: sns.Topic | None = None
        self.chat_topic: sns.Topic | None = None
        if config.notify_email is not None:
            self.email_topic = self._build_topic("EmailTopic", key)
            self.email_topic.add_subscription(subscriptions.EmailSubscription(config.notify_email))
        if config.notify_chat:
            self.chat_topic = self._build_topic("ChatTopic", key)
        made = {
            settings.EMAIL_TOPIC_ARN: self.email_topic,
            settings.CHAT_TOPIC_ARN: self.chat_topic,
        }
        self.topics: Mapping[str, sns.Topic] = {
            name: topic for name, topic in made.items() if topic is not None
        }
        self.function = self._build_function(config, events)
        self._build_rules(config, events)

    def _build_topic(self, construct_id: str, key: kms.IKey) -> sns.Topic:
        return sns.Topic(
            self,
            construct_id,
            display_name="Bedrock batch jobs",
            enforce_ssl=True,
            master_key=key,
        )

    def _build_function(self, config: MonitorConfig, events: Events) -> lambda_.Function:
        log_group = build_log_group(self, config, events.key)
        return build_function(
            self,
            module="notify",
            description="Tells people what became of Bedrock batch inference jobs",
            config=config,
            role=notification_role(self, list(self.topics.values()), events, log_group),
            log_group=log_group,
            timeout=_TIMEOUT,
            environment={
                **{name: topic.topic_arn for name, topic in self.topics.items()},
                "POWERTOOLS_SERVICE_NAME": service_of(self),
                "POWERTOOLS_LOG_LEVEL": config.log_level,
            },
            retry_attempts=_RETRIES,
            max_event_age=_LONGEST_AGE,
            on_failure=destinations.SqsDestination(events.dead_letters),
        )

    def _build_rules(self, config: MonitorConfig, events: Events) -> None:
        target = targets.LambdaFunction(self.function, dead_letter_queue=events.dead_letters)
        endings = [
            outcome
            for outcome in config.notified_outcomes
            if OUTCOMES[outcome].detail_type == contract.JOB_ENDED
        ]
        others = [
            OUTCOMES[outcome].detail_type
            for outcome in config.notified_outcomes
            if outcome not in endings and outcome != UNREACHABLE
        ]
        if endings:
            events_.Rule(
                self,
                "Endings",
                description="Endings of batch inference jobs that people are told of",
                event_bus=events.bus,
                event_pattern=events_.EventPattern(
                    source=[contract.EVENT_SOURCE],
                    detail_type=[contract.JOB_ENDED],
                    detail={"data": {"status": endings}},
                ),
                targets=[target],
            )
        if others:
            events_.Rule(
                self,
                "OtherOutcomes",
                description="What people are told of batch inference jobs that have not ended",
                event_bus=events.bus,
                event_pattern=events_.EventPattern(
                    source=[contract.EVENT_SOURCE], detail_type=others
                ),
                targets=[target],
            )
        if UNREACHABLE in config.notified_outcomes:
            events_.Rule(
                self,
                "Unreachable",
                description="Jobs that could be read before and cannot be read any more",
                event_bus=events.bus,
                event_pattern=events_.EventPattern(
                    source=[contract.EVENT_SOURCE],
                    detail_type=[contract.JOB_UNREACHABLE],
                    # An ARN that was never readable has no status. The monitor function reports
                    # these in one summary, so that a list of mistyped ARNs is not a flood of mails.
                    detail={"data": {"status": [{"exists": True}]}},
                ),
                targets=[target],
            )
