"""The output of a command: tables for a terminal, plain text for a pipe, one JSON document.

All output goes through an `Output`. It removes every character that could control a terminal or
reorder or hide text, and replaces characters that the stream cannot represent. Callers can
therefore pass any text: the name and message of a job, an ARN, an error of a service.
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

# Wide enough that nothing is cut or wrapped. A table is only as wide as its content.
_PIPE_WIDTH: Final = 10_000
# The limit for a line on standard error. An AWS error with ARNs has a few hundred characters.
_NOTE_CHARACTERS: Final = 4000
# The replacements for the decorations of bbm that the encoding of a stream lacks.
_PLAIN_FORMS: Final = {"━": "=", "─": "-", CUT: "~"}
_REPLACEMENT: Final = "?"


@dataclass(frozen=True, slots=True)
class Output:
    """Standard output and standard error of one command.

    With `as_json`, only the document is written to standard output.
    """

    out: Console
    err: Console
    as_json: bool = False

    @classmethod
    def of_process(cls, *, as_json: bool) -> Self:
        """The current streams of the process. Color and the live view need a terminal."""
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
        """Whether standard output is a terminal that can redraw."""
        return self.out.is_terminal and not self.out.is_dumb_terminal and not self.as_json

    @property
    def width(self) -> int | None:
        """The columns of the terminal; None for a pipe."""
        return self.out.width if self.out.is_terminal else None

    def show(self, *renderables: RenderableType) -> None:
        """Print for people; prints nothing with `as_json`."""
        if self.as_json:
            return
        for renderable in renderables:
            if self.out.is_terminal:
                # A sentence is broken at its words. The terminal breaks what is to be copied.
                soft_wrap = isinstance(renderable, Text) and renderable.no_wrap is True
                self.out.print(self.shown(renderable), soft_wrap=soft_wrap)
            else:
                sys.stdout.write(plain_text(renderable, _encoding(sys.stdout)))

    def shown(self, renderable: RenderableType) -> RenderableType:
        """A renderable for code that prints to standard output without this class."""
        return _Shown(renderable, _encoding(self.out.file))

    def document(self, value: Any) -> None:  # noqa: ANN401 - a JSON value
        """Print the document of `--json`; prints nothing without `as_json`."""
        if self.as_json:
            sys.stdout.write(_ascii_json(value) + "\n")

    def page(self, text: str) -> None:
        """Print a page unchanged, in UTF-8 with any locale."""
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()

    def note(self, text: str) -> None:
        """Print a note in one line on standard error."""
        self._print_error(Text(_one_line(text), style="yellow"))

    def error(self, text: str) -> None:
        """Print an error in one line on standard error."""
        self._print_error(Text.assemble(("Error: ", "bold red"), _one_line(text)))

    def traceback(self, text: str) -> None:
        """Print a traceback on standard error, line by line."""
        self._print_error(Text(text))

    def _print_error(self, text: Text) -> None:
        # One line in a pipe or a log; in a terminal, broken at words.
        soft_wrap = not self.err.is_terminal
        self.err.print(_Shown(text, _encoding(self.err.file)), soft_wrap=soft_wrap)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A renderable without characters that are unsafe or that the stream cannot represent."""

    inner: RenderableType
    encoding: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        """Render the content. Rich's own control codes are not text and stay."""
        for segment in console.render(self.inner, options):
            if segment.control:
                yield segment
            else:
                yield Segment(showable(segment.text, self.encoding), segment.style)


def plain_text(renderable: RenderableType, encoding: str = "utf-8") -> str:
    """A renderable as text, without color and without trailing spaces."""
    buffer = StringIO()
    Console(file=buffer, width=_PIPE_WIDTH, color_system=None, highlight=False).print(
        _Shown(renderable, encoding), soft_wrap=isinstance(renderable, Text)
    )
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def showable(text: str, encoding: str) -> str:
    """A text that a stream can show; each line is cleaned.

    A character that the encoding lacks becomes one `?` for each column that it takes, so that
    columns stay aligned. The characters of bars and the ellipsis become similar ASCII characters.
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


def _encoding(stream: TextIO | Any) -> str:  # noqa: ANN401 - any stream of Rich or of a test
    return getattr(stream, "encoding", None) or "utf-8"


def _ascii_json(value: Any) -> str:  # noqa: ANN401 - a JSON value
    """JSON in printable ASCII. The module `json` does not escape DEL, which is valid in strings."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def _one_line(text: str) -> str:
    return " ".join(clean(text, _NOTE_CHARACTERS).split())
