from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.mutation.choose import (
    Touched,
    base_revision,
    changed_lines,
    hints_first,
    in_budget,
    in_order,
    parse_diff,
    plan,
    quickest_of_each_file,
)
from tests.mutation.operators import Mutant, facts_of, mutants
from tests.mutation.settings import CHANGED, FIXED, SAMPLE

SOURCE = """\
LIMIT = 3
class Table:
    def put(self, a):
        return a < LIMIT
    def get(self, a):
        return a > 1
def other(a):
    return a == 0
"""
PATH = "pack/code.py"


@pytest.fixture
def found() -> list[Mutant]:
    """The mutants of a small module."""
    return list(mutants(PATH, "pack.code", SOURCE, facts_of([ast.parse(SOURCE)])))


def planned(found: list[Mutant], **changes: object) -> list[tuple[str, str]]:
    """Part and function of each mutant that is to be tried, in their order."""
    options: dict[str, object] = {
        "fixed": frozenset(),
        "changed": {},
        "sampled": ["pack"],
        "size": 100,
        "seed": "1",
    }
    chosen = plan(found, **(options | changes))  # type: ignore[arg-type]
    return [(part, mutant.qualname) for part, mutant in chosen]


def test_fixed_set_has_every_mutant_of_its_functions(found: list[Mutant]) -> None:
    """A class stands for all of its methods; a fixed mutant is in no other part."""
    parts = planned(found, fixed=frozenset({"pack.code:Table"}), changed={PATH: {4}})
    count = sum(mutant.qualname.startswith("Table") for mutant in found)
    assert sum(part == FIXED for part, _ in parts) == count
    assert {name for part, name in parts if part == FIXED} == {"Table.put", "Table.get"}
    assert CHANGED not in {part for part, _ in parts}


def test_changed_lines_have_their_own_part(found: list[Mutant]) -> None:
    """Every mutant of a changed line is tried, also in packages that are not sampled."""
    parts = planned(found, changed={PATH: {8}}, sampled=[])
    assert {name for _, name in parts} == {"other"}
    assert {part for part, _ in parts} == {CHANGED}


def test_sample_is_determined_by_its_seed(found: list[Mutant]) -> None:
    """The seed decides which mutants are tried, and their order."""
    assert planned(found, size=3) == planned(found, size=3)
    assert len(planned(found, size=3)) == 3
    assert {tuple(planned(found, size=3, seed=str(seed))) for seed in range(20)} != {
        tuple(planned(found, size=3))
    }


def test_interrupted_run_has_tried_both_parts(found: list[Mutant]) -> None:
    """Changed lines and the sample alternate."""
    parts = planned(found, changed={PATH: {4, 6}})
    assert {part for part, _ in parts[:3]} == {CHANGED, SAMPLE}


def test_diff_names_the_new_lines() -> None:
    """Removed lines and removed files have none."""
    text = """\
--- a/pack/code.py
+++ b/pack/code.py
@@ -3 +3,2 @@ class Table:
-old
+new
+newer
@@ -9,2 +10,0 @@ def other
-gone
-gone
@@ -20 +19 @@
-x
+y
--- a/pack/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x
"""
    assert parse_diff(text) == {PATH: {3, 4, 19}}


def test_changes_are_counted_from_the_start_of_the_branch(tmp_path: Path) -> None:
    """Committed, uncommitted and untracked changes count, those of the main branch do not."""

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(tmp_path), *identity, *arguments],  # noqa: S607
            check=True,
            capture_output=True,
        )

    code = tmp_path / "code.py"
    git("init", "--initial-branch=main")
    for text in ("a = 1\nb = 1\nc = 1\n", "a = 2\nb = 1\nc = 1\n"):
        code.write_text(text)
        git("add", "code.py")
        git("commit", "-m", "main")
    # On the main branch itself, the last commit is what has changed.
    assert changed_lines(tmp_path, base_revision(tmp_path)) == {"code.py": {1}}
    git("switch", "-c", "topic")
    code.write_text("a = 2\nb = 2\nc = 1\n")
    git("commit", "-am", "topic")
    code.write_text("a = 2\nb = 2\nc = 2\n")
    (tmp_path / "new.py").write_text("d = 1\n")
    assert changed_lines(tmp_path, base_revision(tmp_path)) == {"code.py": {2, 3}, "new.py": {1}}


def test_tests_that_run_the_line_are_chosen(found: list[Mutant]) -> None:
    """A test that does not run the changed statement is left out."""
    touched = Touched(
        seconds={"slow": 2.0, "quick": 0.1, "elsewhere": 0.1},
        tests={(PATH, 4): frozenset({"slow", "quick"}), (PATH, 8): frozenset({"elsewhere"})},
    )
    mutant = next(mutant for mutant in found if mutant.qualname == "Table.put")
    assert touched.tests_of(mutant) == ("quick", "slow")


def test_constant_is_tested_by_tests_of_its_uses(found: list[Mutant]) -> None:
    """A change at import selects the tests of the statements that name it."""
    touched = Touched(
        seconds={"user": 1.0, "elsewhere": 0.1},
        tests={(PATH, 4): frozenset({"user"}), (PATH, 8): frozenset({"elsewhere"})},
        uses={"LIMIT": frozenset({(PATH, 4)})},
    )
    mutant = next(mutant for mutant in found if mutant.qualname == "<module>")
    assert touched.tests_of(mutant) == ("user",)


