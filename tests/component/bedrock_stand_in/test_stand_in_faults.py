from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ReadTimeoutError,
)

from local.bedrock import ManualClock, Script, StandIn
from local.bedrock.errors import ServiceError
from local.bedrock.model import load_api

from .conftest import ACCOUNT, REQUEST, START, Connect

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

GET = "GetModelInvocationJob"


def outcomes(client: BedrockClient, arn: str, calls: int) -> list[str]:
    """Call Get so often and return how each call came out."""
    seen = []
    for _ in range(calls):
        try:
            client.get_model_invocation_job(jobIdentifier=arn)
            seen.append("OK")
        except ClientError as error:
            seen.append(error.response["Error"]["Code"])
    return seen


@pytest.mark.parametrize(
    ("operation", "error"),
    [(o.name, error) for o in load_api().operations.values() for error in o.errors],
)
def test_every_error_is_parsed_as_the_exception_of_the_client(
    bedrock: StandIn, client: BedrockClient, operation: str, error: str
) -> None:
    """Each error that an operation lists is the client's exception, with its status."""
    arn = bedrock.add_job()
    bedrock.faults.fail(error, operation=operation)
    call: dict[str, Any] = {
        "CreateModelInvocationJob": lambda: client.create_model_invocation_job(**REQUEST),
        GET: lambda: client.get_model_invocation_job(jobIdentifier=arn),
        "ListModelInvocationJobs": client.list_model_invocation_jobs,
        "StopModelInvocationJob": lambda: client.stop_model_invocation_job(jobIdentifier=arn),
        "ListTagsForResource": lambda: client.list_tags_for_resource(resourceARN=arn),
    }
    with pytest.raises(getattr(client.exceptions, error)) as raised:
        call[operation]()
    response = raised.value.response
    assert response["message"] == response["Error"]["Message"] != ""
    shape = client.meta.service_model.shape_for(error)
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    assert status == shape.metadata["error"]["httpStatusCode"]
    assert response["ResponseMetadata"]["RequestId"]
    assert bedrock.calls == {(operation, error): 1}


def test_throttled_share_of_calls_is_as_configured(bedrock: StandIn, client: BedrockClient) -> None:
    """About the configured share of calls is throttled, and the same ones in every run."""
    arn = bedrock.add_job()
    bedrock.faults.throttle(share=0.5, operation=GET)
    first = outcomes(client, arn, 100)
    assert 30 < first.count("ThrottlingException") < 70
    assert len(client.list_model_invocation_jobs()["invocationJobSummaries"]) == 1
    with StandIn(clock=ManualClock(START), seed=7, account=ACCOUNT) as again:
        again.faults.throttle(share=0.5, operation=GET)
        results = []
        for _ in range(100):
            try:
                again.faults.check(GET, None)
                results.append("OK")
            except ServiceError as error:
                results.append(error.code)
        assert results == first


def test_throttling_by_rate_is_a_token_bucket(bedrock: StandIn, client: BedrockClient) -> None:
    """With two calls a second, a burst of two succeeds, and then one call each half second."""
    arn = bedrock.add_job()
    bedrock.faults.throttle(per_second=2)
    assert outcomes(client, arn, 4) == ["OK", "OK"] + ["ThrottlingException"] * 2
    bedrock.clock.advance(0.5)
    assert outcomes(client, arn, 2) == ["OK", "ThrottlingException"]
    bedrock.clock.advance(60)
    assert outcomes(client, arn, 3) == ["OK", "OK", "ThrottlingException"]


def test_throttling_by_rate_can_use_real_time(connect: Connect) -> None:
    """A rate by real time does not depend on the simulated clock."""
    real = [0.0]
    with StandIn(clock=ManualClock(START), account=ACCOUNT, monotonic=lambda: real[0]) as bedrock:
        client = connect(bedrock.endpoint_url)
        arn = bedrock.add_job()
        bedrock.faults.throttle(per_second=1, real_time=True)
        bedrock.clock.advance(60)
        assert outcomes(client, arn, 2) == ["OK", "ThrottlingException"]
        real[0] += 1
        assert outcomes(client, arn, 2) == ["OK", "ThrottlingException"]


def test_fault_for_the_next_calls_ends_with_them(bedrock: StandIn, client: BedrockClient) -> None:
    arn = bedrock.add_job()
    bedrock.faults.fail(next_calls=2)
    assert outcomes(client, arn, 3) == ["InternalServerException"] * 2 + ["OK"]


