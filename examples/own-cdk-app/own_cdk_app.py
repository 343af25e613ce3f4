"""The monitor in your own CDK app, with roles that track and read jobs, and a rule."""

from __future__ import annotations

from aws_cdk import App, CfnOutput, Duration, Stack
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from bedrock_batch_monitor_cdk import BedrockBatchMonitor, MonitorConfig


class Pipeline(Stack):
    """A monitor, a role that tracks jobs, a role that reads them, a queue for problems."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: MonitorConfig | None = None
    ) -> None:
        super().__init__(scope, construct_id)
        self.monitor = BedrockBatchMonitor(
            self, "Batches", config=config or MonitorConfig(stalled_after_minutes=120)
        )
        # `bbm --stack Pipeline` finds the monitor by these outputs.
        self.monitor.add_outputs()

        # The roles of your own functions. One tracks jobs, and the other queries them.
        submitter = iam.Role(
            self, "Submitter", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com")
        )
        self.monitor.grant_track(submitter)
        reader = iam.Role(self, "Reader", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.monitor.grant_query(reader)

        trouble = sqs.Queue(self, "Trouble", retention_period=Duration.days(14))
        self.monitor.on_job_ended(
            "ToTrouble",
            targets.SqsQueue(trouble),
            outcomes=[
                "CompletedWithErrors",
                "AllRecordsFailed",
                "PartiallyCompleted",
                "Failed",
                "Stopped",
                "Expired",
            ],
        )

        CfnOutput(self, "SubmitterRoleName", value=submitter.role_name)
        CfnOutput(self, "ReaderRoleName", value=reader.role_name)
        CfnOutput(self, "TroubleQueueUrl", value=trouble.queue_url)


def main() -> None:
    """Synthesize the app."""
    app = App()
    Pipeline(app, "Pipeline")
    app.synth()


if __name__ == "__main__":
    main()
