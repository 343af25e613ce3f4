"""A DynamoDB client in memory: conditional writes, transactions, sparse indexes with versions.

It responds like boto3's client, with the same errors, for requests by key to one table or index.
`test_dynamodb.py` compares it with moto. An index keeps its contents before each change, so that a
query can return a stale result, as a global index may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from botocore.exceptions import ClientError

from tests.explorer import expressions
from tests.explorer.expressions import ExpressionError, Item, Names, Part, named, ordered

Key = tuple[Any, ...]
_NO_NAMES: Final[Names] = {}
_NO_VALUES: Final[Item] = {}
_SETS: Final = frozenset({"SS", "NS", "BS"})
_CONDITION_FAILED: Final = "The conditional request failed"
# When the tables were created.
_BEGAN: Final = datetime(2026, 11, 24, 19, 59, tzinfo=UTC)


def refusal(operation: str, code: str, message: str, **more: Any) -> ClientError:
    """The error that boto3 raises for a response with this code."""
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": 400},
        **more,
    }
    return ClientError(response, operation)


def _invalid(reason: object, operation: str) -> ClientError:
    return refusal(operation, "ValidationException", str(reason))


@dataclass
class Index:
    """A global secondary index with all its versions."""

    name: str
    partition: str
    sort: str | None
    attributes: frozenset[str] | None
    """The projected attributes; None: all."""
    versions: list[dict[Key, Item]] = field(default_factory=lambda: [{}])

    def fork(self) -> Index:
        """A copy whose changes leave this one alone."""
        return Index(self.name, self.partition, self.sort, self.attributes, [*self.versions])

    def note(self, key: Key, item: Item | None) -> None:
        """Apply a change of the base table."""
        content = self.versions[-1]
        entry = None if item is None else self._entry(item)
        if content.get(key) == entry:
            return
        content = dict(content)
        if entry is None:
            content.pop(key, None)
        else:
            content[key] = entry
        self.versions.append(content)

    def _entry(self, item: Item) -> Item | None:
        if self.partition not in item or (self.sort is not None and self.sort not in item):
            return None
        if self.attributes is None:
            return item
        return {name: value for name, value in item.items() if name in self.attributes}


@dataclass
class Table:
    """One table: items by their key values. Items are never changed in place."""

    name: str
    keys: tuple[str, ...]
    types: Mapping[str, str]
    indexes: dict[str, Index]
    items: dict[Key, Item] = field(default_factory=dict)
    id: str = "first"
    """Its identity: another table with the same name has another one."""
    created_at: datetime = _BEGAN

    def fork(self) -> Table:
        """A copy whose changes leave this one alone."""
        indexes = {name: index.fork() for name, index in self.indexes.items()}
        return Table(
            self.name, self.keys, self.types, indexes, {**self.items}, self.id, self.created_at
        )

    def key_of(self, item: Item, *, alone: bool = False) -> Key:
        """The values of the key attributes; `alone` where nothing else may be there."""
        is_there = [self.types[name] in item.get(name, ()) for name in self.keys]
        if (alone and len(item) != len(self.keys)) or not all(is_there):
            message = "The provided key element does not match the schema"
            raise ExpressionError(message)
        values = [item[name] for name in self.keys]
        return tuple([Decimal(value["N"]) if "N" in value else value["S"] for value in values])

    def check_types(self, item: Item) -> None:
        """Key attributes of the table and its indexes have their types where they are there."""
        for name, kind in self.types.items():
            value = item.get(name)
            if value is None:
                continue
            if kind not in value:
                message = (
                    "One or more parameter values were invalid: Type mismatch for key "
                    f"{name} expected: {kind} actual: {next(iter(value))}"
                )
                raise ExpressionError(message)
            if value[kind] == "":
                message = (
                    "One or more parameter values are not valid. A value specified for a key "
                    "attribute cannot be an empty string"
                )
                raise ExpressionError(message)

    def write(self, key: Key, item: Item | None) -> None:
        """Replace an item or, with None, remove it."""
        if item is None:
            self.items.pop(key, None)
        else:
            self.items[key] = item
        for index in self.indexes.values():
            index.note(key, item)


@dataclass
class Planned:
    """A checked write: the item before and after it, and whether its condition holds."""

    table: Table
    key: Key
    before: Item | None
    after: Item | None
    holds: bool
    writes: bool = True


class DynamoDB:
    """The client; `page_size` items make a page of a query."""

    def __init__(self, page_size: int = 1000) -> None:
        self.tables: dict[str, Table] = {}
        self.page_size = page_size
        self._answered: dict[str, Mapping[str, Any]] = {}

    def fork(self) -> DynamoDB:
        """A copy whose changes leave this one alone."""
        copy = DynamoDB(self.page_size)
        copy.tables = {name: table.fork() for name, table in self.tables.items()}
        return copy

    def create_table(self, **request: Any) -> dict[str, Any]:
        """Make an empty table, ready at once."""
        types = {
            each["AttributeName"]: each["AttributeType"] for each in request["AttributeDefinitions"]
        }
        keys = _keys(request["KeySchema"])
        indexes = {}
        for each in request.get("GlobalSecondaryIndexes", ()):
            partition, *sort = _keys(each["KeySchema"])
            shown = each["Projection"]
            attributes = (
                None
                if shown["ProjectionType"] == "ALL"
                else frozenset({*keys, partition, *sort, *shown.get("NonKeyAttributes", ())})
            )
            indexes[each["IndexName"]] = Index(
                each["IndexName"], partition, sort[0] if sort else None, attributes
            )
        self.tables[request["TableName"]] = Table(request["TableName"], keys, types, indexes)
        return {}

    def replace_table(self, name: str, content: Mapping[Key, Item]) -> None:
        """Replace the table with another one of the same name and schema, with other content."""
        old = self.tables[name]
        indexes = {
            each.name: Index(each.name, each.partition, each.sort, each.attributes)
            for each in old.indexes.values()
        }
        table = Table(name, old.keys, old.types, indexes, id=f"after {old.id}")
        for key, item in content.items():
            table.write(key, item)
        self.tables[name] = table

    def describe_table(self, **request: Any) -> dict[str, Any]:
        """DescribeTable: the identity of the table, and when it was created."""
        table = self._table(request, "DescribeTable")
        at = table.created_at
        return {"Table": {"TableName": table.name, "TableId": table.id, "CreationDateTime": at}}

    def get_item(self, **request: Any) -> dict[str, Any]:
        """GetItem."""
        try:
            table = self._table(request, "GetItem")
            item = table.items.get(table.key_of(request["Key"], alone=True))
            shown = None if item is None else _projected(item, request)
        except ExpressionError as error:
            raise _invalid(error, "GetItem") from error
        return {} if not shown else {"Item": shown}

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """BatchGetItem without unprocessed keys."""
        found: dict[str, list[dict[str, Any]]] = {}
        for name, wanted in request["RequestItems"].items():
            options = {key: value for key, value in wanted.items() if key != "Keys"}
            answers = (self.get_item(TableName=name, Key=key, **options) for key in wanted["Keys"])
            found[name] = [answer["Item"] for answer in answers if "Item" in answer]
        return {"Responses": found, "UnprocessedKeys": {}}

    def put_item(self, **request: Any) -> dict[str, Any]:
        """PutItem."""
        return self._write_one("PutItem", request)

    def update_item(self, **request: Any) -> dict[str, Any]:
        """UpdateItem."""
        return self._write_one("UpdateItem", request)

    def delete_item(self, **request: Any) -> dict[str, Any]:
        """DeleteItem."""
        return self._write_one("DeleteItem", request)

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        """TransactWriteItems: all or nothing, with a reason for each item."""
        token = request.get("ClientRequestToken")
        if token in self._answered:
            return {}
        operation = "TransactWriteItems"
        plans = []
        for part in request["TransactItems"]:
            [(kind, inner)] = part.items()
            try:
                plans.append((self._plan(kind, inner), inner))
            except ExpressionError as error:
                raise _invalid(error, operation) from error
        if len({(plan.table.name, plan.key) for plan, _ in plans}) < len(plans):
            message = "Transaction request cannot include multiple operations on one item"
            raise _invalid(message, operation)
        if not all(plan.holds for plan, _ in plans):
            reasons = [_reason(plan, inner) for plan, inner in plans]
            codes = ", ".join(reason["Code"] for reason in reasons)
            raise refusal(
                operation,
                "TransactionCanceledException",
                "Transaction cancelled, please refer cancellation reasons for specific reasons "
                f"[{codes}]",
                CancellationReasons=reasons,
            )
        for plan, _ in plans:
            if plan.writes:
                plan.table.write(plan.key, plan.after)
        if token is not None:
            self._answered[token] = {}
        return {}

    def query(self, *, versions_ago: int = 0, **request: Any) -> dict[str, Any]:
        """Query; for an index, `versions_ago` is the number of its changes to go back."""
        try:
            return self._query(request, versions_ago)
        except ExpressionError as error:
            raise _invalid(error, "Query") from error

    def get_paginator(self, operation: str) -> Paginator:
        """The paginator of `query`."""
        if operation != "query":
            raise NotImplementedError(operation)
        return Paginator(self.query)

    def _query(self, request: Mapping[str, Any], versions_ago: int) -> dict[str, Any]:
        table = self._table(request, "Query")
        names = request.get("ExpressionAttributeNames", _NO_NAMES)
        values = request.get("ExpressionAttributeValues", _NO_VALUES)
        keyed = expressions.condition(request["KeyConditionExpression"])
        wanted = [keyed]
        if "FilterExpression" in request:
            wanted.append(expressions.condition(request["FilterExpression"]))
        used = frozenset().union(*[each.placeholders for each in wanted])
        _check_placeholders(request, used)
        content: Mapping[Key, Item] = table.items
        partition, *rest = table.keys
        sort = rest[0] if rest else None
        if "IndexName" in request:
            if request.get("ConsistentRead"):
                message = "Consistent reads are not supported on global secondary indexes"
                raise ExpressionError(message)
            index = table.indexes.get(request["IndexName"])
            if index is None:
                message = f"The table does not have the specified index: {request['IndexName']}"
                raise ExpressionError(message)
            partition, sort = index.partition, index.sort
            content = index.versions[max(len(index.versions) - 1 - versions_ago, 0)]
        heads = {named(head, names) for head in keyed.paths}
        if partition not in heads or not heads <= {partition, sort}:
            message = f"Query condition missed key schema element: {partition}"
            raise ExpressionError(message)

        def place(key: Key, item: Item) -> tuple[Any, ...]:
            return (None if sort is None else ordered(item[sort]), key)

        forward = request.get("ScanIndexForward", True)
        found = sorted(
            (
                (place(key, item), item)
                for key, item in content.items()
                if keyed.holds(item, names, values)
            ),
            key=lambda pair: pair[0],
            reverse=not forward,
        )
        if "ExclusiveStartKey" in request:
            start = request["ExclusiveStartKey"]
            after = place(table.key_of({name: start[name] for name in table.keys}), start)
            found = [pair for pair in found if (pair[0] > after) is forward and pair[0] != after]
        limit = min(request.get("Limit", self.page_size), self.page_size)
        page = [item for _, item in found[:limit]]
        answer: dict[str, Any] = {"ScannedCount": len(page)}
        if len(found) > limit:
            shown = {*table.keys, partition} | ({sort} if sort else set())
            answer["LastEvaluatedKey"] = {
                name: value for name, value in page[-1].items() if name in shown
            }
        page = [item for item in page if all(each.holds(item, names, values) for each in wanted)]
        answer["Count"] = len(page)
        if request.get("Select") != "COUNT":
            answer["Items"] = [_projected(item, request) for item in page]
        return answer

    def _table(self, request: Mapping[str, Any], operation: str) -> Table:
        table = self.tables.get(request["TableName"])
        if table is None:
            message = "Requested resource not found"
            raise refusal(operation, "ResourceNotFoundException", message)
        return table

    def _write_one(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            plan = self._plan(operation.removesuffix("Item"), request)
        except ExpressionError as error:
            raise _invalid(error, operation) from error
        if not plan.holds:
            more = {"Item": plan.before} if _shows_old(request) and plan.before is not None else {}
            raise refusal(operation, "ConditionalCheckFailedException", _CONDITION_FAILED, **more)
        plan.table.write(plan.key, plan.after)
        returned = request.get("ReturnValues", "NONE")
        if returned == "ALL_OLD" and plan.before is not None:
            return {"Attributes": dict(plan.before)}
        return {"Attributes": dict(plan.after or {})} if returned == "ALL_NEW" else {}

    def _plan(self, kind: str, request: Mapping[str, Any]) -> Planned:
        table = self._table(request, kind)
        names = request.get("ExpressionAttributeNames", _NO_NAMES)
        values = request.get("ExpressionAttributeValues", _NO_VALUES)
        used: frozenset[str] = frozenset()
        condition = change = None
        if "ConditionExpression" in request:
            condition = expressions.condition(request["ConditionExpression"])
            used = condition.placeholders
        if "UpdateExpression" in request:
            change = expressions.update(request["UpdateExpression"])
            used = used | change.placeholders
        _check_placeholders(request, used)
        key = (
            table.key_of(request["Item"])
            if kind == "Put"
            else table.key_of(request["Key"], alone=True)
        )
        before = table.items.get(key)
        holds = condition is None or condition.holds(before or {}, names, values)
        if not holds or kind == "ConditionCheck":
            return Planned(table, key, before, before, holds, writes=False)
        if kind == "Delete":
            return Planned(table, key, before, None, holds)
        if kind == "Put":
            after: Item = dict(request["Item"])
            for value in after.values():
                _check_value(value)
        else:
            after = dict(request["Key"]) if before is None else before
            if change is not None:
                after = _changed(after, change, names, values, table.keys)
        table.check_types(after)
        return Planned(table, key, before, after, holds)


class Paginator:
    """Pages of a query, each with its own call."""

    def __init__(self, query: Any) -> None:
        self._query = query

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        """Fetch page after page; botocore's PaginationConfig is not supported."""
        size = request.pop("PaginationConfig", {}).get("PageSize")
        if size is not None:
            request["Limit"] = size
        while True:
            page = self._query(**request)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _keys(schema: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(
        each["AttributeName"] for each in sorted(schema, key=lambda each: each["KeyType"])
    )  # HASH sorts before RANGE


def _shows_old(request: Mapping[str, Any]) -> bool:
    return request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"


def _reason(plan: Planned, request: Mapping[str, Any]) -> dict[str, Any]:
    if plan.holds:
        return {"Code": "None"}
    reason: dict[str, Any] = {"Code": "ConditionalCheckFailed", "Message": _CONDITION_FAILED}
    if _shows_old(request) and plan.before is not None:
        reason["Item"] = dict(plan.before)
    return reason


def _check_placeholders(request: Mapping[str, Any], used: frozenset[str]) -> None:
    if "ProjectionExpression" in request:
        used = used | expressions.projection(request["ProjectionExpression"])[1]
    given_names = request.get("ExpressionAttributeNames")
    given_values = request.get("ExpressionAttributeValues")
    _check_given(
        used,
        None if given_names is None else tuple(given_names),
        None if given_values is None else tuple(given_values),
    )
    for value in (given_values or _NO_VALUES).values():
        _check_value(value)


@lru_cache(maxsize=4096)
def _check_given(
    used: frozenset[str], names: tuple[str, ...] | None, values: tuple[str, ...] | None
) -> None:
    """Every placeholder has a value, and every value is used; errors are not cached."""
    for parameter, given in (
        ("ExpressionAttributeNames", names),
        ("ExpressionAttributeValues", values),
    ):
        if given is None:
            continue
        if not given:
            message = f"{parameter} must not be empty"
            raise ExpressionError(message)
        if not used.issuperset(given):
            unused = ", ".join(sorted(set(given) - used))
            message = f"Value provided in {parameter} unused in expressions: keys: {{{unused}}}"
            raise ExpressionError(message)
    for placeholder in used.difference(names or (), values or ()):
        message = f"An expression attribute is not defined: {placeholder}"
        raise ExpressionError(message)


def _check_value(value: Mapping[str, Any]) -> None:
    [(kind, content)] = value.items()
    if kind in _SETS and (not content or len(set(content)) < len(content)):
        message = "One or more parameter values were invalid: a set may not be empty"
        raise ExpressionError(message)


def _projected(item: Item, request: Mapping[str, Any]) -> dict[str, Any]:
    if "ProjectionExpression" not in request:
        return dict(item)
    names = request.get("ExpressionAttributeNames", _NO_NAMES)
    shown: dict[str, Any] = {}
    for path in expressions.projection(request["ProjectionExpression"])[0]:
        if len(path) > 1:
            message = "nested projections"
            raise NotImplementedError(message)
        name = str(named(path[0], names))
        if name in item:
            shown[name] = item[name]
    return shown


def _changed(
    item: Item, change: expressions.Update, names: Names, values: Item, keys: tuple[str, ...]
) -> Item:
    after: dict[str, Any] = {**item}
    for action, path in _paths(change, tuple(names.items()), keys):
        # Every operand reads the item before the update, whatever the other clauses do.
        value = None if action.operand is None else action.operand(item, names, values)
        if action.keyword == "SET":
            if value is None:
                message = (
                    "The provided expression refers to an attribute that does not exist in the item"
                )
                raise ExpressionError(message)
            _assign(after, path, value)
        elif action.keyword == "REMOVE":
            _assign(after, path, None)
        else:
            there = expressions.lookup(item, path, _NO_NAMES)
            combine = _added if action.keyword == "ADD" else _deleted
            _assign(after, path, combine(there, value))
    return after


@lru_cache(maxsize=4096)
def _paths(
    change: expressions.Update, names: tuple[tuple[str, str], ...], keys: tuple[str, ...]
) -> tuple[tuple[expressions.Action, tuple[Part, ...]], ...]:
    """The clauses of an update with their attributes."""
    given = dict(names)
    paths = [tuple(named(part, given) for part in action.path) for action in change.actions]
    heads = [path[0] for path in paths]
    if not set(keys).isdisjoint(heads):
        message = (
            "One or more parameter values were invalid: Cannot update attribute. This attribute "
            "is part of the key"
        )
        raise ExpressionError(message)
    if len(set(heads)) < len(heads):
        _check_overlap(paths)
    return tuple(zip(change.actions, paths, strict=True))


def _check_overlap(paths: list[tuple[Part, ...]]) -> None:
    for position, path in enumerate(paths):
        for other in paths[position + 1 :]:
            shared = min(len(path), len(other))
            if path[:shared] == other[:shared]:
                message = "Two document paths overlap with each other"
                raise ExpressionError(message)


def _assign(container: Any, path: tuple[Part, ...], value: Any) -> None:
    """Set or, with None, remove the value at the path; maps and lists on the way are copied."""
    head = path[0]
    if len(path) > 1:
        rest = path[1:]
        inner = container.get(head) if isinstance(head, str) else container[head]
        kind = "M" if isinstance(rest[0], str) else "L"
        if inner is None or kind not in inner:
            message = "The document path provided in the update expression is invalid for update"
            raise ExpressionError(message)
        copied = inner[kind].copy()
        container[head] = {kind: copied}
        _assign(copied, rest, value)
    elif isinstance(head, int):
        container[head : head + 1] = [] if value is None else [value]
    elif value is None:
        container.pop(head, None)
    else:
        container[head] = value


def _added(there: Any, value: Any) -> Any:
    [(kind, content)] = value.items()
    if kind not in {"N", "SS", "NS", "BS"}:
        message = "Incorrect operand type for operator or function; operator: ADD"
        raise ExpressionError(message)
    if there is None:
        return value
    if kind not in there:
        message = "An operand in the update expression has an incorrect data type"
        raise ExpressionError(message)
    if kind == "N":
        total = Decimal(there["N"]) + Decimal(content)
        return {"N": format(total.normalize(), "f")}
    return {kind: sorted({*there[kind], *content})}


def _deleted(there: Any, value: Any) -> Any:
    [(kind, content)] = value.items()
    if kind not in {"SS", "NS", "BS"}:
        message = "Incorrect operand type for operator or function; operator: DELETE"
        raise ExpressionError(message)
    if there is None:
        return None
    if kind not in there:
        message = "An operand in the update expression has an incorrect data type"
        raise ExpressionError(message)
    left = [member for member in there[kind] if member not in content]
    # DynamoDB has no empty set: the attribute goes with its last member.
    return {kind: left} if left else None
