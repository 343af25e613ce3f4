from __future__ import annotations

import ast
import functools
import gc
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.mutation.operators import facts_of, mutants, mutated
from tests.mutation.probes import (
    Probes,
    caches_of,
    mentions_of,
    names_made_with,
    statements_using,
)
from tests.mutation.worker import UnpatchableError, live_functions, patch

SOURCE = dedent(
    '''
    """Module."""
    from __future__ import annotations

    def f(a):
        """Docstring."""
        if a > 1:
            b = a
        elif a == 1:
            b = 0
        else:
            try:
                b = 1 / a
            except ZeroDivisionError:
                b = LIMIT
        return b

    LIMIT = 7
    '''
).lstrip()


def lines_run(probes: Probes, call: Callable[[], Any]) -> list[int]:
    """The lines that a call runs."""
    probes.hits.clear()
    call()
    return sorted(probes.place(number)[1] for number in probes.hits)


def test_probes_record_which_statements_ran() -> None:
    """Branches, handlers and `elif` are distinguished, and nothing else is changed."""
    probes = Probes(["other.py", "code.py"])
    names: dict[str, Any] = {}
    exec(compile(probes.instrumented("code.py", ast.parse(SOURCE)), "code.py", "exec"), names)  # noqa: S102
    function = names["f"]
    assert [function(number) for number in (2, 1, 0)] == [2, 0, 7]
    assert function.__doc__ == "Docstring."
    assert lines_run(probes, lambda: function(2)) == [6, 7, 15]
    assert lines_run(probes, lambda: function(1)) == [6, 8, 9, 15]
    assert lines_run(probes, lambda: function(0)) == [6, 8, 11, 12, 14, 15]
    assert {probes.place(number)[0] for number in probes.hits} == {"code.py"}


def test_uses_of_a_name_are_found() -> None:
    """The statement in a function, with the plain name or after a dot."""
    found = statements_using(
        {
            "code.py": ast.parse(SOURCE),
            "other.py": ast.parse("def g():\n    return code.LIMIT\n"),
        }
    )
    assert ("code.py", 14) in found["LIMIT"]
    assert ("other.py", 2) in found["LIMIT"]


def test_names_defined_with_a_name_are_found() -> None:
    """In a module and in a class; not in a function, which runs later."""
    source = """\
ROWS = (row(LIMIT), other.KIND)
class Table:
    rows: tuple = ROWS
def f():
    local = LIMIT
"""
    assert names_made_with([ast.parse(source)]) == {
        "row": {"ROWS"},
        "LIMIT": {"ROWS"},
        "other": {"ROWS"},
        "KIND": {"ROWS"},
        "ROWS": {"rows"},
    }


def test_tests_that_mention_a_name_are_found() -> None:
    """In their own code or decorators, or in what a file has for all of them; imports say less."""
    source = """\
from code import LIMIT, ROWS, f
def helper():
    return f()
@cases(LIMIT)
def test_a(a):
    assert a
class TestRows:
    def test_b(self):
        assert code.ROWS
"""
    tests = ("test_x.py::test_a[1]", "test_x.py::test_a[2]", "test_x.py::TestRows::test_b")
    found = mentions_of({"test_x.py": ast.parse(source)}, tests)
    assert found["LIMIT"] == {*tests[:2]}
    assert found["ROWS"] == {tests[2]}
    assert found["f"] == {*tests}


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[[str], tuple[dict[str, Any], Callable[[int], None]]]:
    """Runs a module and gives its names, and a function that puts in one of its mutants."""

    def load(source: str) -> tuple[dict[str, Any], Callable[[int], None]]:
        path = str(tmp_path / "code.py")
        facts = facts_of([ast.parse(source)])
        names: dict[str, Any] = {}
        exec(compile(source, path, "exec"), names)  # noqa: S102

        def mutate(number: int) -> None:
            functions = live_functions(frozenset({path}))
            patch(functions, compile(mutated(source, facts, number), path, "exec"))

        return names, mutate

    return load


def test_existing_references_to_a_function_are_changed(
    loaded: Callable[[str], tuple[dict[str, Any], Callable[[int], None]]],
) -> None:
    """A holder of the function, such as a cache or an instance, runs the mutant."""
    source = dedent(
        """
        import functools

        @functools.cache
        def cached(a):
            return a + 1

        class Counter:
            def count(self, a):
                return [each for each in a if each]
        """
    )
    names, mutate = loaded(source)
    count = names["Counter"]().count
    numbers = {
        mutant.mutation: mutant.number
        for mutant in mutants("code.py", "code", source, facts_of([ast.parse(source)]))
    }
    mutate(numbers["a + 1 -> a - 1"])
    assert names["cached"](5) == 4
    assert count([0, 1]) == [1]
    mutate(numbers["each -> not each"])
    assert count([0, 1]) == [0]


def test_change_at_import_cannot_be_patched(
    loaded: Callable[[str], tuple[dict[str, Any], Callable[[int], None]]],
) -> None:
    """The module has to be imported again: the worker reports it, and changes nothing."""
    _, mutate = loaded("LIMIT = 3\n\ndef f():\n    return LIMIT\n")
    with pytest.raises(UnpatchableError):
        mutate(0)


def test_caches_that_the_collector_does_not_see_are_found() -> None:
    """The handlers freeze what they import; a cache that is not cleared hides what a test runs."""
    made = functools.cache(lambda a: a)
    made.__module__ = "frozen.package"
    gc.collect()
    gc.freeze()
    try:
        assert any(cache is made for cache in caches_of(("frozen.package",)))
    finally:
        gc.unfreeze()
