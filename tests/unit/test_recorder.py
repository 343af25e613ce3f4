"""What a recorded transition writes in all its parts, and what the poll gets back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from bedrock_batch_monitor.adapters.dynamodb.jobs_table import FoundJob
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxEntries
from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.reconcile import Reconciler
from bedrock_batch_monitor.app.recording import Recorder
from bedrock_batch_monitor.app.tag_reads import TagsRead
from bedrock_batch_monitor.app.usage import Reading
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.conditions import Finding
from bedrock_batch_monitor.domain.deadlines import SetBy
from bedrock_batch_monitor.domain.event_kinds import DEADLINE_MISSED, STALLED
from bedrock_batch_monitor.domain.events import pending_conditions
from bedrock_batch_monitor.domain.jobs import (
    JobObservation,
    JobRecord,
    StoredJob,
    TrackedJob,
    Usage,
)
from bedrock_batch_monitor.domain.owners import Owner
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import ReconcileResult
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.domain.token_usage import FollowUp, UsageProblem
from bedrock_batch_monitor.domain.transitions import Refresh, Transition, decide
from tests.support.monitor import ACCOUNT, REGION, RULES
from tests.support.strategies import ARN, NOW

AGO = NOW - timedelta(hours=1)
NEW = TrackedJob(ARN)
JOB = TrackedJob(ARN, sequence=2, status="InProgress")
WITH_TAGS = replace(RULES, read_tags=True)
TAGS = {"team": "search"}
SECRET = "a prompt that Bedrock quotes"  # noqa: S105 - no real one
MISSED = (Finding(DEADLINE_MISSED, AGO, {}),)
IS_STALLED = (Finding(STALLED, AGO, {"stalledSeconds": 3600}),)
FOLLOW_UP = FollowUp(UsageProblem("NoSuchKey", "not there yet"), NOW)
CONFLICT = WriteResult(WriteOutcome.CONFLICT)
THROTTLED = "Bedrock.ThrottlingException"


@dataclass
class Tables:
    """The jobs table, its history and its outbox, and what is written to them."""

    stored: StoredJob | None = None
    history: tuple[JobRecord, ...] = ()
    kept: OutboxEntries = field(default_factory=OutboxEntries)
    result: WriteResult = DONE
    written: list[tuple[str, JobRecord | Refresh, dict[str, Any]]] = field(default_factory=list)
    gets: int = 0

    def record(self, record: JobRecord, **arguments: Any) -> WriteResult:
        """A transition."""
        self.written.append(("record", record, arguments))
        return self.result

    def restore(self, record: JobRecord, **arguments: Any) -> WriteResult:
        """A restored job."""
        self.written.append(("restore", record, arguments))
        return self.result

    def refresh(self, refresh: Refresh, **arguments: Any) -> WriteResult:
        """Newer values."""
        self.written.append(("refresh", refresh, arguments))
        return self.result

    def get(self, _job_arn: str) -> StoredJob | None:
        """The whole item."""
        self.gets += 1
        return self.stored

    def records(self, _job_arn: str) -> tuple[JobRecord, ...]:
        """The history."""
        return self.history

    def entries(self, _job_arn: str) -> OutboxEntries:
        """The outbox."""
        return self.kept


@dataclass
class Tags:
    """Answers of ListTagsForResource."""

    answer: TagsRead
    reads: int = 0

    def read(self, _job_arn: str) -> TagsRead:
        """The answer."""
        self.reads += 1
        return self.answer


@dataclass
class Manifests:
    """What a job used."""

    reading: Reading

    def at_end(self, *_: Any) -> Reading:
        """When it ends."""
        return self.reading

    def follow_up(self, *_: Any) -> FollowUp:
        """When its end was recorded before."""
        return FOLLOW_UP


def transition(job: TrackedJob, status: str = "Completed", **answer: Any) -> Transition:
    """What an answer with this status means for a job."""
    observation = JobObservation(ARN, status, last_modified_time=NOW, **answer)
    decision = decide(job, observation, now=NOW, observed_by="poll", rules=RULES)
    assert isinstance(decision, Transition)
    return decision


def recorded(
    tables: Any,
    job: TrackedJob,
    decision: Transition,
    rules: Rules = RULES,
    **readers: Any,
) -> ReconcileResult:
    """Record a transition; the readers of tags and usage are those given."""
    parts = {"usage": None, **readers}
    recorder = Recorder(tables, tables, tables, lambda: NOW, rules, **parts)
    answer = decision.record.observation
    return recorder.record(job, decision, answer=answer, observed_by="poll")


def stored(job: TrackedJob, decision: Transition, **attributes: Any) -> StoredJob:
    """The item once a transition is written."""
    pending = pending_conditions(job, decision.findings, decision.entry.sequence, now=NOW)
    return StoredJob(ARN, decision.record, frozenset({"Ended#3", *map(str, pending)}), **attributes)


# Conditions and events


def test_condition_that_begins_with_a_transition_is_written_copied_and_sent() -> None:
    """Without its copy in the outbox, the event is lost if the item is put again."""
    decision = replace(transition(JOB), findings=MISSED)
    (pending,) = pending_conditions(JOB, MISSED, 3, now=NOW)
    tables = Tables(stored(JOB, decision))
    result = recorded(tables, JOB, decision)
    ((name, record, arguments),) = tables.written
    assert (name, record) == ("record", decision.record)
    assert arguments == {
        "expected": JOB,
        "pending_events": {"Ended#3", str(pending)},
        "follow_up": None,
        "conditions": {DEADLINE_MISSED.name: AGO},
        "copied": (pending,),
        "owner": None,
    }
    assert [event.pending_event for event in result.events] == ["Ended#3", str(pending)]
    assert result.conditions == {DEADLINE_MISSED.name}
    # With all of them the relay acknowledges both in one write.
    assert [event.all_pending for event in result.events] == [arguments["pending_events"]] * 2


def test_result_of_a_transition_has_the_entry_and_the_job() -> None:
    """The summary counts them, and the metrics of the job come from them."""
    decision = transition(JOB)
    result = recorded(Tables(), JOB, decision)
    assert (result.entry, result.record) == (decision.entry, decision.record)
    assert (result.backfilled, result.is_conflict, result.callbacks) == (False, False, None)
    assert result.errors == ()


def test_end_of_a_job_for_the_history_alone_is_counted_apart_and_has_no_event() -> None:
    job = replace(NEW, backfilled=True)
    result = recorded(Tables(), job, transition(job))
    assert result.backfilled
    assert result.events == ()


@pytest.mark.parametrize("rules", [RULES, replace(RULES, record_messages=False)])
def test_message_is_in_no_event_if_messages_are_not_recorded(rules: Rules) -> None:
    """Bedrock's message may quote what must not leave the account."""
    decision = replace(transition(JOB, "Failed", message=SECRET), findings=MISSED)
    result = recorded(Tables(stored(JOB, decision)), JOB, decision, rules)
    assert len(result.events) == 2
    for event in result.events:
        assert (SECRET in event.detail) is rules.record_messages


