"""Token counts of a job: read at its end or later, without a delay of its event."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.s3 import Manifests
from bedrock_batch_monitor.app.usage import UsageResult
from bedrock_batch_monitor.domain.token_usage import OutputBucket, TokenPrice, UsageRules
from local.bedrock import Phase, Script

from .conftest import REGION, Cloud

BUCKET = "results"
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
RULES = UsageRules(
    (OutputBucket(BUCKET, "nightly/"),),
    (TokenPrice(MODEL, Decimal("0.00025"), Decimal("0.00125")),),
)
TOKENS = {"input": 1_000_000, "output": 100_000}
MANIFEST = {"inputTokenCount": TOKENS["input"], "outputTokenCount": TOKENS["output"]}
COST = Decimal("0.375")
MINUTE = 60
HOUR = 3600
DAY = 86400


class FakeS3:
    """A client of S3 with injected errors, which counts its calls."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.calls = 0

    def get_object(self, **_: Any) -> Any:
        """Fail, as long as there is an error."""
        self.calls += 1
        if self.error is not None:
            raise self.error
        message = "nothing to answer with"
        raise AssertionError(message)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": f"{code}!"}}, "GetObject")


@pytest.fixture
def used(cloud: Cloud) -> Cloud:
    """A cloud whose monitor may read the manifests of one folder, which has none yet."""
    boto3.client("s3", region_name=REGION).create_bucket(Bucket=BUCKET)
    return cloud.with_settings(usage=RULES)


