from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.exceptions import ClientError

from bbm.aws import SessionClients
from bbm.problems import is_transient
from bedrock_batch_monitor.domain import statuses
from local.bedrock import Phase, Script

from .conftest import Bbm, Stacks, refusal

DENIED = (
    "User: arn:aws:iam::123456789012:user/x is not authorized to perform: dynamodb:Query on "
    "resource: arn:aws:dynamodb:us-east-1:123456789012:table/jobs/index/active-jobs"
)


class Raising:
    """A client whose every operation fails in the same way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        def operation(*_: Any, **__: Any) -> Any:
            raise self.error

        return operation


def connecting(error: Exception) -> Callable[[Bbm], None]:
    """The clients cannot be made."""
    return lambda bbm: setattr(bbm, "raising", error)


def failing(service: str, error: Exception) -> Callable[[Bbm], None]:
    """The clients can be made, and this one's calls fail."""
    return lambda bbm: setattr(bbm.clients, service, Raising(error))


def nothing(_: Bbm) -> None:
    """The fault is in the arguments."""


@dataclass(frozen=True)
class Case:
    """A fault, and the texts that its error must have."""

    name: str
    fault: Callable[[Bbm], None]
    says: tuple[str, ...]
    command: tuple[str, ...] = ("jobs",)
    code: int = 1


