"""The monitor's bookmarks: where the next poll starts, how far discovery and resync have come."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes, items
from bedrock_batch_monitor.adapters.dynamodb.connection import SERVICE
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.errors import calling
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.discovery import Bookmark
from bedrock_batch_monitor.domain.state import ListPosition, State

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, UpdateItemInputTypeDef

    from bedrock_batch_monitor.adapters.dynamodb.items import Item


class StateTable:
    """One item of bookmarks for each monitored scope. All raise `ServiceError`."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self._name = name

    def load(self, scope: Scope) -> State:
        """The bookmarks; raises `InvalidItemError` as well."""
        with calling(SERVICE):
            answer = self._client.get_item(TableName=self._name, Key=_key(scope))
        return _state(answer.get("Item", {}))

    def set_start_at(self, scope: Scope, job_arn: str | None) -> None:
        """Store the ARN with which the next poll begins; None is the first job."""
        self._set(scope, attributes.START_AT, None if job_arn is None else items.text(job_arn))

    def set_pending_from(self, scope: Scope, moment: datetime | None) -> None:
        """Store the `pendingSince` after which the next flush of pending events begins."""
        self._set(scope, attributes.PENDING_FROM, None if moment is None else items.time(moment))

    def set_resynced(self, scope: Scope, until: datetime) -> None:
        """Store the cursor of the resync."""
        self._set(scope, attributes.RESYNCED_UNTIL, items.time(until))

    def set_backfilled_since(self, scope: Scope, moment: datetime) -> None:
        """Store the submission time from which on finished jobs are recorded."""
        self._set(scope, attributes.BACKFILLED_SINCE, items.time(moment))

    def set_discovery(
        self, scope: Scope, bookmark: Bookmark, position: ListPosition | None
    ) -> None:
        """Store how far discovery has come."""
        rows = attributes.BOOKMARK_ATTRIBUTES, attributes.LIST_POSITION_ATTRIBUTES
        found = items.written(bookmark, rows[0])
        if position is not None:
            found |= items.written(position, rows[1])
        update = UpdateExpression()
        update.replace(found, out_of=attributes.names_of((*rows[0], *rows[1])))
        self._update(scope, update)

    def set_discovery_off(self, scope: Scope, now: datetime) -> None:
        """Store that discovery is off from now on."""
        update = UpdateExpression()
        update.set(attributes.DISCOVERY_OFF_SINCE, items.time(now))
        update.remove(attributes.DISCOVERY_ON_AGAIN_AT)
        self._update(scope, update)

    def _set(self, scope: Scope, name: str, value: AttributeValueTypeDef | None) -> None:
        update = UpdateExpression()
        update.replace({} if value is None else {name: value}, out_of=(name,))
        self._update(scope, update)

    def _update(self, scope: Scope, update: UpdateExpression) -> None:
        request: UpdateItemInputTypeDef = {
            "TableName": self._name,
            "Key": _key(scope),
            "UpdateExpression": str(update),
            "ExpressionAttributeNames": update.names,
        }
        if update.values:
            request["ExpressionAttributeValues"] = update.values
        with calling(SERVICE):
            self._client.update_item(**request)


def _key(scope: Scope) -> dict[str, AttributeValueTypeDef]:
    return {contract.STATE_KEY: items.text(str(scope))}


_read_state: Final = items.reader_of(State, attributes.STATE_ATTRIBUTES)
_read_bookmark: Final = items.reader_of(Bookmark, attributes.BOOKMARK_ATTRIBUTES)
_read_position: Final = items.reader_of(ListPosition, attributes.LIST_POSITION_ATTRIBUTES)


def _state(item: Item) -> State:
    return State(
        **_read_state(item),
        exists=bool(item),
        discovery=(
            Bookmark(**_read_bookmark(item))
            # Half a bookmark is not one: the state is invalid then, and nothing counts as seen.
            if item.keys() & {attributes.DISCOVERY_BEGAN_AT, attributes.DISCOVERED_UNTIL}
            else None
        ),
        list_position=(
            ListPosition(**_read_position(item))
            if item.keys() >= set(attributes.names_of(attributes.LIST_POSITION_ATTRIBUTES))
            else None
        ),
    )
