"""What follows a conflict of a planned write: another write, or the next poll."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxEntries
from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.app.recording import PlannedWrite, Recorder
from bedrock_batch_monitor.domain.jobs import JobObservation, JobRecord, TrackedJob
from bedrock_batch_monitor.domain.summary import ReconcileResult
from bedrock_batch_monitor.domain.transitions import Transition, decide
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW

JOB = TrackedJob(ARN, sequence=2, status="InProgress")
CONFLICT = WriteOutcome.CONFLICT


def current(**attributes: Any) -> items.Item:
    """The job's item as another writer left it."""
    return {
        "jobArn": items.text(ARN),
        "sequence": items.number(2),
        "status": items.text("InProgress"),
        **attributes,
    }


WITH_TASK = current(taskRevision=items.number(1))
MOVED = current(sequence=items.number(3))


@dataclass
class Writes:
    """The jobs table, its history and its outbox; conditional writes have these results."""

    results: list[WriteResult]
    stored: items.Item | None = None
    history: tuple[JobRecord, ...] = ()
    calls: list[str] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)

    def record(self, _record: JobRecord, *, expected: TrackedJob, **_: Any) -> WriteResult:
        """A transition."""
        self.calls.append("record")
        self.revisions.append(expected.task_revision)
        return self.results.pop(0)

    def restore(self, _record: JobRecord, **_: Any) -> WriteResult:
        """A restored job."""
        self.calls.append("restore")
        return self.results.pop(0)

    def item(self, _job_arn: str) -> items.Item | None:
        """A read of the item."""
        self.calls.append("item")
        return self.stored

    def records(self, _job_arn: str) -> tuple[JobRecord, ...]:
        """A read of the history."""
        self.calls.append("records")
        return self.history

    def entries(self, _job_arn: str) -> OutboxEntries:
        """Nothing."""
        return OutboxEntries()


def recorded(writes: Any, status: str = "Failed") -> ReconcileResult:
    """Record a transition of the job to this status."""
    answer = JobObservation(ARN, status, last_modified_time=NOW)
    decision = decide(JOB, answer, now=NOW, observed_by="poll", rules=RULES)
    assert isinstance(decision, Transition)
    recorder = Recorder(writes, writes, writes, lambda: NOW, RULES, None)
    return recorder.record(JOB, decision, answer=answer, observed_by="poll")


def test_end_is_written_over_the_returned_item_without_a_read() -> None:
    """The index did not show a task that was registered; the returned item has it."""
    writes = Writes([WriteResult(CONFLICT, WITH_TASK), DONE])
    result = recorded(writes)
    assert writes.calls == ["record", "record"]
    assert writes.revisions == [0, 1]
    assert result.callbacks is not None
    assert result.callbacks.revision == 1


def test_item_is_read_after_a_conflict_of_two_transactions() -> None:
    """DynamoDB returns no item then."""
    writes = Writes([WriteResult(CONFLICT), DONE], stored=WITH_TASK)
    assert not recorded(writes).is_conflict
    assert writes.calls == ["record", "item", "record"]


@pytest.mark.parametrize(
    ("status", "item"),
    [("Failed", MOVED), ("Failed", current()), ("Stopping", WITH_TASK)],
    ids=["moved on", "nothing else changed", "not an end"],
)
def test_other_conflict_is_left_to_the_next_poll(status: str, item: items.Item) -> None:
    writes = Writes([WriteResult(CONFLICT, item)])
    assert recorded(writes, status).is_conflict
    assert writes.calls == ["record"]


def test_history_that_is_ahead_is_restored() -> None:
    answer = JobObservation(ARN, "Failed")
    end = decide(JOB, answer, now=NOW, observed_by="poll", rules=RULES)
    assert isinstance(end, Transition)
    writes = Writes([WriteResult(WriteOutcome.HISTORY_AHEAD), DONE], history=(end.record,))
    result = recorded(writes)
    assert writes.calls == ["record", "records", "restore"]
    assert [event.pending_event for event in result.events] == ["Ended#3"]


def test_conflict_of_a_restored_job_is_left_to_the_next_poll() -> None:
    """What was planned from the history is not tried again."""
    answer = JobObservation(ARN, "Failed")
    end = decide(JOB, answer, now=NOW, observed_by="poll", rules=RULES)
    assert isinstance(end, Transition)
    ahead = WriteResult(WriteOutcome.HISTORY_AHEAD)
    writes = Writes([ahead, WriteResult(CONFLICT, WITH_TASK)], history=(end.record,))
    assert recorded(writes).is_conflict
    assert writes.calls == ["record", "records", "restore"]


def test_number_of_attempts_is_bounded() -> None:
    """Each attempt meets one more task."""
    results = [
        WriteResult(CONFLICT, current(taskRevision=items.number(count))) for count in range(1, 9)
    ]
    writes = Writes(results)
    assert recorded(writes).is_conflict
    assert writes.calls == ["record"] * 3


def planned(job: TrackedJob, **entry: Any) -> PlannedWrite:
    """A planned write of the end of a job."""
    answer = JobObservation(ARN, "Completed", last_modified_time=NOW)
    decision = decide(job, answer, now=NOW, observed_by="poll", rules=RULES)
    assert isinstance(decision, Transition)
    record = replace(decision.record, last=replace(decision.record.last, **entry))
    return PlannedWrite(job, record, answer, "poll")


def test_write_over_other_waiters_has_what_is_stored_by_then() -> None:
    """A task that the index did not show, and that a job is no longer for the history alone."""
    new = TrackedJob(ARN, backfilled=True, carries_tasks=True)
    over = planned(new, backfilled=True).over(replace(new, backfilled=False, carries_tasks=False))
    assert over is not None
    assert not over.job.backfilled
    assert not over.record.last.backfilled
    # The tasks of an earlier item are still to be added, as long as the item has none of its own.
    assert over.job.carries_tasks
    with_task = planned(new).over(replace(new, task_revision=1))
    assert with_task is not None
    assert (with_task.job.task_revision, with_task.job.carries_tasks) == (1, False)


def test_write_over_a_job_that_is_backfilled_by_then_has_no_event() -> None:
    """Only the first record of a job can be for the history alone."""
    new = TrackedJob(ARN)
    over = planned(new).over(replace(new, backfilled=True))
    assert over is not None
    assert over.record.last.backfilled
    assert over.job.backfilled
    later = planned(JOB).over(replace(JOB, backfilled=True))
    assert later is not None
    assert not later.record.last.backfilled


def test_write_over_more_than_other_waiters_is_refused() -> None:
    """The next poll decides again."""
    assert planned(JOB).over(replace(JOB, sequence=3, task_revision=1)) is None
    assert planned(JOB).over(JOB) is None
