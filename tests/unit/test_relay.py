"""What a delivery reports and acknowledges, and which events are pending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.dynamodb.acks import StoredJobs
from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import PendingJob
from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import BusLook, BusState, Delivery
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.event_kinds import ENDED, STALLED
from bedrock_batch_monitor.domain.events import MonitorEvent, PendingEvent
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    JobRecord,
    StoredJob,
)
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from bedrock_batch_monitor.outbox.relay import NO_TIME, BusWatch, DeliveryResult, Relay
from tests.support.strategies import ARN, NOW

EVENT: Any = SimpleNamespace(time=NOW)
OTHER: Any = SimpleNamespace(time=NOW)
REFUSED = "EventBridge.ThrottlingException"
THERE = BusLook(BusState.EXISTS)
MISSING = BusLook(BusState.MISSING, "EventBridge.BusMissing")


@dataclass
class Bus:
    """A bus with these answers; it refuses the second of two events."""

    looks: list[BusLook]
    error: ServiceError | None = None

    def look(self) -> BusLook:
        """The next answer."""
        return self.looks.pop(0)

    def put(self, events: Any) -> tuple[Delivery, ...]:
        """Accept the first event only."""
        if self.error is not None:
            raise self.error
        return tuple(Delivery(event, REFUSED if event is OTHER else None) for event in events)


def delivered(bus: Any, is_over: Callable[[], bool] = lambda: False) -> DeliveryResult:
    """The result of a delivery of two events."""
    nothing: Any = None
    relay = Relay(bus, nothing, nothing, nothing, nothing)
    return relay.deliver([EVENT, OTHER], BusWatch(bus), is_over)


@pytest.mark.parametrize(
    ("bus", "code"),
    [
        (Bus([MISSING]), MISSING.code),
        (Bus([THERE], ServiceError("EventBridge", "InternalException", "no")), None),
        (Bus([THERE, MISSING]), MISSING.code),
    ],
)
def test_delivery_that_the_bus_refuses_is_counted_and_stops_the_next_ones(
    bus: Bus, code: str | None
) -> None:
    """Both events wait with the reason."""
    result = delivered(bus)
    expected = code or "EventBridge.InternalException"
    assert result.errors[expected] == 1
    assert result.bus_refuses
    assert (result.sent, result.pending, result.waiting_since) == (0, 2, NOW)
    assert [each.error for each in result.deliveries] == [expected, expected]


def test_delivery_without_time_to_confirm_the_bus_counts_what_was_refused() -> None:
    """Nothing is acknowledged, so both events wait; the bus does not refuse everything."""
    over = iter([False, True])
    result = delivered(Bus([THERE]), lambda: next(over))
    assert dict(result.errors) == {REFUSED: 1}
    assert not result.bus_refuses
    assert [each.error for each in result.deliveries] == [NO_TIME, NO_TIME]


CONFLICT = WriteResult(WriteOutcome.CONFLICT)
LOST = ServiceError("DynamoDB", "InternalServerError", "no")
SECOND_ARN = ARN.replace("abcdef", "fedcba")
SCOPE = Scope("123456789012", "us-east-1")


def ended(job_arn: str = ARN, *all_pending: str) -> MonitorEvent:
    """The event of an end, in an item with these pending events."""
    pending = frozenset(all_pending or ("Ended#2",))
    return MonitorEvent(job_arn, "Ended#2", ENDED.detail_type, "{}", NOW, pending)


STALL = MonitorEvent(ARN, "Stalled#1", STALLED.detail_type, "{}", NOW)
OF_MODEL = MonitorEvent("model", "Slots#1", "Slots", "{}", NOW, slots_of=SCOPE)


@dataclass
class Accepting:
    """A bus that accepts all events but these."""

    refused: tuple[MonitorEvent, ...] = ()

    def look(self) -> BusLook:
        """It is there."""
        return THERE

    def put(self, events: Any) -> tuple[Delivery, ...]:
        """Accept them."""
        return tuple(
            Delivery(event, REFUSED if event in self.refused else None) for event in events
        )


@dataclass
class Tables:
    """The tables of jobs, slots, history and outbox: results of their writes, and what is asked."""

    result: WriteResult | ServiceError = DONE
    batch: WriteResult | ServiceError = DONE
    jobs: StoredJobs = field(default_factory=lambda: StoredJobs({}))
    history: HistoryEntry | Exception | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def ack(self, *arguments: Any) -> WriteResult:
        """One pending event."""
        return self._write("ack", *arguments)

    def ack_batch(self, pending: Mapping[str, frozenset[str]], now: Any) -> WriteResult:
        """All pending events of some jobs."""
        self.calls.append(("ack_batch", dict(pending), now))
        if isinstance(self.batch, ServiceError):
            raise self.batch
        return self.batch

    def delete_event(self, *arguments: Any) -> None:
        """A copy."""
        self._write("delete_event", *arguments)

    def leave_pending_index(self, *arguments: Any) -> WriteResult:
        """No longer in the index."""
        return self._write("leave_pending_index", *arguments)

    def stored(self, _job_arns: Any) -> StoredJobs:
        """The items."""
        if isinstance(self.result, ServiceError):
            raise self.result
        return self.jobs

    def get(self, _job_arn: str, _sequence: int) -> HistoryEntry | None:
        """An entry of the history."""
        if isinstance(self.history, Exception):
            raise self.history
        return self.history

    def _write(self, *call: Any) -> WriteResult:
        self.calls.append(call)
        if isinstance(self.result, ServiceError):
            raise self.result
        return self.result


def relayed(
    tables: Any, *events: MonitorEvent, is_over: Callable[[], bool] = lambda: False
) -> DeliveryResult:
    """The result of a delivery to a bus that accepts these events."""
    bus: Any = Accepting()
    relay = Relay(bus, tables, tables, tables, tables, clock=lambda: NOW)
    return relay.deliver(events, relay.watch(), is_over)


def test_event_that_the_bus_accepted_is_acknowledged() -> None:
    tables = Tables()
    event = ended()
    assert relayed(tables, event) == DeliveryResult(sent=1, deliveries=(Delivery(event, None),))
    assert tables.calls == [("ack", ARN, "Ended#2", NOW)]


def test_event_that_the_bus_refused_alone_waits() -> None:
    """It is counted by its code; what was accepted is acknowledged."""
    tables: Any = Tables()
    late = replace(ended(SECOND_ARN), time=NOW - timedelta(hours=1))
    bus: Any = Accepting((late,))
    relay = Relay(bus, tables, tables, tables, tables, clock=lambda: NOW)
    result = relay.deliver([ended(), late], relay.watch())
    assert result == DeliveryResult(
        sent=1,
        pending=1,
        waiting_since=late.time,
        errors=Counter({REFUSED: 1}),
        deliveries=(Delivery(ended(), None), Delivery(late, REFUSED)),
    )
    assert tables.calls == [("ack", ARN, "Ended#2", NOW)]


def test_bus_that_accepts_nothing_is_not_asked_again() -> None:
    tables: Any = Tables()
    bus: Any = Accepting((ended(),))
    relay = Relay(bus, tables, tables, tables, tables, clock=lambda: NOW)
    result = relay.deliver([ended()], relay.watch())
    assert (result.bus_refuses, result.sent, result.pending) == (True, 0, 1)
    assert result.errors == {REFUSED: 1}
    assert tables.calls == []


def test_delivery_without_time_sends_nothing() -> None:
    tables = Tables()
    result = relayed(tables, ended(), is_over=lambda: True)
    assert (result.sent, result.pending, result.errors) == (0, 1, {})
    assert not result.bus_refuses
    assert tables.calls == []


def test_events_of_jobs_that_end_together_are_acknowledged_in_one_write() -> None:
    tables = Tables()
    assert relayed(tables, ended(), ended(SECOND_ARN)).sent == 2
    both = {ARN: {"Ended#2"}, SECOND_ARN: {"Ended#2"}}
    assert tables.calls == [("ack_batch", both, NOW)]


def test_job_with_another_pending_event_is_acknowledged_alone() -> None:
    """One write for the others, which have none."""
    tables = Tables()
    third = ARN.replace("abcdef", "000000")
    relayed(tables, ended(), ended(SECOND_ARN), ended(third, "Ended#2", "Tasks#2"), OF_MODEL)
    assert tables.calls[1:] == [("ack", third, "Ended#2", NOW), ("ack", SCOPE, "Slots#1")]
    assert set(tables.calls[0][1]) == {ARN, SECOND_ARN}


def test_events_are_acknowledged_one_by_one_if_they_cannot_be_together() -> None:
    """One of the jobs has another pending event by now."""
    tables = Tables(batch=CONFLICT)
    assert relayed(tables, ended(), ended(SECOND_ARN)).conflicts == 0
    assert [call[:2] for call in tables.calls[1:]] == [("ack", ARN), ("ack", SECOND_ARN)]


def test_acknowledgement_that_fails_is_counted_and_the_event_was_sent() -> None:
    """It is sent again by the next poll."""
    for tables in (Tables(LOST), Tables(batch=LOST)):
        result = relayed(tables, ended(), ended(SECOND_ARN, "Ended#2", "Tasks#2"))
        assert (result.sent, result.pending, result.conflicts) == (2, 0, 0)
    together = Tables(batch=LOST)
    result = relayed(together, ended(), ended(SECOND_ARN))
    assert (result.errors, result.conflicts) == ({LOST.code: 1}, 0)
    alone = Tables(LOST)
    assert relayed(alone, ended()).errors == {LOST.code: 1}
    assert relayed(Tables(LOST), STALL).errors == {LOST.code: 2}


def test_event_that_another_poll_has_acknowledged_is_a_conflict() -> None:
    result = relayed(Tables(CONFLICT), ended())
    assert (result.sent, result.conflicts, result.errors) == (1, 1, {})


def test_copy_of_a_sent_event_is_deleted() -> None:
    """The event of an end has none: the history has it."""
    tables = Tables()
    relayed(tables, STALL)
    assert tables.calls == [
        ("ack", ARN, "Stalled#1", NOW),
        ("delete_event", ARN, "Stalled#1"),
    ]


@pytest.mark.parametrize(
    ("over", "names"),
    [
        ([False, False, True, True, True], []),
        ([False, False, False, True, True], []),
        ([False, False, False, False, True], ["ack"]),
        ([False, False, False, False, False], ["ack", "delete_event"]),
    ],
)
def test_no_call_is_made_once_the_time_is_over(over: list[bool], names: list[str]) -> None:
    """What was sent counts as sent, and is sent again."""
    tables, answers = Tables(), iter(over)
    result = relayed(tables, STALL, is_over=lambda: next(answers))
    assert (result.sent, result.conflicts) == (1, 0)
    assert [call[0] for call in tables.calls] == names


class Turn:
    """A lock that another thread holds first, in which it looks at the bus."""

    def __init__(self, watch: BusWatch) -> None:
        self.watch = watch

    def __enter__(self) -> None:
        """The other thread comes first."""
        self.watch._look()

    def __exit__(self, *_: object) -> None:
        """Nothing."""


def test_threads_that_confirm_the_bus_at_the_same_time_share_one_call() -> None:
    """The look that began after this thread's call counts for it."""
    bus: Any = Bus([THERE, MISSING])
    watch = BusWatch(bus)
    other: Any = Turn(watch)
    watch.first()
    watch._lock = other
    assert watch.confirm() == MISSING
    assert bus.looks == []


