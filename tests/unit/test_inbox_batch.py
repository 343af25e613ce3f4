"""One batch of queue messages: what is processed, in which order, and what is delivered again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import Mock, call

import pytest

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItem
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import FoundJob
from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.commands import CommandResult
from bedrock_batch_monitor.app.inbox_batch import Inbox, InboxBatch
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.discovery import JobFilter
from bedrock_batch_monitor.domain.jobs import JobError, JobObservation, TrackedJob
from bedrock_batch_monitor.domain.requests import Hint, Track, Untrack
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import ReconcileResult
from tests.support.monitor import native_event
from tests.support.strategies import ARN, NOW

HOME = Scope("123456789012", "us-east-1")
WEST = Scope("123456789012", "us-west-2")
OTHER = ARN[:-12] + "other0000000"
IN_WEST = ARN.replace("us-east-1", "us-west-2")
THROTTLED = ServiceError("DynamoDB", "ThrottlingException", "m")
DENIED = ServiceError("DynamoDB", "AccessDeniedException", "m")
READ = ReconcileResult(was_read=True)


@dataclass
class Case:
    """An inbox with fakes: what its tables have, and what its calls return, by the job's ARN."""

    found: dict[str, Any] = field(default_factory=dict)
    results: dict[str, ReconcileResult] = field(default_factory=dict)
    commands: dict[str, CommandResult] = field(default_factory=dict)
    wanted: JobFilter | None = None
    seconds: float = 900.0
    takes_tasks: bool = True
    calls: list[tuple[str, str]] = field(default_factory=list)
    logger: Any = field(default_factory=Mock)
    tables: Any = field(default_factory=Mock)
    bedrock: Any = field(default_factory=Mock)

    def batch(self) -> InboxBatch:
        """A batch to process."""
        self.tables.find.side_effect = self._find
        self.tables.start_tracking.return_value = DONE
        commands: Any = Mock()
        commands.process.side_effect = self._process
        reconciler: Any = Mock(bedrock=self.bedrock)
        reconciler.reconcile.side_effect = self._reconcile
        unused: Any = Mock()
        inbox = Inbox(
            monitored=Scopes(HOME, (WEST,)),
            reconciler_of=lambda _: reconciler,
            commands=commands,
            jobs=self.tables,
            relay=unused,
            callbacks=unused,
            clock=lambda: NOW,
            wanted=self.wanted,
            takes_tasks=self.takes_tasks,
        )
        return inbox.batch(lambda: self.seconds, self.logger)

    def _find(self, job_arn: str) -> FoundJob | None:
        found = self.found.get(job_arn)
        if isinstance(found, ServiceError):
            raise found
        return found

    def _process(self, command: Track | Untrack) -> CommandResult:
        self.calls.append((type(command).__name__, command.job_arn))
        return self.commands.get(command.job_arn, CommandResult())

    def _reconcile(self, job: TrackedJob, *, observed_by: str) -> ReconcileResult:
        assert observed_by == "event"
        self.calls.append(("read", job.job_arn))
        return self.results.get(job.job_arn, READ)


def tracked(job_arn: str = ARN, **changes: Any) -> FoundJob:
    return FoundJob(TrackedJob(job_arn, **changes), is_tracked=True)


def test_hint_for_a_tracked_job_reads_it_once() -> None:
    """However many messages there are of it."""
    case = Case({ARN: tracked()})
    batch = case.batch()
    assert batch.process({"1": Hint(ARN), "2": Hint(ARN)}) == []
    assert case.calls == [("read", ARN)]
    assert [(scope, summary.jobs_read) for scope, summary in batch.summaries()] == [(HOME, 1)]
    case.logger.warning.assert_not_called()


@pytest.mark.parametrize(
    "found",
    [
        FoundJob(TrackedJob(ARN), is_tracked=False),
        FoundJob(InvalidItem(ARN, JobError("Code", "m"), None), is_tracked=True),
        tracked(status="Failed", event_id="id"),
        None,
    ],
    ids=["untracked", "invalid", "ended", "unknown"],
)
def test_hint_for_a_job_that_is_not_tracked_is_done(found: FoundJob | None) -> None:
    """Without discovery, nobody wants a job that has no item."""
    case = Case({ARN: found})
    assert case.batch().process({"1": Hint(ARN)}) == []
    assert case.calls == []
    case.tables.start_tracking.assert_not_called()


