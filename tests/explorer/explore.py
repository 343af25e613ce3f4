"""Which cases there are, how they are run, and what is said of them.

For each scenario:

1. `SCHEDULES`: every schedule with at most two preemptions, and no fault;
2. `FAULTS`: every schedule with at most one preemption, with every single fault in it: each kind
   that a call can meet, at each call of each actor;
3. `PAIRS`: a share of the schedules without preemption, with two faults: after a first one, each
   kind at each later call of the run that came of it.

A preemption takes the turn from an actor that could go on; who comes next when one has ended is
free. The two polls are alike, so the one that starts first is A.
"""

from __future__ import annotations

import multiprocessing
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from tests.explorer.invariants import LOST, OTHER_ID
from tests.explorer.scenarios import SCENARIOS, TWINS, play, run
from tests.explorer.schedules import TO_THE_END, Call, Case, Segment

SCHEDULES: Final = "no fault, 2 preemptions"
FAULTS: Final = "one fault, 1 preemption"
PAIRS: Final = "two faults, no preemption"
PREEMPTIONS: Final = 2
PREEMPTIONS_WITH_FAULT: Final = 1
# About so many cases are run unless another number is asked for: all of them are half as many more.
USUAL_CASES: Final = 620_000
# The share of the pairs that is run along with all the rest.
PAIRS_SHARE: Final = 0.1
_NO_FAULT: Final = "none"
_CHUNK: Final = 25

Fault = tuple[str, int, str]


@dataclass(frozen=True)
class Planned:
    """A schedule of a scenario, and the faults that can occur in it, if it is to have one."""

    case: Case
    faults: tuple[Fault, ...]

    @property
    def preemptions(self) -> int:
        """How often the turn is taken from an actor that could go on."""
        return sum(count != TO_THE_END for _, count in self.case.schedule)


