"""`python -m local.bench`: measures the monitor beside what people write today, in one run."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from local.bench import burst, latency, page, parsing, polls, start, steps
from local.bench.arena import arena, environment_of

_SIZES: Final = (10, 100, 1000, 10_000)
_BURST: Final = 10_000
_LATENCY_SIZES: Final = (10, 1000, 10_000)


def main(
    *,
    sizes: Annotated[
        str, typer.Option(help="Numbers of active jobs, with commas between them.")
    ] = ",".join(map(str, _SIZES)),
    burst_jobs: Annotated[int, typer.Option(help="Jobs that end at once.")] = _BURST,
    write: Annotated[
        bool, typer.Option(help="Write docs/performance.md and the counts of `bbm cost`.")
    ] = True,
) -> None:
    """Measure polls, a burst of endings, latencies and the start of the function."""
    console = Console(width=120)
    wanted = tuple(map(int, sizes.split(",")))
    table = Table(
        box=box.SIMPLE_HEAD,
        title="One poll of each: the monitor, the common sample (scan), the better one (pool)",
    )
    for heading in (
        "jobs",
        "ended",
        "who",
        "Bedrock calls",
        "read units",
        "write units",
        "PutEvents",
        "seconds",
        "CPU seconds",
        "peak MiB",
    ):
        table.add_column(heading, justify="right")
    with arena() as here:
        measured = []
        for one in polls.measure(here, wanted):
            measured.append(one)
            console.print(f"[dim]{one.contestant}, {one.jobs:,} jobs, {one.changed:,} ended[/dim]")
            table.add_row(
                f"{one.jobs:,}",
                f"{one.changed:,}",
                one.contestant,
                f"{one.counted.bedrock_calls:,}",
                f"{one.counted.read_units:,.1f}",
                f"{one.counted.write_units:,.0f}",
                f"{one.counted.calls['PutEvents']:,}",
                f"{one.timed.seconds:.2f}",
                f"{one.timed.cpu_seconds:.2f}",
                f"{one.counted.peak_bytes / 2**20:.1f}",
            )
        console.print(table)
        taken = tuple(steps.measure(here))
        for step in taken:
            console.print(f"{step.name}: {step.write_units:.1f} write units")
        together = burst.measure(here, burst_jobs)
        console.print(
            f"{together.jobs:,} endings at once: {together.seconds:.1f} s, bare calls "
            f"{together.limit_seconds:.1f} s, ratio {together.share_of_limit:.2f}; "
            f"ratio of CPU {together.share_of_limit_cpu:.2f}"
        )
        ways = []
        for way in latency.measure(
            here, tuple(size for size in _LATENCY_SIZES if size <= max(wanted))
        ):
            ways.append(way)
            console.print(
                f"{way.path}, {way.jobs:,} jobs: {way.median:.2f} s, longest {way.longest:.2f} s"
            )
        read = parsing.measure()
        console.print(
            f"a page of summaries: {read.own_seconds * 1000:.0f} ms of CPU with botocore's own "
            f"timestamps, {read.quick_seconds * 1000:.0f} ms with the monitor's, "
            f"ratio {read.ratio:.1f}"
        )
        begun = start.measure(here, environment_of(here.monitor))
        console.print(
            f"start: {begun.handler_seconds * 1000:.0f} ms, bare boto3 "
            f"{begun.bare_seconds * 1000:.0f} ms, ratio {begun.ratio:.2f}; uncompiled "
            f"{begun.uncompiled_seconds * 1000:.0f} ms; bundle "
            f"{begun.unpacked_bytes / 2**20:.1f} MiB, zipped {begun.zipped_bytes / 2**20:.1f} MiB"
        )
    if write:
        command = "make bench"
        if wanted != _SIZES or burst_jobs != _BURST:
            command += f" ARGS={shlex.quote(f'--sizes {sizes} --burst-jobs {burst_jobs}')}"
        results = page.Results(command, tuple(measured), taken, together, tuple(ways), begun)
        page.write(results, datetime.now(UTC).date())
        console.print("Written: docs/performance.md and cli/bbm/counts.json")


if __name__ == "__main__":
    typer.run(main)
