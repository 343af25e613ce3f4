"""Where output goes: tables for a terminal, plain text for a pipe, one document for a program.

Everything that a command says goes through an `Output`, and nothing leaves it that could control a
terminal, reorder or hide text, or that the stream cannot represent. What is shown may therefore
hold any text: a job's name and message, an ARN, an error of a service.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.text import Text

from bedrock_batch_monitor.domain.plain_text import CUT, clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import ConsoleOptions

# Wide enough that nothing is cut or wrapped; a table is no wider than what is in it.
_PIPE_WIDTH: Final = 10_000
# A line on standard error. An error of AWS with its ARNs is a few hundred characters long.
_NOTE_CHARACTERS: Final = 4000
# What stands in for our own decorations where the stream's encoding lacks them.
_PLAIN_FORMS: Final = {"━": "=", "─": "-", CUT: "~"}
_REPLACEMENT: Final = "?"


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
        for stream in (sys.stdout, sys.stderr):
            # The default of some locales, surrogateescape, writes the raw bytes of lone surrogates.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
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
                soft_wrap = isinstance(renderable, Text)
                self.out.print(self.shown(renderable), soft_wrap=soft_wrap)
            else:
                sys.stdout.write(plain_text(renderable, _encoding(sys.stdout)))

    def shown(self, renderable: RenderableType) -> RenderableType:
        """A renderable as standard output can show it, for what prints there by itself."""
        return _Shown(renderable, _encoding(self.out.file))

    def document(self, value: Any) -> None:  # noqa: ANN401 - a JSON value
        """Print the one document of `--json`; says nothing where a person reads."""
        if self.as_json:
            sys.stdout.write(_ascii_json(value) + "\n")

    def page(self, text: str) -> None:
        """Print a page as it is, in UTF-8 whatever the locale says."""
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()

    def note(self, text: str) -> None:
        """Say something in addition to the result, in one line on standard error."""
        self._say(Text(_one_line(text), style="yellow"))

    def error(self, text: str) -> None:
        """Say in one line on standard error why the command failed."""
        self._say(Text.assemble(("Error: ", "bold red"), _one_line(text)))

    def traceback(self, text: str) -> None:
        """Print a traceback on standard error, line by line."""
        self._say(Text(text))

    def _say(self, text: Text) -> None:
        self.err.print(_Shown(text, _encoding(self.err.file)), soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A renderable without the characters that a stream must not get or cannot represent."""

    inner: RenderableType
    encoding: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Render what is inside; Rich's own control codes are no text and stay."""
        for segment in console.render(self.inner, options):
            if segment.control:
                yield segment
            else:
                yield Segment(showable(segment.text, self.encoding), segment.style)


def plain_text(renderable: RenderableType, encoding: str = "utf-8") -> str:
    """What a renderable looks like without colour, and without blanks at the ends of lines."""
    buffer = StringIO()
    Console(file=buffer, width=_PIPE_WIDTH, color_system=None, highlight=False).print(
        _Shown(renderable, encoding), soft_wrap=isinstance(renderable, Text)
    )
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def showable(text: str, encoding: str) -> str:
    """A text as a stream can show it: lines stay, each of them cleaned.

    A character that the encoding lacks becomes a `?` for each column that it takes, so that
    columns stay in line; bars and the mark of a cut text become what looks most like them.
    """
    cleaned = "\n".join(map(clean, text.split("\n")))
    if cleaned.isascii() or _has(encoding, cleaned):
        return cleaned
    return "".join(
        character if character.isascii() or _has(encoding, character) else _plain_form(character)
        for character in cleaned
    )


def _plain_form(character: str) -> str:
    return _PLAIN_FORMS.get(character) or _REPLACEMENT * cell_len(character)


def _has(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _encoding(stream: TextIO | Any) -> str:  # noqa: ANN401 - whatever Rich or a test writes to
    return getattr(stream, "encoding", None) or "utf-8"


def _ascii_json(value: Any) -> str:  # noqa: ANN401 - a JSON value
    """JSON in printable ASCII; outside of strings JSON has no DEL, which `json` leaves as it is."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    return " ".join(clean(text, _NOTE_CHARACTERS).split())
