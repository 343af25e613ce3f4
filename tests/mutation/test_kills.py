from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.kills import Kills
from tests.mutation.operators import Mutant

SECONDS = {"quick": 0.1, "slow": 9.0, "other": 0.2, "of module": 0.1, "own": 5.0}


def mutant(qualname: str, mutation: str = "a -> b", module: str = "pack.code") -> Mutant:
    """A mutant of a function."""
    return Mutant(
        path="pack/code.py",
        module=module,
        qualname=qualname,
        operator="comparison",
        number=0,
        line=3,
        last_line=3,
        statement=3,
        mutation=mutation,
        difference=("a", "b"),
        at_definition=False,
    )


@pytest.fixture
def kills(tmp_path: Path) -> Kills:
    """A memory without anything in it."""
    return Kills(tmp_path / "build" / "kills.json")


def test_test_that_detected_the_mutant_before_comes_first(kills: Kills) -> None:
    """However slow: it is the one that detects it."""
    kills.note(mutant("f"), "own")
    kills.note(mutant("f", "c -> d"), "quick")
    assert kills.hints(mutant("f"), SECONDS) == ("own", "quick")


def test_tests_of_the_same_function_come_before_those_of_its_module(kills: Kills) -> None:
    """What detected something in another module is no hint."""
    kills.note(mutant("g"), "of module")
    kills.note(mutant("f", "c -> d"), "other")
    kills.note(mutant("f", module="pack.else"), "quick")
    assert kills.hints(mutant("f"), SECONDS) == ("other", "of module")


def test_tests_that_detect_more_in_less_time_come_first(kills: Kills) -> None:
    """A slow test is worth its time if it detects many mutants."""
    for number in range(100):
        kills.note(mutant("f", f"{number} -> 1"), "slow")
    kills.note(mutant("f", "c -> d"), "other")
    kills.note(mutant("f", "e -> f"), "quick")
    assert kills.hints(mutant("f"), SECONDS) == ("slow", "quick", "other")


def test_test_that_does_not_exist_any_more_is_no_hint(kills: Kills) -> None:
    kills.note(mutant("f"), "gone")
    kills.note(mutant("f", "c -> d"), "gone")
    assert kills.hints(mutant("f"), SECONDS) == ()


def test_kills_of_existing_mutants_are_remembered(kills: Kills) -> None:
    """A mutant of code that changed is forgotten."""
    kills.note(mutant("f"), "quick")
    kills.note(mutant("changed"), "slow")
    kills.write()
    again = Kills.read(kills.path, {mutant("f").key, mutant("new").key})
    assert again.tests == {mutant("f").key: "quick"}


def test_first_run_has_no_hints(tmp_path: Path) -> None:
    assert Kills.read(tmp_path / "none.json", set()).tests == {}
