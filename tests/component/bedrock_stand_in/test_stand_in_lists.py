from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from local.bedrock import Script, StandIn

from .conftest import START

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient


def listed(client: BedrockClient, **request: Any) -> list[str]:
    """Return the jobs of all pages, as the real paginator finds them."""
    pages = client.get_paginator("list_model_invocation_jobs").paginate(**request)
    return [summary["jobArn"] for page in pages for summary in page["invocationJobSummaries"]]


@pytest.fixture
def arns(bedrock: StandIn) -> list[str]:
    """1,234 jobs in order of submission, a second apart; every tenth has failed."""
    failed, young = Script.ending("Failed", running=0), Script.ending("Completed", submitted=9999)
    return [
        bedrock.add_job(
            script=young if number % 10 else failed,
            job_name=f"{'nightly' if number % 2 else 'hourly'}-{number}",
            submitted_at=START + timedelta(seconds=number - 3600),
        )
        for number in range(1234)
    ]


def test_paginator_reads_every_job_once(
    bedrock: StandIn, client: BedrockClient, arns: list[str]
) -> None:
    """More than 1,000 jobs, newest first, in full pages."""
    assert listed(client, maxResults=1000) == arns[::-1]
    assert bedrock.calls == {("ListModelInvocationJobs", "OK"): 2}
    page = client.list_model_invocation_jobs()
    assert len(page["invocationJobSummaries"]) == 100
    assert "nextToken" in page


def test_jobs_are_sorted_by_creation_time(client: BedrockClient, arns: list[str]) -> None:
    """Ascending or descending."""
    ascending = listed(client, sortBy="CreationTime", sortOrder="Ascending", maxResults=500)
    assert ascending == arns
    assert listed(client, sortOrder="Descending", maxResults=500) == arns[::-1]


def test_filters_select_their_intersection(client: BedrockClient, arns: list[str]) -> None:
    """Each filter also selects on its own."""
    after, before = START + timedelta(seconds=100 - 3600), START + timedelta(seconds=200 - 3600)
    ascending = {"sortOrder": "Ascending", "maxResults": 100}
    assert listed(client, submitTimeAfter=after, **ascending) == arns[101:]
    assert listed(client, submitTimeBefore=before, **ascending) == arns[:200]
    assert listed(client, statusEquals="Failed", **ascending) == arns[::10]
    assert listed(client, nameContains="hourly", **ascending) == arns[::2]
    assert listed(client, nameContains="nightly-12", **ascending)[0] == arns[121]
    together = listed(
        client, submitTimeAfter=after, submitTimeBefore=before, statusEquals="Failed", **ascending
    )
    assert together == arns[110:200:10]


def test_last_page_has_no_token(client: BedrockClient, arns: list[str]) -> None:
    """Also if it ends with the last job that matches."""
    page = client.list_model_invocation_jobs(statusEquals="Failed", maxResults=124)
    assert len(page["invocationJobSummaries"]) == len(arns[::10]) == 124
    assert "nextToken" not in page


@pytest.mark.parametrize("order", ["Ascending", "Descending"])
def test_jobs_added_between_pages_do_not_shift_pages(
    bedrock: StandIn, client: BedrockClient, arns: list[str], order: str
) -> None:
    """Pages contain every earlier job exactly once, wherever jobs are added."""
    seen: list[str] = []
    token: dict[str, Any] = {}
    while True:
        page = client.list_model_invocation_jobs(maxResults=300, sortOrder=order, **token)
        seen += [summary["jobArn"] for summary in page["invocationJobSummaries"]]
        for seconds in (-5000, -3000, 0):
            bedrock.add_job(submitted_at=START + timedelta(seconds=seconds))
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert len(seen) == len(set(seen))
    assert set(seen) >= set(arns)


def test_token_is_valid_only_with_its_filters(client: BedrockClient, arns: list[str]) -> None:
    """The page size can change."""
    token = client.list_model_invocation_jobs(maxResults=10)["nextToken"]
    rest = client.list_model_invocation_jobs(maxResults=5, nextToken=token)
    assert [s["jobArn"] for s in rest["invocationJobSummaries"]] == arns[::-1][10:15]
    with pytest.raises(client.exceptions.ValidationException):
        client.list_model_invocation_jobs(nextToken=token, nameContains="hourly")


def test_summary_agrees_with_get(bedrock: StandIn, client: BedrockClient) -> None:
    """In every member that List and Get share."""
    arn = bedrock.add_job(script=Script.ending("Stopped"))
    bedrock.clock.advance(900)
    (summary,) = client.list_model_invocation_jobs()["invocationJobSummaries"]
    job: dict[str, Any] = dict(client.get_model_invocation_job(jobIdentifier=arn))
    assert job.pop("ResponseMetadata")
    assert summary == job