def add_job(cloud: Cloud, script: Script | str = "Completed", **attributes: Any) -> str:
    uri = attributes.pop("uri", f"s3://{BUCKET}/nightly/")
    arn = cloud.add_job(script, **{"model_id": MODEL, **attributes})
    output = {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": uri}}}
    cloud.bedrock.faults.override(arn, output)
    return arn


def write_manifest(
    arn: str, content: object = MANIFEST, *, prefix: str = "nightly/", bucket: str = BUCKET
) -> None:
    """What Bedrock writes next to the results."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    key = f"{prefix}{arn.rsplit('/', 1)[-1]}/manifest.json.out"
    boto3.client("s3", region_name=REGION).put_object(Bucket=bucket, Key=key, Body=body)


def with_s3(cloud: Cloud, client: Any) -> Cloud:
    """The same cloud with another client of S3 under the monitor."""
    monitor = cloud.monitor
    assert monitor.usage is not None
    reader = replace(monitor.usage.reader, manifests=Manifests(client))
    return replace(
        cloud,
        monitor=replace(
            monitor,
            usage=replace(monitor.usage, reader=reader),
            reconciler=replace(monitor.reconciler, usage=reader),
        ),
    )


def item(cloud: Cloud, arn: str) -> dict[str, Any]:
    found = cloud.job(arn)
    assert found is not None
    return found


def data_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    [event] = events
    data: dict[str, Any] = event["detail"]["data"]
    return data


def tokens_follow(cloud: Cloud, arn: str) -> None:
    """The numbers are added only to the job's item, and are no longer pending."""
    write_manifest(arn)
    cloud.bedrock.clock.advance(2 * DAY)
    history = cloud.history(arn)
    summary = cloud.poll()
    job = item(cloud, arn)
    assert (job["tokens"], job["estimatedCostUsd"]) == (TOKENS, COST)
    assert job["usageReadAt"] == "2026-11-26T20:00:00.000Z"
    assert not {"usagePending", "usageDueAt", "usageError"} & set(job)
    assert cloud.history(arn) == history
    assert "tokens" not in history[-1]
    assert cloud.new_events() == []
    assert (summary.usage_given_up, summary.errors) == (0, {})


@pytest.mark.parametrize("ending", ["Completed", "PartiallyCompleted"])
def test_tokens_and_cost_are_in_job_history_and_event(used: Cloud, ending: str) -> None:
    """The manifest exists at the end; all three have the same numbers."""
    arn = add_job(used, ending)
    write_manifest(arn)
    summary = used.poll()
    for place in (item(used, arn), used.history(arn)[-1]):
        assert (place["tokens"], place["estimatedCostUsd"]) == (TOKENS, COST)
    data = data_of(used.new_events())
    assert (data["tokens"], data["estimatedCostUsd"]) == (TOKENS, 0.375)
    assert not {"usagePending", "usageReadAt", "usageError"} & set(item(used, arn))
    assert summary.tokens == {
        ("InputTokens", MODEL): TOKENS["input"],
        ("OutputTokens", MODEL): TOKENS["output"],
    }


@pytest.mark.parametrize("ending", ["Failed", "Stopped", "Expired"])
def test_manifest_of_a_job_without_processed_records_is_not_read(used: Cloud, ending: str) -> None:
    """Neither now nor later."""
    quiet = with_s3(used, client := FakeS3(refusal("AccessDenied")))
    arn = add_job(quiet, ending)
    quiet.poll()
    assert client.calls == 0
    assert not {"usagePending", "usageError"} & set(item(quiet, arn))


def add_charged_job(cloud: Cloud, ending: str) -> str:
    """A job that ended so after it had processed 400 of its records."""
    arn = cloud.add_job(ending, model_id=MODEL)
    cloud.bedrock.faults.override(
        arn,
        {
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/nightly/"}},
            "totalRecordCount": 1000,
            "processedRecordCount": 400,
            "successRecordCount": 400,
            "errorRecordCount": 0,
        },
    )
    return arn


@pytest.mark.parametrize("ending", ["Failed", "Stopped", "Expired"])
def test_job_with_processed_records_is_charged_for_any_end(used: Cloud, ending: str) -> None:
    """Its manifest, if it exists, is read like the one of a completed job."""
    arn = add_charged_job(used, ending)
    write_manifest(arn)
    used.poll()
    assert data_of(used.new_events())["tokens"] == TOKENS
    assert item(used, arn)["estimatedCostUsd"] == COST


@pytest.mark.parametrize("ending", ["Failed", "Stopped", "Expired"])
def test_usage_without_a_manifest_is_unknown_and_not_zero(used: Cloud, ending: str) -> None:
    """After a day the item records it. No metric counts it, because it is not an error."""
    arn = add_charged_job(used, ending)
    given_up = 0
    for _ in range(14):
        given_up += used.poll().usage_given_up
        used.bedrock.clock.advance(3 * HOUR)
    job = item(used, arn)
    assert "tokens" not in job
    assert job["usageError"]["code"] == "NoManifest"
    assert "usagePending" not in job
    assert given_up == 0


def test_model_without_a_price_has_tokens_and_no_cost(used: Cloud) -> None:
    arn = add_job(used, model_id="amazon.nova-lite-v1:0")
    write_manifest(arn)
    used.poll()
    data = data_of(used.new_events())
    assert data["tokens"] == TOKENS
    assert "estimatedCostUsd" not in {**data, **item(used, arn)}


def test_absent_token_count_is_unknown(used: Cloud) -> None:
    """The other counts are published, and the manifest is not read again."""
    arn = add_job(used)
    write_manifest(arn, {"inputTokenCount": 5, "inputAudioSecond": 3})
    used.poll()
    data = data_of(used.new_events())
    assert data["tokens"] == {"input": 5}
    assert not {"estimatedCostUsd", "usagePending"} & set(item(used, arn))


def test_manifest_without_counts_is_not_read_again(used: Cloud) -> None:
    """The item has the reason why there are no numbers."""
    arn = add_job(used)
    write_manifest(arn, {"totalRecordCount": 5})
    used.poll()
    assert "tokens" not in data_of(used.new_events())
    assert item(used, arn)["usageError"]["code"] == "NoTokenCounts"
    assert "usagePending" not in item(used, arn)


def test_late_manifest_is_read_by_a_later_poll(used: Cloud) -> None:
    """The event is sent at once without numbers; a later poll adds them to the job's item."""
    arn = add_job(used)
    used.poll()
    assert "tokens" not in data_of(used.new_events())
    job = item(used, arn)
    assert job["usageError"]["code"] == "NoSuchKey"
    assert job["usageDueAt"] == "2026-11-24T20:01:00.000Z"
    tokens_follow(used, arn)


@pytest.mark.parametrize("content", [b"{", [], b"\xff", b" " * 70_000], ids=range(4))
def test_malformed_manifest_is_read_again(used: Cloud, content: object) -> None:
    """It is handled like a missing one: it may be written again."""
    arn = add_job(used)
    write_manifest(arn, content)
    used.poll()
    assert "tokens" not in data_of(used.new_events())
    assert item(used, arn)["usageError"]["code"] == "MalformedManifest"
    tokens_follow(used, arn)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (refusal("AccessDenied"), "AccessDenied"),
        (refusal("SlowDown"), "SlowDown"),
        (ReadTimeoutError(endpoint_url="https://s3"), "ReadTimeoutError"),
    ],
)
def test_manifest_that_cannot_be_read_delays_no_event(
    used: Cloud, error: Exception, code: str
) -> None:
    """Forbidden, throttled or too slow: the event is sent, and the numbers follow."""
    arn = add_job(used)
    with_s3(used, FakeS3(error)).poll()
    assert "tokens" not in data_of(used.new_events())
    assert item(used, arn)["usageError"]["code"] == code
    tokens_follow(used, arn)


