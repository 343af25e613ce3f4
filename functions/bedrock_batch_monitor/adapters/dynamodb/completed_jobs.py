"""Reads the completed jobs of both tables, for the forecast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.connection import query
from bedrock_batch_monitor.adapters.dynamodb.job_items import read_batch
from bedrock_batch_monitor.domain import statuses

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from bedrock_batch_monitor.domain.forecast import Sample


class CompletedJobs:
    """The jobs that completed. All methods raise `ServiceError`."""

    def __init__(self, client: DynamoDBClient, jobs: str, history: str) -> None:
        self._client = client
        self._jobs = jobs
        self._history = history

    def newest(self, at_most: int) -> Iterator[tuple[str, str]]:
        """The ARNs of the jobs that completed last, with their models; the newest first."""
        found = query(
            self._client,
            {
                "TableName": self._history,
                "IndexName": contract.BY_STATUS_INDEX,
                "KeyConditionExpression": "#status = :status",
                "ExpressionAttributeNames": {"#status": contract.STATUS},
                "ExpressionAttributeValues": {":status": items.text(statuses.COMPLETED)},
                "ScanIndexForward": False,
            },
        )
        for item in islice(found, at_most):
            yield item[contract.JOB_ARN]["S"], items.model_id(item)

    def samples(self, job_arns: Sequence[str]) -> list[Sample]:
        """What up to 100 jobs say about others, as far as they still have an item.

        Also raises `ServiceError` if DynamoDB leaves keys unprocessed.
        """
        found = map(items.sample, read_batch(self._client, self._jobs, job_arns))
        return [each for each in found if each is not None]
