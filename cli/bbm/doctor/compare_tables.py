"""The comparison of the jobs table with the history table, and the search for unread jobs.

Both look at a bounded sample: the newest transitions, and the first active jobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bbm.tables import History, Item, error_code, plain
from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.times import from_iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Discovery repairs the jobs of this time by itself.
REPAIRED: Final = timedelta(days=8)
_SAMPLE: Final = 100
_NAMED: Final = 3
_PAGES: Final = 10


@dataclass(frozen=True, slots=True)
class Records:
    """What does not fit together: the ARNs of the jobs, in the order in which they were found.

    `without_item` have a history that has not ended, and no item. `older` have an item with an
    earlier `sequence` than their history. `without_history` are active, and their last transition
    is not in the history.
    """

    without_item: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    without_history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tables:
    """The jobs and history tables."""

    client: DynamoDBClient
    jobs: str
    history: str

    def compare(self, now: datetime, retention: timedelta | None) -> Records:
        """Compare a sample of both tables; raises the errors of botocore.

        Entries older than `retention` can have expired.
        """
        newest = self._newest_transitions(now - REPAIRED)
        keys = [{contract.JOB_ARN: {"S": arn}} for arn in newest]
        items = {item[contract.JOB_ARN]: item for item in self._batch(self.jobs, keys)}
        missing = [arn for arn in newest if arn not in items and self._is_running(arn)]
        return Records(
            tuple(missing),
            tuple(
                arn
                for arn, sequence in newest.items()
                if arn in items and _sequence(items[arn]) < sequence
            ),
            tuple(self._without_history(None if retention is None else now - retention)),
        )

    def unread(self) -> tuple[tuple[str, str], ...]:
        """Active jobs that cannot be read, each with the code of its last error."""
        found: list[tuple[str, str]] = []
        pages = self.client.get_paginator("query").paginate(
            TableName=self.jobs,
            IndexName=contract.ACTIVE_JOBS_INDEX,
            KeyConditionExpression=f"{contract.TRACKING} = :active",
            FilterExpression="attribute_exists(lastError)",
            ExpressionAttributeValues={":active": {"S": contract.TRACKING_ACTIVE}},
        )
        for page in islice(pages, _PAGES):
            for item in map(plain, page["Items"]):
                code = str(error_code(item) or "unknown error")
                found.append((item[contract.JOB_ARN], code))
        return tuple(found)

    def _newest_transitions(self, since: datetime) -> dict[str, int]:
        """The jobs with a recent transition to a non-terminal status, and its sequence."""
        history = History(self.client, self.history)
        newest: dict[str, int] = {}
        for status in statuses.NON_TERMINAL:
            for entry in islice(history.each_with_status(status, since), _SAMPLE):
                arn = entry[contract.JOB_ARN]
                newest[arn] = max(newest.get(arn, 0), _sequence(entry))
        return newest

    def _is_running(self, job_arn: str) -> bool:
        """Whether the last recorded transition of a job is not its end."""
        entries = History(self.client, self.history).of(job_arn)
        return bool(entries) and entries[-1].get("status") not in statuses.TERMINAL

    def _without_history(self, oldest: datetime | None) -> Iterator[str]:
        active = self.client.query(
            TableName=self.jobs,
            IndexName=contract.ACTIVE_JOBS_INDEX,
            KeyConditionExpression=f"{contract.TRACKING} = :active",
            ExpressionAttributeValues={":active": {"S": contract.TRACKING_ACTIVE}},
            ProjectionExpression=contract.JOB_ARN,
            Limit=_SAMPLE,
        )["Items"]
        keys = [{contract.JOB_ARN: item[contract.JOB_ARN]} for item in active]
        recorded = {
            (item[contract.JOB_ARN], _sequence(item))
            for item in self._batch(self.jobs, keys)
            if _sequence(item) and not _is_before(item.get("observedAt"), oldest)
        }
        wanted = [
            {contract.JOB_ARN: {"S": arn}, contract.SEQUENCE: {"N": str(sequence)}}
            for arn, sequence in sorted(recorded)
        ]
        found = {
            (item[contract.JOB_ARN], _sequence(item)) for item in self._batch(self.history, wanted)
        }
        return (arn for arn, _ in sorted(recorded - found))

    def _batch(self, table: str, keys: list[dict[str, Any]]) -> Iterator[Item]:
        """The items with these keys; a key that stays unprocessed raises `ValueError`."""
        for start in range(0, len(keys), _SAMPLE):
            answer = self.client.batch_get_item(
                RequestItems={
                    table: {"Keys": keys[start : start + _SAMPLE], "ConsistentRead": True}
                }
            )
            if answer.get("UnprocessedKeys"):
                message = f"DynamoDB does not return all items of {table}: run the command again"
                raise ValueError(message)
            yield from map(plain, answer["Responses"].get(table, ()))


def named(job_arns: Iterable[str]) -> str:
    """The first of these jobs, and that there are more."""
    every = list(job_arns)
    return ", ".join(every[:_NAMED]) + (", …" if len(every) > _NAMED else "")


def by_code(unread: Iterable[tuple[str, str]]) -> str:
    """How many jobs have each error code."""
    return ", ".join(f"{code} {count}" for code, count in Counter(c for _, c in unread).items())


def _sequence(item: Item) -> int:
    value = item.get(contract.SEQUENCE)
    return value if isinstance(value, int) else 0


def _is_before(text: object, oldest: datetime | None) -> bool:
    try:
        return oldest is not None and isinstance(text, str) and from_iso(text) < oldest
    except ValueError:
        return False
