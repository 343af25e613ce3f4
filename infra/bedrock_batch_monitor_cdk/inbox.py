"""The inbox: Bedrock's own events and commands, queued for the function that processes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_cdk import Duration
from aws_cdk import aws_events as events_
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from bedrock_batch_monitor.domain import requests
from bedrock_batch_monitor_cdk.function import build_function, build_log_group, environment_of
from bedrock_batch_monitor_cdk.function_roles import inbox_role
from bedrock_batch_monitor_cdk.queue_target import QueueTarget, build_queue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedrock_batch_monitor_cdk.config import MonitorConfig
    from bedrock_batch_monitor_cdk.events import Events
    from bedrock_batch_monitor_cdk.tables import Tables

_TIMEOUT: Final = Duration.seconds(30)
# Lambda recommends six times the timeout of the function.
_VISIBILITY_TIMEOUT: Final = Duration.seconds(180)
_MESSAGES_PER_BATCH: Final = 100
_LEAST_CONCURRENCY: Final = 2
# EventBridge cannot transform an event that lacks a field of the transformed input.
_WITH_ARN: Final = {"batchJobArn": [{"exists": True}]}


def native_events(detail: Mapping[str, Any] | None = None) -> events_.EventPattern:
    """Matches Bedrock's own events on batch jobs; `detail` is a pattern for their detail."""
    return events_.EventPattern(
        source=[requests.NATIVE_SOURCE], detail_type=[requests.NATIVE_DETAIL_TYPE], detail=detail
    )


class Inbox(Construct):
    """A queue between EventBridge and the function.

    It absorbs bursts: the function reads a job once for all its events in a batch, and at most two
    invocations run at once. A message that fails five times goes to the dead-letter queue. By then
    the next poll has done the same work, except for a command to untrack a job.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: MonitorConfig,
        tables: Tables,
        events: Events,
    ) -> None:
        super().__init__(scope, construct_id)
        # It holds hints, which a poll does not need, and commands that were not handled.
        self.queue = build_queue(self, events=events, visibility_timeout=_VISIBILITY_TIMEOUT)
        self._build_rules(config, events)
        self.log_group = build_log_group(self, config, events.key)
        self.function = build_function(
            self,
            module="inbox",
            description="Processes Bedrock's own events on batch jobs, and commands to track them",
            config=config,
            role=inbox_role(self, self.log_group, config=config, tables=tables, events=events),
            log_group=self.log_group,
            timeout=_TIMEOUT,
            environment=environment_of(self, config=config, tables=tables, events=events),
        )
        self.function.add_event_source(
            sources.SqsEventSource(
                self.queue,
                batch_size=_MESSAGES_PER_BATCH,
                max_batching_window=Duration.seconds(1),
                max_concurrency=_LEAST_CONCURRENCY,
                report_batch_item_failures=True,
            )
        )

    def _build_rules(self, config: MonitorConfig, events: Events) -> None:
        native = native_events() if config.record_messages else native_events(_WITH_ARN)
        hint = QueueTarget(
            self.queue,
            dead_letter_queue=events.dead_letters,
            message=None if config.record_messages else _hint_without_message(),
        )
        events_.Rule(
            self,
            "NativeEvents",
            description="Bedrock's own events on batch inference jobs",
            event_pattern=native,
            targets=[hint],
        )
        events_.Rule(
            self,
            "Commands",
            description="Commands to track and untrack batch inference jobs",
            event_bus=events.bus,
            event_pattern=events_.EventPattern(
                detail_type=[requests.TRACK_DETAIL_TYPE, requests.UNTRACK_DETAIL_TYPE]
            ),
            targets=[QueueTarget(self.queue, dead_letter_queue=events.dead_letters)],
        )
        if events.others:
            events_.Rule(
                self,
                "MembersNativeEvents",
                description="Bedrock's own events, as members forward them",
                event_bus=events.bus,
                event_pattern=native,
                targets=[hint],
            )


def _hint_without_message() -> events_.RuleTargetInput:
    """The one field that the inbox function uses, in an event of the same form.

    So Bedrock's message is in no queue: not in this one, and not in the dead-letter queue, which
    would keep it for two weeks.
    """
    return events_.RuleTargetInput.from_object(
        {
            "source": requests.NATIVE_SOURCE,
            "detail-type": requests.NATIVE_DETAIL_TYPE,
            "detail": {"batchJobArn": events_.EventField.from_path("$.detail.batchJobArn")},
        }
    )
