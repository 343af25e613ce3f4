from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bbm.doctor.context import Finding
from bbm.main import app
from bbm.tables import Change
from bedrock_batch_monitor.domain.summary import PollSummary
from local.bedrock import Phase, Script

from .conftest import Bbm
from .documentation import PAGE, README, commands, documented, help_of, sample_of, samples
from .samples import SAMPLES

TEXT = PAGE.read_text()
EXAMPLES = re.findall(r"^\$ (bbm .*)$", TEXT, re.MULTILINE)

OF_STACK = {"doctor", "trace", "rediscover", "letters"}


def options_of(command: str) -> set[str]:
    """Every option that a command takes and shows."""
    found = get_command(app).commands[command]  # type: ignore[attr-defined]
    return {
        name
        for parameter in found.params
        for name in parameter.opts
        if name[0] == "-" and not getattr(parameter, "hidden", False)
    }


@pytest.mark.parametrize("command", commands(), ids=lambda command: command or "bbm")
def test_help_on_the_page_is_current(command: str) -> None:
    """The page has the help of every command as it is; `tests.cli.documentation` writes it."""
    assert documented()[command] == help_of(command)


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_on_the_page_is_what_bbm_prints(name: str) -> None:
    """`make docs` writes the samples; each is on the page."""
    kind, text = samples()[name]
    assert text == sample_of(name, kind)
    assert samples(README).get(name, (kind, text)) == (kind, text)


def test_page_has_no_sample_that_nothing_generates() -> None:
    """Only the table of the costs is generated elsewhere.

    Four commands need the whole deployed stack, so their samples are written by hand, and
    `tests/deployed/test_health.py` runs the commands.
    """
    fences = re.findall(
        r"(.*)\n<!-- sample output -->\n```(?:console|json)\n(?:\$ bbm (\w+))?", TEXT
    )
    others = [found for found in fences if not found[0].startswith("<!-- sample of bbm: ")]
    assert [line for line, command in others if command not in OF_STACK] == [
        "<!-- generated: bbm cost -->"
    ]
    assert {command for _, command in others} >= OF_STACK


def test_page_has_no_help_of_a_removed_command() -> None:
    assert set(documented()) == set(commands())


@pytest.mark.parametrize("command", [command for command in commands() if command])
def test_every_command_has_a_section_with_an_example(command: str) -> None:
    """It has its own heading, and a command line."""
    assert f"\n## bbm {command}\n" in TEXT
    assert any(example.split()[1] == command for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_use_existing_commands_and_options(example: str) -> None:
    _, command, *rest = shlex.split(example.partition(" | ")[0])
    used = {word.partition("=")[0] for word in rest if word.startswith("-")}
    assert used <= options_of(command)


def test_every_option_is_on_the_page() -> None:
    """At least in the help texts."""
    for command in commands()[1:]:
        assert {
            option
            for option in options_of(command)
            if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", documented()[command])
        } == set()


def test_page_names_the_keys_of_json_documents(bbm: Bbm, tmp_path: Path) -> None:
    """Exactly the keys that the documents have."""
    rows = re.findall(r"^\| `bbm (\w+)` \| (.*?) \|$", TEXT, re.MULTILINE)
    on_page = {command: set(re.findall(r"`(\w+)`", keys)) for command, keys in rows}
    arn = bbm.cloud.add_job(Script((Phase("Failed", None, "why"),)))
    bbm.cloud.poll()

    def keys(*arguments: str) -> set[str]:
        return set(bbm(*arguments, "--json").document)

    assert on_page == {
        "track": keys("track", arn) | {"jobArn", "result", "status"},
        "untrack": keys("untrack", arn) | {"jobArn", "result", "status"},
        # Without quotas there are no slots.
        "jobs": keys("jobs") | {"slots"},
        "history": keys("history", arn),
        "find": keys("find", "--status", "Failed"),
        "watch": keys("watch", arn),
        "replay": keys("replay", arn),
        "errors": {
            *("jobArn", "records", "total", "success", "error", "missing", "retryFile", "path"),
            *("groups", "errorCode", "pattern", "count", "recordIds"),
        },
        "usage": keys("usage"),
        "poll": set(),
        "rediscover": set(),
        "forecast": set(),
        "doctor": {"healthy", "findings"} | {each.name for each in fields(Finding)},
        "trace": {"jobArn", "since", "timeline"},
        "letters": {
            *("letters", "messageId", "kind", "advice", "jobArn", "reason", "moved", "dropped"),
        },
        "cost": keys("cost"),
        "report": keys("report", "-o", str(tmp_path / "report.html")),
    }


def test_page_explains_every_result_of_track_and_untrack() -> None:
    assert set(re.findall(r"^- `(\w+)`: ", TEXT, re.MULTILINE)) == {str(c) for c in Change}


def test_json_samples_of_the_page_are_valid() -> None:
    documents: list[Any] = [
        json.loads(text) for text in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    ]
    assert len(documents) == 6
    [summary] = [document for document in documents if "complete" in document]
    assert set(summary) <= set(PollSummary().as_json())
