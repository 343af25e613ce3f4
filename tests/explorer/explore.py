"""The cases: their enumeration, their runs, and the report.

For each scenario:

1. `SCHEDULES`: every schedule with at most two preemptions, and no fault;
2. `FAULTS`: every schedule with at most one preemption, with every single fault: each kind that
   can occur, at each call of each actor;
3. `PAIRS`: a share of the schedules without preemption, with two faults: after a first one, each
   kind at each later call of the resulting run.

A preemption takes the turn from an actor that has not finished. When an actor finishes, any other
can follow. The two polls are equal, so the one that starts first is A.

The cases of a scenario share a `Memory`, so that runs with the same result are executed once.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final

from tests.explorer.invariants import LOST, OTHER_ID
from tests.explorer.scenarios import SCENARIOS, TWINS, Memory, play, run
from tests.explorer.schedules import TO_THE_END, Call, Case, Segment

SCHEDULES: Final = "no fault, 2 preemptions"
FAULTS: Final = "one fault, 1 preemption"
PAIRS: Final = "two faults, no preemption"
PREEMPTIONS: Final = 2
PREEMPTIONS_WITH_FAULT: Final = 1
# The default number of cases, of 990,000, without pairs of faults.
USUAL_CASES: Final = 555_000
# How many cases of a scenario are run that is too large to be run in full.
_SAMPLED: Final = 2_000
# The share of the pairs of faults that is run in addition.
PAIRS_SHARE: Final = 0.1
_NO_FAULT: Final = "none"
_SECONDS_BETWEEN_LINES: Final = 60.0
_OBJECTS_BETWEEN_COLLECTIONS: Final = 200_000

Fault = tuple[str, int, str]


@dataclass(frozen=True)
class Planned:
    """A schedule of a scenario, and the faults that can occur in it."""

    case: Case
    faults: tuple[Fault, ...]

    @property
    def cases(self) -> int:
        """The number of cases, without pairs of faults."""
        return 1 + len(self.faults)

    @property
    def preemptions(self) -> int:
        """How often the turn is taken from an actor that has not finished."""
        return sum(count != TO_THE_END for _, count in self.case.schedule)


@dataclass(frozen=True)
class Sample:
    """A share of all cases, selected by a checksum of text and seed.

    They are the same cases each time, spread over all scenarios, schedules and faults.
    """

    fraction: float = 1.0
    pairs: float = PAIRS_SHARE
    seed: int = 0

    def has(self, case: Case, share: float = 1.0) -> bool:
        """Whether the case is in the sample."""
        share *= self.fraction
        return share >= 1 or zlib.crc32(f"{self.seed} {case}".encode()) < share * 2**32


@dataclass
class Report:
    """The results of a run; `found` has the cases with a violation, and its description."""

    planned: Counter[str] = field(default_factory=Counter)
    """The number of cases by scenario, without pairs of faults."""
    by_scenario: Counter[str] = field(default_factory=Counter)
    pairs: Counter[str] = field(default_factory=Counter)
    """The number of cases that were run with two faults."""
    by_kind: Counter[str] = field(default_factory=Counter)
    by_family: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    recognized: int = 0
    """The number of cases that reached a position of an earlier case."""
    violations: Counter[str] = field(default_factory=Counter)
    found: list[tuple[Case, str]] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of all processes; compared with `seconds`, it shows whether the machine had other work."""

    @property
    def cases(self) -> int:
        """The number of cases that were run."""
        return self.by_scenario.total()

    def run(self, family: str, case: Case, memory: Memory) -> None:
        """Run a case and count it."""
        verdict = play(case, memory)
        self.pairs[case.scenario] += family == PAIRS
        self.by_scenario[case.scenario] += 1
        self.by_family[family] += 1
        self.by_kind.update({kind for _, _, kind in case.faults} or {_NO_FAULT})
        self.repeated += bool(verdict.repeated)
        if verdict.violations:
            self.violations.update({violation.kind for violation in verdict.violations})
            self.found.append((case, "; ".join(map(str, verdict.violations))))

    def add(self, other: Report) -> None:
        """Add the results of another process."""
        self.planned.update(other.planned)
        self.by_scenario.update(other.by_scenario)
        self.pairs.update(other.pairs)
        self.by_kind.update(other.by_kind)
        self.by_family.update(other.by_family)
        self.repeated += other.repeated
        self.recognized += other.recognized
        self.violations.update(other.violations)
        self.found.extend(other.found)
        self.cpu_seconds += other.cpu_seconds

    def smallest(self, kind: str) -> tuple[Case, str]:
        """The case with this kind of violation that has the fewest faults and turns."""
        return min(
            (each for each in self.found if kind in each[1]),
            key=lambda each: (len(each[0].faults), len(each[0].schedule), each[0]),
        )

    def __str__(self) -> str:
        """The results as they are printed."""
        lines = ["Cases by scenario: run, planned, and pairs of faults"]
        lines += [
            f"  {name:<32}{self.by_scenario[name] - self.pairs[name]:>10,}"
            f"{planned:>10,}{self.pairs[name]:>10,}"
            for name, planned in sorted(self.planned.items())
        ]
        for title, counts in (
            ("Cases by kind of fault; one with two kinds counts under both", self.by_kind),
            ("Cases by family", self.by_family),
        ):
            lines.append(title)
            lines += [f"  {name:<32}{count:>10,}" for name, count in sorted(counts.items())]
        others = self.violations.total() - self.violations[LOST] - self.violations[OTHER_ID]
        lines += [
            f"{'Cases':<34}{self.cases:>10,}",
            f"{'  played to a position known before':<34}{self.recognized:>10,}",
            f"{'  event lost':<34}{self.violations[LOST]:>10,}",
            f"{'  event repeated, with the same id':<34}{self.repeated:>10,}",
            f"{'  event repeated, with another id':<34}{self.violations[OTHER_ID]:>10,}",
            f"{'  other violations':<34}{others:>10,}",
            f"{'Seconds':<34}{self.seconds:>10,.1f}",
            f"{'  of the processors':<34}{self.cpu_seconds:>10,.1f}",
        ]
        return "\n".join(lines)


