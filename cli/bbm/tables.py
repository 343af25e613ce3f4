"""Reads and writes the jobs table and the history table.

Items are returned as plain values by attribute name: texts, numbers as int or float, maps, sets as
sorted lists, binaries in base64. Every function raises the errors of botocore.
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
from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.attributes import DEADLINE, DEADLINE_BY
from bedrock_batch_monitor.adapters.dynamodb.job_items import KEYS_PER_CALL
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.deadlines import SetBy
from bedrock_batch_monitor.domain.times import to_iso

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = Mapping[str, Any]
RawItem = Mapping[str, "AttributeValueTypeDef"]

_LONGEST_PAUSE_SECONDS: Final = 5.0
_CALLS_WITHOUT_PROGRESS: Final = 8
# A conditional write fails if another writer changed the item at the same moment. More than a few
# such conflicts in a row mean that the writer does not stop.
_ATTEMPTS: Final = 5
EVENT_ID: Final = "eventId"
_deserialize = TypeDeserializer().deserialize


class Change(StrEnum):
    """What `track` or `untrack` did to one job. The values are those of `--json`."""

    ADDED = "added"
    RESUMED = "resumed"
    ALREADY_TRACKED = "alreadyTracked"
    ENDED = "ended"
    UNTRACKED = "untracked"
    EXCLUDED = "excluded"
    NOT_TRACKED = "notTracked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Changed:
    """The change of one job. `status` is the recorded status; None if there is none yet."""

    job_arn: str
    change: Change
    status: str | None = None

    def as_json(self) -> dict[str, str]:
        """`jobArn`, `result`, and `status` if it is known."""
        known = {"status": self.status} if self.status is not None else {}
        return {"jobArn": self.job_arn, "result": str(self.change), **known}


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs table."""

    client: DynamoDBClient
    name: str
    sleep: Callable[[float], None]

    def active(self) -> tuple[Item, ...]:
        """The items of the jobs that are tracked now.

        The index is eventually consistent, so the items themselves decide.
        """
        return tuple(item for item in self.batch(self.active_candidates()) if is_tracked(item))

    def active_candidates(self) -> Iterator[str]:
        """The ARNs in the index of active jobs, page by page."""
        for item in _pages(
            self.client,
            "query",
            TableName=self.name,
            IndexName=contract.ACTIVE_JOBS_INDEX,
            KeyConditionExpression=f"{contract.TRACKING} = :active",
            ExpressionAttributeValues={":active": {"S": contract.TRACKING_ACTIVE}},
            ProjectionExpression="jobArn",
        ):
            yield item["jobArn"]["S"]

    def all(self) -> tuple[Item, ...]:
        """Every job: a Scan of the whole table, page by page."""
        return tuple(plain(item) for item in _pages(self.client, "scan", TableName=self.name))

    def batch(self, job_arns: Iterable[str]) -> tuple[Item, ...]:
        """The items of these jobs in the order given, read consistently, without unknown jobs.

        Unprocessed keys are requested again, with growing pauses. Raises `Problem` after several
        calls without progress.
        """
        wanted = tuple(dict.fromkeys(job_arns))
        found: dict[str, Item] = {}
        for start in range(0, len(wanted), KEYS_PER_CALL):
            for item in self._batch(wanted[start : start + KEYS_PER_CALL]):
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
            unprocessed = answer.get("UnprocessedKeys", {}).get(self.name)
            left = [] if unprocessed is None else [dict(key) for key in unprocessed["Keys"]]
            calls_without_progress = calls_without_progress + 1 if len(left) == len(keys) else 0
            if calls_without_progress == _CALLS_WITHOUT_PROGRESS:
                message = (
                    f"DynamoDB does not return all items of {self.name}: try again in a moment"
                )
                raise Problem(message)
            keys = left
            if keys:
                longest = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2**calls_without_progress)
                self.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - spreads the calls

    def get(self, job_arn: str) -> RawItem | None:
        """The item of one job with DynamoDB types, read consistently."""
        return self.client.get_item(
            TableName=self.name, Key={"jobArn": {"S": job_arn}}, ConsistentRead=True
        ).get("Item")

    def track(self, job_arn: str, now: datetime, deadline: str | None = None) -> Changed:
        """Start tracking: put a new item, or add `tracking` to an existing item.

        An existing item is never overwritten, and a job whose end is recorded stays as it is. `now`
        is the time of the command: the monitor ignores older commands. Raises `Problem` if the item
        changes during every attempt.
        """
        due: dict[str, AttributeValueTypeDef] = {}
        if deadline is not None:
            due = {DEADLINE: {"S": deadline}, DEADLINE_BY: {"S": SetBy.USER.value}}
        for _ in range(_ATTEMPTS):
            item: dict[str, AttributeValueTypeDef] = {
                "jobArn": {"S": job_arn},
                contract.TRACKING: {"S": contract.TRACKING_ACTIVE},
                contract.COMMAND_AT: {"S": to_iso(now)},
                **due,
            }
            if self._put_new(item):
                return Changed(job_arn, Change.ADDED)
            old = self._update(
                job_arn,
                # Without the error attributes, the seven days of an unreadable ARN start again.
                f"SET #tracking = :active, {contract.COMMAND_AT} = :now"
                f"{''.join(f', {name} = :{name}' for name in due)} "
                f"REMOVE {', '.join(items.OF_UNREADABLE)}",
                f"attribute_exists(jobArn) AND attribute_not_exists({EVENT_ID})",
                {
                    ":active": {"S": contract.TRACKING_ACTIVE},
                    ":now": {"S": to_iso(now)},
                    **{f":{name}": value for name, value in due.items()},
                },
            )
            if old is not None:
                was_tracked = old.get(contract.TRACKING, {}).get("S") == contract.TRACKING_ACTIVE
                change = Change.ALREADY_TRACKED if was_tracked else Change.RESUMED
                return Changed(job_arn, change, _status(old))
            # The job has ended, or its item was deleted between the two writes.
            current = self.get(job_arn)
            if current is not None and EVENT_ID in current:
                return Changed(job_arn, Change.ENDED, _status(current))
        raise _conflict(job_arn)

    def untrack(self, job_arn: str, now: datetime, *, may_put: bool) -> Changed:
        """Stop tracking: remove `tracking` from the item.

        `now` is the time of the command: the monitor ignores older commands. With `may_put`, a job
        without an item gets an item without `tracking`, so that discovery does not track it later.
        Otherwise such a job is unknown. Raises `Problem` if the item changes during every attempt.
        """
        for _ in range(_ATTEMPTS):
            old = self._update(
                job_arn,
                f"SET {contract.COMMAND_AT} = :now REMOVE #tracking",
                "attribute_exists(jobArn)",
                {":now": {"S": to_iso(now)}},
            )
            if old is not None:
                change = Change.UNTRACKED if contract.TRACKING in old else Change.NOT_TRACKED
                return Changed(job_arn, change, _status(old))
            if not may_put:
                return Changed(job_arn, Change.UNKNOWN)
            item: dict[str, AttributeValueTypeDef] = {
                "jobArn": {"S": job_arn},
                "trackedBy": {"S": "user"},
                "trackedAt": {"S": to_iso(now)},
                contract.COMMAND_AT: {"S": to_iso(now)},
            }
            if self._put_new(item):
                return Changed(job_arn, Change.EXCLUDED)
        raise _conflict(job_arn)

    def _put_new(self, item: Mapping[str, AttributeValueTypeDef]) -> bool:
        """Put an item; False if the job has an item, which stays unchanged."""
        try:
            self.client.put_item(
                TableName=self.name,
                Item=item,
                ConditionExpression="attribute_not_exists(jobArn)",
            )
        except ClientError as error:
            if not _condition_failed(error):
                raise
            return False
        return True

    def _update(
        self,
        job_arn: str,
        update: str,
        condition: str,
        values: Mapping[str, AttributeValueTypeDef],
    ) -> RawItem | None:
        """Update an item; returns the item before the update, None if the condition failed."""
        try:
            return self.client.update_item(
                TableName=self.name,
                Key={"jobArn": {"S": job_arn}},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={"#tracking": contract.TRACKING},
                ExpressionAttributeValues=values,
                ReturnValues="ALL_OLD",
            ).get("Attributes", {})
        except ClientError as error:
            if not _condition_failed(error):
                raise
            return None


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
        """Every transition to a status, the newest first."""
        return tuple(self.each_with_status(status, since))

    def each_with_status(self, status: str, since: datetime | None = None) -> Iterator[Item]:
        """Like `with_status`, but reads the pages of the Query as needed."""
        values: dict[str, AttributeValueTypeDef] = {":status": {"S": status}}
        condition = "#status = :status"
        if since is not None:
            values[":since"] = {"S": to_iso(since)}
            condition += " AND observedAt >= :since"
        for item in _pages(
            self.client,
            "query",
            TableName=self.name,
            IndexName=contract.BY_STATUS_INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues=values,
            ScanIndexForward=False,
        ):
            yield plain(item)


