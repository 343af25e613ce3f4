"""The figures of a report: statuses by model and over time, durations, and failures."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from bbm.report.segments import Segment, Transition
from bedrock_batch_monitor.presentation.job_view import Job
from bedrock_batch_monitor.presentation.tally import Tally, tally

NO_MESSAGE: Final = "No message"
UNKNOWN_MODEL: Final = "Unknown model"

_MOST_BUCKETS: Final = 30
_STEPS: Final = tuple(
    timedelta(minutes=minutes)
    for minutes in (1, 5, 15, 30, 60, 180, 360, 720, 1440, 2880, 10080, 43200)
)
# The room at each end of a time axis, as a share of the time between its first and its last entry.
_ROOM: Final = 0.03
_LEAST_ROOM: Final = timedelta(seconds=30)
_LEAST_SPAN_OF_BUCKETS: Final = timedelta(minutes=10)
# The upper limits of the bins, in seconds, and their labels.
_BINS: Final = (
    (60, "under 1 min"),
    (300, "1 to 5 min"),
    (900, "5 to 15 min"),
    (1800, "15 to 30 min"),
    (3600, "30 to 60 min"),
    (7200, "1 to 2 h"),
    (14400, "2 to 4 h"),
    (28800, "4 to 8 h"),
    (57600, "8 to 16 h"),
    (86400, "16 to 24 h"),
    (172800, "1 to 2 d"),
    (math.inf, "over 2 d"),
)
# The parts in which two messages of the same failure can differ: S3 URIs, ARNs, ids and numbers.
_VARIABLE_PARTS: Final = (
    (re.compile(r"s3://\S+"), "s3://…"),
    (re.compile(r"arn:aws\S+"), "arn:…"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", re.IGNORECASE), "…"),
    (re.compile(r"\b(?=\w*\d)[a-z0-9]{12}\b"), "…"),
    (re.compile(r"\d[\d,.]*"), "#"),
)


@dataclass(frozen=True, slots=True)
class Track:
    """A job in the period of a report, with its transitions and segments in that period."""

    job: Job
    transitions: tuple[Transition, ...] = ()
    segments: tuple[Segment, ...] = ()

    @property
    def began(self) -> datetime | None:
        """The start of its first segment; None without one."""
        return self.segments[0].start if self.segments else None


@dataclass(frozen=True, slots=True)
class Bucket:
    """The jobs that ended between two times, by status."""

    start: datetime
    end: datetime
    by_status: Counter[str]


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of a duration in seconds. Empty bins at both ends are left out."""

    number: int
    median: float
    ninetieth: float
    longest: float
    bins: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class FailureGroup:
    """Jobs with the same status and a similar message; `example` is the newest message."""

    status: str
    example: str
    newest: datetime | None
    jobs: list[int] = field(default_factory=list)
    models: Counter[str] = field(default_factory=Counter)


def by_model(jobs: Iterable[Job]) -> list[tuple[str, Tally]]:
    """The numbers of jobs by model, the model with the most jobs first."""
    found: defaultdict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        found[job.model or UNKNOWN_MODEL].append(job)
    counted = [(model, tally(those)) for model, those in found.items()]
    return sorted(counted, key=lambda pair: (-pair[1].jobs, pair[0]))


def ended_over_time(jobs: Iterable[Job], since: datetime, until: datetime) -> tuple[Bucket, ...]:
    """The jobs that ended, in at most 33 equal time steps that begin at full units of time.

    The steps cover the time in which jobs ended, within the period of the report. In the first and
    the last no job ended.
    """
    ends = [
        (min(max(job.ended or until, since), until), job.status or "")
        for job in jobs
        if job.has_ended
    ]
    if not ends:
        return ()
    first, last = min(at for at, _ in ends), max(at for at, _ in ends)
    room = max(timedelta(), _LEAST_SPAN_OF_BUCKETS - (last - first)) / 2
    first, last = first - room, last + room
    step = step_of(last - first, _MOST_BUCKETS)
    counted: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for at, status in ends:
        counted[_index(at, step)][status] += 1
    return tuple(
        Bucket(_start(index, step), _start(index + 1, step), counted[index])
        for index in range(_index(first, step) - 1, _index(last, step) + 2)
    )


def zoomed(times: Iterable[datetime]) -> tuple[datetime, datetime]:
    """A time span that has these times, with room at both ends, so that none is at an edge."""
    known = sorted(times)
    first, last = known[0], known[-1]
    room = max((last - first) * _ROOM, _LEAST_ROOM)
    return first - room, last + room


def step_of(span: timedelta, most: int) -> timedelta:
    """The smallest step of `_STEPS` that divides a time span into at most so many steps."""
    for step in _STEPS:
        if span <= step * (most - 1):
            return step
    return timedelta(days=math.ceil(span / timedelta(days=1) / (most - 1)))


def ticks(since: datetime, until: datetime, most: int) -> tuple[datetime, ...]:
    """The times between two others at which a new step begins."""
    step = step_of(until - since, most)
    first = _index(since, step) + 1
    return tuple(_start(index, step) for index in range(first, _index(until, step) + 1))


def spread(values: Iterable[float | None]) -> Spread | None:
    """The distribution of the known values; None if no value is known."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    counted: Counter[int] = Counter(
        next(index for index, (end, _) in enumerate(_BINS) if value < end) for value in known
    )
    return Spread(
        number=len(known),
        median=_quantile(known, 0.5),
        ninetieth=_quantile(known, 0.9),
        longest=known[-1],
        bins=tuple(
            (_BINS[index][1], counted[index]) for index in range(min(counted), max(counted) + 1)
        ),
    )


def failures(jobs: Sequence[Job]) -> list[FailureGroup]:
    """The failed jobs grouped by status and similar message, the largest group first.

    A group holds the indexes of its jobs in `jobs`, the newest job first.
    """
    found: dict[tuple[str, str], FailureGroup] = {}
    dated = [
        (job.ended.timestamp() if job.ended else 0.0, index)
        for index, job in enumerate(jobs)
        if job.has_failed
    ]
    for _, index in sorted(dated, reverse=True):
        job = jobs[index]
        status, message = job.status or "", job.message or NO_MESSAGE
        group = found.setdefault(
            (status, pattern_of(message)), FailureGroup(status, message, job.ended)
        )
        group.jobs.append(index)
        group.models[job.model or UNKNOWN_MODEL] += 1
    return sorted(found.values(), key=lambda group: -len(group.jobs))


def pattern_of(message: str) -> str:
    """A message with placeholders for the parts that differ from job to job."""
    for pattern, replacement in _VARIABLE_PARTS:
        message = pattern.sub(replacement, message)
    return message


def _index(moment: datetime, step: timedelta) -> int:
    return math.floor(moment.timestamp() / step.total_seconds())


def _start(index: int, step: timedelta) -> datetime:
    return datetime.fromtimestamp(index * step.total_seconds(), UTC)


def _quantile(ordered: Sequence[float], fraction: float) -> float:
    """The smallest value that is not less than this fraction of the values."""
    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]
