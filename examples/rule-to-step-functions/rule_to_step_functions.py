"""Starts a state machine for every job that ends, and branches on its terminal status."""

from __future__ import annotations

from aws_cdk import App, CfnOutput, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct


class RuleToStepFunctions(Stack):
    """The rule, the state machine, and a dead-letter queue for events that were not delivered."""

    def __init__(self, scope: Construct, construct_id: str, *, event_bus_name: str) -> None:
        super().__init__(scope, construct_id)
        state_machine = sfn.StateMachine(
            self, "StateMachine", definition_body=sfn.DefinitionBody.from_chainable(self._steps())
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
            targets=[targets.SfnStateMachine(state_machine, dead_letter_queue=undelivered)],
        )
        CfnOutput(self, "StateMachineArn", value=state_machine.state_machine_arn)

    def _steps(self) -> sfn.IChainable:
        """Three branches for five terminal statuses. Replace the `Pass` states with your steps."""
        use_output = self._output("Use the output", complete=True)
        use_part = self._output("Use the partial output", complete=False)
        no_output = sfn.Fail(
            self,
            "There is no output",
            error_path="$.detail.data.status",
            cause_path="$.detail.data.jobArn",
        )
        status = "$.detail.data.status"
        return (
            sfn.Choice(self, "How did it end?")
            .when(sfn.Condition.string_equals(status, "Completed"), use_output)
            .when(sfn.Condition.string_equals(status, "PartiallyCompleted"), use_part)
            .otherwise(no_output)
        )

    def _output(self, name: str, *, complete: bool) -> sfn.Pass:
        return sfn.Pass(
            self,
            name,
            parameters={
                "eventId.$": "$.detail.metadata.eventId",
                "jobArn.$": "$.detail.data.jobArn",
                "outputS3Uri.$": "$.detail.data.outputS3Uri",
                "complete": complete,
            },
        )


def main() -> None:
    """Synthesize the app."""
    app = App()
    RuleToStepFunctions(
        app, "RuleToStepFunctions", event_bus_name=app.node.get_context("eventBusName")
    )
    app.synth()


if __name__ == "__main__":
    main()
