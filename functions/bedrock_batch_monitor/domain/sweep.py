"""Get or list: which costs fewer calls, what a summary may spare, and whose turn comes anyway.

A page of ListModelInvocationJobs tells of up to 1,000 jobs in one call. How far it lags behind
GetModelInvocationJob is not documented, and a status is not among the members that it must have.
So a summary is a hint. It can spare a job its Get, as long as it agrees with what is recorded; it
is never recorded. What it hides by lagging, the full read finds: each job is got once in a time
that is set, whatever the lists say.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import JobObservation, TrackedJob
from bedrock_batch_monitor.domain.lists import SUMMARIES_PER_PAGE, ListedJob, Listing
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.transitions import Unchanged, decide

# Up to here a poll gets each: so many calls are under way at once, and so take no longer than the
# one page of a list that would spare them. A Get does not lag.
GET_EACH_UP_TO: Final = 32
# The key under which the size of the list of any status is remembered.
ANY_STATUS: Final = ""
# How long the size of a list is believed. It changes as jobs end: then it is found out anew.
SIZE_HOLDS: Final = timedelta(hours=1)
# `submitTimeAfter` leaves out what was submitted at that very moment.
_MARGIN: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


# Which costs fewer calls


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known before the first call is made.

    `by_status` counts the jobs that a list may spare a Get, by their recorded status, and the
    oldest of them was submitted at `submitted_from`. `sizes` has the pages that lists had lately,
    by status or `ANY_STATUS`. `changing` is the share of such jobs that sweeps had to get lately.
    Discovery lists from `discovery_from` in any case, unless that is None.
    """

    by_status: Mapping[str, int]
    submitted_from: datetime
    sizes: Mapping[str, int] = field(default_factory=dict)
    changing: float = 0.0
    discovery_from: datetime | None = None

    @property
    def jobs(self) -> int:
        """How many jobs a list may spare a Get."""
        return sum(self.by_status.values())

    def pages(self, status: str, jobs: int) -> int:
        """The pages to expect of a list with so many of these jobs on it."""
        return max(1, ceil(jobs / SUMMARIES_PER_PAGE), self.sizes.get(status, 0))