@pytest.mark.parametrize("emits", [False, True])
def test_change_of_status_has_an_event_only_if_it_is_wanted(*, emits: bool) -> None:
    job = replace(JOB, status="Scheduled")
    rules = replace(RULES, emit_status_changes=emits)
    result = recorded(Tables(), job, transition(job, "InProgress"), rules)
    assert [event.pending_event for event in result.events] == ["StatusChanged#3"] * emits


def test_refresh_reports_the_conditions_and_the_events_that_begin() -> None:
    refresh = Refresh(JobObservation(ARN, "InProgress"), findings=IS_STALLED)
    (pending,) = pending_conditions(JOB, IS_STALLED, 2, now=NOW)
    item = StoredJob(ARN, transition(JOB).record, frozenset({str(pending)}))
    tables: Any = Tables(item)
    recorder = Recorder(tables, tables, tables, lambda: NOW, RULES, None)
    result = recorder.refresh(JOB, refresh)
    assert tables.written == [
        ("refresh", refresh, {"expected": JOB, "now": NOW, "pending": (pending,)})
    ]
    assert result.conditions == {STALLED.name}
    assert [event.pending_event for event in result.events] == [str(pending)]
    # Another poll has sent it.
    tables.stored = replace(item, pending_events=frozenset())
    assert recorder.refresh(JOB, refresh).events == ()


def test_refresh_that_meets_another_write_is_a_conflict() -> None:
    tables: Any = Tables(result=CONFLICT)
    recorder = Recorder(tables, tables, tables, lambda: NOW, RULES, None)
    result = recorder.refresh(JOB, Refresh(JobObservation(ARN, "InProgress"), findings=IS_STALLED))
    assert result == ReconcileResult(is_conflict=True)


