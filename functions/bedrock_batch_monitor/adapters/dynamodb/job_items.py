"""One item of the jobs table at a time: the calls that all its readers and writers share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes, items, writes
from bedrock_batch_monitor.adapters.dynamodb.connection import SERVICE
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError, calling
from bedrock_batch_monitor.domain.jobs import JobError, StoredJob

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        UpdateTypeDef,
    )

    from bedrock_batch_monitor.adapters.dynamodb.items import Item

# The most keys of a BatchGetItem.
KEYS_PER_CALL: Final = 100


class JobItems:
    """The jobs table; safe to use from many threads."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, job_arn: str) -> StoredJob | None:
        """A job, read consistently; raises `ServiceError`, `InvalidItemError`."""
        item = self.item(job_arn)
        return None if item is None else items.stored_job(item)

    def item(self, job_arn: str) -> Item | None:
        """The item of a job, read consistently; raises `ServiceError`."""
        with calling(SERVICE):
            answer = self._client.get_item(
                TableName=self._name, Key=key_of(job_arn), ConsistentRead=True
            )
        return answer.get("Item")

    def _update(self, job_arn: str, update: UpdateExpression, condition: str) -> WriteResult:
        request = self._update_of(job_arn, update, condition)
        request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return writes.write(lambda: self._client.update_item(**request))

    def _update_of(self, job_arn: str, update: UpdateExpression, condition: str) -> UpdateTypeDef:
        """A conditional update, alone or in a transaction."""
        request: UpdateTypeDef = {
            "TableName": self._name,
            "Key": key_of(job_arn),
            "UpdateExpression": str(update),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": update.names,
        }
        if update.values:
            request["ExpressionAttributeValues"] = update.values
        return request


def read_batch(
    client: DynamoDBClient,
    table: str,
    job_arns: Iterable[str],
    options: Mapping[str, Any] = MappingProxyType({}),
) -> list[Item]:
    """The items of up to `KEYS_PER_CALL` jobs, without jobs that have none (BatchGetItem).

    `options` are those of the API for a table. Raises `ServiceError`, also if DynamoDB leaves keys
    unprocessed.
    """
    request: Any = {"Keys": [key_of(arn) for arn in job_arns], **options}
    with calling(SERVICE):
        answer = client.batch_get_item(RequestItems={table: request})
    if answer.get("UnprocessedKeys"):
        raise ServiceError(SERVICE, "UnprocessedKeys", "some items were not read")
    return list(answer["Responses"].get(table, ()))


def key_of(job_arn: str) -> dict[str, AttributeValueTypeDef]:
    """The key of a job's item."""
    return {contract.JOB_ARN: items.text(job_arn)}


def set_error(update: UpdateExpression, error: JobError, now: datetime) -> None:
    """Set why the job cannot be read."""
    update.set(contract.LAST_ERROR, items.error(error))
    update.set(contract.LAST_ERROR_AT, items.time(now))


def add_pending(update: UpdateExpression, pending_events: Iterable[str], since: datetime) -> None:
    """Add pending events to the item, and the item to the pending-events index."""
    update.set(contract.EVENT_PENDING, items.text(contract.EVENT_PENDING_VALUE))
    update.set_once(contract.PENDING_SINCE, items.time(since))
    update.add(attributes.PENDING_EVENTS, pending_events)
