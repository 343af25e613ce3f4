"""The function that reads the record errors of ended jobs, on moto's tables, bus and buckets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import BusLook, BusState
from bedrock_batch_monitor.adapters.job_files_s3 import PART_BYTES, JobFilesInS3
from bedrock_batch_monitor.app.record_errors import (
    Handled,
    NotSentError,
    RecordErrors,
    compose_record_errors,
)
from bedrock_batch_monitor.domain.event_kinds import ENDED, ERRORS_ANALYZED
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.stored_files import StoredFile
from bedrock_batch_monitor.domain.token_usage import OutputBucket
from bedrock_batch_monitor.settings import RecordErrorSettings
from local.bedrock import Phase, Script

from .conftest import REGION, Cloud

SETTINGS = RecordErrorSettings(
    jobs_table_name="jobs",
    event_bus_name="monitor",
    buckets=(OutputBucket("batch"),),
    retry_prefix=S3Uri("batch", "retries"),
    record_messages=True,
)


def s3() -> Any:
    return boto3.client("s3", region_name=REGION)


def put(key: str, *lines: object) -> None:
    body = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    s3().put_object(Bucket="batch", Key=key, Body=body.encode())


def function(cloud: Cloud, **changes: Any) -> RecordErrors:
    return compose_record_errors(
        replace(SETTINGS, **changes),
        boto3.Session(region_name=REGION),
        Logger(service="record-errors-test", stream=cloud.log),
        clock=cloud.bedrock.clock.now,
    )


def failure(record_id: str, message: str, code: int) -> dict[str, Any]:
    error = {"errorCode": code, "errorMessage": message}
    return {"modelInput": {}, "error": error, "recordId": record_id}


@pytest.fixture
def ended(cloud: Cloud) -> tuple[Cloud, str, str]:
    """A job that has ended with failed and missing records, and the body of its queue message."""
    s3().create_bucket(Bucket="batch")
    script = Script((Phase("Completed", None),))
    arn = cloud.add_job(script)
    places = {
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://batch/in/a.jsonl"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://batch/out"}},
        "totalRecordCount": 4,
        "processedRecordCount": 3,
        "successRecordCount": 1,
        "errorRecordCount": 2,
    }
    cloud.bedrock.faults.override(arn, places)
    put("in/a.jsonl", *({"recordId": i, "modelInput": {"n": 1}} for i in "abcd"))
    put(
        f"out/{arn.rsplit('/', 1)[-1]}/a.jsonl.out",
        failure("c", "secret 'prompt' at 7", 400),
        {"modelInput": {}, "modelOutput": {}, "recordId": "a"},
        failure("b", "wait 9 s", 429),
    )
    cloud.poll()
    (event,) = cloud.new_events()
    assert event["detail-type"] == ENDED.detail_type
    return cloud, arn, json.dumps(event)


GROUPS = [
    {"errorCode": 400, "pattern": "secret <value> at <n>", "count": 1, "recordIds": ["c"]},
    {"errorCode": 429, "pattern": "wait <n> s", "count": 1, "recordIds": ["b"]},
]


def handle(subject: RecordErrors, body: str, seconds: float = 900) -> Handled:
    return subject.handle(body, lambda: seconds)


def test_errors_of_an_ended_job_are_stored_and_reported(ended: tuple[Cloud, str, str]) -> None:
    """Item, event and retry file agree."""
    cloud, arn, body = ended
    assert handle(function(cloud), body) is Handled.SENT
    item = cloud.job(arn)
    assert item is not None
    assert item["errorGroups"] == GROUPS
    (event,) = cloud.new_events()
    assert event["detail-type"] == ERRORS_ANALYZED.detail_type
    data = event["detail"]["data"]
    assert (data["errorGroups"], data["outcome"]) == (GROUPS, "CompletedWithErrors")
    job_id = arn.rsplit("/", 1)[-1]
    place = f"retries/{job_id}/retry.jsonl"
    assert data["errorAnalysis"] == item["errorAnalysis"]
    assert data["errorAnalysis"]["records"] == {"total": 4, "success": 1, "error": 2, "missing": 1}
    assert data["errorAnalysis"]["retryFile"] == {"s3Uri": f"s3://batch/{place}", "records": 3}
    written = s3().get_object(Bucket="batch", Key=place)["Body"].read().splitlines()
    assert [json.loads(line)["recordId"] for line in written] == ["b", "c", "d"]


def test_every_delivery_sends_the_same_event(ended: tuple[Cloud, str, str]) -> None:
    """The results are read once, even if they change later."""
    cloud, arn, body = ended
    handle(function(cloud), body)
    put(f"out/{arn.rsplit('/', 1)[-1]}/a.jsonl.out")
    cloud.bedrock.clock.advance(60)
    assert handle(function(cloud, record_messages=True), body) is Handled.SENT
    first, second = cloud.new_events()
    assert first["detail"] == second["detail"]


def test_event_is_sent_by_the_next_delivery_after_a_crash(
    ended: tuple[Cloud, str, str],
) -> None:
    """What the bus does not accept, or a missing bus, lets the queue deliver again."""
    cloud, arn, body = ended

    class Gone:
        def look(self) -> BusLook:
            return BusLook(BusState.MISSING, "EventBridge.BusMissing")

    subject = function(cloud)
    with pytest.raises(NotSentError):
        handle(replace(subject, bus=Gone()), body)
    item = cloud.job(arn)
    assert item is not None
    assert item["errorGroups"] == GROUPS
    assert cloud.new_events() == []
    assert handle(subject, body) is Handled.SENT
    assert len(cloud.new_events()) == 1


def test_conflict_sends_what_the_other_delivery_has_stored(
    ended: tuple[Cloud, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two deliveries at the same time store one analysis."""
    cloud, _, body = ended
    subject, other = function(cloud), function(cloud)
    chunks = JobFilesInS3.chunks

    def chunks_while_the_other_stores(self: JobFilesInS3, file: StoredFile) -> Iterator[bytes]:
        monkeypatch.setattr(JobFilesInS3, "chunks", chunks)
        handle(other, body)
        cloud.bedrock.clock.advance(5)
        return chunks(self, file)

    monkeypatch.setattr(JobFilesInS3, "chunks", chunks_while_the_other_stores)
    assert handle(subject, body) is Handled.SENT
    first, second = cloud.new_events()
    assert first["detail"] == second["detail"]


