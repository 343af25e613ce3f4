"""Shortcuts in moto's DynamoDB, with the same results in less time.

`tests/component/test_quick_moto.py` compares the results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from botocore.model import StructureShape
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.parsing.ast_nodes import DepthFirstTraverser, Node
from moto.dynamodb.parsing.validators import ActionCountValidator, OverlappingPathsValidator

MOTO_PROJECT: Final = Item.project
MOTO_SERIALIZE: Final = BaseJSONSerializer._serialize_type_structure

MOTO_TRAVERSE: Final = DepthFirstTraverser.traverse_node_recursively
WHOLE_EXPRESSION: Final = (ActionCountValidator, OverlappingPathsValidator)


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
    projected: Item = MOTO_PROJECT(_Converted(item), expressions)  # type: ignore[arg-type]
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
        MOTO_SERIALIZE(serializer, serialized, value, shape, key)
        return
    found: dict[str, Any] = {}
    for name, part in value.items():
        serializer._serialize(found, part, shape.members[name], name)
    serializer._default_serialize(serialized, found, shape, key)


def traverse(validator: DepthFirstTraverser, node: Node, _child: int = -1) -> Node:
    """As moto's method, which checks a whole expression again from each of its actions on."""
    return validator.process(node)


def use() -> None:
    """Use the shortcuts in this process."""
    Item.project = project
    BaseJSONSerializer._serialize_type_structure = serialize
    for validator in WHOLE_EXPRESSION:
        validator.traverse_node_recursively = traverse
