"""Lenient readers of item attributes: a value of another type or an absurd value counts as absent.

Anyone who can write to the tables can write any item, so nothing here raises for what an item
holds. Texts are cleaned and cut, which bounds the size of everything that is rendered from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from bedrock_batch_monitor.domain.plain_text import IMPLAUSIBLE, clean
from bedrock_batch_monitor.domain.times import from_iso

Item = Mapping[str, Any]

# Room for every form of a time that the standard library reads.
_TIME_CHARACTERS: Final = 64


def text_of(item: Item, name: str, characters: int) -> str | None:
    """A text in one line and of at most so many characters; None without a visible character."""
    value = item.get(name)
    return clean(value, characters).strip() or None if isinstance(value, str) else None


def map_of(item: Item, name: str) -> Item | None:
    """A map."""
    value = item.get(name)
    return value if isinstance(value, Mapping) else None


def number_of(item: Item, name: str) -> float | None:
    """A number from 0 to below 10**15."""
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    # Compared before it is converted: a whole number can be larger than any float.
    return float(value) if 0 <= value < IMPLAUSIBLE else None


def count_of(item: Item, name: str) -> int | None:
    """A number from 0 to below 10**15, rounded down to a whole number."""
    value = number_of(item, name)
    return None if value is None else int(value)


def time_of(item: Item, name: str) -> datetime | None:
    """A time in ISO 8601."""
    value = item.get(name)
    try:
        return from_iso(value[:_TIME_CHARACTERS]) if isinstance(value, str) else None
    except ValueError:
        return None
