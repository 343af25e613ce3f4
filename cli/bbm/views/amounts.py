"""Tables of amounts: `bbm usage` and `bbm cost`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from rich.text import Text

from bbm import cost
from bbm.cost import Line, Workload, total
from bbm.usage import ModelDay, Totals
from bbm.views import cells
from bedrock_batch_monitor.domain.plain_text import clean

if TYPE_CHECKING:
    from rich.console import RenderableType

_BILL_COLUMNS: Final[Sequence[tuple[str, Literal["left", "right"]]]] = (
    ("What", "left"),
    ("Quantity", "right"),
    ("Price", "left"),
    ("Dollars", "right"),
)


def usage(
    days: Sequence[tuple[ModelDay, Totals]], total: Totals, width: int | None
) -> RenderableType:
    """The usage of jobs: a row for each day and model, and the total."""
    table = cells.table(width)
    table.add_column("DAY (UTC)", no_wrap=True)
    # The column that becomes narrower in a narrow terminal.
    table.add_column("MODEL", min_width=8)
    for heading in ("JOBS", "RECORDS", "INPUT", "OUTPUT", "USD", "UNKNOWN"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = [(group.day, group.model_id, totals, "") for group, totals in days]
    for day, model, totals, style in (*rows, ("total", "", total, "bold")):
        counts = (totals.jobs, totals.records, totals.input_tokens, totals.output_tokens)
        unknown = totals.jobs_without_tokens
        table.add_row(
            Text(cells.word(day), style=style),
            Text(clean(model, cells.NAME_CHARACTERS), no_wrap=True, overflow="ellipsis"),
            *(Text("" if count is None else f"{count:,}", style=style) for count in counts),
            Text(_usd(totals.estimated_cost_usd), style=style),
            Text(f"{unknown:,}" if unknown else "", style="yellow"),
        )
    return table


def bill(lines: Sequence[Line]) -> RenderableType:
    """The monthly cost, line by line, and its sum."""
    table = cells.table(None)
    for heading, justify in _BILL_COLUMNS:
        table.add_column(heading, justify=justify)
    for line in lines:
        table.add_row(line.what, line.quantity, line.price, f"{float(line.dollars):,.4f}")
    table.add_row(
        Text("Total per month", style="bold"),
        "",
        "",
        Text(f"{float(total(lines)):,.2f}", style="bold"),
    )
    return table


def alternatives(workload: Workload) -> RenderableType:
    """The monthly cost and the disadvantage of each alternative."""
    table = cells.table(None)
    table.add_column("Alternative")
    table.add_column("Dollars", justify="right")
    table.add_column("Disadvantage")
    for other in cost.alternatives(workload):
        table.add_row(other.name, f"{float(other.dollars):,.2f}", other.remark)
    return table


def _usd(amount: Decimal | None) -> str:
    """An amount with four decimals, because many jobs cost less than a cent."""
    return "" if amount is None else f"{amount:,.4f}"
