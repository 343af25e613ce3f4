"""Rows in columns that fit into a width.

In a narrow terminal, the least important columns are left out, and then texts are cut. A number is
never cut, and neither is a heading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from bedrock_batch_monitor.domain.plain_text import CUT

_GAP: Final = 2
_NARROW_GAP: Final = 1
_HEADING_STYLE: Final = "dim"
_INDENT: Final = 2
# A column that can be cut never becomes narrower than this.
_NARROWEST: Final = 8
# The lines that a note takes below its row, about.
_NOTE_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its heading, and a cell for each row.

    A column of rank 0 is always shown. Of the others, the one with the highest rank is left out
    first. `least` is the width to which cells can be cut while there are columns to leave out;
    without it they are never cut. `width` is the smallest width, for a view that is redrawn.
    """

    heading: str
    cells: Sequence[Text]
    rank: int = 0
    right: bool = False
    least: int | None = None
    width: int = 0
    cut_in_middle: bool = False

    @property
    def natural(self) -> int:
        """The width at which nothing is cut."""
        return max(len(self.heading), self.width, *(cell.cell_len for cell in self.cells), 0)

    @property
    def floor(self) -> int:
        """The smallest width while other columns can be left out."""
        return self.natural if self.least is None else min(self.natural, self.least)

    @property
    def is_empty(self) -> bool:
        """Whether no row has a text."""
        return not any(cell.plain for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Notes:
    """A text for some of the rows: the last column if there is room, otherwise below each row."""

    heading: str
    texts: Sequence[Text]
    lines: int = _NOTE_LINES


def rows(
    columns: Sequence[Column], width: int | None, notes: Notes | None = None
) -> RenderableType:
    """The rows under their headings. `width` is that of the terminal.

    None means a pipe, which has every column and every text as a whole.
    """
    return Group(*lines(columns, width, notes))


def lines(columns: Sequence[Column], width: int | None, notes: Notes | None = None) -> list[Text]:
    """The lines of `rows`: the heading, then each row followed by the lines of its note."""
    as_column = notes is not None and _fits_beside(columns, width, notes)
    if notes is not None and as_column:
        columns = (*columns, Column(notes.heading, notes.texts))
    fitted, gap = _fitted(columns, width)
    found = [_line([Text(column.heading, _HEADING_STYLE) for column, _ in fitted], fitted, gap)]
    for row in range(len(columns[0].cells)):
        found.append(_line([column.cells[row] for column, _ in fitted], fitted, gap))
        if notes is not None and not as_column and width is not None and notes.texts[row].plain:
            found += _below(notes.texts[row], width, notes.lines)
    return found


def _fits_beside(columns: Sequence[Column], width: int | None, notes: Notes) -> bool:
    if width is None:
        return True
    longest = max((text.cell_len for text in notes.texts), default=0)
    used = sum(column.natural + _GAP for column in columns if not column.is_empty)
    return longest > 0 and used + longest <= width


def _fitted(columns: Sequence[Column], width: int | None) -> tuple[list[tuple[Column, int]], int]:
    """The columns that are shown with their widths, and the gap between two of them."""
    if width is None:
        return [(column, column.natural) for column in columns], _GAP
    shown = [column for column in columns if column.rank == 0 or not column.is_empty]
    if sum(column.natural + _GAP for column in shown) - _GAP <= width:
        return [(column, column.natural) for column in shown], _GAP
    while (
        sum(column.floor + _NARROW_GAP for column in shown) - _NARROW_GAP > width
        and (least := max(shown, key=lambda column: column.rank)).rank > 0
    ):
        shown.remove(least)
    widths = [column.natural for column in shown]
    room = width - _NARROW_GAP * (len(shown) - 1)
    _narrow(widths, [column.floor for column in shown], room)
    _narrow(
        widths,
        [
            column.natural if column.least is None else max(len(column.heading), _NARROWEST)
            for column in shown
        ],
        room,
    )
    return list(zip(shown, widths, strict=True)), _NARROW_GAP


def _narrow(widths: list[int], floors: Sequence[int], room: int) -> None:
    """Narrow the widest columns until all fit, none below its floor."""
    while (excess := sum(widths) - room) > 0:
        able = [place for place, width in enumerate(widths) if width > floors[place]]
        if not able:
            return
        widest = max(able, key=lambda place: widths[place])
        others = [widths[place] for place in able if widths[place] < widths[widest]]
        target = max(floors[widest], max(others, default=0), widths[widest] - excess)
        widths[widest] = min(target, widths[widest] - 1)


def _line(cells: Sequence[Text], fitted: Sequence[tuple[Column, int]], gap: int) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for place, (cell, (column, width)) in enumerate(zip(cells, fitted, strict=True)):
        shown = _cut(cell, width, in_middle=column.cut_in_middle)
        space = width - shown.cell_len
        line.append(" " * (gap if place else 0))
        line.append(" " * space if column.right else "").append_text(shown)
        line.append("" if column.right or place == len(fitted) - 1 else " " * space)
    line.rstrip()
    return line


def _cut(cell: Text, width: int, *, in_middle: bool) -> Text:
    shown = cell.copy()
    if cell.cell_len <= width:
        return shown
    if in_middle:
        start = (width - 1) // 3
        end = cell.plain[-(width - 1 - start) :]
        return Text(f"{cell.plain[:start]}{CUT}{end}", style=cell.style)
    shown.truncate(width, overflow="ellipsis")
    return shown


def _below(note: Text, width: int, count: int) -> list[Text]:
    """A note in at most so many lines, indented, and broken at its words."""
    room = max(width - _INDENT, 1)
    lines = [""]
    for word in _words(note.plain, room):
        whole = f"{lines[-1]} {word}".lstrip()
        if Text(whole).cell_len <= room or not lines[-1]:
            lines[-1] = whole
        else:
            lines.append(word)
    # The last line has the rest of the text, which is cut at the end of the line.
    shown = [*lines[: count - 1], " ".join(lines[count - 1 :])]
    return [
        _cut(Text(" " * _INDENT + line, note.style, no_wrap=True), width, in_middle=False)
        for line in shown
        if line
    ]


def _words(text: str, room: int) -> Iterator[str]:
    """The words of a text. A word that is longer than a line, such as a URI, comes in pieces."""
    for word in text.split():
        for start in range(0, len(word), room):
            yield word[start : start + room]
