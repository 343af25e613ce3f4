"""What people see: pure renderings of what the tables hold.

Anybody with access to the tables can write an item, so nothing here relies on the type, the size
or the characters of an attribute. Every text goes through `clean` with a bound into a `Text`, which
is no markup; every number that is drawn or written is checked for plausibility first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bbm.cost import Line, Workload, alternatives, total
from bbm.references import job_id
from bbm.report.contents import Report
from bbm.tables import Change, Changed, Item, has_ended, is_tracked
from bbm.usage import ModelDay, Totals
from bedrock_batch_monitor.adapters.dynamodb.attributes import (
    ESTIMATED_END_TIME,
    RECORDS_PER_MINUTE,
)
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.plain_text import IMPLAUSIBLE, clean, duration, plausible_count
from bedrock_batch_monitor.domain.progress import seconds_past
from bedrock_batch_monitor.domain.times import from_iso

# Terminals narrower than this get the columns without which a line would say nothing.
_WIDE: Final = 110
# Narrower than this, and a list of jobs has no room for bars.
_ROOM_FOR_BARS: Final = 100
_BAR_WIDTH: Final = 10
_NARROW_BAR_WIDTH: Final = 6
_SPENT_BAR_WIDTH: Final = 16
_ID_WIDTH: Final = 12
_STYLES: Final = {
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
# What is shown of a text at most. Bedrock's own limits are 63 characters for a name, 2,048 for a
# message and an ARN; a key of DynamoDB takes 2,048 bytes.
_NAME_CHARACTERS: Final = 256
_MESSAGE_CHARACTERS: Final = 2048
_ARN_CHARACTERS: Final = 2048
_WORD_CHARACTERS: Final = 40
_NOT_SEEN: Final = "not polled yet"
# The monitor's own notes of an episode; gone from the item when it is over.
_UNREACHABLE_SINCE: Final = "unreachableSince"
_STALLED_SINCE: Final = "stalledSince"
_MINUTE: Final = 60
# Records per minute from which on those per second tell more, and below which digits do.
_FAST: Final = 10 * _MINUTE
_SLOW: Final = 10
_BILL_COLUMNS: Final[Sequence[tuple[str, Literal["left", "right"]]]] = (
    ("What", "left"),
    ("Quantity", "right"),
    ("Price", "left"),
    ("Dollars", "right"),
)


def status(name: object) -> Text:
    """A status in its colour; one that is not among the ten in no colour."""
    if name is None:
        return Text(_NOT_SEEN, style="dim")
    return Text(_word(name), style=_style(name))


def moment(value: object) -> str:
    """A time of the tables for people: to the second, in UTC as the heading says."""
    parsed = time_of(value)
    return _word(value) if parsed is None else f"{parsed:%Y-%m-%d %H:%M:%S}"


def time_of(value: object) -> datetime | None:
    """A time of the tables, None where an item has none or something else in its place."""
    try:
        return from_iso(value) if isinstance(value, str) else None
    except ValueError:
        return None


def name_of(item: Item) -> str:
    """What a person calls the job: its name, or its id as long as the name is not known."""
    return clean(item.get("jobName") or job_id(item["jobArn"]), _NAME_CHARACTERS)


def jobs_table(jobs: Sequence[Item], now: datetime, width: int | None) -> RenderableType:
    """The jobs as the jobs table has them, one line each, and below it why one failed.

    Why it cannot be read (`lastError`), Bedrock's message of one that has ended, or by how much one
    is expected to be late.
    `width` is the terminal's; None, for a pipe, gives every column and no bars.
    """
    table = _table(width)
    _add_name_column(table)
    _add_id_column(table, width)
    table.add_column("STATUS", no_wrap=True)
    table.add_column("PROGRESS", no_wrap=True)
    if _is_wide(width):
        table.add_column("RECORDS", justify="right", no_wrap=True)
    table.add_column("IN STATUS", justify="right", no_wrap=True)
    table.add_column("ETA", justify="right", no_wrap=True)
    table.add_column("ERRORS", justify="right", no_wrap=True)
    if _is_wide(width):
        table.add_column("SEQ", justify="right", no_wrap=True)
    if width is None:
        table.add_column("MESSAGE", no_wrap=True)
    for item in jobs:
        cells: list[RenderableType] = [
            _name_cell(item),
            _id_cell(item),
            _job_status(item),
            _progress(item, width if width is None or width >= _ROOM_FOR_BARS else None),
        ]
        if _is_wide(width):
            cells.append(_records(item))
        cells += [Text(_in_status(item, now)), _eta(item, now), _errors(item)]
        if _is_wide(width):
            cells.append(Text(_word(item.get("sequence", ""))))
        if width is None:
            cells.append(_why(item))
        table.add_row(*cells)
    if width is None:
        return table
    problems = [
        Text.assemble((f"{name_of(item)}: ", "bold"), words)
        for item in jobs
        if (words := _why(item)).plain
    ]
    return Group(table, *([Text("")] if problems else []), *problems)


def history(entries: Sequence[Item], now: datetime, width: int | None) -> RenderableType:
    """A job's recorded transitions as a timeline, with the time spent in each status.

    A status lasts from its own `changedAt` to that of the next; the last one of a job that has not
    ended lasts until now.
    """
    spent = _seconds_spent(entries, now)
    longest = max((seconds for seconds in spent if seconds is not None), default=0)
    table = _table(width)
    table.add_column("SEQ", justify="right", no_wrap=True)
    table.add_column("CHANGED (UTC)", no_wrap=True)
    table.add_column("STATUS", no_wrap=True)
    table.add_column("SPENT", justify="right", no_wrap=True)
    if width is not None:
        # What gives way in a narrow terminal, as the name does elsewhere.
        table.add_column("")
    table.add_column("RECORDS", justify="right", no_wrap=True)
    if _is_wide(width):
        table.add_column("SEEN (UTC)", no_wrap=True)
        table.add_column("BY", no_wrap=True)
    for position, (entry, seconds) in enumerate(zip(entries, spent, strict=True)):
        goes_on = position == len(entries) - 1 and seconds is not None
        cells: list[RenderableType] = [
            Text(_word(entry["sequence"])),
            Text(moment(entry.get("changedAt", ""))),
            status(entry.get("status")),
            Text("" if seconds is None else f"{duration(seconds)}{' so far' if goes_on else ''}"),
        ]
        if width is not None:
            cells.append(_spent_bar(seconds, longest, entry.get("status")))
        cells.append(_records(entry))
        if _is_wide(width):
            cells += [
                Text(moment(entry.get("observedAt", ""))),
                Text(_word(entry.get("observedBy", ""))),
            ]
        table.add_row(*cells)
    messages = [
        Text.assemble((f"{_word(entry['sequence'])}: ", "bold"), _message(entry))
        for entry in entries
        if entry.get("message")
    ]
    return Group(table, *([Text("")] if messages else []), *messages)


def history_heading(entries: Sequence[Item]) -> Text:
    """Which job it is, and how long it took all in all."""
    last = entries[-1]
    heading = Text.assemble((name_of(last), "bold"))
    first, end = time_of(entries[0].get("changedAt")), time_of(last.get("changedAt"))
    if has_ended(last) and first is not None and end is not None and end > first:
        heading.append(f"  {duration((end - first).total_seconds())} in all")
    # Both to be copied whole: each has a line, since an ARN can be as long as a terminal is wide.
    if last.get("modelId"):
        heading.append(f"\n{clean(last['modelId'], _ARN_CHARACTERS)}")
    heading.append(f"\n{clean(last['jobArn'], _ARN_CHARACTERS)}\n", style="dim")
    return heading


def found(transitions: Sequence[Item], width: int | None) -> RenderableType:
    """Transitions into one status, one line each; a failure's message is what people look for."""
    table = _table(width)
    table.add_column("SEEN (UTC)", no_wrap=True)
    _add_name_column(table)
    _add_id_column(table, width)
    if _is_wide(width):
        table.add_column("BEFORE", no_wrap=True)
        table.add_column("RECORDS", justify="right", no_wrap=True)
    table.add_column("MESSAGE", no_wrap=width is None, overflow="fold")
    for item in transitions:
        cells: list[RenderableType] = [
            Text(moment(item.get("observedAt", ""))),
            _name_cell(item),
            _id_cell(item),
        ]
        if _is_wide(width):
            cells += [status(item.get("previousStatus") or ""), _records(item)]
        cells.append(Text(_message(item)))
        table.add_row(*cells)
    return table


