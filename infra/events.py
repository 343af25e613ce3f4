"""The bus that the monitor sends events to, and the queue of what could not be handled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Validations
from aws_cdk import aws_events as events
from aws_cdk import aws_sqs as sqs
from constructs import Construct

if TYPE_CHECKING:
    from infra.config import MonitorConfig


class Events(Construct):
    """The custom event bus and the dead-letter queue.

    The bus is a classic one: EventBridge's newer custom bus has deduplication, but only raw
    CloudFormation support in the CDK, and the events here carry an id to deduplicate by.
    """

    def __init__(self, scope: Construct, construct_id: str, config: MonitorConfig) -> None:
        super().__init__(scope, construct_id)
        self.bus = events.EventBus(
            self,
            "Bus",
            event_bus_name=config.event_bus_name,
            description="Endings and changes of Bedrock batch inference jobs",
        )
        self.dead_letters = self._build_dead_letters()

    def _build_dead_letters(self) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            # The longest that SQS offers: somebody has to find the time to look.
            retention_period=Duration.days(14),
            # Nothing in it is needed to go on: the next poll does again what a failed one left.
            removal_policy=RemovalPolicy.DESTROY,
        )
        Validations.of(queue).acknowledge(
            Acknowledgment(id="AwsSolutions-SQS3", reason="This is the dead-letter queue.")
        )
        return queue
