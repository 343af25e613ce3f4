"""Statements of the pages on lost tables, replaced items, and discovery."""

from __future__ import annotations

from datetime import timedelta

from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
from bedrock_batch_monitor.domain.tasks import WaitingTask
from local.bedrock import Phase, Script
from tests.component.conftest import START, Cloud
from tests.component.test_discovery import submit

RUNS = Script((Phase("Scheduled", 60), Phase("InProgress", 600), Phase("Completed", None)))
FAILS = Script((Phase("InProgress", 60), Phase("Failed", None, message="quotes a record")))
KEYS = {"jobs": ("jobArn",), "history": ("jobArn", "sequence"), "outbox": ("jobArn", "entry")}


def lose(cloud: Cloud, table: str) -> None:
    """Delete every item of a table."""
    for item in cloud.dynamodb.scan(TableName=table)["Items"]:
        cloud.dynamodb.delete_item(TableName=table, Key={name: item[name] for name in KEYS[table]})


def later(cloud: Cloud, **span: float) -> None:
    cloud.bedrock.clock.advance(timedelta(**span).total_seconds())


def published(cloud: Cloud) -> list[tuple[str, str]]:
    """The kinds and ids of the events since the last call, sorted."""
    return sorted(
        (event["detail-type"], event["detail"]["metadata"]["eventId"])
        for event in cloud.new_events()
    )


def run_to_its_end(cloud: Cloud) -> str:
    """A job that was seen in each of its statuses."""
    arn = cloud.add_job(RUNS)
    for _ in range(3):
        cloud.poll()
        later(cloud, minutes=6)
    cloud.poll()
    return arn


def test_item_put_again_is_restored_without_bedrock_and_repeats_its_events(cloud: Cloud) -> None:
    """docs/tables.md: all its events with the same ids, though Bedrock knows nothing of it."""
    cloud = cloud.with_rules(emit_status_changes=True)
    arn = run_to_its_end(cloud)
    before, events, history = cloud.job(arn), published(cloud), cloud.history(arn)
    assert len(events) == len(history) == 3
    cloud.bedrock.reset()
    cloud.track(arn)
    cloud.poll()
    assert published(cloud) == events[:1]
    # Status changes are pending then, and sent with the backlog.
    cloud.poll()

    assert cloud.asked() == 0
    assert published(cloud) == events[1:]
    assert cloud.history(arn) == history
    after = cloud.job(arn)
    assert before is not None
    assert after is not None
    assert {**after, "trackedBy": "", "trackedAt": "", "eventPublishedAt": ""} == {
        **before,
        "eventPublishedAt": "",
        "trackedBy": "",
        "trackedAt": "",
    }


def test_item_without_a_history_starts_again_and_its_end_keeps_its_id(cloud: Cloud) -> None:
    """docs/tables.md: with `sequence` 1, once all entries have expired."""
    arn = run_to_its_end(cloud)
    [end] = published(cloud)
    lose(cloud, "history")
    cloud.track(arn)
    cloud.poll()

    assert [entry["sequence"] for entry in cloud.history(arn)] == [1]
    assert published(cloud) == [end]


def test_lost_history_leaves_a_gap_and_the_next_sequence_continues(cloud: Cloud) -> None:
    """docs/operating.md: the sequence is in the job's item."""
    arn = cloud.add_job(RUNS)
    cloud.poll()
    lose(cloud, "history")
    later(cloud, minutes=2)
    cloud.poll()

    assert [entry["sequence"] for entry in cloud.history(arn)] == [2]


def test_lost_history_drops_a_pending_status_change_and_sends_a_pending_end(cloud: Cloud) -> None:
    """docs/operating.md: the item contains everything for the end."""
    cloud = cloud.with_rules(emit_status_changes=True)
    arn = cloud.add_job(Script((Phase("InProgress", 60), Phase("Completed", None))))
    cloud.events.delete_event_bus(Name="monitor")
    cloud.poll()
    later(cloud, minutes=2)
    cloud.poll()
    pending = (cloud.job(arn) or {})["pendingEvents"]
    assert pending == {"StatusChanged#1", "Ended#2"}
    lose(cloud, "history")
    cloud.events.create_event_bus(Name="monitor")
    summary = cloud.poll()

    assert summary.errors == {"Item.HistoryExpired": 1}
    assert summary.events_sent == 1
    assert "pendingEvents" not in (cloud.job(arn) or {})


def test_lost_outbox_calls_no_task_back_and_leaves_nothing_pending(cloud: Cloud) -> None:
    """docs/operating.md: the task ends by its `TimeoutSeconds`; the event is sent as before."""
    arn = cloud.add_job(Script((Phase("InProgress", 60), Phase("Completed", None))))
    cloud.poll()
    [job] = cloud.monitor.jobs.active(None)
    OutboxTable(cloud.dynamodb, "outbox").put_task(arn, WaitingTask("token"), START)
    cloud.monitor.jobs.await_end(job, now=START, resumes=True, command_at=START)  # type: ignore[arg-type]
    lose(cloud, "outbox")
    later(cloud, minutes=2)
    summary = cloud.poll()

    assert (summary.events_sent, summary.tasks_answered, summary.errors) == (1, 0, {})
    assert "pendingEvents" not in (cloud.job(arn) or {})


def test_jobs_that_ended_while_discovery_was_off_are_recorded_without_events(cloud: Cloud) -> None:
    """docs/tracking.md: jobs that still run have their events, and a put item causes none."""
    on, off = cloud.with_settings(discovery_prefix=""), cloud.with_settings(discovery_prefix=None)
    on.poll()
    later(cloud, minutes=1)
    off.poll()
    later(cloud, minutes=1)
    ended, running = submit(cloud, FAILS), submit(cloud, RUNS)
    later(cloud, minutes=5)
    off.poll()
    assert cloud.items("jobs") == []
    on.poll()

    assert (cloud.job(ended) or {})["backfilled"] is True
    assert [entry["status"] for entry in cloud.history(ended)] == ["Failed"]
    assert published(cloud) == []
    later(cloud, minutes=10)
    on.poll()
    assert [entry["status"] for entry in cloud.history(running)] == ["InProgress", "Completed"]
    assert len(published(cloud)) == 1
    cloud.track(ended)
    on.poll()
    assert published(cloud) == []


def test_stored_message_comes_back_with_the_item_and_is_not_published(cloud: Cloud) -> None:
    """SECURITY.md: the messages that remain in the tables with `recordMessages=false`."""
    arn = cloud.add_job(FAILS)
    later(cloud, minutes=2)
    cloud.poll()
    [first] = cloud.new_events()
    assert first["detail"]["data"]["message"] == "quotes a record"
    silent = cloud.with_rules(record_messages=False)
    assert (cloud.job(arn) or {})["message"] == "quotes a record"
    cloud.track(arn)
    silent.poll()

    [again] = cloud.new_events()
    assert "message" not in again["detail"]["data"]
    assert (cloud.job(arn) or {})["message"] == "quotes a record"
