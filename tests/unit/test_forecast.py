"""The forecast: the samples that it needs, and its accuracy in a replay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import forecast
from bedrock_batch_monitor.domain.forecast import (
    FEWEST_JOBS,
    Forecaster,
    QueueRisk,
    Range,
    Sample,
    sample_of,
)
from local.benchmark.forecast import HISTORIES, replay

NOW = datetime(2026, 11, 24, 20, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


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


WEEK = 7 * DAY
SHORT, LONG = 60.0, 12 * 3600.0


def chance_if_only_one_was_in_time(
    place: int, *, of: int = 26, apart: timedelta = timedelta(0)
) -> float:
    """The chance of a job if one of so many earlier ones was in time, and all others were not.

    They were submitted once a week at the hour of the new job, and that one so much later.
    """
    samples = [Sample(NOW - (of - each) * WEEK, 0, LONG, 100) for each in range(of)]
    samples[place] = Sample(samples[place].submitted + apart, 0, SHORT, 100)
    expected = forecaster_of(*samples).forecast(100, NOW, by=NOW + HOUR)
    assert expected is not None
    assert expected.chance is not None
    return expected.chance


def test_chance_is_the_share_of_jobs_that_would_be_in_time() -> None:
    """A job that would end at that very moment is in time."""
    samples = [
        Sample(NOW - 6 * DAY + place * HOUR, 600, 3000 if place % 2 else 3001, 100)
        for place in range(60)
    ]
    forecaster = forecaster_of(*samples)
    chances = [
        expected.chance
        for seconds in (3599, 3600, 3601)
        if (expected := forecaster.forecast(100, NOW, by=NOW + timedelta(seconds=seconds)))
    ]
    assert chances == [0, pytest.approx(0.5, abs=0.05), 1]
    expected = forecaster.forecast(100, NOW)
    assert expected is not None
    assert expected.chance is None


def test_job_counts_half_after_25_newer_ones() -> None:
    """All were submitted at the same hour of the week."""
    newest, oldest = chance_if_only_one_was_in_time(25), chance_if_only_one_was_in_time(0)
    assert oldest / newest == pytest.approx(0.5)
    assert 0 < newest < 0.1


@pytest.mark.parametrize(
    ("apart", "share"),
    [
        (timedelta(0), 1),
        (90 * MINUTE, 1),
        (-90 * MINUTE, 1),
        (91 * MINUTE, 0.2),
        (-91 * MINUTE, 0.2),
        (12 * HOUR, 0.2),
        (DAY, 0.5),
        (3 * DAY + 90 * MINUTE, 0.5),
        (3 * DAY - 90 * MINUTE, 0.5),
        (3 * DAY + 91 * MINUTE, 0.2),
    ],
)
def test_job_of_the_same_hour_of_the_week_counts_most(apart: timedelta, share: float) -> None:
    """One of the same hour of another day counts half of it, and any other one a fifth."""
    same, other = (chance_if_only_one_was_in_time(9, apart=each) for each in (timedelta(0), apart))
    # Its own weight is also in the sum of all weights.
    assert other / (1 - other) == pytest.approx(share * same / (1 - same))


def test_only_the_last_200_jobs_are_known() -> None:
    """Older jobs are forgotten, in whatever order they are added."""
    forecaster = forecaster_of(*jobs(200))
    for sample in (Sample(NOW - 400 * DAY, 1, 1, 100), Sample(NOW - DAY, 2, 2, 100)):
        forecaster.keep(sample)
    expected = forecaster.forecast(100, NOW)
    assert expected is not None
    assert expected.jobs == 200
    # All of them took 4,200 seconds but the newest.
    early = forecaster.forecast(100, NOW, by=NOW + timedelta(seconds=3))
    late = forecaster.forecast(100, NOW, by=NOW + timedelta(seconds=4))
    assert early is not None
    assert late is not None
    assert early.chance == 0
    assert late.chance == pytest.approx(0.03, abs=0.01)


def test_job_that_ends_at_the_submission_is_known() -> None:
    """One that ends a moment later is not."""
    five = [Sample(NOW - DAY, 0, 60 * place, 100) for place in range(1, 6)]
    ended = five[-1].ended
    assert forecaster_of(*five).forecast(100, ended) is not None
    assert forecaster_of(*five).forecast(100, ended - timedelta(microseconds=1)) is None


def test_percentiles_are_those_of_the_earlier_jobs() -> None:
    """Of eleven jobs, each quicker than the one before, the sixth and the longest one."""
    forecaster = Forecaster()
    for place in range(11, 0, -1):
        forecaster.keep(Sample(NOW - place * WEEK, 10 * place, 100 * place, 100))
    expected = forecaster.forecast(100, NOW)
    assert expected is not None
    assert (expected.queue, expected.run) == (Range(60, 110), Range(600, 1100))
    assert expected.total == Range(660, 1210)
    assert forecaster.queue_risk(100, NOW, NOW).ends_at == NOW + timedelta(seconds=660)


def test_longest_time_is_extended_above_all_known_times() -> None:
    """Of five jobs not one in ten took longer than the longest: it can be longer by half."""
    five = [Sample(NOW - place * DAY, 0, 1000 * place, 100) for place in (5, 4, 3, 2, 1)]
    expected = forecaster_of(*five).forecast(100, NOW)
    assert expected is not None
    assert (expected.total.p90, expected.jobs) == (7500, 5)


def test_new_job_counts_as_much_as_the_job_that_counts_most() -> None:
    """It may take the longest of all: with one job of the same hour, five others are needed."""
    others = [
        Sample(NOW - WEEK - (9 - place) * 5 * HOUR, 0, 100 + place, 100) for place in range(8)
    ]
    expected = forecaster_of(*others, Sample(NOW - WEEK, 0, 100, 100)).forecast(100, NOW)
    assert expected is not None
    assert expected.total.p50 == 104


def risk_if_only_one_was_in_time(place: int, *, of: int) -> QueueRisk:
    """The risk of a job if one of so many earlier ones, one a week, was in time."""
    samples = [Sample(NOW - (of - each) * WEEK, 600, LONG, 100) for each in range(of)]
    samples[place] = Sample(samples[place].submitted, 600, SHORT, 100)
    return forecaster_of(*samples).queue_risk(100, NOW, NOW + timedelta(seconds=600 + SHORT))


def test_job_is_at_risk_with_a_chance_below_a_twentieth() -> None:
    """It stays at risk until its chance is 15 %."""
    ends_at = NOW + timedelta(seconds=600 + LONG)
    assert risk_if_only_one_was_in_time(0, of=26) == QueueRisk(NOW, NOW, ends_at)
    # 1 of 19, 1 of 8.8, and 1 of 6.5, as older ones count less.
    assert risk_if_only_one_was_in_time(25, of=26) == QueueRisk(holds=NOW)
    assert risk_if_only_one_was_in_time(9, of=10) == QueueRisk(holds=NOW)
    assert risk_if_only_one_was_in_time(6, of=7) == QueueRisk()


def test_jobs_that_waited_equally_long_are_compared_together() -> None:
    """One of them was in time, so there is a chance as long as the others can begin, too."""
    samples = [Sample(NOW - DAY, 0, 60 if place == 0 else 7200, 100) for place in range(10)]
    assert forecaster_of(*samples).queue_risk(100, NOW, NOW + HOUR).begins is None


SOON = NOW + 10 * MINUTE


@pytest.mark.parametrize(
    ("early", "late", "risk"),
    [
        # Of the first group all were in time; of the others, which waited longer, one of ten.
        ((20, 20), (1, 10), QueueRisk(holds=SOON)),
        # Half of the first group, and three of ten.
        ((10, 20), (3, 10), QueueRisk()),
        (
            (20, 20),
            (0, 10),
            QueueRisk(SOON, SOON, NOW + timedelta(seconds=7200 + LONG)),
        ),
    ],
)
def test_jobs_that_began_earlier_no_longer_count(
    early: tuple[int, int], late: tuple[int, int], risk: QueueRisk
) -> None:
    """Neither those that were in time nor the others; each group has so many of each."""
    samples = [
        Sample(NOW - (100 - place) * WEEK, queue, SHORT if place < in_time else LONG, 100)
        for queue, (in_time, number) in ((600, early), (7200, late))
        for place in range(number)
    ]
    forecaster = Forecaster()
    for sample in samples:
        forecaster.keep(sample)
    assert forecaster.queue_risk(100, NOW, NOW + timedelta(seconds=7200 + SHORT)) == risk


def test_job_that_was_done_at_the_deadline_was_in_time() -> None:
    """Once the new job has waited for longer than it, it says nothing more."""
    mixed = sorted([*jobs(20, queue=600), *jobs(10, queue=7200)], key=lambda each: each.ended)
    forecaster = forecaster_of(*mixed)
    done = NOW + timedelta(seconds=4200)
    assert forecaster.queue_risk(100, NOW, done).begins == NOW + 10 * MINUTE
    assert forecaster.queue_risk(100, NOW, done - timedelta(seconds=1)).begins == NOW


def level_after(*runs: float) -> float:
    """The quantile for the ninetieth percentile after jobs that ran so long, one a day."""
    samples = [Sample(NOW - (1000 - day) * DAY, 0, run, 100) for day, run in enumerate(runs)]
    return forecaster_of(*samples).level


def test_ninetieth_percentile_corrects_itself() -> None:
    """One job that takes longer than it says is made up for by nine that do not."""
    usual = [3600.0] * FEWEST_JOBS
    start = level_after(*usual)
    assert start == 0.9
    # The first job that can be compared: at most 1.5 times the longest one is what was said of it.
    assert level_after(*usual, 5400) < start < level_after(*usual, 5401)
    missed = level_after(*usual, 10**5)
    assert level_after(*usual, 10**5, *[3600.0] * 8) > start
    assert level_after(*usual, 10**5, *[3600.0] * 9) == pytest.approx(start)
    assert missed - start == pytest.approx(9 * (start - level_after(*usual, 3600)))


def test_ninetieth_percentile_stays_within_bounds() -> None:
    """It is never below the sixtieth, and never an endless time."""
    assert level_after(*[3600.0] * 500) == 0.6
    assert level_after(*(1.6**exponent for exponent in range(25))) == 0.999


def test_samples_need_known_times_and_records() -> None:
    """A job of exactly thirty days is one, and so is one of the first moment that is plausible."""
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    assert sample_of(begin, begin + DAY, begin + 30 * DAY, 7) == Sample(
        begin, 86_400, 29 * 86_400, 7
    )
    assert sample_of(begin, begin + DAY, begin + 30 * DAY + timedelta(seconds=1), 7) is None
    assert sample_of(begin - timedelta(seconds=1), begin, begin + DAY, 7) is None
    for missing in range(4):
        known: list[Any] = [begin, begin, begin + DAY, 7]
        known[missing] = None
        assert sample_of(*known) is None


def test_median_number_of_records_stands_for_an_unknown_one() -> None:
    """Jobs of 1, 2, 3, 40 and 50 records run for an hour per record: the new one takes three."""
    forecaster = Forecaster()
    for place, records in enumerate((50, 1, 40, 2, 3)):
        forecaster.keep(Sample(NOW - 20 * DAY + place * HOUR, 60, 3600 * records, records))
    deadline = NOW + 3 * HOUR
    assert forecaster.queue_risk(None, NOW, deadline) == forecaster.queue_risk(3, NOW, deadline)
    assert forecaster.queue_risk(None, NOW, deadline).begins == NOW
    assert forecaster.queue_risk(None, NOW, deadline + MINUTE) == QueueRisk()
