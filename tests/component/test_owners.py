"""Tags and deadlines of jobs: read, stored and published by polls."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger

from bedrock_batch_monitor.app.composition import compose_inbox
from bedrock_batch_monitor.app.inbox_batch import Inbox, InboxBatch
from bedrock_batch_monitor.domain.deadlines import DeadlineRule
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.settings import Settings
from local.bedrock import Phase, Script
from tests.support.monitor import REGION, SETTINGS, native_event

from .conftest import START, Cloud

HOUR = 3600
TAGS = {"team": "search", "stage": "prod"}
RUNS_AN_HOUR = Script((Phase("InProgress", HOUR), Phase("Completed", None)))
WAITS_A_DAY = Script((Phase("Scheduled", 24 * HOUR - 60), Phase("Expired", None)))
AT_RISK = "Batch Inference Job At Risk"
MISSED = "Batch Inference Job Deadline Missed"
ENDED = "Batch Inference Job Ended"


def tag_calls(cloud: Cloud) -> int:
    """How often ListTagsForResource was called so far."""
    return sum(
        times for (name, _), times in cloud.bedrock.calls.items() if name == "ListTagsForResource"
    )


def poll_until(cloud: Cloud, seconds: float, step: float = 600) -> None:
    """Run polls over so many seconds."""
    for _ in range(int(seconds // step)):
        cloud.bedrock.clock.advance(step)
        cloud.poll()


def of_type(events: list[dict[str, Any]], detail_type: str) -> list[dict[str, Any]]:
    """The data of the events of one type."""
    return [each["detail"]["data"] for each in events if each["detail-type"] == detail_type]


def test_tags_are_read_once_and_are_in_item_history_and_events(cloud: Cloud) -> None:
    """The end event has them, too."""
    cloud = cloud.with_rules(read_tags=True, emit_status_changes=True)
    arn = cloud.add_job(RUNS_AN_HOUR, tags=TAGS)
    cloud.poll()
    poll_until(cloud, 2 * HOUR)
    assert tag_calls(cloud) == 1
    item = cloud.job(arn)
    assert item is not None
    assert item["tags"] == TAGS
    assert "tagsPending" not in item
    assert cloud.history(arn)[-1]["tags"] == TAGS
    events = cloud.new_events()
    assert {each["detail-type"] for each in events} == {ENDED, "Batch Inference Job Status Changed"}
    assert all(each["detail"]["data"]["tags"] == TAGS for each in events)


def test_tags_are_not_read_with_read_tags_off(cloud: Cloud) -> None:
    """No call, no attribute."""
    arn = cloud.add_job("Completed", tags=TAGS)
    cloud.poll()
    assert tag_calls(cloud) == 0
    assert "tags" not in (cloud.job(arn) or {})


def test_throttled_tags_delay_no_event_and_are_read_by_a_later_poll(cloud: Cloud) -> None:
    """The first record is written at once; after a failure, the reads of tags pause."""
    cloud = cloud.with_rules(read_tags=True)
    fault = cloud.bedrock.faults.throttle(operation="ListTagsForResource")
    arns = [cloud.add_job(RUNS_AN_HOUR, tags=TAGS) for _ in range(5)]
    ended = cloud.add_job("Completed", tags=TAGS)
    cloud.poll()
    assert tag_calls(cloud) == 1
    assert of_type(cloud.new_events(), ENDED)[0]["jobArn"] == ended
    assert all((cloud.job(arn) or {})["tagsPending"] for arn in arns)
    cloud.bedrock.faults.remove(fault)
    cloud.bedrock.clock.advance(60)
    cloud.poll()
    for arn in arns:
        item = cloud.job(arn) or {}
        assert item["tags"] == TAGS
        assert "tagsPending" not in item
    assert tag_calls(cloud) == 1 + len([*arns, ended])


def test_missing_tags_of_an_ended_job_are_read_later(cloud: Cloud) -> None:
    """The event of its end has no tags, and is not sent again."""
    cloud = cloud.with_rules(read_tags=True)
    fault = cloud.bedrock.faults.throttle(operation="ListTagsForResource")
    arn = cloud.add_job("Completed", tags=TAGS)
    cloud.poll()
    (event,) = cloud.new_events()
    assert "tags" not in event["detail"]["data"]
    cloud.bedrock.faults.remove(fault)
    cloud.bedrock.clock.advance(60)
    cloud.poll()
    item = cloud.job(arn) or {}
    assert (item["tags"], item["status"], "tagsPending" in item) == (TAGS, "Completed", False)
    calls = tag_calls(cloud)
    poll_until(cloud, HOUR, 60)
    assert tag_calls(cloud) == calls == 2
    assert cloud.new_events() == []


@pytest.mark.parametrize("throttled", [False, True])
def test_missing_tags_are_read_once_more_for_the_event_of_the_end(
    cloud: Cloud, *, throttled: bool
) -> None:
    """In the inbox, which reads no tags later. If that fails, the event is sent without them."""
    fault = cloud.bedrock.faults.throttle(operation="ListTagsForResource")
    arn = cloud.add_job(RUNS_AN_HOUR, tags=TAGS | {"bbm:deadline": "3h"})
    cloud.with_rules(read_tags=True).poll()
    assert (cloud.job(arn) or {})["tagsPending"]
    if not throttled:
        cloud.bedrock.faults.remove(fault)
    cloud.bedrock.clock.advance(HOUR)
    calls = tag_calls(cloud)
    settings = replace(SETTINGS, rules=replace(SETTINGS.rules, read_tags=True))
    process(cloud, native_event(arn), settings)
    assert tag_calls(cloud) == calls + 1
    (data,) = of_type(cloud.new_events(), ENDED)
    item = cloud.job(arn) or {}
    if throttled:
        assert "tags" not in data
        assert item["tagsPending"]
    else:
        assert data["tags"] == item["tags"] == TAGS | {"bbm:deadline": "3h"}
        assert "tagsPending" not in item
        assert (item["deadline"], item["deadlineBy"]) == (to_iso(START + timedelta(hours=3)), "tag")


def test_reads_of_tags_of_an_ended_job_stop_after_some_polls(cloud: Cloud) -> None:
    """The number of attempts is bounded."""
    cloud = cloud.with_rules(read_tags=True)
    cloud.bedrock.faults.throttle(operation="ListTagsForResource")
    cloud.add_job("Completed", tags=TAGS)
    cloud.poll()
    poll_until(cloud, HOUR, 60)
    assert tag_calls(cloud) == 1 + 10


def test_reads_of_tags_of_an_ended_job_are_counted_only_if_there_is_room(cloud: Cloud) -> None:
    """Active jobs have the first claim to the reads of a poll; the ended job waits for its turn."""
    cloud = cloud.with_rules(read_tags=True)
    fault = cloud.bedrock.faults.throttle(operation="ListTagsForResource")
    arns = [cloud.add_job("InProgress", tags=TAGS) for _ in range(32)]
    ended = cloud.add_job("Completed", tags=TAGS)
    for _ in range(12):
        cloud.poll()
        cloud.bedrock.clock.advance(60)
    cloud.bedrock.faults.remove(fault)
    for _ in range(2):
        cloud.poll()
        cloud.bedrock.clock.advance(60)
    assert all((cloud.job(arn) or {}).get("tags") == TAGS for arn in arns)
    assert (cloud.job(ended) or {}).get("tags") == TAGS


def test_refused_read_of_tags_is_counted_and_not_repeated(cloud: Cloud) -> None:
    """A missing permission must not cost a call per job and poll."""
    cloud = cloud.with_rules(read_tags=True)
    cloud.bedrock.faults.deny(operation="ListTagsForResource")
    arn = cloud.add_job("InProgress", tags=TAGS)
    assert cloud.poll().errors == {"Bedrock.AccessDeniedException": 1}
    cloud.bedrock.clock.advance(60)
    assert not cloud.poll().errors
    assert tag_calls(cloud) == 1
    assert (cloud.job(arn) or {})["status"] == "InProgress"


def test_hostile_tags_are_cleaned_in_item_and_event(cloud: Cloud) -> None:
    """No control or bidirectional character is stored or published."""
    cloud = cloud.with_rules(read_tags=True)
    arn = cloud.add_job("Completed")
    entries = [{"key": "team\u202e", "value": "\x1b[2Jse\narch"}, {"key": 1}, None]
    cloud.bedrock.faults.override(arn, {"tags": entries}, operation="ListTagsForResource")
    cloud.poll()
    assert of_type(cloud.new_events(), ENDED)[0]["tags"] == {"team": "[2Jse arch"}


def test_job_that_waits_is_at_risk_shortly_before_it_expires(cloud: Cloud) -> None:
    """Once, with the reason `queue`."""
    cloud = cloud.with_rules(emit_at_risk=True)
    cloud.add_job(WAITS_A_DAY)
    cloud.poll()
    poll_until(cloud, 21 * HOUR)
    assert cloud.new_events() == []
    poll_until(cloud, 4 * HOUR)
    events = cloud.new_events()
    assert [each["detail-type"] for each in events] == [AT_RISK, ENDED]
    assert of_type(events, AT_RISK)[0]["risk"] == {
        "reason": "queue",
        "at": to_iso(START + timedelta(hours=24)),
    }


def test_deadline_of_a_tag_is_at_risk_and_then_missed(cloud: Cloud) -> None:
    """Both events are sent once, without `emitAtRisk`, and the item records the missed deadline."""
    cloud = cloud.with_rules(read_tags=True)
    script = Script((Phase("InProgress", 4 * HOUR), Phase("Completed", None)), steps=400)
    arn = cloud.add_job(script, tags={"bbm:deadline": "2h"}, total_records=4000)
    cloud.poll()
    deadline = to_iso(START + timedelta(hours=2))
    item = cloud.job(arn) or {}
    assert (item["deadline"], item["deadlineBy"]) == (deadline, "tag")
    poll_until(cloud, HOUR)
    (warned,) = cloud.new_events()
    assert warned["detail-type"] == AT_RISK
    risk = warned["detail"]["data"]["risk"]
    assert (risk["reason"], risk["at"]) == ("deadline", deadline)
    assert risk["estimatedEndTime"] > deadline
    poll_until(cloud, 4 * HOUR)
    events = cloud.new_events()
    assert [each["detail-type"] for each in events] == [MISSED, ENDED]
    assert of_type(events, MISSED)[0]["deadline"] == deadline
    assert (cloud.job(arn) or {})["conditions"] == {"DeadlineMissed": deadline}


def test_job_that_ended_late_between_two_polls_has_missed_its_deadline(cloud: Cloud) -> None:
    """The end and the missed deadline are found together; one that ended in time missed nothing."""
    cloud = cloud.with_rules(deadlines=(DeadlineRule("late-*", "30m"), DeadlineRule("*", "2h")))
    late = cloud.add_job(RUNS_AN_HOUR, job_name="late-1")
    cloud.add_job(RUNS_AN_HOUR, job_name="on-time")
    cloud.poll()
    cloud.bedrock.clock.advance(5 * HOUR)
    cloud.poll()
    events = cloud.new_events()
    assert [data["jobArn"] for data in of_type(events, MISSED)] == [late]
    assert len(of_type(events, ENDED)) == 2


def test_new_deadline_can_be_missed_again(cloud: Cloud) -> None:
    """One event per job and deadline, each with its own ID."""
    arn = cloud.add_job("InProgress")
    for deadline in ("1h", "3h"):
        cloud.dynamodb.update_item(
            TableName="jobs",
            Key={"jobArn": {"S": arn}},
            UpdateExpression="SET deadline = :d",
            ExpressionAttributeValues={":d": {"S": deadline}},
        )
        cloud.poll()
        poll_until(cloud, 2 * HOUR)
    events = [each for each in cloud.new_events() if each["detail-type"] == MISSED]
    assert [each["detail"]["data"]["deadline"] for each in events] == [
        to_iso(START + timedelta(hours=hours)) for hours in (1, 3)
    ]
    assert len({each["detail"]["metadata"]["eventId"] for each in events}) == 2


@pytest.mark.parametrize("text", ["soon", "06:00", ""])
def test_invalid_deadline_in_an_item_is_ignored(cloud: Cloud, text: str) -> None:
    """Anyone who can write to the table can write any text."""
    arn = cloud.add_job("InProgress")
    cloud.dynamodb.put_item(
        TableName="jobs",
        Item={"jobArn": {"S": arn}, "tracking": {"S": "ACTIVE"}, "deadline": {"S": text}},
    )
    assert not cloud.poll().errors
    assert (cloud.job(arn) or {})["status"] == "InProgress"


def track_command(arn: str, **detail: Any) -> dict[str, Any]:
    """A Track command as EventBridge delivers it."""
    return {
        "source": "test",
        "detail-type": "Track Batch Inference Job",
        "time": to_iso(START),
        "detail": {"jobArn": arn, **detail},
    }


def inbox_on(cloud: Cloud, settings: Settings = SETTINGS) -> Inbox:
    """The inbox of the same deployment."""
    session = boto3.Session(region_name=REGION)
    return compose_inbox(settings, session, clock=cloud.bedrock.clock.now)


def process(cloud: Cloud, event: dict[str, Any], settings: Settings = SETTINGS) -> InboxBatch:
    """Follow one event in the inbox."""
    # A logger that has a stream keeps it, so each test needs one of its own.
    logger = Logger(service=f"test-{event['detail']}-{id(cloud)}", stream=cloud.log)
    batch = inbox_on(cloud, settings).batch(lambda: 900, logger)
    assert batch.process_messages({"one": json.dumps(event)}) == []
    return batch


def test_track_command_sets_a_deadline_that_no_tag_replaces(cloud: Cloud) -> None:
    """A duration becomes a time when the job is first read; a second command replaces it."""
    arn = cloud.add_job("InProgress", tags={"bbm:deadline": "1h"})
    cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": arn}})
    process(cloud, track_command(arn, deadline="4h"))
    item = cloud.job(arn) or {}
    assert (item["deadline"], item["deadlineBy"]) == (to_iso(START + timedelta(hours=4)), "user")
    process(cloud, track_command(arn, deadline="06:00 UTC"))
    item = cloud.job(arn) or {}
    assert (item["deadline"], item["deadlineBy"]) == ("2026-11-25T06:00:00.000Z", "user")


@pytest.mark.parametrize("deadline", ["soon", "06:00", 4, "2020-01-01T00:00:00Z", {"at": "4h"}])
def test_track_command_with_an_invalid_deadline_is_dropped(cloud: Cloud, deadline: object) -> None:
    """It is counted as malformed and logged; no job is tracked."""
    arn = cloud.add_job("InProgress")
    cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": arn}})
    batch = process(cloud, track_command(arn, deadline=deadline))
    assert [summary.events_malformed for _, summary in batch.summaries()] == [1]
    assert cloud.job(arn) is None
    assert "deadline" in cloud.log.getvalue()
