"""`python -m tests.cli.documentation`: writes what `bbm` prints.

The help texts and the samples go into docs/command-line.md and the README, the pictures into
tests/cli/pictures.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

# As a program, it must find the code in the same way as the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "functions"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cli"))

from typer.main import get_command
from typer.testing import CliRunner

from bbm.main import app
from tests.cli.samples import PICTURES, SAMPLES, WIDTHS, file_of, picture

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "command-line.md"
README: Final = ROOT / "README.md"
_HELP: Final = re.compile(
    r"(?P<start><!-- help of bbm ?(?P<command>\w*) -->\n<!-- sample output -->\n```text\n)"
    r"(?P<text>.*?)(?P<end>```\n<!-- end of help -->)",
    re.DOTALL,
)
_SAMPLE: Final = re.compile(
    r"(?P<start><!-- sample of bbm: (?P<name>[\w ]+) -->\n<!-- sample output -->\n"
    r"```(?P<kind>console|json)\n)(?P<text>.*?)(?P<end>```\n<!-- end of sample -->)",
    re.DOTALL,
)


def commands() -> tuple[str, ...]:
    """The commands in the order of the help. The empty text means `bbm` itself."""
    return ("", *get_command(app).commands)  # type: ignore[attr-defined]


def help_of(command: str) -> str:
    """What `bbm <command> --help` prints."""
    arguments = [command, "--help"] if command else ["--help"]
    runner = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    return runner.invoke(app, arguments, prog_name="bbm").stdout


def sample_of(name: str, kind: str) -> str:
    """A sample as the page shows it: with its command line, unless it is a document alone."""
    sample = SAMPLES[name]
    return sample.printed() if kind == "json" else f"$ {sample.line}\n{sample.printed()}"


def documented() -> dict[str, str]:
    """The help texts on the page, by command."""
    return {match["command"]: match["text"] for match in _HELP.finditer(PAGE.read_text())}


def samples(page: Path = PAGE) -> dict[str, tuple[str, str]]:
    """The kind and the text of each sample on a page, by name."""
    return {
        match["name"]: (match["kind"], match["text"])
        for match in _SAMPLE.finditer(page.read_text())
    }


def main() -> None:
    """Write every help text, every sample and every picture into its place."""

    def current_help(match: re.Match[str]) -> str:
        return match["start"] + help_of(match["command"]) + match["end"]

    def current_sample(match: re.Match[str]) -> str:
        return match["start"] + sample_of(match["name"], match["kind"]) + match["end"]

    for page in (PAGE, README):
        page.write_text(_SAMPLE.sub(current_sample, _HELP.sub(current_help, page.read_text())))
    PICTURES.mkdir(exist_ok=True)
    for width in WIDTHS:
        file_of(width).write_text(picture(width))


if __name__ == "__main__":
    main()