def test_hint_for_an_unknown_job_tracks_it_if_it_is_wanted() -> None:
    """The item exists before the job is read."""
    case = Case(wanted=JobFilter("", "", frozenset()))
    assert case.batch().process({"1": Hint(ARN)}) == []
    assert case.tables.start_tracking.mock_calls == [call(ARN, tracked_by="event", now=NOW)]
    assert case.calls == [("read", ARN)]
    case.bedrock.get.assert_not_called()


@pytest.mark.parametrize(("name", "calls"), [("nightly-1", [("read", ARN)]), ("other", [])])
def test_hint_for_an_unknown_job_is_compared_with_the_limits_of_discovery(
    name: str, calls: list[tuple[str, str]]
) -> None:
    """By what Bedrock says of the job, because an event may lack its name."""
    case = Case(wanted=JobFilter("nightly-", "", frozenset()))
    case.bedrock.get.return_value = JobObservation(ARN, "Submitted", job_name=name)
    assert case.batch().process({"1": Hint(ARN)}) == []
    assert case.calls == calls
    assert case.tables.start_tracking.called is bool(calls)


def test_hint_that_meets_another_writer_leaves_the_job_to_it() -> None:
    """It has just tracked the job, and reads it."""
    case = Case(wanted=JobFilter("", "", frozenset()))
    batch = case.batch()
    case.tables.start_tracking.return_value = WriteResult(WriteOutcome.CONFLICT)
    assert batch.process({"1": Hint(ARN)}) == []
    assert case.calls == []


@pytest.mark.parametrize(
    ("result", "failed", "errors", "logged"),
    [
        (ReconcileResult(try_again=True, errors=("B.X", "B.Y")), ["1", "2"], 1, "B.X, B.Y"),
        (ReconcileResult(try_again=True), ["1", "2"], 2, "NotRead"),
        (ReconcileResult(errors=("B.X",)), [], 1, None),
        (READ, [], 0, None),
    ],
)
def test_hint_that_could_not_be_read_is_delivered_again(
    result: ReconcileResult, failed: list[str], errors: int, logged: str | None
) -> None:
    """If a read may succeed later; each message is logged."""
    case = Case({ARN: tracked()}, {ARN: result})
    batch = case.batch()
    assert batch.process({"1": Hint(ARN), "2": Hint(ARN)}) == failed
    [(_, summary)] = batch.summaries()
    expected = {"extra": {"error": logged, "jobArn": ARN}}
    assert case.logger.warning.mock_calls == [call("event not processed", **expected)] * len(failed)
    assert max(summary.errors.values(), default=0) >= min(errors, 1)


@pytest.mark.parametrize(
    ("failure", "failed"), [(THROTTLED, ["1"]), (DENIED, [])], ids=["throttled", "denied"]
)
def test_hint_whose_item_cannot_be_read_is_repeated_unless_refused(
    failure: ServiceError, failed: list[str]
) -> None:
    """The error is counted once in either case."""
    case = Case({ARN: failure})
    batch = case.batch()
    assert batch.process({"1": Hint(ARN)}) == failed
    [(_, summary)] = batch.summaries()
    assert summary.errors == {failure.code: 1}
    assert case.logger.warning.called is bool(failed)


def test_commands_are_processed_in_the_order_in_which_they_were_sent() -> None:
    """Before any job is read; a job is read once, as its last command says."""
    early, late = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    job = TrackedJob(ARN)
    case = Case({ARN: tracked(), OTHER: tracked(OTHER)}, commands={ARN: CommandResult(to_read=job)})
    requests = {
        "hint": Hint(ARN),
        "other": Hint(OTHER),
        "late": Track(ARN, late),
        "early": Untrack(ARN, early),
    }
    assert case.batch().process(requests) == []
    assert case.calls == [("Untrack", ARN), ("Track", ARN), ("read", ARN), ("read", OTHER)]
    assert case.logger.info.mock_calls == [
        call(
            "command processed",
            extra={
                "jobArn": ARN,
                "command": f"{kind} Batch Inference Job",
                "sentAt": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            },
        )
        for kind, at in (("Untrack", early), ("Track", late))
    ]


