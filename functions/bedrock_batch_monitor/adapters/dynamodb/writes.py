"""Conditional writes: what came of one, and the current item where its condition failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from bedrock_batch_monitor.adapters.dynamodb.connection import SERVICE
from bedrock_batch_monitor.adapters.errors import ServiceError, calling

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from bedrock_batch_monitor.adapters.dynamodb.items import Item

_CONDITION_FAILED: Final = "ConditionalCheckFailed"
# Another write to the same item was in progress. DynamoDB does not return the item then.
_TRANSACTION_CONFLICT: Final = "TransactionConflict"
_CONFLICTS: Final = frozenset({_CONDITION_FAILED, _TRANSACTION_CONFLICT})
_NONE: Final = "None"


class WriteOutcome(Enum):
    """Whether a conditional write took effect, or why not."""

    DONE = auto()
    CONFLICT = auto()
    HISTORY_AHEAD = auto()
    """The history has entries that the job's item lacks: the item was replaced or restored."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of a conditional write.

    After a conflict, `current` is the item as DynamoDB returned it (`ALL_OLD`). It is None where
    there is no item, and where DynamoDB returns none: after a conflict of two transactions, and
    for a write to several jobs.
    """

    outcome: WriteOutcome
    current: Item | None = None

    @property
    def is_done(self) -> bool:
        """Whether the write took effect."""
        return self.outcome is WriteOutcome.DONE


DONE: Final = WriteResult(WriteOutcome.DONE)


def write(call: Callable[[], object]) -> WriteResult:
    """Make a conditional PutItem or UpdateItem call; raises `ServiceError`."""
    try:
        with calling(SERVICE):
            call()
    except ServiceError as error:
        cause = error.__cause__
        if error.reason != "ConditionalCheckFailedException" or not isinstance(cause, ClientError):
            raise
        return WriteResult(WriteOutcome.CONFLICT, _item_of(cause.response))
    return DONE


def transact(client: DynamoDBClient, items: Sequence[TransactWriteItemTypeDef]) -> WriteResult:
    """Write all or nothing (TransactWriteItems), the job's item first; raises `ServiceError`."""
    try:
        with calling(SERVICE):
            client.transact_write_items(TransactItems=items)
    except ServiceError as error:
        return _cancelled(error)
    return DONE


def _cancelled(error: ServiceError) -> WriteResult:
    """What a cancelled transaction means; raises the error if it is about something else."""
    cause = error.__cause__
    if error.reason != "TransactionCanceledException" or not isinstance(cause, ClientError):
        raise error
    reasons = cause.response.get("CancellationReasons", [])
    codes = [reason.get("Code", _NONE) for reason in reasons]
    other = [code for code in codes if code not in {_NONE, *_CONFLICTS}]
    if other or not _CONFLICTS.intersection(codes):
        raise ServiceError(SERVICE, next(iter(other), error.reason), error.message) from error
    if codes[0] == _NONE and _CONDITION_FAILED in codes[1:]:
        return WriteResult(WriteOutcome.HISTORY_AHEAD)
    return WriteResult(WriteOutcome.CONFLICT, _item_of(reasons[0]))


def _item_of(answer: Mapping[str, Any]) -> Item | None:
    """The item in an error response, or in one reason of a cancelled transaction."""
    return answer.get("Item")
