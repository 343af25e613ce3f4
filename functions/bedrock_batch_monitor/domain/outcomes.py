"""The outcome of an ended job, from its status and its record counts.

`Completed` says only that a job ran to its end: Bedrock does not check before whether the model
accepts the records.
"""

from __future__ import annotations

from typing import Final

from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.event_kinds import Severity, Words
from bedrock_batch_monitor.domain.jobs import RecordCounts

COMPLETED_WITH_ERRORS: Final = "CompletedWithErrors"
ALL_RECORDS_FAILED: Final = "AllRecordsFailed"

# Jobs whose status says that all is well.
WITH_FAILED_RECORDS: Final = frozenset({COMPLETED_WITH_ERRORS, ALL_RECORDS_FAILED})

# Event patterns can match numbers with at most so many decimals.
_DECIMALS: Final = 5
_SMALLEST: Final = 10**-_DECIMALS

# Every outcome of an ended job.
OUTCOMES: Final = {
    statuses.COMPLETED: Words(
        sentence="completed",
        short="completed",
        symbol="\u2705",
        advice="Read the output.",
        severity=Severity.NOTE,
    ),
    COMPLETED_WITH_ERRORS: Words(
        sentence="completed, and some of its records failed",
        short="completed with errors",
        symbol="\u26a0\ufe0f",
        advice="Read the errors in the output, and submit the failed records in a new job.",
        severity=Severity.WARNING,
    ),
    ALL_RECORDS_FAILED: Words(
        sentence="completed, but every record failed",
        short="all records failed",
        symbol="\u274c",
        advice="Read the errors in the output, fix their cause, and submit the job again.",
        severity=Severity.ALARM,
    ),
    statuses.PARTIALLY_COMPLETED: Words(
        sentence="partially completed: it reached its timeout, and some records have no output",
        short="partially completed",
        symbol="\u26a0\ufe0f",
        advice="Read the output, and submit the missing records in a new job.",
        severity=Severity.WARNING,
    ),
    statuses.FAILED: Words(
        sentence="failed",
        short="failed",
        symbol="\u274c",
        advice="Fix the cause that the message names, and submit the job again.",
        severity=Severity.ALARM,
    ),
    statuses.STOPPED: Words(
        sentence="was stopped",
        short="stopped",
        symbol="\u23f9\ufe0f",
        advice="If the stop was not intended, submit the job again.",
        severity=Severity.NOTE,
    ),
    statuses.EXPIRED: Words(
        sentence="expired before it started to run",
        short="expired",
        symbol="\u231b",
        advice="Submit the job again, with a longer timeout or at a quieter time.",
        severity=Severity.ALARM,
    ),
}

# What people can be notified of, by its name in the setting `notifyOutcomes`: the outcome of an
# ended job, or a condition of a job that has not ended.
NOTIFIABLE: Final = OUTCOMES | {
    kind.name: kind.words for kind in event_kinds.KINDS if kind.words is not None
}


def outcome_of(status: str, counts: RecordCounts, max_error_share: float) -> str:
    """The outcome of a job with this terminal status.

    `max_error_share` is the share of failed records, from 0 to 1, up to which a job counts as
    `Completed`.
    """
    error, processed = _failed_of(counts)
    if status != statuses.COMPLETED or not error or not processed:
        return status
    if error >= processed:
        return ALL_RECORDS_FAILED
    return COMPLETED_WITH_ERRORS if error / processed > max_error_share else statuses.COMPLETED


def error_share(counts: RecordCounts) -> float | None:
    """Failed records / processed records, from 0 to 1 with five decimals; None if unknown.

    It is 0 only if no record failed, and 1 only if every record failed.
    """
    error, processed = _failed_of(counts)
    if error is None or not processed:
        return None
    if error == 0 or error >= processed:
        return float(error > 0)
    return min(max(round(error / processed, _DECIMALS), _SMALLEST), 1 - _SMALLEST)


def _failed_of(counts: RecordCounts) -> tuple[int | None, int | None]:
    """Failed and processed records; a count that is missing follows from the others."""
    error, success, processed = counts.error, counts.success, counts.processed
    if processed is None and error is not None and success is not None:
        processed = error + success
    if error is None and processed is not None and success is not None:
        error = max(processed - success, 0)
    return error, processed
