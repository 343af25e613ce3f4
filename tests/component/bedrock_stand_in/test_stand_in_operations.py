from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from local.bedrock import ManualClock, ModelMismatchError, Phase, Script, StandIn
from local.bedrock.errors import ServiceError
from local.bedrock.jobs import Job
from local.bedrock.lifecycle import SUCCESSORS
from local.bedrock.model import OPERATIONS, load_api

from .conftest import ACCOUNT, REQUEST, START, Connect

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

ALL_MEMBERS = REQUEST | {
    "clientRequestToken": "token-1",
    "inputDataConfig": {
        "s3InputDataConfig": {
            "s3InputFormat": "JSONL",
            "s3Uri": "s3://in-bucket/input.jsonl",
            "s3BucketOwner": ACCOUNT,
        }
    },
    "vpcConfig": {"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]},
    "timeoutDurationInHours": 48,
    "modelInvocationType": "Converse",
    "tags": [{"key": "team", "value": "search"}],
}
# A busy machine is not a failure.
unhurried = settings(deadline=None)
RUNNING = Script((Phase("Submitted", 60), Phase("InProgress", 600), Phase("Completed", None)))


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str, str]:
    """Return the HTTP status, code and message that a client saw."""
    response = error.value.response
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"]["Message"],
    )


def test_created_job_is_returned_as_submitted(bedrock: StandIn, client: BedrockClient) -> None:
    """Get returns the parameters of the request, as the API does, and the status Submitted."""
    arn = client.create_model_invocation_job(**ALL_MEMBERS)["jobArn"]
    job: dict[str, Any] = dict(client.get_model_invocation_job(jobIdentifier=arn))
    del job["ResponseMetadata"]
    echoed = {name: value for name, value in ALL_MEMBERS.items() if name != "tags"}
    assert job == echoed | {
        "jobArn": arn,
        "status": "Submitted",
        "submitTime": START,
        "lastModifiedTime": START,
        "jobExpirationTime": START + timedelta(hours=48),
        "totalRecordCount": 0,
        "processedRecordCount": 0,
        "successRecordCount": 0,
        "errorRecordCount": 0,
    }
    assert arn.startswith(f"arn:aws:bedrock:us-east-1:{ACCOUNT}:model-invocation-job/")
    assert job == bedrock.job(arn)


def test_job_is_found_by_its_id(client: BedrockClient) -> None:
    """The 12 characters at the end of the ARN are enough."""
    arn = client.create_model_invocation_job(**REQUEST)["jobArn"]
    assert client.get_model_invocation_job(jobIdentifier=arn[-12:])["jobArn"] == arn


def test_outputs_have_every_member_of_the_model(bedrock: StandIn, client: BedrockClient) -> None:
    """A job that failed while running shows them all, in Get and in List."""
    bedrock.plan("nightly-summaries", Script.ending("Failed"), total_records=100)
    arn = client.create_model_invocation_job(**ALL_MEMBERS)["jobArn"]
    bedrock.clock.advance(7200)
    model = client.meta.service_model
    got = set(client.get_model_invocation_job(jobIdentifier=arn)) - {"ResponseMetadata"}
    assert got == set(model.shape_for("GetModelInvocationJobResponse").members)
    (summary,) = client.list_model_invocation_jobs()["invocationJobSummaries"]
    assert set(summary) == set(model.shape_for("ModelInvocationJobSummary").members)


def test_repeated_client_request_token_returns_the_first_job(client: BedrockClient) -> None:
    """With other parameters it is a conflict."""
    request = REQUEST | {"clientRequestToken": "once"}
    first = client.create_model_invocation_job(**request)["jobArn"]
    assert client.create_model_invocation_job(**request)["jobArn"] == first
    assert len(client.list_model_invocation_jobs()["invocationJobSummaries"]) == 1
    with pytest.raises(client.exceptions.ConflictException):
        client.create_model_invocation_job(**request | {"jobName": "another"})


def test_stopped_job_has_the_status_stopping_first(bedrock: StandIn, client: BedrockClient) -> None:
    """It keeps the counts of that moment."""
    arn = bedrock.add_job(script=RUNNING, total_records=1000)
    bedrock.clock.advance(360)
    before = client.get_model_invocation_job(jobIdentifier=arn)
    client.stop_model_invocation_job(jobIdentifier=arn)
    stopping = client.get_model_invocation_job(jobIdentifier=arn)
    assert stopping["status"] == "Stopping"
    assert stopping["lastModifiedTime"] == bedrock.clock.now()
    client.stop_model_invocation_job(jobIdentifier=arn)
    bedrock.clock.advance(61)
    stopped = client.get_model_invocation_job(jobIdentifier=arn)
    assert stopped["status"] == "Stopped"
    assert stopped["endTime"] == stopped["lastModifiedTime"]
    assert 0 < stopped["processedRecordCount"] == before["processedRecordCount"] < 1000
    with pytest.raises(client.exceptions.ConflictException):
        client.stop_model_invocation_job(jobIdentifier=arn)


