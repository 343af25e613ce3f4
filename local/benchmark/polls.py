"""The cost of one poll, by number of jobs and the share that has ended since the last poll.

`python -m local.benchmark.polls` prints the CPU time of polls in which nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Annotated, Final

import typer

from local.benchmark.baselines import CALLS_ONLY, SUBJECTS, Subject, scan_some
from local.benchmark.environment import Environment, benchmark_environment
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
# Polls of the monitor whose CPU time is measured where nothing changes.
_POLLS: Final = 20


@dataclass(frozen=True, slots=True)
class Measured:
    """One subject's poll: the counts of one run, and the time of another run."""

    subject: str
    jobs: int
    changed: int
    counted: Cost
    timed: Cost
    cpu_seconds: tuple[float, ...] = ()
    """Of each measured poll: other load on the machine changes it."""


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
        polls = _POLLS if name == "monitor" and not changed else runs
        costs = list(_timed(environment, subject, own, runs=polls))
        # As many as of the others are compared.
        timed = min(costs[:runs], key=lambda cost: cost.cpu_seconds)
        cpu_seconds = tuple(cost.cpu_seconds for cost in costs)
        counted = _counted(environment, subject, own)
        yield Measured(name, jobs, changed, counted, timed, cpu_seconds)


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


def cpu_per_job(jobs: int, cpu_seconds: Sequence[float]) -> str:
    """The sentence about the CPU time of polls in which nothing changes."""
    best, middle = (value / jobs * 1e6 for value in (min(cpu_seconds), median(cpu_seconds)))
    return (
        f"With {jobs:,} jobs of which none changed, a poll takes {best:.0f} µs of CPU time per job "
        f"in the best of {len(cpu_seconds)} polls, and {middle:.0f} µs in the median."
    )


def main(
    *,
    jobs: Annotated[int, typer.Option(help="Active jobs.")] = _LONG_RUN_FROM,
    polls: Annotated[int, typer.Option(help="Polls to measure.")] = _POLLS,
) -> None:
    """Print the CPU time per job of polls in which nothing changes."""
    with benchmark_environment() as environment:
        environment.fill(jobs, ending=[jobs])
        environment.poll_of_monitor(environment.session())()
        recorded = environment.snapshot(environment.tables)
        costs = _timed(environment, SUBJECTS["monitor"], recorded, runs=polls)
        typer.echo(cpu_per_job(jobs, [cost.cpu_seconds for cost in costs]))


if __name__ == "__main__":
    typer.run(main)
