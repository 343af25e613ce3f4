"""What a poll counts and logs of its events and callbacks, and when it stops to send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.dynamodb.jobs_table import PendingJob
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import (
    BUS_REPLACED,
    BusLook,
    BusState,
    Delivery,
)
from bedrock_batch_monitor.app.backlog import BATCH, Backlog
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.event_kinds import ENDED
from bedrock_batch_monitor.domain.events import ENTRIES_PER_CALL, MonitorEvent
from bedrock_batch_monitor.domain.jobs import HistoryEntry, JobObservation, JobRecord
from bedrock_batch_monitor.domain.scopes import ALL_KEYS
from bedrock_batch_monitor.domain.summary import PollSummary
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from bedrock_batch_monitor.outbox.event_buffer import EventBuffer
from bedrock_batch_monitor.outbox.relay import BUS_REFUSES, DeliveryResult, not_sent
from bedrock_batch_monitor.outbox.task_callbacks import CallbackResult
from tests.support.strategies import ARN, NOW

AGO = NOW - timedelta(hours=1)
EVENT = MonitorEvent(ARN, "Ended#2", ENDED.detail_type, '{"metadata": {"eventId": "id"}}', NOW)
OF_MODEL = replace(EVENT, resource="model", slots_of=Scope("123456789012", "us-east-1"))
THERE = BusLook(BusState.EXISTS)
MISSING = BusLook(BusState.MISSING, "EventBridge.BusMissing")
UNKNOWN = BusLook(BusState.UNKNOWN, "EventBridge.AccessDeniedException")
ENTRY = HistoryEntry(ARN, 2, "Failed", NOW, "poll")
CALLBACKS = PendingCallbacks(JobRecord(JobObservation(ARN, "Failed"), ENTRY), "Tasks#2", 1, AGO)


@dataclass
class Around:
    """All that a buffer needs: bus, relay, tasks, workers, log and jobs table."""

    look: BusLook = THERE
    delivery: Callable[[Any], DeliveryResult] = lambda group: DeliveryResult(sent=len(group))
    answer: CallbackResult = field(default_factory=lambda: CallbackResult(ARN, AGO, sent=1))
    time_is_up: bool = False
    is_over: bool = False
    waits: int = 0
    groups: list[int] = field(default_factory=list)
    called_back: int = 0
    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    summary: PollSummary = field(default_factory=PollSummary)
    pending_jobs: tuple[PendingJob, ...] = ()
    pending_events: tuple[Any, ...] = ()
    listing_error: ServiceError | None = None
    after: datetime | None = None
    seconds: list[float] = field(default_factory=list)

    def buffer(self) -> EventBuffer:
        """A buffer on these."""
        around: Any = self
        return EventBuffer(around, around, around, around, self.summary, around)

    def backlog(self, **options: Any) -> Backlog:
        """The backlog of a poll."""
        around: Any = self
        return Backlog(around, around, self.buffer(), around, self.summary, ALL_KEYS, **options)

    def first(self) -> BusLook:
        """The first look at the bus."""
        return self.look

    def deliver(self, group: Any, _watch: Any, is_over: Callable[[], bool]) -> DeliveryResult:
        """A PutEvents call."""
        assert is_over() is self.is_over
        self.groups.append(len(group))
        return self.delivery(group)

    def send(self, _callbacks: PendingCallbacks, may_go_on: Callable[[], bool]) -> CallbackResult:
        """Calls to Step Functions."""
        assert may_go_on() is not self.time_is_up
        self.called_back += 1
        return self.answer

    def submit(self, call: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Make a call at once."""
        then(call())

    def wait_for_all(self) -> None:
        """Nothing is under way."""
        self.waits += 1

    def remaining_after(self, share: float) -> float:
        """Of a hundred seconds."""
        return 100 * (1 - share)

    def remaining_seconds(self) -> float:
        """So many are left."""
        return self.seconds.pop(0) if self.seconds else 100.0

    def with_pending_events(self, after: datetime | None) -> Any:
        """The index."""
        self.after = after
        yield from self.pending_jobs
        if self.listing_error is not None:
            raise self.listing_error

    def pending(self, batch: Any, _errors: Counter[str]) -> Any:
        """What is pending in the items."""
        self.groups.append(-len(batch))
        return iter(self.pending_events)

    def info(self, text: str, extra: dict[str, Any]) -> None:
        """A line of the log."""
        self.lines.append(("info", text, extra))

    def warning(self, text: str, extra: dict[str, Any]) -> None:
        """A warning."""
        self.lines.append(("warning", text, extra))

    def error(self, text: str, extra: dict[str, Any]) -> None:
        """An error."""
        self.lines.append(("error", text, extra))


