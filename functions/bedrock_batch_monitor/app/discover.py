"""Tracks the jobs that nobody tracked by hand, from ListModelInvocationJobs.

Jobs that run, or have ended since discovery began, are followed as any other. Jobs that finished
before are recorded for the history alone, if the deployment asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.domain.backfill import Window, is_backfill, open_window
from bedrock_batch_monitor.domain.discovery import (
    Bookmark,
    JobFilter,
    Tracking,
    list_from,
    tracking_of,
)
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.list_pages import ListedJob, Listing, ListPage
from bedrock_batch_monitor.domain.state import ListPosition

# Keys of one BatchGetItem; so many listed jobs are handled at once.
BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Discoverer:
    """Finds jobs of one account and Region, and finished ones submitted up to `reach` ago."""

    bedrock: BatchInferenceJobs
    jobs: JobsTable
    clock: Callable[[], datetime]
    wanted: JobFilter
    reach: timedelta = timedelta(0)

    def listing(self, bookmark: Bookmark, position: ListPosition | None) -> Listing:
        """What to list in this poll; a list whose pages were empty goes on where it was left."""
        submitted_after = list_from(bookmark) if position is None else position.submitted_after
        return Listing(submitted_after, None, self.wanted.name_contains)

    def pages(self, listing: Listing, token: str | None = None) -> Iterator[ListPage]:
        """The pages of a list, each asked for when it is taken; raises `ServiceError`."""
        return self.bedrock.pages(listing, token)

    def track(
        self,
        batch: Sequence[ListedJob],
        bookmark: Bookmark,
        now: datetime,
        tracked: Collection[str] = (),
    ) -> Iterator[TrackedJob]:
        """Track the jobs of a batch that are wanted and have no item yet.

        An item that is there is left as it is, so that a job that a person untracked stays so.
        `tracked` are jobs that the caller knows to have one. Raises `ServiceError`.
        """
        wanted = {
            job.job_arn: how is Tracking.HISTORY_ONLY
            for job in batch
            if job.job_arn not in tracked
            and (how := tracking_of(job, bookmark=bookmark, now=now, wanted=self.wanted))
            is not None
        }
        yield from self._track(wanted)

    def to_backfill(
        self, bookmark: Bookmark, backfilled_since: datetime | None, now: datetime
    ) -> Window | None:
        """The submission times whose finished jobs are still to be recorded; None if all are."""
        return open_window(bookmark, backfilled_since, now=now, reach=self.reach)

    def listing_of(self, window: Window) -> Listing:
        """What to list for the jobs submitted in a window, newest first."""
        return Listing(
            window.after,
            None,
            self.wanted.name_contains,
            submitted_before=window.before,
            newest_first=True,
        )

    def backfill(self, batch: Sequence[ListedJob], bookmark: Bookmark) -> Iterator[TrackedJob]:
        """Track the finished jobs of a batch for the history alone; raises `ServiceError`."""
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
            # A lost race means that somebody else tracks it, and looks at it.
            if written.is_done:
                yield TrackedJob(job_arn=job_arn, backfilled=backfilled)


def batches(page: ListPage) -> Iterator[Sequence[ListedJob]]:
    """The jobs of a page, as many at a time as are handled at once."""
    for start in range(0, len(page.jobs), BATCH):
        yield page.jobs[start : start + BATCH]
