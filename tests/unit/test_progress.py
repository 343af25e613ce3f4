from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import JobObservation, RecordCounts, TrackedJob
from bedrock_batch_monitor.domain.progress import (
    UNKNOWN,
    WINDOW,
    Estimate,
    Point,
    end_of,
    estimate_after,
    rate_after,
    recorded_end,
    seconds_past,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.transitions import Refresh, decide
from tests.support.strategies import ARN, all_rules, observations, times, tracked_jobs

START = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
# From counts within a second of each other to ones that are two days apart.
gaps = st.integers(min_value=1, max_value=2 * 86_400).map(
    lambda seconds: timedelta(seconds=seconds)
)
paces = st.floats(min_value=0.01, max_value=1e6)
# Clocks that step back and counts that fall or stay, as no service should but some may.
odd_points = st.lists(
    st.builds(
        lambda seconds, processed: Point(START + timedelta(seconds=seconds), processed),
        st.integers(-(10**7), 10**7),
        st.integers(0, 10**12),
    ),
    min_size=2,
    max_size=30,
)


def running(processed: int | None, at: datetime, **changes: object) -> TrackedJob:
    job = TrackedJob(
        ARN,
        sequence=2,
        status=statuses.IN_PROGRESS,
        first_in_progress_at=START,
        counts=RecordCounts(1000, processed),
        progress_at=at,
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def seen(processed: int | None, status: str = statuses.IN_PROGRESS) -> JobObservation:
    return JobObservation(ARN, status, counts=RecordCounts(1000, processed))


def paces_of(points: list[Point]) -> list[float | None]:
    """The rate after each point except the first."""
    found: list[float | None] = []
    pace = None
    for before, point in pairwise(points):
        pace = rate_after(pace, before, point, running=point.at - points[0].at)
        found.append(pace)
    return found


def steady(start: Point, gaps_: list[timedelta], per_minute: float) -> list[Point]:
    """Points of a job with a constant rate, one for each read."""
    points = [start]
    for gap in gaps_:
        processed = points[-1].processed + round(per_minute * (gap / MINUTE))
        points.append(Point(points[-1].at + gap, processed))
    return points


@given(odd_points, st.none() | st.integers(0, 10**12))
def test_rate_is_positive_or_unknown_for_any_counts(points: list[Point], total: int | None) -> None:
    """Never negative, NaN or infinite; no estimated end is before the count that it is based on."""
    for point, pace in zip(points[1:], paces_of(points), strict=True):
        assert pace is None or (pace > 0 and math.isfinite(pace))
        ends_at = end_of(point, total, pace)
        assert ends_at is None or ends_at >= point.at


@given(tracked_jobs, observations, times, all_rules)
def test_estimate_is_plausible_or_unknown_for_any_job(
    job: TrackedJob, observation: JobObservation, now: datetime, rules: Rules
) -> None:
    """Whatever was recorded and observed; a job that does not run has no estimate."""
    estimate = estimate_after(job, observation, now=now)
    assert estimate.records_per_minute is None or estimate.records_per_minute > 0
    assert estimate.ends_at is None or estimate.ends_at >= now
    assert estimate.ends_at is None or estimate.records_per_minute is not None
    if statuses.IN_PROGRESS not in {job.status} & {observation.status}:
        assert estimate == UNKNOWN
    decision = decide(job, observation, now=now, observed_by="poll", rules=rules)
    if isinstance(decision, Refresh):
        assert decision.estimate in ((estimate,) if decision.counts_moved else (None, UNKNOWN))


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_rate_is_unknown_without_two_different_counts(processed: int, seconds: int) -> None:
    """A count that was seen once, or that never changed, gives no rate."""
    point = Point(START, processed)
    later = Point(START + timedelta(seconds=seconds), processed)
    assert rate_after(None, point, later, running=HOUR) is None
    assert end_of(later, processed + 1, None) is None


@given(st.lists(gaps, min_size=1, max_size=30), paces)
def test_constant_rate_is_found_from_two_points(gaps_: list[timedelta], pace: float) -> None:
    """From the second point on, however irregularly the job is read."""
    # Counts are whole: long enough between two looks for rounding to be a hundredth at most.
    assume(all(pace * (gap / MINUTE) >= 100 for gap in gaps_))
    for found in paces_of(steady(Point(START, 0), gaps_, pace)):
        assert found == pytest.approx(pace, rel=0.01)


@given(paces, paces, st.integers(1, 60))
def test_rate_follows_a_change(old: float, new: float, minutes: int) -> None:
    """Six windows after a change the old rate has no weight that matters."""
    gap = minutes * MINUTE
    looks = math.ceil(6 * WINDOW / gap)
    before = steady(Point(START, 0), [gap] * 20, old * 1000)
    points = before + steady(before[-1], [gap] * looks, new * 1000)[1:]
    assert paces_of(points)[-1] == pytest.approx(new * 1000, rel=0.01, abs=0.01 * abs(old) * 1000)


@given(st.lists(st.tuples(gaps, st.integers(1, 10**6)), min_size=1, max_size=30))
def test_rate_is_between_the_slowest_and_the_fastest(moves: list[tuple[timedelta, int]]) -> None:
    """It is a mean of the observed rates."""
    points = [Point(START, 0)]
    for gap, records in moves:
        points.append(Point(points[-1].at + gap, points[-1].processed + records))
    each = [records / (gap / MINUTE) for gap, records in moves]
    for found in paces_of(points):
        assert found is None or min(each) * 0.99 <= found <= max(each) * 1.01


def test_rate_within_the_window_is_the_mean_since_the_start() -> None:
    """100 in five minutes, then 20 in ten: 120 in fifteen."""
    points = [
        Point(START + at * MINUTE, processed) for at, processed in ((0, 0), (5, 100), (15, 120))
    ]
    assert paces_of(points) == [20, 8]


def test_rate_after_the_window_is_a_mean_over_the_last_hour() -> None:
    """Twice as fast for half an hour counts half, however long the job has run."""
    before, point = Point(START, 0), Point(START + 30 * MINUTE, 600)
    for running_for in (HOUR, 5 * HOUR):
        assert rate_after(10, before, point, running=running_for) == 15
    # No record in this time.
    assert rate_after(10, before, Point(START + 30 * MINUTE, 0), running=5 * HOUR) == 5
    # A job that has run for forty minutes, and one that was not read for two hours.
    assert rate_after(10, before, point, running=40 * MINUTE) == 17.5
    assert rate_after(10, before, Point(START + 2 * HOUR, 2400), running=5 * HOUR) == 20


def test_rate_has_six_digits() -> None:
    """More would be no information, and the item would be longer."""
    before, point = Point(START, 0), Point(START + 3 * MINUTE, 1_000_000)
    assert rate_after(None, before, point, running=HOUR) == 333_333
    assert rate_after(None, before, Point(point.at, 10), running=HOUR) == 3.33333


def test_one_record_a_day_is_the_slowest_rate() -> None:
    """One in a second more is none."""
    day = 24 * HOUR
    before = Point(START, 1)
    assert rate_after(None, before, Point(START + day, 2), running=HOUR) == 0.000694444
    slower = Point(START + day + timedelta(seconds=1), 2)
    assert rate_after(None, before, slower, running=HOUR) is None


def test_estimate_uses_the_time_since_the_job_began_to_run() -> None:
    """Without a plausible one, the last hour."""
    later = START + 30 * MINUTE
    job = running(0, START, records_per_minute=10.0)
    found = [
        estimate_after(replace(job, first_in_progress_at=began), seen(600), now=later)
        for began in (START, START - 30 * MINUTE, None, later + timedelta(days=1))
    ]
    rates = [each.records_per_minute for each in found]
    assert rates == [20, 15, 15, 15]
    assert found[0].ends_at == later + 20 * MINUTE


def test_estimate_requires_that_the_job_was_running_before() -> None:
    """Its first counts in a status are only a starting point."""
    later = START + 5 * MINUTE
    assert estimate_after(running(0, START, status="Scheduled"), seen(100), now=later) == UNKNOWN
    assert estimate_after(replace(running(0, START), progress_at=None), seen(9), now=later) == (
        UNKNOWN
    )


def test_recorded_end_follows_from_the_values_in_the_item() -> None:
    """Unknown without the count, its time, the total or the rate."""
    job = running(400, START, records_per_minute=10.0)
    assert recorded_end(job) == START + HOUR
    for changes in (
        {"progress_at": None},
        {"counts": RecordCounts(1000, None)},
        {"counts": RecordCounts(None, 400)},
        {"records_per_minute": None},
    ):
        assert recorded_end(replace(job, **changes)) is None


def test_count_that_fell_makes_the_rate_unknown_until_it_rises() -> None:
    """Earlier counts cannot be trusted then, and one point gives no rate."""
    points = [Point(START + n * MINUTE, count) for n, count in enumerate((0, 100, 40, 50))]
    assert paces_of(points) == [100, None, 10]


def test_clock_that_was_set_back_keeps_the_rate() -> None:
    before, after = Point(START, 100), Point(START - HOUR, 300)
    assert rate_after(60, before, after, running=HOUR) == 60
    assert rate_after(60, before, Point(START, 300), running=HOUR) == 60
    assert rate_after(None, before, after, running=HOUR) is None


def test_less_than_one_record_a_day_has_no_rate() -> None:
    assert rate_after(None, Point(START, 1), Point(START + 48 * HOUR, 2), running=HOUR) is None


@pytest.mark.parametrize(
    ("total", "pace", "expected"),
    [
        (1000, 60.0, START + 15 * MINUTE),
        (100, 60.0, START),
        (99, 60.0, None),
        (None, 60.0, None),
        (1000, None, None),
        (10**18, 0.01, START + timedelta(days=365)),
    ],
)
def test_estimated_end_follows_from_the_remaining_records(
    total: int | None, pace: float | None, expected: datetime | None
) -> None:
    """At the current rate, at most a year ahead; unknown if the total is unknown or too small."""
    assert end_of(Point(START, 100), total, pace) == expected


def test_estimate_requires_a_running_job_with_progress() -> None:
    """Two counts of a running job; the first count after a stall is only a starting point."""
    later = START + 5 * MINUTE
    job = running(0, START)
    assert estimate_after(job, seen(100), now=later) == Estimate(20, later + 45 * MINUTE)
    assert estimate_after(job, seen(100, statuses.STOPPING), now=later) == UNKNOWN
    assert estimate_after(running(None, START), seen(100), now=later) == UNKNOWN
    assert estimate_after(job, seen(None), now=later) == UNKNOWN
    stalled = running(0, START, conditions={"Stalled": START}, records_per_minute=7.0)
    assert estimate_after(stalled, seen(100), now=later) == UNKNOWN


def test_late_end_is_measured_in_whole_seconds_past_the_expiration() -> None:
    """The value is absent if the end is in time or unknown."""
    assert seconds_past(START + MINUTE, START) == 60
    assert seconds_past(START + timedelta(seconds=1.9), START) == 1
    assert seconds_past(START, START) is None
    assert seconds_past(None, START) is None
    assert seconds_past(START, None) is None
