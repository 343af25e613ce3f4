"""The badges of a job: which conditions it has, decided in one place.

The command line, the dashboard widget and the report show the same badges in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation.job_view import Job


class Severity(StrEnum):
    """How urgent a badge is."""

    NOTE = "note"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Badge:
    """A condition of a job in a word or two, and how urgent it is."""

    text: str
    severity: Severity


UNTRACKED: Final = Badge("untracked", Severity.NOTE)
UNREACHABLE: Final = Badge("unreachable", Severity.ALARM)
NOT_READABLE: Final = Badge("not readable", Severity.ALARM)
STALLED: Final = Badge("stalled", Severity.WARNING)
PAST_EXPIRATION: Final = Badge("past expiration", Severity.ALARM)
AT_RISK: Final = Badge("at risk", Severity.WARNING)

# Terminal statuses that need a look. `Stopped` does not: a person asked for it.
FAILURES: Final = (statuses.FAILED, statuses.PARTIALLY_COMPLETED, statuses.EXPIRED)


def badges_of(job: Job, now: datetime) -> tuple[Badge, ...]:
    """The badges of a job, the most urgent first; none if the job has ended.

    An untracked job has no other badge, because its conditions are not updated any more.
    """
    if job.has_ended:
        return ()
    if not job.is_tracked:
        return (UNTRACKED,)
    found = []
    if job.is_unreachable:
        found.append(UNREACHABLE)
    elif job.error is not None:
        found.append(NOT_READABLE)
    if job.is_stalled:
        found.append(STALLED)
    if job.expires is not None and now >= job.expires:
        found.append(PAST_EXPIRATION)
    elif _is_at_risk(job):
        found.append(AT_RISK)
    return tuple(found)


def needs_attention(job: Job, now: datetime) -> bool:
    """Whether a person should look at a job that has not ended."""
    return any(badge.severity is not Severity.NOTE for badge in badges_of(job, now))


def _is_at_risk(job: Job) -> bool:
    """Whether Bedrock will probably end the job before it is done.

    The estimate decides this also in a deployment without `emitAtRisk`.
    """
    return job.is_at_risk or (
        job.expires is not None
        and job.estimated_end is not None
        and job.estimated_end > job.expires
    )
