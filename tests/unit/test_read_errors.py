"""What is reported and written of a job that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.read_errors import ReadErrors
from bedrock_batch_monitor.domain.jobs import JobError, TrackedJob
from bedrock_batch_monitor.domain.read_failures import Unreadable
from bedrock_batch_monitor.domain.summary import ReconcileResult
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW

CONFLICT = WriteResult(WriteOutcome.CONFLICT)
JOB = TrackedJob(ARN, sequence=2, status="InProgress")
NEW = TrackedJob(ARN)
PROBLEM = JobError("NotMonitored", "elsewhere")
MISSING = ServiceError("Bedrock", "ResourceNotFoundException", "gone")
DENIED = ServiceError("Bedrock", "AccessDeniedException", "no")
THROTTLED = ServiceError("Bedrock", "ThrottlingException", "slow")
EVENT: Any = "the event"
MINUTES_20 = NOW - timedelta(minutes=20)
HOURS_2 = NOW - timedelta(hours=2)
DAYS_8 = NOW - timedelta(days=8)
GIVEN_UP = replace(NEW, unreachable_since=DAYS_8)
# The next refusal is the third one.
REFUSED_TWICE = replace(JOB, unreadable_polls=2)


@dataclass
class Writes:
    """The jobs table: the result of each write, and what was written."""

    result: WriteResult = DONE
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def record_error(self, job_arn: str, error: JobError, now: datetime) -> WriteResult:
        """An error in the item."""
        self.calls.append(("record_error", job_arn, error.code, now))
        return self.result

    def record_failing(self, since: datetime, *, expected: TrackedJob) -> WriteResult:
        """Since when reads fail."""
        self.calls.append(("record_failing", since, expected))
        return self.result

    def record_unreadable(
        self, found: Unreadable, *, expected: TrackedJob, now: datetime, pending: Any
    ) -> WriteResult:
        """A refusal."""
        names = [str(each).partition("#")[0] for each in pending]
        self.calls.append(("record_unreadable", found.polls, expected, now, names))
        return self.result

    def give_up(self, expected: TrackedJob, error: JobError, now: datetime) -> WriteResult:
        """No longer polled."""
        self.calls.append(("give_up", expected, error.code, now))
        return self.result

    def condition_events(self, _job_arn: str, *pending: Any) -> tuple[Any, ...]:
        """The events of conditions."""
        return (EVENT,) * len(pending)


def errors_of(writes: Any, failing_since: dict[str, datetime] | None = None) -> ReadErrors:
    """The writer of errors."""
    return ReadErrors(
        writes, writes, lambda: NOW, RULES, {} if failing_since is None else failing_since
    )


@pytest.mark.parametrize("result", [DONE, CONFLICT])
def test_invalid_item_that_changed_meanwhile_is_a_conflict(result: WriteResult) -> None:
    """It is counted, and the job is not reported as newly unreachable."""
    writes = Writes(result)
    found = errors_of(writes).invalid_item(ARN, PROBLEM, None)
    assert found == ReconcileResult(
        errors=("Item.NotMonitored",),
        is_conflict=not result.is_done,
        newly_unreachable=result.is_done,
    )
    assert writes.calls == [("record_error", ARN, "NotMonitored", NOW)]


def test_known_problem_of_an_item_is_reported_and_not_written_again() -> None:
    """Another one is."""
    writes = Writes()
    errors = errors_of(writes)
    known = JobError("NotMonitored", "another text")
    assert errors.invalid_item(ARN, PROBLEM, known) == ReconcileResult(
        errors=("Item.NotMonitored",)
    )
    assert writes.calls == []
    assert errors.invalid_item(ARN, PROBLEM, JobError("Other", "text")).newly_unreachable


@pytest.mark.parametrize("result", [DONE, CONFLICT])
def test_job_of_another_scope_is_given_up_and_its_problem_reported(result: WriteResult) -> None:
    """After seven days; a conflict leaves it to the next poll."""
    writes = Writes(result)
    found = errors_of(writes).not_monitored(GIVEN_UP, PROBLEM)
    assert found == ReconcileResult(
        errors=("Item.NotMonitored",), given_up=result.is_done, is_conflict=not result.is_done
    )
    assert writes.calls == [("give_up", GIVEN_UP, "NotMonitored", NOW)]


def test_job_of_another_scope_has_its_problem_recorded_once() -> None:
    writes = Writes()
    assert errors_of(writes).not_monitored(NEW, PROBLEM).newly_unreachable
    known = errors_of(writes).not_monitored(replace(NEW, last_error=PROBLEM), PROBLEM)
    assert not known.newly_unreachable
    assert [call[0] for call in writes.calls] == ["record_error"]


@pytest.mark.parametrize(("error", "is_general"), [(MISSING, False), (DENIED, True)])
def test_refusal_that_concerns_other_jobs_as_well_is_marked(
    error: ServiceError, *, is_general: bool
) -> None:
    """A missing permission concerns all jobs, a missing job itself alone."""
    result = errors_of(Writes()).refused(JOB, error, is_poll=True)
    assert result == ReconcileResult(errors=(error.code,), refused=is_general)


def test_third_refusal_makes_a_job_unreachable() -> None:
    writes = Writes()
    result = errors_of(writes).refused(REFUSED_TWICE, MISSING, is_poll=True)
    assert result == ReconcileResult(
        errors=(MISSING.code,), is_unreachable=True, newly_unreachable=True, events=(EVENT,)
    )
    assert writes.calls == [("record_unreadable", 3, REFUSED_TWICE, NOW, ["Unreachable"])]


def test_refusal_of_a_read_that_an_event_caused_does_not_count() -> None:
    writes = Writes()
    result = errors_of(writes).refused(REFUSED_TWICE, MISSING, is_poll=False)
    assert result == ReconcileResult(errors=(MISSING.code,))
    assert writes.calls == [("record_unreadable", 2, REFUSED_TWICE, NOW, [])]


def test_refusal_of_a_job_that_changed_meanwhile_is_a_conflict() -> None:
    """Without an event: the next poll decides."""
    result = errors_of(Writes(CONFLICT)).refused(REFUSED_TWICE, MISSING, is_poll=True)
    assert result == ReconcileResult(errors=(MISSING.code,), is_unreachable=True, is_conflict=True)


def test_refusal_that_is_recorded_leaves_the_job_unreachable() -> None:
    """It still counts as unreachable, and has no further event."""
    known = replace(JOB, unreachable_since=HOURS_2, last_error=JobError(MISSING.reason, "gone"))
    writes = Writes()
    result = errors_of(writes).refused(known, MISSING, is_poll=True)
    assert result == ReconcileResult(errors=(MISSING.code,), is_unreachable=True)
    assert writes.calls == []
    other = errors_of(writes).refused(known, DENIED, is_poll=True)
    assert (other.is_unreachable, other.newly_unreachable, other.events) == (True, False, ())


@pytest.mark.parametrize("backfilled", [False, True])
def test_job_that_never_was_readable_is_named(*, backfilled: bool) -> None:
    """Its ARN may be wrong. A job that is recorded for the history alone has no event."""
    job = replace(NEW, unreadable_polls=2, backfilled=backfilled)
    writes = Writes()
    result = errors_of(writes).refused(job, MISSING, is_poll=True)
    assert result.never_readable == (() if backfilled else ((ARN, MISSING.reason),))
    assert result.events == (() if backfilled else (EVENT,))
    assert result.newly_unreachable
    assert writes.calls[0][-1] == ([] if backfilled else ["Unreachable"])


@pytest.mark.parametrize("result", [DONE, CONFLICT])
def test_job_that_was_never_readable_for_days_is_given_up(result: WriteResult) -> None:
    writes = Writes(result)
    found = errors_of(writes).refused(GIVEN_UP, MISSING, is_poll=True)
    assert found == ReconcileResult(
        errors=(MISSING.code,), given_up=result.is_done, is_conflict=not result.is_done
    )
    assert writes.calls == [("give_up", GIVEN_UP, MISSING.reason, NOW)]


def test_failed_read_that_an_event_caused_is_reported_and_tried_again() -> None:
    """It does not start the time after which a job is unreachable."""
    writes, since = Writes(), dict[str, datetime]()
    result = errors_of(writes, since).failed(JOB, THROTTLED, is_poll=False)
    assert result == ReconcileResult(errors=(THROTTLED.code,), try_again=True)
    assert (writes.calls, since) == ([], {})


def test_failed_read_is_remembered_before_it_is_written() -> None:
    """Most failures pass within minutes, and cost no write."""
    writes, since = Writes(), dict[str, datetime]()
    result = errors_of(writes, since).failed(JOB, THROTTLED, is_poll=True)
    assert result == ReconcileResult(errors=(THROTTLED.code,), try_again=True)
    assert (writes.calls, since) == ([], {ARN: NOW})


@pytest.mark.parametrize("result", [DONE, CONFLICT])
def test_read_that_fails_for_a_while_is_written_so_that_it_is_not_forgotten(
    result: WriteResult,
) -> None:
    """With a conflict, the next poll writes it."""
    writes = Writes(result)
    found = errors_of(writes, {ARN: MINUTES_20}).failed(JOB, THROTTLED, is_poll=True)
    assert found == ReconcileResult(
        errors=(THROTTLED.code,), try_again=True, is_conflict=not result.is_done
    )
    assert writes.calls == [("record_failing", MINUTES_20, JOB)]


def test_read_that_fails_for_an_hour_makes_a_job_unreachable() -> None:
    """The item's time counts, not the one since the execution environment started."""
    job = replace(JOB, failing_since=HOURS_2)
    writes, since = Writes(), dict[str, datetime]()
    result = errors_of(writes, since).failed(job, THROTTLED, is_poll=True)
    assert result == ReconcileResult(
        errors=(THROTTLED.code,),
        try_again=True,
        is_unreachable=True,
        newly_unreachable=True,
        events=(EVENT,),
    )
    assert [call[0] for call in writes.calls] == ["record_unreadable"]
    assert since == {}


def test_unreachable_job_whose_read_fails_stays_unreachable() -> None:
    job = replace(JOB, unreachable_since=HOURS_2)
    result = errors_of(Writes()).failed(job, THROTTLED, is_poll=True)
    assert result == ReconcileResult(errors=(THROTTLED.code,), try_again=True, is_unreachable=True)


def test_job_whose_reads_failed_for_days_is_given_up() -> None:
    writes = Writes()
    result = errors_of(writes).failed(GIVEN_UP, THROTTLED, is_poll=True)
    assert result == ReconcileResult(errors=(THROTTLED.code,), try_again=True, given_up=True)
    assert [call[0] for call in writes.calls] == ["give_up"]
