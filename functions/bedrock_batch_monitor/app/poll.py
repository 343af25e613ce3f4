"""One poll: sends pending events, reconciles every active job, and discovers new ones."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.active_jobs import ActiveJobs, JobReads
from bedrock_batch_monitor.app.backlog import Backlog
from bedrock_batch_monitor.app.bookmarks import Bookmarks
from bedrock_batch_monitor.app.discover import Discovery, record_discovery_off
from bedrock_batch_monitor.app.job_results import JobResults
from bedrock_batch_monitor.app.optional_phases import OptionalPhases
from bedrock_batch_monitor.app.worker_pool import CONCURRENCY, WorkerPool
from bedrock_batch_monitor.domain.event_kinds import UNREACHABLE
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.read_ages import ReadAges
from bedrock_batch_monitor.domain.read_failures import is_about_itself
from bedrock_batch_monitor.domain.scopes import ALL_KEYS, KeyPartition
from bedrock_batch_monitor.domain.state import State
from bedrock_batch_monitor.domain.summary import PollSummary, by_code, by_status
from bedrock_batch_monitor.domain.times import plausible
from bedrock_batch_monitor.listing.list_scan import ScanLimits
from bedrock_batch_monitor.listing.resync import UNREACHABLE_LANE, Lanes, reachable_lane
from bedrock_batch_monitor.outbox.event_buffer import EventBuffer
from bedrock_batch_monitor.outbox.relay import NO_TIME

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
    from bedrock_batch_monitor.adapters.dynamodb.state_table import StateTable
    from bedrock_batch_monitor.app.discover import Discoverer
    from bedrock_batch_monitor.app.forecasts import Forecasts
    from bedrock_batch_monitor.app.notifier import Notifier
    from bedrock_batch_monitor.app.reconcile import Reconciler
    from bedrock_batch_monitor.app.slots import SlotWatch
    from bedrock_batch_monitor.app.tag_reads import TagRetries
    from bedrock_batch_monitor.app.usage import UsageRetries
    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor.listing.list_scan import ListScan
    from bedrock_batch_monitor.outbox.relay import Relay
    from bedrock_batch_monitor.outbox.task_callbacks import TaskCallbacks

# The share of a poll's time that the backlog of pending events may use before jobs are read.
_SHARE_OF_BACKLOG: Final = 0.25
# The share of the time left that list scans may use.
_SHARE_OF_LISTS: Final = 0.5
# How many jobs that could not be read a log line names for each error code.
_LOGGED_PER_CODE: Final = 20


@dataclass(slots=True)
class AgesOfReads:
    """What the execution environment remembers of the reads of a scope."""

    last: ReadAges = field(default_factory=ReadAges)


class PollError(Exception):
    """A poll could not list the active jobs; `summary` says what it did until then."""

    def __init__(self, summary: PollSummary, cause: ServiceError) -> None:
        super().__init__(f"the active jobs cannot be listed: {cause}")
        self.summary = summary


@dataclass(frozen=True, slots=True)
class Monitor:
    """Everything that a poll of one scope works with; `keys` says which items are its own.

    `home` is the deployment's own scope.
    """

    scope: Scope
    jobs: JobsTable
    state: StateTable
    reconciler: Reconciler
    relay: Relay
    scan: ListScan
    callbacks: TaskCallbacks
    discoverer: Discoverer | None
    clock: Callable[[], datetime]
    logger: Logger
    new_executor: Callable[[], Executor] = lambda: ThreadPoolExecutor(CONCURRENCY)
    keys: KeyPartition = ALL_KEYS
    usage: UsageRetries | None = None
    tags: TagRetries | None = None
    slots: SlotWatch | None = None
    forecasts: Forecasts | None = None
    home: Scope | None = None
    new_notifier: Callable[[], Notifier] | None = None
    lanes: Lanes = field(default_factory=Lanes)
    ages: AgesOfReads = field(default_factory=AgesOfReads)

    def poll(
        self,
        remaining_seconds: Callable[[], float],
        *,
        everything: bool = False,
        rediscover_since: datetime | None = None,
    ) -> PollSummary:
        """Run one poll in the time that is left; raises `PollError` if jobs cannot be listed.

        A job that cannot be read is counted and does not stop the others. A later failure never
        reverts what is recorded: events that are not sent stay pending for the next poll.
        With `everything`, unreachable jobs are read now. With `rediscover_since`, discovery lists
        all jobs that were submitted since then.
        """
        started = self.clock()
        poll = _Poll(self, remaining_seconds)
        poll.everything, poll.rediscover_since = everything, rediscover_since
        try:
            poll.run()
        except ServiceError as error:
            poll.summary.errors[error.code] += 1
            poll.summary.complete = False
            raise PollError(poll.summary, error) from error
        finally:
            poll.pool.end()
            poll.complete_summary(started)
        return poll.summary


class _Poll:
    """The phases of one poll, in the order of `run`.

    Only the polling thread touches this object; other threads only return values.
    """

    def __init__(self, monitor: Monitor, remaining_seconds: Callable[[], float]) -> None:
        self.monitor = monitor
        self.everything = False
        self.rediscover_since: datetime | None = None
        self.summary = PollSummary()
        self.pool = WorkerPool(monitor.new_executor(), remaining_seconds, self._on_defect)
        self.bookmarks = Bookmarks(monitor.state, monitor.scope, self.summary.errors)
        self.buffer = EventBuffer(
            relay=monitor.relay,
            callbacks=monitor.callbacks,
            watch=monitor.relay.watch(),
            workers=self.pool,
            summary=self.summary,
            logger=monitor.logger,
        )
        self.backlog = Backlog(
            jobs=monitor.jobs,
            relay=monitor.relay,
            buffer=self.buffer,
            pool=self.pool,
            summary=self.summary,
            keys=monitor.keys,
        )
        self.results = JobResults(self.summary, monitor.logger, self.buffer)
        self.reads = JobReads(monitor.reconciler, self.pool, self.results)
        self.optional = OptionalPhases(
            scope=monitor.scope,
            keys=monitor.keys,
            forecasts=monitor.forecasts,
            slots=monitor.slots,
            tags=monitor.tags,
            usage=monitor.usage,
            pool=self.pool,
            reads=self.reads,
            results=self.results,
        )

    def run(self) -> None:
        """Run the phases; raises `ServiceError` if the active jobs cannot be listed."""
        self.load_state()
        self.backlog.flush(_SHARE_OF_BACKLOG)
        active = self.collect_active_jobs()
        self.optional.forecast_waiting(active)
        self.scan_lists(active)
        self.reconcile_each(active)
        self.reads.retry_failed()
        if active.cut_off is not None:
            self.record_ages(active)
            self.log_unread(active)
            raise active.cut_off
        # Jobs that are tracked have the first claim to the time of the poll.
        self.discover(active)
        self.buffer.flush()
        self.pool.wait_for_all()
        self.save_position(active)
        self.record_ages(active)
        self.log_unread(active)
        self.advance_resync(active)
        self.flush_rest()
        self.optional.update_slots(active)
        self.optional.read_pending_tags(active)
        self.optional.read_pending_usage()
        self.report_never_readable()

    def load_state(self) -> None:
        """Load the bookmarks of the scope."""
        self.bookmarks.load(self.monitor.home, self.monitor.clock())
        if self.bookmarks.state is not None:
            self.backlog.start = self.bookmarks.state.pending_from

    def collect_active_jobs(self) -> ActiveJobs:
        """Collect the active jobs, beginning where the last poll had to stop."""
        state = self.bookmarks.state or State()
        active = ActiveJobs(self.monitor.clock())
        active.collect(self.monitor.jobs, self.monitor.keys, state.start_at, self.pool)
        self.summary.jobs_active = len(active.jobs)
        self.reads.statuses.update(
            (job.job_arn, job.status)
            for job in active.jobs
            if isinstance(job, TrackedJob) and job.status is not None
        )
        active.sort(self.monitor.reconciler)
        return active

    def scan_lists(self, active: ActiveJobs) -> None:
        """Find the jobs that need no Get: lists confirm them, or their resync time has not come."""
        now, lanes = active.collected_at, self.monitor.lanes
        state = self.bookmarks.state or State()
        due = lanes.unreachable.due(UNREACHABLE_LANE, active.unreachable, None, now)
        if self.everything:
            due = frozenset(active.unreachable)
        active.waiting = frozenset(active.unreachable.keys() - due)
        self.summary.conditions[UNREACHABLE.name] += len(active.waiting)
        lane = reachable_lane(self.monitor.reconciler.rules)
        due = lanes.reachable.due(lane, active.reachable, state.resynced_until, now)
        if self.pool.time_is_up:
            return
        until = self.pool.remaining_after(_SHARE_OF_LISTS)
        limits = ScanLimits(
            self.pool.concurrency,
            self.summary.errors,
            lambda: self.pool.remaining_seconds() > until,
        )
        compared = {arn: job for arn, job in active.reachable.items() if arn not in due}
        result = self.monitor.scan.run(compared, limits)
        self.summary.refused += result.is_refused
        active.unchanged = result.unchanged
        self.reads.concluded |= result.unchanged
        for arn in result.unchanged:
            self.summary.count_listed(active.reachable[arn])

    def reconcile_each(self, active: ActiveJobs) -> None:
        """Reconcile the jobs that need it, in order, until the time is up."""
        for job in active.jobs:
            if job.job_arn in active.unchanged:
                continue
            if self.pool.time_is_up:
                active.not_reached = job.job_arn
                break
            if job.job_arn not in active.waiting:
                self.reads.start(job)
        self.pool.wait_for_all()

    def discover(self, active: ActiveJobs) -> None:
        """Track jobs that were submitted since the last list, and reconcile them at once."""
        state, discoverer = self.bookmarks.state, self.monitor.discoverer
        # Without its bookmark, discovery would start over and ignore jobs that ended meanwhile.
        if state is None:
            return
        if discoverer is None:
            record_discovery_off(self.bookmarks, state, self.monitor.clock())
            return
        discovery = Discovery(
            discoverer,
            self.bookmarks,
            self.pool,
            self.summary,
            start=self.reads.start,
            since=self.rediscover_since,
        )
        discovery.run(state, active.reachable)

    def save_position(self, active: ActiveJobs) -> None:
        """Save the job with which the next poll begins, and forget what is no longer failing."""
        # In the order in which the calls began: the first one that did not return is the next.
        not_reached = next(
            iter(self.pool.jobs_under_way), active.not_reached or active.not_collected
        )
        self.summary.complete = not_reached is None
        # If all were reached, the first that was refused comes first. Otherwise a rate limit that
        # lets only some calls through lets the same ones through each time.
        start_at = not_reached or self.reads.first_failed
        stored = self.bookmarks.state
        if start_at != (None if stored is None else stored.start_at):
            self.bookmarks.save(self.monitor.state.set_start_at, start_at)
        self.monitor.reconciler.forget_failing(
            active=active.reachable.keys() | active.unreachable.keys(), read=active.unchanged
        )

    def record_ages(self, active: ActiveJobs) -> None:
        """Record how old the oldest read is, and whether this poll read any of its jobs."""
        known = self.monitor.reconciler.failing_since
        ages = self.monitor.ages.last.after(
            active={
                arn: known.get(arn) or plausible(job.failing_since, active.collected_at)
                for arn, job in active.reachable.items()
            },
            is_whole=active.is_whole,
            attempted=active.reachable.keys() | (active.unreachable.keys() - active.waiting),
            answered=self.reads.answered | active.unchanged,
            waiting={arn: is_about_itself(active.unreachable[arn]) for arn in active.waiting},
            now=active.collected_at,
        )
        if not active.reachable and not active.unreachable and active.is_whole:
            ages = ReadAges()
        self.monitor.ages.last = ages
        self.summary.has_answer = ages.has_answer is not False
        self.summary.oldest_read_seconds = ages.oldest_seconds(active.collected_at)

    def advance_resync(self, active: ActiveJobs) -> None:
        """Advance the cursors of the resync, but not past a job without a conclusion."""
        if not active.is_whole:
            return
        now, lanes, state = active.collected_at, self.monitor.lanes, self.bookmarks.state
        lane = reachable_lane(self.monitor.reconciler.rules)
        until = lanes.reachable.advance(lane, active.reachable, self.reads.concluded, now)
        # A read that fails is expected of an unreachable job, and concludes its resync. This
        # cursor is not stored: a new execution environment reads each unreachable job once.
        lanes.unreachable.advance(UNREACHABLE_LANE, active.unreachable, self.reads.attempted, now)
        # Where every job is fetched, the cursor is not worth a write.
        if (
            state is not None
            and len(active.reachable) > self.monitor.scan.fetch_each_up_to
            and lane.is_worth_saving(until, state.resynced_until)
        ):
            self.bookmarks.save(self.monitor.state.set_resynced, until)

    def flush_rest(self) -> None:
        """Continue with a backlog for which there was no time before; save where to begin next."""
        if self.backlog.is_left and not self.pool.time_is_up:
            self.backlog.flush(1.0)
        state = self.bookmarks.state
        if state is not None and self.backlog.start != state.pending_from:
            self.bookmarks.save(self.monitor.state.set_pending_from, self.backlog.start)

    def report_never_readable(self) -> None:
        """Notify people of ARNs that were never readable, in one message for all of them."""
        if self.results.never_readable and self.monitor.new_notifier is not None:
            notifier = self.monitor.new_notifier()
            for error in notifier.publish_never_readable(self.results.never_readable):
                self.summary.errors[error.code] += 1

    def log_unread(self, active: ActiveJobs) -> None:
        """Log which jobs could not be read, by error code, and for which there was no time."""
        if self.reads.unread:
            errors = by_code(self.reads.unread, at_most=_LOGGED_PER_CODE)
            extra = {"count": len(self.reads.unread), "errors": errors}
            self.monitor.logger.warning("jobs not read", extra=extra)
        if active.cut_off is not None:
            reason, first = active.cut_off.code, None
        elif not self.summary.complete:
            reason, first = NO_TIME, active.not_reached or active.not_collected
        else:
            return
        extra = {"reason": reason, "jobArn": first, "jobsRead": self.summary.jobs_read}
        self.monitor.logger.warning("poll incomplete", extra=extra)

    def complete_summary(self, started: datetime) -> None:
        """Add the figures that are known only at the end of the poll."""
        now = self.monitor.clock()
        if self.buffer.waiting_since is not None:
            waiting = int((now - self.buffer.waiting_since).total_seconds())
            self.summary.oldest_pending_event_seconds = max(waiting, 0)
        self.summary.conditions[UNREACHABLE.name] += self.reads.unreachable
        self.summary.active_by_status = by_status(self.reads.statuses.values())
        self.summary.seconds = (now - started).total_seconds()

    def _on_defect(self, defect: BaseException, job_arn: str | None) -> None:
        """Count what no service caused: a defect in handling one job must not stop the others."""
        name = type(defect).__name__
        self.summary.errors[f"Monitor.{name}"] += 1
        # The text of the exception may quote a job's message, which is never logged.
        self.monitor.logger.error(
            "defect while handling a job",
            extra={
                "jobArn": job_arn,
                "exceptionType": name,
                "stack": traceback.format_tb(defect.__traceback__),
            },
        )
