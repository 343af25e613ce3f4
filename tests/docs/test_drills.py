"""The table of drills in the runbook, and the commands that the drills take from the page."""

from __future__ import annotations

import pytest

from tests.deployed.drills import DRILLS, GOAL_SECONDS, Drill, is_in_runbook
from tests.docs.pages import rows, section


def measured() -> list[list[str]]:
    """The rows of the table that `make drills` writes."""
    return rows(section("docs/operating.md", "## How fast a fault is found and repaired"))


def test_table_has_every_drill() -> None:
    """In the order of the program, and nothing else."""
    assert [cells[0] for cells in measured()] == [drill.fault for drill in DRILLS]
    assert len(DRILLS) >= 17


def test_every_fault_was_found_in_two_minutes() -> None:
    """The goal for the command that names the cause."""
    seconds = [int(cells[2].removesuffix(" s")) for cells in measured()]

    assert max(seconds) <= GOAL_SECONDS


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.fault)
def test_commands_of_the_drill_are_in_the_runbook(drill: Drill) -> None:
    """Nothing is repaired with a command that the page does not have."""
    assert drill.recover
    assert [step for step in drill.recover if not is_in_runbook(step)] == []
