"""Shortcuts in moto, with the same results in less time.

`tests/component/test_quick_moto.py` compares the results.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from types import SimpleNamespace
from typing import Any, Final

import jsonpath_ng.ext
import moto.core.responses
import moto.dynamodb.models
import moto.dynamodb.parsing.validators
from botocore.model import StructureShape
from moto.core.serialize import BaseJSONSerializer
from moto.core.utils import method_names_from_class
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing.ast_nodes import DepthFirstTraverser, Node
from moto.dynamodb.parsing.expressions import UpdateExpressionParser
from moto.dynamodb.parsing.validators import ActionCountValidator, OverlappingPathsValidator

_project: Final = Item.project
_serialize: Final = BaseJSONSerializer._serialize_type_structure
_transact: Final = DynamoDBBackend.transact_write_items


class _Converted:
    """An item whose attributes are converted already."""

    def __init__(self, item: Item) -> None:
        self.hash_key, self.range_key = item.hash_key, item.range_key
        self._attributes = item.to_regular_json()

    def to_regular_json(self) -> dict[str, Any]:
        """The attributes."""
        return self._attributes


def project(item: Item, expressions: list[list[str]]) -> Item:
    """As `Item.project`, which converts the whole item again for each attribute of an index."""
    projected: Item = _project(_Converted(item), expressions)  # type: ignore[arg-type]
    return projected


def serialize(
    serializer: BaseJSONSerializer,
    serialized: dict[str, Any],
    value: Any,
    shape: StructureShape,
    key: str,
) -> None:
    """As moto's method, which looks for each of the ten types of a value under several names."""
    if shape.name != "AttributeValue" or not isinstance(value, Mapping):
        _serialize(serializer, serialized, value, shape, key)
        return
    found: dict[str, Any] = {}
    for name, part in value.items():
        serializer._serialize(found, part, shape.members[name], name)
    serializer._default_serialize(serialized, found, shape, key)


def traverse(processor: DepthFirstTraverser, node: Node) -> Node:
    """As moto's method, which asks for the kinds of nodes to process again at each node."""
    kinds = processor.nodes_to_be_processed()

    def visit(node: Any, number: int) -> Any:
        if not isinstance(node, Node):
            return node
        parent = node.parent
        for position, child in enumerate(node.children or ()):
            processor.pre_processing_of_child(node, position)
            visit(child, position)
        if isinstance(node, kinds):
            node = processor.process(node)
            node.parent = parent
            if parent:
                parent.children[number] = node
        return node

    return visit(node, -1)


def check_whole(validator: DepthFirstTraverser, node: Node) -> Node:
    """As moto's method, which checks a whole expression again from each of its actions on."""
    return validator.process(node)


@cache
def _pickled(node: Node) -> bytes:
    return pickle.dumps(node)


def copied(value: Any) -> Any:
    """As `deepcopy`; quick for parsed expressions. Of tables, `transact` copies what matters."""
    if isinstance(value, Table):
        return value
    return pickle.loads(_pickled(value)) if isinstance(value, Node) else deepcopy(value)  # noqa: S301


def transact(backend: DynamoDBBackend, operations: list[dict[str, Any]]) -> None:
    """As moto's method, which copies each item of the tables, in case the transaction fails."""
    before: list[tuple[Table, DynamoType, Any]] = []
    for operation in (inner for outer in operations for inner in outer.values()):
        table = backend.tables.get(operation.get("TableName"))
        key = operation.get("Key") or operation.get("Item", {})
        if table is not None and table.hash_key_attr in key:
            partition = DynamoType(key[table.hash_key_attr])
            before.append((table, partition, deepcopy(table.items.get(partition))))
    try:
        _transact(backend, operations)
    except Exception:
        for table, partition, items in before:
            if items is None:
                table.items.pop(partition, None)
            else:
                table.items[partition] = items
        raise


# By the class or module that has the original, and the original's name.
SHORTCUTS: Final[dict[tuple[Any, str], Any]] = {
    (Item, "project"): project,
    (BaseJSONSerializer, "_serialize_type_structure"): serialize,
    (DepthFirstTraverser, "traverse"): traverse,
    (ActionCountValidator, "traverse"): check_whole,
    (OverlappingPathsValidator, "traverse"): check_whole,
    (UpdateExpressionParser, "make"): cache(UpdateExpressionParser.make),
    (moto.dynamodb.parsing.validators, "deepcopy"): copied,
    (moto.dynamodb.models, "copy"): SimpleNamespace(deepcopy=copied),
    (DynamoDBBackend, "transact_write_items"): transact,
    # Both are the same for each request, and for each event of a rule.
    (moto.core.responses, "method_names_from_class"): cache(method_names_from_class),
    (jsonpath_ng.ext, "parse"): cache(jsonpath_ng.ext.parse),
}
ORIGINALS: Final = {place: getattr(*place) for place in SHORTCUTS}


def use(functions: Mapping[tuple[Any, str], Any] = SHORTCUTS) -> None:
    """Use the shortcuts in this process, or the originals again."""
    for (owner, name), function in functions.items():
        setattr(owner, name, function)
