"""Amazon DynamoDB: the jobs table, the history table, and the monitor's own state table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
from bedrock_batch_monitor.adapters.errors import ServiceError, calling
from bedrock_batch_monitor.adapters.sdk import bounded_config, guard, pages_of
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.discovery import Bookmark, TableInfo
from bedrock_batch_monitor.domain.episodes import Unreadable
from bedrock_batch_monitor.domain.events import PendingEvent, pending_callbacks
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobError,
    JobObservation,
    JobRecord,
    StoredJob,
    TrackedJob,
    Usage,
)
from bedrock_batch_monitor.domain.scopes import ALL_KEYS, KeyPartition, KeyRange
from bedrock_batch_monitor.domain.state import ListPosition, State
from bedrock_batch_monitor.domain.times import CLOCK_TOLERANCE
from bedrock_batch_monitor.domain.token_usage import FollowUp
from bedrock_batch_monitor.domain.transitions import Refresh, Transition

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        QueryInputPaginateTypeDef,
        TransactWriteItemTypeDef,
        UpdateItemInputTypeDef,
        UpdateTypeDef,
    )

    Item = Mapping[str, AttributeValueTypeDef]

SERVICE: Final = "DynamoDB"
_CONDITION_FAILED: Final = "ConditionalCheckFailed"
# Another write to the same item was under way: whoever wins, the next poll sees the result.
_CONFLICT: Final = "TransactionConflict"


class WriteOutcome(Enum):
    """What became of a conditional write."""

    DONE = auto()
    CONFLICT = auto()
    HISTORY_AHEAD = auto()
    """The job's item knows less than its history does: it was put anew by hand."""


@dataclass(frozen=True, slots=True)
class InvalidItem:
    """An item of the active-jobs index that cannot be read, and why."""

    job_arn: str
    error: JobError
    last_error: JobError | None


@dataclass(frozen=True, slots=True)
class FoundJob:
    """An item of the jobs table, whether it is polled, and when the last command on it was sent."""

    job: TrackedJob | InvalidItem
    is_tracked: bool
    command_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PendingJob:
    """An entry of the pending-events index: the job, and since when it has a pending event."""

    job_arn: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class StoredJobs:
    """The items of some jobs; `unreadable` could not be understood, `unprocessed` not be read."""

    found: Mapping[str, StoredJob]
    unreadable: frozenset[str] = frozenset()
    unprocessed: frozenset[str] = frozenset()


def connect(session: boto3.Session, concurrency: int) -> DynamoDBClient:
    """A client whose connection pool serves `concurrency` threads, with bounded time-outs."""
    config = bounded_config(concurrency=concurrency, attempts=3)
    return guard(session.client("dynamodb", config=config))


class HistoryTable:
    """The observed transitions of every job, append-only."""

    def __init__(self, client: DynamoDBClient, name: str, retention: timedelta | None) -> None:
        self._client = client
        self.name = name
        self._retention = retention

    def item(self, record: JobRecord) -> dict[str, AttributeValueTypeDef]:
        """The last entry of a job as it is put into the table, with its time to live if one is set.

        The entry of an end has the whole record.
        """
        entry = record.last
        expires_at = None if self._retention is None else entry.observed_at + self._retention
        is_end = statuses.is_terminal(entry.status)
        return items.history_item(entry, expires_at, record if is_end else None)

    def get(self, job_arn: str, sequence: int) -> HistoryEntry | None:
        """One entry, read consistently; raises `ServiceError`, `InvalidItemError`."""
        with calling(SERVICE):
            answer = self._client.get_item(
                TableName=self.name,
                Key={"jobArn": items.text(job_arn), "sequence": items.number(sequence)},
                ConsistentRead=True,
            )
        return items.history_entry(answer["Item"]) if "Item" in answer else None

    def records(self, job_arn: str) -> tuple[JobRecord, ...]:
        """All entries of a job, oldest first, read consistently.

        Each is a record with what the entry has of the observation: all of it for the end.
        Raises `ServiceError`, `InvalidItemError`.
        """
        found = _query(
            self._client,
            {
                "TableName": self.name,
                "KeyConditionExpression": "jobArn = :jobArn",
                "ExpressionAttributeValues": {":jobArn": items.text(job_arn)},
                "ConsistentRead": True,
            },
        )
        return tuple(items.job_record(item) for item in found)