def test_error_occurs_only_in_operations_that_list_it(
    bedrock: StandIn, client: BedrockClient
) -> None:
    """An error for all operations does not affect those that cannot return it."""
    arn = bedrock.add_job()
    bedrock.faults.fail("ConflictException")
    assert outcomes(client, arn, 1) == ["OK"]
    with pytest.raises(client.exceptions.ConflictException):
        client.stop_model_invocation_job(jobIdentifier=arn)


def test_reset_connection_is_a_connection_closed_error(
    bedrock: StandIn, client: BedrockClient
) -> None:
    """The next call succeeds."""
    arn = bedrock.add_job()
    bedrock.faults.fail("reset", next_calls=1)
    with pytest.raises(ConnectionClosedError):
        client.get_model_invocation_job(jobIdentifier=arn)
    assert outcomes(client, arn, 1) == ["OK"]
    assert bedrock.calls == {(GET, "reset"): 1, (GET, "OK"): 1}


@pytest.mark.parametrize(
    ("breakage", "begin"), [("truncated", '{"jobName":"batch-'), ("garbage", "<html>")]
)
def test_response_that_is_not_json_has_no_status(
    bedrock: StandIn, client: BedrockClient, breakage: str, begin: str
) -> None:
    """For the client, a truncated response, or one with other content, has no status.

    botocore uses a body that is not JSON as a message, and the output has a member of this name.
    """
    arn = bedrock.add_job()
    fault = bedrock.faults.fail(breakage)
    job = client.get_model_invocation_job(jobIdentifier=arn)
    assert job.keys() == {"message", "ResponseMetadata"}
    assert job["message"].startswith(begin)
    assert job["ResponseMetadata"]["HTTPStatusCode"] == 200
    bedrock.faults.remove(fault)
    assert outcomes(client, arn, 1) == ["OK"]


def test_delayed_response_times_out_the_client(bedrock: StandIn, connect: Connect) -> None:
    """It does not delay the end of the stand-in."""
    client = connect(bedrock.endpoint_url, read_timeout=0.1)
    arn = bedrock.add_job()
    bedrock.faults.delay(600, operation=GET)
    with pytest.raises(ReadTimeoutError):
        client.get_model_invocation_job(jobIdentifier=arn)
    assert client.list_model_invocation_jobs()["invocationJobSummaries"]


def test_access_to_one_job_can_be_denied(bedrock: StandIn, client: BedrockClient) -> None:
    """The job is named by ARN or by ID, and can be allowed again."""
    arn, other = bedrock.add_job(), bedrock.add_job()
    bedrock.faults.deny(arn)
    assert outcomes(client, arn, 1) == outcomes(client, arn[-12:], 1) == ["AccessDeniedException"]
    assert outcomes(client, other, 1) == ["OK"]
    bedrock.faults.clear()
    assert outcomes(client, arn, 1) == ["OK"]


def test_operation_can_be_denied_for_all_jobs(bedrock: StandIn, client: BedrockClient) -> None:
    """The other operations succeed."""
    arn = bedrock.add_job()
    bedrock.faults.deny(operation="ListModelInvocationJobs")
    with pytest.raises(client.exceptions.AccessDeniedException):
        client.list_model_invocation_jobs()
    assert outcomes(client, arn, 1) == ["OK"]


def test_hidden_job_is_absent_until_the_fault_is_removed(
    bedrock: StandIn, client: BedrockClient
) -> None:
    """It is in no response and cannot be stopped."""
    arn, other = bedrock.add_job(), bedrock.add_job()
    fault = bedrock.faults.hide(arn)
    assert outcomes(client, arn, 1) == ["ResourceNotFoundException"]
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.stop_model_invocation_job(jobIdentifier=arn)
    assert arns(client) == [other]
    bedrock.faults.remove(fault)
    assert outcomes(client, arn, 1) == ["OK"]
    assert arns(client) == [other, arn]


def arns(client: BedrockClient) -> list[str]:
    """Return the jobs of all pages, as the real paginator finds them."""
    pages = client.get_paginator("list_model_invocation_jobs").paginate()
    return [summary["jobArn"] for page in pages for summary in page["invocationJobSummaries"]]


def test_stale_list_shows_an_earlier_state(bedrock: StandIn, client: BedrockClient) -> None:
    """It has the jobs and statuses of some time ago, while Get is up to date."""
    arn = bedrock.add_job(script=Script.ending("Failed", submitted=60, validating=60, running=0))
    bedrock.clock.advance(120)
    bedrock.add_job()
    bedrock.faults.stale_lists(seconds=90)
    (summary,) = client.list_model_invocation_jobs()["invocationJobSummaries"]
    assert (summary["jobArn"], summary["status"]) == (arn, "Submitted")
    assert client.list_model_invocation_jobs(statusEquals="Failed")["invocationJobSummaries"] == []
    assert client.get_model_invocation_job(jobIdentifier=arn)["status"] == "Failed"


