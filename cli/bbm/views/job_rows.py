"""Tables with one row for each job: the list of `bbm jobs` and the live view of `bbm watch`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from bbm.tables import Item, has_ended
from bbm.views import cells
from bedrock_batch_monitor.domain import statuses

if TYPE_CHECKING:
    from rich.table import Table


def jobs_table(jobs: Sequence[Item], now: datetime, width: int | None) -> RenderableType:
    """The jobs of the jobs table, with an explanation of those that need one.

    `width` is that of the terminal, which has the explanations below the table. None means a pipe,
    which has every column and no bars.
    """
    table = _jobs_heading(width)
    for item in jobs:
        table.add_row(*_job_cells(item, now, width))
    if width is None:
        return table
    explained = [
        Text.assemble((f"{cells.name_of(item)}: ", "bold"), explanation)
        for item in jobs
        if (explanation := cells.explanation(item)).plain
    ]
    return Group(table, *([Text("")] if explained else []), *explained)


def _jobs_heading(width: int | None) -> Table:
    table = cells.table(width)
    cells.add_name_column(table)
    cells.add_id_column(table, width)
    table.add_column("STATUS", no_wrap=True)
    table.add_column("PROGRESS", no_wrap=True)
    if cells.is_wide(width):
        table.add_column("RECORDS", justify="right", no_wrap=True)
    table.add_column("IN STATUS", justify="right", no_wrap=True)
    table.add_column("ETA", justify="right", no_wrap=True)
    table.add_column("ERRORS", justify="right", no_wrap=True)
    if cells.is_wide(width):
        table.add_column("SEQ", justify="right", no_wrap=True)
    if width is None:
        table.add_column("MESSAGE", no_wrap=True)
    return table


def _job_cells(item: Item, now: datetime, width: int | None) -> list[RenderableType]:
    """The cells of one job, in the order of `_jobs_heading`."""
    has_bar = width is not None and width >= cells.ROOM_FOR_BARS
    row: list[RenderableType] = [
        cells.name_cell(item),
        cells.id_cell(item),
        cells.job_status(item, now),
        cells.progress(item, width if has_bar else None),
    ]
    if cells.is_wide(width):
        row.append(Text(cells.records(item)))
    row += [Text(cells.in_status(item, now)), cells.eta(item, now), cells.failed_records(item)]
    if cells.is_wide(width):
        row.append(Text(cells.word(item.get("sequence", ""))))
    if width is None:
        row.append(cells.explanation(item))
    return row


def watched(jobs: Sequence[Item], now: datetime, width: int, rows: int) -> RenderableType:
    """The live view: at most `rows` jobs, running jobs first and ended jobs last."""
    table = cells.table(width)
    cells.add_name_column(table)
    # A wide terminal has room for columns that keep their width from one read to the next.
    longest_status = len(statuses.PARTIALLY_COMPLETED) if cells.is_wide(width) else None
    table.add_column("STATUS", no_wrap=True, min_width=longest_status)
    table.add_column("PROGRESS", no_wrap=True)
    table.add_column("RECORDS", justify="right", no_wrap=True)
    table.add_column("PACE", justify="right", no_wrap=True)
    table.add_column("ETA", justify="right", no_wrap=True, min_width=8)
    if cells.is_wide(width):
        table.add_column("IN STATUS", justify="right", no_wrap=True, min_width=8)
    shown = sorted(jobs, key=_watch_order)[: max(rows, 1)]
    for item in shown:
        row: list[RenderableType] = [
            cells.name_cell(item),
            cells.job_status(item, now),
            cells.progress(item, width),
            Text(cells.records(item)),
            Text(cells.rate(item)),
            cells.eta(item, now),
        ]
        if cells.is_wide(width):
            row.append(Text(cells.in_status(item, now)))
        table.add_row(*row)
    hidden = len(jobs) - len(shown)
    return Group(table, *([Text(f"... and {hidden} more", style="dim")] if hidden else []))


def _watch_order(item: Item) -> tuple[bool, bool, str]:
    return (has_ended(item), item.get("status") != statuses.IN_PROGRESS, item["jobArn"])
