"""Where a job is found unreachable, stalled or at risk, once for each time that it happens.

An unreachable episode begins with the last of a number of polls in a row that could not read the
job, so that a passing refusal begins none, and ends with the first poll that can. A stalled episode
begins when nothing has moved for the time set, and ends when status or counts move. A job is at
risk from the first estimate of its end that is past its expiration to the first that is not, or to
the next status.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bedrock_batch_monitor.domain.jobs import JobError, JobObservation, TrackedJob
from bedrock_batch_monitor.domain.progress import Estimate
from bedrock_batch_monitor.domain.rules import Rules

# How often an unreachable job is still asked for.
SLOW_PACE: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What to write of a job that could not be read: how many polls in a row, and what begins."""

    error: JobError
    polls: int
    unreachable_since: datetime | None


def unreadable(
    job: TrackedJob, error: JobError, *, now: datetime, rules: Rules
) -> Unreadable | None:
    """Say what is worth writing of a refusal; None once all is written that there is to say."""
    if job.unreachable_since is not None:
        same = job.last_error is not None and job.last_error.code == error.code
        return None if same else Unreadable(error, job.unreadable_polls, job.unreachable_since)
    polls = job.unreadable_polls + 1
    begins = polls >= rules.unreachable_after_polls
    return Unreadable(error, polls, now if begins else None)


def is_due(job: TrackedJob, *, now: datetime, rules: Rules) -> bool:
    """Whether to ask for a job in this poll: always, or at the slow pace if it is unreachable.

    Unreachable jobs are spread over the polls by their ARN, so that nothing has to be written down
    to know whose turn it is.
    """
    if job.unreachable_since is None:
        return True
    polls_per_turn = max(1, SLOW_PACE // rules.poll_interval)
    poll = int(now.timestamp() // rules.poll_interval.total_seconds())
    return (poll + zlib.crc32(job.job_arn.encode())) % polls_per_turn == 0


def stalled_since(
    job: TrackedJob, observation: JobObservation, *, now: datetime, rules: Rules
) -> datetime | None:
    """When a job stopped to move, if that is long enough ago and not said yet; else None.

    The observation has the status that is recorded. Counts that moved and wait to be written are
    movement too.
    """
    if rules.stalled_after is None or job.stalled_since is not None or job.progress_at is None:
        return None
    if observation.counts != job.counts or now - job.progress_at < rules.stalled_after:
        return None
    return job.progress_at


def is_at_risk(job: TrackedJob, rules: Rules) -> bool:
    """Whether a job counts as at risk, of which nothing new is known.

    What an earlier deployment noted stays in the item until the counts move.
    """
    return rules.emit_at_risk and job.at_risk_since is not None


def at_risk_since(
    job: TrackedJob,
    estimate: Estimate,
    expiration: datetime | None,
    *,
    now: datetime,
    rules: Rules,
) -> datetime | None:
    """Since when a job is at risk, given its newest estimate; None if it is not.

    An estimate that is unknown, or that nothing can be compared with, leaves it as it was.
    """
    if not rules.emit_at_risk:
        return None
    if estimate.ends_at is None or expiration is None:
        return job.at_risk_since
    if estimate.ends_at <= expiration:
        return None
    return job.at_risk_since or now
