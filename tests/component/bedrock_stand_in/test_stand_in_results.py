"""The results of a job in S3, and a job whose results cannot be written."""

from __future__ import annotations

from functools import partial
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.bedrock import ManualClock, Phase, Script, StandIn
from local.bedrock.service import Service
from local.results import write_results

from .conftest import ACCOUNT, REGION, START

SCRIPT = Script((Phase("InProgress", 60), Phase("Completed", None)))


def asked(bedrock: StandIn, operation: str, **path: str) -> dict[str, Any]:
    """The answer of the service without HTTP, so that no test double of AWS sees the call."""
    service: Service = bedrock.service
    api = bedrock.api.operations[operation]
    answer = service.answer(
        api, bedrock.scope(f"Credential={ACCOUNT}/20261124/{REGION}/"), path, "", b""
    )
    assert answer.error is None, answer
    return dict(answer.document)


@pytest.mark.parametrize("first", ["GetModelInvocationJob", "ListModelInvocationJobs"])
@pytest.mark.parametrize("missing", ["input", "output"])
def test_job_without_bucket_fails_with_a_message(first: str, missing: str) -> None:
    """It ends `Failed` at the time at which it would have completed, whichever call is first."""
    with mock_aws():
        s3 = boto3.client("s3", region_name=REGION)
        bedrock = StandIn(clock=ManualClock(START), account=ACCOUNT)
        bedrock.service.leave_results = partial(write_results, s3)
        [kept] = {"input", "output"} - {missing}
        s3.create_bucket(Bucket=f"batch-{kept}-{ACCOUNT}")
        arn = bedrock.add_job(script=SCRIPT, total_records=100)
        bedrock.clock.advance(120)
        path = {"jobIdentifier": arn} if first.startswith("Get") else {}
        asked(bedrock, first, **path)
        job = asked(bedrock, "GetModelInvocationJob", jobIdentifier=arn)

    assert job["status"] == "Failed"
    assert job["message"].startswith(f"The S3 {missing} location s3://batch-{missing}-{ACCOUNT} ")
    assert job["endTime"] == "2026-11-24T20:01:00Z"
    assert bedrock.service.bugs == []


def test_job_with_buckets_completes_with_results() -> None:
    """Its files exist before the first response with its completion."""
    with mock_aws():
        s3 = boto3.client("s3", region_name=REGION)
        bedrock = StandIn(clock=ManualClock(START), account=ACCOUNT)
        bedrock.service.leave_results = partial(write_results, s3)
        for kind in ("input", "output"):
            s3.create_bucket(Bucket=f"batch-{kind}-{ACCOUNT}")
        arn = bedrock.add_job(script=SCRIPT, total_records=100)
        bedrock.clock.advance(120)
        [summary] = asked(bedrock, "ListModelInvocationJobs")["invocationJobSummaries"]
        files = s3.list_objects_v2(Bucket=f"batch-output-{ACCOUNT}")["KeyCount"]

    assert (summary["jobArn"], summary["status"], files) == (arn, "Completed", 2)
