"""One poll: sends pending events, reads every active job, and discovers new ones."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, cast

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItem, InvalidItemError
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import BusLook, BusState
from bedrock_batch_monitor.app.discover import batches
from bedrock_batch_monitor.app.reconcile import OBSERVED_BY_POLL, loggable
from bedrock_batch_monitor.app.worker_pool import STOP_BEFORE_DEADLINE_SECONDS, WorkerPool
from bedrock_batch_monitor.domain.discovery import (
    TableInfo,
    advanced,
    everything,
    is_worth_storing,
    resume,
)
from bedrock_batch_monitor.domain.episodes import UNREACHABLE_PERIOD
from bedrock_batch_monitor.domain.events import ENTRIES_PER_CALL, MonitorEvent, calls
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.scopes import ALL_KEYS, KeyPartition
from bedrock_batch_monitor.domain.state import ListPosition, State
from bedrock_batch_monitor.domain.summary import PollSummary, by_status
from bedrock_batch_monitor.domain.throttling import RETRY_BUDGET, AdaptiveConcurrency
from bedrock_batch_monitor.domain.times import plausible
from bedrock_batch_monitor.listing.list_scan import ScanLimits
from bedrock_batch_monitor.listing.resync import ResyncLane, remember
from bedrock_batch_monitor.outbox.relay import not_sent
from bedrock_batch_monitor.outbox.task_callbacks import not_called_back

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable, PendingJob
    from bedrock_batch_monitor.adapters.dynamodb.state_table import StateTable
    from bedrock_batch_monitor.app.discover import Discoverer
    from bedrock_batch_monitor.app.notifier import Notifier
    from bedrock_batch_monitor.app.reconcile import Reconciler
    from bedrock_batch_monitor.app.usage import UsageFollower, UsageResult
    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor.domain.discovery import Bookmark
    from bedrock_batch_monitor.domain.list_pages import ListedJob, ListPage
    from bedrock_batch_monitor.domain.summary import ReconcileResult
    from bedrock_batch_monitor.domain.tasks import PendingCallbacks
    from bedrock_batch_monitor.listing.list_scan import ListScan
    from bedrock_batch_monitor.outbox.relay import BusWatch, DeliveryResult, Relay
    from bedrock_batch_monitor.outbox.task_callbacks import CallbackResult, TaskCallbacks

# Measured against a server with 30 ms latency: 32 threads give about 1,000 reads a second, and more
# of them no more than that on one core.
CONCURRENCY: Final = 32
# From here on no end of a job waits for its manifest.
DEFER_USAGE_BEFORE_DEADLINE_SECONDS: Final = STOP_BEFORE_DEADLINE_SECONDS + 5
# How often the time is looked at while the active jobs are collected.
_JOBS_BETWEEN_LOOKS_AT_THE_TIME: Final = 1000
# The items of so many jobs with pending events are read at once (BatchGetItem).
_PENDING_BATCH: Final = 100
_UNREACHABLE: Final = ResyncLane(UNREACHABLE_PERIOD)
# The share of a poll's time that the backlog of pending events may take before jobs are read.
_SHARE_OF_BACKLOG: Final = 0.25
# The share of the time left that lists and discovery may take each.
_SHARE_OF_LISTS: Final = 0.5


class PollError(Exception):
    """A poll could not list the active jobs; `summary` says what it did until then."""

    def __init__(self, summary: PollSummary, cause: ServiceError) -> None:
        super().__init__(f"the active jobs cannot be listed: {cause}")
        self.summary = summary


@dataclass(slots=True)
class Lane:
    """How far a resync lane has come, as the execution environment remembers it."""

    cursor: datetime | None = None
    concluded_at: dict[str, datetime] = field(default_factory=dict)

    def due(
        self, lane: ResyncLane, jobs: Collection[str], stored: datetime | None, now: datetime
    ) -> frozenset[str]:
        """The jobs to read now, given the stored cursor as well."""
        self.cursor = _latest(self.cursor, stored, now)
        return lane.due(jobs, self.cursor, now, self.concluded_at)

    def advance(
        self, lane: ResyncLane, jobs: Collection[str], concluded: set[str], now: datetime
    ) -> datetime:
        """Note what was read as of `now`, the time for which jobs were due; gives the cursor."""
        self.cursor = lane.advance(jobs, self.cursor, concluded, now, self.concluded_at)
        self.concluded_at = remember(self.concluded_at, concluded, cursor=self.cursor, now=now)
        return self.cursor


@dataclass(slots=True)
class Lanes:
    """The two resync lanes of a scope: all jobs that can be read, and the unreachable ones."""

    reachable: Lane = field(default_factory=Lane)
    unreachable: Lane = field(default_factory=Lane)


@dataclass(frozen=True, slots=True)
class Monitor:
    """Everything that a poll of one scope works with; `keys` says which items are its own."""

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
    usage: UsageFollower | None = None
    home: Scope | None = None
    new_notifier: Callable[[], Notifier] | None = None
    lanes: Lanes = field(default_factory=Lanes)

    def poll(self, remaining_seconds: Callable[[], float]) -> PollSummary:
        """Run one poll in the time that is left; raises `PollError` if jobs cannot be listed.

        A job that cannot be read is counted and does not stop the others. What is recorded is never
        undone by what fails later: events that are not sent stay pending for the next poll.
        """
        started = self.clock()
        summary = PollSummary()
        pool = WorkerPool(
            self.new_executor(), remaining_seconds, partial(_count_defect, summary, self.logger)
        )
        run = _Run(self, pool, summary)
        try:
            run.load_state()
            run.flush_pending(_SHARE_OF_BACKLOG)
            run.read_active_jobs()
            run.flush_rest()
            run.follow_usage()
            run.report_never_readable()
        except ServiceError as error:
            summary.errors[error.code] += 1
            summary.complete = False
            raise PollError(summary, error) from error
        finally:
            pool.end()
            run.finish(started)
        return summary


@dataclass(slots=True)
class _Active:
    """The active jobs of a poll in the order in which they are read.

    Bedrock may be asked for the `reachable` ones, and at a slower rate for the `unreachable` ones.
    `not_reached` is the first for which there was no time, `cut_off` why
    there are no more.
    """

    collected_at: datetime
    jobs: list[TrackedJob | InvalidItem] = field(default_factory=list)
    reachable: dict[str, TrackedJob] = field(default_factory=dict)
    unreachable: dict[str, TrackedJob] = field(default_factory=dict)
    not_reached: str | None = None
    cut_off: ServiceError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether these are all."""
        return self.not_reached is None and self.cut_off is None