# Pending events

SECRET = "a prompt that Bedrock quotes"  # noqa: S105 - no real one
ENTRY = HistoryEntry(ARN, 2, "Failed", NOW, "poll", event_id="id", message=SECRET)
RECORD = JobRecord(JobObservation(ARN, "Failed"), ENTRY)
STALLED_AT = str(PendingEvent(STALLED.name, 1, NOW, NOW))


def pending(
    tables: Any, errors: Counter[str], **options: Any
) -> list[MonitorEvent | PendingCallbacks]:
    """The pending events of a job."""
    nothing: Any = None
    relay = Relay(nothing, tables, tables, tables, tables, clock=lambda: NOW, **options)
    return list(relay.pending([PendingJob(ARN, NOW)], errors))


def holding(*events: str, record: JobRecord | None = RECORD, **attributes: Any) -> StoredJobs:
    """The item of a job with these pending events."""
    return StoredJobs({ARN: StoredJob(ARN, record, frozenset(events), **attributes)})


@pytest.mark.parametrize("record_messages", [False, True])
def test_pending_event_has_no_message_if_messages_are_not_recorded(
    *, record_messages: bool
) -> None:
    """It is sent by a later poll, with the setting of then."""
    errors: Counter[str] = Counter()
    tables = Tables(jobs=holding("Ended#2", STALLED_AT))
    found = pending(tables, errors, record_messages=record_messages)
    assert [each.pending_event for each in found] == ["Ended#2", STALLED_AT]
    for event in found:
        assert isinstance(event, MonitorEvent)
        assert (SECRET in event.detail) is record_messages
        assert event.all_pending == {"Ended#2", STALLED_AT}
    assert (errors, tables.calls) == ({}, [])


