"""The example `step-functions-retry` on the local cloud: failed and missing records run once more.

What is not proved here: that the role of the state machine is enough, because the emulator does not
check what a state machine does.
"""

from __future__ import annotations

import json
import runpy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aws_cdk
import pytest

from local.bedrock import Phase, Script
from local.cloud import Cloud
from local.results import write_results
from local.waiting import wait_for

from .conftest import INPUT_BUCKET, OUTPUT_BUCKET, RETRY_BUCKET, example_stack

EXAMPLE = Path(__file__).parents[2] / "examples" / "step-functions-retry"
STACK = "RetryAJob"
HOUR = 3600
RECORDS = 300
# The first job fails a tenth of what it processes, and does not process the last fifth.
FIRST = Script(
    (Phase("InProgress", HOUR, processed=0.8), Phase("PartiallyCompleted", None)), error_share=0.1
)
SECOND = Script((Phase("InProgress", HOUR), Phase("Completed", None)))


@pytest.fixture(scope="module")
def machine(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The example's stack; its state machine waits for one second between two reads, and not 30."""
    example = runpy.run_path(str(EXAMPLE / "step_functions_retry.py"))
    app = aws_cdk.App(outdir=str(tmp_path_factory.mktemp("cdk.out")))
    example["RetryAJob"](
        app,
        STACK,
        event_bus_name=cloud.monitor.outputs.event_bus_name,
        jobs_table_name=cloud.monitor.outputs.jobs_table_name,
        batch_role_arn="arn:aws:iam::000000000000:role/batch",
    )
    template = app.synth().get_stack_by_name(STACK).template
    [machine] = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::StepFunctions::StateMachine"
    ]
    definition = json.loads(machine["DefinitionString"])
    definition["States"]["Wait for the analysis"]["Seconds"] = 1
    machine["DefinitionString"] = json.dumps(definition)
    with example_stack(cloud, STACK, template) as machine_arn:
        yield machine_arn


def waiting_job(cloud: Cloud, name: str) -> str:
    """The ARN of the job with this name, once the monitor has the token of its task."""

    def waiting() -> str | None:
        pages = cloud.monitor.client("dynamodb").get_paginator("scan")
        for page in pages.paginate(TableName=cloud.monitor.outputs.jobs_table_name):
            for item in page["Items"]:
                if "taskRevision" in item and item.get("jobName", {}).get("S") == name:
                    return str(item["jobArn"]["S"])
        return None

    return wait_for(waiting, 90, what=f"the token of {name}")


def test_failed_and_missing_records_are_submitted_again(cloud: Cloud, machine: str) -> None:
    """The second job has the retry file as its input, and the execution returns both outputs."""
    client = cloud.monitor.client("stepfunctions")
    name = f"retry-{uuid.uuid4().hex[:12]}"
    cloud.bedrock.plan(name, FIRST, RECORDS)
    cloud.bedrock.plan(f"{name}-retry", SECOND, RECORDS)
    execution = client.start_execution(
        stateMachineArn=machine,
        name=name,
        input=json.dumps(
            {
                "inputS3Uri": f"s3://{INPUT_BUCKET}/{name}.jsonl",
                "outputS3Uri": f"s3://{OUTPUT_BUCKET}/{name}/",
            }
        ),
    )["executionArn"]

    first = waiting_job(cloud, name)
    counts = FIRST.state(HOUR, RECORDS).counts
    # The results are there before the job ends, so that no poll sees the end without them.
    write_results(
        cloud.monitor.client("s3"),
        cloud.bedrock.job(first)
        | {
            "totalRecordCount": counts.total,
            "processedRecordCount": counts.processed,
            "successRecordCount": counts.success,
            "errorRecordCount": counts.error,
        },
    )
    cloud.bedrock.clock.advance(HOUR)
    cloud.monitor.poll()

    second = waiting_job(cloud, f"{name}-retry")
    retry_file = cloud.bedrock.job(second)["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
    bucket, _, key = retry_file.removeprefix("s3://").partition("/")
    assert bucket == RETRY_BUCKET
    body = cloud.monitor.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    assert len(body.splitlines()) == counts.total - counts.success
    cloud.bedrock.clock.advance(HOUR)
    cloud.monitor.poll()

    def ended() -> dict[str, Any] | None:
        described = dict(client.describe_execution(executionArn=execution))
        return described if described["status"] != "RUNNING" else None

    result = wait_for(ended, 90, what="the execution to end")
    assert result["status"] == "SUCCEEDED", result
    output = json.loads(result["output"])
    assert output["outcome"] == "Completed"
    folders = [arn.rpartition("/")[2] for arn in (first, second)]
    assert output["outputS3Uris"] == [
        f"s3://{OUTPUT_BUCKET}/{name}/{folder}/" for folder in folders
    ]