def watched(jobs: Sequence[Item], now: datetime, width: int, rows: int) -> RenderableType:
    """The live view: a line per job, as many as fit into `rows`, the ones that run first."""
    table = _table(width)
    _add_name_column(table)
    # Where there is room for it, columns keep their width from one look to the next.
    longest_status = len(statuses.PARTIALLY_COMPLETED) if _is_wide(width) else None
    table.add_column("STATUS", no_wrap=True, min_width=longest_status)
    table.add_column("PROGRESS", no_wrap=True)
    table.add_column("RECORDS", justify="right", no_wrap=True)
    table.add_column("PACE", justify="right", no_wrap=True)
    table.add_column("ETA", justify="right", no_wrap=True, min_width=8)
    if _is_wide(width):
        table.add_column("IN STATUS", justify="right", no_wrap=True, min_width=8)
    shown = sorted(jobs, key=_liveliness)[: max(rows, 1)]
    for item in shown:
        cells: list[RenderableType] = [
            _name_cell(item),
            _job_status(item),
            _progress(item, width),
            _records(item),
            Text(_pace(item)),
            _eta(item, now),
        ]
        if _is_wide(width):
            cells.append(Text(_in_status(item, now)))
        table.add_row(*cells)
    hidden = len(jobs) - len(shown)
    return Group(table, *([Text(f"... and {hidden} more", style="dim")] if hidden else []))