def plan(scenario: str, preemptions: int = PREEMPTIONS) -> list[Planned]:
    """Every schedule of a scenario with at most this number of preemptions."""
    planned = []
    for schedule, trace in _schedules(scenario, preemptions, Memory()):
        entry = Planned(Case(scenario, schedule), ())
        if entry.preemptions <= PREEMPTIONS_WITH_FAULT:
            entry = replace(entry, faults=tuple(_faults(trace)))
        planned.append(entry)
    return planned


def _schedules(
    scenario: str, preemptions: int, memory: Memory
) -> Iterator[tuple[tuple[Segment, ...], list[Call]]]:
    """Depth first: the next actor, and the end of its turn, found by running up to there."""

    def extend(
        prefix: tuple[Segment, ...],
        made: int,
        unfinished: tuple[str, ...],
        interrupted: str | None,
        preemptions: int,
    ) -> Iterator[tuple[tuple[Segment, ...], list[Call]]]:
        if preemptions == 0 and most > PREEMPTIONS_WITH_FAULT:
            # These need no run: they have no faults, and no turn ends early.
            yield from ((order, []) for order in _orders(prefix, unfinished, interrupted))
            return
        for name in unfinished:
            if not _may_be_next(name, prefix, interrupted):
                continue
            to_the_end = (*prefix, (name, TO_THE_END))
            trace = run(Case(scenario, to_the_end), recording=True, memory=memory).trace
            calls = _calls_in_a_row(name, trace[made:])
            others = tuple(other for other in unfinished if other != name)
            if len(others) > 1:
                yield from extend(to_the_end, made + calls, others, None, preemptions)
            else:
                yield to_the_end, trace
            if preemptions == 0 or not others:
                continue
            for turn in range(1, calls):
                until_then = (*prefix, (name, turn))
                yield from extend(until_then, made + turn, unfinished, name, preemptions - 1)

    most = preemptions
    return extend((), 0, SCENARIOS[scenario].actors, None, preemptions)


def _orders(
    prefix: tuple[Segment, ...], unfinished: tuple[str, ...], interrupted: str | None
) -> Iterator[tuple[Segment, ...]]:
    """The orders in which actors can run to their ends; the last actor is implied."""
    for name in unfinished:
        if not _may_be_next(name, prefix, interrupted):
            continue
        to_the_end = (*prefix, (name, TO_THE_END))
        others = tuple(other for other in unfinished if other != name)
        if len(others) > 1:
            yield from _orders(to_the_end, others, None)
        else:
            yield to_the_end


def _may_be_next(name: str, prefix: tuple[Segment, ...], interrupted: str | None) -> bool:
    if name == TWINS[1] and not _has_started(TWINS[0], prefix):
        return False
    return name != interrupted


def _has_started(name: str, prefix: tuple[Segment, ...]) -> bool:
    return any(actor == name for actor, _ in prefix)


def _calls_in_a_row(name: str, trace: list[Call]) -> int:
    for place, call in enumerate(trace):
        if call.actor != name:
            return place
    return len(trace)


def _faults(trace: Iterable[Call]) -> Iterator[Fault]:
    return ((call.actor, call.number, kind) for call in trace for kind in call.kinds)


