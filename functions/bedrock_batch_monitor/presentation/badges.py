"""The badges of a job: which conditions it has, decided in one place.

The command line, the dashboard widget and the report show the same badges in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bedrock_batch_monitor.domain import event_kinds
from bedrock_batch_monitor.domain.event_kinds import CONDITIONS, Severity, Words
from bedrock_batch_monitor.domain.outcomes import OUTCOMES
from bedrock_batch_monitor.presentation.job_view import Job


@dataclass(frozen=True, slots=True)
class Badge:
    """A condition of a job in a word or two, and how urgent it is."""

    text: str
    severity: Severity


def _badge(words: Words | None) -> Badge:
    if words is None:
        return Badge("", Severity.NOTE)
    return Badge(words.short, words.severity)


UNTRACKED: Final = Badge("untracked", Severity.NOTE)
UNREACHABLE: Final = _badge(event_kinds.UNREACHABLE.words)
NOT_READABLE: Final = Badge("not readable", Severity.ALARM)
STALLED: Final = _badge(event_kinds.STALLED.words)
PAST_EXPIRATION: Final = Badge("past expiration", Severity.ALARM)
AT_RISK: Final = _badge(event_kinds.AT_RISK.words)
DEADLINE_MISSED: Final = _badge(event_kinds.DEADLINE_MISSED.words)

_URGENCY: Final = (Severity.ALARM, Severity.WARNING, Severity.NOTE)


def badges_of(job: Job, now: datetime) -> tuple[Badge, ...]:
    """The badges of a job, the most urgent first.

    A job that has ended has one if its outcome is another than its status, and one if it missed its
    deadline. An untracked job has no other badge, because its conditions are not updated any more.
    """
    if job.has_ended:
        words = OUTCOMES.get(job.outcome or "")
        found = [] if words is None or job.outcome == job.status else [_badge(words)]
        if event_kinds.DEADLINE_MISSED.name in job.conditions:
            found.append(DEADLINE_MISSED)
        return tuple(found)
    if not job.is_tracked:
        return (UNTRACKED,)
    found = [_badge(kind.words) for kind in CONDITIONS if kind.name in job.conditions]
    if job.is_unreachable:
        found.append(UNREACHABLE)
    elif job.error is not None:
        found.append(NOT_READABLE)
    if _is_at_risk(job) and AT_RISK not in found:
        found.append(AT_RISK)
    if job.expires is not None and now >= job.expires:
        found = [badge for badge in found if badge != AT_RISK] + [PAST_EXPIRATION]
    return tuple(sorted(found, key=lambda badge: _URGENCY.index(badge.severity)))


def needs_attention(job: Job, now: datetime) -> bool:
    """Whether a person should look at a job that has not ended."""
    return any(badge.severity is not Severity.NOTE for badge in badges_of(job, now))


def _is_at_risk(job: Job) -> bool:
    """Whether the job will probably not be done at its expiration or its deadline.

    The estimate decides this also in a deployment without `emitAtRisk`.
    """
    limits = [limit for limit in (job.deadline, job.expires) if limit is not None]
    return job.estimated_end is not None and any(job.estimated_end > limit for limit in limits)