def test_missing_job_is_a_404(client: BedrockClient) -> None:
    """Get and Stop raise ResourceNotFoundException."""
    for call in (client.get_model_invocation_job, client.stop_model_invocation_job):
        with pytest.raises(client.exceptions.ResourceNotFoundException) as error:
            call(jobIdentifier="abcdefghij12")
        assert refusal(error)[0] == 404


def test_accounts_and_regions_are_separate(bedrock: StandIn, connect: Connect) -> None:
    """A 12-digit access key ID is the account; the Region is the one of the signature."""
    other = connect(bedrock.endpoint_url, key="210987654321", region="eu-west-1")
    named = connect(bedrock.endpoint_url, key="AKIDEXAMPLE", region="eu-west-1")
    arn = other.create_model_invocation_job(**REQUEST)["jobArn"]
    assert arn.startswith("arn:aws:bedrock:eu-west-1:210987654321:")
    assert named.list_model_invocation_jobs()["invocationJobSummaries"] == []
    assert named.create_model_invocation_job(**REQUEST)["jobArn"].split(":")[4] == ACCOUNT
    with pytest.raises(named.exceptions.AccessDeniedException):
        named.get_model_invocation_job(jobIdentifier=arn)
    elsewhere = connect(bedrock.endpoint_url, key="210987654321", region="eu-west-2")
    with pytest.raises(elsewhere.exceptions.ResourceNotFoundException):
        elsewhere.get_model_invocation_job(jobIdentifier=arn)


def test_endpoint_is_read_from_the_environment(
    bedrock: StandIn, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_ENDPOINT_URL_BEDROCK alone is enough for an unmodified client."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", bedrock.endpoint_url)
    arn = bedrock.add_job()
    assert connect(None).get_model_invocation_job(jobIdentifier=arn)["jobArn"] == arn


def test_job_with_a_later_submission_time_is_hidden_until_then(
    bedrock: StandIn, client: BedrockClient
) -> None:
    """It is neither read nor listed before that time."""
    arn = bedrock.add_job(submitted_at=START + timedelta(seconds=60))
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_model_invocation_job(jobIdentifier=arn)
    assert client.list_model_invocation_jobs()["invocationJobSummaries"] == []
    bedrock.clock.advance(60)
    assert client.get_model_invocation_job(jobIdentifier=arn)["status"] == "Submitted"
    assert len(client.list_model_invocation_jobs()["invocationJobSummaries"]) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"jobName": None}, "'jobName' failed to satisfy constraint: Member must not be null"),
        ({"jobName": "with space"}, "'jobName' failed to satisfy constraint: Member must satisfy"),
        ({"jobName": "x" * 64}, "less than or equal to 63"),
        ({"jobName": ""}, "greater than or equal to 1"),
        ({"jobName": 5}, "Member must be a string"),
        ({"roleArn": "arn:aws:iam::1:user/x"}, "regular expression pattern"),
        ({"timeoutDurationInHours": 23}, "greater than or equal to 24"),
        ({"timeoutDurationInHours": 169}, "less than or equal to 168"),
        ({"timeoutDurationInHours": "24"}, "Member must be a integer"),
        ({"modelInvocationType": "Chat"}, "enum value set: [InvokeModel, Converse]"),
        ({"inputDataConfig": {}}, "Exactly one member"),
        ({"inputDataConfig": {"s3InputDataConfig": {}}}, "s3InputDataConfig.s3Uri"),
        ({"vpcConfig": {"subnetIds": ["a b"], "securityGroupIds": ["s"]}}, "subnetIds.1.member"),
        ({"vpcConfig": {"subnetIds": [], "securityGroupIds": ["s"]}}, "vpcConfig.subnetIds"),
        ({"vpcConfig": {"subnetIds": ["s"], "securityGroupIds": ["s"] * 6}}, "equal to 5"),
    ],
)
def test_invalid_request_is_refused_with_the_reason(
    bedrock: StandIn, connect: Connect, change: dict[str, Any], said: str
) -> None:
    """What botocore's model forbids is a ValidationException that names the member."""
    client = connect(bedrock.endpoint_url, parameter_validation=False)
    request = {k: v for k, v in (REQUEST | change).items() if v is not None}
    with pytest.raises(client.exceptions.ValidationException) as error:
        client.create_model_invocation_job(**request)
    status, code, message = refusal(error)
    assert (status, code) == (400, "ValidationException")
    assert said in message
    assert client.list_model_invocation_jobs()["invocationJobSummaries"] == []


