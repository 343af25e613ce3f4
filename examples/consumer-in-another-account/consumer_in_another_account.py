"""Sends the `Ended` events to a bus in another account, where a team has its own rules."""

from __future__ import annotations

from typing import cast

from aws_cdk import App, CfnOutput, Duration, Environment, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

# The name of the bus, which both accounts use.
CONSUMER_BUS = "batch-job-endings"


class ConsumerBus(Stack):
    """In the consumer's account: a bus that accepts the monitor's events, and a rule on it."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        monitor_account: str,
        env: Environment | None = None,
    ) -> None:
        super().__init__(scope, construct_id, env=env)
        bus = events.EventBus(self, "Bus", event_bus_name=CONSUMER_BUS)
        # A property of the bus, so that the bus never exists without its policy.
        cast("events.CfnEventBus", bus.node.default_child).policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "MonitorSendsEndings",
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:{self.partition}:iam::{monitor_account}:root"},
                    "Action": "events:PutEvents",
                    "Resource": self.format_arn(
                        service="events", resource="event-bus", resource_name=CONSUMER_BUS
                    ),
                    "Condition": {
                        # Both keys have several values: every entry of a call must match.
                        "ForAllValues:StringEquals": {
                            "events:source": "bedrock-batch-monitor",
                            "events:detail-type": "Batch Inference Job Ended",
                        },
                        "Null": {"events:source": "false", "events:detail-type": "false"},
                    },
                }
            ],
        }
        queue = sqs.Queue(self, "Queue", enforce_ssl=True, retention_period=Duration.days(14))
        events.Rule(
            self,
            "Rule",
            event_bus=bus,
            # With both in its pattern, the rule ignores events of others on the bus.
            event_pattern=events.EventPattern(
                source=["bedrock-batch-monitor"], account=[monitor_account]
            ),
            targets=[targets.SqsQueue(queue)],
        )
        CfnOutput(self, "QueueUrl", value=queue.queue_url)


class RuleToConsumer(Stack):
    """In the monitor's account: a rule with the consumer's bus as its target."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        event_bus_name: str,
        consumer_account: str,
        env: Environment | None = None,
    ) -> None:
        super().__init__(scope, construct_id, env=env)
        consumer = events.EventBus.from_event_bus_arn(
            self,
            "Consumer",
            self.format_arn(
                service="events",
                account=consumer_account,
                resource="event-bus",
                resource_name=CONSUMER_BUS,
            ),
        )
        undelivered = sqs.Queue(
            self, "Undelivered", enforce_ssl=True, retention_period=Duration.days(14)
        )
        events.Rule(
            self,
            "Rule",
            event_bus=events.EventBus.from_event_bus_name(self, "Bus", event_bus_name),
            event_pattern=events.EventPattern(
                source=["bedrock-batch-monitor"], detail_type=["Batch Inference Job Ended"]
            ),
            # The target creates the role that allows EventBridge to send to that bus alone.
            targets=[targets.EventBus(consumer, dead_letter_queue=undelivered)],
        )


def main() -> None:
    """Synthesize the stacks of both accounts; each is deployed with its account's credentials."""
    app = App()
    monitor_account = app.node.get_context("monitorAccount")
    consumer_account = app.node.get_context("consumerAccount")
    ConsumerBus(app, "ConsumerBus", monitor_account=monitor_account)
    RuleToConsumer(
        app,
        "RuleToConsumer",
        event_bus_name=app.node.get_context("eventBusName"),
        consumer_account=consumer_account,
    )
    app.synth()


if __name__ == "__main__":
    main()
