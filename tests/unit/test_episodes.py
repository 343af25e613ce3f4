from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.episodes import (
    SLOW_PACE,
    Unreadable,
    at_risk_since,
    is_due,
    stalled_since,
    unreadable,
)
from bedrock_batch_monitor.domain.jobs import JobError, JobObservation, RecordCounts, TrackedJob
from bedrock_batch_monitor.domain.progress import UNKNOWN, Estimate
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.transitions import Refresh, Stalled, decide
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, all_rules, times, tracked_jobs

DENIED = JobError("AccessDeniedException", "no")
GONE = JobError("ResourceNotFoundException", "no such job")
HOUR = timedelta(hours=1)
STALLING = replace(RULES, stalled_after=HOUR)
COUNTS = RecordCounts(100, 10, 10, 0)
WARNING = replace(RULES, emit_at_risk=True)
LATE, IN_TIME = Estimate(1, NOW + HOUR), Estimate(1, NOW - HOUR)


def test_three_refusals_in_a_row_begin_an_episode() -> None:
    """The third refusal makes a job unreachable; later ones have nothing new to write."""
    job = TrackedJob(ARN)
    for polls, since in ((1, None), (2, None), (3, NOW)):
        found = unreadable(job, DENIED, now=NOW, rules=RULES)
        assert found == Unreadable(DENIED, polls, since)
        job = replace(job, unreadable_polls=polls, unreachable_since=since, last_error=DENIED)
    assert unreadable(job, DENIED, now=NOW, rules=RULES) is None


def test_another_reason_is_written_and_begins_nothing() -> None:
    """When the reason changes during an episode the item says so, and the episode goes on."""
    job = TrackedJob(ARN, unreadable_polls=3, unreachable_since=NOW, last_error=DENIED)
    later = NOW + HOUR
    assert unreadable(job, GONE, now=later, rules=RULES) == Unreadable(GONE, 3, NOW)


@given(tracked_jobs, all_rules)
def test_an_episode_begins_at_most_once(job: TrackedJob, rules: Rules) -> None:
    """However often a job is refused, the beginning of its episode is found once."""
    begun = 0
    job = replace(job, unreachable_since=None, unreadable_polls=0)
    for _ in range(12):
        found = unreadable(job, DENIED, now=NOW, rules=rules)
        if found is None:
            continue
        begun += found.unreachable_since is not None and job.unreachable_since is None
        job = replace(
            job,
            unreadable_polls=found.polls,
            unreachable_since=found.unreachable_since,
            last_error=found.error,
        )
    assert begun == 1
    assert job.unreadable_polls == rules.unreachable_after_polls


@given(st.integers(min_value=1, max_value=60), st.integers(min_value=0, max_value=10**6))
def test_an_unreachable_job_gets_its_turn_in_every_round(minutes: int, start: int) -> None:
    """Of the polls of a quarter of an hour exactly one asks for an unreachable job."""
    rules = replace(RULES, poll_interval=timedelta(minutes=minutes))
    job = TrackedJob(f"{ARN[:-6]}{start:06}", unreachable_since=NOW)
    polls = max(1, SLOW_PACE // rules.poll_interval)
    asked = sum(
        is_due(job, now=NOW + (start + number) * rules.poll_interval, rules=rules)
        for number in range(polls)
    )
    assert asked == 1


@given(tracked_jobs, times)
def test_a_reachable_job_is_always_due(job: TrackedJob, now: datetime) -> None:
    """A job that is not unreachable is asked for in every poll."""
    assert is_due(replace(job, unreachable_since=None), now=now, rules=RULES)


@pytest.mark.parametrize(
    ("changes", "counts", "rules", "expected"),
    [
        ({}, COUNTS, STALLING, NOW - HOUR),
        ({}, COUNTS, RULES, None),
        ({"progress_at": NOW - HOUR + timedelta(seconds=1)}, COUNTS, STALLING, None),
        ({"stalled_since": NOW - HOUR}, COUNTS, STALLING, None),
        ({"progress_at": None}, COUNTS, STALLING, None),
        ({}, replace(COUNTS, processed=11), STALLING, None),
    ],
)
def test_what_counts_as_stalled(
    changes: dict[str, object], counts: RecordCounts, rules: Rules, expected: object
) -> None:
    """A job has stalled when nothing moved for the time set, if one is set, and is told once."""
    job = TrackedJob(ARN, sequence=2, status="InProgress", counts=COUNTS, progress_at=NOW - HOUR)
    observation = JobObservation(ARN, "InProgress", counts=counts)
    found = stalled_since(replace(job, **changes), observation, now=NOW, rules=rules)  # type: ignore[arg-type]
    assert found == expected


def test_a_stall_is_decided_and_ends_with_the_first_movement() -> None:
    """A stalled job is told of once; counts that move end the episode without waiting."""
    job = TrackedJob(ARN, sequence=2, status="InProgress", counts=COUNTS, progress_at=NOW - HOUR)
    still = JobObservation(ARN, "InProgress", counts=COUNTS)
    decision = decide(job, still, now=NOW, observed_by="poll", rules=STALLING)
    assert decision == Stalled(NOW - HOUR)
    stalled = replace(job, stalled_since=NOW - HOUR)
    moves = replace(still, counts=replace(COUNTS, processed=11))
    decision = decide(stalled, moves, now=NOW, observed_by="poll", rules=STALLING)
    assert decision == Refresh(counts_moved=True)


@pytest.mark.parametrize(
    ("since", "estimate", "expiration", "rules", "expected"),
    [
        (None, LATE, NOW, WARNING, NOW),
        (None, LATE, NOW, RULES, None),
        (None, LATE, None, WARNING, None),
        (None, Estimate(1, NOW), NOW, WARNING, None),
        (None, UNKNOWN, NOW, WARNING, None),
        (NOW - HOUR, LATE, NOW, WARNING, NOW - HOUR),
        (NOW - HOUR, UNKNOWN, NOW, WARNING, NOW - HOUR),
        (NOW - HOUR, IN_TIME, NOW, WARNING, None),
        (NOW - HOUR, LATE, NOW, RULES, None),
    ],
)
def test_what_counts_as_at_risk(
    since: datetime | None,
    estimate: Estimate,
    expiration: datetime | None,
    rules: Rules,
    expected: datetime | None,
) -> None:
    """From the first estimate past the expiration to the first before it, if the setting is on."""
    job = TrackedJob(ARN, at_risk_since=since)
    assert at_risk_since(job, estimate, expiration, now=NOW, rules=rules) == expected


def test_risk_is_decided_with_the_counts() -> None:
    """Counts that are worth a write bring an estimate, and with it the beginning of an episode."""
    job = TrackedJob(ARN, sequence=2, status="InProgress", counts=COUNTS, progress_at=NOW - HOUR)
    moved = JobObservation(
        ARN,
        "InProgress",
        counts=replace(COUNTS, processed=40),
        job_expiration_time=NOW + timedelta(minutes=119),
    )
    estimate = Estimate(0.5, NOW + 2 * HOUR)
    decision = decide(job, moved, now=NOW, observed_by="poll", rules=WARNING)
    assert decision == Refresh(counts_moved=True, estimate=estimate, at_risk_since=NOW)
    decision = decide(job, moved, now=NOW, observed_by="poll", rules=RULES)
    assert decision == Refresh(counts_moved=True, estimate=estimate)
