"""Sends pending events, and acknowledges those that the bus is known to have accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from threading import Lock
from typing import Final

from bedrock_batch_monitor.adapters.dynamodb.acks import Acks
from bedrock_batch_monitor.adapters.dynamodb.history_table import HistoryTable
from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import PendingJob
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
from bedrock_batch_monitor.adapters.dynamodb.slots_table import SlotsTable
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import BusLook, Delivery, EventBus
from bedrock_batch_monitor.domain.arns import InvalidJobArnError
from bedrock_batch_monitor.domain.events import (
    MonitorEvent,
    PendingEvent,
    condition_event,
    status_event,
)
from bedrock_batch_monitor.domain.jobs import HistoryEntry, StoredJob
from bedrock_batch_monitor.domain.tasks import PendingCallbacks

# Why an event is pending if no service refused it: the time of the invocation ran out.
NO_TIME: Final = "NoTime"
# Another call of the same poll was refused, so no further one is made.
BUS_REFUSES: Final = "BusRefuses"


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of one call: how many events were sent, how many wait for the next poll.

    `waiting_since` is the time of the oldest that waits. `bus_refuses` says that nothing was
    accepted, so that the next call will probably fail as well. `deliveries` has the result for each
    event: sent with EventBridge's own id, or pending with the reason.
    """

    sent: int = 0
    pending: int = 0
    waiting_since: datetime | None = None
    errors: Counter[str] = field(default_factory=Counter)
    bus_refuses: bool = False
    conflicts: int = 0
    deliveries: tuple[Delivery, ...] = ()


def not_sent(events: Sequence[MonitorEvent], reason: str) -> DeliveryResult:
    """The result for events that wait for the next poll, each with the reason."""
    return _waiting([Delivery(event, reason) for event in events])


def _waiting(deliveries: Sequence[Delivery]) -> DeliveryResult:
    return DeliveryResult(
        pending=len(deliveries),
        waiting_since=min((each.event.time for each in deliveries), default=None),
        deliveries=tuple(deliveries),
    )


class BusWatch:
    """Whether the bus exists, for one poll or batch; safe to use from many threads.

    PutEvents reports success for a bus that does not exist. So the bus is checked before the first
    event is sent, and again after events were sent and before they are acknowledged. Threads that
    check at the same time share one call.
    """

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._lock = Lock()
        self._tickets = count()
        self._first: BusLook | None = None
        self._latest: tuple[int, BusLook] | None = None

    def first(self) -> BusLook:
        """The result of the first check; nothing is sent unless the bus exists."""
        with self._lock:
            if self._first is None:
                self._first = self._look()
            return self._first

    def confirm(self) -> BusLook:
        """The result of a check that began after this call, for events that were sent before it."""
        ticket = next(self._tickets)
        with self._lock:
            if self._latest is not None and self._latest[0] > ticket:
                look = self._latest[1]
            else:
                look = self._look()
            return look.compared_with(self._first)

    def _look(self) -> BusLook:
        ticket = next(self._tickets)
        look = self._bus.look()
        self._latest = (ticket, look)
        return look


