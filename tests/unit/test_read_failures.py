from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given

from bedrock_batch_monitor.domain.jobs import JobError, TrackedJob
from bedrock_batch_monitor.domain.read_failures import (
    Failing,
    Unreadable,
    failing,
    is_about_itself,
    is_given_up,
    unreadable,
)
from bedrock_batch_monitor.domain.rules import Rules
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, all_rules, tracked_jobs

DENIED = JobError("AccessDeniedException", "no")
GONE = JobError("ResourceNotFoundException", "no such job")
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
QUARTER = timedelta(minutes=15)
WEEK = timedelta(days=7)


def test_third_consecutive_refusal_makes_a_job_unreachable() -> None:
    """Later refusals have nothing new to write."""
    job = TrackedJob(ARN)
    for polls, since in ((1, None), (2, None), (3, NOW)):
        found = unreadable(job, DENIED, now=NOW, rules=RULES)
        assert found == Unreadable(DENIED, polls, since)
        job = replace(job, unreadable_polls=polls, unreachable_since=since, last_error=DENIED)
    assert unreadable(job, DENIED, now=NOW, rules=RULES) is None


def test_other_error_of_an_unreachable_job_is_recorded_without_a_new_event() -> None:
    """The item has the new error, and the job is unreachable since the same time."""
    job = TrackedJob(ARN, unreadable_polls=3, unreachable_since=NOW, last_error=DENIED)
    later = NOW + HOUR
    assert unreadable(job, GONE, now=later, rules=RULES) == Unreadable(GONE, 3, NOW)


@given(tracked_jobs, all_rules)
def test_job_becomes_unreachable_once(job: TrackedJob, rules: Rules) -> None:
    """However often a job is refused, the time since which it is unreachable is set once."""
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


def test_refusal_of_a_read_that_an_event_triggered_does_not_count() -> None:
    """Three hints within seconds record the error, and never make the job unreachable."""
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
        ({}, QUARTER - SECOND, None),
        ({}, QUARTER, Failing(NOW)),
        ({"failing_since": NOW}, QUARTER, None),
        ({"failing_since": NOW}, HOUR - SECOND, None),
        ({"failing_since": NOW}, HOUR, Unreadable(DENIED, 0, NOW + HOUR)),
        ({"unreadable_polls": 2}, HOUR, Unreadable(DENIED, 2, NOW + HOUR)),
        ({"unreachable_since": NOW}, HOUR, None),
    ],
)
def test_missing_responses_become_an_error_once_they_last_an_hour(
    changes: dict[str, Any], passed: timedelta, expected: object
) -> None:
    """Throttling, 5xx, no response: a write after a quarter of an hour, and one after an hour."""
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
        # An implausible time is no reason to untrack a job.
        ({"unreachable_since": NOW.replace(year=1970)}, False),
        ({"unreachable_since": NOW.replace(year=2090), "failing_since": NOW}, True),
    ],
)
def test_arn_that_was_never_readable_is_untracked_after_seven_days(
    changes: dict[str, Any],
    expected: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """A job of which something is recorded stays tracked."""
    job = replace(TrackedJob(ARN), **changes)
    assert not is_given_up(job, NOW + WEEK - SECOND)
    assert is_given_up(job, NOW + WEEK) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, False),
        (GONE, True),
        (JobError("ValidationException", "no"), True),
        (DENIED, False),
        (JobError("ThrottlingException", "slow down"), False),
    ],
)
def test_error_about_one_job_says_nothing_about_others(
    error: JobError | None,
    *,
    expected: bool,
) -> None:
    """Others can be read, so the monitor's permissions are all right."""
    assert is_about_itself(TrackedJob(ARN, last_error=error)) == expected