def test_pending_callbacks_are_due_since_the_item_says_so() -> None:
    since = NOW - timedelta(hours=1)
    errors: Counter[str] = Counter()
    jobs = holding("Tasks#2", task_revision=3, pending_since=since)
    assert pending(Tables(jobs=jobs), errors) == [PendingCallbacks(RECORD, "Tasks#2", 3, since)]
    without_time = holding("Tasks#2", task_revision=3)
    (found,) = pending(Tables(jobs=without_time), errors)
    assert isinstance(found, PendingCallbacks)
    assert found.due == NOW
    assert pending(Tables(jobs=holding("Tasks#2", record=None)), errors) == []
    assert errors == {}


def test_pending_event_has_its_message_unless_a_setting_says_otherwise() -> None:
    (found,) = pending(Tables(jobs=holding("Ended#2")), Counter())
    assert isinstance(found, MonitorEvent)
    assert SECRET in found.detail


def test_event_of_an_earlier_transition_comes_from_the_history() -> None:
    errors: Counter[str] = Counter()
    earlier = replace(ENTRY, sequence=1, status="InProgress", event_id=None)
    tables = Tables(jobs=holding("StatusChanged#1"), history=earlier)
    (found,) = pending(tables, errors)
    assert found.pending_event == "StatusChanged#1"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (DONE, {"Item.HistoryExpired": 1}),
        (CONFLICT, {"Item.HistoryExpired": 1, "DynamoDB.LostRace": 1}),
    ],
)
def test_event_whose_entry_has_expired_is_dropped_and_counted(
    result: WriteResult, expected: dict[str, int]
) -> None:
    """It would stay pending for all time."""
    for jobs in (holding("StatusChanged#1"), holding("StatusChanged#1", record=None)):
        errors: Counter[str] = Counter()
        tables = Tables(result, jobs=jobs)
        assert pending(tables, errors) == []
        assert errors == expected
        assert tables.calls == [("ack", ARN, "StatusChanged#1", None)]


