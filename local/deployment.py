"""Deploying the app to the local cloud with the real `cdk`, and using what was deployed.

A `Deployment` uses only the public contract: the stack's outputs, the two tables, the events, and
the monitor function's empty payload.
"""

import base64
import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bbm.tables import plain
from local.cdk import ROOT, DeployError, cdk_deploy, synthesize
from local.clients import Clients
from local.emulator import Emulator
from local.subscription import Subscription, subscription, take
from local.waiting import wait_for

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

STACK = "BedrockBatchMonitor"
MEMBER_STACK = "BedrockBatchMonitorMember"
EVENT_SOURCE = "bedrock-batch-monitor"


class PollError(RuntimeError):
    """The monitor function failed; the message has its error and the tail of its log."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of the stack."""

    jobs_table_name: str
    history_table_name: str
    event_bus_name: str
    monitor_function_name: str
    dead_letter_queue_url: str
    failed_polls_queue_url: str
    dashboard_name: str
    event_bus_arn: str | None = None
    """Set if other accounts or Regions are monitored."""


def deploy(
    emulator: Emulator,
    *,
    context: Mapping[str, str] | None = None,
    account: str | None = None,
    region: str | None = None,
) -> "Deployment":
    """Deploy the app to an account and region of a running emulator, by default its own.

    *context* are settings of the app, as in `cdk deploy -c key=value`; *account* has twelve digits.

    Raises DeployError if a command fails or does not end within ten minutes, if the emulator
    enforces IAM (deploy before that), or if the stack lacks an output.
    """
    values = cdk_deploy(
        emulator, ROOT, stack=STACK, context=context, account=account, region=region
    )
    return deployment_of(emulator, values, account=account, region=region)


def deployment_of(
    emulator: Emulator,
    values: Mapping[str, str],
    *,
    account: str | None = None,
    region: str | None = None,
) -> "Deployment":
    """The deployment of a stack with these outputs; raises DeployError if one is missing."""
    try:
        outputs = Outputs(
            jobs_table_name=values["JobsTableName"],
            history_table_name=values["HistoryTableName"],
            event_bus_name=values["EventBusName"],
            monitor_function_name=values["MonitorFunctionName"],
            dead_letter_queue_url=values["DeadLetterQueueUrl"],
            failed_polls_queue_url=values["FailedPollsQueueUrl"],
            dashboard_name=values["DashboardName"],
            event_bus_arn=values.get("EventBusArn"),
        )
    except KeyError as error:
        message = f"the stack has no output {error}, only {sorted(values)}"
        raise DeployError(message) from error
    deployment = Deployment(emulator, outputs, account=account, region=region)
    _let_plain_http_publish(deployment.client)
    return deployment


def _let_plain_http_publish(client: Clients) -> None:
    """Remove the statements of policies that require TLS, which the emulator lacks."""
    sqs = client("sqs")
    for url in sqs.list_queues().get("QueueUrls", ()):
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        text = answer.get("Attributes", {}).get("Policy")
        if text:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": _without_tls(text)})
    sns = client("sns")
    for page in sns.get_paginator("list_topics").paginate():
        for topic in page["Topics"]:
            arn = topic["TopicArn"]
            text = sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"]
            sns.set_topic_attributes(
                TopicArn=arn, AttributeName="Policy", AttributeValue=_without_tls(text)
            )


def _without_tls(text: str) -> str:
    """A policy without the statements that require TLS."""
    policy = json.loads(text)
    policy["Statement"] = [
        statement
        for statement in policy["Statement"]
        if statement.get("Condition") != {"Bool": {"aws:SecureTransport": "false"}}
    ]
    return json.dumps(policy)


def deploy_member(
    monitor: "Deployment",
    scopes: Iterable[tuple[str, str]],
    *,
    context: Mapping[str, str] | None = None,
) -> None:
    """Deploy the second stack to accounts and Regions without the CDK.

    CloudFormation gets the same template in each. *context* are more settings. Raises DeployError
    if the monitor has no other scopes, or a stack is not created.
    """
    wanted = tuple(scopes)
    if not wanted:
        return
    bus_arn = monitor.outputs.event_bus_arn
    if bus_arn is None:
        message = "the monitor has no output EventBusArn: its settings name no other scope"
        raise DeployError(message)
    emulator = monitor.emulator
    template = synthesize(emulator, MEMBER_STACK, {"memberOf": bus_arn, **(context or {})})
    for account, region in wanted:
        stacks = emulator.clients(account, region)("cloudformation")
        stacks.create_stack(
            StackName=MEMBER_STACK, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"]
        )
        stack = wait_for(
            lambda stacks=stacks: _finished(stacks),  # type: ignore[misc]
            what=f"{MEMBER_STACK} in {account}/{region}",
        )
        if stack["StackStatus"] != "CREATE_COMPLETE":
            message = f"{MEMBER_STACK} in {account}/{region}: {stack}"
            raise DeployError(message)


def _finished(stacks: "CloudFormationClient") -> Any:  # noqa: ANN401 - a stack's description
    [stack] = stacks.describe_stacks(StackName=MEMBER_STACK)["Stacks"]
    return None if stack["StackStatus"].endswith("IN_PROGRESS") else stack


