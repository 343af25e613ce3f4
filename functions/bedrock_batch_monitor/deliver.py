"""Sends the events that jobs owe, and takes a job's mark away only when the bus has the event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bedrock_batch_monitor.domain.events import MonitorEvent, sequence_of, status_event
from bedrock_batch_monitor.services.dynamodb import HistoryTable, JobsTable
from bedrock_batch_monitor.services.errors import ServiceError
from bedrock_batch_monitor.services.eventbridge import EventBus
from bedrock_batch_monitor.services.items import InvalidItemError


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of sending some events: how many the bus took, how many wait for the next poll.

    `bus_refuses` says that the call as a whole failed, as the next one probably will.
    """

    sent: int = 0
    pending: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    bus_refuses: bool = False


@dataclass(frozen=True, slots=True)
class Courier:
    """Delivers at least once: a mark that outlives its event means one more copy, never none."""

    bus: EventBus
    jobs: JobsTable
    history: HistoryTable

    def deliver(self, events: Sequence[MonitorEvent]) -> Delivered:
        """Send one PutEvents call's worth of events; raises nothing that a service can cause."""
        sent = 0
        errors: Counter[str] = Counter()
        try:
            deliveries = self.bus.put(events)
        except ServiceError as error:
            errors[error.code] += 1
            return Delivered(pending=len(events), errors=errors, bus_refuses=True)
        for delivery in deliveries:
            if delivery.error is not None:
                errors[delivery.error] += 1
                continue
            sent += 1
            try:
                self.jobs.clear_mark(delivery.event.job_arn, delivery.event.mark)
            except ServiceError as error:
                errors[error.code] += 1
        return Delivered(sent=sent, pending=len(events) - sent, errors=errors)

    def left_over(self, errors: Counter[str]) -> Iterator[MonitorEvent]:
        """The events still owed, as the base table says now; `errors` counts what cannot be read.

        Raises `ServiceError` if the index cannot be read.
        """
        for job_arn in self.jobs.with_pending_events():
            try:
                yield from self._owed_by(job_arn, errors)
            except ServiceError as error:
                errors[error.code] += 1
            except InvalidItemError:
                errors["Item.InvalidItem"] += 1

    def _owed_by(self, job_arn: str, errors: Counter[str]) -> Iterator[MonitorEvent]:
        record = self.jobs.get(job_arn)
        if record is None:
            return
        if not record.pending_events:
            self.jobs.clear_empty_marks(job_arn)
            return
        for mark in sorted(record.pending_events):
            try:
                sequence = sequence_of(mark)
            except ValueError:
                errors["Item.InvalidMark"] += 1
                continue
            # A job's item repeats its last transition, so its ending needs no look at the history,
            # which may have reached the end of its retention.
            entry = (
                record.last
                if sequence == record.last.sequence
                else self.history.get(job_arn, sequence)
            )
            if entry is None:
                errors["Item.HistoryExpired"] += 1
                self.jobs.clear_mark(job_arn, mark)
                continue
            yield status_event(record, entry)
