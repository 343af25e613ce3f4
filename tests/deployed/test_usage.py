"""What a job used, on the deployed stack: the manifest in S3, and the permission to read it."""

from __future__ import annotations

from typing import Any

from local.bedrock import Phase, Script
from local.cloud import Cloud
from local.results import manifest, write_manifest
from local.waiting import wait_for
from tests.support.contracts import assert_keeps_to_schema

from .conftest import MODEL, OUTPUT_BUCKET
from .test_contract import denied, poll_until_recorded, received


def completed_job(cloud: Cloud) -> str:
    """A job that has completed, with its manifest, tracked by hand."""
    script = Script((Phase("InProgress", 0), Phase("Completed", None)))
    arn = cloud.bedrock.add_job(script=script, model_id=MODEL, total_records=100)
    write_manifest(cloud.monitor.client("s3"), cloud.bedrock.job(arn))
    cloud.monitor.track(arn)
    return arn


def ending_of(cloud: Cloud, arn: str, subscription: Any) -> dict[str, Any]:
    poll_until_recorded(cloud, arn)
    [event] = [event for event in received(subscription, 1) if event["resources"] == [arn]]
    assert_keeps_to_schema(event)
    data: dict[str, Any] = event["detail"]["data"]
    return data


def test_tokens_are_in_item_history_and_event(cloud: Cloud) -> None:
    """The function reads the manifest with its role, and all three say what is in it."""
    with cloud.monitor.subscribe() as subscription:
        arn = completed_job(cloud)
        data = ending_of(cloud, arn, subscription)
    counts = manifest(cloud.bedrock.job(arn))
    tokens = {"input": counts["inputTokenCount"], "output": counts["outputTokenCount"]}
    cost = (tokens["input"] * 0.001 + tokens["output"] * 0.002) / 1000
    [entry] = cloud.monitor.history(arn)
    for place in (data, entry, cloud.monitor.job(arn) or {}):
        assert (place["tokens"], place["estimatedCostUsd"]) == (tokens, round(cost, 6))


def test_forbidden_manifest_delays_no_event(cloud: Cloud) -> None:
    """The event goes out without tokens, and they follow once they may be read."""
    role = cloud.monitor.client("lambda").get_function_configuration(
        FunctionName=cloud.monitor.outputs.monitor_function_name
    )["Role"]
    with cloud.monitor.subscribe() as subscription:
        with denied(cloud, "s3:GetObject", role=role.rsplit("/", 1)[-1]):
            arn = completed_job(cloud)
            data = ending_of(cloud, arn, subscription)
        assert "tokens" not in data
        assert (cloud.monitor.job(arn) or {})["usageError"]["code"] == "AccessDenied"
        # The next look is a minute away; here it is due at once.
        cloud.monitor.client("dynamodb").update_item(
            TableName=cloud.monitor.outputs.jobs_table_name,
            Key={"jobArn": {"S": arn}},
            UpdateExpression="SET usageDueAt = :now",
            ConditionExpression="attribute_exists(usagePending)",
            ExpressionAttributeValues={":now": {"S": "2026-01-01T00:00:00.000Z"}},
        )
        wait_for(
            lambda: cloud.monitor.poll() and "tokens" in (cloud.monitor.job(arn) or {}),
            30,
            what="the tokens to follow",
        )
        assert [e for e in subscription.receive(0) if e["resources"] == [arn]] == []
    assert "tokens" not in cloud.monitor.history(arn)[-1]
    assert not {"usagePending", "usageError"} & set(cloud.monitor.job(arn) or {})


def test_role_reads_only_the_manifest_of_the_results(cloud: Cloud) -> None:
    """Neither the records next to it, nor another bucket, nor the list of what is there."""
    bucket = f"arn:aws:s3:::{OUTPUT_BUCKET}"
    assert cloud.monitor.may("s3:GetObject", f"{bucket}/nightly/abcdef123456/manifest.json.out")
    assert not cloud.monitor.may("s3:GetObject", f"{bucket}/nightly/abcdef123456/in.jsonl.out")
    assert not cloud.monitor.may("s3:GetObject", "arn:aws:s3:::other/abc/manifest.json.out")
    assert not cloud.monitor.may("s3:ListBucket", bucket)
    assert not cloud.monitor.may("s3:PutObject", f"{bucket}/abc/manifest.json.out")
