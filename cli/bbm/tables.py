"""The jobs table and the history table, read and written as the contract describes them.

Items come back as plain values under the tables' own names: texts, numbers as int or float, maps,
sets as sorted lists, binaries in base64. Every function raises what botocore raises.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from bbm.problems import Problem
from bedrock_batch_monitor.domain import names, statuses
from bedrock_batch_monitor.domain.times import to_iso

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = Mapping[str, Any]
RawItem = Mapping[str, "AttributeValueTypeDef"]

_KEYS_PER_CALL: Final = 100
_LONGEST_PAUSE_SECONDS: Final = 5.0
_CALLS_WITHOUT_PROGRESS: Final = 8
_deserialize = TypeDeserializer().deserialize


class Change(StrEnum):
    """What `track` or `untrack` did to one job; the values are those of `--json`."""

    ADDED = "added"
    RESUMED = "resumed"
    ALREADY_TRACKED = "alreadyTracked"
    ENDED = "ended"
    UNTRACKED = "untracked"
    NOT_TRACKED = "notTracked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Changed:
    """One job and what became of it; `status` is what the table knew, None if nothing yet."""

    job_arn: str
    change: Change
    status: str | None = None

    def as_json(self) -> dict[str, str]:
        """`jobArn`, `result`, and `status` where it is known."""
        known = {"status": self.status} if self.status is not None else {}
        return {"jobArn": self.job_arn, "result": str(self.change), **known}


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs table."""

    client: DynamoDBClient
    name: str
    sleep: Callable[[float], None]

    def active(self) -> tuple[Item, ...]:
        """The jobs that are tracked now, whole items.

        The index nominates, eventually consistent; the items themselves decide.
        """
        return tuple(item for item in self.batch(self.nominated()) if is_tracked(item))

    def nominated(self) -> Iterator[str]:
        """The ARNs in the index of active jobs, page by page."""
        for item in _pages(
            self.client,
            "query",
            TableName=self.name,
            IndexName=names.ACTIVE_JOBS_INDEX,
            KeyConditionExpression=f"{names.TRACKING} = :active",
            ExpressionAttributeValues={":active": {"S": names.TRACKING_ACTIVE}},
            ProjectionExpression="jobArn",
        ):
            yield item["jobArn"]["S"]

    def all(self) -> tuple[Item, ...]:
        """Every job there is: a Scan, page by page, which reads the whole table."""
        return tuple(plain(item) for item in _pages(self.client, "scan", TableName=self.name))

    def batch(self, job_arns: Iterable[str]) -> tuple[Item, ...]:
        """The items of these jobs in the order given, read consistently; unknown ones are left out.

        Keys that DynamoDB leaves unprocessed are asked for again, with growing pauses; `Problem` if
        it gets nowhere.
        """
        wanted = tuple(dict.fromkeys(job_arns))
        found: dict[str, Item] = {}
        for start in range(0, len(wanted), _KEYS_PER_CALL):
            for item in self._batch(wanted[start : start + _KEYS_PER_CALL]):
                found[item["jobArn"]] = item
        return tuple(found[job_arn] for job_arn in wanted if job_arn in found)

    def _batch(self, job_arns: Sequence[str]) -> Iterator[Item]:
        keys: list[dict[str, Any]] = [{"jobArn": {"S": job_arn}} for job_arn in job_arns]
        calls_without_progress = 0
        while keys:
            answer = self.client.batch_get_item(
                RequestItems={self.name: {"Keys": keys, "ConsistentRead": True}}
            )
            yield from (plain(item) for item in answer["Responses"].get(self.name, ()))
            undone = answer.get("UnprocessedKeys", {}).get(self.name)
            left = [] if undone is None else [dict(key) for key in undone["Keys"]]
            calls_without_progress = calls_without_progress + 1 if len(left) == len(keys) else 0
            if calls_without_progress == _CALLS_WITHOUT_PROGRESS:
                message = f"DynamoDB leaves reads of {self.name} undone: try again in a moment"
                raise Problem(message)
            keys = left
            if keys:
                longest = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2**calls_without_progress)
                self.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - spreads the calls

    def get(self, job_arn: str) -> RawItem | None:
        """One job's item as DynamoDB answers it, read consistently."""
        return self.client.get_item(
            TableName=self.name, Key={"jobArn": {"S": job_arn}}, ConsistentRead=True
        ).get("Item")

    def track(self, job_arn: str) -> Changed:
        """Have a job polled: put the contract's two attributes, or take an existing item up again.

        An item that is there is never written over, and a job that has ended is left alone.
        """
        try:
            self.client.put_item(
                TableName=self.name,
                Item={"jobArn": {"S": job_arn}, names.TRACKING: {"S": names.TRACKING_ACTIVE}},
                ConditionExpression="attribute_not_exists(jobArn)",
            )
        except ClientError as error:
            if not _condition_failed(error):
                raise
            return self._track_again(job_arn)
        return Changed(job_arn, Change.ADDED)

    def _track_again(self, job_arn: str) -> Changed:
        endings = {f":e{n}": {"S": name} for n, name in enumerate(statuses.TERMINAL)}
        try:
            old = self.client.update_item(
                TableName=self.name,
                Key={"jobArn": {"S": job_arn}},
                UpdateExpression="SET #tracking = :active",
                ConditionExpression=(
                    "attribute_exists(jobArn) AND (attribute_not_exists(#status) OR NOT #status IN "
                    f"({', '.join(endings)}))"
                ),
                ExpressionAttributeNames={"#tracking": names.TRACKING, "#status": "status"},
                ExpressionAttributeValues={":active": {"S": names.TRACKING_ACTIVE}, **endings},
                ReturnValues="ALL_OLD",
            ).get("Attributes", {})
        except ClientError as error:
            if not _condition_failed(error):
                raise
            # It has ended, or somebody deleted it just now; the latter is not worth a word.
            return Changed(job_arn, Change.ENDED, _status(self.get(job_arn) or {}))
        was_tracked = old.get(names.TRACKING, {}).get("S") == names.TRACKING_ACTIVE
        change = Change.ALREADY_TRACKED if was_tracked else Change.RESUMED
        return Changed(job_arn, change, _status(old))

    def untrack(self, job_arn: str) -> Changed:
        """Take a job out of polling: remove `tracking`, and nothing else."""
        try:
            old = self.client.update_item(
                TableName=self.name,
                Key={"jobArn": {"S": job_arn}},
                UpdateExpression="REMOVE #tracking",
                ConditionExpression="attribute_exists(jobArn)",
                ExpressionAttributeNames={"#tracking": names.TRACKING},
                ReturnValues="ALL_OLD",
            ).get("Attributes", {})
        except ClientError as error:
            if not _condition_failed(error):
                raise
            return Changed(job_arn, Change.UNKNOWN)
        change = Change.UNTRACKED if names.TRACKING in old else Change.NOT_TRACKED
        return Changed(job_arn, change, _status(old))


