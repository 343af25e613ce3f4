"""What each step in a job's life costs in DynamoDB units, for one job."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aws_lambda_powertools import Logger

from bedrock_batch_monitor.app.composition import compose
from local.bedrock import Phase, Script
from local.bench.meter import Cost, Meter

if TYPE_CHECKING:
    from local.bench.arena import Arena

_JOBS: Final = 100
_SECONDS: Final = 120.0
_RUNNING_SECONDS: Final = 1200.0
# By the keys under which `bbm cost` finds them.
_NAMES: Final = {
    "takenUp": "discovery takes a job up, with its first status",
    "transition": "a transition",
    "counts": "record counts that moved",
    "ending": "the end, with its event",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and what it took for each of the jobs that took it together."""

    key: str
    read_units: float
    write_units: float

    @property
    def name(self) -> str:
        """The step in words."""
        return _NAMES[self.key]


def measure(arena: Arena) -> Iterator[Step]:
    """Follow some jobs from their submission to their end, poll by poll.

    What a poll reads for jobs that did not change is counted to its step as well.
    """
    arena.empty()
    session = arena.session()
    meter = Meter(session, arena.monitor.client("dynamodb"))
    monitor = compose(
        arena.settings,
        session,
        Logger(service="bench", stream=io.StringIO()),
        clock=arena.bedrock.now,
    )
    # Discovery is new here, and what it finds in its first poll was there before it.
    monitor.poll(lambda: 900.0)
    script = Script(
        (
            Phase("Submitted", _SECONDS),
            Phase("Validating", _SECONDS),
            Phase("InProgress", _RUNNING_SECONDS),
            Phase("Completed", None),
        )
    )
    arena.bedrock.add_jobs([{"script": script.to_json(), "count": _JOBS}])

    def poll() -> Cost:
        with meter.counting() as cost:
            monitor.poll(lambda: 900.0)
        return cost

    arena.bedrock.advance(1)
    yield _step("takenUp", poll())
    arena.bedrock.advance(_SECONDS)
    yield _step("transition", poll())
    arena.bedrock.advance(_SECONDS)
    poll()
    arena.bedrock.advance(_RUNNING_SECONDS / 2)
    yield _step("counts", poll())
    arena.bedrock.advance(_RUNNING_SECONDS)
    yield _step("ending", poll())


def _step(key: str, cost: Cost) -> Step:
    return Step(key, cost.read_units / _JOBS, cost.write_units / _JOBS)