class JobsTable:
    """The tracked jobs, and the transaction that moves one of them together with its history."""

    def __init__(
        self, client: DynamoDBClient, name: str, history: HistoryTable, outbox: OutboxTable
    ) -> None:
        self._client = client
        self._name = name
        self._history = history
        self._outbox = outbox

    def describe(self) -> TableInfo:
        """The identity of the table (DescribeTable); raises `ServiceError`."""
        with calling(SERVICE):
            table = self._client.describe_table(TableName=self._name)["Table"]
        return TableInfo(
            table_id=table.get("TableId"),
            created_at=table.get("CreationDateTime"),
            is_restored="RestoreSummary" in table,
        )

    def active(
        self, start_at: str | None, keys: KeyPartition = ALL_KEYS
    ) -> Iterator[TrackedJob | InvalidItem]:
        """The jobs of a share of the active-jobs index in the order of their ARNs, every page.

        Begins at the ARN `start_at` and goes on with the ones before it at the end. The index is
        eventually consistent: it nominates jobs, the conditions of the writes decide.
        Raises `ServiceError`.
        """
        for key_range in keys.starting_at(start_at):
            condition, bounds = _within(key_range)
            values = {":active": items.text(contract.TRACKING_ACTIVE)}
            values.update({name: items.text(bound) for name, bound in bounds.items()})
            for item in _query(
                self._client,
                {
                    "TableName": self._name,
                    "IndexName": contract.ACTIVE_JOBS_INDEX,
                    "KeyConditionExpression": f"{contract.TRACKING} = :active{condition}",
                    "ExpressionAttributeValues": values,
                },
            ):
                # BETWEEN includes its upper bound, which is no key of this range.
                if item["jobArn"]["S"] in key_range:
                    yield _tracked_or_invalid(item)

    def with_pending_events(self, after: datetime | None = None) -> Iterator[PendingJob]:
        """The jobs with pending events, longest pending first.

        With `after`, the ones that are pending since later come first, then the others. Raises
        `ServiceError`.
        """
        pending = {":pending": items.text(contract.EVENT_PENDING_VALUE)}
        parts: list[tuple[str, dict[str, AttributeValueTypeDef]]] = [("", {})]
        if after is not None:
            value = {":after": items.time(after)}
            parts = [
                (f" AND {contract.PENDING_SINCE} > :after", value),
                (f" AND {contract.PENDING_SINCE} <= :after", value),
            ]
        for condition, values in parts:
            for item in _query(
                self._client,
                {
                    "TableName": self._name,
                    "IndexName": contract.PENDING_EVENTS_INDEX,
                    "KeyConditionExpression": f"{contract.EVENT_PENDING} = :pending{condition}",
                    "ExpressionAttributeValues": pending | values,
                },
            ):
                yield PendingJob(item["jobArn"]["S"], items.pending_since(item))

    def stored(self, job_arns: Sequence[str]) -> StoredJobs:
        """The items of up to 100 jobs, read consistently (BatchGetItem); raises `ServiceError`."""
        keys: list[Mapping[str, AttributeValueTypeDef]] = [
            {"jobArn": items.text(arn)} for arn in job_arns
        ]
        with calling(SERVICE):
            answer = self._client.batch_get_item(
                RequestItems={self._name: {"Keys": keys, "ConsistentRead": True}}
            )
        found: dict[str, StoredJob] = {}
        unreadable = set()
        for item in answer["Responses"].get(self._name, ()):
            try:
                found[item["jobArn"]["S"]] = items.stored_job(item)
            except items.InvalidItemError:
                unreadable.add(item["jobArn"]["S"])
        left = answer.get("UnprocessedKeys", {}).get(self._name, {"Keys": []})["Keys"]
        unprocessed = frozenset(key["jobArn"]["S"] for key in left)
        return StoredJobs(found, frozenset(unreadable), unprocessed)

    def find(self, job_arn: str) -> FoundJob | None:
        """A job as the next poll would take it, whether tracked or not, read consistently.

        Raises `ServiceError`.
        """
        item = self._item(job_arn)
        if item is None:
            return None
        return FoundJob(_tracked_or_invalid(item), items.is_tracked(item), items.command_at(item))

    def unknown(self, job_arns: Sequence[str]) -> set[str]:
        """Those of up to 100 ARNs that have no item (BatchGetItem); raises `ServiceError`."""
        wanted: list[Mapping[str, AttributeValueTypeDef]] = [
            {"jobArn": items.text(arn)} for arn in job_arns
        ]
        expected: set[str] = set()
        # Keys that are not answered for count as unknown: a put that finds an item does nothing.
        with calling(SERVICE):
            answer = self._client.batch_get_item(
                RequestItems={self._name: {"Keys": wanted, "ProjectionExpression": "jobArn"}}
            )
        expected.update(item["jobArn"]["S"] for item in answer["Responses"].get(self._name, ()))
        return set(job_arns) - expected

    def start_tracking(  # noqa: PLR0913 - what a new item says, all named
        self,
        job_arn: str,
        *,
        tracked_by: str,
        now: datetime,
        backfilled: bool = False,
        has_task: bool = False,
        command_at: datetime | None = None,
    ) -> WriteOutcome:
        """Put a job into polling that has no item yet; raises `ServiceError`.

        The same put says whether it is for the history alone, whether a task waits for it, and
        when the command was sent.
        """
        item: dict[str, AttributeValueTypeDef] = {
            "jobArn": items.text(job_arn),
            contract.TRACKING: items.text(contract.TRACKING_ACTIVE),
            "trackedBy": items.text(tracked_by),
            "trackedAt": items.time(now),
        }
        if backfilled:
            item[items.BACKFILLED] = {"BOOL": True}
        if has_task:
            item[contract.TASK_REVISION] = items.number(1)
        if command_at is not None:
            item[contract.COMMAND_AT] = items.time(command_at)
        return self._put_new(item)

    def put_untracked(self, job_arn: str, *, tracked_by: str, at: datetime) -> WriteOutcome:
        """Put an item that is not polled for a job that has none; raises `ServiceError`.

        Discovery does not track the job then.
        """
        return self._put_new(
            {
                "jobArn": items.text(job_arn),
                "trackedBy": items.text(tracked_by),
                "trackedAt": items.time(at),
                contract.COMMAND_AT: items.time(at),
            }
        )

    def _put_new(self, item: dict[str, AttributeValueTypeDef]) -> WriteOutcome:
        return _unless_refused(
            lambda: self._client.put_item(
                TableName=self._name,
                Item=item,
                ConditionExpression="attribute_not_exists(jobArn)",
            )
        )

    def await_end(
        self, expected: TrackedJob, *, now: datetime, resumes: bool, command_at: datetime
    ) -> WriteOutcome:
        """Note that one more task waits for the end of a job; raises `ServiceError`.

        If the job has ended, its callback is pending from this write on. Otherwise, with `resumes`,
        the job is put back into polling, as `resume_tracking` does it. A job that has moved on
        meanwhile is a lost race: then nothing is written.
        """
        changes = _Changes()
        changes.add_number(contract.TASK_REVISION, 1)
        if expected.has_ended:
            changes.add_pending((str(pending_callbacks(expected.sequence)),), now)
        elif resumes:
            changes.set(contract.TRACKING, items.text(contract.TRACKING_ACTIVE))
            changes.set(contract.COMMAND_AT, items.time(command_at))
            changes.replace({}, out_of=items.OF_UNREADABLE)
        return self._update_if(self._keyed(expected.job_arn, changes, _unmoved(expected, changes)))

    def resume_tracking(
        self, job_arn: str, *, at: datetime, now: datetime | None = None
    ) -> WriteOutcome:
        """Put a job that has not ended back into polling; raises `ServiceError`.

        The condition names no sequence: a poll that moves the job meanwhile changes nothing about
        the command. What made the job unreadable is forgotten, so that it gets its time again.
        """
        changes = _Changes()
        changes.set(contract.TRACKING, items.text(contract.TRACKING_ACTIVE))
        changes.set(contract.COMMAND_AT, items.time(at))
        changes.replace({}, out_of=items.OF_UNREADABLE)
        condition = (
            f"attribute_exists(jobArn) AND attribute_not_exists({changes.name('eventId')})"
            f" AND {_not_superseded(at, now or at, changes)}"
        )
        return self._update_if(self._keyed(job_arn, changes, condition))

    def untrack(self, job_arn: str, *, at: datetime, now: datetime | None = None) -> WriteOutcome:
        """Take a job out of polling, whatever its status; raises `ServiceError`.

        A lost race means that it has no item, or that a later command was followed already.
        """
        changes = _Changes()
        changes.remove(contract.TRACKING)
        changes.set(contract.COMMAND_AT, items.time(at))
        condition = f"attribute_exists(jobArn) AND {_not_superseded(at, now or at, changes)}"
        return self._update_if(self._keyed(job_arn, changes, condition))

    def give_up(self, expected: TrackedJob, error: JobError, now: datetime) -> WriteOutcome:
        """Untrack an ARN that was never readable; the item says why. Raises `ServiceError`.

        Not if it was tracked again meanwhile, by a command or by hand: that removes since when it
        could not be read.
        """
        changes = _Changes()
        changes.remove(contract.TRACKING)
        changes.explain(error, now)
        condition = " AND ".join(
            (
                _unmoved(expected, changes),
                _same_time("unreachableSince", expected.unreachable_since, changes),
                _same_time("failingSince", expected.failing_since, changes),
            )
        )
        return self._update_if(self._keyed(expected.job_arn, changes, condition))

    def get(self, job_arn: str) -> StoredJob | None:
        """A job, read consistently; raises `ServiceError`, `InvalidItemError`."""
        item = self._item(job_arn)
        return None if item is None else items.stored_job(item)

    def record(
        self,
        transition: Transition,
        observation: JobObservation,
        *,
        expected: TrackedJob,
        pending_events: frozenset[str],
        follow_up: FollowUp | None = None,
    ) -> WriteOutcome:
        """Move the job on and append to its history, both or neither (TransactWriteItems).

        The job moves only if it is still where `expected` saw it, the entry is put only if its
        sequence is free, and `pending_events` say in the same transaction what is now owed, as
        `follow_up` says whether token counts are to be looked for. Raises `ServiceError`.
        """
        record = JobRecord(observation, transition.entry, transition.first_in_progress_at)
        return self._transact(
            [
                {
                    "Update": self._update(
                        record,
                        expected=expected,
                        pending_events=pending_events,
                        follow_up=follow_up,
                    )
                },
                {
                    "Put": {
                        "TableName": self._history.name,
                        "Item": self._history.item(record),
                        "ConditionExpression": "attribute_not_exists(jobArn)",
                    }
                },
            ]
        )

    def restore(
        self,
        record: JobRecord,
        *,
        expected: TrackedJob,
        pending_events: frozenset[str],
        follow_up: FollowUp | None = None,
    ) -> WriteOutcome:
        """Put back what the history says of a job whose item knows less; raises `ServiceError`."""
        return self._update_if(
            self._update(
                record, expected=expected, pending_events=pending_events, follow_up=follow_up
            )
        )

    def refresh(
        self,
        observation: JobObservation,
        *,
        expected: TrackedJob,
        now: datetime,
        refresh: Refresh,
        pending_event: PendingEvent | None = None,
    ) -> WriteOutcome:
        """Write a newer observation of the same status; raises `ServiceError`.

        Only if counts and times are still those that it was compared with: an answer that came late
        must not replace a newer one. With a `pending_event`, only if the job is not at risk yet.
        """
        changes = _Changes()
        changes.replace(
            items.observed_attributes(observation), out_of=(*items.REPLACED, *items.OF_UNREADABLE)
        )
        condition = _unchanged_answer(expected, changes)
        if refresh.counts_moved:
            changes.set("progressAt", items.time(now))
            changes.remove(items.STALLED_SINCE)
            changes.replace(items.estimate_attributes(refresh.estimate), out_of=items.OF_ESTIMATE)
            if expected.at_risk_since is not None and refresh.at_risk_since is None:
                changes.remove(items.AT_RISK_SINCE)
        if pending_event is not None and refresh.at_risk_since is not None:
            changes.set(items.AT_RISK_SINCE, items.time(refresh.at_risk_since))
            changes.add_pending((str(pending_event),), now)
            condition += f" AND attribute_not_exists({changes.name(items.AT_RISK_SINCE)})"
        return self._update_with_event(expected.job_arn, changes, condition, pending_event, now)

    def _update_with_event(
        self,
        job_arn: str,
        changes: _Changes,
        condition: str,
        pending_event: PendingEvent | None,
        now: datetime,
    ) -> WriteOutcome:
        """Make a conditional update; with a pending event, together with its copy in the outbox."""
        update = self._keyed(job_arn, changes, condition)
        if pending_event is None:
            return self._update_if(update)
        copy = self._outbox.event_put(job_arn, str(pending_event), now)
        return self._transact([{"Update": update}, {"Put": copy}])

    def _transact(self, writes: Sequence[TransactWriteItemTypeDef]) -> WriteOutcome:
        try:
            with calling(SERVICE):
                self._client.transact_write_items(TransactItems=writes)
        except ServiceError as error:
            return _outcome_of_cancellation(error)
        return WriteOutcome.DONE

    def record_error(self, job_arn: str, error: JobError, now: datetime) -> WriteOutcome:
        """Say in the item why Bedrock is not asked for this job; raises `ServiceError`."""
        changes = _Changes()
        changes.explain(error, now)
        changes.set_once("failingSince", items.time(now))
        return self._update_if(self._keyed(job_arn, changes, "attribute_exists(jobArn)"))

    def record_unreadable(
        self,
        unreadable: Unreadable,
        *,
        expected: TrackedJob,
        now: datetime,
        pending_event: PendingEvent | None,
    ) -> WriteOutcome:
        """Say in the item why the job cannot be read; raises `ServiceError`."""
        changes = _Changes()
        changes.explain(unreadable.error, now)
        if unreadable.polls:
            changes.set("unreadablePolls", items.number(unreadable.polls))
        if unreadable.unreachable_since is not None:
            changes.set("unreachableSince", items.time(unreadable.unreachable_since))
        pending = expected.carried_events | (
            {str(pending_event)} if pending_event is not None else frozenset()
        )
        if pending:
            changes.add_pending(pending, now)
        # Two polls at the same time count as one.
        polls = changes.name("unreadablePolls")
        counted = (
            f"{polls} = {changes.value(items.number(expected.unreadable_polls))}"
            if expected.unreadable_polls
            else f"attribute_not_exists({polls})"
        )
        # An episode that another read has begun is not begun again: its event has its own id.
        same_episode = _same_time("unreachableSince", expected.unreachable_since, changes)
        condition = f"{_unmoved(expected, changes)} AND {counted} AND {same_episode}"
        return self._update_with_event(expected.job_arn, changes, condition, pending_event, now)

    def record_failing(self, since: datetime, *, expected: TrackedJob) -> WriteOutcome:
        """Say in the item since when the job could not be read; raises `ServiceError`."""
        changes = _Changes()
        changes.set("failingSince", items.time(since))
        name = changes.name("failingSince")
        condition = f"{_unmoved(expected, changes)} AND attribute_not_exists({name})"
        return self._update_if(self._keyed(expected.job_arn, changes, condition))

    def record_stalled(
        self, since: datetime, *, expected: TrackedJob, now: datetime, pending_event: PendingEvent
    ) -> WriteOutcome:
        """Say in the item since when the job does not move; raises `ServiceError`."""
        changes = _Changes()
        changes.set(items.STALLED_SINCE, items.time(since))
        changes.replace({}, out_of=items.OF_ESTIMATE)
        changes.add_pending((str(pending_event),), now)
        condition = (
            f"{_unchanged_answer(expected, changes)} AND "
            f"attribute_not_exists({changes.name(items.STALLED_SINCE)})"
        )
        return self._update_with_event(expected.job_arn, changes, condition, pending_event, now)

    def stop_tracking(self, expected: TrackedJob) -> WriteOutcome:
        """Take a job that has ended out of polling again; raises `ServiceError`."""
        changes = _Changes()
        changes.remove(contract.TRACKING)
        return self._update_if(self._keyed(expected.job_arn, changes, _unmoved(expected, changes)))

    def ack(self, job_arn: str, pending_event: str) -> WriteOutcome:
        """Note that an event was sent; raises `ServiceError`.

        A lost race means that the item has no such pending event any more.
        """
        return self._clear(job_arn, pending_event, lambda _: "")

    def ack_batch(self, pending_events: Mapping[str, frozenset[str]]) -> WriteOutcome:
        """Note in one transaction that all was sent that these jobs owe, up to 100 of them.

        If one of them owes something else by now, nothing is written. Raises `ServiceError`.
        """
        written = self._transact(
            [
                {"Update": self._ack_all(job_arn, all_pending, _Changes())}
                for job_arn, all_pending in pending_events.items()
            ]
        )
        return WriteOutcome.DONE if written is WriteOutcome.DONE else WriteOutcome.CONFLICT

    def ack_callbacks(
        self, job_arn: str, pending_event: str, *, revision: int, refusal: str | None, now: datetime
    ) -> WriteOutcome:
        """Note that no task waits any more, unless one was registered since `revision`.

        `refusal` is the code with which the last of them refused its callback, if one did. Raises
        `ServiceError`.
        """

        def all_called_back(changes: _Changes) -> str:
            if refusal is not None:
                changes.set("taskTokenError", items.text(refusal))
                changes.set("taskTokenErrorAt", items.time(now))
            return f" AND {_same_tasks(revision, changes)}"

        return self._clear(job_arn, pending_event, all_called_back)

    def _clear(
        self, job_arn: str, pending_event: str, more: Callable[[_Changes], str]
    ) -> WriteOutcome:
        """Remove a pending event; `more` adds changes and gives a further condition."""
        last = _Changes()
        update = self._ack_all(job_arn, {pending_event}, last, more)
        if self._update_if(update) is WriteOutcome.DONE:
            return WriteOutcome.DONE
        one_of_several = _Changes()
        one_of_several.delete(items.PENDING_EVENTS, pending_event)
        condition = (
            f"contains({one_of_several.name(items.PENDING_EVENTS)}, "
            f"{one_of_several.value(items.text(pending_event))}){more(one_of_several)}"
        )
        return self._update_if(self._keyed(job_arn, one_of_several, condition))

    def _ack_all(
        self,
        job_arn: str,
        all_pending: Collection[str],
        changes: _Changes,
        more: Callable[[_Changes], str] = lambda _: "",
    ) -> UpdateTypeDef:
        """The update of a job that owes these events and no other, and from now on none."""
        for name in (contract.EVENT_PENDING, contract.PENDING_SINCE, items.PENDING_EVENTS):
            changes.remove(name)
        pending_events = changes.name(items.PENDING_EVENTS)
        condition = (
            f"{pending_events} = {changes.value({'SS': sorted(all_pending)})}{more(changes)}"
        )
        return self._keyed(job_arn, changes, condition)

    def leave_pending_index(self, job_arn: str) -> WriteOutcome:
        """Take a job out of the pending-events index that owes no event; raises `ServiceError`."""
        changes = _Changes()
        changes.remove(contract.EVENT_PENDING)
        changes.remove(contract.PENDING_SINCE)
        pending_events = changes.name(items.PENDING_EVENTS)
        condition = f"attribute_exists(jobArn) AND attribute_not_exists({pending_events})"
        return self._update_if(self._keyed(job_arn, changes, condition))

    def with_usage_due(self, now: datetime) -> Iterator[str]:
        """ARNs of the jobs whose token counts are to be looked for, longest due first."""
        for item in _query(
            self._client,
            {
                "TableName": self._name,
                "IndexName": contract.USAGE_PENDING_INDEX,
                "KeyConditionExpression": (
                    f"{contract.USAGE_PENDING} = :pending AND {contract.USAGE_DUE_AT} <= :now"
                ),
                "ExpressionAttributeValues": {
                    ":pending": items.text(contract.USAGE_PENDING_VALUE),
                    ":now": items.time(now),
                },
            },
        ):
            yield item["jobArn"]["S"]

    def add_usage(
        self, job_arn: str, usage: Usage, *, due_at: datetime, now: datetime
    ) -> WriteOutcome:
        """Note what a job used, in its item alone; raises `ServiceError`.

        `usageReadAt` tells such figures from those that were known at the job's end, which its
        event carries.
        """
        changes = _Changes()
        changes.replace(
            items.usage_attributes(usage) | {items.USAGE_READ_AT: items.time(now)},
            out_of=items.OF_USAGE,
        )
        return self._update_if(self._keyed(job_arn, changes, _still_due(due_at, changes)))

    def postpone_usage(
        self, job_arn: str, follow_up: FollowUp, *, due_at: datetime
    ) -> WriteOutcome:
        """Note when to look for a job's token counts again, or that nobody will.

        Raises `ServiceError`.
        """
        changes = _Changes()
        changes.replace(
            items.follow_up_attributes(follow_up),
            out_of=(items.USAGE_ERROR, contract.USAGE_PENDING, contract.USAGE_DUE_AT),
        )
        return self._update_if(self._keyed(job_arn, changes, _still_due(due_at, changes)))

    def forget_usage(self, job_arn: str) -> WriteOutcome:
        """Take a job out of the usage-pending index, whatever its item says.

        Raises `ServiceError`.
        """
        changes = _Changes()
        changes.remove(contract.USAGE_PENDING)
        changes.remove(contract.USAGE_DUE_AT)
        condition = f"attribute_exists({changes.name(contract.USAGE_PENDING)})"
        return self._update_if(self._keyed(job_arn, changes, condition))

    def _update(
        self,
        record: JobRecord,
        *,
        expected: TrackedJob,
        pending_events: frozenset[str],
        follow_up: FollowUp | None,
    ) -> UpdateTypeDef:
        entry = record.last
        changes = _Changes()
        changes.replace(
            items.observed_attributes(record.observation)
            | items.transition_attributes(entry, record.first_in_progress_at)
            | items.follow_up_attributes(follow_up),
            out_of=(
                *items.REPLACED,
                *items.OF_TRANSITION,
                *items.OF_UNREADABLE,
                items.STALLED_SINCE,
                *items.OF_USAGE,
                *items.OF_ESTIMATE,
                items.AT_RISK_SINCE,
            ),
        )
        changes.set_once("trackedBy", items.text("user"))
        changes.set_once("trackedAt", items.time(entry.observed_at))
        condition = _unmoved(expected, changes)
        if entry.event_id is not None:
            changes.remove(contract.TRACKING)
            condition = f"{condition} AND {_still_awaited(expected, changes)}"
        if expected.backfilled and not entry.backfilled:
            changes.remove(items.BACKFILLED)
        if expected.carries_tasks:
            changes.add_number(contract.TASK_REVISION, 1)
        if pending_events:
            changes.add_pending(pending_events, entry.observed_at)
        return self._keyed(entry.job_arn, changes, condition)

    def _keyed(self, job_arn: str, changes: _Changes, condition: str) -> UpdateTypeDef:
        update: UpdateTypeDef = {
            "TableName": self._name,
            "Key": {"jobArn": items.text(job_arn)},
            "UpdateExpression": changes.expression(),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": changes.names,
        }
        if changes.values:
            update["ExpressionAttributeValues"] = changes.values
        return update

    def _update_if(self, update: UpdateTypeDef) -> WriteOutcome:
        return _unless_refused(lambda: self._client.update_item(**update))

    def _item(self, job_arn: str) -> Item | None:
        with calling(SERVICE):
            answer = self._client.get_item(
                TableName=self._name, Key={"jobArn": items.text(job_arn)}, ConsistentRead=True
            )
        return answer.get("Item")


