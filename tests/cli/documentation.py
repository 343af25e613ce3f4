"""`python -m tests.cli.documentation`: writes the help texts into docs/command-line.md."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# As a program, it must find the code in the same way as the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "functions"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "cli"))

from typer.main import get_command
from typer.testing import CliRunner

from bbm.main import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"
_HELP = re.compile(
    r"(?P<start><!-- help of bbm ?(?P<command>\w*) -->\n<!-- sample output -->\n```text\n)"
    r"(?P<text>.*?)(?P<end>```\n<!-- end of help -->)",
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


def documented() -> dict[str, str]:
    """The help texts on the page, by command."""
    return {match["command"]: match["text"] for match in _HELP.finditer(PAGE.read_text())}


def main() -> None:
    """Write every help text into its place on the page."""
    page = PAGE.read_text()
    PAGE.write_text(
        _HELP.sub(lambda match: match["start"] + help_of(match["command"]) + match["end"], page)
    )


if __name__ == "__main__":
    main()