def test_job_of_an_earlier_command_is_not_read_after_a_later_one() -> None:
    """Somebody wants it untracked in the meantime."""
    case = Case(commands={ARN: CommandResult(to_read=TrackedJob(ARN))})
    batch = case.batch()
    results = [CommandResult(to_read=TrackedJob(ARN)), CommandResult()]
    batch.inbox.commands.process = Mock(side_effect=results)  # type: ignore[method-assign]
    batch.process({"1": Track(ARN, NOW - timedelta(hours=2)), "2": Untrack(ARN, NOW)})
    assert case.calls == []


def test_command_that_failed_is_delivered_again() -> None:
    """A failed read after a command is not: polls read the job in any case."""
    case = Case(
        results={OTHER: ReconcileResult(try_again=True, errors=("B.X",))},
        commands={
            ARN: CommandResult(error="DynamoDB.LostRace"),
            OTHER: CommandResult(to_read=TrackedJob(OTHER)),
        },
    )
    batch = case.batch()
    assert batch.process({"1": Track(ARN, NOW), "2": Track(OTHER, NOW)}) == ["1"]
    [(_, summary)] = batch.summaries()
    assert summary.errors == {"DynamoDB.LostRace": 1, "B.X": 1}
    expected = {"error": "DynamoDB.LostRace", "jobArn": ARN}
    assert case.logger.warning.mock_calls == [call("event not processed", extra=expected)]
    assert len(case.logger.info.mock_calls) == 1


def test_request_without_time_is_delivered_again() -> None:
    """A command that was processed is done, also if there is no time to read its job."""
    case = Case({ARN: tracked(), OTHER: tracked(OTHER)}, seconds=14.0)
    requests = {"1": Hint(ARN), "2": Track(OTHER, NOW), "3": Hint(ARN)}
    assert case.batch().process(requests) == ["2", "1", "3"]
    assert case.calls == []

    case = Case(commands={ARN: CommandResult(to_read=TrackedJob(ARN))})
    batch = case.batch()

    def last(_: Track) -> CommandResult:
        case.seconds = 14.0
        return CommandResult(to_read=TrackedJob(ARN))

    batch.inbox.commands.process = Mock(side_effect=last)  # type: ignore[method-assign]
    assert batch.process({"1": Track(ARN, NOW)}) == []
    assert case.calls == []


def test_results_are_counted_by_the_scope_of_the_job() -> None:
    """A malformed event belongs to the deployment's own."""
    case = Case({ARN: tracked(), IN_WEST: tracked(IN_WEST)})
    batch = case.batch()
    bodies = {"1": json.dumps(native_event(IN_WEST)), "2": "{", "3": json.dumps(native_event(ARN))}
    assert batch.process_messages(bodies) == []
    counted = {
        scope: (summary.jobs_read, summary.events_malformed) for scope, summary in batch.summaries()
    }
    assert counted == {HOME: (1, 1), WEST: (1, 0)}
    [(message,)] = [each.args for each in case.logger.warning.mock_calls]
    assert message == "event dropped"


@pytest.mark.parametrize(("takes_tasks", "calls"), [(True, [("Track", ARN)]), (False, [])])
def test_command_of_a_task_is_malformed_where_no_task_may_wait(
    takes_tasks: bool,  # noqa: FBT001 - a value of the table
    calls: list[tuple[str, str]],
) -> None:
    """The setting `taskTokens` decides."""
    case = Case(takes_tasks=takes_tasks)
    event = {
        "source": "my.app",
        "detail-type": "Track Batch Inference Job",
        "detail": {"jobArn": ARN, "taskToken": "token"},
    }
    batch = case.batch()
    assert batch.process_messages({"1": json.dumps(event)}) == []
    assert case.calls == calls
    assert sum(summary.events_malformed for _, summary in batch.summaries()) == (not takes_tasks)