# Tasks


def test_tasks_that_wait_are_called_back_with_the_revision_of_the_item() -> None:
    job = replace(JOB, task_revision=2)
    decision = transition(job)
    result = recorded(Tables(), job, decision)
    assert result.callbacks == PendingCallbacks(decision.record, "Tasks#3", 2, due=NOW)


@pytest.mark.parametrize("sequence", [1, 2])
def test_tasks_and_events_that_only_the_outbox_has_are_not_forgotten(sequence: int) -> None:
    """The item was restored to a time before they were registered."""
    job = replace(JOB, sequence=sequence)
    kept = OutboxEntries(has_tasks=True, events=frozenset({"Stalled#1"}))
    tables = Tables(kept=kept)
    result = recorded(tables, job, transition(job))
    assert result.callbacks is not None
    assert result.callbacks.revision == 1
    arguments = tables.written[0][2]
    assert arguments["pending_events"] == {
        "Stalled#1",
        f"Ended#{sequence + 1}",
        f"Tasks#{sequence + 1}",
    }
    assert arguments["expected"].carries_tasks


# Token counts


def test_token_counts_are_part_of_the_end() -> None:
    usage = Usage(input_tokens=7)
    tables = Tables()
    result = recorded(tables, JOB, transition(JOB), usage=Manifests(Reading(usage)))
    _, record, arguments = tables.written[0]
    assert isinstance(record, JobRecord)
    assert record.last.usage == usage
    assert arguments["follow_up"] is None
    assert result.entry is not None
    assert result.entry.usage == usage


def test_token_counts_that_are_missing_are_looked_for_later() -> None:
    tables = Tables()
    recorded(tables, JOB, transition(JOB), usage=Manifests(Reading(follow_up=FOLLOW_UP)))
    assert tables.written[0][2]["follow_up"] == FOLLOW_UP


# Tags and deadlines


def test_first_record_of_a_job_has_its_tags_and_the_deadline_in_them() -> None:
    tags = {"bbm:deadline": "2026-11-25T06:00:00Z"}
    tables, reader = Tables(), Tags(TagsRead(tags))
    result = recorded(
        tables, NEW, transition(NEW, "InProgress", submit_time=AGO), WITH_TAGS, tags=reader
    )
    _, record, arguments = tables.written[0]
    assert isinstance(record, JobRecord)
    assert record.tags == tags
    owner = arguments["owner"]
    assert (owner.tags, owner.tags_pending, owner.deadline_by) == (tags, False, SetBy.TAG)
    assert owner.deadline is not None
    assert (result.errors, reader.reads) == ((), 1)


def test_tags_that_cannot_be_read_are_reported_and_read_later() -> None:
    tables, reader = Tables(), Tags(TagsRead(None, (THROTTLED,)))
    result = recorded(tables, NEW, transition(NEW), WITH_TAGS, tags=reader)
    assert tables.written[0][2]["owner"].tags_pending
    assert result.errors == (THROTTLED,)
    assert result.ended_without_tags == ARN


def test_tags_of_a_job_that_goes_on_are_not_missing_at_its_end() -> None:
    """Its item says that they are to be read."""
    reader = Tags(TagsRead(None, (THROTTLED,)))
    result = recorded(Tables(), NEW, transition(NEW, "InProgress"), WITH_TAGS, tags=reader)
    assert result.ended_without_tags is None


@pytest.mark.parametrize("tags", [TAGS, {}, None])
def test_tags_are_read_once_whatever_the_first_write_meets(tags: dict[str, str] | None) -> None:
    """A task was registered meanwhile."""
    tables, reader = Tables(result=CONFLICT), Tags(TagsRead(tags))
    tables.item = lambda _: {  # type: ignore[attr-defined]
        "jobArn": {"S": ARN},
        "sequence": {"N": "0"},
        "taskRevision": {"N": "1"},
    }
    recorded(tables, NEW, transition(NEW), WITH_TAGS, tags=reader)
    assert reader.reads == 1
    assert [each[2]["owner"].tags for each in tables.written[:2]] == [tags] * 2