@dataclass(frozen=True, slots=True)
class PlannedList:
    """A list, and the number of pages after which it is given up."""

    listing: Listing
    most_pages: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The lists to read before jobs are got; none to get each. `calls` are those to expect."""

    calls: float
    lists: tuple[PlannedList, ...] = ()
    serves_discovery: bool = False


def choose(outlook: Outlook, *, may_list_all: bool = True) -> Plan:
    """The plan with the fewest calls to expect; of equals, the one that gets more jobs.

    There are three: to get each job; one list of everything submitted since the oldest of them,
    which also serves discovery, but which jobs that have ended swell; and a list for each status
    that jobs have, which ended jobs cannot swell. The calls are those of discovery's list, where it
    is made, and those for jobs that are expected to have changed included. Whatever must be got in
    any case is in none of them.
    """
    otherwise = min((_get_each(outlook), _by_status(outlook)), key=lambda plan: plan.calls)
    whole = _whole(outlook)
    if not may_list_all or whole.calls >= otherwise.calls:
        return otherwise
    (planned,) = whole.lists
    # Ended jobs may have swollen it since: then it is given up when it has cost as much as what
    # would have been done in its place, and not much more than was expected.
    pages = max(planned.most_pages, min(int(otherwise.calls), 2 * planned.most_pages + 4))
    return replace(whole, lists=(replace(planned, most_pages=pages + 1),))


def _get_each(outlook: Outlook) -> Plan:
    return Plan(outlook.jobs + _of_discovery(outlook))


def _by_status(outlook: Outlook) -> Plan:
    calls: float = _of_discovery(outlook)
    lists = []
    for status, jobs in sorted(outlook.by_status.items()):
        pages = outlook.pages(status, jobs)
        listed = pages + outlook.changing * jobs
        calls += min(jobs, listed)
        if listed < jobs:
            listing = Listing(outlook.submitted_from - _MARGIN, status)
            lists.append(PlannedList(listing, pages + 1))
    return Plan(calls, tuple(lists))


def _whole(outlook: Outlook) -> Plan:
    pages = outlook.pages(ANY_STATUS, outlook.jobs)
    begin = outlook.submitted_from - _MARGIN
    if outlook.discovery_from is not None:
        begin = min(begin, outlook.discovery_from)
    return Plan(
        pages + outlook.changing * outlook.jobs,
        (PlannedList(Listing(begin), pages),),
        serves_discovery=outlook.discovery_from is not None,
    )


def _of_discovery(outlook: Outlook) -> int:
    return 0 if outlook.discovery_from is None else 1


# What a summary may spare


@dataclass(frozen=True, slots=True)
class LastRead:
    """An answer of Get that told a later `last_modified_time` than is recorded, and no change."""

    at: datetime
    last_modified_time: datetime


def must_be_got(job: TrackedJob) -> bool:
    """Whether no summary can spare a job its Get.

    One that was never seen, or has no time of submission to be listed by; one whose status this
    version does not know, which is counted at each poll; one that could not be read last time.
    """
    return (
        job.status is None
        or job.submit_time is None
        or not statuses.is_known(job.status)
        or job.last_error is not None
        or job.unreadable_polls > 0
    )


def needs_get(
    job: TrackedJob,
    summary: ListedJob | None,
    *,
    now: datetime,
    rules: Rules,
    last_read: LastRead | None = None,
) -> bool:
    """Whether to get a job, given its summary (None: it is on no page).

    It is not got if its summary, taken for an answer of Get, would change nothing. An older one
    than what is known, another status, counts that are to be written, a stall that is to be found:
    each of them asks for a Get, and so does a summary that lacks the status. So does a newer
    `lastModifiedTime`, as often as counts are written, unless a Get has told it already.
    """
    if summary is None or summary.status is None or must_be_got(job):
        return True
    as_answer = JobObservation(
        job_arn=job.job_arn,
        status=summary.status,
        last_modified_time=summary.last_modified_time,
        counts=summary.counts,
    )
    decision = decide(job, as_answer, now=now, observed_by="list", rules=rules)
    return not isinstance(decision, Unchanged) or _is_modified(
        job, summary.last_modified_time, now=now, rules=rules, last_read=last_read
    )


def _is_modified(
    job: TrackedJob,
    modified: datetime | None,
    *,
    now: datetime,
    rules: Rules,
    last_read: LastRead | None,
) -> bool:
    if modified is None or job.last_modified_time is None or modified <= job.last_modified_time:
        return False
    known = [moment for moment in (job.progress_at,) if moment is not None]
    if last_read is not None:
        if modified <= last_read.last_modified_time:
            return False
        known.append(last_read.at)
    return not known or now - max(known) >= rules.progress_interval


# Whose turn comes anyway


@dataclass(frozen=True, slots=True)
class Progress:
    """Up to when every turn is taken, and which jobs with a later one were got as well."""

    until: datetime | None = None
    got: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FullRead:
    """Each job is got at least once in `period`, in turns that its ARN spreads over the polls.

    A job's turn comes once in a round, at a time that follows from its ARN, so that nothing has to
    be written down for each job. Turns are taken in their order, as many in a poll as a period has
    for it, and as many as a round has once one has waited for half of a time of grace; at the end
    of that time it is taken in any case. A round and the grace make a period, so that it holds
    while polls complete at their interval. Polls that were
    missed or cut short leave turns behind, which later ones take; of more than a round, each job
    has but one.
    """

    period: timedelta
    poll_interval: timedelta

    @property
    def _slack(self) -> timedelta:
        return max(self.period / 24, self.poll_interval)

    @property
    def round(self) -> timedelta:
        """From one turn of a job to its next."""
        return max(self.period - self._slack, self.poll_interval)

    @property
    def grace(self) -> timedelta:
        """How long a turn may wait, so that each poll takes about the same number."""
        return self._slack - self.poll_interval

    def due(self, job_arns: Collection[str], progress: Progress, now: datetime) -> frozenset[str]:
        """Those of the active jobs that this poll gets because it is their turn."""
        turns = sorted((turn, arn) for arn, turn in self._open(job_arns, progress, now))
        is_behind = bool(turns) and turns[0][0] <= _micros(now - self.grace / 2)
        pace = self.round if is_behind else self.period
        most = ceil(len(job_arns) * (self.poll_interval / pace))
        late = bisect_right(turns, _micros(now - self.grace), key=lambda each: each[0])
        return frozenset(arn for _, arn in turns[: max(most, late)])

    def after(
        self, job_arns: Collection[str], progress: Progress, got: Collection[str], now: datetime
    ) -> Progress:
        """The progress once a poll got some of the active jobs, for whatever reason.

        A turn that is still open holds it up, for a round and the grace at the most: by then the
        job has another, and that one is late.
        """
        come = self._come(job_arns, progress, now)
        still_open = [turn for arn, turn in self._open_of(come, progress, now) if arn not in got]
        if not still_open:
            return Progress(now)
        earliest = now - self.round - self.grace
        until = max(_EPOCH + (min(still_open) - 1) * _MICROSECOND, earliest)
        later = {arn for arn, _ in self._come([arn for arn, _ in come], Progress(until), now)}
        return Progress(
            until,
            frozenset(
                arn
                for arn, turn in come
                if arn in later and (arn in got or (arn in progress.got and turn > _micros(until)))
            ),
        )

    def _open(
        self, job_arns: Collection[str], progress: Progress, now: datetime
    ) -> list[tuple[str, int]]:
        """The first turn of each job that has come and is not taken, if there is one."""
        return self._open_of(self._come(job_arns, progress, now), progress, now)

    def _open_of(
        self, come: Iterable[tuple[str, int]], progress: Progress, now: datetime
    ) -> list[tuple[str, int]]:
        # Of a job that was got the first turn is taken, and the next is a round later.
        end, length = _micros(now), self.round // _MICROSECOND
        turns = ((arn, turn + length if arn in progress.got else turn) for arn, turn in come)
        return [(arn, turn) for arn, turn in turns if turn <= end]

    def _come(
        self, job_arns: Collection[str], progress: Progress, now: datetime
    ) -> list[tuple[str, int]]:
        """The jobs with a turn between the progress and now, each with the first of its turns."""
        end, length = _micros(now), self.round // _MICROSECOND
        # Where nothing is known all turns are late. Those that come up again after a clock was set
        # back are taken again.
        until = progress.until
        first = (end - 2 * length if until is None else min(_micros(until), end)) + 1
        turns = (
            (arn, first + ((zlib.crc32(arn.encode()) * length >> 32) - first) % length)
            for arn in job_arns
        )
        return [(arn, turn) for arn, turn in turns if turn <= end]


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class SweepBookmark:
    """What a later execution environment needs to know: kept in the state table, written seldom.

    `read_until` is how far the full read has come, and `sizes` the pages that lists had, as of
    `noted_at`.
    """

    read_until: datetime
    sizes: Mapping[str, int]
    noted_at: datetime

    def is_worth_writing(self, stored: SweepBookmark | None, period: timedelta) -> bool:
        """Whether the stored one is so far behind that a new one is worth a write."""
        return stored is None or self.read_until - stored.read_until >= period / 24
