"""The rate of a job and its estimated end, from the observed record counts.

A job's item keeps the estimate as `recordsPerMinute` (a number) and `estimatedEndTime` (a time),
both absent while unknown, so that every reader sees the same one. It is updated whenever counts
that changed are written, from the rate so far and two counts: the one written before and the new
one. It needs no other stored value.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.event_kinds import STALLED
from bedrock_batch_monitor.domain.times import plausible, to_milliseconds

if TYPE_CHECKING:
    from bedrock_batch_monitor.domain.jobs import Observed, TrackedJob
    from bedrock_batch_monitor.domain.rules import Rules

# The rate is the mean since the job began to run, as long as that is shorter than this; afterwards
# the last hour has the most weight. Long enough to average counts that Bedrock updates in batches,
# short enough to follow a change within a few hours of the up to 168 that a job may run.
WINDOW: Final = timedelta(hours=1)
# How much must change before counts are written: a share of all records since the last write, or an
# estimated end that moved by a share of the time that is left, and by no less than some minutes.
# Each write costs three units, and a job that runs changes at every poll. Smaller changes are
# written after half an hour.
LEAST_CHANGE_SHARE: Final = 0.02
LEAST_END_MOVE_SHARE: Final = 0.1
LEAST_MOVE_OF_END: Final = timedelta(minutes=5)
LONGEST_UNWRITTEN: Final = timedelta(minutes=30)
# One record a day: a slower job counts as one without a rate.
_SLOWEST_PER_MINUTE: Final = 1 / (24 * 60)
# No job runs for more than 168 hours, so a later estimate has no more information.
_FURTHEST: Final = timedelta(days=365)
_DIGITS: Final = 6
_MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class Point:
    """So many records were processed at this moment."""

    at: datetime
    processed: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """The rate of a job, above zero, and when it ends at this rate; None for unknown."""

    records_per_minute: float | None = None
    ends_at: datetime | None = None


UNKNOWN: Final = Estimate()


def may_write_counts(
    job: TrackedJob, observation: Observed, *, now: datetime, rules: Rules
) -> bool:
    """Whether the counts of an observation of the same status may be written.

    Counts that changed may be written at intervals, and at once if the job had stalled or could not
    be read.
    """
    if observation.counts == job.counts:
        return False
    written_at = plausible(job.progress_at, now)
    return (
        written_at is None
        or now - written_at >= rules.progress_interval
        or STALLED.name in job.conditions
        or job.has_read_failures
    )


def is_counts_write_due(
    job: TrackedJob, observation: Observed, *, now: datetime, rules: Rules
) -> bool:
    """Whether to write the counts of an observation of the same status now.

    They are written if the job moved by a share of its records, if its estimated end moved, and
    after a while in any case. Without an interval, every change is written. The same applies if
    stalls have a time, because a job counts as stalled from its last write on.
    """
    if not may_write_counts(job, observation, now=now, rules=rules):
        return False
    written_at = plausible(job.progress_at, now)
    return (
        not rules.progress_interval
        or rules.stalled_after is not None
        or written_at is None
        or now - written_at >= LONGEST_UNWRITTEN
        or STALLED.name in job.conditions
        or job.has_read_failures
        or _has_moved(job, observation)
        or _end_has_moved(job, observation, now)
    )


def _has_moved(job: TrackedJob, observation: Observed) -> bool:
    """Whether counts differ in more than a small step; the last record is never a small one."""
    before, counts = job.counts, observation.counts
    total = counts.total
    if total is None or total != before.total:
        return True
    for count, known in (
        (counts.processed, before.processed),
        (counts.success, before.success),
        (counts.error, before.error),
    ):
        if count is None or count == known:
            continue
        # The first failed record is written at once, too.
        if not known or count >= total or count - known >= total * LEAST_CHANGE_SHARE:
            return True
    return False


def _end_has_moved(job: TrackedJob, observation: Observed, now: datetime) -> bool:
    """Whether the estimated end would change by more than a share of the time to it."""
    recorded = recorded_end(job)
    ends_at = estimate_after(job, observation, now=now).ends_at
    if recorded is None or ends_at is None:
        return recorded != ends_at
    left = max(recorded - now, timedelta(0))
    return abs(ends_at - recorded) > max(left * LEAST_END_MOVE_SHARE, LEAST_MOVE_OF_END)


def recorded_end(job: TrackedJob) -> datetime | None:
    """The estimated end in the job's item, which follows from the other recorded values."""
    if job.progress_at is None or job.counts.processed is None:
        return None
    point = Point(job.progress_at, job.counts.processed)
    return end_of(point, job.counts.total, job.records_per_minute)


def estimate_after(job: TrackedJob, observation: Observed, *, now: datetime) -> Estimate:
    """The estimate for a job whose counts have changed since they were last written.

    Unknown unless the job is `InProgress` and its count of processed records changed between two
    observations. After a stall the rate starts again.
    """
    before, processed = job.counts.processed, observation.counts.processed
    if (
        observation.status != statuses.IN_PROGRESS
        or job.status != statuses.IN_PROGRESS
        or STALLED.name in job.conditions
        or job.progress_at is None
        or before is None
        or processed is None
    ):
        return UNKNOWN
    point = Point(now, processed)
    began = plausible(job.first_in_progress_at, now)
    rate = rate_after(
        job.records_per_minute,
        Point(job.progress_at, before),
        point,
        running=WINDOW if began is None else now - began,
    )
    return Estimate(rate, end_of(point, observation.counts.total, rate))


def rate_after(
    rate: float | None, before: Point, point: Point, *, running: timedelta
) -> float | None:
    """The records per minute after one more point, to six digits; None for unknown.

    A mean of the rate so far and the rate between both points, weighted by their times. After a
    count that fell the rate is unknown. If the clock was set back, the rate stays as it was.
    """
    seconds = (point.at - before.at).total_seconds()
    records = point.processed - before.processed
    if records < 0:
        return None
    if seconds <= 0 or (rate is None and records == 0):
        return rate
    latest = records * _MINUTE / seconds
    if rate is None:
        mean = latest
    else:
        known_for = min(running, WINDOW).total_seconds()
        mean = rate + (latest - rate) * seconds / max(known_for, seconds)
    return None if mean < _SLOWEST_PER_MINUTE else float(f"{mean:.{_DIGITS}g}")


def end_of(point: Point, total: int | None, rate: float | None) -> datetime | None:
    """When the last record is processed at this rate, never before the point; None for unknown."""
    if rate is None or total is None or total < point.processed:
        return None
    minutes = (total - point.processed) / rate
    furthest = _FURTHEST.total_seconds() / _MINUTE
    return to_milliseconds(point.at + timedelta(minutes=min(minutes, furthest)))


def seconds_past(ends_at: datetime | None, expiration: datetime | None) -> int | None:
    """By how many whole seconds an end is past the expiration; None where it is not, or unknown."""
    if ends_at is None or expiration is None or ends_at <= expiration:
        return None
    return int((ends_at - expiration).total_seconds())
