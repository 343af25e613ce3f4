"""The cost of one poll, by number of jobs and the share that has ended since the last poll."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from local.benchmark.baselines import CALLS_ONLY, SUBJECTS, Subject, scan_some
from local.benchmark.environment import Environment
from local.benchmark.meter import Cost, Meter, timing

if TYPE_CHECKING:
    from local.benchmark.environment import Item

# With more jobs, nothing new is learned from a poll in which some have ended: the burst measures
# what it costs if all of them end.
MOST_THAT_END: Final = 1000
# With fewer jobs, one in a hundred is none, or one.
_LEAST_OF_WHICH_FEW_END: Final = 1000
# How late Bedrock answers over a network.
NETWORK_SECONDS: Final = 0.03
# The scan gets one job after another, so a few of them tell how long all take.
_SCANNED: Final = 200
_LEAST_OVER_NETWORK: Final = 100
# Where nothing changes, the best of some polls of one environment counts: other load on the machine
# only adds. Its first poll is not measured, because it opens connections, and a deployed function
# has one first poll in hours. Long runs are measured once: all of that is little there.
_RUNS: Final = 3
_LONG_RUN_FROM: Final = 10_000


@dataclass(frozen=True, slots=True)
class Measured:
    """One subject's poll: the counts of one run, and the time of another run."""

    subject: str
    jobs: int
    changed: int
    counted: Cost
    timed: Cost


@dataclass(frozen=True, slots=True)
class OverNetwork:
    """The time of a poll in which nothing changed, with a Bedrock that answers as over a network.

    `read` is the number of jobs that were measured, if the time of all follows from theirs.
    """

    subject: str
    jobs: int
    timed: Cost
    read: int


def measure(
    environment: Environment, sizes: Sequence[int], *, most_that_end: int = MOST_THAT_END
) -> Iterator[Measured | OverNetwork]:
    """Measure every subject at every size: no job has ended, one in a hundred, all of them.

    All jobs end only in a poll of up to `most_that_end` jobs. With more, all of them are left to
    end in the next `end_jobs`.
    """
    for jobs in sizes:
        few = round(jobs * 0.01) if _LEAST_OF_WHICH_FEW_END <= jobs <= most_that_end else 0
        rest = jobs - few
        environment.fill(jobs, ending=[few, rest] if few else [rest])
        # The first poll of the monitor records all jobs; the baselines' table already has them.
        environment.poll_of_monitor(environment.session())()
        recorded = environment.snapshot((*environment.tables, environment.plain_table))
        yield from _each(environment, recorded, jobs, 0)
        if jobs >= _LEAST_OVER_NETWORK:
            yield from _over_network(environment, recorded, jobs)
        if jobs > most_that_end:
            environment.restore(recorded)
            continue
        if few:
            environment.end_jobs()
            yield from _each(environment, recorded, jobs, few)
        environment.end_jobs()
        yield from _each(environment, recorded, jobs, jobs)


def _each(
    environment: Environment, recorded: Mapping[str, Sequence[Item]], jobs: int, changed: int
) -> Iterator[Measured]:
    for name, subject in SUBJECTS.items():
        own = _own(environment, recorded, name)
        runs = 1 if changed else _runs(name, jobs)
        timed = min(_timed(environment, subject, own, runs=runs), key=lambda cost: cost.cpu_seconds)
        yield Measured(name, jobs, changed, _counted(environment, subject, own), timed)


def _over_network(
    environment: Environment, recorded: Mapping[str, Sequence[Item]], jobs: int
) -> Iterator[OverNetwork]:
    read = min(jobs, _SCANNED)
    subjects = {**SUBJECTS, **CALLS_ONLY, "scan": scan_some(read)}
    with environment.answering_after(NETWORK_SECONDS):
        for name, subject in subjects.items():
            own = _own(environment, recorded, name)
            runs = 1 if name == "scan" else _runs(name, jobs)
            timed = min(_timed(environment, subject, own, runs=runs), key=lambda cost: cost.seconds)
            if name == "scan":
                whole = replace(
                    timed,
                    seconds=timed.seconds * jobs / read,
                    cpu_seconds=timed.cpu_seconds * jobs / read,
                )
                yield OverNetwork(name, jobs, whole, read)
            else:
                yield OverNetwork(name, jobs, timed, jobs)


def _runs(name: str, jobs: int) -> int:
    return 1 if name != "monitor" and jobs >= _LONG_RUN_FROM else _RUNS


def _own(
    environment: Environment, recorded: Mapping[str, Sequence[Item]], name: str
) -> dict[str, Sequence[Item]]:
    """The part of the recorded state that a subject changes."""
    tables = environment.tables if name == "monitor" else (environment.plain_table,)
    return {table: recorded[table] for table in tables}


def _timed(
    environment: Environment,
    subject: Subject,
    recorded: Mapping[str, Sequence[Item]],
    *,
    runs: int,
) -> Iterator[Cost]:
    """The costs of so many polls of one environment, without its first if there are several."""
    environment.restore(recorded)
    poll = subject(environment, environment.session())
    if runs > 1:
        poll()
    for _ in range(runs):
        with timing() as cost:
            poll()
        yield cost


def _counted(
    environment: Environment, subject: Subject, recorded: Mapping[str, Sequence[Item]]
) -> Cost:
    environment.restore(recorded)
    metered = environment.session()
    meter = Meter(metered, environment.monitor.client("dynamodb"))
    poll = subject(environment, metered)
    with meter.counting() as cost:
        poll()
    return cost