def test_events_are_sent_in_full_calls_and_the_rest_at_the_end() -> None:
    """A call costs as much for one event as for ten."""
    around = Around()
    buffer = around.buffer()
    buffer.add([EVENT] * (ENTRIES_PER_CALL - 1))
    assert around.groups == []
    buffer.add([EVENT] * 2)
    assert around.groups == [ENTRIES_PER_CALL]
    buffer.flush()
    assert around.groups == [ENTRIES_PER_CALL, 1]
    assert around.summary.events_sent == ENTRIES_PER_CALL + 1
    assert buffer.bus_exists


def test_result_of_a_delivery_is_counted() -> None:
    """The alarms about pending events are about these figures."""
    result = DeliveryResult(
        sent=3, pending=2, waiting_since=AGO, errors=Counter({"EventBridge.X": 2}), conflicts=1
    )
    around = Around(delivery=lambda _: result)
    buffer = around.buffer()
    for _ in range(2):
        buffer.send([EVENT])
    summary = around.summary
    assert (summary.events_sent, summary.events_pending, summary.conflicts) == (6, 4, 2)
    assert summary.errors == {"EventBridge.X": 4}
    assert buffer.waiting_since == AGO
    assert not buffer.bus_refuses


def test_oldest_event_that_waits_is_the_one_that_counts() -> None:
    buffer = Around().buffer()
    assert buffer.waiting_since is None
    for time in (NOW, AGO, NOW):
        buffer.postpone([replace(EVENT, time=time)], "NoTime")
    assert buffer.waiting_since == AGO


def test_bus_that_refused_once_counts_as_refusing_for_the_whole_poll() -> None:
    """Whatever later calls that were under way return."""
    results = iter([DeliveryResult(bus_refuses=True), DeliveryResult(sent=1)])
    around = Around(delivery=lambda _: next(results))
    buffer = around.buffer()
    buffer.send([EVENT])
    buffer.send([EVENT])
    assert buffer.bus_refuses


def test_delivery_that_outlasts_the_poll_sees_that_it_is_over() -> None:
    around = Around(is_over=True)
    around.buffer().send([EVENT])
    assert around.groups == [1]


def test_bus_is_not_looked_for_without_time() -> None:
    """The delivery does it: the polling thread must not wait."""
    around = Around(MISSING, time_is_up=True)
    buffer = around.buffer()
    buffer.send([EVENT])
    assert around.groups == [1]
    assert not buffer.bus_exists


@pytest.mark.parametrize(
    ("look", "text"),
    [
        (MISSING, "the event bus does not exist"),
        (UNKNOWN, "it is not known whether the event bus exists"),
    ],
)
def test_bus_that_is_not_there_is_logged_once_and_its_events_wait(look: BusLook, text: str) -> None:
    around = Around(look)
    buffer = around.buffer()
    buffer.send([EVENT])
    buffer.send([EVENT])
    assert around.groups == []
    assert (buffer.bus_refuses, buffer.bus_exists) == (True, False)
    assert (around.summary.events_pending, around.summary.errors) == (2, {look.code: 1})
    assert [line for line in around.lines if line[0] == "error"] == [
        ("error", text, {"error": look.code})
    ]


def test_bus_that_was_replaced_counts_as_missing() -> None:
    """What was sent may have gone to the old one, without its rules."""
    first = BusLook(BusState.EXISTS, created_at=AGO)
    later = BusLook(BusState.EXISTS, created_at=NOW)
    assert later.compared_with(first) == BusLook(BusState.MISSING, BUS_REPLACED)
    assert first.compared_with(first) is first
    assert first.compared_with(None) is first
    assert MISSING.compared_with(first) is MISSING


def test_sent_and_pending_events_are_logged_with_their_ids() -> None:
    """They lead from the log to the event that a receiver has seen."""
    deliveries = (Delivery(EVENT, None, "bus-id"), Delivery(OF_MODEL, "EventBridge.X"))
    around = Around(delivery=lambda _: DeliveryResult(deliveries=deliveries))
    around.buffer().send([EVENT])
    common = {"eventId": "id", "detailType": ENDED.detail_type}
    assert around.lines == [
        ("info", "event published", {"jobArn": ARN, **common, "eventBridgeId": "bus-id"}),
        ("warning", "event pending", {"modelArn": "model", **common, "reason": "EventBridge.X"}),
    ]


def test_only_the_first_events_that_wait_are_logged() -> None:
    """There can be thousands, in each poll."""
    around = Around()
    buffer = around.buffer()
    for _ in range(3):
        buffer.postpone([EVENT] * 15, "NoTime")
    assert [text for _, text, _ in around.lines] == ["event pending"] * 20


