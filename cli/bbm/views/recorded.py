"""Tables of recorded transitions: `bbm history` and `bbm find`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bbm.tables import Item, has_ended
from bbm.views import cells, layout, lines, measures
from bbm.views.layout import Column, Notes
from bedrock_batch_monitor.domain.plain_text import clean, duration


def history_heading(entries: Sequence[Item]) -> Text:
    """The name, total duration, model and ARN of a job."""
    last = entries[-1]
    # One line each, so that they can be copied: an ARN can be as long as the terminal is wide.
    heading = Text.assemble((cells.name_of(last), "bold"), no_wrap=True)
    first = cells.time_of(entries[0].get("changedAt"))
    end = cells.time_of(last.get("changedAt"))
    if has_ended(last) and first is not None and end is not None and end > first:
        heading.append(f"  {duration((end - first).total_seconds())} in total")
    if last.get("modelId"):
        heading.append(f"\n{clean(last['modelId'], cells.ARN_CHARACTERS)}")
    heading.append(f"\n{clean(last['jobArn'], cells.ARN_CHARACTERS)}\n", style="dim")
    return heading


def with_events(entries: Sequence[Item], item: Item) -> list[Item]:
    """The entries, each with `event`: `published` or `pending`, as far as the item says it.

    The end of a job also has `eventPublishedAt`, once its event was published.
    """
    pending = {str(name).partition("#")[2] for name in item.get("pendingEvents", ())}
    published = item.get("eventPublishedAt")
    found: list[Item] = []
    for entry in entries:
        sequence = str(entry.get("sequence"))
        more: dict[str, Any] = {}
        if sequence in pending:
            more["event"] = "pending"
        elif published is not None and entry.get("eventId") is not None:
            more = {"event": "published", "eventPublishedAt": published}
        found.append({**entry, **more})
    return found


def history(entries: Sequence[Item], now: datetime, width: int | None) -> RenderableType:
    """The recorded transitions of a job, with the time spent in each status.

    A status lasts from its own `changedAt` to that of the next transition. The last status of a job
    that has not ended lasts until now.
    """
    spent = _seconds_spent(entries, now)
    longest = max((seconds for seconds in spent if seconds is not None), default=0)
    suffixes = ["" for _ in entries[1:]] + [" so far"]
    times = [
        Text("" if seconds is None else f"{duration(seconds)}{suffix}")
        for seconds, suffix in zip(spent, suffixes, strict=True)
    ]
    columns = [
        Column("SEQ", [Text(cells.word(entry["sequence"])) for entry in entries], 2, right=True),
        Column("CHANGED (UTC)", [Text(cells.moment(e.get("changedAt", ""))) for e in entries]),
        Column("STATUS", [cells.status(entry.get("status")) for entry in entries]),
        Column("SPENT", times, 1, right=True),
        Column("RECORDS", [Text(measures.records(entry)) for entry in entries], 3, right=True),
        Column("SEEN (UTC)", [Text(cells.moment(e.get("observedAt", ""))) for e in entries], 5),
        Column("EVENT", [Text(cells.word(entry.get("event", ""))) for entry in entries], 4),
        Column("BY", [Text(cells.word(entry.get("observedBy", ""))) for entry in entries], 6),
    ]
    if width is not None:
        bars = [
            measures.spent_bar(seconds, longest, entry.get("status"), width)
            for entry, seconds in zip(entries, spent, strict=True)
        ]
        columns.insert(4, Column("", bars, 4))
    messages = [
        Text.assemble((f"{cells.word(entry['sequence'])}: ", "bold"), cells.message(entry))
        for entry in entries
        if entry.get("message")
    ]
    table = layout.rows(columns, width)
    return Group(table, *([Text("")] if messages else []), *messages)


def never_read(item: Item, now: datetime) -> tuple[RenderableType, ...]:
    """An item without history: why it cannot be read, or that no poll has read it yet."""
    error = item.get("lastError")
    if not isinstance(error, Mapping):
        return (Text("Nothing is recorded for this job yet. To read it now, run `bbm poll`."),)
    heading = Text(no_wrap=True)
    heading.append(cells.name_of(item), style="bold").append("  has never been read: ")
    heading.append_text(cells.job_status(item, now))
    heading.append(f"\n{clean(item['jobArn'], cells.ARN_CHARACTERS)}\n", style="dim")
    return (
        heading,
        Text(cells.message(error), style="red"),
        Text(
            "It has no history until a poll can read it. If it names the wrong job, run "
            "`bbm untrack` with the text above."
        ),
    )


def found(
    transitions: Sequence[Item], now: datetime, width: int | None, *, ended: bool
) -> RenderableType:
    """Transitions, one row each, with the first line of their messages.

    `ended` says that all are ends of jobs. The entries then also have the attributes of the jobs'
    items. A pipe has the whole messages and the failed records in a column.
    """
    columns = [
        Column("SEEN (UTC)", [cells.short_moment(_observed(item), width) for item in transitions]),
        cells.name_column(transitions),
        cells.id_column(transitions, 4, width),
        Column("STATUS", [cells.job_status(item, now) for item in transitions]),
        Column("RECORDS", [_records(item, width) for item in transitions], 3, right=True),
    ]
    if width is None:
        errors = [measures.failed_records(item) for item in transitions]
        columns.append(Column("ERRORS", errors, right=True))
    if ended:
        times = [Text(measures.total_time(item)) for item in transitions]
        columns.append(Column("DURATION", times, 2, right=True))
    else:
        before = [cells.status(item.get("previousStatus") or "") for item in transitions]
        columns.append(Column("BEFORE", before, 5))
    texts = [Text(cells.message(i)) if width is None else _reason(i) for i in transitions]
    table = layout.rows(columns, width, Notes("REASON", texts))
    if width is None or not ended:
        return table
    return Group(table, Text(""), lines.counted(transitions))


def _observed(item: Item) -> object:
    return item.get("observedAt", "")


def _records(item: Item, width: int | None) -> Text:
    """Processed and total records; in a terminal one number if all were processed."""
    both = measures.records(item)
    processed, _, total = both.partition(" / ")
    return Text(total if width is not None and processed == total else both)


def _reason(item: Item) -> Text:
    """The first line of the reason, after the number of failed records."""
    failed = measures.failed_records(item).plain
    noun = "record" if failed == "1" else "records"
    parts = [
        *([] if failed in {"", "0"} else [f"{failed} {noun} failed."]),
        cells.reason(item),
    ]
    return Text(" ".join(part for part in parts if part))


def _seconds_spent(entries: Sequence[Item], now: datetime) -> list[float | None]:
    times = [cells.time_of(entry.get("changedAt")) for entry in entries]
    ends = [*times[1:], None if entries and has_ended(entries[-1]) else now]
    return [
        (end - start).total_seconds() if start is not None and end is not None else None
        for start, end in zip(times, ends, strict=True)
    ]