def test_deadline_after_submission_becomes_a_moment_with_the_first_known_time() -> None:
    """Without an event to send, the item is not read for that."""
    job = replace(JOB, status="Submitted", deadline="4h", tags_pending=True)
    tables = Tables()
    decision = transition(job, "InProgress", submit_time=AGO)
    recorded(tables, job, decision, WITH_TAGS)
    expected = Owner(None, True, to_iso(AGO + timedelta(hours=4)), SetBy.USER)  # noqa: FBT003
    assert tables.written[0][2]["owner"] == expected
    assert tables.gets == 0


@pytest.mark.parametrize("is_pending", [False, True])
def test_later_event_has_the_tags_of_the_item(*, is_pending: bool) -> None:
    """The index does not have them, so the condition of the write is as the item says."""
    decision = transition(JOB)
    with_tags = replace(decision.record, tags=TAGS)
    tables = Tables(StoredJob(ARN, with_tags, tags_pending=is_pending))
    result = recorded(tables, JOB, decision, WITH_TAGS)
    _, record, arguments = tables.written[0]
    assert isinstance(record, JobRecord)
    assert record.tags == TAGS
    assert arguments["expected"] == replace(JOB, tags_pending=is_pending)
    assert arguments["owner"] == Owner(tags_pending=is_pending)
    assert json.loads(result.events[0].detail)["data"]["tags"] == TAGS
    assert result.ended_without_tags == (ARN if is_pending else None)


def test_end_of_a_job_reads_its_missing_tags_once_more() -> None:
    """A deadline that a tag has set is replaced by the one in the tags that are read."""
    decision = transition(JOB, submit_time=AGO)
    tables = Tables(StoredJob(ARN, decision.record, tags_pending=True, deadline_by=SetBy.TAG))
    tags = {"bbm:deadline": "2026-11-25T06:00:00Z"}
    reader = Tags(TagsRead(tags, ("Bedrock.Other",)))
    job = replace(JOB, deadline="2026-11-25T05:00:00.000Z")
    result = recorded(tables, job, decision, WITH_TAGS, tags=reader)
    _, record, arguments = tables.written[0]
    assert isinstance(record, JobRecord)
    assert record.tags == tags
    owner = arguments["owner"]
    assert (owner.tags, owner.tags_pending) == (tags, False)
    assert (owner.deadline, owner.deadline_by) == ("2026-11-25T06:00:00.000Z", SetBy.TAG)
    assert arguments["expected"].tags_pending
    assert result.errors == ("Bedrock.Other",)
    assert result.ended_without_tags is None


def test_end_whose_tags_cannot_be_read_is_reported_for_a_later_read() -> None:
    decision = transition(JOB)
    tables = Tables(StoredJob(ARN, decision.record, tags_pending=True))
    reader = Tags(TagsRead(None, (THROTTLED,)))
    result = recorded(tables, JOB, decision, WITH_TAGS, tags=reader)
    assert tables.written[0][2]["owner"] == Owner(tags_pending=True)
    assert (result.errors, result.ended_without_tags) == ((THROTTLED,), ARN)


# Jobs that continue from their history

REFUSAL = ServiceError("Bedrock", "ResourceNotFoundException", "gone")
FIRST = transition(NEW, "InProgress").record
END = transition(replace(JOB, sequence=1)).record
RESTORED_TASKS = OutboxEntries(has_tasks=True)


def caught_up(
    tables: Any, job: TrackedJob, answer: JobObservation | None, usage: Any = None
) -> ReconcileResult:
    """Continue from the history."""
    rules = replace(RULES, emit_status_changes=True)
    recorder = Recorder(tables, tables, tables, lambda: NOW, rules, usage)
    return recorder.catch_up(job, tables.history, answer, "poll")


def test_restored_end_is_pending_again_with_what_the_outbox_has() -> None:
    """The lost item may have had events that were not sent; nothing is counted twice."""
    tables = Tables(history=(FIRST, END))
    result = caught_up(tables, replace(NEW, carries_tasks=True), None, Manifests(Reading()))
    ((name, record, arguments),) = tables.written
    assert (name, record) == ("restore", END)
    assert arguments == {
        "expected": replace(NEW, carries_tasks=True),
        "pending_events": {"StatusChanged#1", "Ended#2", "Tasks#2"},
        "follow_up": FOLLOW_UP,
        "owner": Owner({}, tags_pending=False),
    }
    assert [event.pending_event for event in result.events] == ["Ended#2"]
    assert result.callbacks is not None
    assert (result.entry, result.record) == (None, None)


