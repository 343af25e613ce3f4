from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation.recordings import by_file, files_of_tests, importers_of, in_parts
from tests.mutation.servers import Project
from tests.mutation.settings import Code, Ring


def test_recording_is_split_by_file() -> None:
    """Each file has its own tests, with its own numbers."""
    recorded = {
        "tests": [["b.py::test_1", 0.5], ["a.py::test_2", 1.0], ["b.py::test_3[x::y]", 2.0]],
        "statements": [["code.py", 3, [0, 1]], ["code.py", 4, [2]]],
        "failed": ["c.py::test_4"],
        "imported": [["code.py", 1]],
    }
    assert by_file(recorded) == {
        "b.py": {
            "tests": [["b.py::test_1", 0.5], ["b.py::test_3[x::y]", 2.0]],
            "statements": [["code.py", 3, [0]], ["code.py", 4, [1]]],
            "failed": [],
            "imported": [["code.py", 1]],
        },
        "a.py": {
            "tests": [["a.py::test_2", 1.0]],
            "statements": [["code.py", 3, [0]]],
            "failed": [],
            "imported": [["code.py", 1]],
        },
        "c.py": {
            "tests": [],
            "statements": [],
            "failed": ["c.py::test_4"],
            "imported": [["code.py", 1]],
        },
    }


def test_parts_take_about_the_same_time() -> None:
    """The slowest file has its own core if the others are faster together."""
    assert in_parts({"a": 5.0, "b": 1.0, "c": 2.0, "d": 1.5}, 2) == [["a"], ["b", "c", "d"]]
    assert in_parts({"a": 5.0}, 2) == [["a"]]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("checks/test_one.py", ["checks/test_one.py"]),
        ("pack/code.py", ["checks/test_one.py", "checks/test_two.py"]),
        ("checks/conftest.py", ["checks/test_one.py", "checks/test_two.py"]),
        ("README.md", []),
    ],
)
def test_only_changed_tests_are_recorded_again(
    tmp_path: Path, changed: str, expected: list[str]
) -> None:
    """A test by its own file, all of them when the code or a helper has changed."""
    names = ("pack/code.py", "checks/conftest.py", "checks/test_one.py", "checks/test_two.py")
    for name in (*names, "README.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("a = 1\n")
    ring = Ring("ring", "pack", ("checks",), sampled=True, exclude=(), preload=(), lifetime=0)

    def digests() -> dict[str, str]:
        code = Code.read(tmp_path, [Ring("all", "checks", (), True, (), (), 0), ring])  # noqa: FBT003
        return files_of_tests(Project(code, tmp_path / "mutation.toml"), ring)

    before = digests()
    (tmp_path / changed).write_text("a = 2\n")
    after = digests()
    assert sorted(name for name in after if after[name] != before[name]) == expected


def test_ring_contains_folders_or_files(tmp_path: Path) -> None:
    """A single file of tests is a valid entry."""
    for name in ("checks/test_one.py", "checks/test_two.py", "checks/helper.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("a = 1\n")

    def files(*tests: str) -> list[str]:
        ring = Ring("ring", "pack", tests, sampled=True, exclude=(), preload=(), lifetime=0)
        return list(files_of_tests(Project(Code.read(tmp_path, [ring])), ring))

    assert files("checks") == ["checks/test_one.py", "checks/test_two.py"]
    assert files("checks/test_two.py") == ["checks/test_two.py"]


def test_importers_of_a_module_are_found() -> None:
    """With a plain import, of the module itself, and of something in it."""
    found = importers_of(
        {
            "a.py": ast.parse("import pack.code"),
            "b.py": ast.parse("from pack import code as c"),
            "c.py": ast.parse("from pack.code import f"),
            "d.py": ast.parse("from pack.other import code"),
        }
    )
    assert found["pack.code"] == {"a.py", "b.py", "c.py"}
