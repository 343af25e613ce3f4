"""`python -m local.benchmark`: measures the monitor and the baselines in one run."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bbm import count_writes
from local.benchmark import (
    burst,
    forecast,
    latency,
    page,
    parsing,
    polls,
    record_errors,
    start,
    steps,
)
from local.benchmark.environment import Environment, benchmark_environment, function_variables

_SIZES: Final = (10, 100, 1000, 10_000)
_QUICK: Final = (10, 1000)
_QUICK_BURST: Final = 1000
_QUICK_ENDED: Final = 100
_QUICK_RECORDS: Final = 100_000
_BURST: Final = 10_000
_LATENCY_SIZES: Final = (10, 1000, 10_000)


console = Console(width=120)


def main(
    *,
    sizes: Annotated[
        str, typer.Option(help="Numbers of active jobs, separated by commas.")
    ] = ",".join(map(str, _SIZES)),
    burst_jobs: Annotated[int, typer.Option(help="Jobs that end at the same time.")] = _BURST,
    write: Annotated[
        bool, typer.Option(help="Write docs/performance.md and the counts of `bbm cost`.")
    ] = True,
    quick: Annotated[
        bool, typer.Option(help="At most 1,000 jobs, and write nothing: to find a regression.")
    ] = False,
) -> None:
    """Measure polls, a burst of ended jobs, latencies, the start of the function, and the rest.

    The rest is the reading of failed records, and how good the forecast is.
    """
    if quick:
        sizes, burst_jobs, write = ",".join(map(str, _QUICK)), _QUICK_BURST, False
    wanted = tuple(sorted(map(int, sizes.split(","))))
    command = "make bench"
    if wanted != _SIZES or burst_jobs != _BURST:
        command += f" ARGS={shlex.quote(f'--sizes {sizes} --burst-jobs {burst_jobs}')}"
    with benchmark_environment() as environment, _minutes("all"):
        most = _QUICK_ENDED if quick else polls.MOST_THAT_END
        with _minutes("polls"):
            measured = list(polls.measure(environment, wanted, most_that_end=most))
            at_once = tuple(one for one in measured if isinstance(one, polls.Measured))
            over_network = tuple(one for one in measured if isinstance(one, polls.OverNetwork))
        _print_polls(at_once)
        _print_over_network(over_network)
        console.print("\n".join(page.ways(at_once)))
        # The polls leave the jobs of the last size, if there are too many for all to end in a poll.
        are_recorded = wanted[-1] == burst_jobs > most
        burst_measured = _burst(environment, burst_jobs, are_recorded=are_recorded)
        results = page.Results(
            command,
            at_once,
            over_network,
            _steps(environment),
            burst_measured,
            _latencies(environment, tuple(n for n in _LATENCY_SIZES if n <= max(wanted))),
            _start(environment),
            _records(quick=quick),
            _forecast(),
        )
    if write:
        page.write(results, datetime.now(UTC).date())
        console.print("Written: docs/performance.md and cli/bbm/counts.json")


@contextmanager
def _minutes(part: str) -> Iterator[None]:
    """Print how long a part of the benchmark took, so that it stays short."""
    began = time.monotonic()
    yield
    console.print(f"[dim]{part}: {(time.monotonic() - began) / 60:.1f} minutes[/dim]")


def _print_polls(measured: Iterable[polls.Measured]) -> None:
    table = Table(
        box=box.SIMPLE_HEAD,
        title="One poll of each: the monitor, the common baseline (scan), the better one (pool)",
    )
    for heading in (
        *("jobs", "ended", "subject", "Bedrock calls", "read units", "write units"),
        *("PutEvents", "seconds", "CPU seconds", "peak MiB"),
    ):
        table.add_column(heading, justify="right")
    for one in measured:
        table.add_row(
            f"{one.jobs:,}",
            f"{one.changed:,}",
            one.subject,
            f"{one.counted.bedrock_calls:,}",
            f"{one.counted.read_units:,.1f}",
            f"{one.counted.write_units:,.0f}",
            f"{one.counted.calls['PutEvents']:,}",
            f"{one.timed.seconds:.2f}",
            f"{one.timed.cpu_seconds:.2f}",
            f"{one.counted.peak_bytes / 2**20:.1f}",
        )
    console.print(table)


def _print_over_network(measured: Iterable[polls.OverNetwork]) -> None:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"Nothing changed, and Bedrock answers in {polls.NETWORK_SECONDS * 1000:.0f} ms",
    )
    for heading in ("jobs", "subject", "seconds", "CPU seconds", "jobs measured"):
        table.add_column(heading, justify="right")
    for one in measured:
        table.add_row(
            f"{one.jobs:,}",
            one.subject,
            f"{one.timed.seconds:.2f}",
            f"{one.timed.cpu_seconds:.2f}",
            f"{one.read:,}",
        )
    console.print(table)


def _steps(environment: Environment) -> tuple[steps.Step, ...]:
    measured = tuple(steps.measure(environment))
    for step in measured:
        console.print(f"{step.name}: {step.write_units:.1f} write units")
    for hours in count_writes.HOURS:
        writes = count_writes.writes_per_job(hours)
        console.print(f"a job of {hours} hours: {writes} writes of record counts")
    return measured


def _burst(environment: Environment, jobs: int, *, are_recorded: bool) -> burst.Burst:
    with _minutes("burst"):
        measured = burst.measure(environment, jobs, are_recorded=are_recorded)
    console.print(
        f"{measured.jobs:,} jobs ended at once: {measured.seconds:.1f} s, bare calls "
        f"{measured.limit_seconds:.1f} s, ratio {measured.share_of_limit:.2f}; "
        f"ratio of CPU {measured.share_of_limit_cpu:.2f}, and of all calls "
        f"{measured.share_of_all_cpu:.2f}; calls per job: "
        + ", ".join(f"{name} {count / jobs:.2f}" for name, count in measured.calls.items())
    )
    return measured


def _latencies(environment: Environment, sizes: Sequence[int]) -> tuple[latency.Latency, ...]:
    measured = []
    with _minutes("latencies"):
        for one in latency.measure(environment, sizes):
            measured.append(one)
            console.print(
                f"{one.path}, {one.jobs:,} jobs: {one.median:.2f} s, longest {one.longest:.2f} s"
            )
    return tuple(measured)


def _records(*, quick: bool) -> record_errors.Measured:
    with _minutes("errors of records"):
        measured = record_errors.measure(_QUICK_RECORDS) if quick else record_errors.measure()
    console.print(record_errors.text_of(measured))
    return measured


def _forecast() -> str:
    with _minutes("forecast"):
        table = forecast.table()
    console.print(table)
    return table


def _start(environment: Environment) -> start.Start:
    read = parsing.measure()
    console.print(
        f"a page of summaries: {read.own_seconds * 1000:.0f} ms of CPU with botocore's own "
        f"parser, {read.quick_seconds * 1000:.0f} ms with the monitor's, "
        f"ratio {read.ratio:.1f}"
    )
    measured = start.measure(environment, function_variables(environment.monitor))
    console.print(
        f"start: {measured.handler_seconds * 1000:.0f} ms, bare boto3 "
        f"{measured.bare_seconds * 1000:.0f} ms, ratio {measured.ratio:.2f}; uncompiled "
        f"{measured.uncompiled_seconds * 1000:.0f} ms; bundle "
        f"{measured.unpacked_bytes / 2**20:.1f} MiB, zipped {measured.zipped_bytes / 2**20:.1f} MiB"
    )
    return measured


if __name__ == "__main__":
    typer.run(main)