def is_tracked(item: Item) -> bool:
    """Whether the job is tracked."""
    return bool(item.get(contract.TRACKING) == contract.TRACKING_ACTIVE)


def error_code(item: Item) -> object:
    """The code in `lastError`, which a person can have written; None without one."""
    error = item.get(contract.LAST_ERROR)
    return error.get("code") if isinstance(error, Mapping) else None


def has_ended(item: Item) -> bool:
    """Whether the end of this job is recorded.

    A terminal status without an `eventId` was unknown to the version of the monitor that recorded
    it. The monitor polls such a job until it has recorded the end.
    """
    return item.get("status") in statuses.TERMINAL and EVENT_ID in item


def plain(item: RawItem) -> Item:
    """A DynamoDB item as plain values."""
    return {name: _plain(_deserialize(value)) for name, value in item.items()}


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
            # A binary. The monitor never writes one, but other writers can.
            return base64.b64encode(bytes(value.value)).decode()


def _pages(client: DynamoDBClient, operation: str, **call: Any) -> Iterator[RawItem]:  # noqa: ANN401
    for page in client.get_paginator(operation).paginate(**call):  # type: ignore[call-overload]
        yield from page["Items"]


def _condition_failed(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") == "ConditionalCheckFailedException"


def _conflict(job_arn: str) -> Problem:
    return Problem(
        f"the item of {job_arn} changed during each of {_ATTEMPTS} attempts: check it with "
        "`bbm jobs --all` and try again"
    )


def _status(item: RawItem) -> str | None:
    return item.get("status", {}).get("S")