def test_result_of_a_callback_is_counted_and_its_refusals_logged() -> None:
    """With the job, and never with the token."""
    result = CallbackResult(
        ARN,
        AGO,
        sent=2,
        refusals=["TaskTimedOut", "InvalidToken"],
        pending=3,
        errors=Counter({"StepFunctions.X": 1}),
        is_conflict=True,
    )
    around = Around(answer=result)
    buffer = around.buffer()
    buffer.call_back(CALLBACKS)
    buffer.call_back(CALLBACKS)
    summary = around.summary
    assert (summary.tasks_answered, summary.tasks_refused, summary.tasks_pending) == (4, 4, 6)
    assert (summary.conflicts, summary.errors) == (2, {"StepFunctions.X": 2})
    assert buffer.waiting_since == AGO
    assert [line[2] for line in around.lines[:2]] == [
        {"jobArn": ARN, "error": "TaskTimedOut"},
        {"jobArn": ARN, "error": "InvalidToken"},
    ]
    assert {line[:2] for line in around.lines} == {("warning", "task token refused")}


def test_callbacks_that_step_functions_refuses_wait_for_the_next_poll() -> None:
    """Events are sent all the same."""
    around = Around(answer=CallbackResult(ARN, AGO, pending=1, service_refuses=True))
    buffer = around.buffer()
    buffer.call_back(CALLBACKS)
    around.answer = CallbackResult(ARN, AGO, sent=1)
    buffer.call_back(CALLBACKS)
    assert (around.called_back, around.summary.tasks_pending, buffer.tasks_refuse) == (1, 2, True)
    buffer.send([EVENT])
    assert around.summary.events_sent == 1


# The backlog


def jobs(count: int) -> tuple[PendingJob, ...]:
    """Jobs with pending events, one a second."""
    return tuple(PendingJob(ARN, AGO + timedelta(seconds=number)) for number in range(count))


def test_backlog_is_sent_in_batches_until_it_is_done() -> None:
    around = Around(pending_jobs=jobs(BATCH + 1), pending_events=(EVENT, CALLBACKS))
    backlog = around.backlog(start=AGO)
    assert not backlog.is_left
    backlog.is_left = True
    backlog.flush(0.5)
    assert around.groups == [-BATCH, 1, -1, 1]
    assert (around.called_back, around.after) == (2, AGO)
    assert (backlog.is_left, backlog.start) == (False, None)
    assert around.waits == 1


@pytest.mark.parametrize(("seconds", "time_is_up"), [([50.0, 49.0], False), ([100.0], True)])
def test_backlog_without_time_continues_where_it_ended(
    seconds: list[float], *, time_is_up: bool
) -> None:
    """Not with the same jobs each time. Reads of jobs have the rest of the time."""
    around = Around(pending_jobs=jobs(2 * BATCH + 1), pending_events=(EVENT,), seconds=seconds)
    backlog = around.backlog()
    around.time_is_up = time_is_up
    backlog.flush(0.5)
    assert backlog.is_left
    if time_is_up:
        assert (around.groups, backlog.start) == ([], None)
    else:
        assert around.groups == [-BATCH, 1]
        assert backlog.start == around.pending_jobs[BATCH - 1].since


def test_backlog_of_a_bus_that_refuses_is_not_sent_but_its_tasks_are_called_back() -> None:
    """The next poll begins behind the jobs whose events were refused."""
    around = Around(
        pending_jobs=jobs(BATCH + 1),
        pending_events=(*[EVENT] * ENTRIES_PER_CALL, CALLBACKS, EVENT),
        delivery=lambda group: replace(not_sent(group, "EventBridge.X"), bus_refuses=True),
    )
    backlog = around.backlog()
    backlog.flush(0.5)
    assert [size for size in around.groups if size > 0] == [ENTRIES_PER_CALL]
    assert around.called_back == 2
    assert around.summary.events_pending == 2 * (ENTRIES_PER_CALL + 1)
    reasons = [extra["reason"] for _, text, extra in around.lines if text == "event pending"]
    assert set(reasons) == {"EventBridge.X", BUS_REFUSES}
    assert backlog.start == around.pending_jobs[BATCH - 1].since


def test_backlog_that_cannot_be_listed_is_reported() -> None:
    """What was read before is sent."""
    error = ServiceError("DynamoDB", "InternalServerError", "no")
    around = Around(pending_jobs=jobs(BATCH), pending_events=(EVENT,), listing_error=error)
    around.backlog().flush(0.5)
    assert around.groups == [-BATCH, 1]
    assert around.summary.errors == {error.code: 1}


def test_first_calls_of_a_backlog_show_whether_anything_is_accepted() -> None:
    """As long as nothing was, each call is waited for: a service that refuses is asked once."""
    around = Around(
        pending_jobs=jobs(1),
        pending_events=(EVENT, CALLBACKS),
        delivery=lambda group: not_sent(group, "EventBridge.X"),
        answer=CallbackResult(ARN, AGO, pending=1),
    )
    around.backlog().flush(0.5)
    assert around.waits == 3