@dataclass(slots=True)
class _Run:
    """The state of one poll; the polling thread alone touches it, the others only return values."""

    monitor: Monitor
    pool: WorkerPool
    summary: PollSummary
    watch: BusWatch = field(init=False)
    state: State | None = None
    concurrency: AdaptiveConcurrency = field(
        default_factory=lambda: AdaptiveConcurrency(CONCURRENCY)
    )
    outbox: list[MonitorEvent] = field(default_factory=list)
    again: list[TrackedJob | InvalidItem] = field(default_factory=list)
    # Jobs that could not be read, in order; a dictionary for want of an ordered set.
    failed: dict[str, None] = field(default_factory=dict)
    # Jobs about which nothing is left to do, and jobs of which there was any result at all.
    concluded: set[str] = field(default_factory=set)
    attempted: set[str] = field(default_factory=set)
    never_readable: list[tuple[str, str]] = field(default_factory=list)
    bus: BusLook | None = None
    bus_refuses: bool = False
    tasks_refuse: bool = False
    backlog_is_left: bool = False
    pending_from: datetime | None = None
    waiting_since: datetime | None = None
    # By job, because a job that is read twice is still one.
    statuses: dict[str, str] = field(default_factory=dict)
    unreachable: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.watch = self.monitor.relay.watch()

    # State

    def load_state(self) -> None:
        """Load the bookmarks; without them the poll begins at the first job and discovers none."""
        try:
            self.state = self.monitor.state.load(self.monitor.scope)
            home = self.monitor.home
            if not self.state.exists and home is not None and home != self.monitor.scope:
                # With the state of the deployment's own scope there, this scope is new.
                is_new = self.monitor.state.load(home).exists
                self.state = replace(self.state, exists=is_new)
        except ServiceError as error:
            self.summary.errors[error.code] += 1
        except InvalidItemError:
            self.summary.errors["Item.InvalidState"] += 1
            # Nobody knows any more how far discovery had come, so nothing counts as seen.
            self.state = State(discovery=everything(self.monitor.clock()))
        self.pending_from = None if self.state is None else self.state.pending_from

    def _store(self, write: Callable[[], None]) -> None:
        """Write a bookmark; the poll's work is done, whether or not that succeeds."""
        try:
            write()
        except ServiceError as error:
            self.summary.errors[error.code] += 1

    # Pending events of earlier polls

    def flush_pending(self, keys: float) -> None:
        """Send pending events and call back tasks, in a share of the time that is left.

        After a call in which nothing was accepted no further event is sent, so that a bus that
        refuses keeps no job from being read; tasks are called back all the same. The next flush
        begins after the jobs at which this one stopped, so that the same ones do not come first
        each time.
        """
        until = self._time_after(keys)
        start, position, refused_at = self.pending_from, None, None
        is_cut = False
        try:
            for batch in self._pending_batches(start):
                if self.pool.remaining_seconds() < until or self.pool.time_is_up:
                    is_cut = True
                    break
                self._flush_batch(batch)
                position = batch[-1].since
                if self.bus_refuses and self.bus is not None and self.bus.exists:
                    refused_at = refused_at or position
        except ServiceError as error:
            self.summary.errors[error.code] += 1
        self.pool.wait_for_all()
        self.backlog_is_left = is_cut
        self.pending_from = position if is_cut else refused_at

    def flush_rest(self) -> None:
        """Go on with a backlog for which there was no time before; note where to begin next."""
        if self.backlog_is_left and not self.pool.time_is_up:
            self.flush_pending(1.0)
        position = self.pending_from
        if self.state is not None and position != self.state.pending_from:
            self._store(lambda: self.monitor.state.set_pending_from(self.monitor.scope, position))

    def _pending_batches(self, start: datetime | None) -> Iterator[Sequence[PendingJob]]:
        own = (
            job
            for job in self.monitor.jobs.with_pending_events(start)
            if job.job_arn in self.monitor.keys
        )
        while batch := tuple(islice(own, _PENDING_BATCH)):
            yield batch

    def _flush_batch(self, batch: Sequence[PendingJob]) -> None:
        pending = self.monitor.relay.pending(batch, self.summary.errors)
        for group in calls(self._without_callbacks(pending)):
            if self.bus_refuses:
                self._delivered(not_sent(group))
                continue
            self._deliver(group)
            if self.summary.events_sent == 0:
                # The first call finds out whether the bus takes anything at all.
                self.pool.wait_for_all()

    def _without_callbacks(
        self, pending: Iterable[MonitorEvent | PendingCallbacks]
    ) -> Iterator[MonitorEvent]:
        """The events of what is pending; tasks among it are called back as they come."""
        for each in pending:
            if isinstance(each, MonitorEvent):
                yield each
                continue
            self._call_back(each)
            if self.summary.tasks_answered == 0:
                # The first call finds out whether Step Functions takes anything at all.
                self.pool.wait_for_all()

    # Active jobs

    def read_active_jobs(self) -> None:
        """Read the active jobs in turn, beginning where the last poll had to stop.

        Many jobs are compared with lists first, and only those are read that lists do not confirm
        as unchanged. Then look for jobs that are not tracked yet: those that are have the first
        claim to the time of the poll.
        """
        start_at = None if self.state is None else self.state.start_at
        active = self._collect(start_at)
        unchanged, waiting = self._plan(active)
        not_reached = self._read_each(active, unchanged, waiting) or active.not_reached
        self.pool.wait_for_all()
        self._retry_failed()
        if active.cut_off is not None:
            raise active.cut_off
        self._discover(active)
        self._send_events(at_least=1)
        self.pool.wait_for_all()
        # In the order in which they were begun: the first that did not come back is where to go on.
        not_reached = next(iter(self.pool.jobs_under_way), not_reached)
        self.summary.complete = not_reached is None
        # All were reached: then the first that was refused comes first, so that a limit on our
        # calls that lets only so many through does not let the same ones through each time.
        self._store_start_at(not_reached or next(iter(self.failed), None), was=start_at)
        self._advance_cursors(active)
        self.monitor.reconciler.forget_failing(
            active=active.reachable.keys() | active.unreachable.keys(), read=unchanged
        )

    def _collect(self, start_at: str | None) -> _Active:
        """All active jobs in order, as far as they can be had in time."""
        active = _Active(self.monitor.clock())
        try:
            for job in self.monitor.jobs.active(start_at, self.monitor.keys):
                is_time_to_look = len(active.jobs) % _JOBS_BETWEEN_LOOKS_AT_THE_TIME == 0
                if is_time_to_look and self.pool.time_is_up:
                    active.not_reached = job.job_arn
                    break
                active.jobs.append(job)
        except ServiceError as error:
            # Those that are there are read, and then the poll fails.
            active.cut_off = error
        self.summary.jobs_active += len(active.jobs)
        for job in active.jobs:
            self._count_status(job)
            if self.monitor.reconciler.is_fetchable(job):
                tracked = cast("TrackedJob", job)
                is_unreachable = tracked.unreachable_since is not None
                lane = active.unreachable if is_unreachable else active.reachable
                lane[job.job_arn] = tracked
        return active

    def _plan(self, active: _Active) -> tuple[frozenset[str], frozenset[str]]:
        """Jobs that lists confirm as unchanged, and unreachable jobs whose slot has not come."""
        now, lanes, stored = active.collected_at, self.monitor.lanes, self.state or State()
        due = lanes.unreachable.due(_UNREACHABLE, active.unreachable, None, now)
        waiting = frozenset(active.unreachable.keys() - due)
        self.summary.jobs_unreachable += len(waiting)
        due = lanes.reachable.due(self._reachable, active.reachable, stored.resynced_until, now)
        compared = {arn: job for arn, job in active.reachable.items() if arn not in due}
        if self.pool.time_is_up:
            return frozenset(), waiting
        enough = self._time_after(_SHARE_OF_LISTS)
        limits = ScanLimits(
            self.concurrency, self.summary.errors, lambda: self.pool.remaining_seconds() > enough
        )
        result = self.monitor.scan.run(compared, limits)
        self.summary.refused += result.is_refused
        return result.unchanged, waiting

    def _read_each(
        self, active: _Active, unchanged: Collection[str], waiting: Collection[str]
    ) -> str | None:
        """Read the jobs that need it; gives the first for which there was no time left."""
        for arn in unchanged:
            self.concluded.add(arn)
            self.summary.count_listed(active.reachable[arn], self.monitor.reconciler.rules)
        for job in active.jobs:
            if job.job_arn in unchanged:
                continue
            if self.pool.time_is_up:
                return job.job_arn
            if job.job_arn not in waiting:
                self.concurrency.begun()
                self._reconcile(job)
        return None

    def _retry_failed(self) -> None:
        """Give the jobs that failed one more chance; what fails now is the next poll's."""
        jobs, self.again = self.again, []
        for job in jobs:
            if self.pool.time_is_up or not self.concurrency.may_retry():
                break
            self._reconcile(job, is_repeat=True)
        self.pool.wait_for_all()

    def _reconcile(self, job: TrackedJob | InvalidItem, *, is_repeat: bool = False) -> None:
        self.pool.wait_for_place(self.concurrency.limit)
        reconciler = self.monitor.reconciler
        if self.pool.remaining_seconds() < DEFER_USAGE_BEFORE_DEADLINE_SECONDS:
            reconciler = reconciler.defer_usage()
        self.pool.submit(
            partial(reconciler.reconcile, job, observed_by=OBSERVED_BY_POLL),
            partial(self._seen, job, is_repeat=is_repeat),
            job_arn=job.job_arn,
        )

    def _seen(
        self, job: TrackedJob | InvalidItem, seen: ReconcileResult, *, is_repeat: bool
    ) -> None:
        self.summary.count(replace(seen, is_unreachable=False))
        self.unreachable[job.job_arn] = seen.is_unreachable
        self._count_status(job, seen)
        self.never_readable.extend(seen.never_readable)
        if not seen.is_conflict:
            self.attempted.add(job.job_arn)
        if seen.is_conclusive:
            self.concluded.add(job.job_arn)
        if seen.try_again:
            self.concurrency.on_throttle(self.pool.under_way)
            self.failed[job.job_arn] = None
            if not is_repeat and len(self.again) < RETRY_BUDGET:
                self.again.append(job)
        else:
            self.concurrency.answered()
            self.failed.pop(job.job_arn, None)
        if seen.record is not None:
            self.monitor.logger.info("job changed", extra=loggable(seen.record))
        if seen.callbacks is not None:
            self._call_back(seen.callbacks)
        self.outbox.extend(seen.events)
        self._send_events(at_least=ENTRIES_PER_CALL)

    def _count_status(
        self, job: TrackedJob | InvalidItem, seen: ReconcileResult | None = None
    ) -> None:
        """Keep the status that a job has by now, as far as one is recorded."""
        known = None if isinstance(job, InvalidItem) else job.status
        status = known if seen is None or seen.entry is None else seen.entry.status
        if status is not None:
            self.statuses[job.job_arn] = status

    def _store_start_at(self, job_arn: str | None, *, was: str | None) -> None:
        if job_arn != was:
            self._store(lambda: self.monitor.state.set_start_at(self.monitor.scope, job_arn))

    def _advance_cursors(self, active: _Active) -> None:
        """Note how far the resync lanes have come: not past a job that came to no conclusion."""
        if not active.is_whole:
            return
        now, lanes, state = active.collected_at, self.monitor.lanes, self.state
        until = lanes.reachable.advance(self._reachable, active.reachable, self.concluded, now)
        # A read that fails is what is expected of an unreachable job, and concludes its slot. This
        # cursor is not stored: a new execution environment reads each unreachable job once.
        lanes.unreachable.advance(_UNREACHABLE, active.unreachable, self.attempted, now)
        # Where every job is fetched the cursor is not worth a write.
        if (
            state is not None
            and len(active.reachable) > self.monitor.scan.fetch_each_up_to
            and self._reachable.is_worth_saving(until, state.resynced_until)
        ):
            self._store(lambda: self.monitor.state.set_resynced(self.monitor.scope, until))

    @property
    def _reachable(self) -> ResyncLane:
        # A little shorter than promised, so that a slot that has to wait is still in time.
        rules = self.monitor.reconciler.rules
        slack = max(rules.full_read / 24, rules.poll_interval)
        return ResyncLane(max(rules.full_read - slack, rules.poll_interval))

    # Discovery

    def _discover(self, active: _Active) -> None:
        """Track the jobs that were submitted since the last list, and read them at once."""
        # Without its bookmark discovery would start over, and take what has ended for old.
        if self.state is None:
            return
        stored, now = self.state.discovery, self.monitor.clock()
        if self.monitor.discoverer is None:
            self._record_discovery_off(stored, now)
            return
        table = None if self.pool.time_is_up else self._table(stored)
        if table is None or self.pool.time_is_up:
            return
        bookmark = resume(stored, state_exists=self.state.exists, table=table, now=now)
        # A full list is for items that were lost: those that this poll read can be among them.
        tracked: Collection[str] = () if bookmark.full_list_at == now else active.reachable
        reached, position = self._discover_from(self.monitor.discoverer, bookmark, now, tracked)
        if is_worth_storing(reached, stored) or position != self.state.list_position:
            self._store(
                lambda: self.monitor.state.set_discovery(self.monitor.scope, reached, position)
            )
        self._backfill(self.monitor.discoverer, reached, self.state.backfilled_since)

    def _table(self, stored: Bookmark | None) -> TableInfo | None:
        """What the jobs table is; None where discovery cannot begin without knowing it."""
        try:
            return self.monitor.jobs.describe()
        except ServiceError as error:
            self.summary.errors[error.code] += 1
            return None if stored is None else TableInfo(None, None, is_restored=False)

    def _record_discovery_off(self, stored: Bookmark | None, now: datetime) -> None:
        """Remember since when discovery is off, and that this deployment is not new."""
        is_noted = stored is None or (stored.off_since is not None and stored.on_again_at is None)
        if self.state is not None and (not is_noted or not self.state.exists):
            self._store(lambda: self.monitor.state.set_discovery_off(self.monitor.scope, now))

    def _discover_from(
        self,
        discoverer: Discoverer,
        bookmark: Bookmark,
        now: datetime,
        tracked: Collection[str],
    ) -> tuple[Bookmark, ListPosition | None]:
        """Go through the list page by page; how far that came, for the next poll."""
        until = self._time_after(_SHARE_OF_LISTS)
        position = self._position(bookmark)
        listing = discoverer.listing(bookmark, position)
        last: datetime | None = None
        # Where to go on: a page of which a job is left is asked for again.
        left = None if position is None else position.token
        whole = False
        try:
            for page in discoverer.pages(listing, None if position is None else position.token):
                last, is_done = self._track_page(
                    discoverer=discoverer,
                    page=page,
                    bookmark=bookmark,
                    now=now,
                    tracked=tracked,
                    last=last,
                )
                left = page.next_token if is_done else left
                whole = is_done and page.next_token is None
                if not is_done or self.pool.time_is_up or self.pool.remaining_seconds() < until:
                    break
        except ServiceError as error:
            self.summary.errors[error.code] += 1
            if error.is_refusal:
                self.summary.refused += 1
                # A token that is no longer valid must not be used again.
                left = None
        self.pool.wait_for_all()
        reached = advanced(bookmark, now=now, last=last, whole=whole)
        if last is None and left is not None and not whole:
            return reached, ListPosition(listing.submitted_after, left)
        return reached, None

    def _position(self, bookmark: Bookmark) -> ListPosition | None:
        """Where to go on with a list; None if this poll lists from another submission."""
        stored = None if self.state is None else self.state.discovery
        if self.state is None or stored is None or stored.seen_until != bookmark.seen_until:
            return None
        return self.state.list_position

    def _track_page(  # noqa: PLR0913 - where discovery is, all named
        self,
        *,
        discoverer: Discoverer,
        page: ListPage,
        bookmark: Bookmark,
        now: datetime,
        tracked: Collection[str],
        last: datetime | None,
    ) -> tuple[datetime | None, bool]:
        """Track the jobs of one page; the submission up to which that came, and if to its end."""
        for batch in batches(page):
            if self.pool.time_is_up:
                return last, False
            for job in discoverer.track(batch, bookmark, now, tracked):
                self.summary.jobs_discovered += not job.backfilled
                self.concurrency.begun()
                self._reconcile(job)
            last = _last_submission(batch, now) or last
        return last, True

    def _backfill(
        self, discoverer: Discoverer, bookmark: Bookmark, backfilled_since: datetime | None
    ) -> None:
        """Record finished jobs for the history alone, in the time that the others have left."""
        now = self.monitor.clock()
        window = discoverer.to_backfill(bookmark, backfilled_since, now)
        if window is None or self.pool.time_is_up:
            return
        reached = backfilled_since
        try:
            for page in discoverer.pages(discoverer.listing_of(window)):
                is_done = True
                for batch in batches(page):
                    if self.pool.time_is_up:
                        is_done = False
                        break
                    for job in discoverer.backfill(batch, bookmark):
                        self.concurrency.begun()
                        self._reconcile(job)
                    reached = _last_submission(batch, now) or reached
                if is_done and page.next_token is None:
                    reached = window.after
                if not is_done or self.pool.time_is_up:
                    break
        except ServiceError as error:
            self.summary.errors[error.code] += 1
        self.pool.wait_for_all()
        if reached is not None and reached != backfilled_since:
            since = reached
            self._store(lambda: self.monitor.state.set_backfilled_since(self.monitor.scope, since))

    # What follows the jobs

    def follow_usage(self) -> None:
        """Look again for the token counts of jobs that have ended; nothing else waits for it."""
        follower = self.monitor.usage
        if follower is None or self.pool.time_is_up:
            return
        try:
            for job_arn in follower.due(self.monitor.keys):
                if self.pool.time_is_up:
                    break
                self.pool.submit(partial(follower.follow, job_arn), self._followed)
        except ServiceError as error:
            self.summary.errors[error.code] += 1
        self.pool.wait_for_all()

    def report_never_readable(self) -> None:
        """Notify people of ARNs that were never readable, in one message for all of them."""
        if self.never_readable and self.monitor.new_notifier is not None:
            for error in self.monitor.new_notifier().tell_unreadable(self.never_readable):
                self.summary.errors[error.code] += 1

    def finish(self, started: datetime) -> None:
        """Put down what is known only at the end."""
        now = self.monitor.clock()
        if self.waiting_since is not None:
            waiting = int((now - self.waiting_since).total_seconds())
            self.summary.oldest_pending_event_seconds = max(waiting, 0)
        self.summary.jobs_unreachable += sum(self.unreachable.values())
        self.summary.active_by_status = by_status(self.statuses.values())
        self.summary.seconds = (now - started).total_seconds()

    # Events and callbacks

    def _call_back(self, callbacks: PendingCallbacks) -> None:
        """Have tasks called back, next to the events: neither holds up the other."""
        if self.tasks_refuse:
            self._called_back(not_called_back(callbacks))
            return
        may_go_on = partial(_is_time_left, self.pool)
        self.pool.submit(
            partial(self.monitor.callbacks.send, callbacks, may_go_on), self._called_back
        )

    def _called_back(self, result: CallbackResult) -> None:
        result.record(self.summary, self.monitor.logger)
        self.tasks_refuse = self.tasks_refuse or result.service_refuses
        self._waits_since(result.waiting_since)

    def _send_events(self, *, at_least: int) -> None:
        while len(self.outbox) >= at_least:
            group = next(calls(self.outbox))
            del self.outbox[: len(group)]
            self._deliver(group)

    def _deliver(self, group: Sequence[MonitorEvent]) -> None:
        """Have events sent, if there is a bus to take them."""
        if self.bus is None:
            self.bus = self.watch.first()
            if not self.bus.exists:
                self.summary.errors[self.bus.code] += 1
                is_missing = self.bus.state is BusState.MISSING
                self.monitor.logger.error(
                    "the event bus does not exist"
                    if is_missing
                    else "it is not known whether the event bus exists",
                    extra={"error": self.bus.code},
                )
        if not self.bus.exists:
            self.bus_refuses = True
            self._delivered(not_sent(group))
        else:
            self.pool.submit(
                partial(self.monitor.relay.deliver, group, self.watch), self._delivered
            )

    def _delivered(self, delivered: DeliveryResult) -> None:
        self.summary.count_events(
            sent=delivered.sent, pending=delivered.pending, errors=delivered.errors
        )
        self.summary.conflicts += delivered.conflicts
        self.bus_refuses = self.bus_refuses or delivered.bus_refuses
        self._waits_since(delivered.waiting_since)

    def _followed(self, followed: UsageResult) -> None:
        self.summary.count_usage(followed.model_id, followed.usage)
        self.summary.errors.update(followed.errors)
        if followed.problem is not None:
            self.summary.usage_given_up += 1
            self.monitor.logger.warning(
                "usage given up",
                extra={"jobArn": followed.job_arn, "reason": followed.problem.code},
            )

    def _waits_since(self, moment: datetime | None) -> None:
        if moment is not None:
            self.waiting_since = min(moment, self.waiting_since or moment)

    def _time_after(self, keys: float) -> float:
        """How many seconds are left once this share of the time that is left now was used."""
        left = self.pool.remaining_seconds() - STOP_BEFORE_DEADLINE_SECONDS
        return STOP_BEFORE_DEADLINE_SECONDS + max(left, 0) * (1 - keys)


def _is_time_left(pool: WorkerPool) -> bool:
    return not pool.time_is_up


def _count_defect(summary: PollSummary, logger: Logger, defect: BaseException) -> None:
    """Count what no service caused: a defect in handling one job must not stop the others."""
    name = type(defect).__name__
    summary.errors[f"Monitor.{name}"] += 1
    # The text of the exception may quote a job's message, which is never logged.
    logger.error(
        "defect while handling a job",
        extra={"exceptionType": name, "stack": traceback.format_tb(defect.__traceback__)},
    )


def _latest(known: datetime | None, stored: datetime | None, now: datetime) -> datetime | None:
    """The later of two cursors; one in the future makes no sense and counts only if alone."""
    cursors = [cursor for cursor in (known, stored) if cursor is not None]
    return max((cursor for cursor in cursors if cursor <= now), default=min(cursors, default=None))


def _last_submission(batch: Sequence[ListedJob], now: datetime) -> datetime | None:
    """The last submission time of a batch that makes sense."""
    times = (plausible(job.submit_time, now) for job in reversed(batch))
    return next((moment for moment in times if moment is not None), None)