def test_list_can_omit_statuses_and_jobs(bedrock: StandIn, client: BedrockClient) -> None:
    """Get still returns them."""
    arn, other = bedrock.add_job(), bedrock.add_job()
    bedrock.faults.stale_lists(without=["status"], leave_out=[arn])
    (summary,) = client.list_model_invocation_jobs()["invocationJobSummaries"]
    assert summary["jobArn"] == other
    assert "status" not in summary
    assert outcomes(client, arn, 1) == ["OK"]


def test_short_or_empty_pages_lose_no_job(bedrock: StandIn, client: BedrockClient) -> None:
    """Such a page still has a next one; the paginator finds every job."""
    made = [bedrock.add_job(job_name=f"{'a' if n else 'b'}-{n}") for n in range(10)]
    bedrock.faults.short_pages(3)
    page = client.list_model_invocation_jobs(nameContains="b-0")
    assert page["invocationJobSummaries"] == []
    assert "nextToken" in page
    assert arns(client) == made[::-1]
    assert bedrock.calls["ListModelInvocationJobs", "OK"] == 5


def pages(client: BedrockClient, **request: Any) -> list[tuple[list[str], str | None]]:
    """The jobs of each page and its token, as a client reads them that trusts no paginator."""
    found = []
    token: dict[str, str] = {}
    while True:
        page = client.list_model_invocation_jobs(**request, **token)
        jobs = [summary["jobArn"] for summary in page["invocationJobSummaries"]]
        found.append((jobs, page.get("nextToken")))
        if not page.get("nextToken"):
            return found
        token = {"nextToken": page["nextToken"]}


def test_last_page_has_an_empty_token(bedrock: StandIn, client: BedrockClient) -> None:
    """No other page has it, and the SDK's own paginator ends there."""
    made = [bedrock.add_job() for _ in range(3)]
    bedrock.faults.empty_token()
    first, last = pages(client, maxResults=2)
    assert (first[0] + last[0], last[1]) == (made[::-1], "")
    assert first[1]
    assert arns(client) == made[::-1]
    bedrock.faults.clear()
    assert pages(client)[-1][1] is None


@pytest.mark.parametrize("empty", [1, 2])
def test_empty_pages_come_before_those_with_jobs(
    bedrock: StandIn, client: BedrockClient, empty: int
) -> None:
    """Empty pages precede each page with jobs; the paginator finds every job once."""
    made = [bedrock.add_job() for _ in range(5)]
    bedrock.faults.empty_pages(empty)
    found = pages(client, maxResults=2)
    assert [len(jobs) for jobs, _ in found] == ([0] * empty + [2]) * 2 + [0] * empty + [1]
    assert [arn for jobs, _ in found for arn in jobs] == made[::-1]
    assert arns(client) == made[::-1]


def test_list_without_jobs_ends_with_empty_pages(bedrock: StandIn, client: BedrockClient) -> None:
    """A list ends with both faults and without any job."""
    bedrock.faults.empty_pages(2)
    bedrock.faults.empty_token()
    assert [len(jobs) for jobs, _ in pages(client)] == [0, 0, 0]


def test_list_continues_after_a_fault_is_removed(bedrock: StandIn, client: BedrockClient) -> None:
    """The token of an empty page leads to the page that follows it."""
    arn = bedrock.add_job()
    fault = bedrock.faults.empty_pages(1)
    token = client.list_model_invocation_jobs()["nextToken"]
    bedrock.faults.remove(fault)
    page = client.list_model_invocation_jobs(nextToken=token)
    assert [summary["jobArn"] for summary in page["invocationJobSummaries"]] == [arn]
    with pytest.raises(client.exceptions.ValidationException):
        client.list_model_invocation_jobs(nextToken=f"{token}made-up")


