"""The rules for conditions of a job: what can begin and end while the job has not ended.

A rule is a pure function of a job, an observation, the time and the settings. It returns a finding
as long as its condition holds. All rules are applied to every observation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.event_kinds import (
    AT_RISK,
    DEADLINE_MISSED,
    STALLED,
    EventKind,
)
from bedrock_batch_monitor.domain.forecast import QueueRisk
from bedrock_batch_monitor.domain.jobs import Observed, TrackedJob
from bedrock_batch_monitor.domain.owners import deadline_of
from bedrock_batch_monitor.domain.progress import (
    UNKNOWN,
    Estimate,
    estimate_after,
    may_write_counts,
    seconds_past,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.times import plausible, seconds_between, to_iso

# A job that waits is at risk in the last tenth of its time, within these bounds.
_SHORTEST_LEAD: Final = timedelta(minutes=5)
_LONGEST_LEAD: Final = timedelta(hours=6)
# A job is no longer at risk if it is expected before the limit by so much, or by a twentieth of the
# time that is left.
_LONGEST_MARGIN: Final = timedelta(hours=1)
_NO_MARGIN: Final = timedelta(0)
# The reason of a risk for a deadline.
DEADLINE: Final = "deadline"


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds, and since when.

    `facts` are values of the kind's data fields, by name; None is unknown.
    """

    kind: EventKind
    since: datetime
    facts: Mapping[str, object] = field(default_factory=dict)


Rule = Callable[[TrackedJob, Observed, datetime, Rules], Finding | None]


def stalled(job: TrackedJob, observation: Observed, now: datetime, rules: Rules) -> Finding | None:
    """Status and counts have not changed for the configured time.

    Counts that changed and are not written yet count as a change.
    """
    if rules.stalled_after is None:
        return None
    if observation.status != job.status or observation.counts != job.counts:
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


@dataclass(frozen=True, slots=True)
class _Limit:
    """A moment at which a job is to be done, and the reason in `risk.reason` if it will not be."""

    reason: str
    at: datetime


def at_risk(job: TrackedJob, observation: Observed, now: datetime, rules: Rules) -> Finding | None:
    """The job will probably miss its expiration or its deadline.

    A deadline counts always, the expiration with `emit_at_risk`. A job that runs is at risk if its
    estimated end is past a limit. A job that waits is at risk if a limit is near, or if few of the
    jobs that waited as long would be done by its deadline.
    """
    if observation.status in statuses.WAITING:
        return _at_risk_in_queue(job, observation, now, rules)
    return _at_risk_while_running(job, observation, now, rules)


def _at_risk_in_queue(
    job: TrackedJob, observation: Observed, now: datetime, rules: Rules
) -> Finding | None:
    since = job.conditions.get(AT_RISK.name)
    submitted = plausible(observation.submit_time or job.submit_time, now)
    if since is not None and rules.emit_at_risk and observation.job_expiration_time is None:
        # A list summary can lack the expiration: nothing is known, so nothing changes.
        return Finding(AT_RISK, since)
    for limit in _limits(job, observation, rules, waits=True):
        if submitted is None or limit.at <= now:
            continue
        if limit.reason == DEADLINE:
            if since is not None and job.queue_risk is None:
                # The forecast was not asked: only a poll knows whether the job is still at risk.
                return Finding(AT_RISK, since)
            expected = _late_by_forecast(job.queue_risk, now, is_at_risk=since is not None)
            if expected is not None:
                return Finding(AT_RISK, since or now, _risk_of(limit, observation, expected))
        if limit.at - now <= min(max((limit.at - submitted) / 10, _SHORTEST_LEAD), _LONGEST_LEAD):
            return Finding(AT_RISK, since or now, _risk_of(limit, observation, UNKNOWN))
    return None


def _late_by_forecast(
    risk: QueueRisk | None, now: datetime, *, is_at_risk: bool
) -> Estimate | None:
    """What the forecast expects of a job that will probably be late; None if it does not say so.

    A job that is at risk already stays so until its chance is clearly better.
    """
    if risk is None:
        return None
    from_then = risk.holds if is_at_risk else risk.begins
    return Estimate(ends_at=risk.ends_at) if from_then is not None and now >= from_then else None


