"""`python -m local.demo`: deploys the stack to the local cloud, runs jobs, checks the results."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Annotated

import typer

from local.bedrock import StandIn
from local.cloud import local_cloud
from local.demo import scenario
from local.demo.checks import missing
from local.demo.console import console, say
from local.demo.ending import show_next_steps, show_result, stay
from local.demo.following import run_jobs


def main(
    *,
    keep: Annotated[
        bool, typer.Option(help="Leave the local cloud running when the jobs have ended.")
    ] = False,
) -> None:
    """Deploy the stack to a local cloud and watch batch inference jobs run through it."""
    started = time.monotonic()
    say("[bold]Bedrock Batch Monitor[/] on this machine, without an AWS account.\n")
    say(
        "First, a local cloud starts, and the real [bold]cdk[/] deploys the stack to it. This "
        "takes less than a minute."
    )
    with contextlib.ExitStack() as stack:
        with _working("cdk bootstrap and cdk deploy are running ..."):
            cloud = stack.enter_context(
                local_cloud(
                    # With this seed, the stopped job needs seven seconds to stop.
                    bedrock=StandIn(seed=7),
                    # The demo's jobs take seconds, so every poll writes their record counts.
                    context={
                        "removalPolicy": "destroy",
                        "progressIntervalMinutes": "0",
                        "outputBuckets": f"{scenario.OUTPUT_BUCKET},{scenario.INPUT_BUCKET}",
                        "recordErrors": "on",
                        "retryFilePrefix": f"s3://{scenario.RETRY_BUCKET}/batch",
                        "tokenPrices": json.dumps(scenario.TOKEN_PRICES),
                    },
                )
            )
        say(
            f"Deployed in {time.monotonic() - started:.0f} s: the template and the functions of "
            "AWS, with IAM enforced. The schedule polls every minute, and the demo also polls "
            "every two seconds.\n"
        )
        with cloud.monitor.subscribe() as subscription:
            watched = run_jobs(cloud, subscription)
            problems = missing(cloud, watched)
        show_result(cloud, watched, problems, time.monotonic() - started)
        if keep:
            stay(cloud)
        else:
            show_next_steps()
    sys.exit(1 if problems else 0)


def _working(text: str) -> contextlib.AbstractContextManager[object]:
    """A sign of life in a terminal; a pipe gets the text alone."""
    if console.is_terminal:
        return console.status(text)
    say(text)
    return contextlib.nullcontext()


if __name__ == "__main__":
    typer.run(main)