class StateTable:
    """The monitor's bookmarks: where the next poll starts, how far discovery and full read came."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self._name = name

    def load(self, scope: Scope) -> State:
        """The bookmarks; raises `ServiceError`, `InvalidItemError`."""
        with calling(SERVICE):
            answer = self._client.get_item(TableName=self._name, Key=_state_key(scope))
        return items.state(answer.get("Item", {}))

    def set_start_at(self, scope: Scope, job_arn: str | None) -> None:
        """Have the next poll begin with this ARN, or at the beginning; raises `ServiceError`."""
        changes = _Changes()
        if job_arn is None:
            changes.remove("startAt")
        else:
            changes.set("startAt", items.text(job_arn))
        self._update(scope, changes)

    def set_pending_from(self, scope: Scope, moment: datetime | None) -> None:
        """Have the next flush of pending events begin after this moment; raises `ServiceError`."""
        changes = _Changes()
        if moment is None:
            changes.remove("pendingFrom")
        else:
            changes.set("pendingFrom", items.time(moment))
        self._update(scope, changes)

    def set_discovery(
        self, scope: Scope, bookmark: Bookmark, position: ListPosition | None
    ) -> None:
        """Note how far discovery has come; raises `ServiceError`."""
        changes = _Changes()
        changes.replace(items.bookmark_attributes(bookmark), out_of=items.OF_BOOKMARK)
        if position is None:
            changes.replace({}, out_of=("listedFrom", "listToken"))
        else:
            changes.set("listedFrom", items.time(position.submitted_after))
            changes.set("listToken", items.text(position.token))
        self._update(scope, changes)

    def set_discovery_off(self, scope: Scope, now: datetime) -> None:
        """Note that discovery is off from now on; raises `ServiceError`."""
        changes = _Changes()
        changes.set("discoveryOffSince", items.time(now))
        changes.remove("discoveryOnAgainAt")
        self._update(scope, changes)

    def set_resynced(self, scope: Scope, until: datetime) -> None:
        """Note how far the resync has come; raises `ServiceError`."""
        changes = _Changes()
        changes.set("resyncedUntil", items.time(until))
        self._update(scope, changes)

    def set_backfilled_since(self, scope: Scope, moment: datetime) -> None:
        """Note how far back finished jobs were taken up; raises `ServiceError`."""
        changes = _Changes()
        changes.set("backfilledSince", items.time(moment))
        self._update(scope, changes)

    def _update(self, scope: Scope, changes: _Changes) -> None:
        update: UpdateItemInputTypeDef = {
            "TableName": self._name,
            "Key": _state_key(scope),
            "UpdateExpression": changes.expression(),
            "ExpressionAttributeNames": changes.names,
        }
        if changes.values:
            update["ExpressionAttributeValues"] = changes.values
        with calling(SERVICE):
            self._client.update_item(**update)


def _state_key(scope: Scope) -> dict[str, AttributeValueTypeDef]:
    return {contract.STATE_KEY: items.text(str(scope))}


def _query(client: DynamoDBClient, query: QueryInputPaginateTypeDef) -> Iterator[Item]:
    for page in pages_of(SERVICE, client.get_paginator("query").paginate(**query)):
        yield from page["Items"]


def _within(keys: KeyRange) -> tuple[str, dict[str, str]]:
    """The condition on a sort key, of which a query takes one only, and its values."""
    if keys.high is None:
        return (" AND jobArn >= :low", {":low": keys.low}) if keys.low else ("", {})
    if not keys.low:
        return " AND jobArn < :high", {":high": keys.high}
    return " AND jobArn BETWEEN :low AND :high", {":low": keys.low, ":high": keys.high}


def _tracked_or_invalid(item: Item) -> TrackedJob | InvalidItem:
    try:
        return items.tracked_job(item)
    except items.InvalidItemError as error:
        return InvalidItem(
            job_arn=item["jobArn"]["S"],
            error=JobError("InvalidItem", str(error)),
            last_error=items.last_error(item),
        )


def _unmoved(expected: TrackedJob, changes: _Changes) -> str:
    """The condition that a job is where it was when the monitor looked, and was not removed.

    The sequence alone does not say so: after tables were lost it starts again.
    """
    sequence = changes.name("sequence")
    if expected.sequence == 0:
        return f"attribute_exists(jobArn) AND attribute_not_exists({sequence})"
    condition = f"{sequence} = {changes.value(items.number(expected.sequence))}"
    if expected.status is None:
        return condition
    return (
        f"{condition} AND {changes.name('status')} = {changes.value(items.text(expected.status))}"
    )


def _unchanged_answer(expected: TrackedJob, changes: _Changes) -> str:
    """The condition that no answer was stored since the one that is known."""
    return " AND ".join(
        (
            _unmoved(expected, changes),
            _same_time("progressAt", expected.progress_at, changes),
            _same_time("lastModifiedTime", expected.last_modified_time, changes),
        )
    )


def _same_time(attribute: str, moment: datetime | None, changes: _Changes) -> str:
    name = changes.name(attribute)
    if moment is None:
        return f"attribute_not_exists({name})"
    return f"{name} = {changes.value(items.time(moment))}"


def _not_superseded(at: datetime, now: datetime, changes: _Changes) -> str:
    """The condition that no later command on the job's tracking was followed.

    A command of the future was noted with a clock that was wrong, and does not count.
    """
    name = changes.name(contract.COMMAND_AT)
    sent, latest = (changes.value(items.time(time)) for time in (at, now + CLOCK_TOLERANCE))
    return f"(attribute_not_exists({name}) OR {name} <= {sent} OR {name} > {latest})"


def _same_tasks(revision: int, changes: _Changes) -> str:
    """The condition that no task was registered since this revision."""
    name = changes.name(contract.TASK_REVISION)
    if revision == 0:
        return f"attribute_not_exists({name})"
    return f"{name} = {changes.value(items.number(revision))}"


def _still_due(due_at: datetime, changes: _Changes) -> str:
    """The condition that nobody else has looked for the job's token counts meanwhile."""
    return f"{changes.name(contract.USAGE_DUE_AT)} = {changes.value(items.time(due_at))}"


