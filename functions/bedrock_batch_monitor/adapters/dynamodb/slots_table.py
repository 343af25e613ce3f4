"""What is remembered of slots: one item of the state table for each account and Region."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import items, writes
from bedrock_batch_monitor.adapters.dynamodb.attributes import (
    FULL_MODELS,
    PENDING_SLOTS,
    QUOTAS,
    QUOTAS_DUE_AT,
    REVISION,
)
from bedrock_batch_monitor.adapters.dynamodb.connection import SERVICE
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.errors import calling
from bedrock_batch_monitor.domain.slots import FullEpisode, SlotChange, SlotState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, UpdateItemInputTypeDef

    from bedrock_batch_monitor.adapters.dynamodb.items import Item
    from bedrock_batch_monitor.adapters.dynamodb.writes import WriteResult
    from bedrock_batch_monitor.domain.arns import Scope

_SINCE: Final = "since"
_FREE_SINCE: Final = "freeSince"


class SlotsTable:
    """The state of slots in the state table. All raise `ServiceError`."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self._name = name

    def load(self, scope: Scope) -> SlotState:
        """The state of an account and Region; raises `InvalidItemError` as well."""
        with calling(SERVICE):
            answer = self._client.get_item(TableName=self._name, Key=key_of(scope))
        return slot_state(answer.get("Item", {}))

    def save_limits(self, scope: Scope, limits: Mapping[str, int], due_at: datetime) -> None:
        """Store the limits, and when to read them again."""
        update = UpdateExpression()
        update.set(QUOTAS, {"M": {name: items.number(limit) for name, limit in limits.items()}})
        update.set(QUOTAS_DUE_AT, items.time(due_at))
        with calling(SERVICE):
            self._client.update_item(**self._request(scope, update))

    def save_change(self, scope: Scope, change: SlotChange, expected: SlotState) -> WriteResult:
        """Store which models are full, and the pending events, unless another poll did."""
        update = UpdateExpression()
        update.set(FULL_MODELS, {"M": {name: _written(one) for name, one in change.full.items()}})
        update.set(REVISION, items.number(expected.revision + 1))
        if change.due:
            update.set(contract.SEQUENCE, items.number(change.due[-1].sequence))
            update.add(PENDING_SLOTS, map(str, change.due))
        known = items.number(expected.revision) if expected.revision else None
        condition = update.equals(REVISION, known)
        return self._write(scope, update, condition)

    def ack(self, scope: Scope, pending: str) -> WriteResult:
        """Remove a pending event; a conflict means that there is no such event any more."""
        update = UpdateExpression()
        update.delete(PENDING_SLOTS, pending)
        condition = f"contains({update.name(PENDING_SLOTS)}, {update.value(items.text(pending))})"
        return self._write(scope, update, condition)

    def _write(self, scope: Scope, update: UpdateExpression, condition: str) -> WriteResult:
        request = self._request(scope, update)
        request["ConditionExpression"] = condition
        return writes.write(lambda: self._client.update_item(**request))

    def _request(self, scope: Scope, update: UpdateExpression) -> UpdateItemInputTypeDef:
        return {
            "TableName": self._name,
            "Key": key_of(scope),
            "UpdateExpression": str(update),
            "ExpressionAttributeNames": update.names,
            "ExpressionAttributeValues": update.values,
        }


def key_of(scope: Scope) -> dict[str, AttributeValueTypeDef]:
    """The key of the item of an account and Region."""
    return {contract.STATE_KEY: items.text(contract.slots_key(str(scope)))}


def slot_state(item: Item) -> SlotState:
    """Read an item; raises `InvalidItemError`."""
    quotas, full = item.get(QUOTAS, {}).get("M", {}), item.get(FULL_MODELS, {}).get("M", {})
    return SlotState(
        limits={name: items.number_in(quotas, name) for name in quotas},
        due_at=items.time_in(item, QUOTAS_DUE_AT),
        full={name: _episode(full[name].get("M", {})) for name in full},
        pending=frozenset(item.get(PENDING_SLOTS, {}).get("SS", ())),
        sequence=items.number_in(item, contract.SEQUENCE),
        revision=items.number_in(item, REVISION),
    )


def _written(episode: FullEpisode) -> AttributeValueTypeDef:
    found = {_SINCE: items.time(episode.since)}
    if episode.free_since is not None:
        found[_FREE_SINCE] = items.time(episode.free_since)
    return {"M": found}


def _episode(value: Item) -> FullEpisode:
    since = items.time_in(value, _SINCE)
    if since is None:
        message = f"an entry of {FULL_MODELS} lacks {_SINCE}"
        raise items.InvalidItemError(message)
    return FullEpisode(since, items.time_in(value, _FREE_SINCE))
