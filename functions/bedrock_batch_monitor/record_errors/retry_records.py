"""The lines of a retry file: `recordId` and `modelInput` of a line of the input, unchanged."""

from __future__ import annotations

import json
import re
from typing import Final

_SPACE: Final = re.compile(r"[ \t\n\r]*").match
_DECODER: Final = json.JSONDecoder()
_BOM: Final = "\ufeff"


class NoRetryLineError(ValueError):
    """A line that is not a record of an input, such as one without a `modelInput`."""


def retry_line(line: bytes) -> bytes:
    """The record to submit again, with its line end; raises `NoRetryLineError`.

    The values are copied byte for byte; everything else of the line is left out.
    """
    try:
        members = _members(line.decode().removeprefix(_BOM))
        record_id, model_input = members["recordId"], members["modelInput"]
    except (ValueError, LookupError, RecursionError) as error:
        message = f"it is not a record of an input ({type(error).__name__})"
        raise NoRetryLineError(message) from error
    return f'{{"recordId":{record_id},"modelInput":{model_input}}}\n'.encode()


def _members(text: str) -> dict[str, str]:
    """The members of an object with their values as they are written."""
    found: dict[str, str] = {}
    place = _after(text, 0, "{")
    while True:
        name, place = _DECODER.raw_decode(text, place)
        start = _skip(text, _after(text, place, ":"))
        _, place = _DECODER.raw_decode(text, start)
        found[name] = text[start:place]
        place = _skip(text, place)
        if text[place] == "}":
            return found
        place = _skip(text, _after(text, place, ","))


def _after(text: str, place: int, sign: str) -> int:
    place = _skip(text, place)
    if text[place] != sign:
        message = f"there is no {sign!r}"
        raise ValueError(message)
    return _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    found = _SPACE(text, place)
    return place if found is None else found.end()
