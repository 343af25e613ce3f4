"""Flushes the pending events and callbacks that earlier polls left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain.events import MonitorEvent, calls
from bedrock_batch_monitor.outbox.relay import BUS_REFUSES

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable, PendingJob
    from bedrock_batch_monitor.app.worker_pool import WorkerPool
    from bedrock_batch_monitor.domain.scopes import KeyPartition
    from bedrock_batch_monitor.domain.summary import PollSummary
    from bedrock_batch_monitor.domain.tasks import PendingCallbacks
    from bedrock_batch_monitor.outbox.event_buffer import EventBuffer
    from bedrock_batch_monitor.outbox.relay import Relay

# The items of so many jobs with pending events are read at once (BatchGetItem).
BATCH: Final = 100


@dataclass(slots=True)
class Backlog:
    """The backlog of one poll.

    `start` is the `pendingSince` after which the next flush begins (None: at the oldest), so that a
    flush that was cut short does not begin with the same jobs each time. `is_left` says that there
    was no time for all of it.
    """

    jobs: JobsTable
    relay: Relay
    buffer: EventBuffer
    pool: WorkerPool
    summary: PollSummary
    keys: KeyPartition
    start: datetime | None = None
    is_left: bool = False

    def flush(self, share: float) -> None:
        """Send pending events and call back tasks, in a share of the time that is left.

        After a call in which nothing was accepted no further event is sent, so that a bus that
        refuses keeps no job from being read. Tasks are called back all the same.
        """
        until = self.pool.remaining_after(share)
        position, refused_at = None, None
        self.is_left = False
        try:
            for batch in self._batches():
                if self.pool.remaining_seconds() < until or self.pool.time_is_up:
                    self.is_left = True
                    break
                self._flush_batch(batch)
                position = batch[-1].since
                if self.buffer.bus_refuses and self.buffer.bus_exists:
                    refused_at = refused_at or position
        except ServiceError as error:
            self.summary.errors[error.code] += 1
        self.pool.wait_for_all()
        self.start = position if self.is_left else refused_at

    def _batches(self) -> Iterator[Sequence[PendingJob]]:
        pending = self.jobs.with_pending_events(self.start)
        own = (job for job in pending if job.job_arn in self.keys)
        while batch := tuple(islice(own, BATCH)):
            yield batch

    def _flush_batch(self, batch: Sequence[PendingJob]) -> None:
        pending = self.relay.pending(batch, self.summary.errors)
        for group in calls(self._events_of(pending)):
            if self.buffer.bus_refuses:
                self.buffer.postpone(group, BUS_REFUSES)
                continue
            self.buffer.send(group)
            if self.summary.events_sent == 0:
                # The first call shows whether the bus accepts anything at all.
                self.pool.wait_for_all()

    def _events_of(
        self, pending: Iterable[MonitorEvent | PendingCallbacks]
    ) -> Iterator[MonitorEvent]:
        """The events of what is pending; tasks are called back as they come."""
        for each in pending:
            if isinstance(each, MonitorEvent):
                yield each
                continue
            self.buffer.call_back(each)
            if self.summary.tasks_answered == 0:
                # The first call shows whether Step Functions accepts anything at all.
                self.pool.wait_for_all()