def watch_line(item: Item, now: datetime) -> Text:
    """One change of a watched job in one line, for output that cannot redraw."""
    percent = _percent(item)
    parts = [
        f"{now:%H:%M:%S}",
        name_of(item),
        _word(item.get("status") or _NOT_SEEN),
        *([percent] if percent else []),
        *([f"{_count_text(item)} records"] if _count_text(item) else []),
    ]
    if pace := _pace(item):
        late = ", past its expiration" if _seconds_late(item) is not None else ""
        parts.append(f"{pace}, {_left(item, now)} left{late}")
    return Text("  ".join(parts))


def watch_result(jobs: Sequence[Item]) -> Text:
    """How the watched jobs ended, counted by status."""
    counted: dict[str, int] = {}
    for item in jobs:
        name = _word(item.get("status") or _NOT_SEEN)
        counted[name] = counted.get(name, 0) + 1
    result = Text()
    for name, count in sorted(counted.items()):
        result.append(", " if result.plain else "").append(f"{count} ")
        result.append(name, style=_STYLES.get(name, "dim"))
    return result


def usage(
    days: Sequence[tuple[ModelDay, Totals]], total: Totals, width: int | None
) -> RenderableType:
    """What jobs used, a line for each day and model, and the sum of all."""
    table = _table(width)
    table.add_column("DAY (UTC)", no_wrap=True)
    # What gives way in a narrow terminal.
    table.add_column("MODEL", min_width=8)
    headings = ("JOBS", "RECORDS", "INPUT", "OUTPUT", "USD")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("UNKNOWN", justify="right", no_wrap=True)
    lines = [(place.day, place.model_id, totals, "") for place, totals in days]
    for day, model, totals, style in (*lines, ("total", "", total, "bold")):
        unknown = totals.jobs_without_tokens
        table.add_row(
            Text(_word(day), style=style),
            Text(clean(model, _NAME_CHARACTERS), no_wrap=True, overflow="ellipsis"),
            *(
                Text("" if count is None else f"{count:,}", style=style)
                for count in (
                    totals.jobs,
                    totals.records,
                    totals.input_tokens,
                    totals.output_tokens,
                )
            ),
            Text(_usd(totals.estimated_cost_usd), style=style),
            Text(f"{unknown:,}" if unknown else "", style="yellow"),
        )
    return table


def changed(result: Changed) -> Text:
    """What `track` or `untrack` did to a job, in one line."""
    last = None if result.status is None else _word(result.status)
    known = f" (last seen {last})" if last is not None else ""
    said = {
        Change.ADDED: ("tracked", "the monitor reads it at its next poll"),
        Change.RESUMED: ("tracked again", f"its item was there, without tracking{known}"),
        Change.ALREADY_TRACKED: ("already tracked", f"nothing to do{known}"),
        Change.ENDED: ("not tracked", f"it has ended as {last or 'unknown'}"),
        Change.UNTRACKED: ("untracked", f"its item and its history stay{known}"),
        Change.NOT_TRACKED: ("not tracked", f"nothing to do{known}"),
        Change.EXCLUDED: (
            "untracked",
            "it had no item; it has one now, so that discovery does not track it later",
        ),
        Change.UNKNOWN: ("unknown", "no such item in the jobs table"),
    }
    word, rest = said[result.change]
    good = result.change in {Change.ADDED, Change.RESUMED, Change.UNTRACKED, Change.EXCLUDED}
    style = "green" if good else "red" if result.change is Change.UNKNOWN else "yellow"
    arn = clean(result.job_arn, _ARN_CHARACTERS)
    return Text.assemble(arn, "  ", (word, style), f": {rest}")


