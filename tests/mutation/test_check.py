from __future__ import annotations

import gc
import subprocess
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from tests.mutation import worker
from tests.mutation.__main__ import check
from tests.mutation.check import NOT_TRIED, UNDECIDED, Check, Tried, report
from tests.mutation.choose import Touched
from tests.mutation.kills import Kills
from tests.mutation.operators import Mutant
from tests.mutation.recordings import Recording
from tests.mutation.servers import Lane, Project, ServerError
from tests.mutation.settings import FIXED, SAMPLE, Accepted, Code, Ring, read_settings
from tests.mutation.worker import (
    BROKEN,
    KILLED,
    SURVIVED,
    TIMED_OUT,
    Request,
    Verdict,
    in_child,
    live_functions,
    request_of,
)

SETTINGS = """
[[ring]]
name = "ring"
source = "src/pack"
tests = ["checks"]
sampled = true

[fixed]
"clamping" = ["pack.code:Clamp.put"]
"""
CODE = '''
from __future__ import annotations

LIMIT = 3

class Clamp:
    """Has a method that is patched while it lives."""

    def put(self, number: int) -> int:
        return max(number, 0)

def is_many(number: int) -> bool:
    return number > LIMIT

def weak(number: int) -> bool:
    return number > 10

def untested(number: int) -> int:
    return -number
'''
TESTS = """
from pack.code import Clamp, is_many, weak

def test_clamp():
    assert [Clamp().put(number) for number in (-1, 0, 1)] == [0, 0, 1]

def test_is_many():
    assert [is_many(number) for number in (3, 4)] == [False, True]

def test_weak():
    assert weak(20)
"""
OPTIONS = {
    "seed": "1",
    "sample": 100,
    "minutes": 5.0,
    "budget": 5.0,
    "part": None,
    "only": "",
    "base": "HEAD",
}


