"""`bbm cost` and `bbm report`: the estimated bill, and a page about a period."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bbm import cost as costs
from bbm import inputs
from bbm.command import Invocation, Since
from bbm.problems import UsageProblem
from bbm.report import reading
from bbm.report.page import render
from bbm.views import amounts, lines


def cost(  # noqa: PLR0913 - the options of a command line
    bbm: Invocation,
    *,
    jobs: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Number of jobs that are always active.")
    ] = 20,
    interval: Annotated[
        int, typer.Option(min=1, max=60, metavar="MINUTES", help="Minutes between two polls.")
    ] = 1,
    hours_per_job: Annotated[
        int, typer.Option(min=1, max=168, metavar="HOURS", help="Hours that a job is active.")
    ] = 24,
    progress_interval: Annotated[
        int,
        typer.Option(
            min=1, max=1440, metavar="MINUTES", help="Minutes between two writes of record counts."
        ),
    ] = 5,
    memory: Annotated[
        int, typer.Option(min=128, max=10240, metavar="MB", help="Memory of the functions.")
    ] = 512,
) -> None:
    """Estimate the monthly cost and compare it with alternatives.

    Needs no AWS account. The numbers of calls come from the benchmark, and the prices are list
    prices of us-east-1. See docs/cost.md.
    """
    workload = costs.Workload(
        jobs=jobs,
        interval_minutes=interval,
        hours_per_job=hours_per_job,
        progress_minutes=progress_interval,
        memory_megabytes=memory,
    )
    bbm.out.document(costs.as_json(workload))
    width = bbm.out.width
    bill = amounts.bill(costs.bill(workload), width)
    bbm.out.show(bill, Text(), amounts.alternatives(workload, width))


def report(
    bbm: Invocation,
    *,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Output file; - means standard output."
        ),
    ] = "report.html",
    since: Since = "7d",
) -> None:
    """Write a report on the jobs since a time: one HTML page that needs no network.

    The page begins with the jobs that need attention. It has a timeline, statuses by model, queue
    and run times, failures by message, and usage. It contains Bedrock's messages, which can contain
    customer data.
    """
    if output == "-" and bbm.out.as_json:
        message = "--json and --output - both write to standard output: name a file"
        raise UsageProblem(message)
    now = bbm.now()
    start = inputs.since(since, now)
    if start >= now:
        message = f"--since {since!r} is not in the past: give an earlier time, such as 7d"
        raise UsageProblem(message)
    gathered = reading.gather(
        bbm.jobs,
        bbm.history,
        deployment=bbm.deployment,
        stack=bbm.stack,
        since=start,
        until=now,
    )
    page = render(gathered)
    if output == "-":
        bbm.out.page(page)
        return
    size = reading.write(page, Path(output))
    bbm.out.document({"output": output, "bytes": size, **reading.figures_of(gathered)})
    bbm.out.show(lines.report_written(output, gathered))
