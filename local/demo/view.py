"""What the demo shows while the jobs run: pure renderings of the tables and the subscriber's queue.

The jobs are shown as `bbm watch` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from bbm.views import cells, job_rows

_EVENTS_SHOWN: Final = 8
# The border of a panel and the space inside it.
_FRAME: Final = 4
_NAME_WIDTH: Final = 22
_STATUS_WIDTH: Final = 19

Item = Mapping[str, Any]


def screen(
    jobs: Sequence[Item], events: Sequence[Item], now: datetime, note: str, width: int
) -> RenderableType:
    """The live view: jobs above, events below, and what happens at the moment."""
    room = width - _FRAME
    return Group(
        Panel(
            job_rows.watched(jobs, now, room, rows=len(jobs) * 2),
            title="Jobs table",
            title_align="left",
            border_style="dim",
        ),
        Panel(
            events_lines(events, room),
            title="Events at the subscriber",
            title_align="left",
            border_style="dim",
        ),
        Text(note, style="dim italic"),
    )


def events_lines(events: Sequence[Item], width: int) -> RenderableType:
    """The events that reached the subscriber, the newest last, one line each."""
    if not events:
        return Text("none yet: the first job that ends sends the first event", style="dim")
    lines = []
    for event in events[-_EVENTS_SHOWN:]:
        data = event["detail"]["data"]
        status = cells.status(data["status"])
        line = Text(event["detail"]["metadata"]["observedAt"][11:19], style="dim", no_wrap=True)
        line.append(f"  {cells.name_of(data):<{_NAME_WIDTH}}", style="default")
        line.append_text(status).append(" " * max(1, _STATUS_WIDTH - status.cell_len))
        line.append(_first_line(data))
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    return Group(*lines)


def transition_line(item: Item) -> str:
    """One transition in one line, for a terminal that cannot redraw."""
    before = item.get("previousStatus")
    return (
        f"{item['observedAt'][11:19]}  {cells.name_of(item):<{_NAME_WIDTH}} "
        f"{f'{before} -> ' if before else ''}{item['status']}"
    )


def event_line(event: Item) -> str:
    """One event in one line, for a terminal that cannot redraw."""
    data = event["detail"]["data"]
    return f"          event for the subscriber: {data['jobName']} {data['status']}"


def _first_line(data: Item) -> str:
    if reason := cells.reason(data):
        return reason
    records = data.get("records", {})
    if "success" not in records:
        return ""
    return f"{records['success']:,} records, {records.get('error', 0):,} failed"
