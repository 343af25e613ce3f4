"""The bus that the monitor sends events to, and the queue of what could not be handled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Validations
from aws_cdk import aws_events as events
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from bedrock_batch_monitor_cdk.encryption import queue_encryption
from bedrock_batch_monitor_cdk.permissions import admit_members

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor_cdk.config import MonitorConfig
    from bedrock_batch_monitor_cdk.reach import Reach


class Events(Construct):
    """The custom event bus and the dead-letter queue; `key` encrypts queues and logs, if set.

    `reach` is what is monitored besides the stack's own account and Region; its accounts may
    forward Bedrock's events to the bus.

    The bus is a classic one: EventBridge's newer custom bus has deduplication, but only raw
    CloudFormation support in the CDK, and the events here carry an id to deduplicate by.

    It is encrypted with AWS's own key whatever `kms` says. Under a customer's key EventBridge
    encrypts the patterns and targets of its rules too, so that whoever subscribes would depend on
    the key, and trouble with the key would keep an event from the rules after PutEvents had taken
    it: the one loss that the monitor could not notice.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        config: MonitorConfig,
        key: kms.IKey | None,
        reach: Reach | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.key = key
        self.reach = reach
        self.bus = events.EventBus(
            self,
            "Bus",
            event_bus_name=config.event_bus_name,
            description="Endings and changes of Bedrock batch inference jobs",
        )
        if reach is not None and reach.accounts:
            admit_members(self.bus, reach)
        self.dead_letters = self._build_dead_letters()

    @property
    def others(self) -> tuple[Scope, ...]:
        """The other accounts and Regions that are monitored."""
        return () if self.reach is None else self.reach.scopes.others

    def _build_dead_letters(self) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            "DeadLetters",
            **queue_encryption(self.key),
            enforce_ssl=True,
            # The longest that SQS offers: somebody has to find the time to look.
            retention_period=Duration.days(14),
            # No poll needs what is in it: the next one does again what a failed one left.
            removal_policy=RemovalPolicy.DESTROY,
        )
        Validations.of(queue).acknowledge(
            Acknowledgment(id="AwsSolutions-SQS3", reason="This is the dead-letter queue.")
        )
        return queue
