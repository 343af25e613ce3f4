"""Tables of amounts: `bbm usage` and `bbm cost`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from rich.text import Text

from bbm import cost
from bbm.cost import Line, Workload, total
from bbm.usage import ModelDay, Totals
from bbm.views import cells, layout
from bbm.views.layout import Column, Notes
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.presentation.words import short

if TYPE_CHECKING:
    from rich.console import RenderableType

_MODEL_WIDTH: Final = 32
_NAME_WIDTH: Final = 24


def usage(
    days: Sequence[tuple[ModelDay, Totals]], total: Totals, width: int | None
) -> RenderableType:
    """The usage of jobs: a row for each day and model, and the total."""
    groups = [(group.day, group.model_id, totals) for group, totals in days]
    lines = [*((*group, "") for group in groups), ("total", "", total, "bold")]

    def numbers(
        heading: str,
        rank: int,
        number: Callable[[Totals], int | None],
        figure: Callable[[int], str] = "{:,}".format,
    ) -> Column:
        texts = [
            Text("" if (count := number(totals)) is None else figure(count), style)
            for _, _, totals, style in lines
        ]
        return Column(heading, texts, rank, right=True)

    # Millions of tokens, so that the model and both sums fit into 80 columns.
    is_narrow = width is not None and width < cells.ROOM_FOR_DETAIL
    tokens: Callable[[int], str] = short if is_narrow else "{:,}".format
    unknown = [each.jobs_without_tokens for _, _, each, _ in lines]
    return layout.rows(
        [
            Column("DAY (UTC)", [Text(cells.word(day), style) for day, _, _, style in lines]),
            Column(
                "MODEL",
                [Text(clean(model, cells.NAME_CHARACTERS)) for _, model, _, _ in lines],
                least=_MODEL_WIDTH,
                # The end of a model id has its version.
                cut_in_middle=True,
            ),
            numbers("JOBS", 2, lambda totals: totals.jobs),
            numbers("RECORDS", 3, lambda totals: totals.records),
            numbers("INPUT", 4, lambda totals: totals.input_tokens, tokens),
            numbers("OUTPUT", 5, lambda totals: totals.output_tokens, tokens),
            Column(
                "USD",
                [Text(_usd(each.estimated_cost_usd), style) for _, _, each, style in lines],
                1,
                right=True,
            ),
            Column(
                "UNKNOWN",
                [Text(f"{jobs:,}" if jobs else "", "yellow") for jobs in unknown],
                6,
                right=True,
            ),
        ],
        width,
    )


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
