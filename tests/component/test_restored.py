"""Restored, replaced or emptied tables, and responses and times that are implausible."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.domain.jobs import RecordCounts
from local.bedrock import Phase, Script

from .conftest import ACCOUNT, REGION, START, Cloud
from .test_discovery import submit
from .test_poll import between_read_and_write

MINUTE = 60
HOUR = 3600
DAY = 24 * HOUR
LIST = "ListModelInvocationJobs"


@pytest.fixture
def discovering(cloud: Cloud) -> Cloud:
    """The cloud with a monitor that tracks jobs by itself."""
    return cloud.with_settings(discovery_prefix="")


def snapshot(cloud: Cloud, table: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = cloud.dynamodb.scan(TableName=table)["Items"]
    return items


def restore(cloud: Cloud, table: str, items: list[dict[str, Any]]) -> None:
    """Have the table hold these items and no other."""
    keys = {"history": ("jobArn", "sequence"), "state": ("scope",)}.get(table, ("jobArn",))
    for item in cloud.dynamodb.scan(TableName=table)["Items"]:
        cloud.dynamodb.delete_item(TableName=table, Key={key: item[key] for key in keys})
    for item in items:
        cloud.dynamodb.put_item(TableName=table, Item=item)


def test_status_that_becomes_known_as_terminal_has_its_end_published(cloud: Cloud) -> None:
    """An earlier version recorded it as any other status and published no end."""
    arn = cloud.add_job("Completed")
    cloud.poll()
    cloud.new_events()
    [entry] = snapshot(cloud, "history")
    [item] = snapshot(cloud, "jobs")
    for each, table in ((entry, "history"), (item, "jobs")):
        without = {name: value for name, value in each.items() if name != "eventId"}
        if table == "jobs":
            without["tracking"] = {"S": "ACTIVE"}
        cloud.dynamodb.put_item(TableName=table, Item=without)
    summary = cloud.poll()
    assert (summary.jobs_ended, summary.events_sent, summary.conflicts) == (1, 1, 0)
    [event] = cloud.new_events()
    assert event["detail-type"] == "Batch Inference Job Ended"
    assert [entry["status"] for entry in cloud.history(arn)] == ["Completed", "Completed"]
    assert event["detail"]["metadata"]["eventId"] == cloud.history(arn)[-1]["eventId"]
    assert "tracking" not in (cloud.job(arn) or {})
    assert cloud.poll().jobs_active == 0


def test_deleted_items_of_running_jobs_are_restored_within_a_day(discovering: Cloud) -> None:
    """The sequence continues where the history ends, and the end has one event."""
    cloud = discovering
    script = Script((Phase("InProgress", 30 * HOUR), Phase("Completed", None)))
    arn = submit(cloud, script)
    cloud.poll()
    restore(cloud, "jobs", [])
    for _ in range(25):
        cloud.bedrock.clock.advance(HOUR)
        cloud.poll()
    assert (cloud.job(arn) or {})["tracking"] == "ACTIVE"
    cloud.bedrock.clock.advance(6 * HOUR)
    cloud.poll()
    assert [entry["status"] for entry in cloud.history(arn)] == ["InProgress", "Completed"]
    assert len(cloud.new_events()) == 1


@pytest.mark.parametrize("lost", ["jobs", "state", "history"])
def test_end_has_one_event_id_after_any_restore(discovering: Cloud, lost: str) -> None:
    """One table is of an earlier moment, the others are current: no end is lost or has two IDs."""
    cloud = discovering
    running = submit(cloud, Script((Phase("InProgress", 2 * HOUR), Phase("Failed", None))))
    cloud.poll()
    earlier = snapshot(cloud, lost)
    cloud.bedrock.clock.advance(HOUR)
    ended = submit(cloud, "Completed")
    cloud.poll()
    restore(cloud, lost, earlier)
    for _ in range(26):
        cloud.bedrock.clock.advance(HOUR)
        cloud.poll()
    ids: dict[str, set[str]] = {}
    for event in cloud.new_events():
        ids.setdefault(event["resources"][0], set()).add(event["detail"]["metadata"]["eventId"])
    assert ids.keys() == {running, ended}
    assert all(len(found) == 1 for found in ids.values())
    for arn in (running, ended):
        assert "tracking" not in (cloud.job(arn) or {"tracking": None})


def test_replaced_table_is_listed_in_full_at_once(
    discovering: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table with another identity than the last time may lack every job."""
    cloud, identity = discovering, ["first"]
    client = cloud.monitor.jobs._client
    describe = client.describe_table

    def described(**request: Any) -> Any:
        answer = describe(**request)
        answer["Table"]["TableId"] = identity[0]
        return answer

    monkeypatch.setattr(client, "describe_table", described)
    arn = submit(cloud, submitted_at=START - timedelta(days=2))
    cloud.poll()
    cloud.bedrock.clock.advance(MINUTE)
    restore(cloud, "jobs", [])
    assert cloud.poll().jobs_discovered == 0
    identity[0] = "second"
    assert cloud.poll().jobs_discovered == 1
    assert (cloud.job(arn) or {})["tracking"] == "ACTIVE"


