"""Deploys the state machine of `retry.asl.json`, which repeats failed and missing records once."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import App, CfnOutput, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

DEFINITION = Path(__file__).with_name("retry.asl.json")
MODEL_ID = "amazon.nova-lite-v1:0"


class RetryAJob(Stack):
    """The state machine, and a role with the permissions of its states.

    `batch_role_arn` is the role that the job uses, and `model_id` is a foundation model.
    """

    def __init__(  # noqa: PLR0913 - what the state machine uses, all named
        self,
        scope: Construct,
        construct_id: str,
        *,
        event_bus_name: str,
        jobs_table_name: str,
        batch_role_arn: str,
        model_id: str = MODEL_ID,
    ) -> None:
        super().__init__(scope, construct_id)
        self._machine = sfn.StateMachine(
            self,
            "StateMachine",
            definition_body=sfn.DefinitionBody.from_string(DEFINITION.read_text()),
            definition_substitutions={
                "EventBusName": event_bus_name,
                "JobsTableName": jobs_table_name,
                "BatchRoleArn": batch_role_arn,
                "ModelId": model_id,
            },
        )
        self._allow(
            "bedrock:CreateModelInvocationJob",
            f"arn:{self.partition}:bedrock:{self.region}::foundation-model/{model_id}",
            # Bedrock chooses the id of a job.
            self.format_arn(service="bedrock", resource="model-invocation-job", resource_name="*"),
        )
        self._allow(
            "iam:PassRole",
            batch_role_arn,
            conditions={"StringEquals": {"iam:PassedToService": "bedrock.amazonaws.com"}},
        )
        self._allow(
            "events:PutEvents",
            self.format_arn(service="events", resource="event-bus", resource_name=event_bus_name),
        )
        self._allow(
            "dynamodb:GetItem",
            self.format_arn(service="dynamodb", resource="table", resource_name=jobs_table_name),
        )
        CfnOutput(self, "StateMachineArn", value=self._machine.state_machine_arn)

    def _allow(
        self, action: str, *resources: str, conditions: dict[str, dict[str, str]] | None = None
    ) -> None:
        self._machine.add_to_role_policy(
            iam.PolicyStatement(actions=[action], resources=list(resources), conditions=conditions)
        )


def main() -> None:
    """Synthesize the app."""
    app = App()
    RetryAJob(
        app,
        "RetryAJob",
        event_bus_name=app.node.get_context("eventBusName"),
        jobs_table_name=app.node.get_context("jobsTableName"),
        batch_role_arn=app.node.get_context("batchRoleArn"),
        model_id=app.node.try_get_context("modelId") or MODEL_ID,
    )
    app.synth()


if __name__ == "__main__":
    main()
