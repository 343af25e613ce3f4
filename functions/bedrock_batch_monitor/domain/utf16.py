"""Lengths of texts in UTF-16 code units, in which some services (Step Functions) measure them.

A character outside of the Basic Multilingual Plane has two units, a surrogate pair; Python counts
it as one.
"""

from __future__ import annotations

from typing import Final

_ENCODING: Final = "utf-16-le"
# JSON can carry a lone surrogate; it counts as one unit, like any other.
_ERRORS: Final = "surrogatepass"
_UNIT_BYTES: Final = 2


def utf16_length(text: str) -> int:
    """The number of UTF-16 code units of a text."""
    return len(text.encode(_ENCODING, _ERRORS)) // _UNIT_BYTES


def cut_utf16(text: str, units: int) -> str:
    """The longest beginning of a text with at most so many code units, without half a pair.

    Raises ValueError if `units` is negative.
    """
    if units < 0:
        message = f"a text has 0 code units or more, not {units}"
        raise ValueError(message)
    encoded = text.encode(_ENCODING, _ERRORS)
    end = units * _UNIT_BYTES
    if len(encoded) <= end:
        return text
    if _is_low_surrogate(encoded, end) and _is_high_surrogate(encoded, end - _UNIT_BYTES):
        end -= _UNIT_BYTES
    return encoded[:end].decode(_ENCODING, _ERRORS)


def _is_high_surrogate(encoded: bytes, at: int) -> bool:
    return at >= 0 and 0xD8 <= encoded[at + 1] <= 0xDB  # noqa: PLR2004 - U+D800 to U+DBFF


def _is_low_surrogate(encoded: bytes, at: int) -> bool:
    return 0xDC <= encoded[at + 1] <= 0xDF  # noqa: PLR2004 - U+DC00 to U+DFFF