@pytest.fixture
def project(tmp_path: Path) -> Callable[[str, str], tuple[Project, Any]]:
    """Makes a repository of its own with one module and its tests."""

    def make(code: str, tests: str) -> tuple[Project, Any]:
        for name, text in {
            "src/pack/__init__.py": "",
            "src/pack/code.py": code,
            "checks/test_code.py": tests,
            "mutation.toml": SETTINGS,
        }.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for arguments in (
            ("init", "-q"),
            ("add", "."),
            ("-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "all"),
        ):
            subprocess.run(["git", *arguments], check=True, cwd=tmp_path)  # noqa: S603, S607
        settings = read_settings(tmp_path / "mutation.toml")
        made = Project(
            Code.read(tmp_path, settings.rings), tmp_path / "mutation.toml", tmp_path / "build"
        )
        return made, settings

    return make


def test_survivors_are_mutants_that_no_test_detects(
    project: Callable[[str, str], tuple[Project, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report distinguishes killed, survived, accepted and stale mutants of a repository.

    No file of the repository is written meanwhile.
    """
    monkeypatch.setattr("tests.mutation.__main__.WORKERS", 1)
    monkeypatch.setattr("tests.mutation.check.WORKERS", 1)
    made, settings = project(CODE, TESTS)
    files = {path: path.read_bytes() for path in made.code.root.rglob("*.py")}
    accepted = [
        Accepted("pack.code:weak", "number > 10 -> number >= 10", "only a test"),
        Accepted("pack.code:gone", "number > 10 -> number >= 10", "it was there once"),
    ]
    found, text = check(made, settings, accepted, Namespace(**OPTIONS), lambda _: None)
    assert found
    lines = text.splitlines()
    named = [line.strip() for line in lines if line.strip().startswith("mutation =")]
    assert sorted(named) == sorted(
        [
            # A change that its one test lets pass, and one that no test runs.
            "mutation = 'number > 10 -> number > 11'",
            "mutation = 'number > 10 -> number > 9'",
            "mutation = '-number -> number'",
        ]
    )
    assert "src/pack/code.py:16: sample, constant, tests run: 1" in lines
    assert "src/pack/code.py:19: sample, arithmetic, no test runs this line" in lines
    assert "    - return number > 10" in lines
    assert "    + return number > 11" in lines
    assert "accepted.toml: stale, matches nothing: pack.code:gone: number > 10 -> " in text
    figures = {line[:14].strip(): line[14:].split() for line in lines[-3:]}
    assert figures["fixed set"] == ["2", "0", "0", "0", "0", "0", "100.0", "%"]
    assert figures["sample"] == ["5", "0", "3", "1", "0", "0", "62.5", "%"]
    assert {path: path.read_bytes() for path in files} == files


def test_function_that_runs_only_at_import_is_tested(
    project: Callable[[str, str], tuple[Project, Any]],
) -> None:
    """The module is imported again for the tests of what it makes."""
    code = """
        def _row(number: int) -> int:
            return number + 1

        ROWS = (_row(1), _row(2))

        def rows():
            return ROWS
        """
    tests = """
        from pack.code import rows

        def test_rows():
            assert rows() == (2, 3)
        """
    made, settings = project(dedent(code), dedent(tests))
    settings = replace(settings, fixed={})
    found, text = check(made, settings, [], Namespace(**OPTIONS), lambda _: None)
    assert not found, text
    assert text.splitlines()[-1].split()[:3] == ["sample", "7", "0"]


def test_tests_that_depend_on_their_order_are_refused(
    project: Callable[[str, str], tuple[Project, Any]],
) -> None:
    """A test that fails after another one would count as a detected mutant."""
    tests = """
        import time
        from pack.code import Clamp
        state = []

        def test_first():
            time.sleep(0.2)
            state.append(Clamp().put(1))

        def test_second():
            assert state
            Clamp().put(2)
        """
    made, settings = project(CODE, dedent(tests))
    with pytest.raises(ServerError, match="test_second is killed without any mutant"):
        check(made, settings, [], Namespace(**OPTIONS), lambda _: None)


def test_code_without_any_test_that_passes_is_refused(
    project: Callable[[str, str], tuple[Project, Any]],
) -> None:
    """With no test that passes, every mutant would survive."""
    made, settings = project(CODE, "def test_broken():\n    assert 1 == 2\n")
    with pytest.raises(ServerError, match="no test passes without a mutant"):
        check(made, settings, [], Namespace(**OPTIONS), lambda _: None)


REQUEST = Request("code.py", 0, ("test_a", "test_b"), (0.0, 0.0))


@pytest.mark.parametrize(
    ("words", "outcome", "test"),
    [
        (("start 0", "start 1", "survived"), SURVIVED, None),
        (("start 0", "killed 0"), KILLED, "test_a"),
        (("start 0", "start 1"), KILLED, "test_b"),
        ((), BROKEN, None),
    ],
)
def test_child_that_ends_during_a_test_counts_as_killed(
    words: tuple[str, ...], outcome: str, test: str | None
) -> None:
    """The test that ran detected a mutant that ends the process; before that, nothing did."""

    def work(tell: Callable[[str], None]) -> None:
        for word in words:
            tell(word)

    verdict = in_child(work, REQUEST)
    assert (verdict.outcome, verdict.test) == (outcome, test)


@dataclass
class ScriptedLane(Lane):
    """Has a test that passes as a control, and then fails with and without a mutant."""

    ran: list[tuple[int, str]] = field(default_factory=list)

    def _run(
        self, _ring: Ring, _kind: str, _path: str, number: int, tests: Sequence[tuple[str, float]]
    ) -> Verdict:
        """Fail in a test that is named so, and in `good` on a mutant."""
        for test, _ in tests:
            self.ran.append((number, test))
            if test == "broken" or (test == "good" and number >= 0):
                return Verdict(KILLED, test)
        return Verdict(SURVIVED)


def test_test_that_fails_without_a_mutant_detects_none() -> None:
    """A test that fails by itself would count as the detection of every mutant."""
    lane = ScriptedLane(None, Path(), {"ring": [("quick", 0.0)]}, {})  # type: ignore[arg-type]
    ring = Ring("ring", "src/pack", ("checks",), sampled=True, exclude=(), preload=(), lifetime=0)
    assert lane.attempt(ring, "collected", "a", 1, [("good", 1.0)]) == Verdict(KILLED, "good")
    assert lane.attempt(ring, "collected", "a", 2, [("good", 1.0)]) == Verdict(KILLED, "good")
    # Its control, and the test that detected the first mutant, run once without one.
    assert lane.ran == [(-1, "quick"), (1, "good"), (-1, "good"), (2, "good")]
    with pytest.raises(ServerError, match="broken is killed without any mutant"):
        lane.attempt(ring, "collected", "a", 3, [("broken", 1.0)])


def test_endless_test_is_ended_by_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child without output for too long is ended."""
    monkeypatch.setattr(worker, "_LEAST_SECONDS", 0.1)

    def work(tell: Callable[[str], None]) -> None:
        tell("start 1")
        time.sleep(600)

    verdict = in_child(work, REQUEST)
    assert (verdict.outcome, verdict.test) == (TIMED_OUT, "test_b")


def test_slow_test_and_busy_machine_get_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit grows with the time of the test without a mutant, and with the load."""
    message = {"path": "code.py", "number": 0, "tests": ["a", "b"], "seconds": [0.0, 10.0]}
    request = request_of(message)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (1.0, 1.0, 1.0))
    assert (request.limit(0), request.limit(1)) == (8.0, 68.0)
    monkeypatch.setattr("os.getloadavg", lambda: (8.0, 1.0, 1.0))
    assert request.limit(0) == 32.0


def mutant(name: str, line: int = 3) -> Mutant:
    """A mutant in a function of this name."""
    return Mutant(
        path="pack/code.py",
        module="pack.code",
        qualname=name,
        operator="comparison",
        number=0,
        line=line,
        last_line=line,
        statement=line,
        mutation="a == 'x' -> a != 'x'",
        difference=("return a == 'x'", "return a != 'x'"),
        at_definition=False,
    )


def test_report_counts_mutants_that_were_not_tried() -> None:
    """Mutants for which there was no time are reported, and are not part of the score."""
    text = report(
        [
            Tried(FIXED, mutant("a"), KILLED, 1, 1),
            Tried(FIXED, mutant("b"), TIMED_OUT, 1, 1),
            Tried(SAMPLE, mutant("c"), NOT_TRIED),
            Tried(SAMPLE, mutant("d"), SURVIVED, 5, 5),
            Tried(SAMPLE, mutant("e", line=9), SURVIVED),
        ],
        [],
    )
    fixed, _, sample = (line.split() for line in text.splitlines()[-3:])
    assert fixed == ["fixed", "set", "1", "1", "0", "0", "0", "0", "100.0", "%"]
    assert sample == ["sample", "0", "0", "2", "0", "0", "1", "0.0", "%"]
    assert "pack/code.py:3: sample, comparison, tests run: 5" in text
    assert "pack/code.py:9: sample, comparison, no test runs this line" in text
    # As an entry of accepted.toml has it.
    assert "mutation = \"a == 'x' -> a != 'x'\"" in text


def test_mutant_whose_tests_did_not_all_run_is_undecided() -> None:
    """It counts against the score, and is not printed as a survivor to accept."""
    results = [
        Tried(FIXED, mutant("a"), KILLED, 1, 1),
        Tried(FIXED, mutant("b", line=7), UNDECIDED, 2, 5),
    ]
    lines = report(results, []).splitlines()
    assert lines[-3].split() == ["fixed", "set", "1", "0", "0", "0", "1", "0", "50.0", "%"]
    assert lines[0].startswith(
        "pack/code.py:7: fixed set, comparison, undecided: 2 of 5 tests had run"
    )
    assert not any(line.strip().startswith("mutation =") for line in lines)


@dataclass
class StubLane:
    """Answers with what becomes of mutants of this function; each test takes a second."""

    killers: dict[str, str]
    """By the number of the mutant: the test that detects it."""
    now: float = 0.0
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def attempt(
        self, _ring: Ring, _kind: str, _path: str, number: int, tests: Sequence[tuple[str, float]]
    ) -> Verdict:
        """Run tests until one fails."""
        names = tuple(name for name, _ in tests)
        self.ran.append(names)
        self.now += len(names)
        killer = self.killers.get(str(number))
        return Verdict(KILLED, killer) if killer in names else Verdict(SURVIVED)

    def close(self) -> None:
        """Nothing."""


def tried(
    monkeypatch: pytest.MonkeyPatch, lane: StubLane, kills: Kills, count: int, minutes: float = 1.0
) -> list[Tried]:
    """What becomes of so many mutants of a line that the tests a to e run."""
    monkeypatch.setattr("tests.mutation.check.WORKERS", 1)
    monkeypatch.setattr("tests.mutation.check.Lane", lambda *_: lane)
    monkeypatch.setattr("tests.mutation.check.time", SimpleNamespace(monotonic=lambda: lane.now))
    tests = ("a", "b", "c", "d", "e")
    touched = Touched(dict.fromkeys(tests, 1.0), {("pack/code.py", 3): frozenset(tests)})
    nothing: Any = None
    ring = Ring("ring", "pack", ("checks",), sampled=True, exclude=(), preload=(), lifetime=0)
    check = Check(
        project=nothing,
        rings=[ring],
        recorded={"ring": Recording(touched, ())},
        accepted=frozenset(),
        kills=kills,
        budget=1.0,
        deadline=60 * minutes,
        tell=lambda _: None,
    )
    planned = [
        (FIXED, replace(mutant("f"), number=number, mutation=str(number)))
        for number in range(count)
    ]
    check.run(planned)
    return check.results


def test_run_that_ends_early_has_tried_each_mutant_a_little(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each gets the first budget before one gets more; what has tests left is undecided."""
    lane = StubLane({"1": "b"})
    found = tried(monkeypatch, lane, Kills(tmp_path / "kills"), count=3, minutes=5 / 60)
    assert lane.ran == [("a",), ("a",), ("a",), ("b", "c")]
    assert [(each.outcome, each.tests) for each in found] == [(UNDECIDED, 1)] * 2 + [(UNDECIDED, 3)]


def test_mutant_survives_only_if_all_tests_have_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A test that detected it before is tried first, and proves nothing if it passes now."""
    kills = Kills(tmp_path / "kills")
    kills.note(replace(mutant("f"), mutation="0"), "d")
    lane = StubLane({})
    (found,) = tried(monkeypatch, lane, kills, count=1)
    assert lane.ran == [("d",), ("a", "b"), ("c", "e")]
    assert (found.outcome, found.tests, found.of) == (SURVIVED, 5, 5)


def test_test_that_detected_a_mutant_is_tried_first_in_the_next_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is kept in a file."""
    path, key = tmp_path / "kills", replace(mutant("f"), mutation="0").key
    first = StubLane({"0": "e"})
    tried(monkeypatch, first, Kills(path), count=1)
    assert len(first.ran) == 3
    again = StubLane({"0": "e"})
    (found,) = tried(monkeypatch, again, Kills.read(path, {key}), count=1)
    assert again.ran == [("e",)]
    assert (found.outcome, found.test) == (KILLED, "e")


LEAVING_A_THREAD = """
import threading
from pack.code import Clamp

def test_thread():
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    assert Clamp().put(1) == 1
"""


def test_worker_with_threads_is_refused(
    project: Callable[[str, str], tuple[Project, Any]],
) -> None:
    """A child would wait for threads that it does not have, and so detect every mutant."""
    made, settings = project(CODE, LEAVING_A_THREAD)
    with pytest.raises(ServerError, match="tests leave threads behind"):
        check(made, settings, [], Namespace(**OPTIONS), lambda _: None)


def test_functions_that_the_collector_does_not_see_are_found() -> None:
    """The handlers freeze what they import; an unseen function cannot be patched in place."""
    gc.collect()
    gc.freeze()
    try:
        found = live_functions(frozenset({__file__}))
    finally:
        gc.unfreeze()
    name = test_functions_that_the_collector_does_not_see_are_found.__qualname__
    assert name in {qualname for _, qualname, _ in found}
