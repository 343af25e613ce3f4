"""The figures of a report: outcomes by model and over time, spans, failures, usage."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation.job_view import Job, Segment, Transition

Number = TypeVar("Number", int, float)

NO_MESSAGE: Final = "No message"
UNKNOWN_MODEL: Final = "Unknown model"
# Endings that a person should look at; somebody asked for a stop.
FAILURES: Final = (statuses.FAILED, statuses.PARTIALLY_COMPLETED, statuses.EXPIRED)

_MOST_BUCKETS: Final = 30
_STEPS: Final = tuple(
    timedelta(minutes=minutes)
    for minutes in (1, 5, 15, 30, 60, 180, 360, 720, 1440, 2880, 10080, 43200)
)
# The upper ends of the bins in seconds, as people speak of such times.
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
# What makes two messages of one kind differ: places in S3, names in quotes, ids and numbers.
_PARTICULARS: Final = (
    (re.compile(r"s3://\S+"), "s3://…"),
    (re.compile(r"arn:aws\S+"), "arn:…"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", re.IGNORECASE), "…"),
    (re.compile(r"\b(?=\w*\d)[a-z0-9]{12}\b"), "…"),
    (re.compile(r"\d[\d,.]*"), "#"),
)


@dataclass(frozen=True, slots=True)
class Track:
    """A job in the span of a report: its item, and what was recorded of it since then."""

    job: Job
    transitions: tuple[Transition, ...] = ()
    segments: tuple[Segment, ...] = ()

    @property
    def began(self) -> datetime | None:
        """When it appears in the span."""
        return self.segments[0].start if self.segments else None


@dataclass(slots=True)
class Outcome:
    """How the jobs of one model stand."""

    model: str
    by_status: Counter[str] = field(default_factory=Counter)

    @property
    def jobs(self) -> int:
        """How many there are."""
        return self.by_status.total()

    @property
    def ended(self) -> int:
        """How many have ended."""
        return sum(self.by_status[status] for status in statuses.TERMINAL)


@dataclass(frozen=True, slots=True)
class Bucket:
    """The endings between two moments."""

    start: datetime
    end: datetime
    by_status: Counter[str]


@dataclass(frozen=True, slots=True)
class Spread:
    """How a span is distributed over the jobs; the bins go from the first to the last in use."""

    number: int
    median: float
    ninetieth: float
    longest: float
    bins: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class FailureGroup:
    """Jobs that ended alike, with messages of one kind; `example` is the newest of these."""

    status: str
    example: str
    newest: datetime | None
    jobs: list[int] = field(default_factory=list)
    models: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Usage:
    """What the jobs of one model used; None where no job reported it."""

    model: str
    jobs: int = 0
    records: int | None = None
    failed_records: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    dollars: float | None = None

    def add(self, job: Job) -> None:
        """Count one job."""
        self.jobs += 1
        self.records = _sum(self.records, job.processed)
        self.failed_records = _sum(self.failed_records, job.failed)
        self.input_tokens = _sum(self.input_tokens, job.input_tokens)
        self.output_tokens = _sum(self.output_tokens, job.output_tokens)
        self.dollars = _sum(self.dollars, job.dollars)


def outcomes(jobs: Iterable[Job]) -> list[Outcome]:
    """The outcomes by model, that with the most jobs first."""
    found: dict[str, Outcome] = {}
    for job in jobs:
        model = job.model or UNKNOWN_MODEL
        found.setdefault(model, Outcome(model)).by_status[job.status or ""] += 1
    return sorted(found.values(), key=lambda one: (-one.jobs, one.model))


def usage(jobs: Iterable[Job]) -> tuple[Usage, list[Usage]]:
    """What all jobs used, and by model, that with the most records first."""
    total, found = Usage("All models"), dict[str, Usage]()
    for job in jobs:
        model = job.model or UNKNOWN_MODEL
        for one in (total, found.setdefault(model, Usage(model))):
            one.add(job)
    return total, sorted(found.values(), key=lambda one: (-(one.records or 0), one.model))


def endings_over_time(
    tracks: Iterable[Track], since: datetime, until: datetime
) -> tuple[Bucket, ...]:
    """The endings in equal steps of time, whole ones by the clock, thirty at most."""
    step = step_of(until - since, _MOST_BUCKETS)
    counted: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for track in tracks:
        for transition in track.transitions:
            if transition.status in statuses.TERMINAL and since <= transition.at <= until:
                counted[_index(transition.at, step)][transition.status] += 1
    return tuple(
        Bucket(_start(index, step), _start(index + 1, step), counted[index])
        for index in range(_index(since, step), _index(until, step) + 1)
    )


def step_of(span: timedelta, most: int) -> timedelta:
    """The smallest step by the clock of which at most so many make up the span."""
    for step in _STEPS:
        if span <= step * (most - 1):
            return step
    return timedelta(days=math.ceil(span / timedelta(days=1) / (most - 1)))


def ticks(since: datetime, until: datetime, most: int) -> tuple[datetime, ...]:
    """Moments by the clock between two others."""
    step = step_of(until - since, most)
    first = _index(since, step) + 1
    return tuple(_start(index, step) for index in range(first, _index(until, step) + 1))


def spread(values: Iterable[float | None]) -> Spread | None:
    """The distribution of what is known; None if nothing is."""
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
    """The failures grouped by status and kind of message, the most frequent first.

    A group names its jobs by their place in `jobs`, the newest first.
    """
    found: dict[tuple[str, str], FailureGroup] = {}
    dated = [
        (job.ended.timestamp() if job.ended else 0.0, index)
        for index, job in enumerate(jobs)
        if job.status in FAILURES
    ]
    for _, index in sorted(dated, reverse=True):
        job = jobs[index]
        status, message = job.status or "", job.message or NO_MESSAGE
        group = found.setdefault(
            (status, kind_of(message)), FailureGroup(status, message, job.ended)
        )
        group.jobs.append(index)
        group.models[job.model or UNKNOWN_MODEL] += 1
    return sorted(found.values(), key=lambda group: -len(group.jobs))


def kind_of(message: str) -> str:
    """A message without what is particular to one job."""
    for pattern, replacement in _PARTICULARS:
        message = pattern.sub(replacement, message)
    return message


def _index(moment: datetime, step: timedelta) -> int:
    return math.floor(moment.timestamp() / step.total_seconds())


def _start(index: int, step: timedelta) -> datetime:
    return datetime.fromtimestamp(index * step.total_seconds(), UTC)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of the values does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _sum(known: Number | None, more: Number | None) -> Number | None:
    if more is None:
        return known
    return more if known is None else known + more
