"""Sends the event of every batch inference job that did not complete to a queue."""

from __future__ import annotations

from aws_cdk import App, CfnOutput, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct


class RuleToSqs(Stack):
    """The rule, the queue, and a dead-letter queue for events that were not delivered."""

    def __init__(self, scope: Construct, construct_id: str, *, event_bus_name: str) -> None:
        super().__init__(scope, construct_id)
        queue = sqs.Queue(self, "Queue", enforce_ssl=True, retention_period=Duration.days(14))
        undelivered = sqs.Queue(
            self, "Undelivered", enforce_ssl=True, retention_period=Duration.days(14)
        )
        events.Rule(
            self,
            "Rule",
            event_bus=events.EventBus.from_event_bus_name(self, "Bus", event_bus_name),
            event_pattern=events.EventPattern(
                source=["bedrock-batch-monitor"],
                detail_type=["Batch Inference Job Ended"],
                detail={"data": {"outcome": [{"anything-but": ["Completed"]}]}},
            ),
            # Without the dead-letter queue, EventBridge drops an event that it cannot deliver
            # within 24 hours.
            targets=[targets.SqsQueue(queue, dead_letter_queue=undelivered)],
        )
        CfnOutput(self, "QueueUrl", value=queue.queue_url)


def main() -> None:
    """Synthesize the app."""
    app = App()
    RuleToSqs(app, "RuleToSqs", event_bus_name=app.node.get_context("eventBusName"))
    app.synth()


if __name__ == "__main__":
    main()
