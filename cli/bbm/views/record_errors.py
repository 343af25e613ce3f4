"""What `bbm errors` shows: numbers of records, groups of errors, and what was not read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.text import Text

from bbm.views import layout
from bbm.views.layout import Column, Notes
from bedrock_batch_monitor.domain.error_analysis import ErrorGroup
from bedrock_batch_monitor.domain.plain_text import clean, percent
from bedrock_batch_monitor.record_errors.analysis import Report
from bedrock_batch_monitor.record_errors.lines import LineProblem

if TYPE_CHECKING:
    from rich.console import RenderableType

_ID_CHARACTERS: Final = 40
_CODE_CHARACTERS: Final = 20
_SHOWN_FAILURES: Final = 10
_PROBLEMS: Final = {
    LineProblem.TRUNCATED: "a last line is truncated",
    LineProblem.INVALID: "a line is not a JSON object",
    LineProblem.TOO_LONG: "a line is too long",
    LineProblem.WITHOUT_RESULT: "a line has neither an output nor an error",
}


def heading(report: Report) -> Text:
    """The numbers of records in one line."""
    totals = report.totals
    parts = [f"{totals.success:,} succeeded", f"{totals.error:,} failed"]
    if totals.missing is not None:
        parts.append(f"{totals.missing:,} missing")
    if totals.total is None:
        return Text(", ".join(parts) + " (not known: missing records)", style="bold")
    return Text(f"{_records(totals.total)}: {', '.join(parts)}", style="bold")


def groups(report: Report, width: int | None) -> RenderableType:
    """One row for each group of failed records, the largest first."""
    shown = report.groups
    columns = [
        Column("CODE", [Text(_code(group)) for group in shown]),
        Column("RECORDS", [Text(f"{group.count:,}") for group in shown], right=True),
        Column("SHARE", [Text(_share(group, report)) for group in shown], 2, right=True),
        Column("SOME IDS", [Text(_ids(group, width)) for group in shown], 3, least=12),
    ]
    return layout.rows(columns, width, Notes("MESSAGE", [Text(g.pattern) for g in shown]))


def remarks(report: Report) -> Iterator[str]:
    """What was not read, or does not fit together; one line each."""
    if report.was_stopped:
        yield "interrupted: these are the records that were read so far"
    for failure in report.failures[:_SHOWN_FAILURES]:
        yield (f"cannot read {failure.file} ({failure.code}): its records are not counted")
    if len(report.failures) > _SHOWN_FAILURES:
        yield f"{len(report.failures) - _SHOWN_FAILURES:,} more files cannot be read"
    if report.files_without_results:
        yield (
            f"{_files(report.files_without_results)} of the input without results: the records "
            "count as missing"
        )
    for problem, count in sorted(report.problems.items()):
        yield f"{_PROBLEMS[problem]} ({count:,} times): it is left out"
    if report.duplicates:
        yield f"{_records(report.duplicates)} with an id that an earlier result has"
    if report.duplicate_inputs:
        yield f"{_records(report.duplicate_inputs)} of the input with an id that an earlier one has"
    if report.inputs_without_id:
        yield (
            f"{_records(report.inputs_without_id)} of the input without recordId: these cannot be "
            "matched with their results"
        )
    if report.unmatched_failures:
        yield (
            f"{_records(report.unmatched_failures)} failed that the input has not under their id: "
            "these cannot be in a retry file"
        )


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _code(group: ErrorGroup) -> str:
    return "" if group.error_code is None else clean(group.error_code, _CODE_CHARACTERS)


def _share(group: ErrorGroup, report: Report) -> str:
    return percent(group.count / report.totals.error)


def _ids(group: ErrorGroup, width: int | None) -> str:
    shown = group.record_ids if width is None else group.record_ids[:2]
    return ", ".join(clean(record_id, _ID_CHARACTERS) for record_id in shown)
