"""Sends the events that jobs owe, and takes a job's mark away only when the bus has the event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bedrock_batch_monitor.domain.arns import InvalidJobArnError
from bedrock_batch_monitor.domain.events import Mark, MonitorEvent, episode_event, status_event
from bedrock_batch_monitor.domain.jobs import HistoryEntry, StoredJob
from bedrock_batch_monitor.domain.scopes import EVERYTHING, Share
from bedrock_batch_monitor.domain.tasks import TaskAnswer, answer_of, mark_of
from bedrock_batch_monitor.services.dynamodb import HistoryTable, JobsTable, Written
from bedrock_batch_monitor.services.errors import ServiceError
from bedrock_batch_monitor.services.eventbridge import EventBus
from bedrock_batch_monitor.services.items import InvalidItemError


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of sending some events: how many the bus took, how many wait for the next poll.

    `waiting_since` is the time of the oldest of those. `bus_refuses` says that the call as a whole
    failed, as the next one probably will.
    """

    sent: int = 0
    pending: int = 0
    waiting_since: datetime | None = None
    errors: Counter[str] = field(default_factory=Counter)
    bus_refuses: bool = False


def not_sent(events: Sequence[MonitorEvent]) -> Delivered:
    """The outcome for events that wait for the next poll."""
    return Delivered(
        pending=len(events), waiting_since=min((event.time for event in events), default=None)
    )


@dataclass(frozen=True, slots=True)
class Courier:
    """Delivers at least once: a mark that outlives its event means one more copy, never none."""

    bus: EventBus
    jobs: JobsTable
    history: HistoryTable

    def deliver(self, events: Sequence[MonitorEvent]) -> Delivered:
        """Send one PutEvents call's worth of events; raises nothing that a service can cause."""
        errors: Counter[str] = Counter()
        try:
            deliveries = self.bus.put(events)
        except ServiceError as error:
            errors[error.code] += 1
            return replace(not_sent(events), errors=errors, bus_refuses=True)
        waiting = []
        for delivery in deliveries:
            if delivery.error is not None:
                errors[delivery.error] += 1
                waiting.append(delivery.event)
        self._forget([each.event for each in deliveries if each.error is None], errors)
        return replace(not_sent(waiting), sent=len(events) - len(waiting), errors=errors)

    def _forget(self, sent: Sequence[MonitorEvent], errors: Counter[str]) -> None:
        """Take the marks of these events away; what cannot be taken away is sent once more."""
        together = _settled_by(sent)
        try:
            # Many jobs that end at once are settled in one call for each call of PutEvents.
            if len(together) > 1 and self.jobs.settle(together) is Written.DONE:
                sent = [event for event in sent if event.job_arn not in together]
        except ServiceError as error:
            errors[error.code] += 1
            return
        for event in sent:
            try:
                self.jobs.clear_mark(event.job_arn, event.mark)
            except ServiceError as error:
                errors[error.code] += 1

    def left_over(
        self, errors: Counter[str], share: Share = EVERYTHING
    ) -> Iterator[MonitorEvent | TaskAnswer]:
        """The events still owed, as the base table says now, and the answers to waiting tasks.

        `errors` counts what cannot be read.

        The index is sorted by time, so a share of it is found by looking at all of it: keys alone,
        of the few jobs with an event that could not be sent at once.

        Raises `ServiceError` if the index cannot be read.
        """
        for job_arn in self.jobs.with_pending_events():
            if job_arn not in share:
                continue
            try:
                yield from self._owed_by(job_arn, errors)
            except ServiceError as error:
                errors[error.code] += 1
            except (InvalidItemError, InvalidJobArnError):
                errors["Item.InvalidItem"] += 1

    def _owed_by(self, job_arn: str, errors: Counter[str]) -> Iterator[MonitorEvent | TaskAnswer]:
        job = self.jobs.get(job_arn)
        if job is None:
            return
        if not job.pending_events:
            self.jobs.clear_empty_marks(job_arn)
            return
        for text in sorted(job.pending_events):
            try:
                mark = Mark.parse(text)
            except ValueError:
                errors["Item.InvalidMark"] += 1
                continue
            if mark.is_episode:
                yield episode_event(job, mark)
                continue
            if mark.is_task:
                yield from self._answer(job, text, errors)
                continue
            entry = self._entry(job, mark.sequence)
            if job.record is None or entry is None:
                errors["Item.HistoryExpired"] += 1
                self.jobs.clear_mark(job_arn, text)
                continue
            yield status_event(job.record, entry, owed=job.pending_events)

    def _answer(self, job: StoredJob, mark: str, errors: Counter[str]) -> Iterator[TaskAnswer]:
        record = job.record
        tasks = () if record is None else job.tasks
        for task in tasks:
            if record is not None and mark_of(task, record.last.sequence) == mark:
                try:
                    due = job.pending_since or record.last.observed_at
                    yield answer_of(record, task, due=due)
                except ValueError:
                    errors["Item.InvalidMark"] += 1
                return
        # The token went with its answer, and the mark came back or stayed: nobody waits any more.
        self.jobs.clear_mark(job.job_arn, mark)

    def _entry(self, job: StoredJob, sequence: int) -> HistoryEntry | None:
        # A job's item repeats its last transition, so its ending needs no look at the history,
        # which may have reached the end of its retention.
        if job.record is not None and job.record.last.sequence == sequence:
            return job.record.last
        return self.history.get(job.job_arn, sequence)


def _settled_by(events: Sequence[MonitorEvent]) -> dict[str, frozenset[str]]:
    """The jobs that owe nothing but these events, with their marks."""
    marks: dict[str, frozenset[str]] = {}
    for event in events:
        marks[event.job_arn] = marks.get(event.job_arn, frozenset()) | {event.mark}
    owed = {event.job_arn: event.owed for event in events}
    return {job_arn: found for job_arn, found in marks.items() if found == owed[job_arn]}
