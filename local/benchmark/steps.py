"""The cost of each step in a job's life cycle in DynamoDB units, per job."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aws_lambda_powertools import Logger

from bedrock_batch_monitor.app.composition import compose
from local.bedrock import Phase, Script
from local.benchmark.meter import Cost, Meter

if TYPE_CHECKING:
    from local.benchmark.environment import Environment

_JOBS: Final = 100
_SECONDS: Final = 120.0
_RUNNING_SECONDS: Final = 1200.0
# By the keys that `bbm cost` reads.
_NAMES: Final = {
    "discovery": "discovery, with the first status",
    "transition": "a transition",
    "counts": "changed record counts",
    "end": "the end, with its event",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and its cost per job."""

    key: str
    read_units: float
    write_units: float

    @property
    def name(self) -> str:
        """The step in words."""
        return _NAMES[self.key]


def measure(environment: Environment) -> Iterator[Step]:
    """Follow some jobs from their submission to their end, poll by poll.

    The reads of a poll for unchanged jobs count for its step too.
    """
    environment.empty()
    session = environment.session()
    meter = Meter(session, environment.monitor.client("dynamodb"))
    monitor = compose(
        environment.settings,
        session,
        Logger(service="bench", stream=io.StringIO()),
        clock=environment.bedrock.now,
    )
    # Jobs that the first poll of discovery finds count as submitted before it.
    monitor.poll(lambda: 900.0)
    script = Script(
        (
            Phase("Submitted", _SECONDS),
            Phase("Validating", _SECONDS),
            Phase("InProgress", _RUNNING_SECONDS),
            Phase("Completed", None),
        )
    )
    environment.bedrock.add_jobs([{"script": script.to_json(), "count": _JOBS}])

    def poll() -> Cost:
        with meter.counting() as cost:
            monitor.poll(lambda: 900.0)
        return cost

    environment.bedrock.advance(1)
    yield _step("discovery", poll())
    environment.bedrock.advance(_SECONDS)
    yield _step("transition", poll())
    environment.bedrock.advance(_SECONDS)
    poll()
    environment.bedrock.advance(_RUNNING_SECONDS / 2)
    yield _step("counts", poll())
    environment.bedrock.advance(_RUNNING_SECONDS)
    yield _step("end", poll())


def _step(key: str, cost: Cost) -> Step:
    return Step(key, cost.read_units / _JOBS, cost.write_units / _JOBS)
