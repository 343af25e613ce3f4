"""Small pieces of text and HTML that only the report needs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from bedrock_batch_monitor.presentation import words
from bedrock_batch_monitor.presentation.markup import Html, element

_CENT: Final = Decimal("0.01")


def day(value: datetime) -> str:
    """A date: `Tue 24 Nov`."""
    return f"{value:%a} {value.day} {value:%b}"


def dollars(value: Decimal) -> str:
    """An amount in USD; an amount below one cent is not shown as zero."""
    if 0 < value < _CENT:
        return "under $0.01"
    return f"${value:,.2f}"


def not_shown(number: int, what: str, more: str = "") -> Html | None:
    """A note on how many more there are than the page shows; None if it shows all."""
    if number <= 0:
        return None
    note = f"and {words.plural(number, 'more ' + what)} not shown here"
    return element("p", f"{note}. {more}" if more else f"{note}.", class_="more-jobs")
