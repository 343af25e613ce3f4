"""How long a job will wait and run, from the jobs of the same model that ended before.

Each earlier job says what the new one would take: its own time in the queue, and its own time per
record for the number of records. Quantiles are those of these times, so they keep whatever relation
queue and rate had. Recent jobs, and jobs that were submitted at the same hour of the week, count
more. With fewer than five jobs, nothing is said.

The ninetieth percentile corrects itself: after each job that took longer than it said, it is taken
from a higher quantile, and after the others from a slightly lower one (adaptive conformal
inference, Gibbs and Candes 2021). So it holds in nine of ten cases also after a change that the
weights have not followed yet.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

# Fewer jobs are no basis for a forecast.
FEWEST_JOBS: Final = 5
# Older jobs of a model are forgotten.
MOST_JOBS: Final = 200
# After so many newer jobs, a job counts half.
_HALF_LIFE: Final = 25
_SAME_HOUR: Final = 1.5
_HOUR: Final = 3600
_WEEK: Final = 7 * 24
_DAY: Final = 24
# The weights of a job that was submitted at another hour of the week, and of the day.
_OTHER_DAY: Final = 0.5
_OTHER_HOUR: Final = 0.2
_TARGET: Final = 0.9
_STEP: Final = 0.02
_LOWEST: Final = 0.6
_HIGHEST: Final = 0.999
# By so much the longest time is extended where a quantile above all known times is asked for.
_BEYOND: Final = 1.5


@dataclass(frozen=True, slots=True)
class Sample:
    """A job that ran to its end; times are in seconds, `records` is above 0."""

    submitted: datetime
    queue_seconds: float
    run_seconds: float
    records: int

    @property
    def ended(self) -> datetime:
        """When it ended."""
        return self.submitted + timedelta(seconds=self.queue_seconds + self.run_seconds)

    def run_of(self, records: int) -> float:
        """How long so many records would have run."""
        return self.run_seconds / self.records * records


@dataclass(frozen=True, slots=True)
class Range:
    """A time in seconds that half of the jobs take at most, and one that nine of ten do."""

    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect of a job, resting on so many `jobs`.

    `chance` is the probability from 0 to 1 to end in time, if a time was given.
    """

    jobs: int
    queue: Range
    run: Range
    total: Range
    chance: float | None = None


@dataclass(slots=True)
class Forecaster:
    """The forecasts for one model; jobs are added in the order in which they ended."""

    _samples: list[tuple[datetime, int, Sample]] = field(default_factory=list)
    _added: int = 0
    level: float = _TARGET

    def add(self, sample: Sample) -> None:
        """Learn from a job that ended, and compare it with what was said of it."""
        before = self._known(sample.submitted)
        if len(before) >= FEWEST_JOBS:
            totals = _totals(before, sample.records, sample.submitted)
            covered = sample.queue_seconds + sample.run_seconds <= _quantile(totals, self.level)
            step = _STEP * (_TARGET - covered)
            self.level = min(max(self.level + step, _LOWEST), _HIGHEST)
        self._added += 1
        insort(self._samples, (sample.ended, self._added, sample), key=lambda each: each[:2])
        del self._samples[:-MOST_JOBS]

    def forecast(
        self,
        records: int,
        submitted: datetime,
        *,
        by: datetime | None = None,
        waited: timedelta = timedelta(0),
    ) -> Forecast | None:
        """What to expect of a job with so many records; None if too few jobs are known.

        `waited` is how long it has been in the queue: only jobs that waited longer count then.
        """
        known = self._known(submitted + waited)
        longer = [each for each in known if each.queue_seconds > waited.total_seconds()]
        if len(longer) < FEWEST_JOBS:
            return None
        totals = _totals(longer, records, submitted)
        weights = [weight for _, weight in _weighted(longer, submitted)]
        queues = sorted(zip((each.queue_seconds for each in longer), weights, strict=True))
        runs = sorted(zip((each.run_of(records) for each in longer), weights, strict=True))
        chance = None
        if by is not None:
            left = (by - submitted).total_seconds()
            whole = sum(weights)
            chance = sum(weight for seconds, weight in totals if seconds <= left) / whole
        return Forecast(
            len(longer), self._range(queues), self._range(runs), self._range(totals), chance
        )

    def _range(self, times: Sequence[tuple[float, float]]) -> Range:
        half = _quantile(times, 0.5)
        return Range(half, max(_quantile(times, self.level), half))

    def _known(self, moment: datetime) -> list[Sample]:
        """The jobs that had ended by then, the oldest first."""
        return [sample for ended, _, sample in self._samples if ended <= moment]


def _weighted(samples: Sequence[Sample], submitted: datetime) -> Iterable[tuple[Sample, float]]:
    newest = len(samples) - 1
    return (
        (sample, 0.5 ** ((newest - place) / _HALF_LIFE) * _likeness(sample.submitted, submitted))
        for place, sample in enumerate(samples)
    )


def _totals(
    samples: Sequence[Sample], records: int, submitted: datetime
) -> list[tuple[float, float]]:
    """The whole time that each job says the new one takes, with its weight, in order."""
    return sorted(
        (sample.queue_seconds + sample.run_of(records), weight)
        for sample, weight in _weighted(samples, submitted)
    )


def _likeness(one: datetime, other: datetime) -> float:
    """How alike two hours of the week are, from 0 to 1."""
    hours = abs((one - other).total_seconds()) / _HOUR
    if _distance(hours, _WEEK) <= _SAME_HOUR:
        return 1.0
    return _OTHER_DAY if _distance(hours, _DAY) <= _SAME_HOUR else _OTHER_HOUR


def _distance(hours: float, period: int) -> float:
    rest = hours % period
    return min(rest, period - rest)


def _quantile(ordered: Sequence[tuple[float, float]], level: float) -> float:
    """A quantile of values with weights, in order; above the last one, it is extended."""
    whole = sum(weight for _, weight in ordered)
    # One more job, the one that is asked about, counts as the longest of all.
    target = level * (whole + max(weight for _, weight in ordered))
    reached = 0.0
    for value, weight in ordered:
        reached += weight
        if reached >= target:
            return value
    return ordered[-1][0] * _BEYOND
