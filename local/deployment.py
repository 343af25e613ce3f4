"""Deploying the app to the local cloud with the real `cdk`, and using what was deployed.

A `Deployment` knows nothing but the public contract: the stack's outputs, the two tables, the
events, and the monitor function's empty payload.
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bbm.tables import plain
from local.clients import Clients
from local.emulator import Emulator
from local.waiting import wait_for

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

ROOT = Path(__file__).resolve().parent.parent
STACK = "BedrockBatchMonitor"
MEMBER_STACK = "BedrockBatchMonitorMember"
EVENT_SOURCE = "bedrock-batch-monitor"

_COMMAND_SECONDS = 600.0
_QUEUE_BATCH = 10
_LONG_POLL_SECONDS = 1
# Settings of the AWS tools that would lead a command to the user's own account.
_AWS_PREFIXES = ("AWS_", "CDK_")
_SETTINGS = {
    # One banner per Node release that jsii regards as too old or too new, and questions to the
    # network about notices and newer versions.
    "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20,22,24",
    "JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION": "1",
    "CDK_DISABLE_CLI_TELEMETRY": "true",
    "CDK_DISABLE_VERSION_CHECK": "1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


class DeployError(RuntimeError):
    """A `cdk` command failed; the message ends with the command's own output."""


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
    dashboard_name: str
    event_bus_arn: str | None = None
    """Where more than the stack's own account and region is monitored."""


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
    try:
        outputs = Outputs(
            jobs_table_name=values["JobsTableName"],
            history_table_name=values["HistoryTableName"],
            event_bus_name=values["EventBusName"],
            monitor_function_name=values["MonitorFunctionName"],
            dead_letter_queue_url=values["DeadLetterQueueUrl"],
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
    """Take from the topics' policies what refuses requests without TLS, which the emulator lacks.

    Queues have such a statement too; nobody but their owner and AWS itself sends to those.
    """
    sns = client("sns")
    for page in sns.get_paginator("list_topics").paginate():
        for topic in page["Topics"]:
            arn = topic["TopicArn"]
            policy = json.loads(sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"])
            policy["Statement"] = [
                statement
                for statement in policy["Statement"]
                if statement.get("Condition") != {"Bool": {"aws:SecureTransport": "false"}}
            ]
            sns.set_topic_attributes(
                TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(policy)
            )


def deploy_member(
    monitor: "Deployment",
    scopes: Iterable[tuple[str, str]],
    *,
    context: Mapping[str, str] | None = None,
) -> None:
    """Deploy the second stack to accounts and regions, as people do it without the CDK there.

    One template is synthesized and given to CloudFormation in each. *context* are more settings.
    Raises DeployError if the monitor monitors nothing else, or a stack is not created.
    """
    wanted = tuple(scopes)
    if not wanted:
        return
    bus_arn = monitor.outputs.event_bus_arn
    if bus_arn is None:
        message = "the monitor has no output EventBusArn: its settings name nothing else"
        raise DeployError(message)
    emulator = monitor.emulator
    with tempfile.TemporaryDirectory(dir=emulator.directory) as scratch:
        settings = {"memberOf": bus_arn, **(context or {})}
        _cdk(
            ["synth", MEMBER_STACK, "--quiet", "--output", scratch, *_context(settings)],
            ROOT,
            _cdk_environment(emulator, None, None),
        )
        template = (Path(scratch) / f"{MEMBER_STACK}.template.json").read_text()
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


def _context(settings: Mapping[str, str]) -> list[str]:
    return [
        argument for key, value in settings.items() for argument in ("--context", f"{key}={value}")
    ]


def cdk_deploy(  # noqa: PLR0913 - settings with defaults, all named
    emulator: Emulator,
    app_directory: Path,
    *,
    stack: str,
    context: Mapping[str, str] | None = None,
    account: str | None = None,
    region: str | None = None,
) -> dict[str, str]:
    """Deploy *stack* of the CDK app in *app_directory* and return its outputs by name.

    The other arguments and the errors are those of `deploy`.
    """
    if emulator.enforces_iam:
        message = "deploy first, enforce IAM afterwards"
        raise DeployError(message)
    environment = _cdk_environment(emulator, account, region)
    target = f"aws://{account or emulator.account}/{region or emulator.region}"
    with tempfile.TemporaryDirectory(dir=emulator.directory) as name:
        scratch = Path(name)
        outputs = scratch / "outputs.json"
        # Outside of the app's directory: `cdk bootstrap` runs the app otherwise.
        _cdk(["bootstrap", target], scratch, environment)
        _cdk(
            [
                "deploy",
                stack,
                "--require-approval",
                "never",
                "--output",
                str(scratch / "cdk.out"),
                "--outputs-file",
                str(outputs),
                *_context(context or {}),
            ],
            app_directory,
            environment,
        )
        values: dict[str, str] = json.loads(outputs.read_text()).get(stack, {})
        return values


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
        """Ask for jobs to be tracked, in the way a user does: two attributes per job."""
        for arn in job_arns:
            self.client("dynamodb").put_item(
                TableName=self.outputs.jobs_table_name,
                Item={"jobArn": {"S": arn}, "tracking": {"S": "ACTIVE"}},
            )

    def poll(self, account: str | None = None, region: str | None = None) -> Any:  # noqa: ANN401 - whatever JSON the function answers with
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
        """Return a job's item as plain values (numbers as int or float), None if there is none."""
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

    @contextlib.contextmanager
    def subscribe(self, pattern: Mapping[str, Any] | None = None) -> Iterator["Subscription"]:
        """Receive the events that match an EventBridge pattern, by default all of the monitor's.

        A rule on the event bus and the queue that it fills, both removed at the end.
        """
        name = f"subscription-{uuid.uuid4().hex}"
        bus = self.outputs.event_bus_name
        sqs, events = self.client("sqs"), self.client("events")
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        try:
            queue_arn = f"arn:aws:sqs:{self.region}:{self.account}:{name}"
            rule_arn = events.put_rule(
                Name=name,
                EventBusName=bus,
                EventPattern=json.dumps(dict(pattern or {"source": [EVENT_SOURCE]})),
            )["RuleArn"]
            sqs.set_queue_attributes(
                QueueUrl=url, Attributes={"Policy": _delivery_policy(queue_arn, rule_arn)}
            )
            try:
                events.put_targets(
                    Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": queue_arn}]
                )
                yield Subscription(self.client, url)
            finally:
                with contextlib.suppress(events.exceptions.ResourceNotFoundException):
                    events.remove_targets(Rule=name, EventBusName=bus, Ids=["queue"])
                events.delete_rule(Name=name, EventBusName=bus)
        finally:
            sqs.delete_queue(QueueUrl=url)

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

        It answers for what the emulator does not see, which is every call to Bedrock's stand-in.
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
        """Take all messages off the dead-letter queue and return their bodies."""
        return _take(self.client, self.outputs.dead_letter_queue_url, wait_seconds=0)

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


class Subscription:
    """Events as EventBridge delivered them, with `source`, `detail-type`, `resources`, `detail`."""

    def __init__(self, client: Clients, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def receive(self, count: int = 1, *, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Return the events that arrived since the last call, at least `count` of them.

        `count=0` does not wait. Raises TimeoutError if fewer arrive within `timeout` seconds; the
        message lists those that did.
        """
        deadline = time.monotonic() + timeout
        events: list[dict[str, Any]] = []
        while True:
            wait = _LONG_POLL_SECONDS if len(events) < count else 0
            events += [
                json.loads(body) for body in _take(self._client, self._queue_url, wait_seconds=wait)
            ]
            if len(events) >= count:
                return events
            if time.monotonic() >= deadline:
                message = f"{len(events)} of {count} events within {timeout:g} s: {events}"
                raise TimeoutError(message)


def _take(client: Clients, queue_url: str, *, wait_seconds: int) -> list[str]:
    sqs = client("sqs")
    bodies: list[str] = []
    while True:
        messages = sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=_QUEUE_BATCH,
            WaitTimeSeconds=0 if bodies else wait_seconds,
        ).get("Messages", [])
        if not messages:
            return bodies
        for message in messages:
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            bodies.append(message["Body"])


def _delivery_policy(queue_arn: str, rule_arn: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": queue_arn,
                    "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
                }
            ],
        }
    )


def _cdk_environment(emulator: Emulator, account: str | None, region: str | None) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(_AWS_PREFIXES)}
    # The app's own Python and the pinned cdk come before anything installed on the machine.
    path = [
        str(Path(sys.executable).parent),
        str(ROOT / "node_modules" / ".bin"),
        own.get("PATH", os.defpath),
    ]
    return {
        **own,
        **_SETTINGS,
        **emulator.caller_environment(account, region),
        "PATH": os.pathsep.join(path),
    }


def _cdk(arguments: Sequence[str], directory: Path, environment: Mapping[str, str]) -> None:
    command = ["cdk", *arguments]
    # Found by hand: the search for a program uses this process's PATH, not the child's.
    with subprocess.Popen(  # noqa: S603 - a fixed command, no shell
        [str(ROOT / "node_modules" / ".bin" / "cdk"), "--no-notices", "--no-color", *arguments],
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # A group of its own, so that an interrupted or late command goes with the app it runs.
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=_COMMAND_SECONDS)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                output, _ = process.communicate()
                message = f"{' '.join(command)} took longer than {_COMMAND_SECONDS:g} s\n{output}"
                raise DeployError(message) from error
            raise
    if process.returncode:
        message = f"{' '.join(command)} ended with exit code {process.returncode}\n{output}"
        raise DeployError(message)
