"""Tables of recorded transitions: `bbm history` and `bbm find`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from bbm.tables import Item, has_ended
from bbm.views import cells
from bedrock_batch_monitor.domain.plain_text import clean, duration

if TYPE_CHECKING:
    from rich.table import Table


def history_heading(entries: Sequence[Item]) -> Text:
    """The name, total duration, model and ARN of a job."""
    last = entries[-1]
    heading = Text.assemble((cells.name_of(last), "bold"))
    first = cells.time_of(entries[0].get("changedAt"))
    end = cells.time_of(last.get("changedAt"))
    if has_ended(last) and first is not None and end is not None and end > first:
        heading.append(f"  {duration((end - first).total_seconds())} in total")
    # One line each, so that they can be copied: an ARN can be as long as the terminal is wide.
    if last.get("modelId"):
        heading.append(f"\n{clean(last['modelId'], cells.ARN_CHARACTERS)}")
    heading.append(f"\n{clean(last['jobArn'], cells.ARN_CHARACTERS)}\n", style="dim")
    return heading


def history(entries: Sequence[Item], now: datetime, width: int | None) -> RenderableType:
    """The recorded transitions of a job, with the time spent in each status.

    A status lasts from its own `changedAt` to that of the next transition. The last status of a job
    that has not ended lasts until now.
    """
    spent = _seconds_spent(entries, now)
    longest = max((seconds for seconds in spent if seconds is not None), default=0)
    table = _history_columns(width)
    for position, (entry, seconds) in enumerate(zip(entries, spent, strict=True)):
        suffix = " so far" if position == len(entries) - 1 else ""
        row: list[RenderableType] = [
            Text(cells.word(entry["sequence"])),
            Text(cells.moment(entry.get("changedAt", ""))),
            cells.status(entry.get("status")),
            Text("" if seconds is None else f"{duration(seconds)}{suffix}"),
        ]
        if width is not None:
            row.append(cells.spent_bar(seconds, longest, entry.get("status")))
        row.append(Text(cells.records(entry)))
        if cells.is_wide(width):
            row += [
                Text(cells.moment(entry.get("observedAt", ""))),
                Text(cells.word(entry.get("observedBy", ""))),
            ]
        table.add_row(*row)
    messages = [
        Text.assemble((f"{cells.word(entry['sequence'])}: ", "bold"), cells.message(entry))
        for entry in entries
        if entry.get("message")
    ]
    return Group(table, *([Text("")] if messages else []), *messages)


def _history_columns(width: int | None) -> Table:
    table = cells.table(width)
    table.add_column("SEQ", justify="right", no_wrap=True)
    table.add_column("CHANGED (UTC)", no_wrap=True)
    table.add_column("STATUS", no_wrap=True)
    table.add_column("SPENT", justify="right", no_wrap=True)
    if width is not None:
        # The column of the bars, which becomes narrower in a narrow terminal.
        table.add_column("")
    table.add_column("RECORDS", justify="right", no_wrap=True)
    if cells.is_wide(width):
        table.add_column("SEEN (UTC)", no_wrap=True)
        table.add_column("BY", no_wrap=True)
    return table


def found(transitions: Sequence[Item], width: int | None) -> RenderableType:
    """Transitions to one status, one row each, with their messages."""
    table = cells.table(width)
    table.add_column("SEEN (UTC)", no_wrap=True)
    cells.add_name_column(table)
    cells.add_id_column(table, width)
    if cells.is_wide(width):
        table.add_column("BEFORE", no_wrap=True)
        table.add_column("RECORDS", justify="right", no_wrap=True)
    table.add_column("MESSAGE", no_wrap=width is None, overflow="fold")
    for item in transitions:
        row: list[RenderableType] = [
            Text(cells.moment(item.get("observedAt", ""))),
            cells.name_cell(item),
            cells.id_cell(item),
        ]
        if cells.is_wide(width):
            row += [cells.status(item.get("previousStatus") or ""), Text(cells.records(item))]
        row.append(Text(cells.message(item)))
        table.add_row(*row)
    return table


def _seconds_spent(entries: Sequence[Item], now: datetime) -> list[float | None]:
    times = [cells.time_of(entry.get("changedAt")) for entry in entries]
    ends = [*times[1:], None if entries and has_ended(entries[-1]) else now]
    return [
        (end - start).total_seconds() if start is not None and end is not None else None
        for start, end in zip(times, ends, strict=True)
    ]