@dataclass(frozen=True, slots=True)
class History:
    """The history table."""

    client: DynamoDBClient
    name: str

    def of(self, job_arn: str) -> tuple[Item, ...]:
        """Every recorded transition of a job, the oldest first, read consistently."""
        return tuple(
            plain(item)
            for item in _pages(
                self.client,
                "query",
                TableName=self.name,
                KeyConditionExpression="jobArn = :job",
                ExpressionAttributeValues={":job": {"S": job_arn}},
                ConsistentRead=True,
            )
        )

    def with_status(self, status: str, since: datetime | None = None) -> tuple[Item, ...]:
        """Every transition into a status, the newest first."""
        return tuple(self.each_with_status(status, since))

    def each_with_status(self, status: str, since: datetime | None = None) -> Iterator[Item]:
        """The same one after the other: one Query, page by page."""
        values: dict[str, AttributeValueTypeDef] = {":status": {"S": status}}
        condition = "#status = :status"
        if since is not None:
            values[":since"] = {"S": to_iso(since)}
            condition += " AND observedAt >= :since"
        for item in _pages(
            self.client,
            "query",
            TableName=self.name,
            IndexName=names.BY_STATUS_INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues=values,
            ScanIndexForward=False,
        ):
            yield plain(item)


def is_tracked(item: Item) -> bool:
    """Whether the monitor polls this job."""
    return bool(item.get(names.TRACKING) == names.TRACKING_ACTIVE)


def has_ended(item: Item) -> bool:
    """Whether a terminal status is recorded of this job."""
    return item.get("status") in statuses.TERMINAL


def plain(item: RawItem) -> Item:
    """A DynamoDB item without its type tags, and without task tokens, which are secrets."""
    return {
        name: _plain(_deserialize(value))
        for name, value in item.items()
        if name != names.TASK_TOKENS
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value an item can hold
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case set() | frozenset():
            return sorted((_plain(inner) for inner in value), key=str)
        case str() | bool() | None:
            return value
        case _:
            # A binary that somebody put there by hand; the monitor writes none.
            return base64.b64encode(bytes(value.value)).decode()


def _pages(client: DynamoDBClient, operation: str, **call: Any) -> Iterator[RawItem]:  # noqa: ANN401
    for page in client.get_paginator(operation).paginate(**call):  # type: ignore[call-overload]
        yield from page["Items"]


def _condition_failed(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") == "ConditionalCheckFailedException"


def _status(item: RawItem) -> str | None:
    return item.get("status", {}).get("S")
