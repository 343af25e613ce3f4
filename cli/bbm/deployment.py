"""The deployed monitor, found by the outputs of its stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bbm.problems import Problem, stack_missing
from bedrock_batch_monitor.domain.arns import JobArn, Scope, is_job_arn

if TYPE_CHECKING:
    from bbm.aws import Clients

DEFAULT_STACK: Final = "BedrockBatchMonitor"


@dataclass(frozen=True, slots=True)
class Deployment:
    """The names of the deployed resources, with their partition, account and Region."""

    jobs_table: str
    history_table: str
    event_bus: str
    function: str
    partition: str
    scope: Scope
    record_messages: bool = True
    state_table: str = ""

    def job_arn(self, job_id: str) -> str:
        """The ARN of the job with this id in the deployment's own account and Region."""
        return str(JobArn(self.partition, self.scope.region, self.scope.account, job_id))

    def is_own(self, job_arn: str) -> bool:
        """Whether a job belongs to the deployment's own partition, account and Region."""
        arn = JobArn.parse(job_arn)
        return arn.partition == self.partition and arn.scope == self.scope

    def can_monitor(self, text: str) -> bool:
        """Whether this is the ARN of a job that the deployment could monitor.

        The outputs of the stack name no other accounts and Regions, so only the partition is
        compared.
        """
        return is_job_arn(text) and JobArn.parse(text).partition == self.partition


def find(clients: Clients, stack: str) -> Deployment:
    """Find the stack; raises `Problem` if it does not exist or is not a stack of the monitor."""
    stacks = clients.cloudformation.describe_stacks(StackName=stack)["Stacks"]
    if not stacks or stacks[0]["StackStatus"] == "DELETE_COMPLETE":
        raise stack_missing(stack, clients.region)
    outputs = {
        output.get("OutputKey", ""): output.get("OutputValue", "")
        for output in stacks[0].get("Outputs", ())
    }
    # arn:<partition>:cloudformation:<region>:<account>:stack/<name>/<id>
    _, partition, _, region, account, *_ = stacks[0].get("StackId", "").split(":") + [""] * 5
    try:
        return Deployment(
            jobs_table=outputs["JobsTableName"],
            history_table=outputs["HistoryTableName"],
            event_bus=outputs["EventBusName"],
            function=outputs["MonitorFunctionName"],
            partition=partition or "aws",
            scope=Scope(account, region),
            # A stack of an earlier version does not have it.
            state_table=outputs.get("StateTableName", ""),
            record_messages=outputs.get("RecordMessages") != "false",
        )
    except KeyError as error:
        status = stacks[0]["StackStatus"]
        message = (
            f"stack {stack} has no output {error.args[0]} (its status is {status}): name the stack "
            "of the monitor with --stack, or deploy it with `make deploy`"
        )
        raise Problem(message) from error
