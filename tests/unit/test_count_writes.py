"""Record counts are written only if the change is relevant: compared with writing every change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbm.count_writes import writes_per_job
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.conditions import conditions_of, findings_of
from bedrock_batch_monitor.domain.jobs import JobObservation, RecordCounts, TrackedJob
from bedrock_batch_monitor.domain.progress import (
    LEAST_CHANGE_SHARE,
    LEAST_END_MOVE_SHARE,
    LEAST_MOVE_OF_END,
    LONGEST_UNWRITTEN,
    is_counts_write_due,
    may_write_counts,
    recorded_end,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.transitions import Refresh, Unchanged, decide
from tests.support.strategies import ARN, all_rules, observations, times, tracked_jobs

START = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TOTAL = 50_000
RULES = Rules(
    progress_interval=5 * MINUTE, poll_interval=MINUTE, unreachable_after_polls=3, emit_at_risk=True
)
# Longer than a job can run: nothing stalls, and every change is written.
EVERY_CHANGE = replace(RULES, stalled_after=timedelta(days=30))
JOB = TrackedJob(
    ARN,
    sequence=4,
    status=statuses.IN_PROGRESS,
    first_in_progress_at=START,
    counts=RecordCounts(TOTAL, 0, 0, 0),
    progress_at=START,
)
# Parts of a job: for so many minutes it is so much faster than in others.
parts = st.lists(st.tuples(st.integers(20, 400), st.floats(0.3, 3.0)), min_size=1, max_size=4)


def seen(processed: int, total: int = TOTAL, error: int = 0) -> JobObservation:
    counts = RecordCounts(total, processed, processed - error, error)
    return JobObservation(ARN, statuses.IN_PROGRESS, counts=counts)


def progress(of: list[tuple[int, float]]) -> Iterator[int]:
    """The processed records of a job after each minute."""
    weights = [speed for minutes, speed in of for _ in range(minutes)]
    whole = sum(weights)
    return (round(TOTAL * done / whole) for done in accumulate(weights))


def observed(of: list[tuple[int, float]], rules: Rules) -> Iterator[tuple[datetime, TrackedJob]]:
    """What is recorded of a job after each poll."""
    job = JOB
    for minute, processed in enumerate(progress(of), start=1):
        now = START + minute * MINUTE
        observation = seen(processed)
        decision = decide(job, observation, now=now, observed_by="poll", rules=rules)
        if isinstance(decision, Refresh):
            assert decision.estimate is not None
            job = replace(
                job,
                counts=observation.counts,
                progress_at=now,
                records_per_minute=decision.estimate.records_per_minute,
            )
        yield now, job


@given(tracked_jobs, observations, times, all_rules)
def test_due_counts_may_be_written_and_are_due_after_half_an_hour(
    job: TrackedJob, observation: JobObservation, now: datetime, rules: Rules
) -> None:
    """A write is never more often than the interval."""
    may = may_write_counts(job, observation, now=now, rules=rules)
    due = is_counts_write_due(job, observation, now=now, rules=rules)
    assert may or not due
    if may and (job.progress_at is None or now - job.progress_at >= LONGEST_UNWRITTEN):
        assert due


@given(tracked_jobs, observations, times, all_rules, st.integers(1, 10_080))
def test_every_change_is_written_with_a_time_for_stalls(
    job: TrackedJob, observation: JobObservation, now: datetime, rules: Rules, minutes: int
) -> None:
    """So a job counts as stalled from the same moment as if every change was written."""
    rules = replace(rules, stalled_after=minutes * MINUTE)
    assert is_counts_write_due(job, observation, now=now, rules=rules) == may_write_counts(
        job, observation, now=now, rules=rules
    )


@given(tracked_jobs, observations, times, all_rules)
def test_conditions_equal_those_of_writing_every_change(
    job: TrackedJob, observation: JobObservation, now: datetime, rules: Rules
) -> None:
    """A risk begins and ends with the same response, although small changes are not written."""
    some = replace(rules, stalled_after=None)
    every = replace(rules, stalled_after=timedelta(days=3650))
    job = replace(job, conditions={k: v for k, v in job.conditions.items() if k != "Stalled"})
    found = [
        conditions_of(findings_of(job, observation, now=now, rules=each)) for each in (some, every)
    ]
    assert found[0] == found[1]
    decision = decide(job, observation, now=now, observed_by="poll", rules=some)
    if isinstance(decision, Unchanged) and not job.has_ended:
        assert found[0] == job.conditions


@given(parts)
def test_recorded_counts_are_at_most_one_step_behind(of: list[tuple[int, float]]) -> None:
    """Once the interval is over, fewer records than the share of the total are not written."""
    for (now, job), processed in zip(observed(of, RULES), progress(of), strict=True):
        assert job.progress_at is not None
        age, behind = now - job.progress_at, processed - (job.counts.processed or 0)
        assert age < LONGEST_UNWRITTEN or behind == 0
        assert age < RULES.progress_interval or behind < TOTAL * LEAST_CHANGE_SHARE
        assert processed < TOTAL or age < RULES.progress_interval


@given(parts)
def test_estimated_end_equals_that_of_writing_every_change(of: list[tuple[int, float]]) -> None:
    """Within a fifth of the time that is left, or ten minutes, and an interval and a poll.

    The two write in different minutes of an interval, so ends are compared with all near ones.
    """
    near = (RULES.progress_interval + RULES.poll_interval) // MINUTE
    exact = [recorded_end(job) for _, job in observed(of, EVERY_CHANGE)]
    for minute, (now, job) in enumerate(observed(of, RULES)):
        ends_at = recorded_end(job)
        others = exact[max(0, minute - near) : minute + near + 1]
        if ends_at is None:
            assert None in others
            continue
        known = [other for other in others if other is not None]
        earliest, latest = min(known), max(known)
        left = max(latest - now, timedelta(0))
        tolerance = max(2 * LEAST_END_MOVE_SHARE * left, 2 * LEAST_MOVE_OF_END)
        assert earliest - tolerance <= ends_at <= latest + tolerance


@pytest.mark.parametrize(
    ("minutes", "answer", "is_due"),
    [
        (4, seen(21_000), False),
        (6, seen(20_200), False),
        (29, seen(20_967), False),
        (29, seen(21_000), True),
        (30, seen(20_990), True),
        (6, seen(20_200, error=1), True),
        (6, seen(20_200, total=60_000), True),
        # Much slower, and much faster than before: the estimated end moves by hours.
        (25, seen(20_050), True),
        (10, seen(20_999), True),
    ],
)
def test_counts_are_due_after_a_relevant_change(
    minutes: int, answer: JobObservation, *, is_due: bool
) -> None:
    """A share of the records, the first failed record, another total, or another estimated end."""
    now = START + timedelta(hours=10)
    job = replace(
        JOB,
        counts=RecordCounts(TOTAL, 20_000, 20_000, 0),
        progress_at=now - minutes * MINUTE,
        # 333 in ten minutes.
        records_per_minute=100 / 3,
    )
    assert is_counts_write_due(job, answer, now=now, rules=RULES) == is_due


@pytest.mark.parametrize(
    ("known", "processed", "is_due"),
    [
        # 15 hours are left, a tenth of them is 89 minutes: the end moves by 84, 96, 73 or 93.
        (20_000, 20_172, False),
        (20_000, 20_150, True),
        (20_000, 20_500, False),
        (20_000, 20_600, True),
        # Twenty minutes are left: the end moves by 4.6 or by 5.7 minutes.
        (49_000, 49_225, False),
        (49_000, 49_200, True),
    ],
)
def test_counts_are_due_if_the_estimated_end_moves_by_a_tenth_of_the_time_left(
    known: int, processed: int, *, is_due: bool
) -> None:
    """And by no less than five minutes; the records are less than the share of the total."""
    now = START + timedelta(hours=10)
    job = replace(
        JOB,
        counts=RecordCounts(TOTAL, known, known, 0),
        progress_at=now - 10 * MINUTE,
        records_per_minute=100 / 3,
    )
    assert is_counts_write_due(job, seen(processed), now=now, rules=RULES) == is_due


def test_end_that_moves_by_exactly_a_tenth_is_not_due() -> None:
    """46 records in ten minutes, at ten a minute before: 5,940 minutes in place of 5,400."""
    now = START + timedelta(hours=10)
    job = replace(
        JOB,
        counts=RecordCounts(60_000, 5_900, 5_900, 0),
        progress_at=now - 10 * MINUTE,
        records_per_minute=10.0,
    )
    for processed, is_due in ((5_946, False), (5_945, True)):
        answer = seen(processed, total=60_000)
        assert is_counts_write_due(job, answer, now=now, rules=RULES) == is_due


def test_first_estimate_of_a_job_is_due() -> None:
    """However few records it rests on."""
    job = replace(JOB, counts=RecordCounts(TOTAL, 20_000, 20_000, 0))
    now = START + 6 * MINUTE
    assert is_counts_write_due(job, seen(20_001), now=now, rules=RULES)


@pytest.mark.parametrize(
    ("known", "found", "is_due"),
    [
        (RecordCounts(1000, 500, 400, 100), RecordCounts(1000, 519, 419, 100), False),
        (RecordCounts(1000, 500, 400, 100), RecordCounts(1000, 520, 419, 100), True),
        (RecordCounts(1000, 500, 400, 100), RecordCounts(1000, 519, 420, 100), True),
        (RecordCounts(1000, 500, 400, 100), RecordCounts(1000, 519, 400, 120), True),
        (RecordCounts(1000, 500, 400, 100), RecordCounts(1000, 519, 400, 119), False),
        # Another total, or none.
        (RecordCounts(1000, 500, 400, 100), RecordCounts(1001, 500, 400, 100), True),
        (RecordCounts(None, 500, 400, 100), RecordCounts(None, 501, 401, 100), True),
        # The first record of a kind, and the last one.
        (RecordCounts(1000, 0, None, None), RecordCounts(1000, 1, None, None), True),
        (RecordCounts(1000, 500, 500, 0), RecordCounts(1000, 501, 500, 1), True),
        (RecordCounts(1000, None, 500, None), RecordCounts(1000, 1, 500, None), True),
        (RecordCounts(1000, 999, 400, 100), RecordCounts(1000, 1000, 400, 100), True),
        (RecordCounts(1000, 998, 400, 100), RecordCounts(1000, 999, 400, 100), False),
        # A count that Bedrock no longer reports.
        (RecordCounts(1000, 500, 400, 100), RecordCounts(1000, None, 400, 101), False),
    ],
)
def test_small_steps_of_counts_are_not_due(
    known: RecordCounts, found: RecordCounts, *, is_due: bool
) -> None:
    """Of a job without an estimate, 2 % of the records or more of any count are."""
    job = replace(JOB, status="Stopping", counts=known, progress_at=START)
    answer = JobObservation(ARN, "Stopping", counts=found)
    assert is_counts_write_due(job, answer, now=START + 6 * MINUTE, rules=RULES) == is_due


def test_counts_may_be_written_after_the_interval() -> None:
    """At once after a stall, after a failed read, and if nobody knows when they were written."""
    now, answer = START + 5 * MINUTE, seen(100)

    def may(**changes: Any) -> bool:
        return may_write_counts(replace(JOB, **changes), answer, now=now, rules=RULES)

    assert may(progress_at=START)
    recent = START + timedelta(seconds=1)
    assert not may(progress_at=recent)
    assert may(progress_at=recent, conditions={"Stalled": START})
    assert may(progress_at=recent, unreadable_polls=1)
    assert may(progress_at=None)
    assert may(progress_at=now + timedelta(days=1))
    assert not may(progress_at=None, counts=answer.counts)


def test_every_change_is_written_without_an_interval() -> None:
    """`progressIntervalMinutes=0` is for people who want to see each change."""
    job = replace(JOB, counts=RecordCounts(TOTAL, 20_000, 20_000, 0))
    rules = replace(RULES, progress_interval=timedelta(0))
    assert is_counts_write_due(job, seen(20_001), now=START, rules=rules)


def test_job_of_one_day_is_written_about_sixty_times() -> None:
    """The cost estimate uses this number; writing each change would be 288 writes."""
    assert 48 <= writes_per_job(24) <= 72
    assert writes_per_job(1) == 12
    assert writes_per_job(24, progress_minutes=60) <= 24
