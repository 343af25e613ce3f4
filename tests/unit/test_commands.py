"""What a Track or Untrack command writes, and what is left to do after it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItem
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import FoundJob, JobsTable
from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.commands import CommandResult, Commands
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobError,
    JobObservation,
    JobRecord,
    StoredJob,
    TrackedJob,
)
from bedrock_batch_monitor.domain.requests import Track, Untrack
from bedrock_batch_monitor.domain.tasks import PendingCallbacks, WaitingTask
from bedrock_batch_monitor.domain.times import to_iso
from tests.support.strategies import ARN, NOW

AT = NOW - timedelta(hours=1)
LATER = NOW - timedelta(minutes=30)
DEADLINE = "2026-11-25T06:00:00.000Z"
TASK = WaitingTask("token")
CONFLICT = WriteResult(WriteOutcome.CONFLICT)
JOB = TrackedJob(ARN, sequence=2, status="InProgress", last_error=JobError("Code", "text"))
ENDED = replace(JOB, status="Failed", event_id="id")
RECORD = JobRecord(JobObservation(ARN, "Failed"), HistoryEntry(ARN, 2, "Failed", NOW, "poll"))
LOST = CommandResult(error="DynamoDB.LostRace")

Call = tuple[str, dict[str, Any]]


@dataclass
class Tables:
    """The jobs table and the outbox: what they hold, and the results of conditional writes."""

    found: TrackedJob | InvalidItem | None = None
    command_at: datetime | None = None
    stored: StoredJob | None = None
    results: list[WriteResult] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def find(self, _job_arn: str) -> FoundJob | None:
        """The item, if there is one."""
        if self.found is None:
            return None
        return FoundJob(self.found, is_tracked=True, command_at=self.command_at)

    def get(self, _job_arn: str) -> StoredJob | None:
        """The whole item."""
        return self.stored

    def put_task(self, _job_arn: str, task: WaitingTask, now: datetime) -> None:
        """A task in the outbox."""
        self.calls.append(("put_task", {"task": task, "now": now}))

    def _write(self, name: str, arguments: dict[str, Any]) -> WriteResult:
        self.calls.append((name, arguments))
        return self.results.pop(0) if self.results else DONE

    def untrack(self, _job_arn: str, **arguments: Any) -> WriteResult:
        """No longer polled."""
        return self._write("untrack", arguments)

    def put_untracked(self, _job_arn: str, **arguments: Any) -> WriteResult:
        """An item that is not polled."""
        return self._write("put_untracked", arguments)

    def start_tracking(self, _job_arn: str, **arguments: Any) -> WriteResult:
        """A new item."""
        return self._write("start_tracking", arguments)

    def await_end(self, _expected: TrackedJob, **arguments: Any) -> WriteResult:
        """One more task."""
        return self._write("await_end", arguments)

    def resume_tracking(self, _job_arn: str, **arguments: Any) -> WriteResult:
        """Polled again."""
        return self._write("resume_tracking", arguments)


def processed(tables: Any, command: Track | Untrack) -> CommandResult:
    """The result of a command that was sent an hour ago."""
    return Commands(tables, tables, lambda: NOW).process(command)


UNTRACK = Untrack(ARN, AT)
UNTRACKED: Call = ("untrack", {"at": AT, "now": NOW})
PUT: Call = ("put_untracked", {"tracked_by": "event", "at": AT})


def test_untrack_that_waited_in_the_queue_is_judged_by_the_time_of_now() -> None:
    """By its own time, a later command would look like one from the future, and lose."""
    tables = Tables()
    assert processed(tables, UNTRACK) == CommandResult()
    assert tables.calls == [UNTRACKED]


def test_untrack_of_a_job_without_an_item_keeps_discovery_from_tracking_it() -> None:
    tables = Tables(results=[CONFLICT])
    assert processed(tables, UNTRACK) == CommandResult()
    assert tables.calls == [UNTRACKED, PUT]


def test_untrack_that_meets_a_later_command_is_not_repeated() -> None:
    """The queue would deliver it again."""
    tables = Tables(JOB, LATER, results=[CONFLICT])
    assert processed(tables, UNTRACK) == CommandResult()
    assert tables.calls == [UNTRACKED]


def test_untrack_that_meets_another_write_is_tried_again_and_then_left_to_the_queue() -> None:
    tables = Tables(JOB, results=[CONFLICT, DONE])
    assert processed(tables, UNTRACK) == CommandResult()
    assert tables.calls == [UNTRACKED] * 2
    for found, calls in ((JOB, [UNTRACKED] * 3), (None, [UNTRACKED, PUT] * 3)):
        tables = Tables(found, results=[CONFLICT] * 6)
        assert processed(tables, UNTRACK) == LOST
        assert tables.calls == calls


@pytest.mark.parametrize("task", [None, TASK])
def test_track_of_a_new_job_puts_all_that_the_command_says(task: WaitingTask | None) -> None:
    """A task without its mark in the item would never be called back."""
    tables = Tables()
    result = processed(tables, Track(ARN, AT, task, DEADLINE))
    assert result == CommandResult(
        TrackedJob(ARN, task_revision=int(task is not None), deadline=DEADLINE)
    )
    put: Call = (
        "start_tracking",
        {
            "tracked_by": "event",
            "now": NOW,
            "has_task": task is not None,
            "command_at": AT,
            "deadline": DEADLINE,
        },
    )
    of_task: list[Call] = [] if task is None else [("put_task", {"task": TASK, "now": NOW})]
    assert tables.calls == [*of_task, put]


def test_track_that_meets_other_writes_is_left_to_the_queue() -> None:
    for found in (None, JOB):
        tables = Tables(found, results=[CONFLICT] * 6)
        assert processed(tables, Track(ARN, AT)) == LOST
        assert len(tables.calls) == 3


def test_track_of_a_known_job_resumes_it_without_its_errors() -> None:
    """With its errors, the job would be given up again; its deadline is the command's."""
    tables = Tables(JOB)
    result = processed(tables, Track(ARN, AT, deadline=DEADLINE))
    assert result == CommandResult(replace(JOB, last_error=None, deadline=DEADLINE))
    assert tables.calls == [("resume_tracking", {"at": AT, "now": NOW, "deadline": DEADLINE})]


