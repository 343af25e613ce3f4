"""The stand-in as a process: `python -m local.bedrock --port 4570 --seed 7 --speed 60`."""

from __future__ import annotations

import signal
import threading
from datetime import datetime
from typing import Annotated

import typer

from local.bedrock import ManualClock, SimulatedClock, StandIn


def serve(  # noqa: PLR0913 - the options of a command line
    *,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 selects a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="Seed of everything that is random.")] = 0,
    speed: Annotated[float, typer.Option(help="Simulated seconds per real second.")] = 1.0,
    start: Annotated[
        str, typer.Option(help="Simulated time at the start, ISO 8601 with zone; default: now.")
    ] = "",
    manual: Annotated[
        bool, typer.Option("--manual", help="Let the clock advance only on command.")
    ] = False,
    account: Annotated[
        str, typer.Option(help="Account of callers whose access key id is not 12 digits.")
    ] = "000000000000",
    region: Annotated[str, typer.Option(help="Region of unsigned calls.")] = "us-east-1",
) -> None:
    """Serve Bedrock's batch inference API until interrupted; prints the endpoint URL first."""
    begin = datetime.fromisoformat(start) if start else None
    clock = ManualClock(begin) if manual else SimulatedClock(begin, speed)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with StandIn(
        clock=clock, seed=seed, host=host, port=port, account=account, region=region
    ) as bedrock:
        # The process that started this one waits for this line.
        typer.echo(bedrock.endpoint_url)
        done.wait()


if __name__ == "__main__":
    typer.run(serve)
