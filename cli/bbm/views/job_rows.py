"""Tables with one row for each job: the list of `bbm jobs` and the live view of `bbm watch`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from bbm.tables import Item, has_ended
from bbm.views import cells, layout, measures
from bbm.views.layout import Column, Notes
from bedrock_batch_monitor.domain import statuses

# Narrower terminals show only the percentage.
_ROOM_FOR_WATCH_BARS: Final = 72
# Wider terminals have columns that keep their width from one read to the next.
_ROOM_TO_STAND_STILL: Final = 110
_TIME_WIDTH: Final = 8


def newest_first(jobs: Sequence[Item]) -> list[Item]:
    """Jobs that have not ended before jobs that have, each group by its last change."""
    by_change = sorted(jobs, key=lambda item: str(item.get("changedAt", "~")), reverse=True)
    return sorted(by_change, key=has_ended)


def jobs_table(jobs: Sequence[Item], now: datetime, width: int | None) -> RenderableType:
    """The jobs of the jobs table, with an explanation of those that need one.

    `width` is that of the terminal. None means a pipe, which has every column and no bars.
    """
    bars = width if width is not None and width >= measures.ROOM_FOR_BARS else None
    return layout.rows(
        [
            cells.name_column(jobs),
            cells.id_column(jobs, 5, width),
            Column("STATUS", [cells.job_status(item, now) for item in jobs]),
            _progress(jobs, bars, is_pipe=width is None),
            Column("RECORDS", [Text(measures.records(item)) for item in jobs], 6, right=True),
            Column("IN STATUS", [Text(measures.in_status(i, now)) for i in jobs], 3, right=True),
            Column("ETA", [measures.eta(item, now) for item in jobs], 2, right=True),
            Column("ERRORS", [measures.failed_records(item) for item in jobs], 4, right=True),
            Column("SEQ", [Text(cells.word(i.get("sequence", ""))) for i in jobs], 7, right=True),
            Column("DEADLINE", [measures.deadline(item, now) for item in jobs], 8, right=True),
        ],
        width,
        Notes("MESSAGE", [measures.explanation(item) for item in jobs]),
    )


def watched(
    jobs: Sequence[Item], now: datetime, width: int, rows: int, footer: str = ""
) -> RenderableType:
    """The live view in at most so many lines for the jobs, in the order of `bbm jobs`."""
    shown = newest_first(jobs)[: max(rows, 1)]
    while len(lines := _watched_lines(shown, now, width)) > max(rows, 1) + 1 and len(shown) > 1:
        shown = shown[:-1]
    hidden = len(jobs) - len(shown)
    if hidden:
        lines.append(Text(f"... and {hidden} more", style="dim"))
    if footer:
        lines.append(Text(footer, style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*lines)


def _watched_lines(jobs: Sequence[Item], now: datetime, width: int) -> list[Text]:
    """The heading, and the rows with the reason of each job that did not complete."""
    stands = width >= _ROOM_TO_STAND_STILL
    longest = len(statuses.PARTIALLY_COMPLETED) if stands else 0
    columns = [
        cells.name_column(jobs),
        cells.id_column(jobs, 5, width),
        Column("STATUS", [cells.job_status(item, now) for item in jobs], width=longest),
        _progress(jobs, width if width >= _ROOM_FOR_WATCH_BARS else None, is_pipe=False),
        Column("RECORDS", [Text(measures.records(item)) for item in jobs], 3, right=True),
        Column("PACE", [Text(measures.rate(item)) for item in jobs], 2, right=True),
        Column("ETA", [measures.eta(item, now) for item in jobs], 1, right=True, width=_TIME_WIDTH),
    ]
    if stands:
        in_status = [Text(measures.in_status(item, now)) for item in jobs]
        columns.append(Column("IN STATUS", in_status, 4, right=True, width=_TIME_WIDTH))
    return layout.lines(
        columns, width, Notes("REASON", [end_reason(item) for item in jobs], lines=1)
    )


def end_reason(item: Item) -> Text:
    """Why a job did not complete, or why it cannot be read."""
    if has_ended(item) and item.get("status") == statuses.COMPLETED:
        return Text("")
    if has_ended(item):
        return Text(cells.reason(item))
    return measures.explanation(item) if "lastError" in item else Text("")


def _progress(jobs: Sequence[Item], bars: int | None, *, is_pipe: bool) -> Column:
    """The percentage of processed records, with a bar if there is a width for it."""
    shown = [measures.progress(item, bars) for item in jobs]
    if bars is not None or is_pipe:
        return Column("PROGRESS", shown, 1)
    return Column("DONE", shown, 1, right=True)
