"""The forecast: the samples that it needs, and its accuracy in a replay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import forecast
from bedrock_batch_monitor.domain.forecast import (
    FEWEST_JOBS,
    Forecaster,
    QueueRisk,
    Sample,
    sample_of,
)
from local.benchmark.forecast import HISTORIES, replay

NOW = datetime(2026, 11, 24, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def forecaster_of(*samples: Sample) -> Forecaster:
    """A forecaster that has learned from these jobs."""
    forecaster = Forecaster()
    for sample in samples:
        forecaster.add(sample)
    return forecaster


def jobs(number: int, queue: float = 600.0, run: float = 3600.0) -> list[Sample]:
    """Jobs of 100 records, one a day until yesterday."""
    return [Sample(NOW - (number - place) * DAY, queue, run, 100) for place in range(number)]


def test_forecast_is_unknown_with_fewer_than_five_jobs() -> None:
    """Unknown rather than a guess; jobs that end later do not count."""
    assert forecaster_of(*jobs(FEWEST_JOBS - 1)).forecast(100, NOW) is None
    assert forecaster_of(*jobs(FEWEST_JOBS)).forecast(100, NOW) is not None
    assert forecaster_of(*jobs(FEWEST_JOBS)).forecast(100, NOW - 2 * DAY) is None


def test_run_time_is_proportional_to_the_records() -> None:
    """The queue time does not depend on them."""
    expected = forecaster_of(*jobs(20)).forecast(300, NOW, by=NOW + timedelta(hours=2))
    assert expected is not None
    assert (expected.queue.p50, expected.run.p50, expected.total.p50) == (600, 10800, 11400)
    assert expected.chance == 0


HOUR = timedelta(hours=1)


def test_waiting_job_is_compared_with_jobs_that_waited_as_long() -> None:
    """Those that began after ten minutes were in time, those that began after two hours were not.

    So the job comes at risk once it has waited for ten minutes.
    """
    mixed = [*jobs(20, queue=600), *jobs(10, queue=7200)]
    forecaster = forecaster_of(*sorted(mixed, key=lambda each: each.ended))
    risk = forecaster.queue_risk(100, NOW, NOW + 2 * HOUR)
    assert risk == QueueRisk(NOW + timedelta(minutes=10), risk.holds, NOW + 3 * HOUR)
    assert risk.holds is not None
    assert risk.begins is not None
    assert risk.holds <= risk.begins
    assert forecaster.queue_risk(100, NOW, NOW + 4 * HOUR) == QueueRisk()


def test_queue_risk_is_unknown_if_too_few_jobs_waited_as_long() -> None:
    """Four jobs that waited for two hours say nothing, nor do four jobs at all."""
    mixed = sorted([*jobs(20, queue=600), *jobs(4, queue=7200)], key=lambda each: each.ended)
    assert forecaster_of(*mixed).queue_risk(100, NOW, NOW + 2 * HOUR) == QueueRisk()
    assert forecaster_of(*jobs(4)).queue_risk(100, NOW, NOW) == QueueRisk()


def test_queue_risk_without_a_record_count_uses_the_median() -> None:
    """Before its validation, a job has no known number of records."""
    forecaster = forecaster_of(*jobs(20))
    deadline = NOW + HOUR
    assert forecaster.queue_risk(None, NOW, deadline) == forecaster.queue_risk(100, NOW, deadline)
    assert forecaster.queue_risk(None, NOW, deadline).begins == NOW
    assert forecaster.queue_risk(10, NOW, deadline) == QueueRisk()


SAMPLES = st.builds(
    Sample,
    st.integers(0, 60 * 24).map(lambda hours: NOW - DAY - timedelta(hours=hours)),
    st.integers(0, 20).map(lambda minutes: minutes * 60.0),
    st.integers(1, 20).map(lambda minutes: minutes * 60.0),
    st.just(100),
)


@given(st.lists(SAMPLES, min_size=5, max_size=40), st.integers(1, 60))
def test_queue_risk_begins_when_few_that_waited_longer_were_in_time(
    samples: list[Sample], minutes: int
) -> None:
    """As if the chance were calculated again at each moment."""
    deadline = NOW + timedelta(minutes=minutes)
    risk = forecaster_of(*sorted(samples, key=lambda each: each.ended)).queue_risk(
        100, NOW, deadline
    )
    newest_last = sorted(samples, key=lambda each: each.ended)
    weights = [weight for _, weight in forecast._weighted(newest_last, NOW)]

    def chance(waited: float) -> float | None:
        rest = [
            (sample, weight)
            for sample, weight in zip(newest_last, weights, strict=True)
            if sample.queue_seconds > waited
        ]
        if len(rest) < FEWEST_JOBS:
            return None
        in_time = sum(w for s, w in rest if s.queue_seconds + s.run_seconds <= minutes * 60)
        return in_time / sum(weight for _, weight in rest)

    def first_below(limit: float) -> datetime | None:
        for waited in sorted({-1.0, *(sample.queue_seconds for sample in samples)}):
            known = chance(waited)
            if known is not None and known < limit:
                return NOW + timedelta(seconds=max(waited, 0))
        return None

    assert risk.begins == first_below(0.05)
    assert risk.holds == first_below(0.15)


def test_odd_times_of_a_job_are_no_basis() -> None:
    """A job cannot take longer than 30 days, and a forecast not longer than a year."""
    assert sample_of(NOW - DAY, NOW, NOW + HOUR, 100) == Sample(NOW - DAY, 86400, 3600, 100)
    assert sample_of(datetime(1, 1, 1, tzinfo=UTC), NOW, NOW + HOUR, 100) is None
    year_1 = datetime(1, 1, 1, tzinfo=UTC)
    assert sample_of(year_1, year_1, year_1 + HOUR, 100) is None
    assert sample_of(NOW, NOW - HOUR, NOW, 100) is None
    assert sample_of(NOW, NOW, NOW, 0) is None
    forecaster = forecaster_of(*jobs(10, run=86400))
    expected = forecaster.forecast(10**9, NOW)
    assert expected is not None
    assert expected.run.p50 == timedelta(days=365).total_seconds()
    assert forecaster.queue_risk(10**9, NOW, NOW + HOUR).begins == NOW


def test_recent_jobs_have_more_weight() -> None:
    """After a change, the median follows within a few dozen jobs."""
    slow = [Sample(NOW - DAY + timedelta(minutes=place), 6000, 3600, 100) for place in range(30)]
    expected = forecaster_of(*jobs(100), *slow).forecast(100, NOW)
    assert expected is not None
    assert expected.queue.p50 == 6000


@pytest.mark.parametrize("name", HISTORIES)
def test_nine_of_ten_jobs_end_within_p90(name: str) -> None:
    """It is 85 to 95 % of the jobs, for every kind of history."""
    score = replay(HISTORIES[name], jobs=400, seeds=(11,))
    assert 0.85 <= score.within_p90 / score.forecasts <= 0.95
    assert 0.4 <= score.within_p50 / score.forecasts <= 0.6
    # Most missed deadlines are announced, and most warnings come true.
    for uses_forecast in (False, True):
        assert score.announced[uses_forecast] >= 0.9 * score.missed
        assert score.false_alarms[uses_forecast] <= 0.1 * score.forecasts
