"""Where the demo prints: nothing is wider than 80 columns, also in a pipe."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console

_WIDTH: Final = 80

# A pipe has no width of its own.
console: Final = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)


def say(text: str = "", *, markup: bool = True, style: str | None = None) -> None:
    """Print a paragraph at once, broken at its words, in a pipe too."""
    console.print(text, markup=markup, style=style)
    console.file.flush()


def say_command(text: str) -> None:
    """Print a line to copy, which only the terminal breaks."""
    console.print(f"  {text}", soft_wrap=True, markup=False)
    console.file.flush()