@pytest.mark.parametrize(
    "request_",
    [
        {"maxResults": 0},
        {"maxResults": 1001},
        {"maxResults": "many"},
        {"statusEquals": "Paused"},
        {"sortBy": "Name"},
        {"sortOrder": "Random"},
        {"nameContains": "a b"},
        {"nextToken": "no spaces please"},
        {"nextToken": "made-up"},
        {"nextToken": "W10="},
    ],
)
def test_invalid_list_request_is_refused(
    bedrock: StandIn, connect: Connect, request_: dict[str, Any]
) -> None:
    """Ranges, enums and patterns of the model apply to parameters; a token belongs to its list."""
    client = connect(bedrock.endpoint_url, parameter_validation=False)
    with pytest.raises(client.exceptions.ValidationException):
        client.list_model_invocation_jobs(**request_)


@pytest.mark.parametrize(
    "identifier", ["short", "UPPERCASE123", "arn:aws:bedrock:us-east-1:1:model-invocation-job/x"]
)
def test_invalid_identifier_is_a_validation_error(client: BedrockClient, identifier: str) -> None:
    """It is not a 404."""
    with pytest.raises(client.exceptions.ValidationException):
        client.get_model_invocation_job(jobIdentifier=identifier)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"\xff"])
def test_body_that_is_not_an_object_is_refused(bedrock: StandIn, body: bytes) -> None:
    """It is a ValidationException."""
    status, headers, document = raw(bedrock, "POST", "/model-invocation-job", body)
    assert (status, headers["x-amzn-ErrorType"]) == (400, "ValidationException")
    assert document.keys() == {"message"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/model-invocation-job"),
        ("DELETE", "/model-invocation-job/abcdefghij12"),
        ("GET", "/foundation-models"),
    ],
)
def test_other_operations_are_a_404(bedrock: StandIn, method: str, path: str) -> None:
    """Only the four operations exist."""
    status, headers, _ = raw(bedrock, method, path)
    assert (status, headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")


def raw(
    bedrock: StandIn, method: str, path: str, body: bytes | None = None
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Send what no client would, and return status, headers and document."""
    connection = http.client.HTTPConnection(urlsplit(bedrock.endpoint_url).netloc, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, dict(response.headers), json.loads(response.read())
    finally:
        connection.close()


def test_response_has_the_form_of_the_service(bedrock: StandIn) -> None:
    """It is JSON with a request ID, times are ISO 8601 texts, and an error has its name."""
    arn = bedrock.add_job(submitted_at=START - timedelta(milliseconds=1500))
    status, headers, document = raw(bedrock, "GET", f"/model-invocation-job/{arn[-12:]}")
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert len(headers["x-amzn-RequestId"]) == 36
    assert document["submitTime"] == "2026-11-24T19:59:58.500Z"
    assert document["jobExpirationTime"] == "2026-11-25T19:59:58.500Z"
    status, headers, document = raw(bedrock, "GET", "/model-invocation-job/abcdefghij12")
    assert (status, headers["x-amzn-ErrorType"]) == (404, "ResourceNotFoundException")
    assert document == {"message": "The job abcdefghij12 was not found"}


def test_calls_are_counted_by_operation_and_result(bedrock: StandIn, client: BedrockClient) -> None:
    arn = bedrock.add_job()
    for _ in range(3):
        client.get_model_invocation_job(jobIdentifier=arn)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_model_invocation_job(jobIdentifier="abcdefghij12")
    client.list_model_invocation_jobs()
    assert bedrock.calls == {
        ("GetModelInvocationJob", "OK"): 3,
        ("GetModelInvocationJob", "ResourceNotFoundException"): 1,
        ("ListModelInvocationJobs", "OK"): 1,
    }


# Against drift


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_equal_those_of_botocore(client: BedrockClient, name: str) -> None:
    """Route, members, required members and errors equal those of the client's own model."""
    theirs = client.meta.service_model.operation_model(name)
    ours = load_api().operations[name]
    assert (ours.method, ours.request_uri) == (theirs.http["method"], theirs.http["requestUri"])
    assert ours.success_status == theirs.http["responseCode"]
    assert set(ours.input_shape.members) == set(theirs.input_shape.members)
    assert set(ours.output_shape.members) == set(theirs.output_shape.members)
    assert ours.input_shape.required_members == theirs.input_shape.required_members
    assert ours.output_shape.required_members == theirs.output_shape.required_members
    assert set(ours.errors) == {shape.name for shape in theirs.error_shapes}


def test_statuses_of_scripts_equal_those_of_botocore() -> None:
    """They are exactly those of the model's enum."""
    assert set(SUCCESSORS) == set(load_api().statuses)


GOOD = {
    "jobArn": f"arn:aws:bedrock:us-east-1:{ACCOUNT}:model-invocation-job/abcdefghij12",
    "submitTime": START,
    **{k: REQUEST[k] for k in ("modelId", "roleArn", "inputDataConfig", "outputDataConfig")},
}


@pytest.mark.parametrize(
    "change",
    [
        {"progress": 5},
        {"inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://in-bucket/x", "size": 1}}},
        {"inputDataConfig": {}},
        {"jobArn": None},
        {"status": "Paused"},
        {"submitTime": "2026-11-24T20:00:00Z"},
        {"submitTime": START.replace(tzinfo=None)},
        {"totalRecordCount": -1},
        {"totalRecordCount": 1.0},
        {"totalRecordCount": True},
        {"message": "x" * 2049},
        {"roleArn": "role"},
        {"timeoutDurationInHours": 12},
        {"vpcConfig": {"subnetIds": "subnet-1", "securityGroupIds": ["sg-1"]}},
    ],
)
def test_response_outside_the_model_is_refused(change: dict[str, Any]) -> None:
    """The stand-in sends no unknown member, omits none, and sends no value that is not allowed."""
    get = load_api().operations["GetModelInvocationJob"]
    assert get.serialize(GOOD).keys() == GOOD.keys()
    with pytest.raises(ModelMismatchError):
        get.serialize({k: v for k, v in (GOOD | change).items() if v is not None or k != "jobArn"})


