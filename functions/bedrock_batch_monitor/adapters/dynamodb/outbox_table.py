"""The outbox table: task tokens, and copies of pending events that a replaced item would lose.

Key: `jobArn` and `entry`. An entry is `task#<digest of the token>` or `event#<pending event>`. The
jobs table says what is pending. This table has what that one must not contain (tokens), and what it
loses when an item is put again (events of conditions). Only the monitor's functions read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.connection import SERVICE
from bedrock_batch_monitor.adapters.errors import calling
from bedrock_batch_monitor.domain.tasks import WaitingTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, PutTypeDef

    Item = Mapping[str, AttributeValueTypeDef]

# A Step Functions execution runs for a year at most, and no task of it waits longer.
KEPT_FOR: Final = timedelta(days=366)
# How many entries of a job are read at once.
PAGE: Final = 100

_TASK: Final = "task#"
_EVENT: Final = "event#"
_TOKEN: Final = "token"  # noqa: S105 - the name of the attribute
_PARTIAL_IS_SUCCESS: Final = "partiallyCompletedIsSuccess"
_ERRORS_ARE_SUCCESS: Final = "completedWithErrorsIsSuccess"


@dataclass(frozen=True, slots=True)
class OutboxEntries:
    """What the outbox has for one job: pending events, and whether tasks wait for it."""

    events: frozenset[str] = frozenset()
    has_tasks: bool = False


class OutboxTable:
    """The outbox of the deployment; safe to use from many threads."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self._name = name

    def put_task(self, job_arn: str, task: WaitingTask, now: datetime) -> None:
        """Store a task; storing it again changes nothing; raises `ServiceError`."""
        item = {
            **_key(job_arn, _TASK + task.id),
            _TOKEN: items.text(task.token),
            _PARTIAL_IS_SUCCESS: {"BOOL": task.partially_completed_is_success},
            _ERRORS_ARE_SUCCESS: {"BOOL": task.completed_with_errors_is_success},
            contract.EXPIRES_AT: _expiry(now),
        }
        with calling(SERVICE):
            self._client.put_item(TableName=self._name, Item=item)

    def event_put(self, job_arn: str, event: str, now: datetime) -> PutTypeDef:
        """The put of a pending event's copy, for the transaction that stores the event."""
        return {
            "TableName": self._name,
            "Item": {**_key(job_arn, _EVENT + event), contract.EXPIRES_AT: _expiry(now)},
        }

    def entries(self, job_arn: str) -> OutboxEntries:
        """The entries of a job, read consistently; raises `ServiceError`."""
        found = [item[contract.OUTBOX_ENTRY]["S"] for item in self._query(job_arn, "")]
        return OutboxEntries(
            events=frozenset(
                entry.removeprefix(_EVENT) for entry in found if entry.startswith(_EVENT)
            ),
            has_tasks=any(entry.startswith(_TASK) for entry in found) or len(found) == PAGE,
        )

    def tasks(self, job_arn: str) -> tuple[WaitingTask, ...]:
        """Up to `PAGE` of the tasks that wait for a job, read consistently.

        Raises `ServiceError`.
        """
        return tuple(
            WaitingTask(
                item[_TOKEN]["S"],
                item.get(_PARTIAL_IS_SUCCESS, {}).get("BOOL", False),
                item.get(_ERRORS_ARE_SUCCESS, {}).get("BOOL", True),
            )
            for item in self._query(job_arn, _TASK)
            if "S" in item.get(_TOKEN, {})
        )

    def delete_task(self, job_arn: str, task: WaitingTask) -> None:
        """Delete a task that was called back; raises `ServiceError`."""
        self._delete(job_arn, _TASK + task.id)

    def delete_event(self, job_arn: str, event: str) -> None:
        """Delete the copy of an event that the bus has accepted; raises `ServiceError`."""
        self._delete(job_arn, _EVENT + event)

    def _query(self, job_arn: str, prefix: str) -> list[Item]:
        values = {":jobArn": items.text(job_arn)}
        condition = "jobArn = :jobArn"
        if prefix:
            values[":prefix"] = items.text(prefix)
            condition += f" AND begins_with({contract.OUTBOX_ENTRY}, :prefix)"
        with calling(SERVICE):
            answer = self._client.query(
                TableName=self._name,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
                Limit=PAGE,
            )
        return list(answer["Items"])

    def _delete(self, job_arn: str, entry: str) -> None:
        with calling(SERVICE):
            self._client.delete_item(TableName=self._name, Key=_key(job_arn, entry))


def _key(job_arn: str, entry: str) -> dict[str, AttributeValueTypeDef]:
    return {"jobArn": items.text(job_arn), contract.OUTBOX_ENTRY: items.text(entry)}


def _expiry(now: datetime) -> AttributeValueTypeDef:
    return items.number(int((now + KEPT_FOR).timestamp()))
