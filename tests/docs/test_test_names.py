"""Names of tests: a subject and an expectation, such as `test_event_is_sent_again`."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import pytest

TESTS = Path(__file__).parents[1]
# A topic has one or two words: it does not say what is expected.
FEWEST_WORDS = 3


def topics(source: str) -> list[str]:
    """The names of tests that have too few words for an expectation."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(words(node.name)) < FEWEST_WORDS
    ]


def words(name: str) -> list[str]:
    """The words of a test's name after `test_`."""
    return [word for word in name.removeprefix("test_").split("_") if word]


@pytest.mark.parametrize(
    "folder", sorted({file.parent for file in TESTS.rglob("test_*.py")}), ids=lambda each: each.name
)
def test_names_have_a_subject_and_an_expectation(folder: Path) -> None:
    """At least three words: what is tested, and what is expected of it."""
    found = {file.name: topics(file.read_text()) for file in folder.glob("test_*.py")}

    assert {file: names for file, names in found.items() if names} == {}


def test_name_without_an_expectation_is_found() -> None:
    """The check can fail: for a function, a method, and a coroutine."""
    source = """
        def test_round_trip(): ...
        def test_event_is_sent(cloud): ...
        class TestQueues:
            def test_queues(self): ...
        async def test_job_(): ...
        def round_trip(): ...
    """

    assert topics(dedent(source)) == ["test_round_trip", "test_job_", "test_queues"]
