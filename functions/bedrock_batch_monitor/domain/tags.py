"""The tags of a job, as they are stored and published: cleaned, and bounded in number and size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bedrock_batch_monitor.domain.plain_text import clean

# AWS allows 50 tags for a resource, keys of 128 characters and values of 256.
MOST_TAGS: Final = 50
KEY_CHARACTERS: Final = 128
VALUE_CHARACTERS: Final = 256
# An event has 256 KB at most, and ten of them are sent in one call.
_MOST_BYTES: Final = 16 * 1024


def tags_of(pairs: Iterable[tuple[object, object]]) -> dict[str, str]:
    """Tags from pairs of key and value, in the order of their keys; other values are left out.

    Each text is in one line and has no control or hidden characters. The same tags give the same
    result in any order.
    """
    found: dict[str, str] = {}
    for key, value in pairs:
        if isinstance(key, str) and isinstance(value, str):
            name = clean(key, KEY_CHARACTERS).strip()
            text = clean(value, VALUE_CHARACTERS).strip()
            if name and (name not in found or text < found[name]):
                found[name] = text
    kept: dict[str, str] = {}
    left = _MOST_BYTES
    for name in sorted(found):
        left -= len(name.encode()) + len(found[name].encode())
        if left < 0 or len(kept) == MOST_TAGS:
            break
        kept[name] = found[name]
    return kept


def tags_in(value: object) -> dict[str, str]:
    """Tags from a map, such as an attribute that anyone could have written; raises nothing."""
    return tags_of(value.items()) if isinstance(value, Mapping) else {}


def tags_in_answer(answer: Mapping[str, Any]) -> dict[str, str]:
    """Tags from an answer of ListTagsForResource; an entry of another form is left out."""
    entries = answer.get("tags")
    if not isinstance(entries, list):
        return {}
    return tags_of(
        (entry.get("key"), entry.get("value")) for entry in entries if isinstance(entry, Mapping)
    )