@pytest.mark.parametrize("error", ["InternalServerException", "ThrottlingException"])
def test_page_can_fail_after_successful_ones(
    bedrock: StandIn, client: BedrockClient, error: str
) -> None:
    """The pages before it are returned, and it can be requested again."""
    made = [bedrock.add_job() for _ in range(5)]
    bedrock.faults.fail(error, operation="ListModelInvocationJobs", after_calls=2, next_calls=1)
    first = client.list_model_invocation_jobs(maxResults=2)
    second = client.list_model_invocation_jobs(maxResults=2, nextToken=first["nextToken"])
    with pytest.raises(ClientError) as caught:
        client.list_model_invocation_jobs(maxResults=2, nextToken=second["nextToken"])
    assert caught.value.response["Error"]["Code"] == error
    third = client.list_model_invocation_jobs(maxResults=2, nextToken=second["nextToken"])
    found = [s["jobArn"] for page in (first, second, third) for s in page["invocationJobSummaries"]]
    assert found == made[::-1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("UnrecognizedClientException", 403),
        ("ExpiredTokenException", 403),
        ("UnknownOperationException", 404),
        ("SomethingNew", 599),
    ],
)
def test_error_outside_the_service_model_reaches_the_client(
    bedrock: StandIn, client: BedrockClient, error: str, status: int
) -> None:
    """Any service can refuse a call before it reaches the API; other calls succeed."""
    arn, other = bedrock.add_job(), bedrock.add_job()
    bedrock.faults.refuse(error, status, job_arn=arn)
    with pytest.raises(ClientError) as caught:
        client.get_model_invocation_job(jobIdentifier=arn)
    response = caught.value.response
    assert response["Error"]["Code"] == error
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert outcomes(client, other, 1) == ["OK"]
    assert bedrock.calls[GET, error] == 1


def test_fault_begins_after_the_given_number_of_calls(
    bedrock: StandIn, client: BedrockClient
) -> None:
    """Calls of other operations and jobs do not count."""
    arn, other = bedrock.add_job(), bedrock.add_job()
    bedrock.faults.throttle(after_calls=2, job_arn=arn)
    assert outcomes(client, other, 3) == ["OK"] * 3
    client.list_model_invocation_jobs()
    assert outcomes(client, arn, 4) == ["OK"] * 2 + ["ThrottlingException"] * 2


def test_each_call_advances_the_clock(bedrock: StandIn, client: BedrockClient) -> None:
    """After the response is made, for each call in scope, also if it fails."""
    arn = bedrock.add_job(script=Script.ending("Completed", submitted=60))
    bedrock.faults.call_time(60, operation=GET)
    client.list_model_invocation_jobs()
    assert bedrock.clock.now() == START
    statuses = [client.get_model_invocation_job(jobIdentifier=arn)["status"] for _ in range(2)]
    assert statuses == ["Submitted", "Validating"]
    assert bedrock.clock.now() == START + timedelta(seconds=120)
    bedrock.faults.fail(next_calls=1)
    assert outcomes(client, arn, 1) == ["InternalServerException"]
    assert bedrock.clock.now() == START + timedelta(seconds=180)
    bedrock.faults.clear()
    assert outcomes(client, arn, 1) == ["OK"]
    assert bedrock.clock.now() == START + timedelta(seconds=180)


def test_response_can_be_overridden(bedrock: StandIn, client: BedrockClient) -> None:
    """An unknown status, unknown members and missing ones reach the client unchanged."""
    arn = bedrock.add_job()
    bedrock.faults.override(arn, {"status": "Paused", "lastModifiedTime": None, "novel": {"a": 1}})
    job = client.get_model_invocation_job(jobIdentifier=arn)
    (summary,) = client.list_model_invocation_jobs()["invocationJobSummaries"]
    for answer in (job, summary):
        assert answer["status"] == "Paused"
        assert "lastModifiedTime" not in answer
        assert "novel" not in answer
    assert bedrock.job(arn)["status"] == "Submitted"


def test_modification_time_can_go_backwards(bedrock: StandIn, client: BedrockClient) -> None:
    """An override can set lastModifiedTime back, for one operation only."""
    arn = bedrock.add_job()
    earlier = START - timedelta(days=1)
    bedrock.faults.override(arn, {"lastModifiedTime": earlier}, operation=GET)
    assert client.get_model_invocation_job(jobIdentifier=arn)["lastModifiedTime"] == earlier
    (summary,) = client.list_model_invocation_jobs()["invocationJobSummaries"]
    assert summary["lastModifiedTime"] == START


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "nothing"},
        {"kind": "throttle", "share": 2},
        {"kind": "throttle", "next_calls": -1},
        {"kind": "throttle", "operation": "DeleteModelInvocationJob"},
        {"kind": "hide"},
        {"kind": "short-pages", "examined": 0},
        {"kind": "empty-pages", "pages": 0},
        {"kind": "call-time", "seconds": -1},
        {"kind": "call-time", "seconds": float("inf")},
        {"kind": "fail", "after_calls": -1},
        {"kind": "refuse", "status": 200},
        {"kind": "refuse", "error": ""},
    ],
)
def test_invalid_fault_is_refused(bedrock: StandIn, fault: dict[str, Any]) -> None:
    """It is a ValueError, and no fault is set."""
    with pytest.raises(ValueError, match=r"\w"):
        bedrock.faults.add_json(fault)
    assert bedrock.faults.active() == {}