def test_unresponsive_storage_is_called_once_a_minute(used: Cloud) -> None:
    """A call without a response prevents the others of the next minute."""
    slow = with_s3(used, client := FakeS3(ReadTimeoutError(endpoint_url="https://s3")))
    for _ in range(20):
        add_job(slow)
    summary = slow.poll()
    assert client.calls == 1
    assert (summary.jobs_ended, summary.events_sent, summary.errors) == (20, 20, {})
    slow.bedrock.clock.advance(MINUTE)
    slow.poll()
    assert client.calls == 2


def test_refused_manifest_does_not_prevent_other_reads(used: Cloud) -> None:
    """Each job reads its own manifest if S3 responds."""
    denied = with_s3(used, client := FakeS3(refusal("AccessDenied")))
    for _ in range(5):
        add_job(denied)
    denied.poll()
    assert client.calls == 5


@pytest.mark.parametrize("uri", ["s3://other/nightly/", f"s3://{BUCKET}/nightly-2/"])
def test_bucket_that_is_not_named_is_not_read(used: Cloud, uri: str) -> None:
    """Neither another bucket nor another folder; the item has the reason."""
    quiet = with_s3(used, client := FakeS3(refusal("AccessDenied")))
    arn = add_job(quiet, uri=uri)
    quiet.poll()
    assert client.calls == 0
    assert item(quiet, arn)["usageError"]["code"] == "BucketNotNamed"
    assert "usagePending" not in item(quiet, arn)


def test_usage_is_neither_read_nor_pending_without_the_setting(cloud: Cloud) -> None:
    """By default no item or event has tokens."""
    arn = add_job(cloud)
    cloud.poll()
    names = set(item(cloud, arn)) | set(data_of(cloud.new_events()))
    assert not {name for name in names if "sage" in name or "oken" in name} - {"clientRequestToken"}
    assert cloud.monitor.usage is cloud.monitor.reconciler.usage is None


def test_missing_manifest_is_read_more_rarely_and_dropped_after_a_day(used: Cloud) -> None:
    """After a dozen reads, the log and the item report that no more follow."""
    denied = with_s3(used, client := FakeS3(refusal("AccessDenied")))
    arn = add_job(denied)
    denied.poll()
    given_up = 0
    # Polls every minute for an hour, and then every 32 minutes for a day and more.
    for minutes in (*[1] * 64, *[32] * 50):
        denied.bedrock.clock.advance(minutes * MINUTE)
        given_up += denied.poll().usage_given_up
    assert client.calls == 1 + 12
    assert given_up == 1
    job = item(denied, arn)
    assert job["usageError"] == {"code": "AccessDenied", "message": "AccessDenied!"}
    assert not {"usagePending", "usageDueAt"} & set(job)
    assert "usage given up" in denied.log.getvalue()


def test_event_is_sent_before_the_manifest_if_time_is_short(used: Cloud) -> None:
    arn = add_job(used)
    write_manifest(arn)
    used.poll(seconds_left=18)
    assert "tokens" not in data_of(used.new_events()) | used.history(arn)[-1]
    assert item(used, arn)["tokens"] == TOKENS
    assert "usageReadAt" in item(used, arn)


def test_repeated_event_has_no_usage_that_the_first_did_not_have(used: Cloud) -> None:
    """Numbers that came after the end are not in an end event, however often it is sent."""
    arn = add_job(used)
    used.poll()
    [first] = used.new_events()
    write_manifest(arn)
    used.bedrock.clock.advance(2 * MINUTE)
    used.poll()
    assert item(used, arn)["tokens"] == TOKENS
    make_due(used, arn)
    used.poll()
    [second] = used.new_events()
    assert second["detail"] == first["detail"]


def test_repeated_event_has_the_usage_of_the_first(used: Cloud) -> None:
    """Numbers that were known at the end are in each copy of its event."""
    arn = add_job(used)
    write_manifest(arn)
    used.poll()
    [first] = used.new_events()
    make_due(used, arn)
    used.poll()
    [second] = used.new_events()
    assert second["detail"] == first["detail"]
    assert second["detail"]["data"]["tokens"] == TOKENS


@pytest.mark.parametrize("is_late", [False, True])
def test_job_that_is_put_again_has_its_token_counts(used: Cloud, *, is_late: bool) -> None:
    """From the history, or from another read; its event is as before."""
    arn = add_job(used)
    if not is_late:
        write_manifest(arn)
    used.poll()
    [first] = used.new_events()
    if is_late:
        tokens_follow(used, arn)
    used.track(arn)
    used.poll()
    # Numbers in the history are known: the item has no error that they are missing.
    assert is_late or not {"usageError", "usagePending"} & set(item(used, arn))
    used.poll()
    [second] = used.new_events()
    assert second["detail"] == first["detail"]
    assert item(used, arn)["tokens"] == TOKENS
    assert "usagePending" not in item(used, arn)


