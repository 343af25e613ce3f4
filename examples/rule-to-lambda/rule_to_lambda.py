"""Invokes a function for every job with output. It counts records by model, each job once."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import App, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

# The layer of the Powertools project for the Python version and architecture of the function.
POWERTOOLS_ACCOUNT = "017000801446"
POWERTOOLS_LAYER = "AWSLambdaPowertoolsPythonV3-python313-arm64:27"


class RuleToLambda(Stack):
    """The rule, the function, the table of its counts, and the table of handled events."""

    def __init__(self, scope: Construct, construct_id: str, *, event_bus_name: str) -> None:
        super().__init__(scope, construct_id)
        totals = self._table("Totals", "modelId")
        # The idempotency utility of Powertools uses these attributes.
        handled = self._table("Handled", "id", time_to_live_attribute="expiration")
        function = self._function(totals, handled)
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
                detail={
                    "data": {"outcome": ["Completed", "CompletedWithErrors", "PartiallyCompleted"]}
                },
            ),
            targets=[targets.LambdaFunction(function, dead_letter_queue=undelivered)],
        )
        CfnOutput(self, "TotalsTableName", value=totals.table_name)
        CfnOutput(self, "FunctionName", value=function.function_name)

    def _function(self, totals: dynamodb.TableV2, handled: dynamodb.TableV2) -> lambda_.Function:
        layer = self.format_arn(
            service="lambda",
            account=POWERTOOLS_ACCOUNT,
            resource=f"layer:{POWERTOOLS_LAYER}",
        )
        function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler="job_ended.handler",
            code=lambda_.Code.from_asset(str(Path(__file__).parent / "function")),
            layers=[lambda_.LayerVersion.from_layer_version_arn(self, "Powertools", layer)],
            timeout=Duration.seconds(30),
            environment={
                "TOTALS_TABLE": totals.table_name,
                "HANDLED_TABLE": handled.table_name,
                "POWERTOOLS_SERVICE_NAME": "batch-totals",
            },
            log_group=logs.LogGroup(
                self,
                "Log",
                retention=logs.RetentionDays.ONE_MONTH,
                removal_policy=RemovalPolicy.DESTROY,
            ),
        )
        totals.grant(function, "dynamodb:UpdateItem")
        handled.grant(
            function,
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        )
        return function

    def _table(
        self, table_id: str, key: str, *, time_to_live_attribute: str | None = None
    ) -> dynamodb.TableV2:
        return dynamodb.TableV2(
            self,
            table_id,
            partition_key=dynamodb.Attribute(name=key, type=dynamodb.AttributeType.STRING),
            billing=dynamodb.Billing.on_demand(),
            time_to_live_attribute=time_to_live_attribute,
            removal_policy=RemovalPolicy.DESTROY,
        )


def main() -> None:
    """Synthesize the app."""
    app = App()
    RuleToLambda(app, "RuleToLambda", event_bus_name=app.node.get_context("eventBusName"))
    app.synth()


if __name__ == "__main__":
    main()
