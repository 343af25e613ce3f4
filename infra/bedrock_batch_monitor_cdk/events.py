"""The bus that the monitor sends events to, the dead-letter queue, and that of failed polls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from aws_cdk import Duration, Names, RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from bedrock_batch_monitor_cdk.encryption import queue_encryption
from bedrock_batch_monitor_cdk.findings import acknowledge
from bedrock_batch_monitor_cdk.member_access import admit_members

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor_cdk.config import MonitorConfig
    from bedrock_batch_monitor_cdk.multi_scope import MultiScope


_UNIQUE_PART_CHARACTERS: Final = 100


class Events(Construct):
    """The custom event bus and the dead-letter queue; `key` encrypts queues and logs, if set.

    `multi_scope` are the scopes in addition to the stack's own; its accounts may forward Bedrock's
    events to the bus.

    The bus is a classic one: EventBridge's newer custom bus has deduplication, but only raw
    CloudFormation support in the CDK, and the events here carry an id to deduplicate by.

    It is always encrypted with AWS's own key, also with `kms=customer`. With a customer's key
    EventBridge also encrypts the patterns and targets of the rules: every subscriber would depend
    on the key, and a problem with the key could lose an event after PutEvents accepted it. The
    monitor could not detect that loss.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: MonitorConfig,
        key: kms.IKey | None,
        multi_scope: MultiScope | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.key = key
        self.multi_scope = multi_scope
        self.bus = events.EventBus(
            self,
            "Bus",
            event_bus_name=config.event_bus_name,
            description="Changes and ends of Bedrock batch inference jobs",
        )
        if config.event_bus_name is None:
            _name_by_stack(self.bus)
        if multi_scope is not None and multi_scope.accounts:
            admit_members(self.bus, multi_scope)
        self.dead_letters = self._build_dead_letters()
        self.failed_polls = self._build_failed_polls()

    @property
    def others(self) -> tuple[Scope, ...]:
        """The other accounts and Regions that are monitored."""
        return () if self.multi_scope is None else self.multi_scope.scopes.others

    @property
    def bus_name(self) -> str:
        """The name of the bus, which is known at synthesis."""
        bus = cast("events.CfnEventBus", self.bus.node.default_child)
        return str(Stack.of(self).resolve(bus.name))

    def _build_dead_letters(self) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            "DeadLetters",
            **queue_encryption(self.key),
            enforce_ssl=True,
            # The longest that SQS offers: a person has to look at it.
            retention_period=Duration.days(14),
            # No poll needs its messages: the next poll repeats the work of a failed one.
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(queue, "AwsSolutions-SQS3", "This is the dead-letter queue.")
        return queue

    def _build_failed_polls(self) -> sqs.Queue:
        """Why a poll failed or did not start, for one day.

        It has no alarm: the next poll repeats the work, and `NoPoll` reports polls that keep
        failing. In the dead-letter queue, one failed poll would be an alarm until
        somebody empties the queue.
        """
        queue = sqs.Queue(
            self,
            "FailedPolls",
            **queue_encryption(self.key),
            enforce_ssl=True,
            retention_period=Duration.days(1),
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(queue, "AwsSolutions-SQS3", "This is a dead-letter queue.")
        return queue


def _name_by_stack(bus: events.EventBus) -> None:
    """Make the generated name differ between stacks.

    The CDK generates it from the path of the bus in the app. That path contains the name of a stack
    unless the stack has a name of its own: then two deployments of one app, such as `pipeline-dev`
    and `pipeline-prod`, would have buses with the same name.
    """
    stack = Stack.of(bus)
    while stack.nested_stack_parent is not None:
        stack = stack.nested_stack_parent
    if stack.stack_name == stack.node.path.replace("/", "-"):
        return
    unique = Names.unique_resource_name(bus, max_length=_UNIQUE_PART_CHARACTERS)
    cast("events.CfnEventBus", bus.node.default_child).name = f"{stack.stack_name}-{unique}"
