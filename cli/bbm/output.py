"""Where output goes: tables for a terminal, plain text for a pipe, one document for a program."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final, Self

from rich.console import Console, RenderableType
from rich.text import Text

# Wide enough that nothing is cut or wrapped; a table is no wider than what is in it.
_PIPE_WIDTH: Final = 10_000


@dataclass(frozen=True, slots=True)
class Output:
    """Standard output and standard error of one command.

    With `as_json` nothing but the document reaches standard output.
    """

    out: Console
    err: Console
    as_json: bool = False

    @classmethod
    def of_process(cls, *, as_json: bool) -> Self:
        """The process's own streams as they are now; colour and live view on a terminal alone."""
        return cls(
            out=Console(highlight=False),
            err=Console(highlight=False, stderr=True),
            as_json=as_json,
        )

    @property
    def live(self) -> bool:
        """Whether a person looks at a terminal that can redraw."""
        return self.out.is_terminal and not self.out.is_dumb_terminal and not self.as_json

    @property
    def width(self) -> int | None:
        """The columns of the terminal, None for a pipe, which has no edge."""
        return self.out.width if self.out.is_terminal else None

    def show(self, *renderables: RenderableType) -> None:
        """Print for people; says nothing where a program reads."""
        if self.as_json:
            return
        for renderable in renderables:
            if self.out.is_terminal:
                self.out.print(renderable, soft_wrap=isinstance(renderable, Text))
            else:
                sys.stdout.write(plain_text(renderable))

    def document(self, value: Any) -> None:  # noqa: ANN401 - a JSON value
        """Print the one document of `--json`; says nothing where a person reads."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def page(self, text: str) -> None:
        """Print a page as it is, in UTF-8 whatever the locale says."""
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()

    def note(self, text: str) -> None:
        """Say something beside the result, on standard error."""
        self.err.print(Text(text, style="yellow"), soft_wrap=True)

    def error(self, text: str) -> None:
        """Say in one line on standard error why the command failed."""
        line = Text.assemble(("Error: ", "bold red"), " ".join(text.split()))
        self.err.print(line, soft_wrap=True)


def plain_text(renderable: RenderableType) -> str:
    """What a renderable looks like without colour, and without blanks at the ends of lines."""
    buffer = StringIO()
    Console(file=buffer, width=_PIPE_WIDTH, color_system=None, highlight=False).print(
        renderable, soft_wrap=isinstance(renderable, Text)
    )
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())