def report_written(output: str, report: Report) -> Text:
    """Where the report is and what is in it, in one line."""
    told = Text.assemble(
        (clean(output), "bold"),
        f": {len(report.jobs):,} jobs since {report.since:%Y-%m-%d %H:%M} UTC",
    )
    for name in statuses.KNOWN:
        if number := report.by_status[name]:
            told.append(f", {number:,} ").append(name, style=_STYLES[name])
    return told


def poll_summary(summary: Mapping[str, Any]) -> RenderableType:
    """The figures of one poll, as the function returned them; those that are zero and rare not."""
    always = ("jobsActive", "jobsRead", "jobsChanged", "jobsEnded", "eventsSent")
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for name, value in summary.items():
        if name in {"errors", "complete", "seconds"}:
            continue
        if not isinstance(value, str | int | float):
            continue
        if value or name in always:
            table.add_row(
                Text(_words(name)),
                Text(_word(value if isinstance(value, str) else f"{value:,}")),
            )
    errors = summary.get("errors")
    for code, count in errors.items() if isinstance(errors, dict) else ():
        table.add_row(
            Text(clean(code, _NAME_CHARACTERS), style="red"), Text(_word(count), style="red")
        )
    complete = summary.get("complete", True)
    seconds = summary.get("seconds")
    end = (
        Text("Poll finished", style="green")
        if complete
        else Text(
            "Poll ran out of time; the next one starts with the jobs it did not reach",
            style="yellow",
        )
    )
    if (known := _number(seconds)) is not None:
        end.append(f" in {known:.1f} s")
    return Group(table, end)


def bill(lines: Sequence[Line]) -> RenderableType:
    """What a month costs, line by line, and the sum."""
    table = _table(None)
    for heading, justify in _BILL_COLUMNS:
        table.add_column(heading, justify=justify)
    for line in lines:
        table.add_row(line.what, line.quantity, line.price, f"{float(line.dollars):,.4f}")
    table.add_row(
        Text("A month", style="bold"), "", "", Text(f"{float(total(lines)):,.2f}", style="bold")
    )
    return table


def other_ways(workload: Workload) -> RenderableType:
    """What other ways to follow the same jobs cost, and what is wrong with each."""
    table = _table(None)
    table.add_column("Instead")
    table.add_column("Dollars", justify="right")
    table.add_column("But")
    for other in alternatives(workload):
        table.add_row(other.name, f"{float(other.dollars):,.2f}", other.remark)
    return table


def _usd(cost: Decimal | None) -> str:
    """An amount to the hundredth of a cent: many a job costs less than a cent."""
    return "" if cost is None else f"{cost:,.4f}"


def _table(width: int | None) -> Table:
    return Table(
        box=None,
        pad_edge=False,
        padding=(0, 2 if width is None or width >= _WIDE else 1, 0, 0),
        header_style="dim",
    )


def _is_wide(width: int | None) -> bool:
    return width is None or width >= _WIDE


def _add_name_column(table: Table) -> None:
    # The one column that gives way in a narrow terminal, since Rich narrows those that may wrap;
    # its cells are cut all the same.
    table.add_column("JOB", min_width=8)


def _name_cell(item: Item) -> Text:
    return Text(name_of(item), no_wrap=True, overflow="ellipsis")


def _id_cell(item: Item) -> Text:
    return Text(clean(job_id(item["jobArn"]), _NAME_CHARACTERS))


def _word(value: object) -> str:
    """A status, a number or whatever somebody put in its place."""
    return clean(value, _WORD_CHARACTERS)


def _message(item: Item) -> str:
    return clean(item.get("message", ""), _MESSAGE_CHARACTERS)


def _style(name: object) -> str:
    return _STYLES.get(name, "") if isinstance(name, str) else ""


def _add_id_column(table: Table, width: int | None) -> None:
    # What somebody put in by mistake can be longer than an id.
    longest = None if width is None else _ID_WIDTH
    table.add_column("ID", no_wrap=True, max_width=longest, overflow="ellipsis")


def _job_status(item: Item) -> Text:
    error = item.get("lastError")
    if "status" not in item and isinstance(error, Mapping):
        return Text(_word(error.get("code", "unreadable")), style="red")
    text = status(item.get("status"))
    if not is_tracked(item) and not has_ended(item):
        text.append(" (untracked)", style="dim")
    elif _UNREACHABLE_SINCE in item:
        text.append(" (unreachable)", style="red")
    elif _STALLED_SINCE in item:
        text.append(" (stalled)", style="yellow")
    return text


