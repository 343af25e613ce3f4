"""Tables of amounts: `bbm usage` and `bbm cost`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from bbm import cost
from bbm.cost import Line, Workload, total
from bbm.usage import Totals, UsageTable
from bbm.views import cells, layout
from bbm.views.layout import Column, Notes
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.presentation.words import short

if TYPE_CHECKING:
    from rich.console import RenderableType

_MODEL_WIDTH: Final = 32
_NAME_WIDTH: Final = 24


def usage(table: UsageTable, total: Totals, width: int | None) -> RenderableType:
    """The usage of jobs: a row for each group, and the total."""
    groups = [(row.period, row.group, row.totals) for row in table.rows]
    if not table.period:
        groups = [("", group, totals) for _, group, totals in groups]
    rows = [*((*group, "") for group in groups), ("total", "", total, "bold")]
    # In a narrow terminal millions of tokens, so that the model and both sums fit.
    is_narrow = width is not None and width < cells.ROOM_FOR_DETAIL
    tokens: Callable[[float], str] = short if is_narrow else "{:,}".format

    def column(heading: str, rank: int, figure: Callable[[Totals], str]) -> Column:
        texts = [Text(figure(totals), style) for _, _, totals, style in rows]
        return Column(heading, texts, rank, right=True)

    unknown = total.jobs_without_tokens
    shown = layout.rows(
        [
            *_groups(table, rows),
            column("JOBS", 2, lambda each: _figure(each.jobs)),
            column("RECORDS", 3, lambda each: _figure(each.records)),
            column("INPUT", 4, lambda each: _figure(each.input_tokens, tokens)),
            column("OUTPUT", 5, lambda each: _figure(each.output_tokens, tokens)),
            column("USD", 1, lambda each: _usd(each.estimated_cost_usd)),
            column("UNKNOWN", 6, lambda each: _figure(each.jobs_without_tokens or None)),
        ],
        width,
    )
    if not is_narrow or not unknown:
        return shown
    # In place of the column UNKNOWN, which a narrow terminal leaves out.
    return Group(shown, Text(f"Tokens unknown: {unknown:,} of {total.jobs:,} jobs", "yellow"))


def _groups(table: UsageTable, rows: Sequence[tuple[str, str, Totals, str]]) -> list[Column]:
    """The columns that name a group; the word `total` is in the first one."""
    columns = []
    if table.period:
        periods = [Text(cells.word(period), style) for period, _, _, style in rows]
        columns.append(Column(table.period, periods))
    if table.group:
        groups = [Text(clean(group, cells.NAME_CHARACTERS)) for _, group, _, _ in rows]
        if not table.period:
            groups[-1] = Text("total", rows[-1][3])
        # The end of a model id has its version.
        columns.append(Column(table.group, groups, least=_MODEL_WIDTH, cut_in_middle=True))
    return columns


def _figure(count: int | None, form: Callable[[float], str] = "{:,}".format) -> str:
    return "" if count is None else form(count)


def bill(lines: Sequence[Line], width: int | None) -> RenderableType:
    """The monthly cost, line by line, and its sum."""
    bold = "bold"
    dollars = [f"{float(line.dollars):,.4f}" for line in lines]
    return layout.rows(
        [
            Column("What", [*(Text(x.what) for x in lines), Text("Total per month", bold)]),
            Column("Quantity", [*(Text(x.quantity) for x in lines), Text()], 1, right=True),
            Column("Price", [*(Text(line.price) for line in lines), Text()], 2),
            Column(
                "Dollars",
                [*map(Text, dollars), Text(f"{float(total(lines)):,.2f}", bold)],
                right=True,
            ),
        ],
        width,
    )


def alternatives(workload: Workload, width: int | None) -> RenderableType:
    """The monthly cost and the disadvantage of each alternative."""
    others = cost.alternatives(workload)
    dollars = [Text(f"{float(other.dollars):,.2f}") for other in others]
    return layout.rows(
        [
            Column("Alternative", [Text(other.name) for other in others], least=_NAME_WIDTH),
            Column("Dollars", dollars, right=True),
        ],
        width,
        Notes("Disadvantage", [Text(other.remark) for other in others]),
    )


def _usd(amount: Decimal | None) -> str:
    """An amount with four decimals, because many jobs cost less than a cent."""
    return "" if amount is None else f"{amount:,.4f}"