class Deployment:
    """One deployed stack, used through its public contract; see `deploy`."""

    def __init__(
        self,
        emulator: Emulator,
        outputs: Outputs,
        *,
        account: str | None = None,
        region: str | None = None,
    ) -> None:
        self.emulator = emulator
        self.outputs = outputs
        self.account = account or emulator.account
        self.region = region or emulator.region

    @property
    def client(self) -> Clients:
        """Clients of the root user of the account deployed to: `client("dynamodb")`."""
        return self.emulator.clients(self.account, self.region)

    def track(self, *job_arns: str) -> None:
        """Track jobs as a user does: two attributes per job."""
        for arn in job_arns:
            self.client("dynamodb").put_item(
                TableName=self.outputs.jobs_table_name,
                Item={"jobArn": {"S": arn}, "tracking": {"S": "ACTIVE"}},
            )

    def poll(self, account: str | None = None, region: str | None = None) -> Any:  # noqa: ANN401 - JSON
        """Run one poll, by default of the stack's own account and region; return the answer.

        Raises PollError if the function fails.
        """
        scope = {"account": account, "region": region}
        answer = self.client("lambda").invoke(
            FunctionName=self.outputs.monitor_function_name,
            Payload=json.dumps({key: name for key, name in scope.items() if name}).encode(),
            LogType="Tail",
        )
        payload = answer["Payload"].read()
        if "FunctionError" in answer:
            log = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
            message = f"{payload.decode(errors='replace')}\n{log}"
            raise PollError(message)
        return json.loads(payload)

    def job(self, job_arn: str) -> dict[str, Any] | None:
        """Return a job's item as plain values (numbers as int or float), None without one."""
        answer = self.client("dynamodb").get_item(
            TableName=self.outputs.jobs_table_name,
            Key={"jobArn": {"S": job_arn}},
            ConsistentRead=True,
        )
        return dict(plain(answer["Item"])) if "Item" in answer else None

    def history(self, job_arn: str) -> list[dict[str, Any]]:
        """Return a job's recorded transitions as plain values, by sequence."""
        pages = (
            self.client("dynamodb")
            .get_paginator("query")
            .paginate(
                TableName=self.outputs.history_table_name,
                KeyConditionExpression="jobArn = :job",
                ExpressionAttributeValues={":job": {"S": job_arn}},
                ConsistentRead=True,
            )
        )
        return [dict(plain(item)) for page in pages for item in page["Items"]]

    def subscribe(
        self, pattern: Mapping[str, Any] | None = None
    ) -> contextlib.AbstractContextManager[Subscription]:
        """Receive the events that match an EventBridge pattern, by default all of the monitor's."""
        return subscription(
            self.client,
            bus=self.outputs.event_bus_name,
            pattern=pattern or {"source": [EVENT_SOURCE]},
            queue_arn_prefix=f"arn:aws:sqs:{self.region}:{self.account}:",
        )

    def send(self, detail_type: str, detail: Mapping[str, Any], source: str = "test") -> None:
        """Put an event on the bus, such as `Track Batch Inference Job`.

        Raises RuntimeError if the bus refuses it.
        """
        answer = self.client("events").put_events(
            Entries=[
                {
                    "EventBusName": self.outputs.event_bus_name,
                    "Source": source,
                    "DetailType": detail_type,
                    "Detail": json.dumps(dict(detail)),
                }
            ]
        )
        if answer["FailedEntryCount"]:
            message = f"the event was refused: {answer['Entries']}"
            raise RuntimeError(message)

    def may(self, action: str, resource: str = "*") -> bool:
        """Whether the monitor function's role allows an action on a resource ARN.

        The emulator does not see calls to Bedrock's stand-in, so it cannot check them itself.
        """
        configuration = self.client("lambda").get_function_configuration(
            FunctionName=self.outputs.monitor_function_name
        )
        answer = self.client("iam").simulate_principal_policy(
            PolicySourceArn=configuration["Role"], ActionNames=[action], ResourceArns=[resource]
        )
        decisions = [result["EvalDecision"] for result in answer["EvaluationResults"]]
        return decisions == ["allowed"]

    def take_dead_letters(self) -> list[str]:
        """Remove all messages from the dead-letter queue and return their bodies."""
        return take(self.client, self.outputs.dead_letter_queue_url, wait_seconds=0)

    def take_failed_polls(self) -> list[str]:
        """Remove all messages from the queue of failed polls and return their bodies."""
        return take(self.client, self.outputs.failed_polls_queue_url, wait_seconds=0)

    def function_log(self) -> str:
        """Return what the monitor function has logged, oldest line first."""
        configuration = self.client("lambda").get_function_configuration(
            FunctionName=self.outputs.monitor_function_name
        )
        group = configuration.get("LoggingConfig", {}).get(
            "LogGroup", f"/aws/lambda/{self.outputs.monitor_function_name}"
        )
        logs = self.client("logs")
        try:
            pages = list(logs.get_paginator("filter_log_events").paginate(logGroupName=group))
        except logs.exceptions.ResourceNotFoundException:
            return ""
        lines = [event["message"].rstrip("\n") for page in pages for event in page["events"]]
        return "\n".join(lines)
