"""The active jobs of one poll: collected in order, and reconciled in the poll's threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItem
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.reconcile import OBSERVED_BY_POLL
from bedrock_batch_monitor.app.worker_pool import STOP_BEFORE_DEADLINE_SECONDS
from bedrock_batch_monitor.domain.jobs import TrackedJob

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
    from bedrock_batch_monitor.app.job_results import JobResults
    from bedrock_batch_monitor.app.reconcile import Reconciler
    from bedrock_batch_monitor.app.worker_pool import WorkerPool
    from bedrock_batch_monitor.domain.forecast import QueueRisk
    from bedrock_batch_monitor.domain.scopes import KeyPartition
    from bedrock_batch_monitor.domain.summary import ReconcileResult

# From here on the end of a job does not wait for its manifest.
DEFER_USAGE_BEFORE_DEADLINE_SECONDS: Final = STOP_BEFORE_DEADLINE_SECONDS + 5
# How often the time is checked while the active jobs are collected.
_JOBS_BETWEEN_TIME_CHECKS: Final = 1000


@dataclass(slots=True)
class ActiveJobs:
    """The active jobs of a poll, in the order in which they are reconciled.

    `reachable` jobs can be fetched, and `unreachable` jobs can be fetched at a slower rate.
    `unchanged` are the reachable jobs that a list confirmed, `waiting` the unreachable ones whose
    resync time has not come. `not_collected` is the first job for which there was no time while the
    index was read, `not_reached` the first one for which there was none later. `cut_off` is the
    error after which the index could not be read further.
    """

    collected_at: datetime
    jobs: list[TrackedJob | InvalidItem] = field(default_factory=list)
    reachable: dict[str, TrackedJob] = field(default_factory=dict)
    unreachable: dict[str, TrackedJob] = field(default_factory=dict)
    unchanged: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    not_collected: str | None = None
    not_reached: str | None = None
    cut_off: ServiceError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every active job was collected."""
        return self.not_collected is None and self.cut_off is None

    def collect(
        self, table: JobsTable, keys: KeyPartition, start_at: str | None, pool: WorkerPool
    ) -> None:
        """Read the index from the job `start_at` on, as far as there is time."""
        try:
            for job in table.active(start_at, keys):
                if len(self.jobs) % _JOBS_BETWEEN_TIME_CHECKS == 0 and pool.time_is_up:
                    self.not_collected = job.job_arn
                    break
                self.jobs.append(job)
        except ServiceError as error:
            # The jobs that are there are reconciled before the poll fails.
            self.cut_off = error

    def sort(self, reconciler: Reconciler) -> None:
        """Find the jobs that Bedrock can be asked for."""
        for job in self.jobs:
            if isinstance(job, TrackedJob) and reconciler.is_fetchable(job):
                is_reachable = job.unreachable_since is None
                lane = self.reachable if is_reachable else self.unreachable
                lane[job.job_arn] = job

    def add_queue_risks(self, risks: Mapping[str, QueueRisk]) -> None:
        """Add what the forecast says of jobs that wait."""
        if not risks:
            return
        for place, job in enumerate(self.jobs):
            if isinstance(job, TrackedJob) and job.job_arn in risks:
                with_risk = replace(job, queue_risk=risks[job.job_arn])
                self.jobs[place] = self.reachable[job.job_arn] = with_risk


@dataclass(slots=True)
class JobReads:
    """Reconciles the jobs of one poll; only the polling thread calls its methods.

    `concluded` are the jobs about which nothing is left to do, `attempted` those with any result
    that was recorded. `statuses` has the current status by job, as far as one is recorded.
    `answered` are the jobs for which the services work, `unread` has the error codes of the others.
    """

    reconciler: Reconciler
    pool: WorkerPool
    results: JobResults
    concluded: set[str] = field(default_factory=set)
    attempted: set[str] = field(default_factory=set)
    statuses: dict[str, str] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    # Error codes by job: what the last read of this poll ran into.
    unread: dict[str, tuple[str, ...]] = field(default_factory=dict)
    # By job, because a job that is read twice counts once.
    _unreachable: dict[str, bool] = field(default_factory=dict)
    # Jobs that could not be read, in order; the values are unused.
    _failed: dict[str, None] = field(default_factory=dict)
    _to_retry: list[TrackedJob | InvalidItem] = field(default_factory=list)

    @property
    def first_failed(self) -> str | None:
        """The first job that could not be read."""
        return next(iter(self._failed), None)

    @property
    def unreachable(self) -> int:
        """How many of the jobs that were read are unreachable."""
        return sum(self._unreachable.values())

    def start(self, job: TrackedJob | InvalidItem) -> None:
        """Begin to reconcile a job, for the first time in this poll."""
        self.pool.concurrency.on_first_call()
        self._submit(job, is_retry=False)

    def retry_failed(self) -> None:
        """Reconcile the failed jobs once more, within the retry budget and the time."""
        jobs, self._to_retry = self._to_retry, []
        for job in jobs:
            if self.pool.time_is_up or not self.pool.concurrency.may_retry():
                break
            self._submit(job, is_retry=True)
        self.pool.wait_for_all()

    def _submit(self, job: TrackedJob | InvalidItem, *, is_retry: bool) -> None:
        self.pool.wait_for_place()
        reconciler = self.reconciler
        if self.pool.remaining_seconds() < DEFER_USAGE_BEFORE_DEADLINE_SECONDS:
            reconciler = reconciler.defer_usage()
        self.pool.submit(
            partial(reconciler.reconcile, job, observed_by=OBSERVED_BY_POLL),
            partial(self._on_result, job, is_retry=is_retry),
            job_arn=job.job_arn,
        )

    def _on_result(
        self, job: TrackedJob | InvalidItem, result: ReconcileResult, *, is_retry: bool
    ) -> None:
        self._unreachable[job.job_arn] = result.is_unreachable
        if result.entry is not None:
            self.statuses[job.job_arn] = result.entry.status
        self._record_errors(job.job_arn, result)
        if not result.is_conflict:
            self.attempted.add(job.job_arn)
        if result.is_conclusive:
            self.concluded.add(job.job_arn)
        if result.try_again:
            self.pool.on_throttle()
            self._failed[job.job_arn] = None
            if not is_retry:
                self._to_retry.append(job)
        else:
            self.pool.concurrency.on_success()
            self._failed.pop(job.job_arn, None)
        self.results.handle(result)

    def _record_errors(self, job_arn: str, result: ReconcileResult) -> None:
        if result.was_answered:
            self.answered.add(job_arn)
        # What is wrong with an item is reported once; the item says it until somebody repairs it.
        is_known = not result.newly_unreachable and all(
            code.startswith("Item.") for code in result.errors
        )
        if result.errors and not is_known:
            self.unread[job_arn] = result.errors
        else:
            self.unread.pop(job_arn, None)
