"""Which jobs there are: reads of the jobs table and its indexes, and the tracking of jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes, items, write_conditions, writes
from bedrock_batch_monitor.adapters.dynamodb.connection import SERVICE, query
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItem
from bedrock_batch_monitor.adapters.dynamodb.job_items import (
    JobItems,
    add_pending,
    key_of,
    read_batch,
)
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteResult
from bedrock_batch_monitor.adapters.errors import calling
from bedrock_batch_monitor.domain.deadlines import SetBy
from bedrock_batch_monitor.domain.discovery import TableInfo
from bedrock_batch_monitor.domain.events import pending_callbacks
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.scopes import ALL_KEYS, KeyPartition, KeyRange

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


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


class JobsTable(JobItems):
    """The tracked jobs: found, put into polling and taken out of it."""

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
        """The active jobs of a key partition in the order of their ARNs, every page.

        Begins at the ARN `start_at` and continues with the ones before it at the end. The index is
        eventually consistent: it nominates jobs, the conditions of the writes decide.
        Raises `ServiceError`.
        """
        for key_range in keys.starting_at(start_at):
            condition, bounds = _within(key_range)
            values = {":active": items.text(contract.TRACKING_ACTIVE)}
            values.update({name: items.text(bound) for name, bound in bounds.items()})
            for item in query(
                self._client,
                {
                    "TableName": self._name,
                    "IndexName": contract.ACTIVE_JOBS_INDEX,
                    "KeyConditionExpression": f"{contract.TRACKING} = :active{condition}",
                    "ExpressionAttributeValues": values,
                },
            ):
                # BETWEEN includes its upper bound, which is not a key of this range.
                if item[contract.JOB_ARN]["S"] != key_range.high:
                    yield items.tracked_or_invalid(item)

    def with_pending_events(self, after: datetime | None = None) -> Iterator[PendingJob]:
        """The jobs with pending events, longest pending first.

        With `after`, the jobs that are pending since a later time come first, then the others.
        Raises `ServiceError`.
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
            for item in query(
                self._client,
                {
                    "TableName": self._name,
                    "IndexName": contract.PENDING_EVENTS_INDEX,
                    "KeyConditionExpression": f"{contract.EVENT_PENDING} = :pending{condition}",
                    "ExpressionAttributeValues": pending | values,
                },
            ):
                yield PendingJob(item[contract.JOB_ARN]["S"], items.pending_since(item))

    def model_ids(self, job_arns: Sequence[str]) -> dict[str, str]:
        """The models of jobs that have items, read consistently; "" for a model that is not known.

        `job_arns` are up to 100. Raises `ServiceError`, also if DynamoDB leaves keys unprocessed.
        """
        found = read_batch(
            self._client,
            self._name,
            job_arns,
            {
                "ConsistentRead": True,
                "ProjectionExpression": f"{contract.JOB_ARN}, {contract.MODEL_ID}",
            },
        )
        return {item[contract.JOB_ARN]["S"]: items.model_id(item) for item in found}

    def find(self, job_arn: str) -> FoundJob | None:
        """A job as the next poll would read it, tracked or not, read consistently.

        Raises `ServiceError`.
        """
        item = self.item(job_arn)
        if item is None:
            return None
        job = items.tracked_or_invalid(item)
        return FoundJob(job, items.is_tracked(item), items.command_at(item))

    def unknown(self, job_arns: Sequence[str]) -> set[str]:
        """Those of up to 100 ARNs that have no item (BatchGetItem); raises `ServiceError`.

        A key that DynamoDB leaves unprocessed counts as unknown: a put that finds an item does
        nothing.
        """
        keys: list[Mapping[str, AttributeValueTypeDef]] = [key_of(arn) for arn in job_arns]
        with calling(SERVICE):
            answer = self._client.batch_get_item(
                RequestItems={
                    self._name: {"Keys": keys, "ProjectionExpression": contract.JOB_ARN},
                }
            )
        found = answer["Responses"].get(self._name, ())
        return set(job_arns) - {item[contract.JOB_ARN]["S"] for item in found}

    # Writes. All raise `ServiceError`.

    def start_tracking(  # noqa: PLR0913 - what a new item says, all named
        self,
        job_arn: str,
        *,
        tracked_by: str,
        now: datetime,
        backfilled: bool = False,
        has_task: bool = False,
        command_at: datetime | None = None,
        deadline: str | None = None,
    ) -> WriteResult:
        """Start to poll a job that has no item yet.

        The same put says whether the job is recorded for the history alone, whether a task waits
        for it, when the command was sent, and the deadline that it has.
        """
        item = _new_item(job_arn, tracked_by=tracked_by, now=now)
        item[contract.TRACKING] = items.text(contract.TRACKING_ACTIVE)
        if backfilled:
            item[attributes.BACKFILLED] = {"BOOL": True}
        if has_task:
            item[contract.TASK_REVISION] = items.number(1)
        if command_at is not None:
            item[contract.COMMAND_AT] = items.time(command_at)
        if deadline is not None:
            item[attributes.DEADLINE] = items.text(deadline)
            item[attributes.DEADLINE_BY] = items.text(SetBy.USER.value)
        return self._put_new(item)

    def put_untracked(self, job_arn: str, *, tracked_by: str, at: datetime) -> WriteResult:
        """Put an item that is not polled for a job that has none, so that discovery ignores it."""
        item = _new_item(job_arn, tracked_by=tracked_by, now=at)
        item[contract.COMMAND_AT] = items.time(at)
        return self._put_new(item)

    def await_end(
        self,
        expected: TrackedJob,
        *,
        now: datetime,
        resumes: bool,
        command_at: datetime,
        deadline: str | None = None,
    ) -> WriteResult:
        """Register one more task that waits for the end of a job.

        If the job has ended, its callback is pending from this write on. Otherwise, with `resumes`,
        the job is polled again, as after `resume_tracking`. If the job was changed meanwhile, the
        result is a conflict.
        """
        update = UpdateExpression()
        update.increment(contract.TASK_REVISION)
        if expected.has_ended:
            add_pending(update, (str(pending_callbacks(expected.sequence)),), now)
        elif resumes:
            _resume(update, command_at, deadline)
        condition = write_conditions.unmoved(expected, update)
        return self._update(expected.job_arn, update, condition)

    def resume_tracking(
        self,
        job_arn: str,
        *,
        at: datetime,
        now: datetime | None = None,
        deadline: str | None = None,
    ) -> WriteResult:
        """Poll a job again that has not ended.

        The condition does not name the sequence: a poll that records a transition meanwhile does
        not stop the command. Read errors are removed, so that the job is not given up at once.
        """
        update = UpdateExpression()
        _resume(update, at, deadline)
        condition = " AND ".join(
            (
                update.exists(contract.JOB_ARN),
                update.is_absent(contract.EVENT_ID),
                write_conditions.not_superseded(at, now or at, update),
            )
        )
        return self._update(job_arn, update, condition)

    def untrack(self, job_arn: str, *, at: datetime, now: datetime | None = None) -> WriteResult:
        """Stop polling a job, whatever its status.

        A conflict means that the job has no item, or that a later command was processed already.
        """
        update = UpdateExpression()
        update.remove(contract.TRACKING)
        update.set(contract.COMMAND_AT, items.time(at))
        superseded = write_conditions.not_superseded(at, now or at, update)
        return self._update(job_arn, update, f"{update.exists(contract.JOB_ARN)} AND {superseded}")

    def _put_new(self, item: dict[str, AttributeValueTypeDef]) -> WriteResult:
        return writes.write(
            lambda: self._client.put_item(
                TableName=self._name,
                Item=item,
                ConditionExpression=f"attribute_not_exists({contract.JOB_ARN})",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        )


def _new_item(job_arn: str, *, tracked_by: str, now: datetime) -> dict[str, AttributeValueTypeDef]:
    return {
        **key_of(job_arn),
        contract.TRACKED_BY: items.text(tracked_by),
        contract.TRACKED_AT: items.time(now),
    }


def _resume(update: UpdateExpression, command_at: datetime, deadline: str | None) -> None:
    update.set(contract.TRACKING, items.text(contract.TRACKING_ACTIVE))
    update.set(contract.COMMAND_AT, items.time(command_at))
    update.remove(*items.OF_UNREADABLE)
    if deadline is not None:
        update.set(attributes.DEADLINE, items.text(deadline))
        update.set(attributes.DEADLINE_BY, items.text(SetBy.USER.value))


def _within(keys: KeyRange) -> tuple[str, dict[str, str]]:
    """The condition on the sort key, of which a query has one only, and its values."""
    if keys.high is None:
        return (" AND jobArn >= :low", {":low": keys.low}) if keys.low else ("", {})
    if not keys.low:
        return " AND jobArn < :high", {":high": keys.high}
    return " AND jobArn BETWEEN :low AND :high", {":low": keys.low, ":high": keys.high}
