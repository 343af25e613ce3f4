"""The jobs that need attention: why, since when, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bedrock_batch_monitor.domain import event_kinds
from bedrock_batch_monitor.domain.event_kinds import Severity
from bedrock_batch_monitor.domain.outcomes import NOTIFIABLE, OUTCOMES
from bedrock_batch_monitor.domain.summary import ABOUT_ONE_JOB
from bedrock_batch_monitor.presentation import badges, words
from bedrock_batch_monitor.presentation.badges import Badge, badges_of
from bedrock_batch_monitor.presentation.job_view import Job

_NO_MESSAGE: Final = "No message is recorded."
_RUN_MISSING: Final = "Create a job with the records that have no output."
# The codes of errors that no later poll can remove.
_ITEM_IS_WRONG: Final = frozenset({"InvalidJobArn", "InvalidItem", "NotMonitored"})
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Concern:
    """A job that needs attention. `since` is the time of its end or of its condition."""

    job: Job
    badges: tuple[Badge, ...]
    reason: str
    next_step: str
    since: datetime | None


def concerns(jobs: Iterable[Job], now: datetime) -> list[Concern]:
    """The jobs that need attention, the newest concern first."""
    found = [concern for job in jobs if (concern := _concern(job, now)) is not None]
    return sorted(found, key=lambda one: (one.since or _LONG_AGO, one.job.arn), reverse=True)


def _concern(job: Job, now: datetime) -> Concern | None:
    if job.has_ended:
        return _of_ended(job)
    shown = badges_of(job, now)
    by_severity = {badge.severity: badge for badge in reversed(shown)}
    urgent = by_severity.get(Severity.ALARM, by_severity.get(Severity.WARNING))
    if urgent is None:
        return None
    reason, step, since = _of_active(job, urgent)
    return Concern(job, shown, reason, step, since or job.changed or job.submitted)


def _of_ended(job: Job) -> Concern | None:
    words_of_outcome = OUTCOMES.get(job.outcome or job.status or "")
    if words_of_outcome is None or words_of_outcome.severity is Severity.NOTE:
        return None
    found = (_records(job), job.message) if job.has_errors else (job.message, _records(job))
    reason = next((text for text in found if text), _NO_MESSAGE)
    return Concern(job, badges_of(job, _LONG_AGO), reason, words_of_outcome.advice, job.ended)


def _of_active(job: Job, badge: Badge) -> tuple[str, str, datetime | None]:
    if badge in {badges.UNREACHABLE, badges.NOT_READABLE}:
        return (
            job.error or "Bedrock does not answer for this job.",
            _step_of_error(job.error_code),
            job.unreachable_since or job.error_at,
        )
    if badge == badges.STALLED:
        stalled_since = job.conditions.get(event_kinds.STALLED.name)
        since = "" if stalled_since is None else f" since {_time(stalled_since)}"
        return (
            f"Neither the status nor the record counts have changed{since}.",
            "Wait, or stop the job and create it again. Bedrock ends it at its expiration.",
            stalled_since,
        )
    if badge == badges.DEADLINE_MISSED:
        return (
            "The job has passed its deadline and has not ended."
            if job.deadline is None
            else f"The job passed its deadline, {_time(job.deadline)}, and has not ended.",
            NOTIFIABLE[event_kinds.DEADLINE_MISSED.name].advice,
            job.conditions.get(event_kinds.DEADLINE_MISSED.name),
        )
    limit = "its expiration" if job.expires is None else f"its expiration, {_time(job.expires)}"
    if badge == badges.PAST_EXPIRATION:
        return (
            f"The job passed {limit}, and has not ended.",
            f"Wait until Bedrock ends it. {_RUN_MISSING}",
            job.expires,
        )
    if job.deadline is not None and (job.expires is None or job.deadline < job.expires):
        limit = f"its deadline, {_time(job.deadline)}"
    estimate = "" if job.estimated_end is None else f", {_time(job.estimated_end)},"
    waits = job.began is None and job.estimated_end is None
    return (
        f"The job still waits, shortly before {limit}."
        if waits
        else f"The estimated end{estimate} is after {limit}.",
        NOTIFIABLE[event_kinds.AT_RISK.name].advice,
        job.conditions.get(event_kinds.AT_RISK.name),
    )


def _step_of_error(code: str | None) -> str:
    if code in _ITEM_IS_WRONG:
        return "No poll can read it. Do what the error says, or run bbm untrack with this ARN."
    if code in ABOUT_ONE_JOB:
        return "Check that the job exists in this Region. If not, run bbm untrack with this ARN."
    return "Check the permissions of the monitor's role. If the job is gone, run bbm untrack."


def _records(job: Job) -> str | None:
    if job.failed and job.processed:
        why = "" if job.top_reason is None else f" Most frequent: {job.top_reason}"
        return f"{words.count(job.failed)} of {words.count(job.processed)} records failed.{why}"
    if job.processed is not None and job.total is not None and job.processed < job.total:
        return f"{words.count(job.processed)} of {words.count(job.total)} records were processed."
    return None


def _time(value: datetime) -> str:
    return f"{words.moment(value)} UTC"
