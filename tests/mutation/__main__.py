"""Change the code in small ways and see whether a test notices: `make mutate`.

python -m tests.mutation [--base REV] [--seed TEXT] [--minutes N] [--sample N] [--part PART]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CalledProcessError
from typing import Final

from tests.mutation.choose import base_revision, changed_lines, in_budget, plan
from tests.mutation.operators import Mutant
from tests.mutation.servers import Lane, Recording, ServerError, recordings
from tests.mutation.settings import (
    ACCEPTED,
    PARTS,
    ROOT,
    SETTINGS,
    Accepted,
    Code,
    Ring,
    Settings,
    SettingsError,
    read_accepted,
    read_settings,
    unresolved,
)
from tests.mutation.worker import KILLED, SURVIVED, TIMED_OUT

_WORKERS: Final = 2
_SAMPLE: Final = 300
_BUDGET: Final = 25.0
_CONTROL_SECONDS: Final = 8.0
NOT_TRIED: Final = "not tried"
ACCEPTED_OUTCOME: Final = "accepted"


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
    seconds: float = 0.0


@dataclass
class Check:
    """One run: hands mutants to the lanes until all are tried or the time is up."""

    code: Code
    rings: Sequence[Ring]
    recorded: Mapping[str, Recording]
    accepted: frozenset[tuple[str, str]]
    budget: float
    deadline: float
    tell: Callable[[str], None]
    results: list[Tried] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _killers: dict[str, list[str]] = field(default_factory=dict)

    def run(self, planned: Sequence[tuple[str, Mutant]]) -> None:
        """Try all, in their order."""
        waiting = deque(planned)
        with tempfile.TemporaryDirectory() as folder:
            lanes = []
            controls = {ring.name: self._controls(ring) for ring in self.rings}
            for number in range(_WORKERS):
                path = Path(folder, str(number))
                path.mkdir()
                lanes.append(Lane(self.code.digest, path, controls))
            threads = [
                threading.Thread(target=self._work, args=(lane, waiting), daemon=True)
                for lane in lanes
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.results += [Tried(part, mutant, NOT_TRIED) for part, mutant in waiting]

    def _controls(self, ring: Ring) -> list[tuple[str, float]]:
        seconds = self.recorded[ring.name].touched.seconds
        tests = sorted(seconds, key=lambda test: (seconds[test], test))
        return [(test, seconds[test]) for test in in_budget(tests, seconds, _CONTROL_SECONDS)]

    def _work(self, lane: Lane, waiting: deque[tuple[str, Mutant]]) -> None:
        try:
            while time.monotonic() < self.deadline and not self.errors:
                try:
                    part, mutant = waiting.popleft()
                except IndexError:
                    return
                tried = self._try(lane, part, mutant)
                with self._lock:
                    self.results.append(tried)
                    if tried.test is not None:
                        killers = self._killers.setdefault(mutant.name, [])
                        if tried.test in killers:
                            killers.remove(tried.test)
                        killers.insert(0, tried.test)
                    if len(self.results) % 50 == 0:
                        self.tell(f"{len(self.results)} tried, {len(waiting)} to go")
        except (ServerError, OSError, ValueError, KeyError) as error:
            self.errors.append(f"{type(error).__name__}: {error}")
        finally:
            lane.close()

    def _try(self, lane: Lane, part: str, mutant: Mutant) -> Tried:
        if mutant.key in self.accepted:
            return Tried(part, mutant, ACCEPTED_OUTCOME)
        ring = next(ring for ring in self.rings if mutant.path.startswith(f"{ring.source}/"))
        touched = self.recorded[ring.name].touched
        tests = touched.tests_of(mutant)
        if not tests:
            return Tried(part, mutant, SURVIVED)
        # What noticed another change of the same function comes first.
        known = [test for test in self._killers.get(mutant.name, ()) if test in tests][:3]
        tests = (*known, *(test for test in tests if test not in known))
        chosen = in_budget(tests, touched.seconds, self.budget)
        verdict = lane.attempt(
            ring,
            "fresh" if mutant.at_definition else "collected",
            mutant.path,
            mutant.number,
            [(test, touched.seconds[test]) for test in chosen],
        )
        return Tried(
            part, mutant, verdict.outcome, len(chosen), len(tests), verdict.test, verdict.seconds
        )


def report(results: Sequence[Tried], stale: Sequence[Accepted]) -> str:
    """The score of each part, and every survivor that is not accepted."""
    lines = []
    survivors = sorted(
        (tried for tried in results if tried.outcome == SURVIVED),
        key=lambda tried: (PARTS.index(tried.part), tried.mutant.path, tried.mutant.line),
    )
    for tried in survivors:
        mutant = tried.mutant
        before, after = mutant.difference
        ran = (
            "no test runs this line"
            if not tried.of
            else f"{tried.tests} tests ran"
            if tried.tests == tried.of
            else f"{tried.tests} of {tried.of} tests ran, the others take too long"
        )
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
    titles = ("killed", "timed out", "survived", "accepted", "not tried")
    lines.append(f"{'':<14}" + "".join(f"{title:>11}" for title in (*titles, "score")))
    for part in PARTS:
        counts = Counter(tried.outcome for tried in results if tried.part == part)
        figures = [
            counts[outcome]
            for outcome in (KILLED, TIMED_OUT, SURVIVED, ACCEPTED_OUTCOME, NOT_TRIED)
        ]
        noticed = counts[KILLED] + counts[TIMED_OUT]
        judged = noticed + counts[SURVIVED]
        score = f"{100 * noticed / judged:.1f} %" if judged else "-"
        lines.append(
            f"{part:<14}" + "".join(f"{figure:>11}" for figure in figures) + f"{score:>11}"
        )
    return "\n".join(lines)


def _toml_text(text: str) -> str:
    """A text as TOML has it: literal where that can be, so that it can be copied."""
    if "'" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    year, week, _ = datetime.now(UTC).isocalendar()
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--base", help="revision that changed lines are compared with")
    parser.add_argument("--seed", default=f"{year}-W{week:02}", help="of the sample: the ISO week")
    parser.add_argument("--minutes", type=float, default=15.0, help="when to stop: 15")
    parser.add_argument("--sample", type=int, default=_SAMPLE, help=f"its size: {_SAMPLE}")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part")
    parser.add_argument("--only", help="only mutants whose qualified name contains this text")
    parser.add_argument(
        "--budget", type=float, default=_BUDGET, help=f"seconds of tests per mutant: {_BUDGET}"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; 0 if nothing survived but what is accepted, 1 if so, 2 if it cannot run."""
    began = time.monotonic()
    options = _arguments(arguments)

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {text}", file=sys.stderr, flush=True)

    try:
        settings, accepted = read_settings(), read_accepted()
        return _check(settings, accepted, options, began, tell)
    except SettingsError as error:
        print(error, file=sys.stderr)
    except CalledProcessError as error:
        print(f"git: {error.stderr.strip()}", file=sys.stderr)
    except ServerError as error:
        print(error, file=sys.stderr)
    return 2


