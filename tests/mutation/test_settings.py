from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.mutation.settings import (
    ROOT,
    Accepted,
    Code,
    SettingsError,
    read_accepted,
    read_settings,
    unresolved,
)


@pytest.fixture(scope="module")
def code() -> Code:
    """The code of this repository."""
    return Code.read(ROOT, read_settings().rings)


def test_fixed_set_names_functions_that_exist(code: Code) -> None:
    """A function that is renamed keeps its place in the fixed set."""
    names = read_settings().fixed_names
    assert names
    assert unresolved(code, names) == []


def test_name_without_a_definition_is_found(code: Code) -> None:
    """Neither a missing module nor a missing function resolves, nor does a variable."""
    module = "bedrock_batch_monitor.adapters.dynamodb.writes"
    wrong = [
        f"{module}:DONE",
        f"{module}:WriteResult.gone",
        "bedrock_batch_monitor.gone:WriteResult",
    ]
    assert unresolved(code, [*wrong, f"{module}:WriteResult"]) == sorted(wrong)


def test_rings_name_folders_and_tests_that_exist() -> None:
    """A ring without tests would have only survivors, and an exclusion of nothing is useless."""
    for ring in read_settings().rings:
        assert list((ROOT / ring.source).glob("*.py"))
        for name in (*ring.tests, *ring.exclude):
            assert (ROOT / name.partition("::")[0]).exists(), name


def test_exclusion_matches_a_folder_a_file_or_a_test() -> None:
    """A name that only begins like an excluded one does not match."""
    ring = read_settings().rings[0]
    assert ring.is_excluded("tests/component/bedrock_stand_in/test_a.py::test_b")
    assert ring.is_excluded("tests/explorer/test_dynamodb.py::test_b[1]")
    assert not ring.is_excluded("tests/explorer/test_dynamodb.pyi")


def test_mutant_of_the_repository_is_found_by_an_accepted_entry(code: Code) -> None:
    """The key in the list and that of the mutant are the same text."""
    ring = read_settings().rings[0]
    keys = [mutant.key for mutant in code.mutants(ring)]
    assert len(set(keys)) == len(keys)
    assert all(entry.reason for entry in read_accepted())


def test_accepted_entry_has_name_mutation_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "accepted.toml"
    path.write_text("[[accepted]]\nname = 'a:b'\nmutation = 'c -> d'\nreason = 'equal'\n")
    assert read_accepted(path) == (Accepted("a:b", "c -> d", "equal"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[accepted]]\nname = 'a'\nmutation = 'b'\n", "entry 1 has no reason: add it"),
        (
            "[[accepted]]\nname = 'a'\nmutation = 'b'\nreason = ' '\n",
            "entry 1 has no reason: add it",
        ),
        ("[[accepted]]\nreason = 'x'\n", "entry 1 has no name, mutation: add it"),
        ("[[accepted]]\nname = 'a'\nmutation = 'b'\nreason = 'c'\n" * 2, "a: b is there twice"),
        ("[[accepted", "is not valid TOML"),
    ],
)
def test_invalid_accepted_entry_is_named(tmp_path: Path, text: str, message: str) -> None:
    """An entry needs all three, once."""
    path = tmp_path / "accepted.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_accepted(path)


def test_ring_without_tests_is_named(tmp_path: Path) -> None:
    """The error contains the file."""
    path = tmp_path / "mutation.toml"
    path.write_text("[[ring]]\nname = 'a'\nsource = 'b'\nsampled = true\n")
    assert tomllib.loads(path.read_text())
    with pytest.raises(SettingsError, match=r"mutation.toml: a \[\[ring\]\] has no 'tests'"):
        read_settings(path)
