"""Numbers, durations and times as people read them."""

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
    "duration",
    "moment",
    "percent",
    "plural",
    "short",
]

_THOUSAND: Final = 1000
_TRAILING_ZERO: Final = re.compile(r"(?<=[a-z]) 0+ \w+$")
_CUT: Final = "…"
UNKNOWN: Final = "\N{EN DASH}"


def between(start: datetime, end: datetime) -> str:
    """The duration between two times in either order, without a trailing zero: `6 h`."""
    return _TRAILING_ZERO.sub("", duration(abs((end - start).total_seconds())))


def moment(value: datetime) -> str:
    """A time to the minute: `24 Nov 2026, 20:30`. The page states that its times are UTC."""
    return f"{value.day} {value:%b %Y, %H:%M}"


def count(value: float) -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """A number in few characters: `940`, `12.3 k`, `4.56 M`."""
    amount = float(value)
    for unit in ("", " k", " M", " G"):
        # 999.5 and more would be rounded to 1000.
        if amount < _THOUSAND - 0.5 or unit == " G":
            break
        amount /= _THOUSAND
    if not unit:
        return f"{value:,.0f}"
    digits = 0 if amount >= 100 else 1 if amount >= 10 else 2  # noqa: PLR2004 - three digits
    return f"{amount:.{digits}f}{unit}"


def percent(part: float, whole: float) -> str:
    """A percentage, rounded down: `100 %` only for the whole."""
    return "" if whole <= 0 else f"{min(100, int(100 * part // whole))} %"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def bounded(text: str, characters: int) -> str:
    """A text, cut to so many characters."""
    if len(text) <= characters:
        return text
    return text[: characters - 1].rstrip() + _CUT
