"""`bbm` on the tables and the bus of the component tests, with clients of the tests."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from bbm.environment import Environment
from bbm.main import app
from tests.component.conftest import ACCOUNT, REGION, START, Cloud, cloud

from .scene import complete

__all__ = ["cloud"]

OUTPUTS = {
    "JobsTableName": "jobs",
    "HistoryTableName": "history",
    "EventBusName": "monitor",
    "MonitorFunctionName": "monitor-function",
    "DeadLetterQueueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/dead-letters",
    "DashboardName": "BedrockBatchMonitor",
}
MONITOR_LOG = "monitor-log"
# Variables that change the output to a terminal or a pipe.
_TERMINAL_VARIABLES = ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "TTY_COMPATIBLE")


def refusal(code: str, operation: str, message: str = "no") -> ClientError:
    """The error of a client when AWS refuses a call."""
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


@dataclass
class Stacks:
    """The part of CloudFormation that bbm uses: one stack."""

    outputs: dict[str, str] = field(default_factory=lambda: dict(OUTPUTS))
    status: str = "CREATE_COMPLETE"

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        if StackName != "BedrockBatchMonitor":
            message = f"Stack with id {StackName} does not exist"
            raise refusal(code="ValidationError", operation="DescribeStacks", message=message)
        return {
            "Stacks": [
                {
                    "StackName": StackName,
                    "StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{StackName}/1234",
                    "StackStatus": self.status,
                    "Outputs": [
                        {"OutputKey": key, "OutputValue": value}
                        for key, value in self.outputs.items()
                    ],
                }
            ]
        }

    def get_template(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        assert StackName == "BedrockBatchMonitor"
        return {"TemplateBody": {"Resources": {}}}

    def list_stack_resources(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        assert StackName == "BedrockBatchMonitor"
        log_group = {
            "LogicalResourceId": "MonitorLog",
            "ResourceType": "AWS::Logs::LogGroup",
            "PhysicalResourceId": MONITOR_LOG,
        }
        return {"StackResourceSummaries": [log_group]}


@dataclass
class Functions:
    """The part of Lambda that bbm uses: the monitor function runs a poll."""

    poll: Callable[[], Any]
    error: str | None = None
    payload: dict[str, str] = field(default_factory=dict)
    """The payload that the next invocation must have."""

    def invoke(self, **call: Any) -> dict[str, Any]:
        assert call["FunctionName"] == OUTPUTS["MonitorFunctionName"]
        assert json.loads(call["Payload"]) == self.payload
        answer = {"FunctionError": self.error} if self.error is not None else {}
        return {"Payload": io.BytesIO(json.dumps(self.poll()).encode()), **answer}


@dataclass
class TestClients:
    """The clients of a test. Each can be replaced."""

    __test__ = False

    dynamodb: Any
    events: Any
    functions: Any
    cloudformation: Any = field(default_factory=Stacks)
    s3: Any = None
    region: str | None = REGION

    def client(self, service: str) -> Any:
        """Moto's client of another service."""
        return boto3.client(service, region_name=REGION)


@dataclass
class Answer:
    """The result of one command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass
class Bbm:
    """Runs `bbm` in this process: `bbm("jobs", "--all")`."""

    cloud: Cloud
    clients: TestClients
    slept: list[float] = field(default_factory=list)
    when_asleep: list[Callable[[], None]] = field(default_factory=list)
    raising: Exception | None = None

    def __call__(
        self, *arguments: str, terminal: int | None = None, charset: str = "utf-8"
    ) -> Answer:
        """Run a command, in a pipe or in a terminal with so many columns, in this encoding."""
        environment = Environment(connect=self._connect, now=self.now, sleep=self._sleep)
        env = (
            {"FORCE_COLOR": "1", "COLUMNS": str(terminal), "LINES": "24", "TERM": "xterm-256color"}
            if terminal
            else {}
        )
        runner = CliRunner(charset=charset, env=env)
        result = runner.invoke(app, list(arguments), obj=environment, prog_name="bbm")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    def complete(self, line: str) -> str:
        """What the shell completes for a line."""
        return complete(line, Environment(connect_quickly=self._connect, now=self.now))

    def json(self, *arguments: str) -> Any:
        """The document of a command that succeeds."""
        answer = self(*arguments, "--json")
        assert (answer.code, answer.err) == (0, "")
        return answer.document

    def now(self) -> datetime:
        return self.cloud.bedrock.clock.now()

    def _connect(self, profile: str | None, region: str | None) -> TestClients:  # noqa: ARG002
        if self.raising is not None:
            raise self.raising
        return self.clients

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.cloud.bedrock.clock.advance(seconds)
        if self.when_asleep:
            self.when_asleep.pop(0)()


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, whatever the terminal that the tests run in."""
    for name in _TERMINAL_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bbm(cloud: Cloud) -> Bbm:
    """The command line on a cloud of its own."""
    functions = Functions(lambda: cloud.poll().as_json())
    assert cloud.bedrock.clock.now() == START
    return Bbm(cloud, TestClients(cloud.dynamodb, cloud.events, functions))
