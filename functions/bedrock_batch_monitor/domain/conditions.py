"""The rules for conditions of a job: what can begin and end while the job has not ended.

A rule is a pure function of a job, an observation, the time and the settings. It returns a finding
as long as its condition holds. All rules are applied to every observation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bedrock_batch_monitor.domain.event_kinds import AT_RISK, STALLED, EventKind
from bedrock_batch_monitor.domain.jobs import JobObservation, TrackedJob
from bedrock_batch_monitor.domain.progress import estimate_after, is_counts_write_due, seconds_past
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.times import plausible, seconds_between, to_iso


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds, and since when.

    `facts` are values of the kind's data fields, by name; None is unknown.
    """

    kind: EventKind
    since: datetime
    facts: Mapping[str, object] = field(default_factory=dict)


Rule = Callable[[TrackedJob, JobObservation, datetime, Rules], Finding | None]


def stalled(
    job: TrackedJob, observation: JobObservation, now: datetime, rules: Rules
) -> Finding | None:
    """Status and counts have not changed for the configured time.

    Counts that changed and are not written yet count as a change.
    """
    changed = observation.status != job.status or observation.counts != job.counts
    if rules.stalled_after is None or changed:
        return None
    since = job.conditions.get(STALLED.name)
    if since is not None:
        return Finding(STALLED, since)
    since = plausible(job.progress_at, now)
    if since is None or now - since < rules.stalled_after:
        return None
    facts = {
        "stalledSeconds": seconds_between(since, now),
        "lastProgress.at": to_iso(since),
        "lastProgress.processed": job.counts.processed,
        "lastProgress.total": job.counts.total,
        "lastProgress.recordsPerMinute": job.records_per_minute,
    }
    return Finding(STALLED, since, facts)


def at_risk(
    job: TrackedJob, observation: JobObservation, now: datetime, rules: Rules
) -> Finding | None:
    """The estimated end is past the expiration.

    Without a new estimate or without an expiration, the condition stays as it was.
    """
    if not rules.emit_at_risk or observation.status != job.status:
        return None
    since = job.conditions.get(AT_RISK.name)
    recorded = None if since is None else Finding(AT_RISK, since)
    if not is_counts_write_due(job, observation, now=now, rules=rules):
        return recorded
    estimate, expiration = (
        estimate_after(job, observation, now=now),
        observation.job_expiration_time,
    )
    if estimate.ends_at is None or expiration is None:
        return recorded
    seconds = seconds_past(estimate.ends_at, expiration)
    if seconds is None:
        return None
    facts = {
        "recordsPerMinute": estimate.records_per_minute,
        "estimatedEndTime": to_iso(estimate.ends_at),
        "jobExpirationTime": to_iso(expiration),
        "secondsPastExpiration": seconds,
    }
    return Finding(AT_RISK, since or now, facts)


RULES: Final[tuple[Rule, ...]] = (stalled, at_risk)


def findings_of(
    job: TrackedJob, observation: JobObservation, *, now: datetime, rules: Rules
) -> tuple[Finding, ...]:
    """The conditions that hold, given an observation that is not older than what is recorded."""
    found = (rule(job, observation, now, rules) for rule in RULES)
    return tuple(finding for finding in found if finding is not None)


def conditions_of(findings: Iterable[Finding]) -> dict[str, datetime]:
    """The conditions as a job's item has them: since when, by the name of the kind."""
    return {finding.kind.name: finding.since for finding in findings}


def beginning(job: TrackedJob, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings of conditions that are not recorded yet: an event is due for each."""
    return tuple(finding for finding in findings if finding.kind.name not in job.conditions)
