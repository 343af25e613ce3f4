"""What the failed records of an ended job have in common, as the item and the event say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bedrock_batch_monitor.domain.jobs import RecordCounts
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.times import from_iso, to_iso

STORED_GROUPS: Final = 5

Code = int | str | None


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failed records with the same code and pattern, and some of their ids in order."""

    error_code: Code
    pattern: str
    count: int
    record_ids: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The group under the names of the contract; an unknown value is absent."""
        return {
            **({} if self.error_code is None else {"errorCode": self.error_code}),
            **({"pattern": self.pattern} if self.pattern else {}),
            "count": self.count,
            **({"recordIds": list(self.record_ids)} if self.record_ids else {}),
        }


@dataclass(frozen=True, slots=True)
class RecordTotals:
    """Numbers of records; None for what is not known without the input."""

    success: int
    error: int
    missing: int | None = None

    @property
    def total(self) -> int | None:
        """All records; each is in exactly one of the three."""
        return None if self.missing is None else self.success + self.error + self.missing

    def as_json(self) -> dict[str, int]:
        """The numbers that are known."""
        numbers = {
            "total": self.total,
            "success": self.success,
            "error": self.error,
            "missing": self.missing,
        }
        return {name: count for name, count in numbers.items() if count is not None}


@dataclass(frozen=True, slots=True)
class ErrorAnalysis:
    """The result of reading a job's files once: `groups` and `summary` as JSON values.

    The summary has `analyzedAt`, `complete`, `records`, and `retryFile` (`s3Uri`, `records`) if one
    was written. Not `complete` means that the time was over or that a file could not be read: the
    numbers are those of the records that were read.
    """

    groups: tuple[Mapping[str, Any], ...]
    summary: Mapping[str, Any]

    @property
    def analyzed_at(self) -> datetime:
        """When the files were read; raises ValueError for a text that is not a time."""
        return from_iso(str(self.summary.get("analyzedAt")))


def analysis_of(  # noqa: PLR0913 - the parts of the summary, all named
    groups: tuple[ErrorGroup, ...],
    totals: RecordTotals,
    *,
    complete: bool,
    now: datetime,
    retry: tuple[S3Uri, int] | None,
    with_messages: bool,
) -> ErrorAnalysis:
    """The largest groups and the numbers; without messages, the groups are codes and counts."""
    summary: dict[str, Any] = {
        "analyzedAt": to_iso(now),
        "complete": complete,
        "records": totals.as_json(),
    }
    if retry is not None:
        summary["retryFile"] = {"s3Uri": str(retry[0]), "records": retry[1]}
    shown = groups if with_messages else _by_code(groups)
    return ErrorAnalysis(tuple(group.as_json() for group in shown[:STORED_GROUPS]), summary)


def _by_code(groups: tuple[ErrorGroup, ...]) -> tuple[ErrorGroup, ...]:
    counts: Counter[Code] = Counter()
    for group in groups:
        # A code that is a text can be anything.
        counts[group.error_code if isinstance(group.error_code, int) else None] += group.count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return tuple(ErrorGroup(code, "", count) for code, count in ordered)


def may_have_errors(counts: RecordCounts) -> bool:
    """Whether records of an ended job failed or are missing, as far as its counts say.

    A job whose counts are not known was not validated, so it has no results either.
    """
    if not counts.total:
        return False
    return bool(counts.error) or counts.success is None or counts.success < counts.total


def retry_place(prefix: S3Uri, job_id: str) -> S3Uri:
    """Where a job's retry file is: always the same object."""
    return S3Uri(prefix.bucket, f"{prefix.folder.key}{job_id}/retry.jsonl")