def _still_awaited(expected: TrackedJob, changes: _Changes) -> str:
    """The condition that task tokens and the backfilled flag are unchanged since the read.

    An end that is recorded before a task was registered fails here; a task that is registered after
    the end finds the job ended.
    """
    exists = "attribute_exists" if expected.backfilled else "attribute_not_exists"
    same_tasks = _same_tasks(expected.task_revision, changes)
    return f"{same_tasks} AND {exists}({changes.name(items.BACKFILLED)})"


def _unless_refused(write: Callable[[], object]) -> WriteOutcome:
    """Make a conditional write; a condition that does not hold is a lost race."""
    try:
        with calling(SERVICE):
            write()
    except ServiceError as error:
        if error.reason == "ConditionalCheckFailedException":
            return WriteOutcome.CONFLICT
        raise
    return WriteOutcome.DONE


def _outcome_of_cancellation(error: ServiceError) -> WriteOutcome:
    cause = error.__cause__
    if error.reason != "TransactionCanceledException" or not isinstance(cause, ClientError):
        raise error
    reasons = [
        reason.get("Code", "None") for reason in cause.response.get("CancellationReasons", ())
    ]
    if not set(reasons) & {_CONDITION_FAILED, _CONFLICT} or set(reasons) - {
        _CONDITION_FAILED,
        _CONFLICT,
        "None",
    }:
        raise ServiceError(SERVICE, next(_telling(reasons), error.reason), error.message) from error
    job, *rest = reasons
    history_alone = job == "None" and _CONDITION_FAILED in rest
    return WriteOutcome.HISTORY_AHEAD if history_alone else WriteOutcome.CONFLICT


