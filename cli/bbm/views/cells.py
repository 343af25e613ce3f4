"""Cells and texts of tables: one value of an item each.

Anyone who can write to the tables can write any item, so nothing here relies on the type, the size
or the characters of an attribute. Every text passes `clean` with a maximum length and becomes a
`Text`, which is not markup. Numbers and rates are in `measures`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rich.text import Text

from bbm.references import job_id
from bbm.tables import Item
from bbm.views.layout import Column
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.event_kinds import Severity
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.times import from_iso
from bedrock_batch_monitor.presentation.badges import badges_of
from bedrock_batch_monitor.presentation.job_view import job_of

# Narrower terminals have times to the minute without the year, and rounded numbers of tokens.
ROOM_FOR_DETAIL: Final = 100
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
_NAME_WIDTH: Final = 16
_ID_WIDTH: Final = 12
NO_STATUS: Final = "not polled yet"


def name_column(jobs: Sequence[Item]) -> Column:
    """The names of the jobs, which are cut in a narrow terminal."""
    return Column("JOB", [Text(name_of(item)) for item in jobs], least=_NAME_WIDTH)


def id_column(jobs: Sequence[Item], rank: int, width: int | None) -> Column:
    """The ids of the jobs. If two jobs have the same name, the column is always shown.

    In a terminal, an id is cut if it is longer than that of a job, in an item whose key is not an
    ARN.
    """
    shown = list(map(id_cell, jobs))
    for text in shown if width is not None else ():
        text.truncate(_ID_WIDTH, overflow="ellipsis")
    return Column("ID", shown, 0 if names_of_several(jobs) else rank)


def names_of_several(jobs: Sequence[Item]) -> frozenset[str]:
    """The names that more than one of the jobs have."""
    counted = Counter(map(name_of, jobs))
    return frozenset(name for name, count in counted.items() if count > 1)


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
        # `Completed (with errors)`: the badge begins with the status, which is there already.
        words = badge.text.removeprefix(f"{text.plain.lower()} ")
        text.append(f" ({words})", style=_BADGE_STYLES[badge.severity])
    return text


def moment(value: object) -> str:
    """A time of an item to the second, in UTC as the heading states."""
    parsed = time_of(value)
    return word(value) if parsed is None else f"{parsed:%Y-%m-%d %H:%M:%S}"


def short_moment(value: object, width: int | None) -> Text:
    """A time of an item, to the minute and without the year in a narrow terminal."""
    parsed = time_of(value)
    if parsed is None or width is None or width >= ROOM_FOR_DETAIL:
        return Text(moment(value))
    return Text(f"{parsed:%m-%d %H:%M}")


def time_of(value: object) -> datetime | None:
    """A time of an item; None for anything that is not a time."""
    try:
        return from_iso(value) if isinstance(value, str) else None
    except ValueError:
        return None


def name_of(item: Item) -> str:
    """The name of the job, or its id while the name is unknown."""
    return clean(item.get("jobName") or job_id(item["jobArn"]), NAME_CHARACTERS)


def id_cell(item: Item) -> Text:
    """The id of the job."""
    return Text(clean(job_id(item["jobArn"]), NAME_CHARACTERS))


def word(value: object) -> str:
    """A short value of any type, such as a status or a number."""
    return clean(value, _WORD_CHARACTERS)


def message(item: Item) -> str:
    """The message of an item or an error."""
    return clean(item.get("message", ""), _MESSAGE_CHARACTERS)


def reason(item: Item) -> str:
    """The first line of the message of an item that has text."""
    lines = str(item.get("message", "")).strip().splitlines()
    return clean(lines[0].strip(), _MESSAGE_CHARACTERS) if lines else ""
