"""The age of the oldest read, and whether polls read their jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bedrock_batch_monitor.domain.read_ages import ReadAges
from bedrock_batch_monitor.domain.summary import ReconcileResult, is_of_service

NOW = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def after(ages: ReadAges, minutes: int, *, answered: set[str], active: set[str]) -> ReadAges:
    return ages.after(
        active=dict.fromkeys(active),
        is_whole=True,
        attempted=active,
        answered=answered,
        waiting={},
        now=NOW + minutes * MINUTE,
    )


def test_age_grows_until_the_job_is_read() -> None:
    """The job that no poll reads is the oldest, whatever happens to the others."""
    ages = after(ReadAges(), 0, answered={"a", "b"}, active={"a", "b"})
    ages = after(ages, 4, answered={"a"}, active={"a", "b"})
    assert ages.oldest_seconds(NOW + 4 * MINUTE) == 240
    assert ages.has_answer

    ages = after(ages, 5, answered={"a", "b"}, active={"a", "b"})
    assert ages.oldest_seconds(NOW + 5 * MINUTE) == 0


def test_poll_that_read_no_job_has_no_answer() -> None:
    """That remains while all jobs are unreachable and wait, until one is read."""
    ages = after(ReadAges(), 0, answered=set(), active={"a"})
    assert not ages.has_answer
    waiting = ages.after(
        active={}, is_whole=True, attempted=(), answered=(), waiting={"a": False}, now=NOW
    )
    assert not waiting.has_answer
    assert after(waiting, 1, answered={"a"}, active={"a"}).has_answer


def test_failing_since_counts_in_a_new_environment() -> None:
    """The item records failing reads from before the first poll of the process."""
    since = NOW - 20 * MINUTE
    ages = ReadAges().after(
        active={"a": since}, is_whole=True, attempted={"a"}, answered=(), waiting={}, now=NOW
    )
    assert ages.oldest_seconds(NOW) == 1200


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        ({"a": False, "b": False}, False),
        ({"a": False, "gone": True}, True),
        ({}, None),
    ],
)
def test_new_environment_uses_the_recorded_errors(
    waiting: dict[str, bool], *, expected: bool | None
) -> None:
    """While all jobs are unreachable and wait, their errors decide whether the service fails."""
    ages = ReadAges().after(
        active={}, is_whole=True, attempted=(), answered=(), waiting=waiting, now=NOW
    )
    assert ages.has_answer is expected


def test_job_that_was_not_collected_keeps_its_age() -> None:
    """A poll that could not list every job gives no information about the others."""
    ages = after(ReadAges(), 0, answered={"a", "b"}, active={"a", "b"})
    ages = ages.after(
        active={"a": None},
        is_whole=False,
        attempted={"a"},
        answered={"a"},
        waiting={},
        now=NOW + 3 * MINUTE,
    )
    assert ages.oldest_seconds(NOW + 3 * MINUTE) == 180


def test_error_about_one_job_is_not_a_failure_of_the_service() -> None:
    """Errors about one job or item do not mean that the services fail."""
    assert ReconcileResult(errors=("Bedrock.ResourceNotFoundException",)).was_answered
    assert ReconcileResult(errors=("Item.InvalidJobArn",)).was_answered
    assert not ReconcileResult(errors=("Bedrock.ThrottlingException",), try_again=True).was_answered
    assert not ReconcileResult(errors=("Bedrock.AccessDeniedException",), refused=True).was_answered
    assert not ReconcileResult(errors=("DynamoDB.AccessDeniedException",)).was_answered


def test_total_of_errors_excludes_single_items_and_throttling() -> None:
    """Errors that can last for days, or delay nothing, must not keep an alarm on."""
    assert not is_of_service("Item.InvalidPendingEvent")
    assert not is_of_service("Bedrock.ValidationException")
    assert not is_of_service("Bedrock.ThrottlingException")
    assert is_of_service("Bedrock.InternalServerException")
    assert is_of_service("EventBridge.BusMissing")
