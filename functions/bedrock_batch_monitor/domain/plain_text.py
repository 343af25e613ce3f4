"""Texts for people: a text in one line, a quoted value, a plausible count, a span of time.

Anything that comes from outside (an item, an event, an argument) is hostile until it went through
`clean` or `quoted`: a job's name, its message and its ARN are chosen by others. They are the only
functions that decide which characters may be shown.
"""

from __future__ import annotations

import reprlib
import unicodedata
from typing import Final

CUT: Final = "…"
# The smallest share that people are shown as a number.
_SMALLEST_SHARE: Final = 0.0001
# From here on, three digits would be rounded to 100 %.
_LARGE_SHARE: Final = 0.999
# No job has this many records, tokens or seconds, and no sum of such counts loses digits.
IMPLAUSIBLE: Final = 10**15

# Controls (C0, C1 and with them every escape sequence), format characters (among them all that
# reorder or hide text: bidirectional marks, characters without width, tags) and lone surrogates.
_REMOVED: Final = frozenset({"Cc", "Cf", "Cs"})
# The last two code points of each plane are not characters, and HTML must not have them.
_LAST: Final = 0xFFFE
# A hostile text can begin with characters that are removed. So many times what is shown is read.
_READ_TIMES: Final = 4
_SHOWN_CHARACTERS: Final = 80
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def clean(value: object, characters: int | None = None) -> str:
    """A text in one line, without characters that control a terminal or reorder or hide text.

    Every white space character becomes a blank. Controls, escapes, format characters (category Cf)
    and lone surrogates are removed. With `characters`, the text is at most that long and ends in
    `…` where it was cut.
    """
    text = str(value)
    read = text if characters is None else text[: _READ_TIMES * characters]
    shown = read if read.isascii() and read.isprintable() else "".join(map(_shown, read))
    if characters is None or (len(shown) <= characters and len(read) == len(text)):
        return shown
    return shown[: characters - 1] + CUT


def quoted(value: object, characters: int = _SHOWN_CHARACTERS) -> str:
    r"""A value as an error message quotes it: in one line, about so long, and printable.

    Unlike `clean` it shows what is wrong with a text: a character that cannot be seen is written
    as an escape, such as `\u202e`. Takes any JSON value, however deep and long.
    """
    if isinstance(value, str):
        shown = repr(value[: characters + 1])
    else:
        short = reprlib.Repr()
        short.maxstring = short.maxother = short.maxlong = characters
        shown = short.repr(value)
    return shown if len(shown) <= characters + len("''") else shown[: characters + 1] + CUT


def plausible_count(value: object) -> int | None:
    """A count as it is, None for anything that is not a whole number from 0 to below 10**15."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < IMPLAUSIBLE else None


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


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    if unicodedata.category(character) in _REMOVED or ord(character) & _LAST == _LAST:
        return ""
    return character


def percent(share: float) -> str:
    """A share from 0 to 1 for people, such as `0.2 %`; only 0 reads as `0 %`, only 1 as `100 %`."""
    if 0 < share < _SMALLEST_SHARE:
        return f"below {100 * _SMALLEST_SHARE:g} %"
    if 1 - _SMALLEST_SHARE < share < 1:
        return f"above {100 * (1 - _SMALLEST_SHARE):g} %"
    digits = 3 if share < _LARGE_SHARE else 4
    return f"{100 * share:.{digits}g} %"
