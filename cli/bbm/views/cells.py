"""Cells and texts of tables: one value of an item each.

Anyone who can write to the tables can write any item, so nothing here relies on the type, the size
or the characters of an attribute. Every text passes `clean` with a maximum length and becomes a
`Text`, which is not markup. Every number is checked for plausibility first.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from bbm.references import job_id
from bbm.tables import Item, has_ended, is_tracked
from bedrock_batch_monitor.adapters.dynamodb.attributes import (
    ESTIMATED_END_TIME,
    RECORDS_PER_MINUTE,
)
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.event_kinds import Severity
from bedrock_batch_monitor.domain.plain_text import clean, duration, plausible_count
from bedrock_batch_monitor.domain.progress import seconds_past
from bedrock_batch_monitor.domain.times import from_iso
from bedrock_batch_monitor.presentation.attributes import number_of
from bedrock_batch_monitor.presentation.badges import (
    AT_RISK,
    PAST_EXPIRATION,
    badges_of,
)
from bedrock_batch_monitor.presentation.job_view import job_of

# Narrower terminals show only the most important columns.
_WIDE: Final = 110
# Narrower terminals have shorter progress bars, and none in a list of jobs.
ROOM_FOR_BARS: Final = 100
_BAR_WIDTH: Final = 10
_NARROW_BAR_WIDTH: Final = 6
_SPENT_BAR_WIDTH: Final = 16
_ID_WIDTH: Final = 12
STATUS_STYLES: Final = {
    statuses.SUBMITTED: "cyan",
    statuses.VALIDATING: "cyan",
    statuses.SCHEDULED: "blue",
    statuses.IN_PROGRESS: "bold blue",
    statuses.STOPPING: "yellow",
    statuses.COMPLETED: "bold green",
    statuses.PARTIALLY_COMPLETED: "bold yellow",
    statuses.FAILED: "bold red",
    statuses.STOPPED: "bold magenta",
    statuses.EXPIRED: "bold red",
}
_BADGE_STYLES: Final = {
    Severity.NOTE: "dim",
    Severity.WARNING: "yellow",
    Severity.ALARM: "red",
}
# Longer texts are cut. Bedrock's own limits are 63 characters for a name, 2,048 for a message and
# an ARN; a DynamoDB key has at most 2,048 bytes.
NAME_CHARACTERS: Final = 256
_MESSAGE_CHARACTERS: Final = 2048
ARN_CHARACTERS: Final = 2048
_WORD_CHARACTERS: Final = 40
NO_STATUS: Final = "not polled yet"
_MINUTE: Final = 60
# From this rate on (records per minute) a rate per second is easier to read; below the other one, a
# rate per minute needs significant digits.
_FAST: Final = 10 * _MINUTE
_SLOW: Final = 10


def table(width: int | None) -> Table:
    """An empty table without lines. `width` is that of the terminal; None means a pipe."""
    padding = (0, 2 if is_wide(width) else 1, 0, 0)
    return Table(box=None, pad_edge=False, padding=padding, header_style="dim")


def is_wide(width: int | None) -> bool:
    """Whether there is room for all columns."""
    return width is None or width >= _WIDE


def add_name_column(to: Table) -> None:
    """The column that becomes narrower in a narrow terminal."""
    # Rich makes only columns narrower that can wrap. The cells are cut and do not wrap.
    to.add_column("JOB", min_width=8)


def add_id_column(to: Table, width: int | None) -> None:
    """The column of the id, which is cut if the key of an item is not an ARN."""
    longest = None if width is None else _ID_WIDTH
    to.add_column("ID", no_wrap=True, max_width=longest, overflow="ellipsis")


def status(name: object) -> Text:
    """A status in its color. A status that this version does not know has no color."""
    if name is None:
        return Text(NO_STATUS, style="dim")
    return Text(word(name), style=style(name))


def style(name: object) -> str:
    """The style of a status."""
    return STATUS_STYLES.get(name, "") if isinstance(name, str) else ""


def job_status(item: Item, now: datetime) -> Text:
    """The status of a job with its most urgent badge, or the error code of a job never read."""
    error = item.get("lastError")
    if "status" not in item and isinstance(error, Mapping):
        return Text(word(error.get("code", "unreadable")), style="red")
    text = status(item.get("status"))
    for badge in badges_of(job_of(item), now)[:1]:
        text.append(f" ({badge.text})", style=_BADGE_STYLES[badge.severity])
    return text


def moment(value: object) -> str:
    """A time of an item to the second, in UTC as the heading states."""
    parsed = time_of(value)
    return word(value) if parsed is None else f"{parsed:%Y-%m-%d %H:%M:%S}"


def time_of(value: object) -> datetime | None:
    """A time of an item; None for anything that is not a time."""
    try:
        return from_iso(value) if isinstance(value, str) else None
    except ValueError:
        return None


def name_of(item: Item) -> str:
    """The name of the job, or its id while the name is unknown."""
    return clean(item.get("jobName") or job_id(item["jobArn"]), NAME_CHARACTERS)


def name_cell(item: Item) -> Text:
    """The name of the job, cut to the width of its column."""
    return Text(name_of(item), no_wrap=True, overflow="ellipsis")


def id_cell(item: Item) -> Text:
    """The id of the job."""
    return Text(clean(job_id(item["jobArn"]), NAME_CHARACTERS))


def word(value: object) -> str:
    """A short value of any type, such as a status or a number."""
    return clean(value, _WORD_CHARACTERS)


def message(item: Item) -> str:
    """The message of an item or an error."""
    return clean(item.get("message", ""), _MESSAGE_CHARACTERS)


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
    """The number of records that failed."""
    errors = plausible_count(item.get("errorRecordCount"))
    if errors is None or item.get("totalRecordCount") == 0:
        return Text("")
    return Text(f"{errors:,}", style="red" if errors else "")


def in_status(item: Item, now: datetime) -> str:
    """The time since the last change of the status."""
    since = time_of(item.get("changedAt"))
    return "" if since is None else duration((now - since).total_seconds())


def spent_bar(seconds: float | None, longest: float, name: object) -> Text:
    """A bar for the time spent in a status, relative to the longest time."""
    if seconds is None or longest <= 0:
        return Text("")
    cells = max(1, round(_SPENT_BAR_WIDTH * seconds / longest))
    return Text("━" * cells, style=style(name), no_wrap=True, overflow="crop")


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