def test_record_messages_off_stores_only_codes_and_counts(ended: tuple[Cloud, str, str]) -> None:
    """No text and no id of a record is stored, sent or logged."""
    cloud, arn, body = ended
    handle(function(cloud, record_messages=False, retry_prefix=None), body)
    (event,) = cloud.new_events()
    expected = [{"errorCode": 400, "count": 1}, {"errorCode": 429, "count": 1}]
    assert event["detail"]["data"]["errorGroups"] == expected
    assert "retryFile" not in event["detail"]["data"]["errorAnalysis"]
    assert "secret" not in json.dumps(cloud.job(arn), default=str) + cloud.log.getvalue()


def test_analysis_without_enough_time_reports_an_incomplete_result(
    ended: tuple[Cloud, str, str],
) -> None:
    """There is no retry file, because it would contain records that succeeded."""
    cloud, _, body = ended
    assert handle(function(cloud), body, seconds=30) is Handled.SENT
    (event,) = cloud.new_events()
    analysis = event["detail"]["data"]["errorAnalysis"]
    assert (analysis["complete"], "retryFile" in analysis) == (False, False)
    assert "Contents" not in s3().list_objects_v2(Bucket="batch", Prefix="retries/")


def test_buckets_that_no_setting_names_are_not_read(ended: tuple[Cloud, str, str]) -> None:
    """A job can name any bucket as its output."""
    cloud, _, body = ended
    subject = function(cloud, buckets=(OutputBucket("batch", "other/"),))
    assert handle(subject, body) is Handled.NOT_ALLOWED
    subject = function(cloud, buckets=(OutputBucket("batch", "out/"),))
    assert handle(subject, body) is Handled.SENT
    (event,) = cloud.new_events()
    # Without the input, the number of missing records follows from the job's total.
    assert event["detail"]["data"]["errorAnalysis"]["records"]["missing"] == 1


@pytest.mark.parametrize(
    ("body", "handled"),
    [
        ("", Handled.MALFORMED),
        ("[]", Handled.MALFORMED),
        ('{"detail": {"data": {"jobArn": 5}}}', Handled.MALFORMED),
        ('{"detail": {"data": {"jobArn": "x"}}}', Handled.MALFORMED),
        ("[" * 100_000, Handled.MALFORMED),
    ],
    ids=lambda value: str(value)[:20],
)
def test_message_that_is_not_an_event_is_dropped(cloud: Cloud, body: str, handled: Handled) -> None:
    """Anyone who may put events on the bus can send one."""
    assert handle(function(cloud), body) is handled


def test_job_that_has_not_ended_is_not_read(cloud: Cloud) -> None:
    """An event that the monitor did not send causes no read of a bucket."""
    arn = cloud.add_job("InProgress")
    body = json.dumps({"detail": {"data": {"jobArn": arn}}})
    assert handle(function(cloud), body) is Handled.UNKNOWN
    cloud.poll()
    assert handle(function(cloud), body) is Handled.UNKNOWN


def test_job_without_failed_records_is_not_read(ended: tuple[Cloud, str, str]) -> None:
    """The counts of the job are enough."""
    cloud, arn, body = ended
    cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET successRecordCount = :four, errorRecordCount = :zero",
        ExpressionAttributeValues={":four": {"N": "4"}, ":zero": {"N": "0"}},
    )
    assert handle(function(cloud), body) is Handled.NO_ERRORS


def test_missing_results_are_not_an_error(ended: tuple[Cloud, str, str]) -> None:
    """A job that was stopped early has none."""
    cloud, arn, body = ended
    s3().delete_object(Bucket="batch", Key=f"out/{arn.rsplit('/', 1)[-1]}/a.jsonl.out")
    assert handle(function(cloud), body) is Handled.NO_RESULTS


def test_refused_bucket_lets_the_queue_deliver_again(
    ended: tuple[Cloud, str, str],
) -> None:
    """After five times, the message is a dead letter, which an alarm reports."""
    cloud, arn, body = ended
    for key in (f"out/{arn.rsplit('/', 1)[-1]}/a.jsonl.out", "in/a.jsonl"):
        s3().delete_object(Bucket="batch", Key=key)
    s3().delete_bucket(Bucket="batch")
    with pytest.raises(ServiceError):
        handle(function(cloud), body)


def test_large_retry_file_is_written_in_parts(cloud: Cloud) -> None:
    """Nothing is stored unless the upload is completed."""
    s3().create_bucket(Bucket="batch")
    files = JobFilesInS3(s3())
    line = b"x" * 2**20
    for completed in (False, True):
        with files.upload(S3Uri("batch", "big")) as upload:
            for _ in range(PART_BYTES // len(line) + 1):
                upload.write(line)
            if completed:
                upload.complete()
        found = s3().list_objects_v2(Bucket="batch").get("Contents", [])
        assert [each["Size"] for each in found] == ([17 * 2**20] if completed else [])
    assert cloud.received == []
