"""Numbers of a job as people read them: records, progress, rates, times, and how late it is.

Every number of an item is checked for plausibility first, as `cells` does for texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from rich.text import Text

from bbm.tables import Item, has_ended, is_tracked
from bbm.views.cells import message, moment, style, time_of, word
from bedrock_batch_monitor.adapters.dynamodb.attributes import (
    DEADLINE,
    ESTIMATED_END_TIME,
    RECORDS_PER_MINUTE,
)
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.plain_text import duration, plausible_count
from bedrock_batch_monitor.domain.progress import seconds_past
from bedrock_batch_monitor.presentation.attributes import number_of
from bedrock_batch_monitor.presentation.badges import AT_RISK, PAST_EXPIRATION, badges_of
from bedrock_batch_monitor.presentation.job_view import job_of

# Narrower terminals have shorter bars.
ROOM_FOR_BARS: Final = 100
_BAR_WIDTH: Final = 10
_NARROW_BAR_WIDTH: Final = 6
_SPENT_BAR_WIDTH: Final = 16
_NARROW_SPENT_BAR_WIDTH: Final = 8
_MINUTE: Final = 60
# From this rate on (records per minute) a rate per second is easier to read; below the other one, a
# rate per minute needs significant digits.
_FAST: Final = 10 * _MINUTE
_SLOW: Final = 10


def explanation(item: Item) -> Text:
    """Why a job cannot be read, Bedrock's message if it has ended, or by how much it is late.

    The message of an active job is left out, because it does not require an action.
    """
    error = item.get("lastError")
    if isinstance(error, Mapping):
        return Text(f"{word(error.get('code', ''))}: {message(error)}", style="red")
    if has_ended(item):
        return Text(message(item))
    late = _seconds_late(item)
    if late is None:
        return Text("")
    return Text(
        f"at the current rate it ends {duration(late)} after its expiration "
        f"({moment(item['jobExpirationTime'])} UTC)",
        style="yellow",
    )


def percent(item: Item) -> str:
    """The percentage of processed records, rounded down: `100%` only if all are processed."""
    counts = _counts(item)
    if counts is None:
        return ""
    total, processed = counts
    return f"{min(100, 100 * processed // total)}%"


def progress(item: Item, width: int | None) -> Text:
    """A progress bar with the percentage; only the percentage without a width."""
    shown, counts = percent(item), _counts(item)
    if not shown or counts is None or width is None:
        return Text(shown)
    cells = _BAR_WIDTH if width >= ROOM_FOR_BARS else _NARROW_BAR_WIDTH
    filled = min(cells, cells * counts[1] // counts[0])
    return Text.assemble(("━" * filled, "green"), ("─" * (cells - filled), "dim"), f"{shown:>5}")


def records(item: Item) -> str:
    """Processed and total records: `420 / 1,000`."""
    counts = _counts(item)
    return "" if counts is None else f"{counts[1]:,} / {counts[0]:,}"


def failed_records(item: Item) -> Text:
    """The number of records that failed, highlighted unless it is 0."""
    errors = plausible_count(item.get("errorRecordCount"))
    if errors is None or item.get("totalRecordCount") == 0:
        return Text("")
    return Text(f"{errors:,}", style="red" if errors else "")


def in_status(item: Item, now: datetime) -> str:
    """The time since the last change of the status."""
    since = time_of(item.get("changedAt"))
    return "" if since is None else duration((now - since).total_seconds())


def spent_bar(seconds: float | None, longest: float, name: object, width: int) -> Text:
    """A bar for the time spent in a status, relative to the longest time."""
    if seconds is None or longest <= 0:
        return Text("")
    whole = _SPENT_BAR_WIDTH if width >= ROOM_FOR_BARS else _NARROW_SPENT_BAR_WIDTH
    return Text("━" * max(1, round(whole * seconds / longest)), style=style(name))


def total_time(item: Item) -> str:
    """The time from the submission of an ended job to its end."""
    seconds = job_of(item).total_seconds
    return "" if seconds is None else duration(seconds)


def rate(item: Item) -> str:
    """The rate of a running job in records per second or minute."""
    per_minute = number_of(item, RECORDS_PER_MINUTE)
    if not per_minute or not _has_estimate(item):
        return ""
    if per_minute >= _FAST:
        return f"{per_minute / _MINUTE:,.0f}/s"
    return f"{per_minute:,.0f}/min" if per_minute >= _SLOW else f"{per_minute:.2g}/min"


def time_left(item: Item, now: datetime) -> str:
    """The time until the estimated end of a running job, or `unknown`."""
    if not _has_estimate(item):
        return ""
    ends_at = time_of(item.get(ESTIMATED_END_TIME))
    if ends_at is None:
        return "unknown"
    seconds = (ends_at - now).total_seconds()
    return "soon" if seconds < 1 else duration(seconds)


def eta(item: Item, now: datetime) -> Text:
    """The time left, highlighted if it exceeds the expiration."""
    left = time_left(item, now)
    if left and is_late(item, now):
        return Text(left, style="bold red")
    return Text(left, style="dim" if left == "unknown" else "")


def deadline(item: Item, now: datetime) -> Text:
    """The deadline in UTC, highlighted if an active job has missed it."""
    due = time_of(item.get(DEADLINE))
    if due is None:
        return Text("")
    is_missed = due <= now and not has_ended(item)
    return Text(f"{due:%m-%d %H:%M}", style="bold red" if is_missed else "")


def is_late(item: Item, now: datetime) -> bool:
    """Whether the job has a badge for its expiration."""
    return not {AT_RISK, PAST_EXPIRATION}.isdisjoint(badges_of(job_of(item), now))


def _counts(item: Item) -> tuple[int, int] | None:
    """Total and processed records; None if they are unknown or implausible.

    Bedrock reports 0 for every count until it has validated the job, so a total of 0 is unknown.
    """
    total = plausible_count(item.get("totalRecordCount"))
    processed = plausible_count(item.get("processedRecordCount"))
    return (total, processed) if total and processed is not None else None


def _has_estimate(item: Item) -> bool:
    """Whether the estimate of the monitor is current: the job runs and can be read."""
    running = item.get("status") == statuses.IN_PROGRESS and is_tracked(item)
    return running and "unreachableSince" not in item


def _seconds_late(item: Item) -> int | None:
    if not _has_estimate(item):
        return None
    expiration = time_of(item.get("jobExpirationTime"))
    return seconds_past(time_of(item.get(ESTIMATED_END_TIME)), expiration)
