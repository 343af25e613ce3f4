"""Which jobs of a list are taken up, and from when on the next list is asked for.

How far ListModelInvocationJobs lags behind is not documented, so each list begins some time before
the last job of the one before. That is Bedrock's own time; the monitor's clock only moves the
bookmark when no job has come for long, and so far behind that it may be wrong by two hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.lists import ListedJob

OVERLAP: Final = timedelta(minutes=15)
CLOCK_TOLERANCE: Final = timedelta(hours=2)
# A job may run for 168 hours (`timeoutDurationInHours`) after it was submitted.
LONGEST_JOB: Final = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far discovery has come: when it began here, and until which submission it saw."""

    began_at: datetime
    seen_until: datetime


def everything(now: datetime) -> Bookmark:
    """The bookmark of a discovery that takes up all that the lists may still tell of."""
    return Bookmark(began_at=now - LONGEST_JOB, seen_until=now - LONGEST_JOB)


def list_from(bookmark: Bookmark | None, now: datetime) -> datetime:
    """The submission time to list from: at first, that of every job that may still run."""
    return now - LONGEST_JOB if bookmark is None else bookmark.seen_until - OVERLAP


def is_wanted(job: ListedJob, *, bookmark: Bookmark | None, now: datetime, prefix: str) -> bool:
    """Whether to take up a job, if it is not known yet.

    Whatever was submitted since discovery began, ended or not; of what was there before, only what
    had not ended by then.
    """
    if not job.job_name.startswith(prefix):
        return False
    if job.status is None or not statuses.is_terminal(job.status):
        return True
    began_at = now if bookmark is None else bookmark.began_at
    return (job.end_time or job.submit_time) >= began_at


def advanced(
    bookmark: Bookmark | None, *, now: datetime, last: datetime | None, whole: bool
) -> Bookmark:
    """The bookmark after a list was read up to a job submitted at `last`, to its end or not."""
    before = bookmark or Bookmark(began_at=now, seen_until=now - LONGEST_JOB)
    seen = [before.seen_until]
    if last is not None:
        seen.append(last)
    if whole:
        seen.append(now - CLOCK_TOLERANCE)
    return Bookmark(before.began_at, max(seen))
