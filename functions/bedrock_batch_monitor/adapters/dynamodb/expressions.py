"""Update and condition expressions of DynamoDB with their placeholders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from bedrock_batch_monitor.adapters.dynamodb import items

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


class UpdateExpression:
    """An update expression, and the conditions that share its placeholders.

    `names` and `values` are the placeholders that were used so far.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, AttributeValueTypeDef] = {}
        self._clauses: dict[str, list[str]] = {"SET": [], "REMOVE": [], "ADD": [], "DELETE": []}

    def name(self, attribute: str) -> str:
        """The placeholder of an attribute name; many of Bedrock's names are reserved words."""
        placeholder = f"#{attribute}"
        self.names[placeholder] = attribute
        return placeholder

    def value(self, value: AttributeValueTypeDef) -> str:
        """A new placeholder for a value."""
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = value
        return placeholder

    # Clauses

    def set(self, attribute: str, value: AttributeValueTypeDef) -> None:
        """Set an attribute."""
        self._clauses["SET"].append(f"{self.name(attribute)} = {self.value(value)}")

    def set_once(self, attribute: str, value: AttributeValueTypeDef) -> None:
        """Set an attribute that the item does not have yet."""
        name = self.name(attribute)
        self._clauses["SET"].append(f"{name} = if_not_exists({name}, {self.value(value)})")

    def remove(self, *attributes: str) -> None:
        """Remove attributes."""
        self._clauses["REMOVE"].extend(map(self.name, attributes))

    def replace(
        self, attributes: Mapping[str, AttributeValueTypeDef], *, out_of: Iterable[str]
    ) -> None:
        """Set these attributes and remove the rest of `out_of`."""
        for attribute, value in attributes.items():
            self.set(attribute, value)
        self.remove(*(attribute for attribute in out_of if attribute not in attributes))

    def increment(self, attribute: str) -> None:
        """Add one to a number; an attribute that is absent counts as 0."""
        self._clauses["ADD"].append(f"{self.name(attribute)} {self.value(items.number(1))}")

    def add(self, attribute: str, members: Iterable[str]) -> None:
        """Add members to a set of texts."""
        self._clauses["ADD"].append(f"{self.name(attribute)} {self.value({'SS': sorted(members)})}")

    def delete(self, attribute: str, member: str) -> None:
        """Remove a member of a set of texts."""
        self._clauses["DELETE"].append(f"{self.name(attribute)} {self.value({'SS': [member]})}")

    def __str__(self) -> str:
        """The expression as DynamoDB reads it."""
        return " ".join(
            f"{keyword} {', '.join(clauses)}"
            for keyword, clauses in self._clauses.items()
            if clauses
        )

    # Conditions

    def exists(self, attribute: str) -> str:
        """The condition that the item has an attribute."""
        return f"attribute_exists({self.name(attribute)})"

    def is_absent(self, attribute: str) -> str:
        """The condition that the item does not have an attribute."""
        return f"attribute_not_exists({self.name(attribute)})"

    def equals(self, attribute: str, value: AttributeValueTypeDef | None) -> str:
        """The condition that an attribute has this value, or with None that it is absent."""
        if value is None:
            return self.is_absent(attribute)
        return f"{self.name(attribute)} = {self.value(value)}"
