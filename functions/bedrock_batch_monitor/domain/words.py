"""What a value is called by people: a text in one line, a span of time in words."""

from __future__ import annotations

import unicodedata
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def clean(value: object) -> str:
    """A text in one line and without control characters."""
    return "".join(
        " " if character.isspace() else character
        for character in str(value)
        if character.isspace() or unicodedata.category(character) not in {"Cc", "Cf", "Cs"}
    )


def duration(seconds: float) -> str:
    """A span in two units at most: `45 s`, `12 min`, `3 h 05 min`, `2 d 4 h`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < 10 * _MINUTE:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"
