"""Numbers, durations and times as people read them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from bedrock_batch_monitor.domain import plain_text

__all__ = [
    "UNKNOWN",
    "between",
    "bounded",
    "count",
    "date",
    "duration",
    "moment",
    "percent",
    "plural",
    "short",
    "since",
    "step",
]

_THOUSAND: Final = 1000
_TRAILING_ZERO: Final = re.compile(r"(?<=[a-z]) 0+ \w+$")
_CUT: Final = "…"
UNKNOWN: Final = "\N{EN DASH}"

_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
# Longer spans are counted in one unit: nobody reads the hours of a span of months.
_IN_DAYS: Final = 14 * _DAY
_MONTH: Final = timedelta(days=365.25) / 12
_IN_MONTHS: Final = 2 * _MONTH
_YEAR: Final = 12 * _MONTH
_IN_YEARS: Final = 2 * _YEAR
# What people count in each unit: 90 minutes, 48 hours, 31 days. The start of a period that follows
# the clock is never exact, so a whole number of units has some tolerance.
_PERIODS: Final = (
    (_HOUR, 48, "hour", timedelta(minutes=2)),
    (_DAY, 31, "day", timedelta(minutes=30)),
    (_MINUTE, 90, "minute", timedelta(seconds=30)),
)


def duration(seconds: float) -> str:
    """A duration as people say it: `6 h`, `3 h 05 min`, `2 d 4 h`, `45 days`, `3 years`."""
    for unit, least, word in (
        (_YEAR, _IN_YEARS, "year"),
        (_MONTH, _IN_MONTHS, "month"),
        (_DAY, _IN_DAYS, "day"),
    ):
        if seconds >= least.total_seconds():
            return plural(int(seconds / unit.total_seconds()), word)
    return _TRAILING_ZERO.sub("", plain_text.duration(seconds))


def between(start: datetime, end: datetime) -> str:
    """The duration between two times in either order."""
    return duration(abs((end - start).total_seconds()))


def since(start: datetime, now: datetime) -> str:
    """A period up to now: `in the last 12 hours`, or `since 3 Oct 2023` for an uneven one."""
    span = now - start
    for unit, most, word, tolerance in _PERIODS:
        number = round(span / unit)
        if 1 <= number <= most and abs(span - number * unit) <= tolerance:
            return f"in the last {word}" if number == 1 else f"in the last {number} {word}s"
    return f"since {moment(start)}" if span < _IN_MONTHS else f"since {date(start)}"


def step(span: timedelta) -> str:
    """A whole number of units: `15 minutes`, `6 hours`, `1 day`."""
    for unit, word in ((_DAY, "day"), (_HOUR, "hour")):
        if span % unit == timedelta():
            return plural(span // unit, word)
    return plural(span // _MINUTE, "minute")


def date(value: datetime) -> str:
    """A date: `24 Nov 2026`."""
    return f"{value.day} {value:%b %Y}"


def moment(value: datetime) -> str:
    """A time to the minute: `24 Nov 2026, 20:30`. The page states that its times are UTC."""
    return f"{date(value)}, {value:%H:%M}"


def count(value: float) -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}"


def short(value: float) -> str:
    """A number in few characters: `940`, `12.3 k`, `4.56 M`, `8.03 B`."""
    amount = float(value)
    for unit in ("", " k", " M", " B"):
        # 999.5 and more would be rounded to 1000.
        if amount < _THOUSAND - 0.5 or unit == " B":
            break
        amount /= _THOUSAND
    if not unit:
        return f"{value:,.0f}"
    # Three digits. The limits are what would be rounded to one digit more.
    digits = 0 if amount >= 99.95 else 1 if amount >= 9.995 else 2  # noqa: PLR2004
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
