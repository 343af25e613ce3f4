"""`python -m local.benchmark.parsing`: the CPU time to read a page of 1,000 job summaries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any, Final

import typer
from botocore.parsers import RestJSONParser

from bedrock_batch_monitor.adapters.bedrock import listed_state
from bedrock_batch_monitor.adapters.parsers import BedrockParser
from bedrock_batch_monitor.domain.list_pages import SUMMARIES_PER_PAGE
from local.bedrock import ManualClock, StandIn
from local.bedrock.jobs import Scope

_OPERATION: Final = "ListModelInvocationJobs"
_RUNS: Final = 5


@dataclass(frozen=True, slots=True)
class Parsing:
    """CPU seconds for a page, by botocore's own parser and by the monitor's."""

    own_seconds: float
    quick_seconds: float

    @property
    def ratio(self) -> float:
        """How many times longer botocore's own parser takes."""
        return self.own_seconds / self.quick_seconds


def measure() -> Parsing:
    """Read one page both ways, in this process; raises AssertionError if they differ."""
    stand_in = StandIn(clock=ManualClock(), seed=3)
    scope = Scope("123456789012", "us-east-1")
    for number in range(SUMMARIES_PER_PAGE):
        submitted_at = stand_in.clock.now() - timedelta(minutes=number)
        stand_in.store.add(scope, submitted_at=submitted_at)
    operation = stand_in.api.operations[_OPERATION]
    answer = stand_in.service.answer(operation, scope, {}, f"maxResults={SUMMARIES_PER_PAGE}", b"")
    response = {
        "status_code": 200,
        "headers": {},
        "body": json.dumps(answer.document).encode(),
    }

    def read(parser: RestJSONParser) -> list[Any]:
        page = parser.parse(response, operation.output_shape)
        return [listed_state(summary) for summary in page["invocationJobSummaries"]]

    readers: list[Callable[[], Any]] = [
        partial(read, parser) for parser in (RestJSONParser(), BedrockParser())
    ]
    pages = [reader() for reader in readers]
    if pages[0] != pages[1]:
        message = "the two parsers read the page differently"
        raise AssertionError(message)
    return Parsing(*(median(_cpu_seconds(reader) for _ in range(_RUNS)) for reader in readers))


def _cpu_seconds(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def main() -> None:
    """Print both times and their ratio."""
    parsing = measure()
    typer.echo(
        f"{SUMMARIES_PER_PAGE:,} summaries: botocore's parser "
        f"{parsing.own_seconds * 1000:.1f} ms, the monitor's "
        f"{parsing.quick_seconds * 1000:.1f} ms, ratio {parsing.ratio:.1f}"
    )


if __name__ == "__main__":
    typer.run(main)
