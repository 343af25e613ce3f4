"""Discovery: tracks jobs that nobody tracked by hand, from ListModelInvocationJobs.

Jobs that run, and jobs that ended since discovery began, are tracked like any other. Jobs that
ended before are recorded in the history alone (backfill), if the deployment asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain.backfill import Window, is_backfill, open_window
from bedrock_batch_monitor.domain.discovery import (
    Bookmark,
    JobFilter,
    TableInfo,
    Tracking,
    advanced,
    is_worth_storing,
    list_from,
    resume,
    tracking_of,
)
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.list_pages import ListedJob, Listing, ListPage
from bedrock_batch_monitor.domain.state import ListPosition, State
from bedrock_batch_monitor.domain.times import plausible

if TYPE_CHECKING:
    from bedrock_batch_monitor.app.bookmarks import Bookmarks
    from bedrock_batch_monitor.app.worker_pool import WorkerPool
    from bedrock_batch_monitor.domain.summary import PollSummary

# So many listed jobs are handled at once: the keys of one BatchGetItem.
BATCH: Final = 100
# The share of the time left that the list of new jobs may use.
_SHARE_OF_TIME: Final = 0.5


@dataclass(frozen=True, slots=True)
class Discoverer:
    """Lists and tracks jobs of one scope; ended jobs if they were submitted up to `reach` ago."""

    bedrock: BatchInferenceJobs
    jobs: JobsTable
    clock: Callable[[], datetime]
    wanted: JobFilter
    reach: timedelta

    def pages(self, listing: Listing, token: str | None = None) -> Iterator[ListPage[ListedJob]]:
        """The pages of a list, each requested when it is needed; raises `ServiceError`."""
        return self.bedrock.pages(listing, token)

    def track(
        self,
        batch: Sequence[ListedJob],
        *,
        bookmark: Bookmark,
        now: datetime,
        tracked: Collection[str] = (),
    ) -> Iterator[TrackedJob]:
        """Track the wanted jobs of a batch that have no item yet; raises `ServiceError`.

        An existing item stays as it is, so that a job that a person untracked stays untracked.
        `tracked` are jobs that the caller knows to have an item.
        """
        wanted = {
            job.job_arn: how is Tracking.HISTORY_ONLY
            for job in batch
            if job.job_arn not in tracked
            and (how := tracking_of(job, bookmark=bookmark, now=now, wanted=self.wanted))
            is not None
        }
        yield from self._track(wanted)

    def backfill(self, batch: Sequence[ListedJob], *, bookmark: Bookmark) -> Iterator[TrackedJob]:
        """Track the ended jobs of a batch for the history alone; raises `ServiceError`."""
        yield from self._track(
            {
                job.job_arn: True
                for job in batch
                if is_backfill(job, bookmark=bookmark, now=self.clock(), wanted=self.wanted)
            }
        )

    def _track(self, wanted: dict[str, bool]) -> Iterator[TrackedJob]:
        """Put items for jobs that have none; the value says if one is for the history alone."""
        if not wanted:
            return
        unknown = self.jobs.unknown([*wanted])
        for job_arn, backfilled in wanted.items():
            if job_arn not in unknown:
                continue
            written = self.jobs.start_tracking(
                job_arn, tracked_by="discovery", now=self.clock(), backfilled=backfilled
            )
            # On a conflict another writer has just tracked the job, and reads it.
            if written.is_done:
                yield TrackedJob(job_arn=job_arn, backfilled=backfilled)


@dataclass(slots=True)
class _ListProgress:
    """How far a list was read.

    `last` is the submission time of the last job whose batch was tracked, `token` where to continue
    (a page with untracked jobs is requested again). `is_whole` says that the list was read to its
    end, `is_refused` that Bedrock or DynamoDB refused a call.
    """

    token: str | None = None
    last: datetime | None = None
    is_whole: bool = False
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Discovery:
    """The discovery of one poll, in the time that its active jobs have left.

    `start` begins to reconcile a job that was tracked just now. With `since`, the list begins there
    and includes jobs that are known to be tracked, so that lost items are found.
    """

    discoverer: Discoverer
    bookmarks: Bookmarks
    pool: WorkerPool
    summary: PollSummary
    start: Callable[[TrackedJob], None]
    since: datetime | None = None

    def run(self, state: State, tracked: Collection[str]) -> None:
        """Track new jobs, then backfill ended ones; `tracked` are jobs known to have an item."""
        now = self.discoverer.clock()
        table = None if self.pool.time_is_up else self._table(state)
        if table is None or self.pool.time_is_up:
            return
        bookmark = resume(state.discovery, state_exists=state.exists, table=table, now=now)
        if self.since is not None:
            seen_until = min(bookmark.seen_until, self.since)
            bookmark = replace(bookmark, seen_until=seen_until, full_list_at=now)
        reached, position = self._discover(state, bookmark, now, tracked)
        if is_worth_storing(reached, state.discovery) or position != state.list_position:
            self.bookmarks.save(self.bookmarks.table.set_discovery, reached, position)
        self._backfill(reached, state.backfilled_since)

    def _table(self, state: State) -> TableInfo | None:
        """What the jobs table is; None where discovery cannot begin without this knowledge."""
        try:
            return self.discoverer.jobs.describe()
        except ServiceError as error:
            self.summary.errors[error.code] += 1
            return None if state.discovery is None else TableInfo(None, None, is_restored=False)

    def _discover(
        self, state: State, bookmark: Bookmark, now: datetime, tracked: Collection[str]
    ) -> tuple[Bookmark, ListPosition | None]:
        """Track the jobs that were submitted since the bookmark; how far the list was read."""
        if bookmark.full_list_at == now:
            # A full list finds items that were lost, also of jobs that this poll has read.
            tracked = ()
        position = _position(state, bookmark)
        listing = Listing(
            list_from(bookmark) if position is None else position.submitted_after,
            name_contains=self.discoverer.wanted.name_contains,
        )
        progress = self._track_list(
            listing,
            _ListProgress(None if position is None else position.token),
            partial(self.discoverer.track, bookmark=bookmark, now=now, tracked=tracked),
            until=self.pool.remaining_after(_SHARE_OF_TIME),
        )
        self.summary.refused += progress.is_refused
        reached = advanced(bookmark, now=now, last=progress.last, whole=progress.is_whole)
        if progress.last is None and progress.token is not None and not progress.is_whole:
            return reached, ListPosition(listing.submitted_after, progress.token)
        return reached, None

    def _backfill(self, bookmark: Bookmark, backfilled_since: datetime | None) -> None:
        """Record ended jobs in the history alone, from the newest to the oldest."""
        window = open_window(
            bookmark,
            backfilled_since,
            now=self.discoverer.clock(),
            reach=self.discoverer.reach,
        )
        if window is None or self.pool.time_is_up:
            return
        progress = self._track_list(
            _newest_first(window, self.discoverer.wanted),
            _ListProgress(),
            partial(self.discoverer.backfill, bookmark=bookmark),
        )
        reached = window.after if progress.is_whole else progress.last
        if reached is not None and reached != backfilled_since:
            self.bookmarks.save(self.bookmarks.table.set_backfilled_since, reached)

    def _track_list(
        self,
        listing: Listing,
        progress: _ListProgress,
        track: Callable[[Sequence[ListedJob]], Iterator[TrackedJob]],
        until: float = 0.0,
    ) -> _ListProgress:
        """Track and reconcile the jobs of a list, until so many seconds remain."""
        try:
            for page in self.discoverer.pages(listing, progress.token):
                if not self._track_page(page, progress, track):
                    break
                progress.token, progress.is_whole = page.next_token, page.next_token is None
                if self.pool.time_is_up or self.pool.remaining_seconds() < until:
                    break
        except ServiceError as error:
            self.summary.errors[error.code] += 1
            if error.is_refusal:
                # A token that is no longer valid must not be used again.
                progress.token, progress.is_refused = None, True
        self.pool.wait_for_all()
        return progress

    def _track_page(
        self,
        page: ListPage[ListedJob],
        progress: _ListProgress,
        track: Callable[[Sequence[ListedJob]], Iterator[TrackedJob]],
    ) -> bool:
        """Track and reconcile the jobs of one page; False if there is no time for all of them."""
        for begin in range(0, len(page.jobs), BATCH):
            if self.pool.time_is_up:
                return False
            batch = page.jobs[begin : begin + BATCH]
            for job in track(batch):
                self.summary.jobs_discovered += not job.backfilled
                self.start(job)
            progress.last = _last_submission(batch, self.discoverer.clock()) or progress.last
        return True


def record_discovery_off(bookmarks: Bookmarks, state: State, now: datetime) -> None:
    """Remember since when discovery is off, and that this deployment is not new."""
    stored = state.discovery
    is_recorded = stored is None or (stored.off_since is not None and stored.on_again_at is None)
    if not is_recorded or not state.exists:
        bookmarks.save(bookmarks.table.set_discovery_off, now)


def _position(state: State, bookmark: Bookmark) -> ListPosition | None:
    """Where to continue a list; None if this poll lists from another submission."""
    if state.discovery is None or state.discovery.seen_until != bookmark.seen_until:
        return None
    return state.list_position


def _newest_first(window: Window, wanted: JobFilter) -> Listing:
    return Listing(
        window.after,
        name_contains=wanted.name_contains,
        submitted_before=window.before,
        newest_first=True,
    )


def _last_submission(batch: Sequence[ListedJob], now: datetime) -> datetime | None:
    """The last plausible submission time of a batch."""
    times = (plausible(job.submit_time, now) for job in reversed(batch))
    return next((moment for moment in times if moment is not None), None)
