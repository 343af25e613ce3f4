"""The table of drills in the runbook, and the commands of the page that the drills run."""

from __future__ import annotations

import pytest

from tests.deployed.drills import DRILLS, GOAL_SECONDS, Drill, is_in_runbook
from tests.docs.pages import rows, section


def measured() -> list[list[str]]:
    """The rows of the table that `make drills` writes."""
    return rows(section("docs/operating.md", "## How fast a fault is found and repaired"))


def test_table_has_every_drill() -> None:
    """In the order of the program, without other rows."""
    assert [cells[0] for cells in measured()] == [drill.fault for drill in DRILLS]
    assert len(DRILLS) >= 17


def test_every_fault_was_found_in_two_minutes() -> None:
    """It is the target for the command that finds the cause."""
    seconds = [int(cells[2].removesuffix(" s")) for cells in measured()]

    assert max(seconds) <= GOAL_SECONDS


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.fault)
def test_commands_of_the_drill_are_in_the_runbook(drill: Drill) -> None:
    """Every command of a recovery is on the page."""
    assert drill.recover
    assert [step for step in drill.recover if not is_in_runbook(step)] == []