def test_error_that_the_operation_does_not_list_is_refused(bedrock: StandIn) -> None:
    """List has no ResourceNotFoundException, so no fault can make it return one."""
    with pytest.raises(ModelMismatchError):
        load_api().operations["ListModelInvocationJobs"].error_status("ResourceNotFoundException")
    for arguments in (
        {"error": "ResourceNotFoundException", "operation": "ListModelInvocationJobs"},
        {"error": "NoSuchException"},
    ):
        with pytest.raises(ValueError, match="cannot answer"):
            bedrock.faults.fail(**arguments)


def test_bug_of_the_stand_in_is_raised_at_its_end(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response that is refused is a 500 to the client, and leaving the stand-in raises it."""
    original = Job.attributes

    def leave() -> None:
        with StandIn(clock=ManualClock(START)) as bedrock:
            arn = bedrock.add_job(account=ACCOUNT)
            monkeypatch.setattr(Job, "attributes", lambda *a: original(*a) | {"progress": 5})
            with pytest.raises(ClientError) as error:
                connect(bedrock.endpoint_url).get_model_invocation_job(jobIdentifier=arn)
            assert refusal(error)[0] == 500
            assert bedrock.calls == {("GetModelInvocationJob", "StandInBug"): 1}

    with pytest.raises(ModelMismatchError, match="has no member progress"):
        leave()


def test_job_that_the_model_forbids_is_refused(bedrock: StandIn) -> None:
    """A job that the API could not show, now or at its end, cannot be added."""
    for wrong in (
        {"job_name": "no spaces"},
        {"timeout_hours": 12},
        {"script": Script.ending("Failed", "x" * 2049)},
    ):
        with pytest.raises(ModelMismatchError):
            bedrock.add_job(**wrong)
    assert bedrock.store.arns() == []


def test_concurrent_clients_read_their_own_jobs(bedrock: StandIn, client: BedrockClient) -> None:
    """Sixteen threads read 200 jobs while more are added, and each gets the requested job."""

    def read(arn: str) -> str:
        bedrock.add_job()
        return client.get_model_invocation_job(jobIdentifier=arn)["jobArn"]

    arns = [bedrock.add_job() for _ in range(200)]
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(read, arns)) == arns
    assert bedrock.calls == {("GetModelInvocationJob", "OK"): 200}
    assert len(bedrock.store.arns()) == 400


@given(query=st.text(max_size=60), body=st.binary(max_size=60), path=st.text(max_size=30))
@unhurried
def test_any_request_is_parsed_or_refused(query: str, body: bytes, path: str) -> None:
    """Any request is read or is a ValidationException, never another failure."""
    for operation in load_api().operations.values():
        with suppress(ServiceError):
            operation.parse({"jobIdentifier": path}, query, body)


def test_key_of_an_assumed_role_belongs_to_its_account(bedrock: StandIn) -> None:
    """The emulator decides the account of a key that is not an account number."""
    bedrock.account_of = {"ASIAMEMBER": "222222222222"}.get
    signature = "AWS4-HMAC-SHA256 Credential={}/20261124/eu-west-1/bedrock/aws4_request, Signed"
    assert bedrock.scope(signature.format("ASIAMEMBER")) == ("222222222222", "eu-west-1")
    assert bedrock.scope(signature.format("ASIAOTHER")) == (ACCOUNT, "eu-west-1")
    assert bedrock.scope(signature.format("333333333333")) == ("333333333333", "eu-west-1")
