from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from bedrock_batch_monitor.domain.episodes import (
    FAILING_NOTED_AFTER,
    FAILING_STORED_AFTER,
    GIVE_UP_AFTER,
    Failing,
    Unreadable,
    at_risk_since,
    failing,
    is_given_up,
    stalled_since,
    unreadable,
)
from bedrock_batch_monitor.domain.jobs import JobError, JobObservation, RecordCounts, TrackedJob
from bedrock_batch_monitor.domain.progress import UNKNOWN, Estimate
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.transitions import Refresh, Stalled, decide
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, all_rules, tracked_jobs

DENIED = JobError("AccessDeniedException", "no")
GONE = JobError("ResourceNotFoundException", "no such job")
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
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


def test_refusal_of_an_event_s_read_does_not_count() -> None:
    """Three hints within seconds say why the job cannot be read, and make it unreachable never."""
    job = TrackedJob(ARN)
    found = unreadable(job, DENIED, now=NOW, rules=RULES, counts=False)
    assert found == Unreadable(DENIED, 0, None)
    job = replace(job, last_error=DENIED, unreadable_polls=2)
    assert unreadable(job, DENIED, now=NOW, rules=RULES, counts=False) is None
    assert unreadable(job, GONE, now=NOW, rules=RULES, counts=False) == Unreadable(GONE, 2, None)
    assert unreadable(job, DENIED, now=NOW, rules=RULES) == Unreadable(DENIED, 3, NOW)


@pytest.mark.parametrize(
    ("changes", "passed", "expected"),
    [
        ({}, timedelta(0), None),
        ({}, FAILING_STORED_AFTER - SECOND, None),
        ({}, FAILING_STORED_AFTER, Failing(NOW)),
        ({"failing_since": NOW}, FAILING_STORED_AFTER, None),
        ({"failing_since": NOW}, FAILING_NOTED_AFTER - SECOND, None),
        ({"failing_since": NOW}, FAILING_NOTED_AFTER, Unreadable(DENIED, 0, NOW + HOUR)),
        ({"unreadable_polls": 2}, FAILING_NOTED_AFTER, Unreadable(DENIED, 2, NOW + HOUR)),
        ({"unreachable_since": NOW}, FAILING_NOTED_AFTER, None),
    ],
)
def test_no_answer_is_noted_once_it_has_lasted_an_hour(
    changes: dict[str, Any], passed: timedelta, expected: object
) -> None:
    """Throttling, 5xx and no answer: one write when it lasts, one after the hour, none between."""
    job = replace(TrackedJob(ARN), **changes)
    assert failing(job, DENIED, since=NOW, now=NOW + passed) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"unreachable_since": NOW}, True),
        ({"failing_since": NOW}, True),
        ({"unreachable_since": NOW + SECOND, "failing_since": NOW}, False),
        ({"unreachable_since": NOW, "sequence": 1}, False),
        # A time that makes no sense is no reason to untrack a job.
        ({"unreachable_since": NOW.replace(year=1970)}, False),
        ({"unreachable_since": NOW.replace(year=2090), "failing_since": NOW}, True),
    ],
)
def test_arn_that_was_never_readable_is_given_up_after_seven_days(
    changes: dict[str, Any],
    expected: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """A job of which something is recorded is never given up."""
    job = replace(TrackedJob(ARN), **changes)
    assert not is_given_up(job, NOW + GIVE_UP_AFTER - SECOND)
    assert is_given_up(job, NOW + GIVE_UP_AFTER) == expected


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
    assert decision == Refresh(moves, counts_moved=True)


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
    assert decision == Refresh(moved, counts_moved=True, estimate=estimate, at_risk_since=NOW)
    decision = decide(job, moved, now=NOW, observed_by="poll", rules=RULES)
    assert decision == Refresh(moved, counts_moved=True, estimate=estimate)
