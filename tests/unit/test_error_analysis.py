"""What is kept of the failed records of a job: the largest groups, the numbers, the retry file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bedrock_batch_monitor.domain.error_analysis import (
    ErrorAnalysis,
    ErrorGroup,
    RecordTotals,
    analysis_of,
    may_have_errors,
    retry_place,
)
from bedrock_batch_monitor.domain.jobs import RecordCounts
from bedrock_batch_monitor.domain.locations import S3Uri

NOW = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
TOTALS = RecordTotals(success=7, error=2, missing=1)


def analysis(*groups: ErrorGroup, **changes: Any) -> ErrorAnalysis:
    options: dict[str, Any] = {"complete": True, "now": NOW, "retry": None, "with_messages": True}
    return analysis_of(groups, TOTALS, **options | changes)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (ErrorGroup(None, "", 3), {"count": 3}),
        (ErrorGroup(0, "x", 1), {"errorCode": 0, "pattern": "x", "count": 1}),
        (
            ErrorGroup("Weird", "too long", 2, ("a", "b")),
            {"errorCode": "Weird", "pattern": "too long", "count": 2, "recordIds": ["a", "b"]},
        ),
    ],
)
def test_error_group_has_only_known_values(group: ErrorGroup, expected: dict[str, Any]) -> None:
    assert group.as_json() == expected


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        (TOTALS, {"total": 10, "success": 7, "error": 2, "missing": 1}),
        (RecordTotals(1, 0, 0), {"total": 1, "success": 1, "error": 0, "missing": 0}),
        (RecordTotals(0, 0), {"success": 0, "error": 0}),
    ],
)
def test_total_is_known_only_with_the_missing_records(
    totals: RecordTotals, expected: dict[str, int]
) -> None:
    assert totals.as_json() == expected


def test_analysis_keeps_the_five_largest_groups() -> None:
    groups = [ErrorGroup(400, f"pattern {n}", 9 - n) for n in range(7)]
    found = analysis(*groups).groups
    assert [group["pattern"] for group in found] == [f"pattern {n}" for n in range(5)]


@pytest.mark.parametrize("complete", [True, False])
def test_summary_has_time_completeness_numbers_and_retry_file(*, complete: bool) -> None:
    found = analysis(complete=complete, retry=(S3Uri("batch", "retries/x.jsonl"), 3))
    assert found.summary == {
        "analyzedAt": "2026-11-24T20:00:00.000Z",
        "complete": complete,
        "records": {"total": 10, "success": 7, "error": 2, "missing": 1},
        "retryFile": {"s3Uri": "s3://batch/retries/x.jsonl", "records": 3},
    }
    assert found.analyzed_at == NOW
    assert "retryFile" not in analysis().summary


def test_time_of_an_analysis_without_one_is_an_error() -> None:
    with pytest.raises(ValueError, match="None"):
        _ = ErrorAnalysis((), {}).analyzed_at


def test_groups_without_messages_are_counted_by_numeric_code() -> None:
    """A code that is a text could be a message. Equal counts are in the order of their codes."""
    found = analysis(
        ErrorGroup(500, "a", 2, ("r1",)),
        ErrorGroup(429, "b", 2, ("r2",)),
        ErrorGroup(400, "c", 1, ("r3",)),
        ErrorGroup(400, "d", 4, ("r4",)),
        ErrorGroup("secret", "e", 1, ("r5",)),
        ErrorGroup(None, "f", 2, ("r6",)),
        with_messages=False,
    )
    assert found.groups == (
        {"errorCode": 400, "count": 5},
        {"count": 3},
        {"errorCode": 429, "count": 2},
        {"errorCode": 500, "count": 2},
    )


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (RecordCounts(), False),
        # Not validated: it has no results, whatever else is there.
        (RecordCounts(error=1), False),
        (RecordCounts(total=0, error=0, success=0), False),
        (RecordCounts(total=4, processed=4, success=4, error=0), False),
        (RecordCounts(total=4, processed=4, success=3, error=1), True),
        # Each of these is enough alone.
        (RecordCounts(total=4, success=4, error=1), True),
        (RecordCounts(total=4, success=3, error=0), True),
        (RecordCounts(total=4, error=0), True),
        (RecordCounts(total=4), True),
        (RecordCounts(total=1, success=0), True),
    ],
)
def test_results_are_read_only_if_a_record_can_have_failed(
    counts: RecordCounts, *, expected: bool
) -> None:
    assert may_have_errors(counts) is expected


@pytest.mark.parametrize(
    ("prefix", "place"),
    [
        ("s3://batch/retries", "s3://batch/retries/abc/retry.jsonl"),
        ("s3://batch/retries/", "s3://batch/retries/abc/retry.jsonl"),
        ("s3://batch", "s3://batch/abc/retry.jsonl"),
        ("s3://batch/", "s3://batch/abc/retry.jsonl"),
    ],
)
def test_retry_file_is_in_a_folder_of_its_job(prefix: str, place: str) -> None:
    assert str(retry_place(S3Uri.parse(prefix), "abc")) == place
