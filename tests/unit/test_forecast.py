"""The forecast: the samples that it needs, and its accuracy in a replay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bedrock_batch_monitor.domain.forecast import FEWEST_JOBS, Forecaster, Sample
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


def test_waiting_job_is_compared_with_jobs_that_waited_as_long() -> None:
    """Jobs that had begun by then are not used."""
    mixed = [*jobs(20, queue=600), *jobs(10, queue=7200)]
    forecaster = forecaster_of(*sorted(mixed, key=lambda each: each.ended))
    expected = forecaster.forecast(100, NOW, waited=timedelta(hours=1))
    assert expected is not None
    assert (expected.jobs, expected.queue.p50) == (10, 7200)


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