@dataclass(frozen=True, slots=True)
class Relay:
    """Delivers at least once: a pending event that outlives its delivery is sent once more."""

    bus: EventBus
    jobs: Acks
    history: HistoryTable
    outbox: OutboxTable
    slots: SlotsTable
    record_messages: bool = True
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def watch(self) -> BusWatch:
        """What checks the bus during one poll or batch; makes no call."""
        return BusWatch(self.bus)

    def deliver(
        self,
        events: Sequence[MonitorEvent],
        watch: BusWatch,
        is_over: Callable[[], bool] = lambda: False,
    ) -> DeliveryResult:
        """Send one PutEvents call's worth of events; raises nothing that a service can cause.

        Nothing is sent unless the bus exists, and nothing is acknowledged unless it still exists.
        Once the time of the invocation `is_over`, no further call is made: what is not acknowledged
        is sent again by the next poll.
        """
        errors: Counter[str] = Counter()
        first = watch.first()
        if not first.exists:
            errors[first.code] += 1
            return replace(not_sent(events, first.code), errors=errors, bus_refuses=True)
        if is_over():
            return not_sent(events, NO_TIME)
        try:
            deliveries = self.bus.put(events)
        except ServiceError as error:
            errors[error.code] += 1
            return replace(not_sent(events, error.code), errors=errors, bus_refuses=True)
        waiting = []
        for delivery in deliveries:
            if delivery.error is not None:
                errors[delivery.error] += 1
                waiting.append(delivery)
        accepted = [each.event for each in deliveries if each.error is None]
        if accepted:
            if is_over():
                return replace(not_sent(events, NO_TIME), errors=errors)
            look = watch.confirm()
            if not look.exists:
                errors[look.code] += 1
                return replace(not_sent(events, look.code), errors=errors, bus_refuses=True)
        conflicts = 0 if is_over() else self._acknowledge(accepted, errors, is_over)
        return replace(
            _waiting(waiting),
            deliveries=deliveries,
            sent=len(accepted),
            errors=errors,
            bus_refuses=not accepted,
            conflicts=conflicts,
        )

    def _acknowledge(
        self, sent: Sequence[MonitorEvent], errors: Counter[str], is_over: Callable[[], bool]
    ) -> int:
        """Acknowledge these events; one for which that fails is sent again. Counts conflicts."""
        together = _complete_acks(sent)
        left = sent
        try:
            # For many jobs that end at once, each PutEvents call needs one transaction.
            if len(together) > 1 and self.jobs.ack_batch(together, self.clock()).is_done:
                left = [event for event in sent if event.resource not in together]
        except ServiceError as error:
            errors[error.code] += 1
            return 0
        conflicts = 0
        for event in left:
            if is_over():
                break
            try:
                conflicts += not self._ack(event).is_done
            except ServiceError as error:
                errors[error.code] += 1
        self._forget_copies(sent, errors, is_over)
        return conflicts

    def _ack(self, event: MonitorEvent) -> WriteResult:
        if event.slots_of is not None:
            return self.slots.ack(event.slots_of, event.pending_event)
        return self.jobs.ack(event.resource, event.pending_event, self.clock())

    def _forget_copies(
        self, sent: Sequence[MonitorEvent], errors: Counter[str], is_over: Callable[[], bool]
    ) -> None:
        for event in sent:
            if event.has_copy and not is_over():
                try:
                    self.outbox.delete_event(event.resource, event.pending_event)
                except ServiceError as error:
                    errors[error.code] += 1

    def pending(
        self, jobs: Sequence[PendingJob], errors: Counter[str]
    ) -> Iterator[MonitorEvent | PendingCallbacks]:
        """The pending events and callbacks of up to 100 jobs, as the base table has them now.

        `errors` counts what cannot be read. Raises nothing that a service can cause.
        """
        try:
            stored = self.jobs.stored([job.job_arn for job in jobs])
        except ServiceError as error:
            errors[error.code] += 1
            return
        if stored.unreadable:
            errors["Item.InvalidItem"] += len(stored.unreadable)
        if stored.unprocessed:
            errors["DynamoDB.UnprocessedKeys"] += len(stored.unprocessed)
        for job in jobs:
            found = stored.found.get(job.job_arn)
            if found is None:
                continue
            try:
                yield from self._pending_of(found, errors)
            except ServiceError as error:
                errors[error.code] += 1
            except (InvalidItemError, InvalidJobArnError):
                errors["Item.InvalidItem"] += 1

    def _pending_of(
        self, job: StoredJob, errors: Counter[str]
    ) -> Iterator[MonitorEvent | PendingCallbacks]:
        if not job.pending_events and not self.jobs.leave_pending_index(job.job_arn).is_done:
            errors["DynamoDB.LostRace"] += 1
        for text in sorted(job.pending_events):
            try:
                pending_event = PendingEvent.parse(text)
            except ValueError:
                errors["Item.InvalidPendingEvent"] += 1
                continue
            if pending_event.is_condition:
                yield condition_event(job, pending_event, with_message=self.record_messages)
                continue
            if pending_event.is_tasks:
                if job.record is not None:
                    due = job.pending_since or job.record.last.observed_at
                    yield PendingCallbacks(job.record, text, job.task_revision, due)
                continue
            entry = self._entry(job, pending_event.sequence)
            if job.record is None or entry is None:
                errors["Item.HistoryExpired"] += 1
                if not self.jobs.ack(job.job_arn, text, None).is_done:
                    errors["DynamoDB.LostRace"] += 1
                continue
            yield status_event(
                job.record, entry, all_pending=job.pending_events, with_message=self.record_messages
            )

    def _entry(self, job: StoredJob, sequence: int) -> HistoryEntry | None:
        # A job's item repeats its last transition. So the end of a job needs no read of the
        # history, whose entry may have expired.
        if job.record is not None and job.record.last.sequence == sequence:
            return job.record.last
        return self.history.get(job.job_arn, sequence)


def _complete_acks(events: Sequence[MonitorEvent]) -> dict[str, frozenset[str]]:
    """The pending events of the jobs that have no other ones than these."""
    pending_events: dict[str, frozenset[str]] = {}
    of_jobs = [event for event in events if event.slots_of is None]
    for event in of_jobs:
        pending_events[event.resource] = pending_events.get(event.resource, frozenset()) | {
            event.pending_event
        }
    all_pending = {event.resource: event.all_pending for event in of_jobs}
    return {
        job_arn: found for job_arn, found in pending_events.items() if found == all_pending[job_arn]
    }