def _at_risk_while_running(
    job: TrackedJob, observation: Observed, now: datetime, rules: Rules
) -> Finding | None:
    """Whether the estimated end is past a limit.

    Without a new estimate or without a limit, the condition stays as it was. It ends if the
    estimate is before the limit by a margin, so that it does not begin and end with each estimate.
    """
    since = job.conditions.get(AT_RISK.name)
    has_estimate = may_write_counts(job, observation, now=now, rules=rules)
    if observation.status != job.status or (since is None and not has_estimate):
        return None
    limits = _limits(job, observation, rules, waits=False)
    if not limits and not rules.emit_at_risk:
        return None
    recorded = None if since is None else Finding(AT_RISK, since)
    if not limits or not has_estimate:
        return recorded
    estimate = estimate_after(job, observation, now=now)
    if estimate.ends_at is None:
        return recorded
    for limit in limits:
        if now < limit.at < estimate.ends_at + _margin(limit, estimate.ends_at, since, now):
            return Finding(AT_RISK, since or now, _risk_of(limit, observation, estimate))
    return None


def _margin(limit: _Limit, ends_at: datetime, since: datetime | None, now: datetime) -> timedelta:
    """How much later than estimated the end counts as; negative: how much earlier.

    An estimate is about as uncertain as a share of the time to the end. A deadline is at risk only
    beyond that, so that most warnings come true. An expiration costs output, so it is at risk at
    once.
    """
    if since is not None:
        return min((limit.at - now) / 20, _LONGEST_MARGIN)
    return -(ends_at - now) / 10 if limit.reason == DEADLINE else _NO_MARGIN


def _limits(
    job: TrackedJob, observation: Observed, rules: Rules, *, waits: bool
) -> tuple[_Limit, ...]:
    """The limits of a job, the earliest first."""
    limits = []
    deadline, expiration = deadline_of(job, observation), observation.job_expiration_time
    if deadline is not None:
        limits.append(_Limit(DEADLINE, deadline))
    if expiration is not None and rules.emit_at_risk:
        limits.append(_Limit("queue" if waits else "expiration", expiration))
    return tuple(sorted(limits, key=lambda limit: limit.at))


def _risk_of(limit: _Limit, observation: Observed, estimate: Estimate) -> dict[str, object]:
    expiration, ends_at = observation.job_expiration_time, estimate.ends_at
    estimated_end = None if ends_at is None else to_iso(ends_at)
    return {
        "recordsPerMinute": estimate.records_per_minute,
        "estimatedEndTime": estimated_end,
        "jobExpirationTime": None if expiration is None else to_iso(expiration),
        "secondsPastExpiration": seconds_past(ends_at, expiration),
        "risk.reason": limit.reason,
        "risk.at": to_iso(limit.at),
        "risk.estimatedEndTime": estimated_end,
    }


def deadline_missed(
    job: TrackedJob, observation: Observed, now: datetime, _rules: Rules
) -> Finding | None:
    """The deadline passed before the job ended; it began at the deadline."""
    deadline = deadline_of(job, observation)
    if deadline is None or now < deadline:
        return None
    if statuses.is_terminal(observation.status):
        ended = observation.end_time or observation.last_modified_time or now
        return None if ended <= deadline else Finding(DEADLINE_MISSED, deadline)
    return Finding(DEADLINE_MISSED, deadline)


RULES: Final[tuple[Rule, ...]] = (stalled, at_risk, deadline_missed)
# What is still found of a job that has ended.
RULES_AT_END: Final[tuple[Rule, ...]] = (deadline_missed,)


def findings_of(
    job: TrackedJob, observation: Observed, *, now: datetime, rules: Rules
) -> tuple[Finding, ...]:
    """The conditions that hold, given an observation that is not older than what is recorded.

    A job that is recorded for the history alone has none.
    """
    has_ended = statuses.is_terminal(observation.status)
    if has_ended and job.backfilled and job.sequence == 0:
        return ()
    applied = RULES_AT_END if has_ended else RULES
    found = [rule(job, observation, now, rules) for rule in applied]
    return tuple([finding for finding in found if finding is not None])


def conditions_of(findings: Iterable[Finding]) -> dict[str, datetime]:
    """The conditions as a job's item has them: since when, by the name of the kind."""
    return {finding.kind.name: finding.since for finding in findings}


def beginning(job: TrackedJob, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings of conditions that are not recorded yet: an event is due for each.

    A job that has another deadline than before can miss it, too.
    """
    return tuple(
        finding for finding in findings if job.conditions.get(finding.kind.name) != finding.since
    )
