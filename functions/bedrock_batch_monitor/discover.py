"""Takes up the jobs that nobody tracked by hand, from ListModelInvocationJobs.

Jobs that run, or have ended since discovery began, are followed as any other. Finished ones of
before are taken up for the history alone, if the deployment asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from bedrock_batch_monitor.domain.backfill import Window, is_backfill, open_window
from bedrock_batch_monitor.domain.discovery import Bookmark, JobFilter, is_wanted, list_from
from bedrock_batch_monitor.domain.lists import ListedJob, Listing
from bedrock_batch_monitor.services.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.services.dynamodb import JobsTable, Written

_BATCH: Final = 100  # keys of one BatchGetItem


@dataclass(frozen=True, slots=True)
class Discoverer:
    """Finds jobs of one account and region, and finished ones submitted up to `reach` ago."""

    bedrock: BatchInferenceJobs
    jobs: JobsTable
    clock: Callable[[], datetime]
    wanted: JobFilter
    reach: timedelta = timedelta(0)

    def listed(self, bookmark: Bookmark | None, now: datetime) -> Iterator[Sequence[ListedJob]]:
        """The jobs to consider, oldest first, in batches; raises `ServiceError`."""
        listing = Listing(list_from(bookmark, now), None, self.wanted.name_contains)
        return batches(self.bedrock.every_job(listing))

    def take_up(
        self,
        batch: Sequence[ListedJob],
        bookmark: Bookmark | None,
        now: datetime,
        tracked: Collection[str] = (),
    ) -> Iterator[str]:
        """Track the wanted jobs of a batch that have no item yet, and give their ARNs.

        An item that is there is left as it is, so that a job that a person untracked stays so.
        `tracked` are jobs that the caller knows to have one. Raises `ServiceError`.
        """
        wanted = [
            job.job_arn
            for job in batch
            if job.job_arn not in tracked
            and is_wanted(job, bookmark=bookmark, now=now, wanted=self.wanted)
        ]
        yield from self._take_up(wanted, backfilled=False)

    def to_backfill(
        self, bookmark: Bookmark, backfilled_since: datetime | None, now: datetime
    ) -> Window | None:
        """The submission times whose finished jobs are still to be taken up; None if all are."""
        return open_window(bookmark, backfilled_since, now=now, reach=self.reach)

    def listed_in(self, window: Window) -> Iterator[Sequence[ListedJob]]:
        """The jobs submitted in a window, newest first, in batches; raises `ServiceError`."""
        listing = Listing(
            window.after,
            None,
            self.wanted.name_contains,
            submitted_before=window.before,
            newest_first=True,
        )
        return batches(self.bedrock.every_job(listing))

    def backfill(self, batch: Sequence[ListedJob], bookmark: Bookmark) -> Iterator[str]:
        """Take up the finished jobs of a batch for the history alone, and give their ARNs.

        Raises `ServiceError`.
        """
        wanted = [
            job.job_arn for job in batch if is_backfill(job, bookmark=bookmark, wanted=self.wanted)
        ]
        yield from self._take_up(wanted, backfilled=True)

    def _take_up(self, wanted: Sequence[str], *, backfilled: bool) -> Iterator[str]:
        if not wanted:
            return
        unknown = self.jobs.unknown(wanted)
        for job_arn in wanted:
            if job_arn in unknown:
                written = self.jobs.start_tracking(
                    job_arn, tracked_by="discovery", now=self.clock(), backfilled=backfilled
                )
                if written is Written.DONE:
                    yield job_arn


def batches(jobs: Iterable[ListedJob]) -> Iterator[Sequence[ListedJob]]:
    """Listed jobs, as many at a time as are taken up at once."""
    left = iter(jobs)
    while batch := tuple(islice(left, _BATCH)):
        yield batch