def test_usage_is_not_read_before_it_is_due(used: Cloud) -> None:
    """Another poll has just read it: the index may lag, and the item has the due time."""
    arn = add_job(used)
    used.poll()
    before = item(used, arn)
    assert before["usagePending"]
    write_manifest(arn)
    follower = used.monitor.usage
    assert follower is not None
    assert follower.read_again(arn) == UsageResult(arn)
    assert item(used, arn) == before


def test_concurrent_polls_add_usage_once(used: Cloud) -> None:
    """The second write has a conflict, and counts no tokens."""
    arn = add_job(used)
    used.poll()
    write_manifest(arn)
    used.bedrock.clock.advance(MINUTE)
    follower = used.monitor.usage
    assert follower is not None
    stored = used.monitor.jobs.get(arn)
    assert stored is not None
    assert stored.usage_due_at is not None
    assert follower.read_again(arn).usage is not None
    before = item(used, arn)
    again = replace(follower, jobs=Stale(follower.jobs, stored))  # type: ignore[arg-type]
    assert again.read_again(arn).usage is None
    assert item(used, arn) == before
    assert follower.read_again(arn).usage is None


class Stale:
    """A jobs table that reads what was there before."""

    def __init__(self, jobs: Any, stored: Any) -> None:
        self._jobs = jobs
        self._stored = stored

    def get(self, _job_arn: str) -> Any:
        """The item as it was."""
        return self._stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)


def test_manually_changed_item_does_not_block_others(used: Cloud) -> None:
    """It leaves the index, and neither the jobs after it nor its own event wait."""
    broken, good = add_job(used), add_job(used)
    used.poll()
    used.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": broken}},
        UpdateExpression="SET usageDueAt = :never",
        ExpressionAttributeValues={":never": {"S": "1 January"}},
    )
    write_manifest(good)
    used.bedrock.clock.advance(MINUTE)
    make_due(used, broken)
    used.new_events()
    assert used.poll().usage_given_up == 1
    assert item(used, good)["tokens"] == TOKENS
    assert "usagePending" not in item(used, broken)
    assert [event["resources"] for event in used.new_events()] == [[broken]]


def test_running_jobs_are_read_before_manifests(used: Cloud) -> None:
    """A poll without time left reads no manifests, and the next one does."""
    arn = add_job(used)
    used.poll()
    write_manifest(arn)
    used.bedrock.clock.advance(MINUTE)
    used.poll(seconds_left=10)
    assert "tokens" not in item(used, arn)
    used.poll()
    assert item(used, arn)["tokens"] == TOKENS


def test_refused_index_is_counted_and_read_again(used: Cloud) -> None:
    """An index that cannot be read fails no poll: the rest of the poll is done by then."""
    arn = add_job(used)
    follower = used.monitor.usage
    assert follower is not None

    class Refusing(Stale):
        def with_usage_due(self, _now: Any) -> Any:
            raise refused

    refused = ServiceError("DynamoDB", "ThrottlingException", "slow down")
    jobs = Refusing(used.monitor.jobs, None)
    monitor = replace(used.monitor, usage=replace(follower, jobs=jobs))  # type: ignore[arg-type]
    summary = replace(used, monitor=monitor).poll()
    assert summary.errors == {"DynamoDB.ThrottlingException": 1}
    assert (summary.events_sent, summary.complete) == (1, True)
    assert used.history(arn)


def make_due(cloud: Cloud, arn: str) -> None:
    """Make the job's event pending again, like a crash between sending and acknowledging."""
    sequence = item(cloud, arn)["sequence"]
    cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET eventPending = :p, pendingSince = :s, pendingEvents = :m",
        ExpressionAttributeValues={
            ":p": {"S": "PENDING"},
            ":s": {"S": "2026-11-24T20:00:00.000Z"},
            ":m": {"SS": [f"Ended#{sequence}"]},
        },
    )


def test_running_job_has_no_usage_before_its_end(used: Cloud) -> None:
    """The whole way of a job: nothing of tokens before its end."""
    script = Script((Phase("InProgress", 600), Phase("Completed", None)))
    arn = add_job(used, script)
    write_manifest(arn)
    used.poll()
    assert "tokens" not in item(used, arn)
    used.bedrock.clock.advance(600)
    used.poll()
    assert item(used, arn)["tokens"] == TOKENS
    assert [entry.get("tokens") for entry in used.history(arn)] == [None, TOKENS]
