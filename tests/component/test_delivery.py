from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from bedrock_batch_monitor.adapters.dynamodb.acks import Acks
from bedrock_batch_monitor.adapters.eventbridge import EventBus
from local.bedrock import Phase, Script

from .conftest import Cloud

MINUTE = 60
LONG_AGO = "2026-01-01T00:00:00.000Z"
TOO_EARLY = "0001-01-01T00:00:00+23:59"


class Faulty:
    """An EventBridge client that sends through moto, with injected faults."""

    def __init__(self, client: Any, fault: Callable[[int, list[Any]], Iterable[int]]) -> None:
        self.client = client
        self.fault = fault
        self.calls: list[list[Any]] = []

    def describe_event_bus(self, **request: Any) -> Any:
        """Say that the bus is there, if it is."""
        return self.client.describe_event_bus(**request)

    def put_events(self, *, Entries: list[Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        """Refuse the entries whose positions the fault names, which may also raise."""
        self.calls.append(Entries)
        refused = set(self.fault(len(self.calls), Entries))
        taken = [entry for position, entry in enumerate(Entries) if position not in refused]
        if taken:
            self.client.put_events(Entries=taken)
        return {
            "FailedEntryCount": len(refused),
            "Entries": [
                {"ErrorCode": "InternalFailure", "ErrorMessage": "try again"}
                if position in refused
                else {"EventId": f"id-{position}"}
                for position in range(len(Entries))
            ],
        }


def faulty(cloud: Cloud, fault: Callable[[int, list[Any]], Iterable[int]]) -> tuple[Cloud, Faulty]:
    client = Faulty(cloud.events, fault)
    return cloud.with_bus(EventBus(client, "monitor")), client  # type: ignore[arg-type]


def denied(_call: int, _entries: list[Any]) -> Iterable[int]:
    answer = {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}
    raise ClientError(answer, "PutEvents")  # type: ignore[arg-type]


def all_pending(cloud: Cloud) -> set[str]:
    return {item["jobArn"] for item in cloud.items("jobs") if "eventPending" in item}


def test_events_are_sent_in_calls_of_ten(cloud: Cloud) -> None:
    """Twenty-five events make three calls, and every one of them arrives."""
    arns = {cloud.add_job("Completed") for _ in range(25)}
    recorded, client = faulty(cloud, lambda _call, _entries: ())
    summary = recorded.poll()
    assert [len(entries) for entries in client.calls] == [10, 10, 5]
    assert (summary.events_sent, summary.events_pending) == (25, 0)
    assert {event["resources"][0] for event in cloud.new_events()} == arns
    assert all_pending(cloud) == set()


def test_events_of_one_call_are_acknowledged_in_one_transaction(cloud: Cloud) -> None:
    """It removes the pending events of the jobs of one PutEvents call."""
    cloud.poll()  # the first poll of a deployment notes that discovery is off
    for _ in range(21):
        cloud.add_job("Completed")
    with cloud.counting() as made:
        cloud.poll()
    assert made["PutEvents"] == 3
    # Two calls of ten are acknowledged together; one event alone is acknowledged by an update,
    # which is cheaper.
    assert made["TransactWriteItems"] == 21 + 2
    assert made["UpdateItem"] == 1
    assert all_pending(cloud) == set()


def test_job_with_a_newer_pending_event_delays_no_acknowledgement(cloud: Cloud) -> None:
    """The newer event stays pending, and the other jobs of the call have none."""
    arns = [cloud.add_job("Completed") for _ in range(10)]

    def comes_meanwhile(_call: int, _entries: list[Any]) -> Iterable[int]:
        cloud.dynamodb.update_item(
            TableName="jobs",
            Key={"jobArn": {"S": arns[3]}},
            UpdateExpression="ADD pendingEvents :mark",
            ExpressionAttributeValues={":mark": {"SS": ["StatusChanged#1"]}},
        )
        return ()

    recorded, _ = faulty(cloud, comes_meanwhile)
    assert recorded.poll().errors == {}
    assert all_pending(cloud) == {arns[3]}
    item = cloud.job(arns[3])
    assert item is not None
    assert item["pendingEvents"] == {"StatusChanged#1"}


def test_failed_acknowledgement_causes_a_duplicate(cloud: Cloud) -> None:
    """If the transaction is throttled, every event stays pending and is sent again."""
    arns = {cloud.add_job("Completed") for _ in range(10)}
    client: Any = cloud.monitor.jobs._client
    write = client.transact_write_items

    def throttled(**request: Any) -> Any:
        if len(request["TransactItems"]) == len(arns):
            error = {"Error": {"Code": "ThrottlingException", "Message": "slow down"}}
            raise ClientError(error, "TransactWriteItems")  # type: ignore[arg-type]
        return write(**request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "transact_write_items", throttled)
        summary = cloud.poll()
    assert summary.errors == {"DynamoDB.ThrottlingException": 1}
    assert (summary.events_sent, summary.events_pending) == (10, 0)
    assert all_pending(cloud) == arns
    assert cloud.poll().events_sent == 10
    assert all_pending(cloud) == set()
    ids = Counter(event["detail"]["metadata"]["eventId"] for event in cloud.new_events())
    assert set(ids.values()) == {2}


def test_refused_entries_of_a_successful_call_stay_pending(cloud: Cloud) -> None:
    """The next poll sends only those."""
    arns = sorted(cloud.add_job("Failed") for _ in range(10))
    recorded, _ = faulty(cloud, lambda call, _: (2, 7) if call == 1 else ())
    summary = recorded.poll()
    assert (summary.events_sent, summary.events_pending) == (8, 2)
    assert summary.errors == {"EventBridge.InternalFailure": 2}
    assert len(cloud.new_events()) == 8
    missing = all_pending(cloud)
    assert len(missing) == 2

    summary = recorded.poll()
    assert (summary.events_sent, summary.events_pending, summary.errors) == (2, 0, {})
    assert {event["resources"][0] for event in cloud.new_events()} == missing
    assert all_pending(cloud) == set()
    ids = [event["detail"]["metadata"]["eventId"] for event in cloud.received]
    assert sorted(ids) == sorted({cloud.history(arn)[-1]["eventId"] for arn in arns})


def test_events_pending_from_an_earlier_poll_are_sent_first(cloud: Cloud) -> None:
    """They are sent before the first call to Bedrock."""
    cloud.add_job("Completed")
    recorded, _ = faulty(cloud, lambda _, entries: range(len(entries)))
    recorded.poll()
    cloud.add_job("InProgress")
    asked = cloud.asked()
    seen: list[int] = []
    recorded, _ = faulty(cloud, lambda _call, _entries: seen.append(cloud.asked() - asked) or ())
    recorded.poll()
    assert seen == [0]


def test_active_jobs_and_pending_events_are_found_without_a_scan(cloud: Cloud) -> None:
    cloud.add_job("Completed")
    recorded, _ = faulty(cloud, lambda _, entries: range(len(entries)))
    with cloud.counting() as made:
        recorded.poll()
        cloud.poll()
    assert made["Scan"] == 0
    # What is pending and what is active, in each poll; history and outbox of the new job.
    assert made["Query"] == 6


def test_event_is_sent_after_a_crash_before_the_call(cloud: Cloud) -> None:
    """The poll that ended between write and call leaves a pending event for the next poll."""
    arn = cloud.add_job("Expired")

    def dies(_call: int, _entries: list[Any]) -> Iterable[int]:
        raise SystemExit

    recorded, _ = faulty(cloud, dies)
    with pytest.raises(SystemExit):
        recorded.poll()
    assert cloud.new_events() == []
    assert all_pending(cloud) == {arn}
    assert cloud.poll().events_sent == 1
    [event] = cloud.new_events()
    assert event["detail"]["metadata"]["eventId"] == cloud.history(arn)[-1]["eventId"]
    assert all_pending(cloud) == set()


def test_crash_before_the_acknowledgement_repeats_the_event(cloud: Cloud) -> None:
    """The duplicate has the same ID and the same detail."""
    cloud.add_job(Script((Phase("InProgress", MINUTE), Phase("Stopped", None))))
    cloud.poll()
    cloud.bedrock.clock.advance(2 * MINUTE)

    def dies(*_: Any) -> None:
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Acks, "ack", dies)
        with pytest.raises(SystemExit):
            cloud.poll()
    cloud.bedrock.clock.advance(MINUTE)
    assert cloud.poll().events_sent == 1
    first, second = cloud.new_events()
    assert first["detail"] == second["detail"]
    assert cloud.poll().events_sent == 0


def test_call_without_a_response_leaves_its_events_pending(cloud: Cloud) -> None:
    """Its effect is unknown, so its events are sent again."""
    cloud.add_job("Completed")

    def times_out(call: int, entries: list[Any]) -> Iterable[int]:
        if call == 1:
            cloud.events.put_events(Entries=entries)
            raise ReadTimeoutError(endpoint_url="https://events")
        return ()

    recorded, _ = faulty(cloud, times_out)
    summary = recorded.poll()
    assert summary.errors == {"EventBridge.ReadTimeoutError": 1}
    assert (summary.events_sent, summary.events_pending) == (0, 1)
    recorded.poll()
    first, second = cloud.new_events()
    assert first["detail"] == second["detail"]


def test_unavailable_bus_delays_no_record(cloud: Cloud) -> None:
    """Jobs are read and recorded while events are pending, and these cost one call a poll."""
    first = [cloud.add_job("Completed") for _ in range(30)]
    recorded, client = faulty(cloud, denied)
    summary = recorded.poll()
    assert summary.events_pending == 30
    assert summary.errors == {"EventBridge.AccessDeniedException": 3}
    second = [cloud.add_job("Failed") for _ in range(3)]
    client.calls.clear()
    summary = recorded.poll()
    assert summary.jobs_ended == 3
    # One call finds that the bus still refuses; the other one is for the job that has just ended.
    assert len(client.calls) == 2
    assert all_pending(cloud) == {*first, *second}
    assert cloud.poll().events_sent == 33
    assert {event["resources"][0] for event in cloud.new_events()} == {*first, *second}


def test_malformed_entry_delays_no_other(cloud: Cloud) -> None:
    """If one entry makes EventBridge refuse the whole call, the other nine are sent alone."""
    bad, *good = sorted(cloud.add_job("Completed") for _ in range(10))

    def picky(_call: int, entries: list[Any]) -> Iterable[int]:
        if any(bad in entry["Resources"] for entry in entries):
            answer = {"Error": {"Code": "ValidationException", "Message": "malformed"}}
            raise ClientError(answer, "PutEvents")  # type: ignore[arg-type]
        return ()

    recorded, _ = faulty(cloud, picky)
    summary = recorded.poll()
    assert (summary.events_sent, summary.events_pending) == (9, 1)
    assert {event["resources"][0] for event in cloud.new_events()} == set(good)
    assert all_pending(cloud) == {bad}
    assert recorded.poll().errors == {"EventBridge.ValidationException": 1}


def test_end_event_is_sent_without_its_history_item(cloud: Cloud) -> None:
    """The history item may have reached its retention."""
    arn = cloud.add_job("Completed")
    recorded, _ = faulty(cloud, lambda _, entries: range(len(entries)))
    recorded.poll()
    [item] = cloud.history(arn)
    cloud.dynamodb.delete_item(
        TableName="history", Key={"jobArn": {"S": arn}, "sequence": {"N": "1"}}
    )
    assert cloud.poll().events_sent == 1
    [event] = cloud.new_events()
    assert event["detail"]["metadata"]["eventId"] == item["eventId"]


def test_status_change_events_are_sent_with_the_setting(cloud: Cloud) -> None:
    """Then every non-terminal transition has an event too, and the end still has one."""
    cloud = cloud.with_rules(emit_status_changes=True)
    cloud.add_job(Script((Phase("Submitted", 60), Phase("InProgress", 60), Phase("Failed", None))))
    for _ in range(4):
        cloud.poll()
        cloud.bedrock.clock.advance(MINUTE)
    assert [
        (event["detail-type"], event["detail"]["data"]["status"]) for event in cloud.new_events()
    ] == [
        ("Batch Inference Job Status Changed", "Submitted"),
        ("Batch Inference Job Status Changed", "InProgress"),
        ("Batch Inference Job Ended", "Failed"),
    ]
    assert all_pending(cloud) == set()


def test_several_events_of_one_job_can_be_pending(cloud: Cloud) -> None:
    """While the bus is unavailable, events of a job accumulate; none replaces another."""
    cloud = cloud.with_rules(emit_status_changes=True)
    arn = cloud.add_job(Script((Phase("Submitted", 60), Phase("Completed", None))))
    recorded, _ = faulty(cloud, lambda _, entries: range(len(entries)))
    recorded.poll()
    cloud.bedrock.clock.advance(MINUTE)
    recorded.poll()
    job = cloud.job(arn)
    assert job is not None
    assert job["pendingEvents"] == {"StatusChanged#1", "Ended#2"}
    assert job["pendingSince"] == "2026-11-24T20:00:00.000Z"
    assert cloud.poll().events_sent == 2
    assert {event["detail"]["data"]["status"] for event in cloud.new_events()} == {
        "Submitted",
        "Completed",
    }
    after = cloud.job(arn)
    assert after is not None
    assert not {"pendingEvents", "eventPending", "pendingSince"} & set(after)


def test_status_change_event_without_history_is_dropped_and_counted(cloud: Cloud) -> None:
    """A non-terminal event whose history item has expired cannot be composed."""
    cloud = cloud.with_rules(emit_status_changes=True)
    arn = cloud.add_job(Script((Phase("Submitted", 60), Phase("InProgress", None))))
    recorded, _ = faulty(cloud, lambda _, entries: range(len(entries)))
    recorded.poll()
    cloud.bedrock.clock.advance(MINUTE)
    recorded.poll()
    cloud.dynamodb.delete_item(
        TableName="history", Key={"jobArn": {"S": arn}, "sequence": {"N": "1"}}
    )
    summary = cloud.poll()
    assert summary.errors == {"Item.HistoryExpired": 1}
    assert summary.events_sent == 1
    assert all_pending(cloud) == set()


@pytest.mark.parametrize(
    ("arn", "pending_event", "code"),
    [
        ("no-arn", f"Unreachable#0#{LONG_AGO}#{LONG_AGO}", "InvalidItem"),
        ("no-arn", f"Stalled#0#{TOO_EARLY}#{TOO_EARLY}", "InvalidPendingEvent"),
    ],
)
def test_manually_written_item_does_not_block_events_of_others(
    cloud: Cloud, arn: str, pending_event: str, code: str
) -> None:
    """A pending event of an invalid item, or with an implausible time, is counted and skipped."""
    waiting = cloud.add_job("Completed")
    recorded, _ = faulty(cloud, lambda _, entries: range(len(entries)))
    recorded.poll()
    cloud.dynamodb.put_item(
        TableName="jobs",
        Item={
            "jobArn": {"S": arn},
            "eventPending": {"S": "PENDING"},
            "pendingSince": {"S": "2026-01-01T00:00:00.000Z"},
            "pendingEvents": {"SS": [pending_event]},
        },
    )
    summary = cloud.poll()
    assert summary.errors == {f"Item.{code}": 1}
    assert summary.events_sent == 1
    assert [event["resources"] for event in cloud.new_events()] == [[waiting]]


@pytest.mark.parametrize("pending_events", [None, {"SS": ["Nonsense"]}])
def test_manually_written_pending_event_is_harmless(
    cloud: Cloud, pending_events: dict[str, Any] | None
) -> None:
    """A job without a pending event leaves the index; an unknown pending event is counted."""
    arn = cloud.add_job("Completed")
    cloud.poll()
    cloud.new_events()
    names = {"#e": "eventPending", "#s": "pendingSince"}
    values = {":e": {"S": "PENDING"}, ":s": {"S": "2026-01-01T00:00:00.000Z"}}
    expression = "SET #e = :e, #s = :s"
    if pending_events is not None:
        names["#m"], values[":m"] = "pendingEvents", pending_events
        expression += ", #m = :m"
    cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression=expression,
        ExpressionAttributeNames=names,
        ExpressionAttributeValues=values,
    )
    summary = cloud.poll()
    assert summary.errors == ({} if pending_events is None else {"Item.InvalidPendingEvent": 1})
    assert (arn in all_pending(cloud)) == (pending_events is not None)
    assert cloud.new_events() == []


def test_at_risk_event_has_the_facts_of_its_time_when_sent_late(cloud: Cloud) -> None:
    """It describes the moment at which the job became at risk, though the job has changed since."""
    cloud = cloud.with_rules(emit_at_risk=True)
    slow = Script((Phase("InProgress", 40 * 3600), Phase("Completed", None)), steps=600)
    arn = cloud.add_job(slow)
    refusing, _ = faulty(cloud, lambda _, entries: range(len(entries)))
    for _ in range(20):
        refusing.poll()
        cloud.bedrock.clock.advance(60)
    all_pending = cloud.job(arn) or {}
    [pending_event] = all_pending["pendingEvents"]
    cloud.bedrock.clock.advance(7200)
    refusing.poll()
    assert (cloud.job(arn) or {})["estimatedEndTime"] != all_pending["estimatedEndTime"]
    assert cloud.poll().events_sent == 1
    [event] = cloud.new_events()
    assert f"#estimatedEndTime={event['detail']['data']['estimatedEndTime']}#" in pending_event
    assert event["detail"]["metadata"]["observedAt"] == event["detail"]["data"]["atRiskSince"]
    assert "pendingEvents" not in (cloud.job(arn) or {})
