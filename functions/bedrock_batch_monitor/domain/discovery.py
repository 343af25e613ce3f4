"""Which jobs of a list are taken up, and from when on the next list is asked for.

How far ListModelInvocationJobs lags behind is not documented, so each list begins some time before
the last job of the one before. That is Bedrock's own time; the monitor's clock only moves the
bookmark when no job has come for long, and so far behind that it may be wrong by two hours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
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


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs discovery takes up: those that keep to every limit; an empty one limits nothing.

    `name_pattern` is a glob: `*` is any text, `?` any one character, and upper and lower case
    differ. `model_ids` are compared with the model as Bedrock reports it, as a whole and, of an
    ARN, with what follows its last `/`: the id of a foundation model, inference profile or
    provisioned model.
    """

    name_prefix: str = ""
    name_pattern: str = ""
    model_ids: frozenset[str] = frozenset()

    @property
    def is_limited(self) -> bool:
        """Whether there are jobs that it leaves alone."""
        return bool(self.name_prefix or self.name_pattern or self.model_ids)

    @property
    def name_contains(self) -> str:
        """The longest text that every wanted name contains, by which Bedrock can shorten a list.

        `nameContains` begins with a letter or digit, as names do (Bedrock's service model).
        """
        texts = (self.name_prefix, *re.split(r"[*?]", self.name_pattern))
        return max((text.lstrip("+-.") for text in texts), key=len)

    def wants(self, job_name: str | None, model_id: str | None) -> bool:
        """Whether to take up a job of this name and model, as Bedrock reports them."""
        name = job_name or ""
        return (
            name.startswith(self.name_prefix)
            and (not self.name_pattern or fnmatchcase(name, self.name_pattern))
            and (not self.model_ids or not self.model_ids.isdisjoint(_names_of(model_id or "")))
        )


def _names_of(model_id: str) -> set[str]:
    return {model_id, model_id.rpartition("/")[2]}


def everything(now: datetime) -> Bookmark:
    """The bookmark of a discovery that takes up all that the lists may still tell of."""
    return Bookmark(began_at=now - LONGEST_JOB, seen_until=now - LONGEST_JOB)


def list_from(bookmark: Bookmark | None, now: datetime) -> datetime:
    """The submission time to list from: at first, that of every job that may still run."""
    return now - LONGEST_JOB if bookmark is None else bookmark.seen_until - OVERLAP


def is_wanted(
    job: ListedJob, *, bookmark: Bookmark | None, now: datetime, wanted: JobFilter
) -> bool:
    """Whether to take up a job, if it is not known yet.

    Whatever was submitted since discovery began, ended or not; of what was there before, only what
    had not ended by then.
    """
    if not wanted.wants(job.job_name, job.model_id):
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
