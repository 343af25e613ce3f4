"""Why records failed, on the deployed stack: the results in S3, the role that reads them."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

from bbm.environment import Environment
from bbm.main import app
from bedrock_batch_monitor.domain.event_kinds import ERRORS_ANALYZED
from local.bedrock import Phase, Script
from local.cloud import Cloud
from local.demo.ending import DemoClients
from local.results import write_results
from local.waiting import wait_for
from tests.support.contracts import assert_keeps_to_schema

from .conftest import INPUT_BUCKET, MODEL, OUTPUT_BUCKET, RETRY_BUCKET


def ended_job(cloud: Cloud) -> str:
    """A job of 300 records, of which 30 failed and 60 are missing, tracked by hand."""
    script = Script(
        (Phase("InProgress", 0, processed=0.8), Phase("PartiallyCompleted", None)), error_share=0.1
    )
    arn = cloud.bedrock.add_job(script=script, model_id=MODEL, total_records=300)
    write_results(cloud.monitor.client("s3"), cloud.bedrock.job(arn))
    cloud.monitor.track(arn)
    return arn


def test_record_errors_are_analyzed_and_published(cloud: Cloud) -> None:
    """Event, item, retry file and `bbm errors` say the same."""
    with cloud.monitor.subscribe() as subscription:
        arn = ended_job(cloud)
        cloud.monitor.poll()
        found: list[dict[str, Any]] = []

        def analyzed() -> bool:
            found.extend(
                event
                for event in subscription.receive(0)
                if event["detail-type"] == ERRORS_ANALYZED.detail_type
                and event["resources"] == [arn]
            )
            return bool(found)

        wait_for(analyzed, 60, what="the errors to be analyzed")
    event = found[0]
    assert_keeps_to_schema(event)
    data, item = event["detail"]["data"], cloud.monitor.job(arn) or {}
    job = cloud.bedrock.job(arn)
    records = data["errorAnalysis"]["records"]
    assert records == {
        "total": job["totalRecordCount"],
        "success": job["successRecordCount"],
        "error": job["errorRecordCount"],
        "missing": job["totalRecordCount"] - job["processedRecordCount"],
    }
    assert records["error"]
    assert records["missing"]
    assert (item["errorGroups"], item["errorAnalysis"]) == (
        data["errorGroups"],
        data["errorAnalysis"],
    )
    retry = data["errorAnalysis"]["retryFile"]
    assert retry["records"] == records["error"] + records["missing"]
    key = retry["s3Uri"].removeprefix(f"s3://{RETRY_BUCKET}/")
    body = cloud.monitor.client("s3").get_object(Bucket=RETRY_BUCKET, Key=key)["Body"].read()
    assert len(body.splitlines()) == retry["records"]

    environment = Environment(connect=lambda *_: DemoClients(cloud))
    answer = CliRunner().invoke(app, ["errors", arn, "--json"], obj=environment)
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert document["records"] == records
    assert document["groups"][:5] == data["errorGroups"]


def test_role_of_record_errors_reads_only_the_configured_buckets(cloud: Cloud) -> None:
    """Inputs and results; retry files are written and not read."""
    functions = cloud.monitor.client("lambda").list_functions()["Functions"]
    (role,) = (
        function["Role"]
        for function in functions
        if function["Handler"].endswith("handlers.record_errors.handler")
    )

    def may(action: str, resource: str) -> bool:
        answer = cloud.monitor.client("iam").simulate_principal_policy(
            PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource]
        )
        return bool(answer["EvaluationResults"][0]["EvalDecision"] == "allowed")

    for bucket in (INPUT_BUCKET, OUTPUT_BUCKET):
        assert may("s3:GetObject", f"arn:aws:s3:::{bucket}/x.jsonl")
        assert may("s3:ListBucket", f"arn:aws:s3:::{bucket}")
        assert not may("s3:PutObject", f"arn:aws:s3:::{bucket}/x.jsonl")
    assert may("s3:PutObject", f"arn:aws:s3:::{RETRY_BUCKET}/batch/x/retry.jsonl")
    assert not may("s3:PutObject", f"arn:aws:s3:::{RETRY_BUCKET}/other")
    assert not may("s3:GetObject", f"arn:aws:s3:::{RETRY_BUCKET}/batch/x/retry.jsonl")
    assert not may("s3:GetObject", "arn:aws:s3:::other/x")
