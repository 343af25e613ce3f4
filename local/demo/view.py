"""What the demo shows: pure renderings of the tables and the subscriber's queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bedrock_batch_monitor.domain.times import from_iso

_STYLES: Final = {
    "Submitted": "cyan",
    "Validating": "cyan",
    "Scheduled": "blue",
    "InProgress": "bold blue",
    "Stopping": "yellow",
    "Completed": "bold green",
    "PartiallyCompleted": "bold yellow",
    "Failed": "bold red",
    "Stopped": "bold magenta",
    "Expired": "bold red",
}
_BAR_WIDTH: Final = 18
_EVENTS_SHOWN: Final = 8

Item = Mapping[str, Any]


def status(name: str | None) -> Text:
    """A status in its color; an unknown one in white."""
    return Text(name or "not seen yet", style=_STYLES.get(name or "", "white"))


def jobs_table(jobs: Sequence[Item], now: datetime) -> Table:
    """The tracked jobs as they are in the jobs table."""
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    for heading, options in (
        ("Job", {"no_wrap": True}),
        ("Status", {"no_wrap": True, "min_width": 18}),
        ("Records", {"no_wrap": True}),
        ("", {"justify": "right", "no_wrap": True}),
        ("For", {"justify": "right", "no_wrap": True}),
        ("Transitions", {"justify": "right"}),
    ):
        table.add_column(heading, **options)
    for job in jobs:
        error = job.get("lastError")
        if error is not None and "status" not in job:
            table.add_row(
                _short(job["jobArn"]), Text(str(error["code"]), style="red"), "", "", "", ""
            )
            continue
        table.add_row(
            escape(str(job.get("jobName") or _short(job["jobArn"]))),
            status(job.get("status")),
            _bar(job),
            _counts(job),
            _since(job, now),
            str(job.get("sequence", "")),
        )
    return table


def events_table(events: Sequence[Item]) -> RenderableType:
    """The events that reached the subscriber, the newest last."""
    if not events:
        return Text("none yet: the first job that ends sends the first event", style="dim")
    table = Table.grid(padding=(0, 2))
    for event in events[-_EVENTS_SHOWN:]:
        data = event["detail"]["data"]
        table.add_row(
            Text(event["detail"]["metadata"]["observedAt"][11:19], style="dim"),
            escape(data["jobName"]),
            status(data["status"]),
            Text(_first_line(data), style="dim", overflow="ellipsis", no_wrap=True),
        )
    return table


def screen(
    jobs: Sequence[Item], events: Sequence[Item], now: datetime, note: str
) -> RenderableType:
    """The live view: jobs above, events below, and what is going on in one line."""
    return Group(
        Panel(jobs_table(jobs, now), title="Jobs table", title_align="left", border_style="dim"),
        Panel(
            events_table(events),
            title="Events at the subscriber",
            title_align="left",
            border_style="dim",
        ),
        Text(note, style="dim italic"),
    )


def history_table(name: str, history: Sequence[Item]) -> Table:
    """The whole history of one job, as a query of the history table returns it."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"History table: every observed transition of {name}",
        title_justify="left",
    )
    for heading in ("sequence", "status", "changedAt", "observedAt", "secondsInPreviousStatus"):
        table.add_column(heading, justify="right" if heading.startswith("s") else "left")
    table.columns[1].justify = "left"
    for item in history:
        table.add_row(
            str(item["sequence"]),
            status(item["status"]),
            item.get("changedAt", "")[11:],
            item["observedAt"][11:],
            str(item.get("secondsInPreviousStatus", "")),
        )
    return table


def usage_table(events: Sequence[Item]) -> Table:
    """What the jobs used, as the events of their ends say."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Tokens in the events of the jobs that completed, at made-up prices",
        title_justify="left",
    )
    table.add_column("Job")
    for heading in ("input", "output", "estimatedCostUsd"):
        table.add_column(heading, justify="right")
    data = {event["resources"][0]: event["detail"]["data"] for event in events}
    for job in data.values():
        if tokens := job.get("tokens"):
            counts = (f"{tokens[side]:,}" if side in tokens else "" for side in ("input", "output"))
            table.add_row(escape(job["jobName"]), *counts, str(job.get("estimatedCostUsd", "")))
    return table


def transition_line(item: Item) -> str:
    """One transition in one line, for a terminal that cannot redraw."""
    before = item.get("previousStatus")
    return (
        f"{item['observedAt'][11:19]}  {item.get('jobName', _short(item['jobArn'])):<22} "
        f"{f'{before} -> ' if before else ''}{item['status']}"
    )


def event_line(event: Item) -> str:
    """One event in one line, for a terminal that cannot redraw."""
    data = event["detail"]["data"]
    return f"          event: {event['detail-type']}: {data['jobName']} {data['status']}"


def _bar(job: Item) -> RenderableType:
    total, processed = job.get("totalRecordCount"), job.get("processedRecordCount")
    if not total or processed is None:
        return Text("")
    return ProgressBar(total=total, completed=processed, width=_BAR_WIDTH)


def _counts(job: Item) -> str:
    total, processed = job.get("totalRecordCount"), job.get("processedRecordCount")
    return "" if total is None or processed is None else f"{processed:,} / {total:,}"


def _since(job: Item, now: datetime) -> str:
    if "changedAt" not in job or "tracking" not in job:
        return ""
    return f"{max(0, int((now - from_iso(job['changedAt'])).total_seconds()))} s"


def _first_line(data: Item) -> str:
    message: str | None = data.get("message")
    if message:
        return message.splitlines()[0]
    records = data.get("records", {})
    if "success" not in records:
        return ""
    return f"{records['success']:,} records, {records.get('error', 0):,} errors"


def _short(arn: str) -> str:
    return escape(arn.rsplit(":", 1)[-1])
