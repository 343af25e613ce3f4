"""Backfill: which ended jobs are recorded in the history alone, and how far back.

Lists are read from the newest job to the oldest. So one moment is the whole progress: jobs that
were submitted since then are recorded. It moves back with each batch, as far as the setting says,
and continues from there when the setting is raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.discovery import LONGEST_JOB, Bookmark, JobFilter
from bedrock_batch_monitor.domain.list_pages import ListedJob
from bedrock_batch_monitor.domain.times import plausible

# Whether `submitTimeBefore` includes its moment is not documented; times have milliseconds.
_MARGIN: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """The submission times that are still to be listed."""

    after: datetime
    before: datetime


def open_window(
    bookmark: Bookmark, backfilled_since: datetime | None, *, now: datetime, reach: timedelta
) -> Window | None:
    """What is left to list; None if ended jobs are recorded as far back as `reach`.

    A job that ended before discovery began was submitted before that.
    """
    after = now - reach
    since = plausible(backfilled_since, now) or bookmark.began_at
    return Window(after, since + _MARGIN) if after < since else None


def is_backfill(job: ListedJob, *, bookmark: Bookmark, now: datetime, wanted: JobFilter) -> bool:
    """Whether to record a job in the history alone: it had ended before discovery began.

    A list may lack the status. Without status and end time, the age of a job decides. A time that
    is not plausible counts as missing.
    """
    if not wanted.wants(job.job_name, job.model_id):
        return False
    if job.status is not None and not statuses.is_terminal(job.status):
        return False
    ended_by = plausible(job.end_time, now) or plausible(job.submit_time, now)
    if ended_by is None:
        return False
    if job.status is None and plausible(job.end_time, now) is None:
        ended_by += LONGEST_JOB
    return ended_by < bookmark.began_at
