"""Takes up the jobs that nobody tracked by hand, from ListModelInvocationJobs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from bedrock_batch_monitor.domain.discovery import Bookmark, is_wanted, list_from
from bedrock_batch_monitor.domain.lists import ListedJob, Listing
from bedrock_batch_monitor.services.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.services.dynamodb import JobsTable, Written

_BATCH: Final = 100  # keys of one BatchGetItem


@dataclass(frozen=True, slots=True)
class Discoverer:
    """Finds jobs of one account and region whose names begin with `prefix` (empty: all)."""

    bedrock: BatchInferenceJobs
    jobs: JobsTable
    clock: Callable[[], datetime]
    prefix: str

    def listed(self, bookmark: Bookmark | None, now: datetime) -> Iterator[Sequence[ListedJob]]:
        """The jobs to consider, oldest first, in batches; raises `ServiceError`."""
        return batches(self.bedrock.every_job(Listing(list_from(bookmark, now), None, self.prefix)))

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
            and is_wanted(job, bookmark=bookmark, now=now, prefix=self.prefix)
        ]
        if not wanted:
            return
        unknown = self.jobs.unknown(wanted)
        for job_arn in wanted:
            if job_arn in unknown:
                written = self.jobs.start_tracking(
                    job_arn, tracked_by="discovery", now=self.clock()
                )
                if written is Written.DONE:
                    yield job_arn


def batches(jobs: Iterable[ListedJob]) -> Iterator[Sequence[ListedJob]]:
    """Listed jobs, as many at a time as are taken up at once."""
    left = iter(jobs)
    while batch := tuple(islice(left, _BATCH)):
        yield batch
