"""Small pieces of text and HTML that only the report needs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from bedrock_batch_monitor.presentation import words
from bedrock_batch_monitor.presentation.markup import Child, Html, element

_CENT: Final = Decimal("0.01")
_WITHOUT_CENTS: Final = 100_000


class Row(NamedTuple):
    """A row of a table of numbers. None is a number that is not known."""

    name: Child
    numbers: Sequence[str | None]
    chart: Html | None = None
    alarms: frozenset[int] = frozenset()


def numbers(
    caption: str, first: str, headings: Sequence[str], rows: Sequence[Row], chart: str | None = None
) -> Html:
    """A table of numbers by name, without columns that have no number.

    In a narrow window each row is a block: every number has its heading next to it.
    """
    shown = [index for index in range(len(headings)) if any(row.numbers[index] for row in rows)]
    return element(
        "table",
        element("caption", caption, class_="vh"),
        element(
            "thead",
            element(
                "tr",
                element("th", first, scope="col", role="columnheader", class_="c-model"),
                chart and element("th", chart, scope="col", role="columnheader", class_="c-share"),
                (
                    element("th", headings[at], scope="col", role="columnheader", class_="num")
                    for at in shown
                ),
                role="row",
            ),
            role="rowgroup",
        ),
        element(
            "tbody",
            (_row(row, headings, shown, has_chart=chart is not None) for row in rows),
            role="rowgroup",
        ),
        # CSS changes how the elements are displayed. The roles keep the table a table for screen
        # readers.
        role="table",
        class_="numbers",
    )


def _row(row: Row, headings: Sequence[str], shown: Sequence[int], *, has_chart: bool) -> Html:
    return element(
        "tr",
        element("th", row.name, scope="row", role="rowheader", class_="c-model"),
        element("td", row.chart, role="cell", class_="c-share") if has_chart else None,
        (
            element(
                "td",
                element("span", f"{headings[at]} ", class_="k", aria_hidden="true"),
                row.numbers[at] or words.UNKNOWN,
                role="cell",
                class_="num alarm" if at in row.alarms else "num",
            )
            for at in shown
        ),
        role="row",
    )


def day(value: date) -> str:
    """A date: `Tue 24 Nov`."""
    return f"{value:%a} {value.day} {value:%b}"


def dollars(value: Decimal) -> str:
    """An amount in USD; an amount below one cent is not shown as zero, a large one has no cents."""
    if 0 < value < _CENT:
        return "under $0.01"
    return f"${value:,.0f}" if value >= _WITHOUT_CENTS else f"${value:,.2f}"


def not_shown(number: int, what: str, more: str = "") -> Html | None:
    """A note on how many more there are than the page shows; None if it shows all."""
    if number <= 0:
        return None
    note = f"and {words.plural(number, 'more ' + what)} not shown here"
    return element("p", f"{note}. {more}" if more else f"{note}.", class_="more-jobs")
