"""The log lines of a whole poll: their messages are those that the dashboard's queries name."""

from __future__ import annotations

import json
from typing import Any

from local.bedrock import Phase, Script

from .conftest import Cloud

MINUTE = 60


def lines_of(cloud: Cloud, message: str) -> list[dict[str, Any]]:
    """The lines of the poll's log with this message."""
    lines = [json.loads(line) for line in cloud.log.getvalue().splitlines()]
    return [line for line in lines if line["message"] == message]


def test_each_transition_has_one_log_line(cloud: Cloud) -> None:
    """A job that does not change has none, so that the log costs little."""
    arn = cloud.add_job(
        Script((Phase("InProgress", MINUTE), Phase("Failed", None, "a customer's text")))
    )
    for _ in range(3):
        cloud.poll()
        cloud.bedrock.clock.advance(MINUTE)
    first, second = lines_of(cloud, "job changed")
    assert (first["jobArn"], first["status"]) == (arn, "InProgress")
    assert "ended" not in first
    assert (second["status"], second["ended"]) == ("Failed", {"Failed": 1})
    assert second["durations"]["totalSeconds"] == MINUTE
    assert second["records"]["total"] > 0
    assert "customer" not in cloud.log.getvalue()


def test_jobs_are_counted_by_their_status_at_the_end_of_the_poll(
    cloud: Cloud,
) -> None:
    """A job that has just changed counts under its new status; an ended job is not counted."""
    cloud.add_job("Scheduled")
    cloud.add_job(Script((Phase("Submitted", MINUTE), Phase("InProgress", None))))
    cloud.add_job(Script((Phase("Submitted", MINUTE), Phase("Completed", None))))
    assert cloud.poll().active_by_status == {
        "Submitted": 2,
        "Validating": 0,
        "Scheduled": 1,
        "InProgress": 0,
        "Stopping": 0,
    }
    cloud.bedrock.clock.advance(MINUTE)
    found = cloud.poll().active_by_status
    assert {status: number for status, number in found.items() if number} == {
        "Scheduled": 1,
        "InProgress": 1,
    }


def test_counts_before_validation_are_absent_everywhere(cloud: Cloud) -> None:
    """Bedrock reports 0 for all of them: item, history, events and log have no count."""
    cloud = cloud.with_rules(emit_status_changes=True)
    arn = cloud.add_job(
        Script((Phase("Submitted", MINUTE), Phase("Validating", MINUTE), Phase("InProgress", None)))
    )
    for _ in range(2):
        cloud.poll()
        cloud.bedrock.clock.advance(MINUTE)
    item, events = cloud.job(arn) or {}, cloud.new_events()
    assert item["status"] == "Validating"
    assert [event["detail"]["data"]["status"] for event in events] == ["Submitted", "Validating"]
    for place in (item, *cloud.history(arn)):
        assert not [name for name in place if name.endswith("RecordCount")]
    for event in events:
        assert "records" not in event["detail"]["data"]
    assert all("records" not in line for line in lines_of(cloud, "job changed"))
    cloud.poll()
    # From then on 0 is a number of records.
    assert (cloud.job(arn) or {})["processedRecordCount"] == 0


def test_recorded_message_is_not_published_after_record_messages_off(cloud: Cloud) -> None:
    """An end that is sent again has no message, although one is stored."""
    arn = cloud.add_job(Script((Phase("Failed", None, "a customer's text"),)))
    cloud.poll()
    [first] = cloud.new_events()
    assert first["detail"]["data"]["message"] == "a customer's text"
    quiet = cloud.with_rules(record_messages=False)
    # To put the item again is how an end is published again.
    cloud.track(arn)
    quiet.poll()
    [again] = cloud.new_events()
    assert "message" not in again["detail"]["data"]
    assert again["detail"]["metadata"]["eventId"] == first["detail"]["metadata"]["eventId"]


def test_pending_event_of_an_earlier_deployment_is_sent_without_message(cloud: Cloud) -> None:
    """The setting at the time of sending decides."""
    cloud.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    cloud.events.delete_rule(Name="all", EventBusName="monitor")
    cloud.events.delete_event_bus(Name="monitor")
    arn = cloud.add_job(Script((Phase("Failed", None, "a customer's text"),)))
    cloud.poll()
    assert (cloud.job(arn) or {})["message"] == "a customer's text"
    sent: list[Any] = []
    relay = cloud.with_rules(record_messages=False).monitor.relay
    errors: Any = {}
    pending = list(cloud.monitor.jobs.with_pending_events())
    sent.extend(relay.pending(pending, errors))
    assert [event.detail_type for event in sent] == ["Batch Inference Job Ended"]
    assert "customer" not in sent[0].detail
