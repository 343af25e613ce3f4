"""One world with one monitor, for tests that run a story step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.settings import Settings
from tests.explorer.simulation import QUICK, Actor, World, deployed
from tests.support.monitor import SETTINGS

if TYPE_CHECKING:
    from bedrock_batch_monitor.domain.requests import Request
    from bedrock_batch_monitor.domain.summary import PollSummary

RUNNING: Final = (statuses.IN_PROGRESS, statuses.COMPLETED)
MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0


@dataclass
class Watched:
    """The oversight of a story: time passes, calls are counted, and some have a fault.

    `faults` is the kind of fault by operation, for every call or only for the `first` ones. `at` is
    an action before the n-th call of an operation.
    """

    world: World
    faults: Mapping[str, str] = field(default_factory=dict)
    first: int | None = None
    at: tuple[str, int, Callable[[], object]] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def before(self, _actor: str, operation: str, request: Mapping[str, Any]) -> str | None:
        """Count the call, run the action that is due, and return the call's fault."""
        self.world.tick(self.seconds.get(operation, QUICK))
        number = self.made[operation] = self.made.get(operation, 0) + 1
        self.asked.append((operation, request))
        if self.at is not None and self.at[:2] == (operation, number):
            self.at[2]()
        if self.first is not None and number > self.first:
            return None
        return self.faults.get(operation)


class Story:
    """A world, a monitor that polls each minute, and an inbox."""

    def __init__(
        self, settings: Settings = SETTINGS, *, page_size: int = 1000, sweeps: bool = False
    ) -> None:
        self.world = World.empty(page_size)
        self.sweeps = sweeps
        self.deploy(settings)

    def deploy(self, settings: Settings) -> None:
        """Deploy another version or other settings."""
        self.monitor = deployed("P", settings, sweeps=self.sweeps)
        self.inbox = deployed("E", settings)

    def job(self, *lifecycle: str, tracked: bool = True) -> str:
        """A new job in Bedrock, which is tracked manually."""
        arn = self.world.add_job(*(lifecycle or RUNNING))
        if tracked:
            self.world.put(arn)
        return arn

    def jobs(self, count: int, *lifecycle: str) -> list[str]:
        """Add new jobs; returns their ARNs."""
        return [self.job(*lifecycle) for _ in range(count)]

    def poll(
        self,
        times: int = 1,
        *,
        after: float = MINUTE,
        watched: Watched | None = None,
        within: float | None = None,
        monitor: Actor | None = None,
    ) -> PollSummary:
        """Run polls, each `after` seconds after the last; returns the summary of the last one."""
        acting = monitor or self.monitor
        acting.seat.oversight = watched or Watched(self.world)
        for _ in range(times):
            self.world.tick(after)
            began = self.world.now
            summary = acting.monitor.poll(
                lambda: (within or 900.0) - (self.world.now - began).total_seconds()  # noqa: B023
            )
            assert not [code for code in summary.errors if code.startswith("Monitor.")]
        return summary

    def process(self, *requests: Request, watched: Watched | None = None) -> list[Request]:
        """Process a batch; returns the requests that return to the queue."""
        self.inbox.seat.oversight = watched or Watched(self.world)
        return self.inbox.process_all(requests)

    def other(self, settings: Settings = SETTINGS) -> Actor:
        """Another process with the same tables."""
        return deployed("B", settings, sweeps=self.sweeps)

    def end(self, *arns: str) -> None:
        """Bedrock moves jobs to their last status."""
        for arn in arns:
            while not self.world.jobs[arn].is_over:
                self.world.advance(arn)

    def answer(self, arn: str, **changes: Any) -> None:
        """Change Bedrock's response for a job from now on; None removes a field."""
        answers = self.world.jobs[arn].answers
        changed = {**answers[-1], **changes}
        answers[-1] = {name: value for name, value in changed.items() if value is not None}

    def write(self, arn: str, **attributes: Mapping[str, Any]) -> None:
        """Write attributes into an item, as a person or an earlier version."""
        item = {**(self.world.item(arn) or {"jobArn": {"S": arn}}), **attributes}
        self.world.dynamodb.put_item(TableName="jobs", Item=item)

    def write_state(self, **attributes: Mapping[str, Any]) -> None:
        """Write attributes into the item of the state table."""
        [(key, item)] = self.world.dynamodb.tables["state"].items.items()
        self.world.dynamodb.tables["state"].items[key] = {**item, **attributes}

    # Results

    def item(self, arn: str) -> Mapping[str, Any]:
        """A job's item; empty without one."""
        return self.world.item(arn) or {}

    def number(self, arn: str, name: str) -> int:
        """A number of a job's item."""
        return int(self.item(arn)[name]["N"])

    def is_tracked(self, arn: str) -> bool:
        """Whether polls read the job."""
        return contract.TRACKING in self.item(arn)

    def pending(self, arn: str) -> list[str]:
        """A job's pending events."""
        return sorted(self.item(arn).get("pendingEvents", {}).get("SS", ()))

    def events(
        self, arn: str, detail_type: str = event_kinds.ENDED.detail_type
    ) -> list[dict[str, Any]]:
        """The details of a job's events of one type, in the order of acceptance by the bus."""
        return [
            json.loads(entry["Detail"])
            for entry in self.world.received
            if entry["DetailType"] == detail_type and entry["Resources"] == [arn]
        ]

    def ids(self, arn: str, detail_type: str = event_kinds.ENDED.detail_type) -> set[str]:
        """The ids of a job's events of one type."""
        return {detail["metadata"]["eventId"] for detail in self.events(arn, detail_type)}

    def history(self, arn: str) -> list[tuple[int, str]]:
        """A job's recorded transitions: sequence and status."""
        return [
            (int(entry["sequence"]["N"]), entry["status"]["S"])
            for entry in self.world.history().get(arn, ())
        ]

    def has_ended(self, arn: str) -> bool:
        """Whether the end of a job is recorded, once, and published."""
        ends = [status for _, status in self.history(arn) if statuses.is_terminal(status)]
        return len(ends) == 1 and len(self.ids(arn)) == 1 and not self.is_tracked(arn)

    def ago(self, seconds: float) -> datetime:
        """A time before now."""
        return self.world.now - timedelta(seconds=seconds)
