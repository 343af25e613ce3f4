"""Every conditional write of the jobs table, against items that are no longer what they were.

One row per write and item: what the outcome is, and what the item says afterwards. A write that
lost its race changes nothing, in any table. For each clause of a condition there is an item that
violates this clause alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import boto3
import pytest
from boto3.dynamodb.types import TypeSerializer
from moto import mock_aws

from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.acks import Acks
from bedrock_batch_monitor.adapters.dynamodb.history_table import HistoryTable
from bedrock_batch_monitor.adapters.dynamodb.job_items import JobItems
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
from bedrock_batch_monitor.adapters.dynamodb.tag_writes import TagWrites
from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
from bedrock_batch_monitor.adapters.dynamodb.usage_writes import UsageWrites
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteOutcome, WriteResult
from bedrock_batch_monitor.domain.conditions import Finding
from bedrock_batch_monitor.domain.deadlines import SetBy
from bedrock_batch_monitor.domain.event_kinds import AT_RISK as AT_RISK_KIND
from bedrock_batch_monitor.domain.event_kinds import STALLED as STALLED_KIND
from bedrock_batch_monitor.domain.events import (
    PendingEvent,
    pending_conditions,
    pending_unreachable,
)
from bedrock_batch_monitor.domain.jobs import (
    JobError,
    JobObservation,
    JobRecord,
    RecordCounts,
    TrackedJob,
    Usage,
)
from bedrock_batch_monitor.domain.owners import Owner
from bedrock_batch_monitor.domain.progress import UNKNOWN
from bedrock_batch_monitor.domain.read_failures import Unreadable
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.domain.token_usage import FollowUp, UsageProblem
from bedrock_batch_monitor.domain.transitions import Refresh, Transition, decide
from tests.support.monitor import REGION, RULES
from tests.support.strategies import ARN, NOW
from tests.support.tables import create_tables

from .conftest import plain

MINUTE: Final = timedelta(minutes=1)
EARLIER, LATER = NOW - MINUTE, NOW + MINUTE
OTHER: Final = f"{ARN[:-1]}7"
ERROR: Final = JobError("AccessDeniedException", "no")
SAID: Final = {"code": "AccessDeniedException", "message": "no"}
MARK: Final = "Ended#4"

DONE, LOST, AHEAD = WriteOutcome.DONE, WriteOutcome.CONFLICT, WriteOutcome.HISTORY_AHEAD
Item = Mapping[str, Any]
# In place of a value: the item has no such attribute.
NOTHING: Final = None

# What the monitor has read, and the same job after something happened to it.
RUNNING: Final[Item] = {
    "jobArn": ARN,
    "tracking": "ACTIVE",
    "trackedBy": "user",
    "trackedAt": to_iso(EARLIER),
    "sequence": 3,
    "status": "InProgress",
    "changedAt": to_iso(EARLIER),
    "observedAt": to_iso(EARLIER),
    "observedBy": "poll",
    "lastModifiedTime": to_iso(EARLIER),
    "progressAt": to_iso(EARLIER),
}
ENDED: Final[Item] = {
    **{name: value for name, value in RUNNING.items() if name != "tracking"},
    "sequence": 4,
    "status": "Completed",
    "eventId": "an-id",
}
PUT_AGAIN: Final[Item] = {"jobArn": ARN, "tracking": "ACTIVE"}
HAPPENED: Final[Mapping[str, Item | None]] = {
    "unchanged": RUNNING,
    "deleted": None,
    "moved on": {**RUNNING, "sequence": 4, "status": "Stopping"},
    "ended": ENDED,
    "put again": PUT_AGAIN,
}
UNREADABLE: Final = {
    "lastError": SAID,
    "lastErrorAt": to_iso(EARLIER),
    "unreadablePolls": 3,
    "unreachableSince": to_iso(EARLIER),
    "failingSince": to_iso(EARLIER),
}
PENDING: Final = {
    "eventPending": "PENDING",
    "pendingSince": to_iso(EARLIER),
    "pendingEvents": {MARK},
}
NOT_PENDING: Final = dict.fromkeys(PENDING, NOTHING)


KEYS: Final = {
    "jobs": ("jobArn",),
    "history": ("jobArn", "sequence"),
    "outbox": ("jobArn", "entry"),
}


@dataclass
class Tables:
    """The three tables that a write may touch, on moto."""

    dynamodb: Any
    jobs: JobsTable
    transitions: TransitionWrites
    acks: Acks
    usage: UsageWrites
    tags: TagWrites

    def put(self, item: Item, table: str = "jobs") -> None:
        """Put an item as it is."""
        serialize = TypeSerializer().serialize
        self.dynamodb.put_item(
            TableName=table, Item={name: serialize(value) for name, value in item.items()}
        )

    def item(self, job_arn: str = ARN) -> dict[str, Any] | None:
        """A job's item as plain values."""
        answer = self.dynamodb.get_item(TableName="jobs", Key={"jobArn": {"S": job_arn}})
        return plain(answer["Item"]) if "Item" in answer else None

    def stored(self) -> dict[str, Any] | None:
        """The job's item as DynamoDB returns it."""
        answer = self.dynamodb.get_item(TableName="jobs", Key={"jobArn": {"S": ARN}})
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """All that is stored."""
        return {
            table: sorted(map(plain, self.dynamodb.scan(TableName=table)["Items"]), key=str)
            for table in KEYS
        }


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """One set of tables for this module: to make them takes longer than a test."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name=REGION)
        create_tables(client)
        yield client


@pytest.fixture
def tables(client: Any) -> Tables:
    """Empty tables."""
    for table, keys in KEYS.items():
        for item in client.scan(TableName=table)["Items"]:
            client.delete_item(TableName=table, Key={name: item[name] for name in keys})
    history, outbox = HistoryTable(client, "history", None), OutboxTable(client, "outbox")
    return Tables(
        client,
        JobsTable(client, "jobs"),
        TransitionWrites(client, "jobs", history, outbox),
        Acks(client, "jobs"),
        UsageWrites(client, "jobs"),
        TagWrites(client, "jobs"),
    )


def known(item: Item) -> TrackedJob:
    """What the monitor knows of a job whose item says this."""
    serialize = TypeSerializer().serialize
    return items.tracked_job({name: serialize(value) for name, value in item.items()})


def changed(item: Item, changes: Mapping[str, Any]) -> Item:
    """The item with other values; None removes the attribute."""
    return {name: value for name, value in {**item, **changes}.items() if value is not NOTHING}


def transition(job: TrackedJob, status: str) -> JobRecord:
    observation = JobObservation(ARN, status, last_modified_time=NOW)
    decision = decide(job, observation, now=NOW, observed_by="poll", rules=RULES)
    assert isinstance(decision, Transition)
    return decision.record


def record(tables: Tables, job: TrackedJob, status: str) -> WriteResult:
    return tables.transitions.record(
        transition(job, status), expected=job, pending_events=frozenset({MARK})
    )


def restore(tables: Tables, job: TrackedJob) -> WriteResult:
    return tables.transitions.restore(
        transition(known(RUNNING), "Failed"), expected=job, pending_events=frozenset({MARK})
    )


def refresh(tables: Tables, job: TrackedJob, *findings: Finding) -> WriteResult:
    counts = RecordCounts(100, 10, 10, 0)
    observation = JobObservation(ARN, "InProgress", last_modified_time=NOW, counts=counts)
    return tables.transitions.refresh(
        Refresh(observation, counts_moved=True, findings=findings),
        expected=job,
        now=NOW,
        pending=pending_conditions(job, findings, 3, now=NOW),
    )


def begin_stall(tables: Tables, job: TrackedJob) -> WriteResult:
    observation = JobObservation(ARN, "InProgress", last_modified_time=EARLIER)
    findings = (Finding(STALLED_KIND, EARLIER),)
    return tables.transitions.refresh(
        Refresh(observation, estimate=UNKNOWN, findings=findings),
        expected=job,
        now=NOW,
        pending=pending_conditions(job, findings, 3, now=NOW),
    )


def follow_up(due_at: datetime | None = LATER) -> FollowUp:
    return FollowUp(UsageProblem("NoManifest", "not there yet"), due_at)


@dataclass(frozen=True)
class Write:
    """One conditional write.

    `base` is the item that it expects and `job` what the monitor knows of it; `outcomes` are those
    against the items of `HAPPENED`, LOST where none is named; `clauses` are changes of the base,
    each with its outcome. `after` is what a write that is done changes: all of it, unless
    `is_partial`.
    """

    call: Callable[[Tables, TrackedJob], WriteResult]
    outcomes: Mapping[str, WriteOutcome] = field(default_factory=dict)
    base: Item = field(default_factory=lambda: RUNNING)
    clauses: Mapping[str, tuple[Mapping[str, Any], WriteOutcome]] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    is_partial: bool = False
    has_history: bool = False

    @property
    def job(self) -> TrackedJob:
        """What the monitor knows of the job."""
        return known(self.base)


NEW: Final = {"unchanged": LOST, "deleted": DONE}
SAME: Final = {"unchanged": DONE}
WHATEVER: Final = dict.fromkeys(("unchanged", "moved on", "ended", "put again"), DONE)
NEVER_SEEN: Final = {"put again": DONE, "unchanged": LOST}
STALLED: Final = PendingEvent("Stalled", 3, EARLIER, NOW)
AT_RISK: Final = PendingEvent("AtRisk", 3, NOW, NOW)
UNREACHABLE: Final = pending_unreachable(3, now=NOW)


def pending_now(pending_event: PendingEvent) -> dict[str, Any]:
    return {
        "eventPending": "PENDING",
        "pendingSince": to_iso(NOW),
        "pendingEvents": {str(pending_event)},
    }


# After tables were lost, sequences start again: the same one can stand for another transition.
OTHER_STATUS: Final = {"same sequence, other status": ({"status": "Scheduled"}, LOST)}
OTHER_EPISODE: Final = {"unreachable meanwhile": ({"unreachableSince": to_iso(EARLIER)}, LOST)}
SAME_ANSWER: Final = {
    **OTHER_STATUS,
    "other progress": ({"progressAt": to_iso(NOW)}, LOST),
    "progress gone": ({"progressAt": NOTHING}, LOST),
    "newer answer": ({"lastModifiedTime": to_iso(NOW)}, LOST),
    "time of the answer gone": ({"lastModifiedTime": NOTHING}, LOST),
}
COMMANDS: Final = {
    "earlier command": ({"commandAt": to_iso(EARLIER)}, DONE),
    "same command": ({"commandAt": to_iso(NOW)}, DONE),
    "later command": ({"commandAt": to_iso(LATER)}, LOST),
    # Noted with a clock that was wrong: it must not win over all that follow.
    "command of the future": ({"commandAt": to_iso(NOW + timedelta(hours=3))}, DONE),
}
WRITES: Final[Mapping[str, Write]] = {
    "start_tracking": Write(
        lambda tables, _: tables.jobs.start_tracking(
            ARN,
            tracked_by="event",
            now=NOW,
            backfilled=True,
            has_task=True,
            command_at=NOW,
            deadline="4h",
        ),
        NEW,
        after={
            "deadline": "4h",
            "deadlineBy": "user",
            "jobArn": ARN,
            "tracking": "ACTIVE",
            "trackedBy": "event",
            "trackedAt": to_iso(NOW),
            "backfilled": True,
            "taskRevision": 1,
            "commandAt": to_iso(NOW),
        },
    ),
    "put_untracked": Write(
        lambda tables, _: tables.jobs.put_untracked(ARN, tracked_by="event", at=NOW),
        NEW,
        after={
            "jobArn": ARN,
            "trackedBy": "event",
            "trackedAt": to_iso(NOW),
            "commandAt": to_iso(NOW),
        },
    ),
    "await_end of a running job": Write(
        lambda tables, job: tables.jobs.await_end(job, now=NOW, resumes=True, command_at=NOW),
        SAME,
        clauses=OTHER_STATUS,
        after={"tracking": "ACTIVE", "commandAt": to_iso(NOW), "taskRevision": 1},
    ),
    "await_end of a job that was given up": Write(
        lambda tables, job: tables.jobs.await_end(job, now=NOW, resumes=True, command_at=NOW),
        {"put again": DONE, "unchanged": LOST},
        base={"jobArn": ARN, **UNREADABLE},
        clauses={"as it was": ({}, DONE)},
        after={
            "tracking": "ACTIVE",
            "commandAt": to_iso(NOW),
            "taskRevision": 1,
            **dict.fromkeys(items.OF_UNREADABLE, NOTHING),
        },
    ),
    "await_end after a later Untrack": Write(
        lambda tables, job: tables.jobs.await_end(job, now=NOW, resumes=False, command_at=NOW),
        SAME,
        clauses={
            **OTHER_STATUS,
            "untracked": ({"tracking": NOTHING, "commandAt": to_iso(LATER)}, DONE),
        },
        after={"taskRevision": 1},
    ),
    "await_end of a job that was never seen": Write(
        lambda tables, job: tables.jobs.await_end(job, now=NOW, resumes=True, command_at=NOW),
        NEVER_SEEN,
        base=PUT_AGAIN,
        after={"tracking": "ACTIVE", "commandAt": to_iso(NOW), "taskRevision": 1},
    ),
    "await_end of an ended job": Write(
        lambda tables, job: tables.jobs.await_end(job, now=NOW, resumes=True, command_at=NOW),
        {"ended": DONE},
        base=ENDED,
        clauses=OTHER_STATUS,
        after={
            "taskRevision": 1,
            "eventPending": "PENDING",
            "pendingSince": to_iso(NOW),
            "pendingEvents": {"Tasks#4"},
        },
    ),
    "resume_tracking": Write(
        lambda tables, _: tables.jobs.resume_tracking(ARN, at=NOW),
        {**WHATEVER, "ended": LOST},
        base=changed(
            RUNNING,
            {
                "tracking": NOTHING,
                **UNREADABLE,
            },
        ),
        clauses={**COMMANDS, "ended": ({"eventId": "an-id"}, LOST)},
        after={
            "tracking": "ACTIVE",
            "commandAt": to_iso(NOW),
            **dict.fromkeys(items.OF_UNREADABLE, NOTHING),
        },
    ),
    "untrack": Write(
        lambda tables, _: tables.jobs.untrack(ARN, at=NOW),
        WHATEVER,
        clauses=COMMANDS,
        after={"tracking": NOTHING, "commandAt": to_iso(NOW)},
    ),
    "give_up": Write(
        lambda tables, job: tables.transitions.give_up(job, ERROR, NOW),
        NEVER_SEEN,
        base=PUT_AGAIN,
        after={"tracking": NOTHING, "lastError": SAID, "lastErrorAt": to_iso(NOW)},
    ),
    "record of a change": Write(
        lambda tables, job: record(tables, job, "Stopping"),
        SAME,
        # A task that is registered meanwhile waits for the end, which this is not.
        clauses={**OTHER_STATUS, "task registered": ({"taskRevision": 1}, DONE)},
        after={"sequence": 4, "status": "Stopping", "tracking": "ACTIVE", "pendingEvents": {MARK}},
        is_partial=True,
        has_history=True,
    ),
    "record of an end": Write(
        lambda tables, job: record(tables, job, "Failed"),
        SAME,
        clauses={
            **OTHER_STATUS,
            "task registered": ({"taskRevision": 1}, LOST),
            "backfilled": ({"backfilled": True}, LOST),
        },
        after={"sequence": 4, "status": "Failed", "tracking": NOTHING, "pendingEvents": {MARK}},
        is_partial=True,
        has_history=True,
    ),
    "record of an end that a task waits for": Write(
        lambda tables, job: record(tables, job, "Failed"),
        base=changed(RUNNING, {"taskRevision": 1, "backfilled": True}),
        outcomes={"unchanged": LOST},
        clauses={
            **OTHER_STATUS,
            "as it was": ({}, DONE),
            "another task registered": ({"taskRevision": 2}, LOST),
            "tasks gone": ({"taskRevision": NOTHING}, LOST),
            "not backfilled any more": ({"backfilled": NOTHING}, LOST),
        },
        after={"sequence": 4, "status": "Failed", "tracking": NOTHING},
        is_partial=True,
        has_history=True,
    ),
    "restore": Write(
        restore,
        NEVER_SEEN,
        base=PUT_AGAIN,
        clauses={
            "task registered": ({"taskRevision": 1}, LOST),
            "backfilled": ({"backfilled": True}, LOST),
        },
        after={"sequence": 4, "status": "Failed", "tracking": NOTHING, "pendingEvents": {MARK}},
        is_partial=True,
    ),
    "refresh": Write(
        refresh,
        SAME,
        clauses=SAME_ANSWER,
        after={
            "totalRecordCount": 100,
            "processedRecordCount": 10,
            "successRecordCount": 10,
            "errorRecordCount": 0,
            "progressAt": to_iso(NOW),
            "lastModifiedTime": to_iso(NOW),
        },
    ),
    "refresh that finds a risk": Write(
        lambda tables, job: refresh(tables, job, Finding(AT_RISK_KIND, NOW)),
        SAME,
        clauses={
            **SAME_ANSWER,
            "at risk already": ({"conditions": {"AtRisk": to_iso(EARLIER)}}, LOST),
            "stalled meanwhile": ({"conditions": {"Stalled": to_iso(EARLIER)}}, LOST),
        },
        after={"conditions": {"AtRisk": to_iso(NOW)}, "pendingEvents": {str(AT_RISK)}},
        is_partial=True,
    ),
    "record that finds a risk": Write(
        lambda tables, job: tables.transitions.record(
            transition(job, "Stopping"),
            expected=job,
            pending_events=frozenset({str(AT_RISK)}),
            conditions={"AtRisk": NOW},
            copied=(AT_RISK,),
        ),
        SAME,
        clauses={"at risk already": ({"conditions": {"AtRisk": to_iso(EARLIER)}}, LOST)},
        after={"conditions": {"AtRisk": to_iso(NOW)}, "pendingEvents": {str(AT_RISK)}},
        is_partial=True,
        has_history=True,
    ),
    "record of a job whose tags are known": Write(
        lambda tables, job: tables.transitions.record(
            transition(job, "Failed"),
            expected=job,
            pending_events=frozenset({MARK}),
            owner=Owner(deadline=to_iso(LATER), deadline_by=SetBy.USER),
        ),
        base=changed(RUNNING, {"deadline": "4h"}),
        outcomes={"unchanged": LOST},
        clauses={
            "as it was": ({}, DONE),
            "tags pending": ({"tagsPending": True}, LOST),
            "other deadline": ({"deadline": "5h"}, LOST),
            "deadline gone": ({"deadline": NOTHING}, LOST),
        },
        after={"deadline": to_iso(LATER), "deadlineBy": "user"},
        is_partial=True,
        has_history=True,
    ),
    "add_tags": Write(
        lambda tables, job: tables.tags.add_tags(
            Owner({"team": "a"}, deadline=to_iso(LATER), deadline_by=SetBy.TAG), expected=job
        ),
        base=changed(RUNNING, {"tagsPending": True}),
        outcomes={"unchanged": LOST},
        clauses={
            **OTHER_STATUS,
            "as it was": ({}, DONE),
            "read meanwhile": ({"tagsPending": NOTHING}, LOST),
            "deadline set meanwhile": ({"deadline": "5h"}, LOST),
            "event pending": (PENDING, LOST),
        },
        after={
            "tags": {"team": "a"},
            "tagsPending": NOTHING,
            "deadline": to_iso(LATER),
            "deadlineBy": "tag",
        },
    ),
    "record_error": Write(
        lambda tables, _: tables.transitions.record_error(ARN, ERROR, NOW),
        WHATEVER,
        base=changed(RUNNING, {"failingSince": to_iso(NOW)}),
        after={"lastError": SAID, "lastErrorAt": to_iso(NOW), "failingSince": to_iso(NOW)},
    ),
    "first record_unreadable": Write(
        lambda tables, job: tables.transitions.record_unreadable(
            Unreadable(ERROR, 1, None), expected=job, now=NOW
        ),
        SAME,
        clauses={
            **OTHER_STATUS,
            **OTHER_EPISODE,
            "counted by another poll": ({"unreadablePolls": 1}, LOST),
        },
        after={"lastError": SAID, "lastErrorAt": to_iso(NOW), "unreadablePolls": 1},
    ),
    "record_unreadable of a read that an event triggered": Write(
        lambda tables, job: tables.transitions.record_unreadable(
            Unreadable(ERROR, 0, None), expected=job, now=NOW
        ),
        SAME,
        clauses={**OTHER_STATUS, **OTHER_EPISODE},
        # No number of polls: with one, no poll could count the first.
        after={"lastError": SAID, "lastErrorAt": to_iso(NOW)},
    ),
    "record_unreadable that begins an episode": Write(
        lambda tables, job: tables.transitions.record_unreadable(
            Unreadable(ERROR, 3, NOW), expected=job, now=NOW, pending=(UNREACHABLE,)
        ),
        {"unchanged": LOST},
        base=changed(RUNNING, {"unreadablePolls": 2}),
        clauses={
            **OTHER_STATUS,
            **OTHER_EPISODE,
            "as it was": ({}, DONE),
            "counted by another poll": ({"unreadablePolls": 3}, LOST),
            "read meanwhile": ({"unreadablePolls": NOTHING}, LOST),
        },
        after={
            "lastError": SAID,
            "lastErrorAt": to_iso(NOW),
            "unreadablePolls": 3,
            "unreachableSince": to_iso(NOW),
            **pending_now(UNREACHABLE),
        },
    ),
    "record_failing": Write(
        lambda tables, job: tables.transitions.record_failing(NOW, expected=job),
        SAME,
        clauses={**OTHER_STATUS, "noted already": ({"failingSince": to_iso(EARLIER)}, LOST)},
        after={"failingSince": to_iso(NOW)},
    ),
    "refresh that finds a stall": Write(
        begin_stall,
        SAME,
        clauses={
            **SAME_ANSWER,
            "stalled already": ({"conditions": {"Stalled": to_iso(EARLIER)}}, LOST),
        },
        after={"conditions": {"Stalled": to_iso(EARLIER)}, **pending_now(STALLED)},
    ),
    "refresh that ends a stall": Write(
        refresh,
        {"unchanged": LOST},
        base=changed(RUNNING, {"conditions": {"Stalled": to_iso(EARLIER)}}),
        clauses={
            **SAME_ANSWER,
            "as it was": ({}, DONE),
            "at risk meanwhile": (
                {"conditions": {"Stalled": to_iso(EARLIER), "AtRisk": to_iso(NOW)}},
                LOST,
            ),
            "ended meanwhile": ({"conditions": NOTHING}, LOST),
        },
        after={"conditions": NOTHING, "processedRecordCount": 10},
        is_partial=True,
    ),
    "stop_tracking": Write(
        lambda tables, job: tables.transitions.stop_tracking(job),
        {"ended": DONE},
        base=changed(ENDED, {"tracking": "ACTIVE"}),
        clauses={
            **OTHER_STATUS,
            "as it was": ({}, DONE),
            "other sequence": ({"sequence": 5}, LOST),
        },
        after={"tracking": NOTHING},
    ),
    "ack": Write(
        lambda tables, _: tables.acks.ack(ARN, MARK),
        {"unchanged": LOST},
        base=changed(ENDED, PENDING),
        clauses={"as it was": ({}, DONE), "acknowledged before": (NOT_PENDING, LOST)},
        after=NOT_PENDING,
    ),
    "ack of one of several": Write(
        lambda tables, _: tables.acks.ack(ARN, MARK),
        {"unchanged": LOST},
        base=changed(ENDED, {**PENDING, "pendingEvents": {MARK, "Tasks#4"}}),
        clauses={
            "as it was": ({}, DONE),
            "acknowledged before": ({"pendingEvents": {"Tasks#4"}}, LOST),
        },
        after={"pendingEvents": {"Tasks#4"}},
    ),
    "ack_callbacks": Write(
        lambda tables, _: tables.acks.ack_callbacks(
            ARN, "Tasks#4", revision=1, refusal="TaskTimedOut", now=NOW
        ),
        {"unchanged": LOST},
        base=changed(ENDED, {**PENDING, "pendingEvents": {"Tasks#4"}, "taskRevision": 1}),
        clauses={
            "as it was": ({}, DONE),
            "another task registered": ({"taskRevision": 2}, LOST),
            "cleared before": (NOT_PENDING, LOST),
        },
        after={
            **NOT_PENDING,
            "taskTokenError": "TaskTimedOut",
            "taskTokenErrorAt": to_iso(NOW),
        },
    ),
    "ack_callbacks next to an event": Write(
        lambda tables, _: tables.acks.ack_callbacks(
            ARN, "Tasks#4", revision=1, refusal=None, now=NOW
        ),
        {"unchanged": LOST},
        base=changed(ENDED, {**PENDING, "pendingEvents": {MARK, "Tasks#4"}, "taskRevision": 1}),
        clauses={
            "as it was": ({}, DONE),
            "another task registered": ({"taskRevision": 2}, LOST),
            "cleared before": ({"pendingEvents": {MARK}}, LOST),
        },
        after={"pendingEvents": {MARK}},
    ),
    "leave_pending_index": Write(
        lambda tables, _: tables.acks.leave_pending_index(ARN),
        WHATEVER,
        base=changed(ENDED, {**PENDING, "pendingEvents": NOTHING}),
        clauses={"event pending meanwhile": ({"pendingEvents": {MARK}}, LOST)},
        after={"eventPending": NOTHING, "pendingSince": NOTHING},
    ),
    "add_usage": Write(
        lambda tables, _: tables.usage.add_usage(ARN, Usage(7, 8), due_at=NOW, now=LATER),
        {"unchanged": LOST},
        base=changed(ENDED, {"usagePending": "PENDING", "usageDueAt": to_iso(NOW)}),
        clauses={
            "as it was": ({}, DONE),
            "looked for meanwhile": ({"usageDueAt": to_iso(LATER)}, LOST),
            "found meanwhile": ({"usagePending": NOTHING, "usageDueAt": NOTHING}, LOST),
        },
        after={
            "tokens": {"input": 7, "output": 8},
            "usageReadAt": to_iso(LATER),
            "usagePending": NOTHING,
            "usageDueAt": NOTHING,
        },
    ),
    "postpone_usage": Write(
        lambda tables, _: tables.usage.postpone_usage(ARN, follow_up(), due_at=NOW),
        {"unchanged": LOST},
        base=changed(ENDED, {"usagePending": "PENDING", "usageDueAt": to_iso(NOW)}),
        clauses={
            "as it was": ({}, DONE),
            "looked for meanwhile": ({"usageDueAt": to_iso(EARLIER)}, LOST),
            "found meanwhile": ({"usagePending": NOTHING, "usageDueAt": NOTHING}, LOST),
        },
        after={
            "usageError": {"code": "NoManifest", "message": "not there yet"},
            "usageDueAt": to_iso(LATER),
        },
    ),
    "forget_usage": Write(
        lambda tables, _: tables.usage.forget_usage(ARN),
        {"unchanged": LOST},
        base=changed(ENDED, {"usagePending": "PENDING", "usageDueAt": "nonsense"}),
        clauses={"as it was": ({}, DONE), "found meanwhile": ({"usagePending": NOTHING}, LOST)},
        after={"usagePending": NOTHING, "usageDueAt": NOTHING},
    ),
}


def rows() -> Iterator[Any]:
    """Each write with each item that it may meet."""
    for name, write in WRITES.items():
        for happened, item in HAPPENED.items():
            outcome = write.outcomes.get(happened, LOST)
            yield pytest.param(write, item, outcome, id=f"{name}: {happened}")
        for clause, (changes, outcome) in write.clauses.items():
            item = changed(write.base, changes)
            yield pytest.param(write, item, outcome, id=f"{name}: {clause}")


@pytest.mark.parametrize(("write", "item", "outcome"), list(rows()))
def test_conditional_write_reports_whether_the_item_is_as_expected(
    tables: Tables, write: Write, item: Item | None, outcome: WriteOutcome
) -> None:
    """A write that succeeds changes only its attributes; one with a conflict changes nothing."""
    if item is not None:
        tables.put(item)
    before, stored = tables.everything(), tables.stored()
    result = write.call(tables, write.job)
    assert result.outcome is outcome
    if outcome is not DONE:
        assert tables.everything() == before
        assert result.current == stored
        return
    assert result.current is None
    after = tables.item()
    assert after is not None
    expected = changed(item or {}, write.after)
    if write.is_partial:
        names = write.after.keys()
        after = {name: after[name] for name in names if name in after}
        expected = {name: expected[name] for name in names if name in expected}
    assert after == expected
    assert len(tables.everything()["history"]) == write.has_history


def test_every_conditional_write_is_in_the_table() -> None:
    """A new write needs rows too; `ack_batch` handles several jobs and has its own test."""
    written = {
        name
        for part in JobItems.__subclasses__()
        for name, member in vars(part).items()
        if not name.startswith("_")
        and getattr(member, "__annotations__", {}).get("return") == "WriteResult"
    }
    assert {name for name in written if not any(name in row for row in WRITES)} == {"ack_batch"}


@pytest.mark.parametrize("name", ["record of a change", "record of an end"])
def test_transition_whose_sequence_the_history_has_is_not_written(
    tables: Tables, name: str
) -> None:
    """A job whose item is older than its history must not overwrite a history entry."""
    tables.put(RUNNING)
    tables.put({"jobArn": ARN, "sequence": 4, "status": "Stopping"}, "history")
    before = tables.everything()
    assert WRITES[name].call(tables, WRITES[name].job).outcome is AHEAD
    assert tables.everything() == before


@pytest.mark.parametrize("happened", ["moved on", "ended", "put again", "deleted"])
def test_transition_of_a_changed_job_is_a_conflict_for_any_history(
    tables: Tables, happened: str
) -> None:
    """Both conditions fail: the item decides, and the next poll reads it."""
    item = HAPPENED[happened]
    if item is not None:
        tables.put(item)
    tables.put({"jobArn": ARN, "sequence": 4, "status": "Stopping"}, "history")
    before = tables.everything()
    result = record(tables, known(RUNNING), "Stopping")
    assert result.outcome is LOST
    assert result.current == tables.stored()
    assert tables.everything() == before


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, DONE),
        ({"pendingEvents": {MARK, "Tasks#4"}}, LOST),
        ({"pendingEvents": {"Tasks#4"}}, LOST),
        (NOT_PENDING, LOST),
    ],
)
def test_acknowledging_many_jobs_is_all_or_nothing(
    tables: Tables, changes: Mapping[str, Any], outcome: WriteOutcome
) -> None:
    """A job that has another pending event by now keeps it, and stays in the index."""
    tables.put(changed({**ENDED, **PENDING}, changes))
    tables.put({**ENDED, **PENDING, "jobArn": OTHER})
    before = tables.everything()
    pending_events = frozenset({MARK})
    result = tables.acks.ack_batch({ARN: pending_events, OTHER: pending_events})
    assert result == WriteResult(outcome)
    if outcome is DONE:
        assert tables.item(ARN) == ENDED
        assert tables.item(OTHER) == {**ENDED, "jobArn": OTHER}
    else:
        assert tables.everything() == before


def test_condition_event_has_a_copy_in_the_outbox(tables: Tables) -> None:
    """It is in the same transaction as the pending event, and outlives a replaced item."""
    tables.put(RUNNING)
    name = "refresh that finds a stall"
    assert WRITES[name].call(tables, WRITES[name].job).is_done
    [copy] = tables.everything()["outbox"]
    assert (copy["jobArn"], copy["entry"]) == (ARN, f"event#{STALLED}")


def test_pending_events_of_a_replaced_item_survive_a_read_error(
    tables: Tables,
) -> None:
    """A job that cannot be read does not keep its older events from being sent."""
    tables.put(PUT_AGAIN)
    carried = frozenset({"Stalled#3#a#b"})
    job = replace(known(PUT_AGAIN), carried_events=carried)
    found = Unreadable(ERROR, 1, None)
    written = tables.transitions.record_unreadable(found, expected=job, now=NOW)
    assert written.is_done
    assert (tables.item() or {})["pendingEvents"] == carried
