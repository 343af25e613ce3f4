"""Notifications: the outcomes of jobs, by email and in a chat.

Rules on the monitor's bus invoke a function that formats the event. There is no queue in between,
unlike the inbox function: people ask for few of these events, and a burst of them only calls SNS.

The messages contain what Bedrock reports about jobs, so the topics are encrypted: by default with
the free AWS managed key of SNS, which the publishing function may use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_cdk import Duration
from aws_cdk import aws_events as events_
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from bedrock_batch_monitor import contract, settings
from bedrock_batch_monitor.domain.event_kinds import (
    CONDITIONS,
    ENDED,
    ERRORS_ANALYZED,
    UNREACHABLE,
)
from bedrock_batch_monitor.domain.outcomes import OUTCOMES
from bedrock_batch_monitor_cdk.function import build_function, build_log_group
from bedrock_batch_monitor_cdk.function_roles import notification_role
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
    """The function, its rules, and a topic each for email and chat if the settings ask for it.

    `topics` are the topics by their environment variable.
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
            description="Notifies people about Bedrock batch inference jobs",
            config=config,
            role=notification_role(
                self,
                log_group,
                config=config,
                events=events,
                topics=list(self.topics.values()),
            ),
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

        def rule(
            rule_id: str, description: str, detail_types: list[str], data: dict[str, Any] | None
        ) -> None:
            events_.Rule(
                self,
                rule_id,
                description=description,
                event_bus=events.bus,
                event_pattern=events_.EventPattern(
                    source=[contract.EVENT_SOURCE],
                    detail_type=detail_types,
                    detail=None if data is None else {"data": data},
                ),
                targets=[target],
            )

        notified = config.notified_outcomes
        ended = [name for name in notified if name in OUTCOMES]
        others = [
            kind.detail_type
            for kind in CONDITIONS
            if kind.name in notified and kind is not UNREACHABLE
        ]
        if ended:
            rule(
                "Endings",
                "Ended batch inference jobs",
                [ENDED.detail_type],
                {contract.OUTCOME: ended},
            )
        if ended and config.reads_record_errors:
            rule(
                "RecordErrors",
                "Why records of ended batch inference jobs failed",
                [ERRORS_ANALYZED.detail_type],
                {contract.OUTCOME: ended},
            )
        if others:
            rule("OtherOutcomes", "Conditions of batch inference jobs", others, None)
        if UNREACHABLE.name in notified:
            # An ARN that was never readable has no status. The monitor function reports these in
            # one summary, so that a list of mistyped ARNs does not cause many emails.
            rule(
                "Unreachable",
                "Jobs that were readable before and are not any more",
                [UNREACHABLE.detail_type],
                {contract.STATUS: [{"exists": True}]},
            )
