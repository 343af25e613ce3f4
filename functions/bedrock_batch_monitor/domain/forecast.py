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
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from bedrock_batch_monitor.domain.times import EARLIEST, seconds_between

# Fewer jobs are no basis for a forecast.
FEWEST_JOBS: Final = 5
# Older jobs of a model are forgotten.
MOST_JOBS: Final = 200
# After so many newer jobs, a job counts half. By the number of newer jobs: what it counts.
_HALF_LIFE: Final = 25
_RECENCY: Final = tuple(0.5 ** (newer / _HALF_LIFE) for newer in range(MOST_JOBS))
_SAME_HOUR: Final = 1.5
_HOUR: Final = 3600
_WEEK: Final = 7 * 24
# In seconds. A job expires at most 168 hours after its submission, so no job takes 30 days, and a
# forecast of more than a year has no more information.
_LONGEST: Final = 30 * 24 * _HOUR
_FURTHEST: Final = 365 * 24 * _HOUR
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
# A job that waits becomes at risk if its chance to be in time is below the first, and is no longer
# at risk if it is at least the second.
_LIKELY_LATE: Final = 0.05
_PERHAPS_IN_TIME: Final = 0.15


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
        return min(self.run_seconds / self.records * records, _FURTHEST)


def sample_of(
    submitted: datetime | None,
    began: datetime | None,
    ended: datetime | None,
    records: int | None,
) -> Sample | None:
    """What a completed job says about others; None if its times or records are unknown or odd.

    `began` is when the job was first observed as `InProgress`.
    """
    queue, run = seconds_between(submitted, began), seconds_between(began, ended)
    if submitted is None or queue is None or run is None or not records:
        return None
    if submitted < EARLIEST or queue + run > _LONGEST:
        return None
    return Sample(submitted, queue, run, records)


@dataclass(frozen=True, slots=True)
class QueueRisk:
    """From when on a job that still waits will probably miss its deadline.

    From `begins` on the job comes at risk, and from `holds` on it stays at risk; None for never, or
    if too few jobs waited as long. `ends_at` is when half of the jobs that wait until `begins` have
    ended.
    """

    begins: datetime | None = None
    holds: datetime | None = None
    ends_at: datetime | None = None


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

    _samples: list[tuple[datetime, Sample]] = field(default_factory=list)
    level: float = _TARGET

    def add(self, sample: Sample) -> None:
        """Learn from a job that ended, and compare it with what was said of it."""
        self._correct(sample)
        self.keep(sample)

    def keep(self, sample: Sample) -> None:
        """Learn from a job that ended, for `queue_risk` alone, which needs no correction."""
        insort(self._samples, (sample.ended, sample), key=lambda each: each[0])
        del self._samples[:-MOST_JOBS]

    def _correct(self, sample: Sample) -> None:
        """Raise or lower the quantile that is the ninetieth percentile."""
        before = _weighted(self._ended_by(sample.submitted), sample.submitted)
        if len(before) >= FEWEST_JOBS:
            totals = _totals(before, sample.records)
            covered = sample.queue_seconds + sample.run_seconds <= _quantile(totals, self.level)
            step = _STEP * (_TARGET - covered)
            self.level = min(max(self.level + step, _LOWEST), _HIGHEST)

    def forecast(
        self, records: int, submitted: datetime, *, by: datetime | None = None
    ) -> Forecast | None:
        """What to expect of a job with so many records; None if too few jobs are known."""
        known = _weighted(self._ended_by(submitted), submitted)
        if len(known) < FEWEST_JOBS:
            return None
        totals = _totals(known, records)
        queues = sorted((sample.queue_seconds, weight) for sample, weight in known)
        runs = sorted((sample.run_of(records), weight) for sample, weight in known)
        chance = None
        if by is not None:
            left = (by - submitted).total_seconds()
            # Of the same weights in the same order, so that no part of the sum exceeds the whole.
            whole = sum(weight for _, weight in totals)
            chance = sum(weight for seconds, weight in totals if seconds <= left) / whole
        return Forecast(
            len(known), self._range(queues), self._range(runs), self._range(totals), chance
        )

    def queue_risk(self, records: int | None, submitted: datetime, deadline: datetime) -> QueueRisk:
        """From when on a job will probably miss its deadline, if it still waits then.

        It is compared with the jobs that waited longer than it has. If the number of its records is
        not known yet, it has as many as the median of the known jobs.
        """
        # Also jobs that ended while this one waits.
        samples = [sample for _, sample in self._samples]
        if len(samples) < FEWEST_JOBS:
            return QueueRisk()
        count = records or sorted(sample.records for sample in samples)[len(samples) // 2]
        known = _weighted(samples, submitted)
        waits = sorted(
            (sample.queue_seconds, sample.queue_seconds + sample.run_of(count), weight)
            for sample, weight in known
        )
        left = (deadline - submitted).total_seconds()
        whole = sum(weight for _, _, weight in waits)
        in_time = sum(weight for _, total, weight in waits if total <= left)
        holds, waited = None, 0.0
        # The jobs before `place` had begun when this one has waited for so long.
        for place, (queue, total, weight) in enumerate(waits[: 1 - FEWEST_JOBS]):
            if place == 0 or queue > waited:
                at = submitted + timedelta(seconds=waited)
                if holds is None and in_time < _PERHAPS_IN_TIME * whole:
                    holds = at
                if in_time < _LIKELY_LATE * whole:
                    rest = sorted((total, weight) for _, total, weight in waits[place:])
                    ends_at = submitted + timedelta(seconds=_quantile(rest, 0.5))
                    return QueueRisk(at, holds, ends_at)
            waited = queue
            whole -= weight
            in_time -= weight if total <= left else 0
        return QueueRisk(holds=holds)

    def _range(self, times: Sequence[tuple[float, float]]) -> Range:
        return Range(_quantile(times, 0.5), _quantile(times, self.level))

    def _ended_by(self, moment: datetime) -> list[Sample]:
        """The jobs that had ended by then, the oldest first."""
        return [sample for ended, sample in self._samples if ended <= moment]


def _weighted(samples: Sequence[Sample], submitted: datetime) -> list[tuple[Sample, float]]:
    """The jobs, the oldest first, with what each counts for one that was submitted then."""
    newest = len(samples) - 1
    return [
        (sample, _RECENCY[newest - place] * _likeness(sample.submitted, submitted))
        for place, sample in enumerate(samples)
    ]


def _totals(known: Sequence[tuple[Sample, float]], records: int) -> list[tuple[float, float]]:
    """The whole time that each job says the new one takes, with its weight, in order."""
    return sorted(
        (sample.queue_seconds + sample.run_of(records), weight) for sample, weight in known
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
