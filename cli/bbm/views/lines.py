"""Results in one line or a few: of `track`, `untrack`, `watch`, `replay`, `poll` and `report`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bbm.report.contents import Report
from bbm.slots import ScopeSlots
from bbm.tables import Change, Changed, Item, is_tracked
from bbm.views import cells, job_rows, layout, measures
from bbm.views.layout import Column
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.forecast import Forecast
from bedrock_batch_monitor.domain.plain_text import clean, duration, percent
from bedrock_batch_monitor.presentation.attributes import number_of

# The times of an item that polls write.
_WRITTEN_AT: Final = ("observedAt", "progressAt", "lastErrorAt")
_ALWAYS_SHOWN: Final = ("jobsActive", "jobsRead", "jobsChanged", "jobsEnded", "eventsSent")
_NOT_FIGURES: Final = frozenset({"errors", "complete", "seconds"})
_SUCCESSES: Final = frozenset({Change.ADDED, Change.RESUMED, Change.UNTRACKED, Change.EXCLUDED})


def changed(result: Changed, width: int | None) -> tuple[Text, ...]:
    """What `track` or `untrack` did to a job: in one line, or in two if they do not fit."""
    last = None if result.status is None else cells.word(result.status)
    known = f" (last status: {last})" if last is not None else ""
    texts = {
        Change.ADDED: ("tracked", "the monitor reads it in its next poll"),
        Change.RESUMED: ("tracked again", f"its item existed without tracking{known}"),
        Change.ALREADY_TRACKED: ("already tracked", f"nothing changed{known}"),
        Change.ENDED: ("not tracked", f"it has ended as {last or 'unknown'}"),
        Change.UNTRACKED: ("untracked", f"its item and its history stay{known}"),
        Change.NOT_TRACKED: ("not tracked", f"nothing changed{known}"),
        Change.EXCLUDED: (
            "untracked",
            "it had no item; its new item keeps discovery from tracking it later",
        ),
        Change.UNKNOWN: ("unknown", "the jobs table has no such item"),
    }
    word, rest = texts[result.change]
    unknown = result.change is Change.UNKNOWN
    style = "green" if result.change in _SUCCESSES else "red" if unknown else "yellow"
    arn = clean(result.job_arn, cells.ARN_CHARACTERS)
    line = Text.assemble(arn, "  ", (word, style), f": {rest}", no_wrap=True)
    if width is None or line.cell_len <= width:
        return (line,)
    return Text(arn, no_wrap=True), Text.assemble("  ", (word, style), f": {rest}")


def forecast(expected: Forecast, now: datetime, by: datetime | None) -> RenderableType:
    """What to expect of a job, and the chance to be done in time."""
    rows = [
        ("In the queue", expected.queue),
        ("Running", expected.run),
        ("In all", expected.total),
    ]
    columns = [
        Column("", [*(Text(name) for name, _ in rows), Text("Done (UTC)")]),
        *(
            Column(
                heading,
                [
                    *(Text(duration(getattr(times, name))) for _, times in rows),
                    Text(f"{now + timedelta(seconds=getattr(expected.total, name)):%m-%d %H:%M}"),
                ],
                right=True,
            )
            for heading, name in (("HALF WITHIN", "p50"), ("9 OF 10 WITHIN", "p90"))
        ),
    ]
    basis = f"From {expected.jobs:,} completed jobs of this model."
    if by is not None and expected.chance is not None:
        basis += f" Chance to be done by {by:%Y-%m-%d %H:%M} UTC: {percent(expected.chance)}."
    return Group(layout.rows(columns, None), Text(""), Text(basis))


def slots(found: Sequence[ScopeSlots]) -> tuple[Text, ...]:
    """The slots of each model in a line of its own; with the account and Region if there are more.

    A blank line comes first.
    """
    if not found:
        return ()
    return (
        Text(""),
        *(
            Text(f"{each.scope}  {model}" if len(found) > 1 else str(model))
            for each in found
            for model in each.models
        ),
    )


def watch_line(item: Item, now: datetime, *, with_id: bool) -> Text:
    """One change of a watched job, for output that cannot redraw."""
    percent, records = measures.percent(item), measures.records(item)
    job_id = f" ({cells.id_cell(item).plain})" if with_id else ""
    parts = [
        f"{now:%H:%M:%S}",
        f"{cells.name_of(item)}{job_id}",
        cells.job_status(item, now).plain,
        *([percent] if percent else []),
        *([f"{records} records"] if records else []),
    ]
    if rate := measures.rate(item):
        parts.append(f"{rate}, {measures.time_left(item, now)} left")
    if reason := job_rows.end_reason(item).plain:
        parts.append(reason)
    return Text("  ".join(parts))


def counted(jobs: Sequence[Item]) -> Text:
    """The number of jobs by status. An untracked job is counted as such: it will not change."""
    numbers = Counter(map(_status_and_tracking, jobs))
    result = Text()
    for (name, suffix), count in sorted(numbers.items()):
        result.append(", " if result.plain else "").append(f"{count} ")
        result.append(name, style=cells.STATUS_STYLES.get(name, "dim")).append(suffix)
    return result


def _status_and_tracking(item: Item) -> tuple[str, str]:
    name = item.get("status") or cells.NO_STATUS
    is_untracked = name not in statuses.TERMINAL and not is_tracked(item)
    return cells.word(name), " (untracked)" if is_untracked else ""


def watch_footer(jobs: Sequence[Item], read_at: datetime, last_poll: datetime | None = None) -> str:
    """When the tables were read, and when the last poll finished.

    Without the time of the last poll, the last time at which a poll wrote to one of these jobs.
    """
    if last_poll is not None:
        return f"Read {read_at:%H:%M:%S} UTC, last poll {last_poll:%H:%M:%S}"
    written = [
        moment
        for item in jobs
        for name in _WRITTEN_AT
        if (moment := cells.time_of(item.get(name))) is not None
    ]
    polled = f", last change from a poll {max(written):%H:%M:%S}" if written else ""
    return f"Read {read_at:%H:%M:%S} UTC{polled}"


def replayed(detail_type: str, item: Item, status: str, event_id: str) -> Text:
    """The event that `replay` sent."""
    return Text.assemble(
        ("Sent", "green"),
        f" {detail_type} for {cells.name_of(item)} (",
        cells.status(status),
        f"), with the same eventId {event_id}",
    )


def report_written(output: str, report: Report) -> Text:
    """The file of the report, and the number of its jobs by status."""
    text = Text.assemble(
        (clean(output), "bold"),
        f": {len(report.jobs):,} jobs since {report.since:%Y-%m-%d %H:%M} UTC",
    )
    for name in statuses.KNOWN:
        if number := report.tally.by_status[name]:
            text.append(f", {number:,} ").append(name, style=cells.STATUS_STYLES[name])
    return text


def poll_summary(summary: Mapping[str, Any]) -> RenderableType:
    """The summary of one poll as the function returned it, without most figures that are 0."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for name, value in summary.items():
        if name in _NOT_FIGURES or not isinstance(value, str | int | float):
            continue
        if value or name in _ALWAYS_SHOWN:
            shown = value if isinstance(value, str) else f"{value:,}"
            table.add_row(Text(_spaced(name)), Text(cells.word(shown)))
    errors = summary.get("errors")
    for code, count in errors.items() if isinstance(errors, dict) else ():
        table.add_row(
            Text(clean(code, cells.NAME_CHARACTERS), style="red"),
            Text(cells.word(count), style="red"),
        )
    return Group(table, _poll_end(summary))


def _poll_end(summary: Mapping[str, Any]) -> Text:
    if summary.get("complete", True):
        end = Text("Poll finished", style="green")
    else:
        end = Text(
            "Poll ran out of time; the next poll starts with the jobs that were not read",
            style="yellow",
        )
    if (seconds := number_of(summary, "seconds")) is not None:
        end.append(f" in {seconds:.1f} s")
    return end


def _spaced(name: str) -> str:
    """`jobsActive` as `jobs active`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in cells.word(name))