def _telling(reasons: Iterable[str]) -> Iterator[str]:
    return (reason for reason in reasons if reason not in {"None", _CONDITION_FAILED, _CONFLICT})


class _Changes:
    """An UpdateExpression with its placeholders, put together clause by clause."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, AttributeValueTypeDef] = {}
        self._clauses: dict[str, list[str]] = {"SET": [], "REMOVE": [], "ADD": [], "DELETE": []}

    def name(self, attribute: str) -> str:
        """The placeholder of an attribute name; many of Bedrock's names are reserved words."""
        placeholder = f"#{attribute}"
        self.names[placeholder] = attribute
        return placeholder

    def value(self, value: AttributeValueTypeDef) -> str:
        """A new placeholder for a value."""
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = value
        return placeholder

    def set(self, attribute: str, value: AttributeValueTypeDef) -> None:
        self._clauses["SET"].append(f"{self.name(attribute)} = {self.value(value)}")

    def set_once(self, attribute: str, value: AttributeValueTypeDef) -> None:
        name = self.name(attribute)
        self._clauses["SET"].append(f"{name} = if_not_exists({name}, {self.value(value)})")

    def remove(self, attribute: str) -> None:
        self._clauses["REMOVE"].append(self.name(attribute))

    def replace(
        self, attributes: Mapping[str, AttributeValueTypeDef], *, out_of: Iterable[str]
    ) -> None:
        """Set what is there and remove the rest of `out_of`, so that nothing outlives its time."""
        for attribute, value in attributes.items():
            self.set(attribute, value)
        for attribute in out_of:
            if attribute not in attributes:
                self.remove(attribute)

    def add_number(self, attribute: str, number: int) -> None:
        self._clauses["ADD"].append(f"{self.name(attribute)} {self.value(items.number(number))}")

    def add(self, attribute: str, texts: Iterable[str]) -> None:
        self._clauses["ADD"].append(f"{self.name(attribute)} {self.value({'SS': sorted(texts)})}")

    def explain(self, error: JobError, now: datetime) -> None:
        """Say why the job is not followed."""
        self.set("lastError", items.error(error))
        self.set("lastErrorAt", items.time(now))

    def add_pending(self, pending_events: Iterable[str], since: datetime) -> None:
        """Add pending events to the item, and with them the item to the pending-events index."""
        self.set(contract.EVENT_PENDING, items.text(contract.EVENT_PENDING_VALUE))
        self.set_once(contract.PENDING_SINCE, items.time(since))
        self.add(items.PENDING_EVENTS, pending_events)

    def delete(self, attribute: str, member: str) -> None:
        self._clauses["DELETE"].append(f"{self.name(attribute)} {self.value({'SS': [member]})}")

    def expression(self) -> str:
        """The UpdateExpression."""
        return " ".join(
            f"{keyword} {', '.join(clauses)}"
            for keyword, clauses in self._clauses.items()
            if clauses
        )
