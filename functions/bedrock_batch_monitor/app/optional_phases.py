"""The phases of a poll that only some settings ask for: forecasts, slots, tags and token counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.tag_reads import MOST_RETRIES_PER_POLL
from bedrock_batch_monitor.domain.arns import scope_of
from bedrock_batch_monitor.domain.read_failures import is_about_itself
from bedrock_batch_monitor.domain.statuses import is_terminal

if TYPE_CHECKING:
    from bedrock_batch_monitor.app.active_jobs import ActiveJobs, JobReads
    from bedrock_batch_monitor.app.forecasts import Forecasts, QueueRisks
    from bedrock_batch_monitor.app.job_results import JobResults
    from bedrock_batch_monitor.app.slots import SlotsResult, SlotWatch
    from bedrock_batch_monitor.app.tag_reads import TagRetries
    from bedrock_batch_monitor.app.usage import UsageResult, UsageRetries
    from bedrock_batch_monitor.app.worker_pool import WorkerPool
    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor.domain.scopes import KeyPartition

# The share of the time left that forecasts may use before jobs are read.
_SHARE_OF_FORECASTS: Final = 0.1


@dataclass(frozen=True, slots=True)
class OptionalPhases:
    """Each does nothing if the monitor has no part for it. Only the polling thread calls them."""

    scope: Scope
    keys: KeyPartition
    forecasts: Forecasts | None
    slots: SlotWatch | None
    tags: TagRetries | None
    usage: UsageRetries | None
    pool: WorkerPool
    reads: JobReads
    results: JobResults

    def forecast_waiting(self, active: ActiveJobs) -> None:
        """Find out from when on jobs that wait will probably miss their deadlines."""
        forecasts, pool = self.forecasts, self.pool
        if forecasts is None:
            return
        until = pool.remaining_after(_SHARE_OF_FORECASTS)

        def add(found: QueueRisks) -> None:
            self.results.summary.errors.update(found.errors)
            active.add_queue_risks(found.by_job)

        # In a thread, where a defect is counted and does not stop the poll.
        pool.submit(
            partial(
                forecasts.queue_risks, active.reachable, lambda: pool.remaining_seconds() > until
            ),
            add,
        )
        pool.wait_for_all()

    def update_slots(self, active: ActiveJobs) -> None:
        """Count the active jobs by model, and send the events about slots that are free again."""
        watch, pool = self.slots, self.pool
        if watch is None or pool.time_is_up:
            return
        arns = None
        # A new job that could not be read may use a slot, and its model is not known yet.
        tried = active.reachable.keys() | self.reads.unread.keys()
        unknown = tried - active.unreachable.keys() - self.reads.statuses.keys()
        if active.is_whole and not unknown:
            # A job that Bedrock does not know uses no slot. One that it refuses to show may do.
            gone = {arn for arn, job in active.unreachable.items() if is_about_itself(job)}
            arns = frozenset(
                arn
                for arn, status in self.reads.statuses.items()
                if not is_terminal(status) and arn not in gone and scope_of(arn) == self.scope
            )
        pool.submit(partial(watch.run, arns, lambda: not pool.time_is_up), self._on_slots)
        pool.wait_for_all()
        self.results.buffer.flush()
        pool.wait_for_all()

    def read_pending_tags(self, active: ActiveJobs) -> None:
        """Read again the tags of jobs that could not be read; nothing else waits for this."""
        tags = self.tags
        if tags is None:
            return
        pending = [arn for arn, job in active.reachable.items() if job.tags_pending]
        del pending[MOST_RETRIES_PER_POLL:]
        if not self.pool.time_is_up:
            pending += tags.ended(MOST_RETRIES_PER_POLL - len(pending))
        for job_arn in pending:
            if self.pool.time_is_up:
                break
            self.pool.submit(partial(tags.read_again, job_arn), self.results.handle)
        self.pool.wait_for_all()
        # From the next poll on: a call that was throttled just now would be throttled again.
        tags.remember(self.results.ended_without_tags)

    def read_pending_usage(self) -> None:
        """Try again to read the token counts of jobs that ended; nothing else waits for this."""
        usage = self.usage
        if usage is None or self.pool.time_is_up:
            return
        try:
            for job_arn in usage.due(self.keys):
                if self.pool.time_is_up:
                    break
                self.pool.submit(partial(usage.read_again, job_arn), self._on_usage)
        except ServiceError as error:
            self.results.summary.errors[error.code] += 1
        self.pool.wait_for_all()

    def _on_slots(self, result: SlotsResult) -> None:
        self.results.summary.slots = result.slots
        self.results.summary.errors.update(result.errors)
        self.results.summary.conflicts += result.is_conflict
        if result.quota_error is not None:
            extra = {"error": result.quota_error}
            self.results.logger.info("quotas not read", extra=extra)
        self.results.buffer.add(result.events)

    def _on_usage(self, result: UsageResult) -> None:
        self.results.summary.count_usage(result.model_id, result.usage)
        self.results.summary.errors.update(result.errors)
        if result.problem is not None:
            self.results.summary.usage_given_up += 1
            extra = {"jobArn": result.job_arn, "reason": result.problem.code}
            self.results.logger.warning("usage given up", extra=extra)
