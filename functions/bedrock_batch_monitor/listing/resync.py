"""Resync: each job is read at least once per period, whatever lists and events say about it.

The ARN of a job determines its resync time in the period. So nothing is stored for each job, and
the reads are spread over the polls. A lane is a group of jobs with the same period. It has one
cursor: every resync time up to it is done. A poll reads the jobs whose resync times are between the
cursor and now.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from bedrock_batch_monitor.domain.read_failures import UNREACHABLE_PERIOD
from bedrock_batch_monitor.domain.rules import Rules

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Cursors are stored in milliseconds, so resync times are whole ones: a cursor reads back equal.
_MILLISECOND: Final = timedelta(milliseconds=1)
# How often a cursor is saved in a period. A lost one costs the reads since it was saved.
_SAVED_PER_PERIOD: Final = 24
_NOTHING: Final[Mapping[str, datetime]] = {}


@dataclass(frozen=True, slots=True)
class ResyncLane:
    """Each job is read at least once per `period`, at the resync time that its ARN determines.

    The read can be late by one poll interval: the first poll after a resync time finds it. Resync
    times that polls missed are caught up, each job at most once. Times are aware datetimes.

    A cursor of None (nothing is known), or one that is further back than a period, counts as one
    period back: every job is due. One in the future counts as now, so that after a clock was set
    back each job is due within a period from then on.

    Raises `ValueError` if `period` is shorter than a millisecond.
    """

    period: timedelta

    def __post_init__(self) -> None:
        if self.period < _MILLISECOND:
            text = f"a resync period of {self.period} is too short: use one millisecond or more"
            raise ValueError(text)

    def due(
        self,
        job_arns: Collection[str],
        cursor: datetime | None,
        now: datetime,
        concluded_at: Mapping[str, datetime] = _NOTHING,
    ) -> frozenset[str]:
        """The jobs to read in a poll at `now`: those with a resync time after the cursor.

        Of N jobs, polls that are `interval` apart read N x interval / period each on average.
        `concluded_at` leaves out jobs that were read since their resync time (see `remember`).
        """
        return frozenset(arn for arn, _ in self._due(job_arns, cursor, now, concluded_at))

    def advance(
        self,
        job_arns: Collection[str],
        cursor: datetime | None,
        concluded: Collection[str],
        now: datetime,
        concluded_at: Mapping[str, datetime] = _NOTHING,
    ) -> datetime:
        """The cursor after a poll at `now` that read the `concluded` jobs, for whatever reason.

        It is `now` in whole milliseconds, unless a due job is not among the concluded ones. Then it
        is just before the earliest resync time of such a job, which is due again in the next poll.
        `job_arns`, `cursor`, `now` and `concluded_at` are those that `due` was called with.
        """
        done = frozenset(concluded)
        due = self._due(job_arns, cursor, now, concluded_at)
        times = (at for arn, at in due if arn not in done)
        return _EPOCH + min((at - 1 for at in times), default=_ms(now)) * _MILLISECOND

    def is_worth_saving(self, cursor: datetime, stored: datetime | None) -> bool:
        """Whether to store a cursor, given the stored one.

        A stored cursor may lag, which only repeats reads. One that is ahead, because the clock was
        set back, is replaced at once: each new process would start from it and skip resync times.
        """
        if stored is None or stored > cursor:
            return True
        return cursor - stored >= self.period / _SAVED_PER_PERIOD

    def _due(
        self,
        job_arns: Collection[str],
        cursor: datetime | None,
        now: datetime,
        concluded_at: Mapping[str, datetime],
    ) -> Iterator[tuple[str, int]]:
        """The due jobs, each with its resync time in milliseconds since the epoch."""
        end, length = _ms(now), self.period // _MILLISECOND
        window = length if cursor is None else min(end - _ms(cursor), length)
        for arn in job_arns:
            since_time = (end - (zlib.crc32(arn.encode()) * length >> 32)) % length
            if since_time < window:
                read = concluded_at.get(arn)
                if read is None or read > now or _ms(read) < end - since_time:
                    yield arn, end - since_time


def remember(
    earlier: Mapping[str, datetime], concluded: Collection[str], *, cursor: datetime, now: datetime
) -> dict[str, datetime]:
    """When jobs were concluded, as far as the next poll of this process can use it.

    A job that cannot be read holds the cursor back. Without this record, the jobs with later resync
    times are read again in each poll, more of them each time. `cursor` is the one that `advance`
    returned. The result is empty while nothing holds it back. It needs no storage, because losing
    it only repeats reads.
    """
    if cursor >= _EPOCH + _ms(now) * _MILLISECOND:
        return {}
    kept = {arn: at for arn, at in earlier.items() if cursor < at <= now}
    return kept | dict.fromkeys(concluded, now)


UNREACHABLE_LANE: Final = ResyncLane(UNREACHABLE_PERIOD)


def reachable_lane(rules: Rules) -> ResyncLane:
    """The lane of the jobs that can be read.

    Its period is a little shorter than the setting, so that a read that has to wait is in time.
    """
    slack = max(rules.full_read / 24, rules.poll_interval)
    return ResyncLane(max(rules.full_read - slack, rules.poll_interval))


@dataclass(slots=True)
class Lane:
    """How far a lane has come, as the execution environment remembers it."""

    cursor: datetime | None = None
    concluded_at: dict[str, datetime] = field(default_factory=dict)

    def due(
        self, lane: ResyncLane, jobs: Collection[str], stored: datetime | None, now: datetime
    ) -> frozenset[str]:
        """The jobs to read now, given the stored cursor as well."""
        self.cursor = _latest(self.cursor, stored, now)
        return lane.due(jobs, self.cursor, now, self.concluded_at)

    def advance(
        self, lane: ResyncLane, jobs: Collection[str], concluded: set[str], now: datetime
    ) -> datetime:
        """Record what was read as of `now`, the time for which jobs were due; gives the cursor."""
        self.cursor = lane.advance(jobs, self.cursor, concluded, now, self.concluded_at)
        self.concluded_at = remember(self.concluded_at, concluded, cursor=self.cursor, now=now)
        return self.cursor


@dataclass(slots=True)
class Lanes:
    """The two lanes of a scope: all jobs that can be read, and the unreachable ones."""

    reachable: Lane = field(default_factory=Lane)
    unreachable: Lane = field(default_factory=Lane)


def _latest(known: datetime | None, stored: datetime | None, now: datetime) -> datetime | None:
    """The later of two cursors; one in the future counts only if there is no other."""
    cursors = [cursor for cursor in (known, stored) if cursor is not None]
    return max((cursor for cursor in cursors if cursor <= now), default=min(cursors, default=None))


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