def _why(item: Item) -> Text:
    """What is worth a sentence: why a job cannot be read, why it ended as it did, or if it is late.

    The message of a job that goes on is left out: it is of no consequence yet.
    """
    error = item.get("lastError")
    if isinstance(error, Mapping):
        return Text(f"{_word(error.get('code', ''))}: {_message(error)}", style="red")
    if has_ended(item):
        return Text(_message(item))
    late = _seconds_late(item)
    if late is None:
        return Text("")
    return Text(
        f"at its pace it ends {duration(late)} after its expiration "
        f"({moment(item['jobExpirationTime'])} UTC)",
        style="yellow",
    )


def _counts(item: Item) -> tuple[int, int] | None:
    """Total and processed records; None where they are unknown or implausible.

    Bedrock reports 0 for every count until it has validated the job, so a total of 0 is unknown.
    """
    total = plausible_count(item.get("totalRecordCount"))
    processed = plausible_count(item.get("processedRecordCount"))
    return (total, processed) if total and processed is not None else None


def _number(value: object) -> float | None:
    """A plausible number from 0 on, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < IMPLAUSIBLE else None


def _percent(item: Item) -> str:
    counts = _counts(item)
    if counts is None:
        return ""
    total, processed = counts
    # Rounded down: 100% is said of a job whose every record is done.
    return f"{min(100, 100 * processed // total)}%"


def _progress(item: Item, width: int | None) -> Text:
    percent, counts = _percent(item), _counts(item)
    if not percent or counts is None or width is None:
        return Text(percent)
    cells = _BAR_WIDTH if width >= _ROOM_FOR_BARS else _NARROW_BAR_WIDTH
    filled = min(cells, cells * counts[1] // counts[0])
    return Text.assemble(("━" * filled, "green"), ("─" * (cells - filled), "dim"), f"{percent:>5}")


def _count_text(item: Item) -> str:
    counts = _counts(item)
    return "" if counts is None else f"{counts[1]:,} / {counts[0]:,}"


def _records(item: Item) -> Text:
    return Text(_count_text(item))


def _errors(item: Item) -> Text:
    errors = plausible_count(item.get("errorRecordCount"))
    if errors is None or item.get("totalRecordCount") == 0:
        return Text("")
    return Text(f"{errors:,}", style="red" if errors else "")


def _in_status(item: Item, now: datetime) -> str:
    since = time_of(item.get("changedAt"))
    return "" if since is None else duration((now - since).total_seconds())


def _seconds_spent(entries: Sequence[Item], now: datetime) -> list[float | None]:
    times = [time_of(entry.get("changedAt")) for entry in entries]
    ends = [*times[1:], None if entries and has_ended(entries[-1]) else now]
    return [
        (end - start).total_seconds() if start is not None and end is not None else None
        for start, end in zip(times, ends, strict=True)
    ]


def _spent_bar(seconds: float | None, longest: float, name: object) -> Text:
    if seconds is None or longest <= 0:
        return Text("")
    cells = max(1, round(_SPENT_BAR_WIDTH * seconds / longest))
    return Text("━" * cells, style=_style(name), no_wrap=True, overflow="crop")


def _is_running(item: Item) -> bool:
    """Whether what the monitor expects of a job holds: it runs, and can be read."""
    running = item.get("status") == statuses.IN_PROGRESS and is_tracked(item)
    return running and _UNREACHABLE_SINCE not in item


def _pace(item: Item) -> str:
    pace = _number(item.get(RECORDS_PER_MINUTE))
    if not pace or not _is_running(item):
        return ""
    if pace >= _FAST:
        return f"{pace / _MINUTE:,.0f}/s"
    return f"{pace:,.0f}/min" if pace >= _SLOW else f"{pace:.2g}/min"


def _left(item: Item, now: datetime) -> str:
    """For how long a job still runs at its pace; `unknown` rather than a guess."""
    if not _is_running(item):
        return ""
    ends_at = time_of(item.get(ESTIMATED_END_TIME))
    if ends_at is None:
        return "unknown"
    seconds = (ends_at - now).total_seconds()
    return "soon" if seconds < 1 else duration(seconds)


def _seconds_late(item: Item) -> int | None:
    if not _is_running(item):
        return None
    expiration = time_of(item.get("jobExpirationTime"))
    return seconds_past(time_of(item.get(ESTIMATED_END_TIME)), expiration)


def _eta(item: Item, now: datetime) -> Text:
    left = _left(item, now)
    if _seconds_late(item) is not None:
        return Text(f"{left} (late)", style="bold red")
    return Text(left, style="dim" if left == "unknown" else "")


def _liveliness(item: Item) -> tuple[bool, bool, str]:
    return (has_ended(item), item.get("status") != statuses.IN_PROGRESS, item["jobArn"])


def _words(name: str) -> str:
    """`jobsActive` as `jobs active`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in _word(name))