def test_track_without_a_deadline_leaves_the_one_of_the_job() -> None:
    tables = Tables(replace(JOB, deadline=DEADLINE))
    result = processed(tables, Track(ARN, AT))
    assert result.to_read is not None
    assert result.to_read.deadline == DEADLINE
    assert tables.calls == [("resume_tracking", {"at": AT, "now": NOW, "deadline": None})]


def test_deadline_after_the_submission_is_stored_as_a_moment() -> None:
    """The submission of a known job is known: its item has a time, not a duration."""
    tables = Tables(replace(JOB, submit_time=AT))
    processed(tables, Track(ARN, AT, deadline="2h"))
    assert [arguments["deadline"] for _, arguments in tables.calls] == [
        to_iso(AT + timedelta(hours=2))
    ]


def test_task_of_a_known_job_resumes_it_with_the_deadline() -> None:
    """The job is read at once, with the revision that counts the task."""
    tables = Tables(JOB)
    result = processed(tables, Track(ARN, AT, TASK, DEADLINE))
    assert result == CommandResult(
        replace(JOB, last_error=None, deadline=DEADLINE, task_revision=1)
    )
    assert tables.calls[1:] == [
        ("await_end", {"now": NOW, "resumes": True, "command_at": AT, "deadline": DEADLINE})
    ]


def test_task_of_an_older_command_waits_and_does_not_resume_the_job() -> None:
    """Somebody untracked the job later."""
    tables = Tables(JOB, LATER)
    assert processed(tables, Track(ARN, AT, TASK)) == CommandResult(replace(JOB, task_revision=1))
    assert tables.calls[1][1]["resumes"] is False


@pytest.mark.parametrize(("job", "command_at"), [(ENDED, None), (JOB, LATER)])
def test_track_of_an_ended_job_or_an_older_one_writes_nothing(
    job: TrackedJob, command_at: datetime | None
) -> None:
    tables = Tables(job, command_at)
    assert processed(tables, Track(ARN, AT)) == CommandResult()
    assert tables.calls == []


def test_command_of_the_same_time_is_executed() -> None:
    """It is the same one, delivered again."""
    tables = Tables(JOB, AT)
    processed(tables, Track(ARN, AT))
    assert [name for name, _ in tables.calls] == ["resume_tracking"]


def test_time_of_a_command_from_the_future_does_not_block_later_ones() -> None:
    """Somebody wrote it by hand, or with a wrong clock."""
    tables = Tables(JOB, NOW + timedelta(days=400))
    processed(tables, Track(ARN, AT))
    assert [name for name, _ in tables.calls] == ["resume_tracking"]


def test_task_of_an_ended_job_is_called_back_at_once() -> None:
    stored = StoredJob(
        ARN, RECORD, frozenset({"Ended#2", "Tasks#2"}), task_revision=4, pending_since=LATER
    )
    result = processed(Tables(ENDED, stored=stored), Track(ARN, AT, TASK))
    assert result == CommandResult(callbacks=PendingCallbacks(RECORD, "Tasks#2", 4, LATER))
    without_time = processed(
        Tables(ENDED, stored=replace(stored, pending_since=None)), Track(ARN, AT, TASK)
    )
    assert without_time.callbacks is not None
    assert without_time.callbacks.due == NOW


@pytest.mark.parametrize(
    "stored", [None, StoredJob(ARN), StoredJob(ARN, RECORD, frozenset({"Ended#2"}))]
)
def test_task_that_another_poll_has_called_back_is_left_alone(stored: StoredJob | None) -> None:
    assert processed(Tables(ENDED, stored=stored), Track(ARN, AT, TASK)) == CommandResult()


def test_task_of_an_invalid_item_stays_in_the_queue() -> None:
    """Nobody could call it back; without a task there is nothing to lose."""
    invalid = InvalidItem(ARN, JobError("InvalidItem", "no sequence"), None)
    assert processed(Tables(invalid), Track(ARN, AT)) == CommandResult()
    with_task = processed(Tables(invalid), Track(ARN, AT, TASK))
    assert with_task == CommandResult(error="Item.InvalidItem")


def test_command_that_a_service_refuses_has_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue keeps the command, and the log says why."""
    tables, refusal = Tables(), ServiceError("DynamoDB", "AccessDeniedException", "no")
    monkeypatch.setattr(tables, "find", Mock(side_effect=refusal))
    assert processed(tables, Track(ARN, AT)) == CommandResult(error=refusal.code)


@dataclass
class Client:
    """DynamoDB: the item that is put."""

    item: items.Item = field(default_factory=dict)

    def put_item(self, *, Item: items.Item, **_: Any) -> None:  # noqa: N803 - as in the API
        """Keep it."""
        self.item = Item


def test_deadline_of_a_command_counts_as_set_by_a_person() -> None:
    """As one from a tag, the tags of the job would replace it."""
    client: Any = Client()
    jobs = JobsTable(client, "jobs")
    jobs.start_tracking(ARN, tracked_by="event", now=NOW, deadline=DEADLINE)
    assert client.item["deadline"] == {"S": DEADLINE}
    assert client.item["deadlineBy"] == {"S": "user"}
