"""Times as the contract writes them: ISO 8601 in UTC with milliseconds and `Z`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

# By so much the monitor's clock may differ from the clock that a time comes from.
CLOCK_TOLERANCE: Final = timedelta(hours=2)
# Batch inference did not exist before. An earlier time is a default value or an error.
EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)


def to_iso(moment: datetime) -> str:
    """Write an aware time: `2026-11-24T20:30:16.123Z`; raises ValueError on a naive one.

    Digits after the milliseconds are cut off, not rounded, so that no time moves into the future.
    """
    if moment.tzinfo is None:
        text = f"{moment!r} has no time zone: only aware times can be written as UTC"
        raise ValueError(text)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> datetime:
    """Read what `to_iso` wrote; raises ValueError for a text without a time or a time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        message = f"{text!r} has no time zone"
        raise ValueError(message)
    if moment.tzinfo is UTC:
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        message = f"{text!r} is out of range in UTC"
        raise ValueError(message) from error


def to_milliseconds(moment: datetime) -> datetime:
    """Cut a time to the precision in which it is stored, so that it reads back equal."""
    aware = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    beyond = aware.microsecond % 1000
    return aware - timedelta(microseconds=beyond) if beyond else aware


def plausible(
    moment: datetime | None, now: datetime, *, ahead: timedelta = CLOCK_TOLERANCE
) -> datetime | None:
    """A time that comes from outside, or None if it is missing or makes no sense.

    It makes no sense before `EARLIEST`, or more than `ahead` after now.
    """
    if moment is None or moment < EARLIEST or moment > now + ahead:
        return None
    return moment


def seconds_between(start: datetime | None, end: datetime | None) -> int | None:
    """Whole seconds from start to end; None where one is unknown or the end comes first."""
    if start is None or end is None or end < start:
        return None
    return int((end - start).total_seconds())
