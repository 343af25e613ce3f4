"""Tries mutants until all are tried or the time is up, and says what came of it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mutation.choose import hints_first, in_budget, quickest_of_each_file
from tests.mutation.kills import Kills
from tests.mutation.operators import Mutant
from tests.mutation.recordings import Recording
from tests.mutation.servers import Lane, Project, ServerError
from tests.mutation.settings import ACCEPTED, PARTS, Accepted, Ring
from tests.mutation.worker import KILLED, SURVIVED, TIMED_OUT

WORKERS: Final = 2
NOT_TRIED: Final = "not tried"
UNDECIDED: Final = "undecided"
ACCEPTED_OUTCOME: Final = "accepted"
# Tests that a server runs without any mutant before it is believed.
_CONTROL_SECONDS: Final = 8.0
_PROGRESS: Final = 50
# What a file of tests takes to import, for a mutant of what runs at import.
_IMPORT_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Tried:
    """A mutant and what became of it."""

    part: str
    mutant: Mutant
    outcome: str
    tests: int = 0
    """How many tests ran on it at most."""
    of: int = 0
    """How many tests run the changed line."""
    test: str | None = None
    """The test that noticed it."""


@dataclass
class Check:
    """One run: hands mutants to the lanes until all are tried or the time is up."""

    project: Project
    rings: Sequence[Ring]
    recorded: Mapping[str, Recording]
    accepted: frozenset[tuple[str, str]]
    kills: Kills
    budget: float
    deadline: float
    tell: Callable[[str], None]
    results: list[Tried] = field(default_factory=list)
    _errors: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, planned: Sequence[tuple[str, Mutant]]) -> None:
        """Try all, in their order; raises `ServerError`.

        First each mutant gets the tests that the budget allows for. Those that are not detected get
        the rest of their tests in what is left of the time, twice as many each time. A mutant that
        has tests left in the end is undecided.
        """
        waiting = deque(_Attempt(part, mutant, self.budget) for part, mutant in planned)
        with tempfile.TemporaryDirectory() as folder:
            lanes = []
            controls = {ring.name: self._controls(ring) for ring in self.rings}
            warm_up = {ring.name: self._warm_up(ring) for ring in self.rings}
            for number in range(WORKERS):
                path = Path(folder, str(number))
                path.mkdir()
                lanes.append(Lane(self.project, path, controls, warm_up))
            threads = [
                threading.Thread(target=self._work, args=(lane, waiting), daemon=True)
                for lane in lanes
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.kills.write()
        if self._errors:
            raise ServerError("\n".join(self._errors))
        for attempt in waiting:
            outcome = NOT_TRIED if attempt.rest is None else UNDECIDED
            self.results.append(attempt.result(outcome))

    def _controls(self, ring: Ring) -> list[tuple[str, float]]:
        seconds = self.recorded[ring.name].touched.seconds
        quickest = sorted(seconds, key=lambda test: (seconds[test], test))
        tests = hints_first(quickest, quickest_of_each_file(seconds))
        return [(test, seconds[test]) for test in in_budget(tests, seconds, _CONTROL_SECONDS)]

    def _warm_up(self, ring: Ring) -> Sequence[str]:
        seconds = self.recorded[ring.name].touched.seconds
        return in_budget(quickest_of_each_file(seconds), seconds, _CONTROL_SECONDS)

    def _work(self, lane: Lane, waiting: deque[_Attempt]) -> None:
        try:
            while time.monotonic() < self.deadline and not self._errors:
                try:
                    attempt = waiting.popleft()
                except IndexError:
                    return
                result = self._try(lane, attempt)
                with self._lock:
                    if result is None:
                        waiting.append(attempt)
                        continue
                    self._note(result, len(waiting))
        except (ServerError, OSError, ValueError, KeyError) as error:
            self._errors.append(f"{type(error).__name__}: {error}")
        finally:
            lane.close()

    def _note(self, result: Tried, to_go: int) -> None:
        self.results.append(result)
        if result.test is not None:
            self.kills.note(result.mutant, result.test)
        if len(self.results) % _PROGRESS == 0:
            self.kills.write()
            self.tell(f"{len(self.results)} judged, {to_go} to go")

    def _try(self, lane: Lane, attempt: _Attempt) -> Tried | None:
        """What became of a mutant; None if it has survived so far, and has tests left."""
        mutant = attempt.mutant
        if mutant.key in self.accepted:
            return attempt.result(ACCEPTED_OUTCOME)
        ring = next(ring for ring in self.rings if mutant.path.startswith(f"{ring.source}/"))
        touched = self.recorded[ring.name].touched
        if attempt.rest is None:
            attempt.rest = touched.tests_of(mutant)
            attempt.of = len(attempt.rest)
        if not attempt.rest:
            return attempt.result(SURVIVED)
        with self._lock:
            hints = self.kills.hints(mutant, touched.seconds)
        tests = hints_first(attempt.rest, hints)
        budget = min(attempt.budget, self.deadline - time.monotonic())
        at_import = touched.runs_at_import(mutant)
        chosen = in_budget(
            tests,
            touched.seconds,
            budget,
            seconds_per_file=_IMPORT_SECONDS if at_import else 0.0,
        )
        verdict = lane.attempt(
            ring,
            "fresh" if at_import else "collected",
            mutant.path,
            mutant.number,
            [(test, touched.seconds[test]) for test in chosen],
        )
        attempt.rest = tests[len(chosen) :]
        attempt.budget *= 2
        if verdict.outcome == SURVIVED and attempt.rest:
            return None
        return attempt.result(verdict.outcome, verdict.test)


@dataclass
class _Attempt:
    """A mutant on its way."""

    part: str
    mutant: Mutant
    budget: float
    """Seconds of tests that it gets the next time."""
    rest: tuple[str, ...] | None = None
    """The tests that have not run on it; None while nothing was tried."""
    of: int = 0

    def result(self, outcome: str, test: str | None = None) -> Tried:
        ran = self.of - len(self.rest or ())
        return Tried(self.part, self.mutant, outcome, ran, self.of, test)


def report(results: Sequence[Tried], stale: Sequence[Accepted]) -> str:
    """The score of each part, and every survivor that is not accepted.

    The score is the share of detected mutants among those that were tried. One that is undecided
    counts against it, because most of those would survive: a mutant is detected early, and survives
    only after its last test.
    """
    lines = [
        f"{tried.mutant.path}:{tried.mutant.line}: {tried.part}, {tried.mutant.operator}, "
        f"undecided: {tried.tests} of {tried.of} tests had run when the time was up: "
        f"{tried.mutant.mutation}"
        for tried in results
        if tried.outcome == UNDECIDED
    ]
    survivors = sorted(
        (tried for tried in results if tried.outcome == SURVIVED),
        key=lambda tried: (PARTS.index(tried.part), tried.mutant.path, tried.mutant.line),
    )
    for tried in survivors:
        mutant = tried.mutant
        before, after = mutant.difference
        ran = "no test runs this line" if not tried.of else f"tests run: {tried.tests}"
        lines += [
            f"{mutant.path}:{mutant.line}: {tried.part}, {mutant.operator}, {ran}",
            f"    - {before}",
            f"    + {after}",
            f"    name = {_toml_text(mutant.name)}",
            f"    mutation = {_toml_text(mutant.mutation)}",
        ]
    lines += [
        f"{ACCEPTED.name}: stale, matches nothing: {entry.name}: {entry.mutation}"
        for entry in stale
    ]
    lines.append("")
    titles = (KILLED, TIMED_OUT, SURVIVED, ACCEPTED_OUTCOME, UNDECIDED, NOT_TRIED)
    lines.append(f"{'':<14}" + "".join(f"{title:>11}" for title in (*titles, "score")))
    for part in PARTS:
        counts = Counter(tried.outcome for tried in results if tried.part == part)
        figures = [counts[title] for title in titles]
        noticed = counts[KILLED] + counts[TIMED_OUT]
        tried_ones = noticed + counts[SURVIVED] + counts[UNDECIDED]
        score = f"{100 * noticed / tried_ones:.1f} %" if tried_ones else "-"
        lines.append(
            f"{part:<14}" + "".join(f"{figure:>11}" for figure in figures) + f"{score:>11}"
        )
    return "\n".join(lines)


def _toml_text(text: str) -> str:
    """A text as TOML has it: literal where that can be, so that it can be copied."""
    if "'" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
