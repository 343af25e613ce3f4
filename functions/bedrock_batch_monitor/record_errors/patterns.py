"""The pattern of an error message: what is left of it without the values of one record."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from bedrock_batch_monitor.domain.plain_text import clean

PATTERN_CHARACTERS: Final = 300
_READ_CHARACTERS: Final = 1000

_HEX: Final = "[0-9a-fA-F]"
# In this order: an id contains numbers, and a quoted value anything.
_REPLACED: Final = (
    (re.compile(r'"[^"]*"|`[^`]*`|(?<!\w)\'[^\']*\'(?!\w)'), "<value>"),
    (re.compile(r"\barn:[\w-]+:[^\s,;)\]]+"), "<arn>"),
    (re.compile(rf"\b{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}\b"), "<id>"),
    (re.compile(rf"\b(?:0x{_HEX}+|(?=[a-fA-F]*\d){_HEX}{{8,}})\b"), "<id>"),
    (re.compile(r"\b(?=[A-Za-z_]*\d)(?=[\d_]*[A-Za-z])\w{16,}\b", re.ASCII), "<id>"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "<n>"),
)


@lru_cache(maxsize=1024)
def pattern_of(message: str) -> str:
    """A message without numbers, ids and quoted values, in one line of at most 300 characters.

    The same text always gives the same pattern. Indexes in JSON paths are numbers:
    `messages.0.content` and `messages[0]` become `messages.<n>.content`, `messages[<n>]`.
    """
    text = " ".join(clean(message[:_READ_CHARACTERS]).split())
    for found, placeholder in _REPLACED:
        text = found.sub(placeholder, text)
    return clean(text, PATTERN_CHARACTERS)
