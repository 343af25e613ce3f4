"""How long it takes from a job's end until its event is in a subscriber's queue.

Measured on the deployed functions. What a poll has to wait for its schedule comes on top: between
nothing and one interval.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.domain import requests
from bedrock_batch_monitor.domain.list_summaries import FETCH_EACH_UP_TO

if TYPE_CHECKING:
    from local.bench.arena import Arena
    from local.deployment import Subscription

_NATIVE_RUNS: Final = 15
_POLL_RUNS: Final = 3
_PATIENCE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of some runs on one path, with so many other jobs active."""

    path: str
    jobs: int
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the runs."""
        return statistics.median(self.seconds)

    @property
    def longest(self) -> float:
        """The longest of the runs."""
        return max(self.seconds)


def measure(arena: Arena, sizes: Sequence[int]) -> Iterator[Latency]:
    """Measure the way by Bedrock's own event, then the way by a poll at each size."""
    with arena.monitor.subscribe() as subscription:
        yield Latency("native event", 1, tuple(_native(arena, subscription)))
        for jobs in sizes:
            way = "poll that gets each" if jobs <= FETCH_EACH_UP_TO else "poll that sweeps"
            yield Latency(way, jobs, tuple(_polled(arena, subscription, jobs)))


def _native(arena: Arena, subscription: Subscription) -> Iterator[float]:
    queue_url, pattern = _inbox_of(arena)
    for _ in range(_NATIVE_RUNS):
        [job_arn] = arena.fill(1, ending=1)
        arena.monitor.poll()
        event = json.dumps(_native_event(job_arn, arena))
        matched = arena.monitor.client("events").test_event_pattern(
            EventPattern=pattern, Event=event
        )
        if not matched["Result"]:
            message = f"the rule {pattern} does not match Bedrock's own event"
            raise RuntimeError(message)
        arena.end_jobs()
        started = time.perf_counter()
        # Nobody but AWS may put an event with this source: it is handed to the rule's target.
        arena.monitor.client("sqs").send_message(QueueUrl=queue_url, MessageBody=event)
        subscription.receive(timeout=_PATIENCE_SECONDS)
        yield time.perf_counter() - started


def _polled(arena: Arena, subscription: Subscription, jobs: int) -> Iterator[float]:
    for _ in range(_POLL_RUNS):
        arena.fill(jobs, ending=1)
        arena.monitor.poll()
        arena.end_jobs()
        started = time.perf_counter()
        with ThreadPoolExecutor(1) as executor:
            poll = executor.submit(arena.monitor.poll)
            subscription.receive(timeout=_PATIENCE_SECONDS)
            yield time.perf_counter() - started
            poll.result()


def _inbox_of(arena: Arena) -> tuple[str, str]:
    """The URL of the inbox queue, and the pattern of the rule that feeds it native events."""
    events = arena.monitor.client("events")
    [rule] = [
        rule
        for rule in events.list_rules()["Rules"]
        if requests.NATIVE_SOURCE in rule.get("EventPattern", "")
    ]
    [target] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    name = target["Arn"].rsplit(":", 1)[-1]
    url = arena.monitor.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    return url, rule["EventPattern"]


def _native_event(job_arn: str, arena: Arena) -> dict[str, object]:
    """Bedrock's event, with the fields that EventBridge needs and those that are believed."""
    return {
        "version": "0",
        "id": "00000000-0000-0000-0000-000000000000",
        "source": requests.NATIVE_SOURCE,
        "detail-type": requests.NATIVE_DETAIL_TYPE,
        "account": arena.emulator.account,
        "region": arena.emulator.region,
        "time": "2026-11-24T20:00:00Z",
        "resources": [job_arn],
        "detail": {"batchJobArn": job_arn, "status": "Completed"},
    }
