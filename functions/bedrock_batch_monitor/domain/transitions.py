"""The decision: what one observation means for a job, given what is recorded of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.conditions import (
    Finding,
    conditions_of,
    findings_of,
)
from bedrock_batch_monitor.domain.event_kinds import ENDED, STALLED, STATUS_CHANGED
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    JobRecord,
    Observed,
    TrackedJob,
    first_in_progress_at,
)
from bedrock_batch_monitor.domain.outcomes import error_share, outcome_of
from bedrock_batch_monitor.domain.progress import (
    UNKNOWN,
    Estimate,
    estimate_after,
    is_counts_write_due,
    may_write_counts,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.times import plausible, seconds_between

# Namespace of all event ids. It must never change: the id of an event depends on it.
_EVENT_NAMESPACE: Final = uuid.UUID("6f3d1a52-6b0b-5c3e-9d0e-3c1f5b7a9e21")


@dataclass(frozen=True, slots=True)
class Unchanged:
    """There is nothing to write."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """The observation is older than what is recorded; it is ignored and counted."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """The status is the same, and something else is to be written.

    Counts changed, a condition began or ended, or the job can be read again. `observation` is what
    to store: its counts are never below the recorded ones. `estimate` is None if the recorded one
    is still valid. `findings` are the conditions that hold.
    """

    observation: JobObservation
    counts_moved: bool = False
    estimate: Estimate | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Transition:
    """The job has a status that is not recorded yet: its first, the next, or its last one.

    `record` is the job as it is recorded with this transition; its counts are never below the
    recorded ones. `findings` are the conditions that hold; of a job that has ended only that it
    missed its deadline.
    """

    record: JobRecord
    findings: tuple[Finding, ...] = ()

    @property
    def entry(self) -> HistoryEntry:
        """The entry for the history."""
        return self.record.last

    @property
    def first_in_progress_at(self) -> datetime | None:
        """When the job was first observed `InProgress`."""
        return self.record.first_in_progress_at

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended with this transition."""
        return statuses.is_terminal(self.entry.status)


Decision = Unchanged | Outdated | Refresh | Transition


def event_id(job_arn: str, fact: str) -> str:
    """The id of the event that reports this fact of a job: a name-based UUID.

    A fact has the same id on every delivery, in every deployment, and after a table was replaced.
    Two facts never have the same id.
    """
    return str(uuid.uuid5(_EVENT_NAMESPACE, f"{job_arn}#{fact}"))


def end_id(job_arn: str) -> str:
    """The id of the event for the end of a job. A job ends once."""
    return event_id(job_arn, ENDED.name)


def status_change_id(job_arn: str, sequence: int, status: str) -> str:
    """The id of the event for a change to a non-terminal status."""
    return event_id(job_arn, f"{STATUS_CHANGED.name}#{sequence}#{status}")


def decide(
    tracked: TrackedJob,
    observation: JobObservation,
    *,
    now: datetime,
    observed_by: str,
    rules: Rules,
) -> Decision:
    """Decide what an observation means for a tracked job.

    An end that is recorded is final. A terminal status is accepted whatever its time says: Bedrock
    never takes one back, and ignoring it could lose the end of the job. A newer answer can come
    from a replica that is behind, so counts never fall.
    """
    if tracked.has_ended:
        return Unchanged() if observation.status == tracked.status else Outdated()
    ends = statuses.is_terminal(observation.status)
    if not ends and (tracked.has_terminal_status or is_older(tracked, observation, now)):
        return Outdated()
    counts = observation.counts.not_below(tracked.counts)
    if counts != observation.counts:
        observation = replace(observation, counts=counts)
    if observation.status == tracked.status and not ends:
        return _same_status(tracked, observation, now=now, rules=rules)
    entry = HistoryEntry(
        job_arn=tracked.job_arn,
        sequence=tracked.sequence + 1,
        status=observation.status,
        observed_at=now,
        observed_by=observed_by,
        event_id=end_id(tracked.job_arn) if ends else None,
        previous_status=tracked.status,
        changed_at=observation.last_modified_time,
        seconds_in_previous_status=seconds_between(
            tracked.changed_at, observation.last_modified_time
        ),
        job_name=observation.job_name,
        model_id=observation.model_id,
        message=observation.message,
        counts=observation.counts,
        backfilled=ends and tracked.backfilled and tracked.sequence == 0,
        outcome=(
            outcome_of(observation.status, observation.counts, rules.max_error_share)
            if ends
            else None
        ),
        error_share=error_share(observation.counts) if ends else None,
    )
    first = first_in_progress_at(tracked.first_in_progress_at, entry)
    findings = findings_of(tracked, observation, now=now, rules=rules)
    return Transition(JobRecord(observation, entry, first), findings)


def _same_status(
    tracked: TrackedJob, observation: JobObservation, *, now: datetime, rules: Rules
) -> Decision:
    """Decide about an observation that is not older, whose counts are merged already."""
    if is_unchanged(tracked, observation, now=now, rules=rules):
        return Unchanged()
    findings = findings_of(tracked, observation, now=now, rules=rules)
    conditions = conditions_of(findings)
    # A condition follows from the estimate of these counts, so it is not written without them.
    if is_counts_write_due(tracked, observation, now=now, rules=rules) or (
        conditions != tracked.conditions
        and may_write_counts(tracked, observation, now=now, rules=rules)
    ):
        estimate = estimate_after(tracked, observation, now=now)
        return Refresh(observation, counts_moved=True, estimate=estimate, findings=findings)
    return Refresh(
        replace(observation, counts=tracked.counts),
        # A job that has stalled has no rate.
        estimate=UNKNOWN if STALLED.name in conditions else None,
        findings=findings,
    )


def is_unchanged(
    tracked: TrackedJob, observation: Observed, *, now: datetime, rules: Rules
) -> bool:
    """Whether an observation changes nothing that is recorded.

    Its status is the recorded one, it is not older, and its counts are merged already.
    """
    findings = findings_of(tracked, observation, now=now, rules=rules)
    return (
        conditions_of(findings) == tracked.conditions
        and not tracked.has_read_failures
        and not is_counts_write_due(tracked, observation, now=now, rules=rules)
    )


def is_older(tracked: TrackedJob, observation: Observed, now: datetime) -> bool:
    """Whether an observation of a non-terminal status is older than what is recorded.

    `lastModifiedTime` decides. If it is equal, or not plausible on one side, the order of the
    statuses decides, and for the same status the record counts, which never fall.
    """
    if tracked.status is None:
        return False
    if tracked.last_modified_time != observation.last_modified_time:
        known = plausible(tracked.last_modified_time, now)
        modified = plausible(observation.last_modified_time, now)
        if known is not None and modified is not None:
            return modified < known
    if observation.status != tracked.status:
        return statuses.comes_before(observation.status, tracked.status)
    return observation.counts.is_behind(tracked.counts)