CASES = (
    Case(
        "no credentials",
        failing("cloudformation", sdk.NoCredentialsError()),
        ("no AWS credentials found", "--profile", "aws sso login", "aws configure"),
    ),
    Case(
        "half of the credentials",
        failing("cloudformation", sdk.PartialCredentialsError(provider="env", cred_var="key")),
        ("no AWS credentials found",),
    ),
    Case(
        "unknown profile",
        connecting(sdk.ProfileNotFound(profile="x")),
        ("(x)", "aws configure list-profiles"),
    ),
    Case(
        "no region",
        connecting(sdk.NoRegionError()),
        ("no AWS Region is set", "--region", "AWS_REGION"),
    ),
    Case(
        "no region's name",
        connecting(sdk.InvalidRegionError(region_name="us east 1")),
        ("us east 1", "looks like us-east-1"),
    ),
    Case(
        "wrong region or not deployed",
        lambda bbm: setattr(bbm.clients, "region", "eu-west-1"),
        ("no stack Other in eu-west-1", "--region", "--stack", "make deploy"),
        ("jobs", "--stack", "Other"),
    ),
    Case(
        "deleted stack",
        lambda bbm: setattr(bbm.clients, "cloudformation", Stacks(status="DELETE_COMPLETE")),
        ("no stack BedrockBatchMonitor in us-east-1",),
    ),
    Case(
        "another stack or one under way",
        lambda bbm: setattr(bbm.clients, "cloudformation", Stacks({}, "CREATE_IN_PROGRESS")),
        ("has no output JobsTableName (its status is CREATE_IN_PROGRESS)", "--stack"),
    ),
    Case(
        "a table that is gone",
        failing("dynamodb", refusal("ResourceNotFoundException", "Query", "Table: jobs")),
        ("outputs of stack BedrockBatchMonitor", "make deploy"),
    ),
    Case(
        "no permission, named by the service",
        failing("dynamodb", refusal("AccessDeniedException", "Query", DENIED)),
        ("no permission for dynamodb:Query", "for your role or user"),
    ),
    Case(
        "no permission, named by the operation",
        failing("cloudformation", refusal("AccessDenied", "DescribeStacks")),
        ("no permission for cloudformation:DescribeStacks",),
    ),
    Case(
        "no permission to invoke",
        failing("functions", refusal("AccessDeniedException", "Invoke")),
        ("no permission for lambda:InvokeFunction",),
        ("poll",),
    ),
    Case(
        "expired token",
        failing("cloudformation", refusal("ExpiredToken", "DescribeStacks")),
        ("the AWS session has expired", "aws sso login"),
    ),
    Case(
        "expired login",
        failing("cloudformation", sdk.UnauthorizedSSOTokenError()),
        ("the AWS session has expired",),
    ),
    Case(
        "expired login of the console's kind",
        failing("cloudformation", sdk.LoginRefreshRequired()),
        ("the AWS session has expired", "aws login"),
    ),
    Case(
        "wrong keys",
        failing("cloudformation", refusal("InvalidClientTokenId", "DescribeStacks")),
        ("does not accept these credentials (InvalidClientTokenId)",),
    ),
    Case(
        "unreachable endpoint",
        failing("cloudformation", sdk.EndpointConnectionError(endpoint_url="http://127.0.0.1:9")),
        ("no answer from AWS", "http://127.0.0.1:9", "AWS_ENDPOINT_URL"),
    ),
    Case(
        "an answer that does not come",
        failing("dynamodb", sdk.ReadTimeoutError(endpoint_url="http://127.0.0.1:9")),
        ("no answer from AWS",),
    ),
    Case(
        "a busy service",
        failing("dynamodb", refusal("ThrottlingException", "Query")),
        ("AWS is busy (Query: ThrottlingException)", "try again"),
    ),
    Case(
        "another refusal",
        failing("dynamodb", refusal("ValidationException", "Query", "two\nlines")),
        ("AWS refused dynamodb:Query: ValidationException: two lines",),
    ),
    Case(
        "another fault of the SDK",
        failing("dynamodb", sdk.DataNotFoundError(data_path="x")),
        ("the AWS SDK failed (DataNotFoundError",),
    ),
    Case(
        "unknown job",
        nothing,
        ("no job 'zzzzzzzzzzzz' in the jobs table", "bbm jobs --all", "bbm track"),
        ("history", "zzzzzzzzzzzz"),
    ),
    Case(
        "unknown name",
        nothing,
        ("no job 'nightly' in the jobs table", "bbm jobs --all"),
        ("replay", "nightly"),
    ),
    Case(
        "unknown status",
        nothing,
        ("unknown status 'Complete' (did you mean Completed?)", *statuses.KNOWN),
        ("jobs", "--status", "Complete"),
        2,
    ),
    Case(
        "no time",
        nothing,
        ("--since 'soon'",),
        ("find", "--status", "Failed", "--since", "soon"),
        2,
    ),
    Case("no ARN", nothing, ("is not the ARN",), ("track", "nightly"), 2),
    Case("no such option", nothing, ("No such option: --nope",), ("jobs", "--nope"), 2),
    Case("no such command", nothing, ("No such command 'price'",), ("price",), 2),
    Case("no argument", nothing, ("Missing argument 'ARN'",), ("track",), 2),
    Case("interval", nothing, ("--interval",), ("watch", "--interval", "0"), 2),
    Case(
        "a defect of bbm",
        failing("dynamodb", KeyError("x")),
        ("bbm itself failed (KeyError: 'x')", "--debug"),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_error_is_one_line_with_its_remedy(bbm: Bbm, case: Case) -> None:
    """Only on standard error, without a traceback, with the right exit code."""
    case.fault(bbm)
    for options in ((), ("--json",)):
        answer = bbm(*case.command, *options)
        assert (answer.code, answer.out) == (case.code, "")
        assert "Traceback" not in answer.err
        [line] = [line for line in answer.err.splitlines() if line.startswith("Error: ")]
        assert answer.err.endswith(f"{line}\n")
        for said in case.says:
            assert said in line


def test_debug_shows_the_traceback_before_the_line(bbm: Bbm) -> None:
    """For a bug report."""
    bbm.clients.dynamodb = Raising(KeyError("x"))
    answer = bbm("jobs", "--debug")
    assert answer.code == 1
    assert answer.err.startswith("Traceback")
    assert answer.err.splitlines()[-1].startswith("Error: bbm itself failed")


def test_note_on_a_shared_name_is_only_on_standard_error(bbm: Bbm) -> None:
    """Standard output stays one document, of the newest job."""
    older = bbm.cloud.add_job("InProgress", job_name="nightly")
    bbm.cloud.bedrock.clock.advance(3600)
    newer = bbm.cloud.add_job("InProgress", job_name="nightly")
    bbm.cloud.poll()
    answer = bbm("history", "nightly", "--json")
    assert (answer.code, answer.document["jobArn"]) == (0, newer)
    assert f"The others: {older[-12:]} (2026-11-24 20:00 UTC)" in answer.err
    assert len(answer.err.splitlines()) == 1


def test_replay_explains_a_refused_call_to_the_bus(bbm: Bbm) -> None:
    """With the remedy for the error of the service."""
    arn = bbm.cloud.add_job(Script((Phase("Failed", None, "why"),)))
    bbm.cloud.poll()

    class Refusing(Raising):
        def describe_event_bus(self, **_: Any) -> dict[str, Any]:
            return {}

    bbm.clients.events = Refusing(refusal("AccessDeniedException", "PutEvents"))
    answer = bbm("replay", arn)
    assert answer.code == 1
    assert "no permission for events:PutEvents" in answer.err


def test_replay_sends_nothing_without_permission_to_describe_the_bus(bbm: Bbm) -> None:
    """PutEvents would report success for a deleted bus."""
    arn = bbm.cloud.add_job(Script((Phase("Failed", None, "why"),)))
    bbm.cloud.poll()
    bbm.cloud.new_events()
    bbm.clients.events = Raising(refusal("AccessDeniedException", "DescribeEventBus"))
    answer = bbm("replay", arn)
    assert answer.code == 1
    assert (
        "cannot determine whether the event bus monitor exists (EventBridge.AccessDenied"
        in answer.err
    )
    assert bbm.cloud.new_events() == []


def test_replay_explains_an_item_with_wrong_types(bbm: Bbm) -> None:
    """Someone changed the item of an ended job."""
    bbm.cloud.dynamodb.put_item(
        TableName="jobs",
        Item={
            "jobArn": {
                "S": "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghijkl"
            },
            "status": {"S": "Failed"},
            "eventId": {"S": "id"},
        },
    )
    answer = bbm("replay", "abcdefghijkl")
    assert answer.code == 1
    assert "an item of the tables cannot be read: attribute" in answer.err


def test_transient_errors_are_missing_responses_and_busy_services() -> None:
    """Refusals and missing credentials are not transient."""
    assert is_transient(sdk.ConnectTimeoutError(endpoint_url="x"))
    assert is_transient(refusal("ThrottlingException", "Query"))
    assert not is_transient(refusal("AccessDeniedException", "Query"))
    assert not is_transient(sdk.NoCredentialsError())
    assert isinstance(refusal("x", "y"), ClientError)


def test_clients_follow_the_configuration_of_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Region and endpoint come from the environment; options take precedence."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    ours = SessionClients(None, None)
    assert (ours.region, ours.dynamodb.meta.region_name) == ("eu-west-1", "eu-west-1")
    assert ours.functions.meta.endpoint_url == "http://127.0.0.1:9"
    assert ours.functions.meta.config.retries["total_max_attempts"] == 1
    assert SessionClients(None, "us-west-2").events.meta.region_name == "us-west-2"
    assert ours.cloudformation is ours.cloudformation