def cases(
    planned: Planned, sample: Sample, memory: Memory | None = None
) -> Iterator[tuple[str, Case]]:
    """The cases of one schedule that are in the sample, with their families."""
    if sample.has(planned.case):
        yield SCHEDULES, planned.case
    for fault in planned.faults:
        case = replace(planned.case, faults=(fault,))
        if not sample.has(case):
            continue
        yield FAULTS, case
        if planned.preemptions == 0 and sample.pairs:
            pairs = _pairs(case, memory)
            yield from ((PAIRS, pair) for pair in pairs if sample.has(pair, sample.pairs))


def _pairs(case: Case, memory: Memory | None) -> Iterator[Case]:
    [(actor, number, _)] = case.faults
    trace = run(case, recording=True, memory=memory).trace
    at = next(
        place for place, call in enumerate(trace) if (call.actor, call.number) == (actor, number)
    )
    for fault in _faults(trace[at + 1 :]):
        yield replace(case, faults=(*case.faults, fault))


def explore(
    plans: Iterable[Planned], sample: Sample, tell: Callable[[int, int], None] = lambda *_: None
) -> Report:
    """Run the sample of these schedules' cases in this process.

    `tell` gets the number of cases since its last call, and the number of their violations.
    """
    report = Report()
    started, cpu = time.perf_counter(), time.process_time()
    for scenario, of_scenario in groupby(plans, key=lambda planned: planned.case.scenario):
        memory = Memory()
        for planned in of_scenario:
            report.planned[scenario] += planned.cases
            before = report.cases, report.violations.total()
            for family, case in cases(planned, sample, memory):
                report.run(family, case, memory)
            tell(report.cases - before[0], report.violations.total() - before[1])
        report.recognized += memory.recognized
    report.seconds = time.perf_counter() - started
    report.cpu_seconds = time.process_time() - cpu
    return report


def explore_on_all_cores(
    at_most: int | None, seed: int, show: Callable[[int, int], None] = lambda *_: None
) -> Report:
    """Run all cases, or about `at_most` of them, in one process per core.

    One process runs all cases of a scenario, because they share a memory. `show` gets, once a
    minute, the number of cases so far, and the number of their violations.
    """
    started = time.perf_counter()
    report = Report()
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", 2)
    # Unlike a pool of multiprocessing, it raises an error if one of its processes is killed.
    with ProcessPoolExecutor(os.cpu_count(), context, _set_up, (counts,)) as executor:
        plans = []
        for found, seconds in executor.map(_plan, SCENARIOS):
            plans.append(found)
            report.cpu_seconds += seconds
        # The largest first, so that all cores finish at about the same time.
        plans.sort(key=_size, reverse=True)
        sizes = [_size(each) for each in plans]
        shares = shares_of(sizes, sum(sizes) if at_most is None else at_most)
        running = {
            executor.submit(explore, each, Sample(share, seed=seed), _tell)
            for each, share in zip(plans, shares, strict=True)
        }
        while running:
            done, running = wait(running, _SECONDS_BETWEEN_LINES)
            for partial in done:
                report.add(partial.result())
            show(*counts)
    report.seconds = time.perf_counter() - started
    return report


def shares_of(sizes: Sequence[int], at_most: int) -> list[float]:
    """The share of each scenario's cases to run so that there are about `at_most` in all.

    As many scenarios as possible are run in full, the smallest first: they share most of their
    work, so that a case costs a third of one in a sample. Of each of the others a sample is run.
    """
    samples = [min(_SAMPLED, size) for size in sizes]
    left = at_most - sum(samples)
    chosen = [sample / size for sample, size in zip(samples, sizes, strict=True)]
    for place in sorted(range(len(sizes)), key=sizes.__getitem__):
        left -= sizes[place] - samples[place]
        if left < 0:
            break
        chosen[place] = 1.0
    return chosen


_counts: Any = None
"""Shared by the processes: the number of cases that were run, and of their violations."""


def _set_up(counts: Any) -> None:
    global _counts  # noqa: PLW0603 - the only way to pass it once to a process of a pool
    _counts = counts
    _free()
    gc.disable()


def _free() -> None:
    """Collect garbage; later collections do not visit again what is left."""
    gc.collect()
    gc.freeze()


def _plan(scenario: str) -> tuple[list[Planned], float]:
    cpu = time.process_time()
    return plan(scenario), time.process_time() - cpu


def _size(plans: list[Planned]) -> int:
    return sum(planned.cases for planned in plans)


def _tell(ran: int, violations: int) -> None:
    with _counts.get_lock():
        _counts[0] += ran
        _counts[1] += violations
    # Counted also while collection is off, as in these processes.
    if gc.get_count()[0] > _OBJECTS_BETWEEN_COLLECTIONS:
        _free()
