"""What is recorded of a job that cannot be read, and when the job is unreachable.

A job becomes unreachable after a number of consecutive polls in which Bedrock refused it, or when
it could not be read for an hour for another reason. It is reachable again with the first successful
read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bedrock_batch_monitor.domain.jobs import JobError, TrackedJob
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.summary import ABOUT_ONE_JOB
from bedrock_batch_monitor.domain.times import plausible

# How often an unreachable job is still read.
UNREACHABLE_PERIOD: Final = timedelta(minutes=15)
# Throttling, 5xx and no answer are recorded after so long without a successful read.
FAILING_NOTED_AFTER: Final = timedelta(hours=1)
# From then on the item has the start time, so that a new execution environment continues from it.
FAILING_STORED_AFTER: Final = timedelta(minutes=15)
# An ARN that was never readable is untracked after so long.
GIVE_UP_AFTER: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What to record of a job that could not be read.

    `polls` is the number of consecutive polls in which it was refused; `unreachable_since` is set
    once the job is unreachable.
    """

    error: JobError
    polls: int
    unreachable_since: datetime | None


@dataclass(frozen=True, slots=True)
class Failing:
    """Since when a job cannot be read, for reasons that can pass; not recorded as an error yet."""

    since: datetime


def unreadable(
    job: TrackedJob, error: JobError, *, now: datetime, rules: Rules, counts: bool = True
) -> Unreadable | None:
    """What to record of a refusal; None if it is recorded already.

    `counts` is False for a read that an event triggered: only polls count.
    """
    same = job.last_error is not None and job.last_error.code == error.code
    if job.unreachable_since is not None or not counts:
        return None if same else Unreadable(error, job.unreadable_polls, job.unreachable_since)
    polls = job.unreadable_polls + 1
    begins = polls >= rules.unreachable_after_polls
    return Unreadable(error, polls, now if begins else None)


def failing(
    job: TrackedJob, error: JobError, *, since: datetime, now: datetime
) -> Failing | Unreadable | None:
    """What to record of a job that cannot be read because of throttling, 5xx or no answer.

    `since` is the time of the first such read after the last successful one.
    """
    if job.unreachable_since is not None:
        return None
    if now - since >= FAILING_NOTED_AFTER:
        return Unreadable(error, job.unreadable_polls, now)
    if now - since >= FAILING_STORED_AFTER and job.failing_since is None:
        return Failing(since)
    return None


def is_given_up(job: TrackedJob, now: datetime) -> bool:
    """Whether to untrack an ARN that was not readable since it was tracked."""
    if job.sequence > 0:
        return False
    since = plausible(job.unreachable_since, now) or plausible(job.failing_since, now)
    return since is not None and now - since >= GIVE_UP_AFTER


def is_about_itself(job: TrackedJob) -> bool:
    """Whether the recorded error of a job says that only this job cannot be read."""
    return job.last_error is not None and job.last_error.code in ABOUT_ONE_JOB