def _check(
    settings: Settings,
    accepted: Sequence[Accepted],
    options: argparse.Namespace,
    began: float,
    tell: Callable[[str], None],
) -> int:
    code = Code.read(ROOT, settings.rings)
    if missing := unresolved(code, settings.fixed_names):
        message = f"{SETTINGS.name}: nothing in the code has these names: {', '.join(missing)}"
        raise SettingsError(message)
    base = options.base or base_revision(ROOT)
    mutants = [mutant for ring in settings.rings for mutant in code.mutants(ring)]
    planned = plan(
        mutants,
        fixed=settings.fixed_names,
        changed=changed_lines(ROOT, base),
        sampled=[ring.source for ring in settings.rings if ring.sampled],
        size=options.sample,
        seed=options.seed,
    )
    planned = [
        (part, mutant)
        for part, mutant in planned
        if (not options.part or part in options.part)
        and (not options.only or options.only in mutant.name)
    ]
    counts = Counter(part for part, _ in planned)
    tell(
        f"{len(planned)} of {len(mutants)} mutants, seed {options.seed}, base {base[:12]}: "
        + ", ".join(f"{part} {counts[part]}" for part in PARTS)
    )
    rings = [
        ring
        for ring in settings.rings
        if any(mutant.path.startswith(f"{ring.source}/") for _, mutant in planned)
    ]
    recorded = recordings(rings, code, tell, _WORKERS)
    for name, recording in recorded.items():
        tell(
            f"{name}: {len(recording.touched.seconds)} tests take "
            f"{sum(recording.touched.seconds.values()):.0f} s"
        )
        for test in recording.failed:
            tell(f"not used, for it fails without any mutant: {test}")
    check = Check(
        code=code,
        rings=rings,
        recorded=recorded,
        accepted=frozenset(entry.key for entry in accepted),
        budget=options.budget,
        deadline=began + 60 * options.minutes,
        tell=tell,
    )
    check.run(planned)
    if check.errors:
        raise ServerError("\n".join(check.errors))
    known = {mutant.key for mutant in mutants}
    print(report(check.results, [entry for entry in accepted if entry.key not in known]))
    tell("done")
    return int(any(tried.outcome == SURVIVED for tried in check.results))


if __name__ == "__main__":
    sys.exit(main())