def test_transition_after_the_history_makes_the_earlier_ones_pending_again() -> None:
    tables = Tables(history=(FIRST,))
    answer = JobObservation(ARN, "Completed", last_modified_time=NOW)
    result = caught_up(tables, NEW, answer)
    ((name, record, arguments),) = tables.written
    assert isinstance(record, JobRecord)
    assert (name, record.last.sequence) == ("record", 2)
    assert arguments["pending_events"] == {"StatusChanged#1", "Ended#2"}
    assert result.entry == record.last


def test_job_that_has_its_whole_history_is_a_conflict() -> None:
    """Another poll has restored it."""
    tables = Tables(history=(FIRST,))
    assert caught_up(tables, replace(JOB, sequence=1), None) == ReconcileResult(is_conflict=True)
    assert tables.written == []


def test_restored_job_with_transitions_is_read_with_its_outbox() -> None:
    tables = Tables(history=(FIRST, END), kept=RESTORED_TASKS)
    result = caught_up(tables, replace(JOB, sequence=1), None)
    assert result.callbacks is not None
    assert tables.written[0][2]["expected"].carries_tasks


@dataclass
class Bedrock:
    """Refuses each read."""

    error: ServiceError

    def get(self, _job_arn: str) -> JobObservation:
        """No answer."""
        raise self.error


def reconciler(tables: Any, failing: dict[str, datetime] | None = None) -> Reconciler:
    """A reconciler whose reads Bedrock refuses."""
    bedrock: Any = Bedrock(REFUSAL)
    scope = Scope(ACCOUNT, REGION)
    return Reconciler(
        scope,
        Scopes(scope),
        bedrock,
        tables,
        tables,
        tables,
        tables,
        lambda: NOW,
        RULES,
        failing_since={} if failing is None else failing,
    )


def test_end_that_is_restored_from_the_history_reports_why_the_job_was_not_read() -> None:
    """Bedrock no longer returns the job: nobody would know that it was asked."""
    tables, failing = Tables(history=(FIRST, END)), {ARN: AGO}
    result = reconciler(tables, failing).reconcile(replace(JOB, sequence=1), observed_by="poll")
    assert result.errors == (REFUSAL.code,)
    assert [event.pending_event for event in result.events] == ["Ended#2"]
    assert [name for name, _, _ in tables.written] == ["restore"]
    assert failing == {}


def test_end_in_the_history_that_was_not_known_as_one_is_recorded_as_the_end() -> None:
    """By a version that did not know the status; Bedrock does not return the job any more."""
    unknown = replace(END, last=replace(END.last, event_id=None))
    tables = Tables(history=(FIRST, unknown))
    result = reconciler(tables).reconcile(replace(JOB, sequence=1), observed_by="poll")
    assert [event.pending_event for event in result.events] == ["Ended#3"]
    assert result.errors == (REFUSAL.code,)


def test_item_that_is_gone_before_its_end_is_recognized_is_a_conflict() -> None:
    """Somebody deleted it: the next poll does not find it."""
    ended = replace(JOB, status="Completed")
    tables: Any = Tables()
    tables.find = lambda _: FoundJob(ended, is_tracked=True)
    for stored_job in (None, StoredJob(ARN)):
        tables.stored = stored_job
        assert reconciler(tables).reconcile(ended, observed_by="poll").is_conflict
    assert tables.written == []


def test_new_job_that_is_refused_reads_its_history_once() -> None:
    """It is read before the job is, so that a second read costs and says nothing."""
    tables: Any = Tables()
    tables.records = Mock(return_value=())
    tables.find = lambda _: None
    tables.record_unreadable = lambda *_, **__: DONE
    assert reconciler(tables).reconcile(NEW, observed_by="poll").errors == (REFUSAL.code,)
    tables.records.assert_called_once_with(ARN)


@pytest.mark.parametrize("written", [DONE, CONFLICT])
def test_tracking_of_a_recorded_end_is_stopped_unless_the_item_changed(
    written: WriteResult,
) -> None:
    """Bedrock is not called: the end has its event."""
    tables: Any = Tables()
    tables.stop_tracking = Mock(return_value=written)
    ended = replace(JOB, status="Completed", event_id="e")
    result = reconciler(tables).reconcile(ended, observed_by="poll")
    assert result == ReconcileResult(is_conflict=written is CONFLICT)
    tables.stop_tracking.assert_called_once_with(ended)
