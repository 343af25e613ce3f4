"""What a poll records of a job: transitions, newer counts, conditions, and reads that fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes, items, write_conditions, writes
from bedrock_batch_monitor.adapters.dynamodb.attributes import Group
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.dynamodb.job_items import JobItems, add_pending, set_error
from bedrock_batch_monitor.adapters.dynamodb.tag_writes import set_owner
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteResult
from bedrock_batch_monitor.domain.conditions import conditions_of
from bedrock_batch_monitor.domain.event_kinds import CONDITIONS, UNREACHABLE
from bedrock_batch_monitor.domain.events import PendingEvent
from bedrock_batch_monitor.domain.jobs import JobError, JobRecord, TrackedJob
from bedrock_batch_monitor.domain.owners import Owner
from bedrock_batch_monitor.domain.read_failures import Unreadable
from bedrock_batch_monitor.domain.token_usage import FollowUp
from bedrock_batch_monitor.domain.transitions import Refresh

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from bedrock_batch_monitor.adapters.dynamodb.history_table import HistoryTable
    from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable

# What each write sets, or removes where it does not know a value.
_BY_TRANSITION: Final = attributes.in_groups(
    Group.OBSERVED,
    Group.UNREADABLE,
    Group.TRANSITION,
    Group.ESTIMATE,
    Group.USAGE,
)
_BY_ANSWER: Final = attributes.in_groups(Group.OBSERVED, Group.UNREADABLE)
_ESTIMATE: Final = attributes.in_groups(Group.ESTIMATE)


class TransitionWrites(JobItems):
    """Conditional writes to jobs that were read, with their history and outbox entries.

    `expected` is the job as it was read. If it was changed since, nothing is written and the result
    is a conflict. All raise `ServiceError`.
    """

    def __init__(
        self, client: DynamoDBClient, name: str, history: HistoryTable, outbox: OutboxTable
    ) -> None:
        super().__init__(client, name)
        self._history = history
        self._outbox = outbox

    def record(  # noqa: PLR0913 - the parts of one transaction, all named
        self,
        record: JobRecord,
        *,
        expected: TrackedJob,
        pending_events: frozenset[str],
        follow_up: FollowUp | None = None,
        conditions: Mapping[str, datetime] | None = None,
        copied: Iterable[PendingEvent] = (),
        owner: Owner | None = None,
    ) -> WriteResult:
        """Record a transition in the job's item and its history (TransactWriteItems).

        Both are written, or neither. The same transaction stores `pending_events`, with copies of
        `copied` in the outbox, and with a `follow_up` when to look for token counts.
        `conditions` are those that hold with the new status. `owner` is what to write about tags
        and deadline.
        """
        update, condition = _transition(
            record, expected, pending_events, follow_up, conditions, owner=owner
        )
        last, copied = record.last, tuple(copied)
        if copied:
            # A condition that another poll has recorded must not begin again.
            condition += f" AND {write_conditions.same_conditions(expected, update)}"
        return self._transact(
            last.job_arn,
            update,
            condition,
            {"Put": self._history.put_of(record)},
            *self._copies(last.job_arn, copied, last.observed_at),
        )

    def restore(
        self,
        record: JobRecord,
        *,
        expected: TrackedJob,
        pending_events: frozenset[str],
        follow_up: FollowUp | None = None,
        owner: Owner | None = None,
    ) -> WriteResult:
        """Restore a job's item from its history."""
        update, condition = _transition(record, expected, pending_events, follow_up, owner=owner)
        return self._update(record.last.job_arn, update, condition)

    def refresh(
        self,
        refresh: Refresh,
        *,
        expected: TrackedJob,
        now: datetime,
        pending: Sequence[PendingEvent] = (),
    ) -> WriteResult:
        """Write a newer observation of the same status, and the conditions that hold.

        The condition includes counts and times, so that an answer that arrives late does not
        replace a newer one. `pending` are the events of conditions that begin.
        """
        update = UpdateExpression()
        update.replace(items.observed_attributes(refresh.observation), out_of=_BY_ANSWER)
        condition = write_conditions.same_answer(expected, update)
        if refresh.counts_moved:
            update.set(attributes.PROGRESS_AT, items.time(now))
        if refresh.estimate is not None:
            update.replace(items.estimate_attributes(refresh.estimate), out_of=_ESTIMATE)
        conditions = conditions_of(refresh.findings)
        _end_episodes(update, expected, conditions, now)
        if conditions != expected.conditions:
            condition += f" AND {write_conditions.same_conditions(expected, update)}"
            _set_conditions(update, conditions)
        if pending:
            add_pending(update, map(str, pending), now)
        return self._update_with_copies(expected.job_arn, update, condition, pending, now)

    def stop_tracking(self, expected: TrackedJob) -> WriteResult:
        """Stop polling a job that has ended."""
        update = UpdateExpression()
        update.remove(contract.TRACKING)
        condition = write_conditions.unmoved(expected, update)
        return self._update(expected.job_arn, update, condition)

    # Reads that fail

    def record_error(self, job_arn: str, error: JobError, now: datetime) -> WriteResult:
        """Record why Bedrock is never called for this item."""
        update = UpdateExpression()
        set_error(update, error, now)
        update.set_once(attributes.FAILING_SINCE, items.time(now))
        return self._update(job_arn, update, update.exists(contract.JOB_ARN))

    def record_failing(self, since: datetime, *, expected: TrackedJob) -> WriteResult:
        """Record since when reads of the job fail."""
        update = UpdateExpression()
        update.set(attributes.FAILING_SINCE, items.time(since))
        unmoved = write_conditions.unmoved(expected, update)
        condition = f"{unmoved} AND {update.is_absent(attributes.FAILING_SINCE)}"
        return self._update(expected.job_arn, update, condition)

    def record_unreadable(
        self,
        unreadable: Unreadable,
        *,
        expected: TrackedJob,
        now: datetime,
        pending: Sequence[PendingEvent] = (),
    ) -> WriteResult:
        """Record why the job cannot be read; `pending` is the event of one that is unreachable."""
        update = UpdateExpression()
        set_error(update, unreadable.error, now)
        if unreadable.polls:
            update.set(attributes.UNREADABLE_POLLS, items.number(unreadable.polls))
        if unreadable.unreachable_since is not None:
            update.set(attributes.UNREACHABLE_SINCE, items.time(unreadable.unreachable_since))
        all_pending = expected.carried_events.union(map(str, pending))
        if all_pending:
            add_pending(update, all_pending, now)
        condition = " AND ".join(
            (
                write_conditions.unmoved(expected, update),
                # Two polls at the same time count as one.
                write_conditions.same_count(
                    attributes.UNREADABLE_POLLS, expected.unreadable_polls, update
                ),
                # A condition that another read began must not begin again with another event id.
                write_conditions.same_time(
                    attributes.UNREACHABLE_SINCE, expected.unreachable_since, update
                ),
            )
        )
        return self._update_with_copies(expected.job_arn, update, condition, pending, now)

    def give_up(self, expected: TrackedJob, error: JobError, now: datetime) -> WriteResult:
        """Untrack an ARN that was never readable, and record why.

        The condition fails if the ARN was tracked again meanwhile, by a command or by hand: that
        removes the times since which it could not be read.
        """
        update = UpdateExpression()
        update.remove(contract.TRACKING)
        set_error(update, error, now)
        times = {
            attributes.UNREACHABLE_SINCE: expected.unreachable_since,
            attributes.FAILING_SINCE: expected.failing_since,
        }
        condition = " AND ".join(
            (
                write_conditions.unmoved(expected, update),
                *(write_conditions.same_time(name, time, update) for name, time in times.items()),
            )
        )
        return self._update(expected.job_arn, update, condition)

    # Calls

    def _update_with_copies(
        self,
        job_arn: str,
        update: UpdateExpression,
        condition: str,
        copied: Sequence[PendingEvent],
        now: datetime,
    ) -> WriteResult:
        """Make a conditional update, together with copies of pending events in the outbox."""
        if not copied:
            return self._update(job_arn, update, condition)
        return self._transact(job_arn, update, condition, *self._copies(job_arn, copied, now))

    def _copies(
        self, job_arn: str, copied: Iterable[PendingEvent], now: datetime
    ) -> Iterator[TransactWriteItemTypeDef]:
        return ({"Put": self._outbox.event_put(job_arn, str(each), now)} for each in copied)

    def _transact(
        self,
        job_arn: str,
        update: UpdateExpression,
        condition: str,
        *others: TransactWriteItemTypeDef,
    ) -> WriteResult:
        job = self._update_of(job_arn, update, condition)
        job["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return writes.transact(self._client, [{"Update": job}, *others])


def _set_conditions(update: UpdateExpression, conditions: Mapping[str, datetime]) -> None:
    if conditions:
        update.set(contract.CONDITIONS, items.times(conditions))
    else:
        update.remove(contract.CONDITIONS)


def _end_episodes(
    update: UpdateExpression,
    expected: TrackedJob,
    conditions: Mapping[str, datetime],
    now: datetime,
) -> None:
    """Say in the item when the conditions began and ended that end with this answer."""
    ended = {name: since for name, since in expected.conditions.items() if name not in conditions}
    if expected.unreachable_since is not None:
        ended[UNREACHABLE.name] = expected.unreachable_since
    for kind in CONDITIONS:
        if kind.name in ended:
            times = {"began": ended[kind.name], "ended": now}
            update.set(attributes.last_episode(kind.name), items.times(times))


def _transition(  # noqa: PLR0913 - the parts of one write, all named
    record: JobRecord,
    expected: TrackedJob,
    pending_events: frozenset[str],
    follow_up: FollowUp | None,
    conditions: Mapping[str, datetime] | None = None,
    *,
    owner: Owner | None = None,
) -> tuple[UpdateExpression, str]:
    """The update of a job's item by a transition, and its condition."""
    entry = record.last
    update = UpdateExpression()
    update.replace(
        items.observed_attributes(record.observation)
        | items.transition_attributes(entry, record.first_in_progress_at)
        | items.follow_up_attributes(follow_up),
        out_of=_BY_TRANSITION,
    )
    _set_conditions(update, conditions or {})
    _end_episodes(update, expected, conditions or {}, entry.observed_at)
    update.set_once(contract.TRACKED_BY, items.text("user"))
    update.set_once(contract.TRACKED_AT, items.time(entry.observed_at))
    condition = write_conditions.unmoved(expected, update)
    if entry.event_id is not None:
        update.remove(contract.TRACKING)
        condition = f"{condition} AND {write_conditions.same_waiters(expected, update)}"
    if expected.backfilled and not entry.backfilled:
        update.remove(attributes.BACKFILLED)
    if expected.carries_tasks:
        update.increment(contract.TASK_REVISION)
    if owner is not None:
        condition = f"{condition} AND {set_owner(update, owner, expected)}"
    if pending_events:
        add_pending(update, pending_events, entry.observed_at)
    return update, condition