@dataclass(frozen=True)
class Sample:
    """A share of all cases: the ones for which a checksum of text and seed says so.

    The same cases each time, and spread over all scenarios, schedules and faults.
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
    """The figures of a run; `found` has the cases with a violation and what it was."""

    by_scenario: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    by_family: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    found: list[tuple[Case, str]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        """How many cases were run."""
        return self.by_scenario.total()

    def run(self, family: str, case: Case) -> None:
        """Run a case and count it."""
        verdict = play(case)
        self.by_scenario[case.scenario] += 1
        self.by_family[family] += 1
        self.by_kind.update({kind for _, _, kind in case.faults} or {_NO_FAULT})
        self.repeated += bool(verdict.repeated)
        if verdict.violations:
            self.violations.update({violation.kind for violation in verdict.violations})
            self.found.append((case, "; ".join(map(str, verdict.violations))))

    def add(self, other: Report) -> None:
        """Take in what another process found."""
        self.by_scenario.update(other.by_scenario)
        self.by_kind.update(other.by_kind)
        self.by_family.update(other.by_family)
        self.repeated += other.repeated
        self.violations.update(other.violations)
        self.found.extend(other.found)

    def smallest(self, kind: str) -> tuple[Case, str]:
        """The case with such a violation that has the fewest faults and the fewest turns."""
        return min(
            (each for each in self.found if kind in each[1]),
            key=lambda each: (len(each[0].faults), len(each[0].schedule), each[0]),
        )

    def __str__(self) -> str:
        """The figures as they are printed."""
        lines = []
        for title, counts in (
            ("Cases by scenario", self.by_scenario),
            ("Cases by kind of fault; one with two kinds counts under both", self.by_kind),
            ("Cases by family", self.by_family),
        ):
            lines.append(title)
            lines += [f"  {name:<32}{count:>10,}" for name, count in sorted(counts.items())]
        others = self.violations.total() - self.violations[LOST] - self.violations[OTHER_ID]
        lines += [
            f"{'Cases':<34}{self.cases:>10,}",
            f"{'  event lost':<34}{self.violations[LOST]:>10,}",
            f"{'  event repeated, with the same id':<34}{self.repeated:>10,}",
            f"{'  event repeated, with another id':<34}{self.violations[OTHER_ID]:>10,}",
            f"{'  other violations':<34}{others:>10,}",
            f"{'Seconds':<34}{self.seconds:>10,.1f}",
        ]
        return "\n".join(lines)


def plan(scenario: str, preemptions: int = PREEMPTIONS) -> list[Planned]:
    """Every schedule of a scenario with at most so many preemptions."""
    planned = []
    for schedule, trace in _schedules(scenario, preemptions):
        entry = Planned(Case(scenario, schedule), ())
        if entry.preemptions <= PREEMPTIONS_WITH_FAULT:
            entry = replace(entry, faults=tuple(_faults(trace)))
        planned.append(entry)
    return planned


def _schedules(scenario: str, preemptions: int) -> Iterator[tuple[tuple[Segment, ...], list[Call]]]:
    """Depth first: who comes next, and where its turn ends, learned by playing that far."""

    def extend(
        prefix: tuple[Segment, ...],
        made: int,
        unfinished: tuple[str, ...],
        interrupted: str | None,
        preemptions: int,
    ) -> Iterator[tuple[tuple[Segment, ...], list[Call]]]:
        if preemptions == 0 and most > PREEMPTIONS_WITH_FAULT:
            # Nothing is learned from playing these: they have no faults, and no turn ends early.
            yield from ((order, []) for order in _orders(prefix, unfinished, interrupted))
            return
        for name in unfinished:
            if not _may_be_next(name, prefix, interrupted):
                continue
            to_the_end = (*prefix, (name, TO_THE_END))
            trace = run(Case(scenario, to_the_end), recording=True).trace
            calls = _calls_in_a_row(name, trace[made:])
            others = tuple(other for other in unfinished if other != name)
            if len(others) > 1:
                yield from extend(to_the_end, made + calls, others, None, preemptions)
            else:
                yield to_the_end, trace
            if preemptions == 0 or not others:
                continue
            for count in range(1, calls):
                until_then = (*prefix, (name, count))
                yield from extend(until_then, made + count, unfinished, name, preemptions - 1)

    most = preemptions
    return extend((), 0, SCENARIOS[scenario].actors, None, preemptions)


def _orders(
    prefix: tuple[Segment, ...], unfinished: tuple[str, ...], interrupted: str | None
) -> Iterator[tuple[Segment, ...]]:
    """The orders in which actors can go on to their ends; the last one is not named."""
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


def cases(planned: Planned, sample: Sample) -> Iterator[tuple[str, Case]]:
    """The cases of one schedule that are in the sample, with their families."""
    if sample.has(planned.case):
        yield SCHEDULES, planned.case
    for fault in planned.faults:
        case = replace(planned.case, faults=(fault,))
        if not sample.has(case):
            continue
        yield FAULTS, case
        if planned.preemptions == 0 and sample.pairs:
            yield from ((PAIRS, pair) for pair in _pairs(case) if sample.has(pair, sample.pairs))


def _pairs(case: Case) -> Iterator[Case]:
    [(actor, number, _)] = case.faults
    trace = run(case, recording=True).trace
    at = next(
        place for place, call in enumerate(trace) if (call.actor, call.number) == (actor, number)
    )
    for fault in _faults(trace[at + 1 :]):
        yield replace(case, faults=(*case.faults, fault))


def explore(plans: Iterable[Planned], sample: Sample) -> Report:
    """Run the sample of these schedules' cases in this process."""
    report = Report()
    started = time.perf_counter()
    for planned in plans:
        for family, case in cases(planned, sample):
            report.run(family, case)
    report.seconds = time.perf_counter() - started
    return report


def explore_on_all_cores(at_most: int | None, seed: int) -> Report:
    """Run all cases, or about so many of them, split over as many processes as there are cores."""
    started = time.perf_counter()
    report = Report()
    # Threads and locks of this process are none of theirs.
    with multiprocessing.get_context("spawn").Pool() as pool:
        plans = [each for found in pool.imap_unordered(plan, SCENARIOS) for each in found]
        plans.sort(key=lambda planned: planned.case)
        total = len(plans) + sum(len(planned.faults) for planned in plans)
        sample = Sample(1.0 if at_most is None else min(1.0, at_most / total), seed=seed)
        chunks = [(plans[start :: len(plans) // _CHUNK + 1], sample) for start in _starts(plans)]
        for partial in pool.imap_unordered(_explore, chunks):
            report.add(partial)
    report.seconds = time.perf_counter() - started
    return report


def _starts(plans: list[Planned]) -> range:
    return range(len(plans) // _CHUNK + 1)


def _explore(task: tuple[list[Planned], Sample]) -> Report:
    return explore(*task)
