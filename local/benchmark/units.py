"""DynamoDB's capacity units, calculated from items according to its documentation.

The local cloud counts one unit for each item, whatever its size, and none for indexes. Source of
the rules: the DynamoDB developer guide, "DynamoDB item sizes and formats", "Read and write
operations", and "Provisioned throughput considerations for global secondary indexes".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Item = Mapping[str, Mapping[str, Any]]

_READ_BYTES: Final = 4096
_WRITE_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Index:
    """A global secondary index: its key attributes, and what it projects (None: everything)."""

    keys: tuple[str, ...]
    projected: frozenset[str] | None

    def entry(self, item: Item | None, table_keys: Iterable[str]) -> Item | None:
        """The index entry of an item; None if the item lacks a key attribute of the index."""
        if item is None or any(key not in item for key in self.keys):
            return None
        if self.projected is None:
            return item
        kept = {*self.keys, *table_keys, *self.projected}
        return {name: value for name, value in item.items() if name in kept}


@dataclass(frozen=True, slots=True)
class Table:
    """A table's key attributes and indexes."""

    keys: tuple[str, ...]
    indexes: tuple[Index, ...]

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> Table:
        """Read the `Table` of a DescribeTable answer."""
        return cls(
            keys=_names(description["KeySchema"]),
            indexes=tuple(
                Index(
                    keys=_names(index["KeySchema"]),
                    projected=(
                        None
                        if index["Projection"]["ProjectionType"] == "ALL"
                        else frozenset(index["Projection"].get("NonKeyAttributes", ()))
                    ),
                )
                for index in description.get("GlobalSecondaryIndexes", ())
            ),
        )

    def key_of(self, item: Item) -> Item:
        """The key of an item."""
        return {name: item[name] for name in self.keys}

    def write_units(
        self, before: Item | None, after: Item | None, *, in_transaction: bool = False
    ) -> int:
        """The units of one write that found `before` and left `after`, indexes included.

        A transaction doubles the cost of the item but not of its indexes. A write with a failed
        condition costs the units of the item that it found, or one unit.
        """
        size = max(item_bytes(before), item_bytes(after))
        units = max(1, math.ceil(size / _WRITE_BYTES)) * (2 if in_transaction else 1)
        return units + sum(self._index_units(index, before, after) for index in self.indexes)

    def _index_units(self, index: Index, before: Item | None, after: Item | None) -> int:
        was, now = index.entry(before, self.keys), index.entry(after, self.keys)
        if was == now:
            return 0
        if was is None or now is None or any(was[key] != now[key] for key in index.keys):
            return sum(
                math.ceil(item_bytes(entry) / _WRITE_BYTES)
                for entry in (was, now)
                if entry is not None
            )
        return math.ceil(max(item_bytes(was), item_bytes(now)) / _WRITE_BYTES)


def read_units(size: int, *, consistent: bool = False) -> float:
    """The units of one read of *size* bytes: one per 4 KB, half if not consistent."""
    return max(1, math.ceil(size / _READ_BYTES)) * (1.0 if consistent else 0.5)


def item_bytes(item: Item | None) -> int:
    """The size of an item in bytes: the names and the values of its attributes; 0 for none."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in (item or {}).items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    return _SIZES[kind](content)


def _number_bytes(text: str) -> int:
    """One byte for two significant digits, and one more."""
    digits = text.lstrip("-").replace(".", "").strip("0")
    return math.ceil(len(digits) / 2) + 1


_SIZES: Final[Mapping[str, Callable[[Any], int]]] = {
    "S": lambda text: len(text.encode()),
    "N": _number_bytes,
    "B": len,
    "BOOL": lambda _: 1,
    "NULL": lambda _: 1,
    "SS": lambda texts: sum(len(text.encode()) for text in texts),
    "NS": lambda numbers: sum(map(_number_bytes, numbers)),
    "BS": lambda binaries: sum(map(len, binaries)),
    "L": lambda values: 3 + sum(1 + _value_bytes(value) for value in values),
    "M": lambda values: 3 + item_bytes(values) + len(values),
}


def _names(schema: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(part["AttributeName"] for part in schema)
