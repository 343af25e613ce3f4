"""The history table: every observed transition of every job, append-only."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.connection import SERVICE, query
from bedrock_batch_monitor.adapters.errors import calling
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import HistoryEntry, JobRecord

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef


class HistoryTable:
    """The history; `retention` is how long entries are kept, None for indefinitely."""

    def __init__(self, client: DynamoDBClient, name: str, retention: timedelta | None) -> None:
        self._client = client
        self._name = name
        self._retention = retention

    def put_of(self, record: JobRecord) -> PutTypeDef:
        """The put of a job's last transition, if its sequence is free, for a transaction.

        The entry of an end has the whole record.
        """
        entry = record.last
        expires_at = None if self._retention is None else entry.observed_at + self._retention
        is_end = statuses.is_terminal(entry.status)
        return {
            "TableName": self._name,
            "Item": items.history_item(entry, expires_at, record if is_end else None),
            "ConditionExpression": f"attribute_not_exists({contract.JOB_ARN})",
        }

    def get(self, job_arn: str, sequence: int) -> HistoryEntry | None:
        """One entry, read consistently; raises `ServiceError`, `InvalidItemError`."""
        with calling(SERVICE):
            answer = self._client.get_item(
                TableName=self._name,
                Key={
                    contract.JOB_ARN: items.text(job_arn),
                    contract.SEQUENCE: items.number(sequence),
                },
                ConsistentRead=True,
            )
        return items.history_entry(answer["Item"]) if "Item" in answer else None

    def records(self, job_arn: str) -> tuple[JobRecord, ...]:
        """All entries of a job, oldest first, read consistently.

        Each is a record with what the entry has of the observation: all of it for the end.
        Raises `ServiceError`, `InvalidItemError`.
        """
        found = query(
            self._client,
            {
                "TableName": self._name,
                "KeyConditionExpression": f"{contract.JOB_ARN} = :jobArn",
                "ExpressionAttributeValues": {":jobArn": items.text(job_arn)},
                "ConsistentRead": True,
            },
        )
        return tuple(items.job_record(item) for item in found)