@pytest.mark.parametrize("moment", ["2090-01-01T00:00:00Z", "0001-01-01T00:00:00Z"])
def test_implausible_submission_time_does_not_end_discovery(
    discovering: Cloud, moment: str
) -> None:
    """One summary with such a time hides no other job, now or later."""
    cloud = discovering
    odd = submit(cloud)
    cloud.bedrock.faults.override(odd, {"submitTime": moment}, operation=LIST)
    cloud.poll()
    for _ in range(3):
        cloud.bedrock.clock.advance(10 * MINUTE)
        new = submit(cloud)
        cloud.poll()
        assert len(cloud.history(new)) == 1
    [state] = cloud.items("state")
    assert state["discoveredUntil"] <= "2026-11-24T20:30:00.000Z"


def test_older_response_that_arrives_late_changes_nothing(cloud: Cloud) -> None:
    """Another poll has written newer counts meanwhile: they stay, and no stall is published."""
    cloud = cloud.with_rules(stalled_after=timedelta(minutes=30))
    arn = cloud.bedrock.add_job(
        script=Script((Phase("InProgress", HOUR), Phase("Completed", None)), steps=60),
        account=ACCOUNT,
        region=REGION,
        total_records=1000,
    )
    cloud.track(arn)
    cloud.poll()
    cloud.bedrock.clock.advance(10 * MINUTE)
    other = cloud.with_rules()

    def meanwhile() -> None:
        cloud.bedrock.clock.advance(20 * MINUTE)
        assert other.poll().conflicts == 0

    between_read_and_write(cloud, meanwhile)
    summary = cloud.poll()
    assert summary.conflicts + summary.observations_outdated >= 1
    job = cloud.job(arn) or {}
    assert job["processedRecordCount"] >= 480
    assert "conditions" not in job
    assert cloud.new_events() == []


def test_item_time_in_the_future_does_not_block_transitions(cloud: Cloud) -> None:
    """A person or a wrong clock wrote it: the next response is still recorded."""
    arn = cloud.add_job(Script((Phase("Scheduled", MINUTE), Phase("InProgress", None))))
    cloud.poll()
    cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET lastModifiedTime = :t, changedAt = :t, progressAt = :t",
        ExpressionAttributeValues={":t": {"S": "2090-01-01T00:00:00.000Z"}},
    )
    cloud.bedrock.clock.advance(2 * MINUTE)
    assert cloud.poll().jobs_changed == 1
    assert [entry["status"] for entry in cloud.history(arn)] == ["Scheduled", "InProgress"]


def test_counts_are_kept_if_a_response_omits_them(cloud: Cloud) -> None:
    """Counts that Bedrock omits stay as they were, and no count falls."""
    arn = cloud.add_job("InProgress", total_records=100)
    cloud.poll()
    counts = {
        name: (cloud.job(arn) or {})[name]
        for name in ("totalRecordCount", "processedRecordCount", "successRecordCount")
    }
    assert counts["totalRecordCount"] == 100
    cloud.bedrock.faults.override(arn, dict.fromkeys(counts))
    cloud.bedrock.clock.advance(10 * MINUTE)
    assert cloud.poll().errors == {}
    assert {name: (cloud.job(arn) or {})[name] for name in counts} == counts
    assert RecordCounts().not_below(RecordCounts(total=100)) == RecordCounts(total=100)
