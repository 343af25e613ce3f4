"""The rules for conditions: when each begins and ends, and what the decision contains."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from bedrock_batch_monitor.domain.conditions import (
    RULES as ALL_RULES,
)
from bedrock_batch_monitor.domain.conditions import (
    Finding,
    at_risk,
    beginning,
    conditions_of,
    deadline_missed,
    findings_of,
    stalled,
)
from bedrock_batch_monitor.domain.event_kinds import (
    AT_RISK,
    BY_NAME,
    CONDITIONS,
    DEADLINE_MISSED,
    KINDS,
    STALLED,
)
from bedrock_batch_monitor.domain.forecast import QueueRisk
from bedrock_batch_monitor.domain.jobs import (
    NO_COUNTS,
    JobError,
    JobObservation,
    RecordCounts,
    TrackedJob,
)
from bedrock_batch_monitor.domain.progress import UNKNOWN, Estimate
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.domain.transitions import Refresh, Transition, Unchanged, decide
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, all_rules, observations, tracked_jobs

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
SINCE = NOW - HOUR
STALLING = replace(RULES, stalled_after=HOUR)
WARNING = replace(RULES, emit_at_risk=True)
BOTH = replace(STALLING, emit_at_risk=True)
COUNTS = RecordCounts(100, 10, 10, 0)
JOB = TrackedJob(ARN, sequence=2, status="InProgress", counts=COUNTS, progress_at=SINCE)
STILL = JobObservation(ARN, "InProgress", counts=COUNTS)
# 30 records in an hour: the other 60 take two hours.
MOVED = replace(STILL, counts=COUNTS._replace(processed=40))
ESTIMATE = Estimate(0.5, NOW + 2 * HOUR)


def test_names_and_detail_types_of_kinds_are_unique() -> None:
    """A pending event and an event id contain the name."""
    assert len(BY_NAME) == len({kind.detail_type for kind in KINDS}) == len(KINDS)
    assert len({kind.metric for kind in CONDITIONS}) == len(CONDITIONS)
    assert all(kind.metric and kind.words is not None for kind in CONDITIONS)


@pytest.mark.parametrize(
    ("changes", "observation", "rules", "expected"),
    [
        ({}, STILL, STALLING, SINCE),
        ({}, STILL, RULES, None),
        ({"progress_at": SINCE + SECOND}, STILL, STALLING, None),
        ({"progress_at": None}, STILL, STALLING, None),
        ({"progress_at": NOW.replace(year=1970)}, STILL, STALLING, None),
        ({}, replace(STILL, counts=COUNTS._replace(processed=11)), STALLING, None),
        ({}, replace(STILL, status="Stopping"), STALLING, None),
        # The time at which it began stays, also after a change of the setting.
        ({"conditions": {"Stalled": SINCE + SECOND}}, STILL, STALLING, SINCE + SECOND),
        ({"conditions": {"Stalled": SINCE}}, STILL, RULES, None),
        ({"conditions": {"Stalled": SINCE}}, MOVED, STALLING, None),
    ],
)
def test_job_is_stalled_while_nothing_changes_for_the_configured_time(
    changes: dict[str, Any], observation: JobObservation, rules: Rules, expected: datetime | None
) -> None:
    """A change of the status or of a count ends it."""
    found = stalled(replace(JOB, **changes), observation, NOW, rules)
    assert (None if found is None else found.since) == expected


@pytest.mark.parametrize(
    ("changes", "expiration", "rules", "expected"),
    [
        ({}, ESTIMATE.ends_at - SECOND, WARNING, NOW),
        ({}, ESTIMATE.ends_at, WARNING, None),
        ({}, ESTIMATE.ends_at - SECOND, RULES, None),
        ({}, None, WARNING, None),
        ({"conditions": {"AtRisk": SINCE}}, ESTIMATE.ends_at - SECOND, WARNING, SINCE),
        ({"conditions": {"AtRisk": SINCE}}, ESTIMATE.ends_at - SECOND, RULES, None),
        # It ends only once the estimate is before the expiration by a margin.
        ({"conditions": {"AtRisk": SINCE}}, ESTIMATE.ends_at, WARNING, SINCE),
        ({"conditions": {"AtRisk": SINCE}}, ESTIMATE.ends_at + 7 * MINUTE, WARNING, None),
        # Without an expiration or a new estimate nothing is known, so nothing changes.
        ({"conditions": {"AtRisk": SINCE}}, None, WARNING, SINCE),
        ({"conditions": {"AtRisk": SINCE}, "progress_at": NOW}, ESTIMATE.ends_at, WARNING, SINCE),
        ({"progress_at": NOW}, ESTIMATE.ends_at - SECOND, WARNING, None),
        ({"conditions": {"AtRisk": SINCE}, "counts": MOVED.counts}, NOW, WARNING, SINCE),
    ],
)
def test_job_is_at_risk_while_its_estimated_end_is_past_its_expiration(
    changes: dict[str, Any], expiration: datetime | None, rules: Rules, expected: datetime | None
) -> None:
    """Only a new estimate, made when counts are written, begins or ends it."""
    observation = replace(MOVED, job_expiration_time=expiration)
    found = at_risk(replace(JOB, **changes), observation, NOW, rules)
    assert (None if found is None else found.since) == expected


DEADLINE = NOW + 10 * HOUR
WAITS = replace(
    JOB, status="Scheduled", submit_time=NOW - HOUR, deadline=to_iso(DEADLINE), counts=COUNTS
)
LATE = QueueRisk(NOW, NOW - MINUTE, DEADLINE + HOUR)
LATER = QueueRisk(NOW + SECOND, NOW - MINUTE, DEADLINE + HOUR)
HAS_HOPE = QueueRisk(None, NOW + SECOND)
AT_RISK_SINCE = {"conditions": {"AtRisk": SINCE}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"queue_risk": LATE}, NOW),
        ({"queue_risk": LATER}, None),
        ({"queue_risk": QueueRisk()}, None),
        # A job at risk stays so until its chance is clearly better, or its deadline is another.
        (AT_RISK_SINCE | {"queue_risk": LATER}, SINCE),
        (AT_RISK_SINCE | {"queue_risk": HAS_HOPE}, None),
        (AT_RISK_SINCE | {"queue_risk": LATE, "deadline": None}, None),
        # After an event of Bedrock, a job is read without a forecast.
        (AT_RISK_SINCE, SINCE),
        ({"queue_risk": LATE, "deadline": to_iso(NOW)}, None),
        # Without a forecast, the last tenth of the time is too late to wait.
        ({"deadline": to_iso(NOW + 6 * MINUTE), "queue_risk": QueueRisk()}, NOW),
        ({"deadline": to_iso(NOW + 7 * MINUTE), "queue_risk": QueueRisk()}, None),
    ],
)
def test_waiting_job_is_at_risk_from_the_moment_of_its_forecast(
    changes: dict[str, Any], expected: datetime | None
) -> None:
    """The deadline counts, also without `emitAtRisk`."""
    observation = replace(STILL, status="Scheduled")
    found = at_risk(replace(WAITS, **changes), observation, NOW, RULES)
    assert (None if found is None else found.since) == expected


def test_event_of_a_waiting_job_has_the_end_that_the_forecast_expects() -> None:
    """Half of the jobs that waited as long had ended by then."""
    found = at_risk(replace(WAITS, queue_risk=LATE), replace(STILL, status="Scheduled"), NOW, RULES)
    assert found is not None
    assert found.facts["risk.reason"] == "deadline"
    assert found.facts["risk.estimatedEndTime"] == to_iso(DEADLINE + HOUR)


@pytest.mark.parametrize(
    ("waited", "left", "is_late"),
    [
        # The last tenth of ten hours.
        (9 * HOUR, HOUR, True),
        (9 * HOUR, HOUR + SECOND, False),
        # Never less than five minutes, and never more than six hours.
        (10 * MINUTE, 5 * MINUTE, True),
        (10 * MINUTE, 5 * MINUTE + SECOND, False),
        (100 * HOUR, 6 * HOUR, True),
        (100 * HOUR, 6 * HOUR + SECOND, False),
        # The limit has passed.
        (HOUR, timedelta(0), False),
        (HOUR, SECOND, True),
    ],
)
def test_job_that_waits_is_at_risk_in_the_last_tenth_of_its_time(
    waited: timedelta, left: timedelta, *, is_late: bool
) -> None:
    """Before its expiration, with `emitAtRisk`, and before its deadline."""
    job = replace(WAITS, submit_time=NOW - waited, deadline=None)
    expires = JobObservation(ARN, "Scheduled", counts=COUNTS, job_expiration_time=NOW + left)
    found = at_risk(job, expires, NOW, WARNING)
    assert (found is not None) == is_late
    if found is not None:
        assert found.facts["risk.reason"] == "queue"
        assert found.facts["risk.at"] == to_iso(NOW + left)
        assert found.facts["jobExpirationTime"] == to_iso(NOW + left)
        assert found.facts["estimatedEndTime"] is None
    assert at_risk(job, expires, NOW, RULES) is None
    due = replace(job, deadline=to_iso(NOW + left), queue_risk=QueueRisk())
    found = at_risk(due, SCHEDULED, NOW, RULES)
    assert (found is not None) == is_late


SCHEDULED = replace(STILL, status="Scheduled")


def test_risk_of_a_waiting_job_stays_while_its_expiration_is_unknown() -> None:
    """A list summary can lack it; a job that was not at risk does not become so."""
    job = replace(WAITS, deadline=None)
    recorded = replace(job, conditions={"AtRisk": SINCE})
    assert at_risk(recorded, SCHEDULED, NOW, WARNING) == Finding(AT_RISK, SINCE)
    assert at_risk(job, SCHEDULED, NOW, WARNING) is None
    assert at_risk(recorded, SCHEDULED, NOW, RULES) is None
    expires = replace(SCHEDULED, job_expiration_time=NOW + 10 * HOUR)
    assert at_risk(recorded, expires, NOW, WARNING) is None
    # Without a submission nobody knows how much of the time is left.
    unknown = replace(job, submit_time=None)
    soon = replace(SCHEDULED, job_expiration_time=NOW + MINUTE)
    assert at_risk(unknown, soon, NOW, WARNING) is None
    assert at_risk(unknown, replace(soon, submit_time=NOW - HOUR), NOW, WARNING) is not None


@pytest.mark.parametrize(
    ("deadline", "since", "expected"),
    [
        # The estimated end is in two hours: a tenth of them is tolerated.
        (NOW + 108 * MINUTE - SECOND, None, NOW),
        (NOW + 108 * MINUTE, None, None),
        # A deadline that is at risk stays so up to a twentieth of the time to it.
        (NOW + 126 * MINUTE, SINCE, SINCE),
        (NOW + 126.4 * MINUTE, SINCE, None),
        # It passed: it is missed, and no longer at risk.
        (NOW, None, None),
        (NOW + SECOND, None, NOW),
    ],
)
def test_deadline_of_a_running_job_is_at_risk_beyond_the_error_of_the_estimate(
    deadline: datetime, since: datetime | None, expected: datetime | None
) -> None:
    """So that most warnings come true, and do not come and go."""
    conditions = {} if since is None else {"AtRisk": since}
    job = replace(JOB, deadline=to_iso(deadline), conditions=conditions)
    found = at_risk(job, MOVED, NOW, RULES)
    assert (None if found is None else found.since) == expected


@pytest.mark.parametrize(("late", "stays"), [(HOUR - SECOND, True), (HOUR, False)])
def test_risk_of_a_long_job_ends_an_hour_before_its_limit(late: timedelta, *, stays: bool) -> None:
    """30 records an hour: the other 1,200 take forty hours."""
    moved = replace(MOVED, counts=RecordCounts(1240, 40, 10, 0))
    job = replace(JOB, counts=RecordCounts(1240, 10, 10, 0), conditions={"AtRisk": SINCE})
    expires = replace(moved, job_expiration_time=NOW + 40 * HOUR + late)
    found = at_risk(job, expires, NOW, WARNING)
    assert (found is not None) == stays


def test_risk_stays_while_the_estimate_is_unknown() -> None:
    """Without the number of all records, for example."""
    job = replace(JOB, counts=RecordCounts(None, 10), conditions={"AtRisk": SINCE})
    answer = JobObservation(
        ARN,
        "InProgress",
        counts=RecordCounts(None, 40),
        job_expiration_time=NOW + 99 * HOUR,
    )
    assert at_risk(job, answer, NOW, WARNING) == Finding(AT_RISK, SINCE)
    assert at_risk(replace(job, conditions={}), answer, NOW, WARNING) is None


def test_facts_of_a_risk_are_those_of_the_earlier_limit() -> None:
    """The deadline comes first, and the expiration is in the event, too."""
    expiration = NOW + 119 * MINUTE
    job = replace(JOB, deadline=to_iso(NOW + HOUR))
    found = at_risk(job, replace(MOVED, job_expiration_time=expiration), NOW, WARNING)
    ends_at = to_iso(NOW + 2 * HOUR)
    assert found == Finding(
        AT_RISK,
        NOW,
        {
            "recordsPerMinute": 0.5,
            "estimatedEndTime": ends_at,
            "jobExpirationTime": to_iso(expiration),
            "secondsPastExpiration": 60,
            "risk.reason": "deadline",
            "risk.at": to_iso(NOW + HOUR),
            "risk.estimatedEndTime": ends_at,
        },
    )
    found = at_risk(JOB, replace(MOVED, job_expiration_time=expiration), NOW, WARNING)
    assert found is not None
    assert (found.facts["risk.reason"], found.facts["risk.at"]) == (
        "expiration",
        to_iso(expiration),
    )


def test_fields_that_are_always_there_are_those_of_the_least_known_job() -> None:
    """Counts, rate and estimate can be unknown, and so can the expiration."""
    stalls = stalled(replace(JOB, counts=NO_COUNTS), NOTHING, NOW, STALLING)
    waits = replace(WAITS, counts=NO_COUNTS, deadline=to_iso(NOW + SECOND))
    late = at_risk(waits, replace(NOTHING, status="Scheduled"), NOW, RULES)
    for found in (stalls, late):
        assert found is not None
        known = {name for name, value in found.facts.items() if value is not None}
        assert known == {field.name for field in found.kind.fields if field.is_required}


NOTHING = JobObservation(ARN, "InProgress")


def test_severity_of_a_condition_says_whether_something_is_lost() -> None:
    """A job that stalls or is at risk can still be in time."""
    found = {kind.name: str(kind.words.severity) for kind in CONDITIONS if kind.words is not None}
    assert found == {
        "Stalled": "warning",
        "AtRisk": "warning",
        "DeadlineMissed": "alarm",
        "Unreachable": "alarm",
    }


DUE = NOW - MINUTE


@pytest.mark.parametrize(
    ("observation", "now", "expected"),
    [
        (STILL, DUE - SECOND, None),
        (STILL, DUE, DUE),
        (STILL, NOW, DUE),
        # The end decides, or else the last change, or the time of the read.
        (JobObservation(ARN, "Completed", end_time=DUE), NOW, None),
        (JobObservation(ARN, "Completed", end_time=DUE + SECOND), NOW, DUE),
        (JobObservation(ARN, "Failed", last_modified_time=DUE), NOW, None),
        (JobObservation(ARN, "Failed", last_modified_time=DUE + SECOND), NOW, DUE),
        (JobObservation(ARN, "Failed", end_time=DUE, last_modified_time=NOW), NOW, None),
        (JobObservation(ARN, "Failed"), NOW, DUE),
        (JobObservation(ARN, "Failed"), DUE, None),
    ],
)
def test_deadline_is_missed_by_a_job_that_ends_later(
    observation: JobObservation, now: datetime, expected: datetime | None
) -> None:
    """It began at the deadline; a job without one misses none."""
    found = deadline_missed(replace(JOB, deadline=to_iso(DUE)), observation, now, RULES)
    assert found == (None if expected is None else Finding(DEADLINE_MISSED, expected))
    assert deadline_missed(JOB, observation, now, RULES) is None


def test_facts_of_a_stall_are_those_of_the_last_progress() -> None:
    """A stall that is recorded has no new ones."""
    job = replace(JOB, records_per_minute=2.5)
    assert stalled(job, STILL, NOW + SECOND, STALLING) == Finding(
        STALLED,
        SINCE,
        {
            "stalledSeconds": 3601,
            "lastProgress.at": to_iso(SINCE),
            "lastProgress.processed": 10,
            "lastProgress.total": 100,
            "lastProgress.recordsPerMinute": 2.5,
        },
    )
    again = replace(job, conditions={"Stalled": SINCE})
    assert stalled(again, STILL, NOW, STALLING) == Finding(STALLED, SINCE)


def test_transition_ends_at_risk_and_stalled() -> None:
    """The next status has its own estimate and time."""
    job = replace(JOB, conditions={"AtRisk": SINCE, "Stalled": SINCE})
    decision = decide(
        job, replace(STILL, status="Stopping"), now=NOW, observed_by="poll", rules=BOTH
    )
    assert isinstance(decision, Transition)
    assert decision.findings == ()


def test_stall_is_recorded_once_and_ends_with_the_first_change() -> None:
    """Counts that change end it at once, without the interval between writes of counts."""
    decision = decide(JOB, STILL, now=NOW, observed_by="poll", rules=STALLING)
    assert isinstance(decision, Refresh)
    assert conditions_of(decision.findings) == {"Stalled": SINCE}
    assert decision.estimate == UNKNOWN
    assert not decision.counts_moved
    recorded = replace(JOB, conditions={"Stalled": SINCE})
    again = decide(recorded, STILL, now=NOW, observed_by="poll", rules=STALLING)
    assert again == Unchanged()
    moves = replace(STILL, counts=COUNTS._replace(processed=11))
    recorded = replace(recorded, progress_at=NOW)
    ended = decide(recorded, moves, now=NOW, observed_by="poll", rules=STALLING)
    assert ended == Refresh(moves, counts_moved=True, estimate=UNKNOWN)


def test_at_risk_is_decided_with_the_estimate_that_is_written() -> None:
    """The facts of the event are those of the estimate."""
    expiration = NOW + timedelta(minutes=119)
    moved = replace(MOVED, job_expiration_time=expiration)
    decision = decide(JOB, moved, now=NOW, observed_by="poll", rules=WARNING)
    assert isinstance(decision, Refresh)
    assert (decision.counts_moved, decision.estimate) == (True, ESTIMATE)
    [found] = decision.findings
    assert (found.kind, found.since) == (AT_RISK, NOW)
    assert found.facts["secondsPastExpiration"] == 60
    decision = decide(JOB, moved, now=NOW, observed_by="poll", rules=RULES)
    assert decision == Refresh(moved, counts_moved=True, estimate=ESTIMATE)


def test_rule_that_finds_something_does_not_hide_another() -> None:
    """A job that is at risk can stall, and both are in one decision."""
    job = replace(JOB, conditions={"AtRisk": SINCE})
    decision = decide(job, STILL, now=NOW, observed_by="poll", rules=BOTH)
    assert isinstance(decision, Refresh)
    assert conditions_of(decision.findings) == {"Stalled": SINCE, "AtRisk": SINCE}
    assert [finding.kind for finding in beginning(job, decision.findings)] == [STALLED]


def test_counts_that_are_not_due_stay_unwritten_when_a_condition_ends() -> None:
    """Otherwise they would be written without the estimate that belongs to them."""
    job = replace(JOB, conditions={"AtRisk": SINCE}, progress_at=NOW)
    decision = decide(job, MOVED, now=NOW, observed_by="poll", rules=RULES)
    assert decision == Refresh(replace(MOVED, counts=COUNTS))


@given(tracked_jobs, observations, all_rules)
def test_findings_fit_the_registry(
    job: TrackedJob, observation: JobObservation, rules: Rules
) -> None:
    """At most one finding per rule; one that begins has the facts that its event requires."""
    findings = findings_of(job, observation, now=NOW, rules=rules)
    assert len(conditions_of(findings)) == len(findings) <= len(ALL_RULES)
    for finding in beginning(job, findings):
        names = {field.name for field in finding.kind.fields}
        known = {name for name, value in finding.facts.items() if value is not None}
        assert known <= names
        assert {field.name for field in finding.kind.fields if field.is_required} <= known


@given(tracked_jobs, observations, all_rules)
def test_decision_after_a_refresh_is_unchanged(
    job: TrackedJob, observation: JobObservation, rules: Rules
) -> None:
    """The next read with the same response records nothing again."""
    decision = decide(job, observation, now=NOW, observed_by="poll", rules=rules)
    if not isinstance(decision, Refresh):
        return
    recorded = replace(
        job.without_errors(),
        counts=decision.observation.counts,
        last_modified_time=decision.observation.last_modified_time,
        conditions=conditions_of(decision.findings),
        progress_at=NOW if decision.counts_moved else job.progress_at,
    )
    again = decide(recorded, decision.observation, now=NOW, observed_by="poll", rules=rules)
    assert again == Unchanged()


def test_read_after_an_error_keeps_the_conditions() -> None:
    """The error is removed, and the job is still at risk."""
    job = replace(
        JOB, conditions={"AtRisk": SINCE}, last_error=JobError("Odd", "no"), progress_at=NOW
    )
    decision = decide(job, STILL, now=NOW, observed_by="poll", rules=WARNING)
    assert decision == Refresh(STILL, findings=(Finding(AT_RISK, SINCE),))


def test_end_that_is_recorded_for_the_history_alone_has_no_condition() -> None:
    """It would have an event for a deadline that passed long ago; any other end has it."""
    missed = TrackedJob(ARN, deadline=to_iso(NOW - timedelta(hours=2)))
    answer = JobObservation(ARN, "Completed", last_modified_time=NOW)

    def kinds(job: TrackedJob) -> list[str]:
        return [found.kind.name for found in findings_of(job, answer, now=NOW, rules=RULES)]

    assert kinds(replace(missed, backfilled=True)) == []
    assert kinds(missed) == [DEADLINE_MISSED.name]
    assert kinds(replace(missed, backfilled=True, sequence=1)) == [DEADLINE_MISSED.name]
