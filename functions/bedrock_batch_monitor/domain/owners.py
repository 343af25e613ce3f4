"""What is recorded of the owner of a job and of what the owner expects: its tags, its deadline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from bedrock_batch_monitor.domain.deadlines import SetBy, chosen_deadline, moment_of
from bedrock_batch_monitor.domain.jobs import JobObservation, Observed, TrackedJob
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.times import to_iso


@dataclass(frozen=True, slots=True)
class Owner:
    """What to write about tags and deadline; None is left as it is.

    `tags_pending` says that the tags could not be read yet and are to be read again.
    """

    tags: Mapping[str, str] | None = None
    tags_pending: bool = False
    deadline: str | None = None
    deadline_by: SetBy | None = None


def deadline_of(job: TrackedJob, observation: Observed | None = None) -> datetime | None:
    """The deadline of a job, if it has one and its moment is known."""
    submitted = job.submit_time
    if observation is not None and observation.submit_time is not None:
        submitted = observation.submit_time
    return moment_of(job.deadline, submitted)


def resolved_deadline(job: TrackedJob, observation: JobObservation) -> Owner | None:
    """The moment to write in place of what a person wrote; None if there is nothing to write."""
    at = deadline_of(job, observation)
    if at is None or to_iso(at) == job.deadline:
        return None
    return Owner(None, job.tags_pending, to_iso(at), SetBy.USER)


def owner_of(
    job: TrackedJob,
    observation: JobObservation,
    tags: Mapping[str, str] | None,
    rules: Rules,
    deadline_by: str | None = SetBy.USER,
) -> Owner:
    """What to write, given the tags of a job; `tags` is None if they could not be read.

    The deadline in the item counts, if a person set it (`deadline_by`). What was written as a time
    of day or a duration becomes a moment.
    """
    pending = tags is None
    at = deadline_of(job, observation)
    if at is not None and deadline_by == SetBy.USER:
        resolved = resolved_deadline(job, observation) or Owner()
        return replace(resolved, tags=tags, tags_pending=pending)
    chosen = chosen_deadline(
        tags=tags or {},
        tag=rules.deadline_tag,
        rules=rules.deadlines,
        job_name=observation.job_name,
        submitted=observation.submit_time,
    )
    if chosen is None or chosen[0] == job.deadline:
        return Owner(tags, pending)
    return Owner(tags, pending, *chosen)
