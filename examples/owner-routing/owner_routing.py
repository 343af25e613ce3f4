"""Sends the events of batch inference jobs to one topic for each team, by the tag of the job."""

from __future__ import annotations

from aws_cdk import App, CfnOutput, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

# What a team wants to know of its jobs.
DETAIL_TYPES = [
    "Batch Inference Job Ended",
    "Batch Inference Job At Risk",
    "Batch Inference Job Deadline Missed",
    "Batch Inference Job Stalled",
    "Batch Inference Job Unreachable",
]


class OwnerRouting(Stack):
    """A topic and a rule for each team, and one for the jobs of nobody."""

    def __init__(
        self, scope: Construct, construct_id: str, *, event_bus_name: str, teams: list[str]
    ) -> None:
        super().__init__(scope, construct_id)
        self.bus = events.EventBus.from_event_bus_name(self, "Bus", event_bus_name)
        self.undelivered = sqs.Queue(
            self, "Undelivered", enforce_ssl=True, retention_period=Duration.days(14)
        )
        for team in teams:
            self._route(f"Team-{team}", [team])
        # A job without tags, without this tag, or of a team that has no topic.
        self._route("Nobody", [{"exists": False}, {"anything-but": teams}])

    def _route(self, name: str, team: list[object]) -> None:
        topic = sns.Topic(self, name, enforce_ssl=True)
        events.Rule(
            self,
            f"{name}Rule",
            event_bus=self.bus,
            event_pattern=events.EventPattern(
                source=["bedrock-batch-monitor"],
                detail_type=DETAIL_TYPES,
                detail={"data": {"tags": {"team": team}}},
            ),
            # Without the dead-letter queue, EventBridge drops an event that it cannot deliver
            # within 24 hours.
            targets=[targets.SnsTopic(topic, dead_letter_queue=self.undelivered)],
        )
        CfnOutput(self, f"{name}TopicArn", value=topic.topic_arn)


def main() -> None:
    """Synthesize the app."""
    app = App()
    OwnerRouting(
        app,
        "OwnerRouting",
        event_bus_name=app.node.get_context("eventBusName"),
        teams=app.node.get_context("teams").split(","),
    )
    app.synth()


if __name__ == "__main__":
    main()