def test_constant_is_tested_by_tests_that_name_it(found: list[Mutant]) -> None:
    """They come first, however slow: no function of the code has to use the constant."""
    touched = Touched(
        seconds={"names it": 5.0, "user": 1.0, "user of a table": 2.0, "elsewhere": 0.1},
        tests={
            (PATH, 4): frozenset({"user"}),
            (PATH, 6): frozenset({"user of a table"}),
            (PATH, 8): frozenset({"elsewhere"}),
        },
        uses={"LIMIT": frozenset({(PATH, 4)}), "TABLE": frozenset({(PATH, 6)})},
        made_with={"LIMIT": frozenset({"ROW"}), "ROW": frozenset({"TABLE", "ROW"})},
        mentions={"LIMIT": frozenset({"names it"})},
    )
    mutant = next(mutant for mutant in found if mutant.qualname == "<module>")
    assert touched.tests_of(mutant) == ("names it", "user", "user of a table")


def test_tests_of_a_file_that_imports_the_module_come_first(found: list[Mutant]) -> None:
    """They are about the constant; the first of all are those that name it."""
    seconds = {"a.py::user": 0.1, "b.py::named": 3.0, "c.py::about": 9.0, "c.py::both": 9.5}
    touched = Touched(
        seconds=seconds,
        tests={(PATH, 4): frozenset(seconds)},
        uses={"LIMIT": frozenset({(PATH, 4)})},
        mentions={"LIMIT": frozenset({"b.py::named", "c.py::both"})},
        importers={"pack.code": frozenset({"c.py"})},
    )
    mutant = next(mutant for mutant in found if mutant.qualname == "<module>")
    assert touched.tests_of(mutant) == ("c.py::both", "c.py::about", "b.py::named", "a.py::user")


def test_function_of_an_import_is_tested_by_tests_of_what_it_makes(found: list[Mutant]) -> None:
    """No test runs it, so each test needs a module that is imported with the mutant."""
    touched = Touched(
        seconds={"user": 1.0, "elsewhere": 0.1},
        tests={(PATH, 4): frozenset({"user"}), (PATH, 6): frozenset({"elsewhere"})},
        uses={"TABLE": frozenset({(PATH, 4)})},
        imported=frozenset({(PATH, 8), (PATH, 6)}),
        made_with={"other": frozenset({"TABLE"})},
    )
    mutants_of = {mutant.qualname: mutant for mutant in found}
    assert touched.tests_of(mutants_of["other"]) == ("user",)
    assert touched.runs_at_import(mutants_of["other"])
    # Tests call this one as well: they see a mutant of it without another import.
    assert touched.tests_of(mutants_of["Table.get"]) == ("elsewhere",)
    assert not touched.runs_at_import(mutants_of["Table.get"])


def test_tests_that_run_little_else_come_first() -> None:
    """A test of a whole poll may be as quick as a unit test, and says less about one statement."""
    seconds = {"a.py::unit": 0.1, "b.py::poll": 0.1, "c.py::slow": 1.0}
    statements = {"a.py::unit": 20, "b.py::poll": 900, "c.py::slow": 20}
    assert in_order(seconds, seconds, statements) == ("a.py::unit", "c.py::slow", "b.py::poll")


def test_cases_of_one_test_do_not_keep_other_tests_waiting() -> None:
    """Each further case of a test weighs more, as each further test of a file does."""
    cases = [f"a.py::cases[{number}]" for number in range(100)]
    others = ["a.py::other", "b.py::other"]
    seconds = dict.fromkeys(cases, 0.1) | dict.fromkeys(others, 0.15)
    ordered = in_order(seconds, seconds, dict.fromkeys(seconds, 10))
    assert sorted(ordered) == sorted(seconds)
    assert max(ordered.index(test) for test in others) < 20


def test_order_of_tests_is_the_same_each_time() -> None:
    """Tests of the same weight are in the order of their names."""
    tests = {"b.py::x", "a.py::x", "c.py::x"}
    ordered = in_order(tests, dict.fromkeys(tests, 1.0), dict.fromkeys(tests, 1))
    assert ordered == ("a.py::x", "b.py::x", "c.py::x")


def test_hint_that_names_no_test_of_the_line_is_ignored() -> None:
    """The others come first, in their order, and no test runs twice."""
    tests = ("a", "b", "c", "d")
    assert hints_first(tests, ("d", "gone", "b", "d")) == ("d", "b", "a", "c")


def test_quickest_test_stands_for_its_file() -> None:
    seconds = {"a.py::slow": 2.0, "a.py::quick": 0.3, "b.py::only": 0.2}
    assert quickest_of_each_file(seconds) == ("b.py::only", "a.py::quick")


def test_budget_excludes_slow_tests_but_keeps_one() -> None:
    """A mutant gets at least one test, however slow."""
    seconds = {"a": 1.0, "b": 2.0, "c": 9.0}
    assert in_budget(("a", "b", "c"), seconds, budget=4.0) == ("a", "b")
    assert in_budget(("c",), seconds, budget=4.0) == ("c",)


def test_files_to_import_are_part_of_the_budget() -> None:
    """For a mutant of what runs at import, tests of many files take longer than they say."""
    seconds = dict.fromkeys(("a.py::x", "a.py::y", "b.py::x", "c.py::x"), 0.1)
    tests = tuple(seconds)
    assert in_budget(tests, seconds, budget=1.0) == tests
    assert in_budget(tests, seconds, budget=1.0, seconds_per_file=0.5) == tests[:2]