@pytest.mark.parametrize(("result", "expected"), [(DONE, {}), (CONFLICT, {"DynamoDB.LostRace": 1})])
def test_job_without_pending_events_leaves_the_index(
    result: WriteResult, expected: dict[str, int]
) -> None:
    errors: Counter[str] = Counter()
    tables = Tables(result, jobs=holding())
    assert pending(tables, errors) == []
    assert errors == expected
    assert tables.calls == [("leave_pending_index", ARN)]


def test_event_that_the_monitor_did_not_write_does_not_stop_the_others() -> None:
    errors: Counter[str] = Counter()
    found = pending(Tables(jobs=holding("A text", "Ended#2")), errors)
    assert [each.pending_event for each in found] == ["Ended#2"]
    assert errors == {"Item.InvalidPendingEvent": 1}


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (Tables(LOST), {LOST.code: 1}),
        (Tables(jobs=StoredJobs({}, frozenset({"a", "b"}))), {"Item.InvalidItem": 2}),
        (
            Tables(jobs=StoredJobs({}, frozenset(), frozenset({"a", "b"}))),
            {"DynamoDB.UnprocessedKeys": 2},
        ),
        (Tables(jobs=holding("StatusChanged#1"), history=LOST), {LOST.code: 1}),
        (
            Tables(jobs=holding("StatusChanged#1"), history=InvalidItemError("no")),
            {"Item.InvalidItem": 1},
        ),
    ],
)
def test_jobs_that_cannot_be_read_are_counted(tables: Any, expected: dict[str, int]) -> None:
    errors: Counter[str] = Counter()
    assert pending(tables, errors) == []
    assert errors == expected
