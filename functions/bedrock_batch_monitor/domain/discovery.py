"""Which listed jobs discovery tracks, and from when on it lists in the next poll.

How far ListModelInvocationJobs lags behind is not documented, so each list begins some time before
the last job of the previous list. That is Bedrock's own time. The monitor's clock moves the
bookmark only when no job was submitted for long, and then keeps a distance of two hours. Once a
day, and when the jobs table was replaced, discovery lists everything that may still run: then a job
whose item was lost is tracked again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from fnmatch import fnmatchcase
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.list_pages import ListedJob
from bedrock_batch_monitor.domain.times import CLOCK_TOLERANCE, plausible

OVERLAP: Final = timedelta(minutes=15)
# A job may run for 168 hours (`timeoutDurationInHours`) after it was submitted.
LONGEST_JOB: Final = timedelta(days=8)
FULL_LIST_PERIOD: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far discovery has come: when it began, and until which submission it has read the list.

    `full_list_at` is when it last began to list everything that may still run. Discovery was last
    switched off from `off_since` to `on_again_at`. `table_id` identifies the jobs table of that
    time.
    """

    began_at: datetime
    seen_until: datetime
    full_list_at: datetime | None = None
    off_since: datetime | None = None
    on_again_at: datetime | None = None
    table_id: str | None = None


@dataclass(frozen=True, slots=True)
class TableInfo:
    """The jobs table in DescribeTable: its id, when it was created, and whether it was restored."""

    table_id: str | None
    created_at: datetime | None
    is_restored: bool


class Tracking(Enum):
    """How discovery tracks a job."""

    LIVE = auto()
    HISTORY_ONLY = auto()
    """Its end is recorded, and no event is published."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs discovery tracks: those that match every filter; an empty filter matches all.

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
        """Whether it excludes any jobs."""
        return bool(self.name_prefix or self.name_pattern or self.model_ids)

    @property
    def name_contains(self) -> str:
        """The longest text that every wanted name contains, by which Bedrock can shorten a list.

        `nameContains` begins with a letter or digit, as names do (Bedrock's service model).
        """
        texts = (self.name_prefix, *re.split(r"[*?]", self.name_pattern))
        return max((text.lstrip("+-.") for text in texts), key=len)

    def wants(self, job_name: str | None, model_id: str | None) -> bool:
        """Whether to track a job of this name and model, as Bedrock reports them."""
        name = job_name or ""
        return (
            name.startswith(self.name_prefix)
            and (not self.name_pattern or fnmatchcase(name, self.name_pattern))
            and (not self.model_ids or not self.model_ids.isdisjoint(_names_of(model_id or "")))
        )


def _names_of(model_id: str) -> set[str]:
    return {model_id, model_id.rpartition("/")[2]}


def everything(now: datetime) -> Bookmark:
    """The bookmark with which discovery lists everything that may still run."""
    return Bookmark(began_at=now - LONGEST_JOB, seen_until=now - LONGEST_JOB)


def resume(
    stored: Bookmark | None, *, state_exists: bool, table: TableInfo, now: datetime
) -> Bookmark:
    """The bookmark to list from in this poll.

    - Nothing is stored at all (`state_exists` is False): the deployment is new, or the state table
      was lost. Discovery began when the jobs table was created. For a restored table that time is
      not known, so everything that may still run is listed.
    - The state exists without a bookmark: discovery was switched on just now.
    - A stored time that is not plausible is replaced by one that loses nothing.
    - Another table than the last time, or a day without a full list: list everything that may
      still run.
    """
    earliest = now - LONGEST_JOB
    if stored is None:
        began_at = now if state_exists else _created(table, now)
        stored = Bookmark(began_at=began_at, seen_until=earliest)
    began_at = stored.began_at if stored.began_at <= now else earliest
    seen_until = plausible(stored.seen_until, now, ahead=timedelta(0)) or earliest
    is_replaced = (
        stored.table_id is not None
        and table.table_id is not None
        and stored.table_id != table.table_id
    )
    full_list_at = plausible(stored.full_list_at, now, ahead=timedelta(0))
    if is_replaced or full_list_at is None or now - full_list_at >= FULL_LIST_PERIOD:
        full_list_at, seen_until = now, min(seen_until, earliest)
    off_since = plausible(stored.off_since, now)
    on_again_at = plausible(stored.on_again_at, now)
    if off_since is not None and on_again_at is None:
        on_again_at = now
    return replace(
        stored,
        began_at=began_at,
        seen_until=seen_until,
        full_list_at=full_list_at,
        off_since=off_since,
        on_again_at=on_again_at,
        table_id=table.table_id or stored.table_id,
    )


def _created(table: TableInfo, now: datetime) -> datetime:
    created = plausible(table.created_at, now)
    return now - LONGEST_JOB if created is None or table.is_restored else min(created, now)


def list_from(bookmark: Bookmark) -> datetime:
    """The submission time to list from."""
    return bookmark.seen_until - OVERLAP


def tracking_of(
    job: ListedJob, *, bookmark: Bookmark, now: datetime, wanted: JobFilter
) -> Tracking | None:
    """How to track a listed job that is not known yet; None if it is not tracked.

    Jobs that run are tracked, and jobs that ended since discovery began. What ended while discovery
    was switched off is recorded in the history alone.
    """
    if not wanted.wants(job.job_name, job.model_id):
        return None
    if job.status is None or not statuses.is_terminal(job.status):
        return Tracking.LIVE
    ended_at = plausible(job.end_time, now) or plausible(job.submit_time, now)
    if ended_at is None:
        return Tracking.LIVE
    if ended_at < bookmark.began_at:
        return None
    off, on = bookmark.off_since, bookmark.on_again_at
    if off is not None and on is not None and off <= ended_at < on:
        return Tracking.HISTORY_ONLY
    return Tracking.LIVE


def advanced(bookmark: Bookmark, *, now: datetime, last: datetime | None, whole: bool) -> Bookmark:
    """The bookmark after a list was read up to a job submitted at `last`, to its end or not.

    A submission in the future only means that the list was read up to now.
    """
    reached = [bookmark.seen_until]
    if last is not None:
        reached.append(min(last, now))
    if whole:
        reached.append(now - CLOCK_TOLERANCE)
    return replace(bookmark, seen_until=max(reached))


def is_worth_storing(new: Bookmark, stored: Bookmark | None) -> bool:
    """Whether to store a bookmark: one that lags only makes the next list a little longer."""
    return (
        stored is None
        or new.seen_until < stored.seen_until
        or new.seen_until - stored.seen_until >= OVERLAP / 3
        or replace(new, seen_until=stored.seen_until) != stored
    )
