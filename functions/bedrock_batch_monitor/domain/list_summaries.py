"""List scan: which jobs the summaries of ListModelInvocationJobs confirm as unchanged.

A page of the list has up to 1,000 jobs in one call. How far it lags behind GetModelInvocationJob is
not documented, and it may lack the status. So a summary is only a hint: it can confirm what is
recorded, which saves the job its Get, and it is never recorded. What a lagging list hides, the
resync finds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.discovery import LONGEST_JOB
from bedrock_batch_monitor.domain.jobs import ListedState, TrackedJob
from bedrock_batch_monitor.domain.list_pages import Listing
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.times import CLOCK_TOLERANCE
from bedrock_batch_monitor.domain.transitions import is_older, is_unchanged

# Up to here a poll fetches each job: so many calls run at once, so they take no longer than the one
# page that would save them, and a Get does not lag.
FETCH_EACH_UP_TO: Final = 32
# `submitTimeAfter` leaves out jobs that were submitted at that very moment.
_MARGIN: Final = timedelta(seconds=1)
_POSITIONS: Final = {status: position for position, status in enumerate(statuses.NON_TERMINAL)}


@dataclass(frozen=True, slots=True)
class PlannedList:
    """A list to read, and after how many pages to abandon it."""

    listing: Listing
    most_pages: int


def is_confirmable(job: TrackedJob, now: datetime) -> bool:
    """Whether a list summary can save the job its Get at all.

    Not if it was never read, has ended, has a status that this version does not know (each poll
    counts it), or could not be read the last time. Not without a plausible submit time either: the
    list of a status begins at the oldest one, and a single wrong one would make it endless.
    """
    return (
        job.status in _POSITIONS
        and job.last_error is None
        and job.unreadable_polls == 0
        and job.failing_since is None
        and job.submit_time is not None
        and -CLOCK_TOLERANCE <= now - job.submit_time <= LONGEST_JOB
    )


def requires_fetch(job: TrackedJob, summary: ListedState, *, now: datetime, rules: Rules) -> bool:
    """Whether to get a confirmable job, given its summary.

    The job is fetched when applying the summary to the stored state would change anything: a new
    status, counts due to be saved, a new stall, or an older `lastModifiedTime`. A newer
    `lastModifiedTime` alone requires no fetch: nothing else that is recorded depends on it.
    """
    if summary.status != job.status or is_older(job, summary, now):
        return True
    counts = summary.counts.not_below(job.counts)
    if counts != summary.counts:
        summary = summary._replace(counts=counts)
    return not is_unchanged(job, summary, now=now, rules=rules)


def plan_lists(jobs: Iterable[TrackedJob]) -> tuple[PlannedList, ...]:
    """The lists that can confirm these jobs, which are confirmable; those of most jobs first.

    One list per status, because ended jobs cannot swell it. A status with one job has no list: its
    first page costs as much as the Get. A list is worth as many pages as it has jobs to confirm.
    """
    submitted: dict[str, list[datetime]] = {}
    for job in jobs:
        if job.status in _POSITIONS and job.submit_time is not None:
            submitted.setdefault(job.status, []).append(job.submit_time)
    planned = [
        PlannedList(Listing(min(times) - _MARGIN, status), most_pages=len(times))
        for status, times in sorted(submitted.items(), key=lambda each: _POSITIONS[each[0]])
        if len(times) > 1
    ]
    return tuple(sorted(planned, key=lambda each: -each.most_pages))
