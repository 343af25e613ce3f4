"""Numbers, spans and moments as people read them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from bedrock_batch_monitor.domain.plain_text import duration

__all__ = [
    "UNKNOWN",
    "between",
    "bounded",
    "count",
    "day",
    "dollars",
    "duration",
    "moment",
    "percent",
    "plural",
    "short",
]

_THOUSAND: Final = 1000
_CENT: Final = 0.01
_NOTHING_MORE: Final = re.compile(r"(?<=[a-z]) 0+ \w+$")
_CUT: Final = "…"
UNKNOWN: Final = "\N{EN DASH}"


def between(start: datetime, end: datetime) -> str:
    """The span between two moments, whichever comes first; `6 h` where it is exactly that."""
    return _NOTHING_MORE.sub("", duration(abs((end - start).total_seconds())))


def moment(value: datetime) -> str:
    """A moment to the minute: `24 Nov 2026, 20:30`, in UTC as the page says."""
    return f"{value.day} {value:%b %Y, %H:%M}"


def day(value: datetime) -> str:
    """`Tue 24 Nov`."""
    return f"{value:%a} {value.day} {value:%b}"


def count(value: float) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """A number in few characters: `940`, `12.3 k`, `4.56 M`."""
    amount = float(value)
    for unit in ("", " k", " M", " G"):
        # Rounded to three digits it may be a thousand.
        if amount < _THOUSAND - 0.5 or unit == " G":
            break
        amount /= _THOUSAND
    if not unit:
        return f"{value:,.0f}"
    digits = 0 if amount >= 100 else 1 if amount >= 10 else 2  # noqa: PLR2004 - three digits
    return f"{amount:.{digits}f}{unit}"


def dollars(value: float) -> str:
    """An amount of money; one below a cent is not nothing."""
    if 0 < value < _CENT:
        return "under $0.01"
    return f"${value:,.2f}"


def percent(part: float, whole: float) -> str:
    """A share, rounded down: 100 % is said when it is all."""
    return "" if whole <= 0 else f"{min(100, int(100 * part // whole))} %"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def bounded(text: str, characters: int) -> str:
    """A text, or its beginning."""
    if len(text) <= characters:
        return text
    return text[: characters - 1].rstrip() + _CUT
