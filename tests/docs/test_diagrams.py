"""The diagrams of the pages are valid, and agree with the code."""

from __future__ import annotations

import re

import pytest

from bedrock_batch_monitor.domain import statuses
from tests.docs.pages import Block, blocks, read

DIAGRAMS = [block for block in blocks() if block.language == "mermaid"]
PARTICIPANT = re.compile(r"participant (?P<name>\w+)( as [^;#]+)?")
MESSAGE = re.compile(r"(?P<one>\w+)(?:->>|-->>)(?P<other>\w+): [^;#]+")
NOTE = re.compile(r"Note over (?P<name>\w+): [^;#]+")
CHANGE = re.compile(r"(?P<one>\w+|\[\*\]) --> (?P<other>\w+|\[\*\])")


def statements(block: Block) -> list[str]:
    return [line.strip() for line in block.text.splitlines()[1:] if line.strip()]


def diagram(kind: str) -> list[list[str]]:
    """The statements of each diagram of a kind."""
    return [statements(block) for block in DIAGRAMS if block.text.startswith(f"{kind}\n")]


def changes_of(lines: list[str]) -> set[tuple[str, str]]:
    """The arrows of a state diagram."""
    found = [CHANGE.fullmatch(line) for line in lines]
    return {(match["one"], match["other"]) for match in found if match is not None}


@pytest.mark.parametrize("block", DIAGRAMS, ids=str)
def test_diagram_is_of_a_kind_that_is_checked(block: Block) -> None:
    """Another kind needs a check here first."""
    assert block.text.partition("\n")[0] in {"sequenceDiagram", "stateDiagram-v2"}


@pytest.mark.parametrize("lines", diagram("sequenceDiagram"))
def test_sequence_diagram_uses_declared_participants_only(lines: list[str]) -> None:
    """Mermaid would draw a misspelt participant as one more column."""
    declared: set[str] = set()
    for line in lines:
        if (match := PARTICIPANT.fullmatch(line)) is not None:
            declared.add(match["name"])
            continue
        match = MESSAGE.fullmatch(line) or NOTE.fullmatch(line)
        assert match is not None, line
        assert set(match.groups()) <= declared, line


@pytest.mark.parametrize("lines", diagram("stateDiagram-v2"))
def test_state_diagram_has_every_status_and_only_terminal_ones_leave_it(lines: list[str]) -> None:
    """The ten statuses of the domain; no arrow leads back."""
    changes = changes_of(lines)

    assert len(changes) == len(lines)
    assert {name for change in changes for name in change} == {"[*]", *statuses.KNOWN}
    assert {one for one, other in changes if other == "[*]"} == set(statuses.TERMINAL)
    for one, other in changes - {("[*]", statuses.SUBMITTED)}:
        assert other == "[*]" or statuses.comes_before(one, other)


def test_crash_points_of_the_diagram_are_explained() -> None:
    """The page says for each crash point what happens after it."""
    [page] = {block.page for block in DIAGRAMS}
    [lines] = diagram("sequenceDiagram")
    drawn = {line.rpartition(" ")[2] for line in lines if "crash point" in line}
    explained = re.findall(r"^\| Crash at ([A-Z])(?: or ([A-Z]))?", read(page), re.MULTILINE)
    assert drawn == {name for names in explained for name in names if name}
