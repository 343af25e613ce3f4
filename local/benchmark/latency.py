"""The time from the end of a job until its event is in a subscriber's queue.

Measured with the deployed functions. The wait for the next scheduled poll comes on top: at most one
interval.
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
    from local.benchmark.environment import Environment
    from local.subscription import Subscription

_NATIVE_RUNS: Final = 15
_POLL_RUNS: Final = 3
# To record so many jobs takes a minute.
_ONE_RUN_FROM: Final = 10_000
_PATIENCE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of some runs on one path, with a number of active jobs."""

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


def measure(environment: Environment, sizes: Sequence[int]) -> Iterator[Latency]:
    """Measure the path of Bedrock's own event, then that of a poll at each size."""
    with environment.monitor.subscribe() as subscription:
        yield Latency("native event", 1, tuple(_native(environment, subscription)))
        for jobs in sizes:
            path = "poll with Get calls" if jobs <= FETCH_EACH_UP_TO else "poll with a list scan"
            yield Latency(path, jobs, tuple(_polled(environment, subscription, jobs)))


def _native(environment: Environment, subscription: Subscription) -> Iterator[float]:
    queue_url, pattern = _inbox_of(environment)
    for _ in range(_NATIVE_RUNS):
        [job_arn] = environment.fill(1, ending=[1])
        environment.monitor.poll()
        event = json.dumps(_native_event(job_arn, environment))
        matched = environment.monitor.client("events").test_event_pattern(
            EventPattern=pattern, Event=event
        )
        if not matched["Result"]:
            message = f"the rule {pattern} does not match Bedrock's own event"
            raise RuntimeError(message)
        environment.end_jobs()
        started = time.perf_counter()
        # Only AWS may put an event with this source, so it goes directly to the rule's target.
        environment.monitor.client("sqs").send_message(QueueUrl=queue_url, MessageBody=event)
        subscription.receive(timeout=_PATIENCE_SECONDS)
        yield time.perf_counter() - started


def _polled(environment: Environment, subscription: Subscription, jobs: int) -> Iterator[float]:
    for _ in range(_POLL_RUNS if jobs < _ONE_RUN_FROM else 1):
        environment.fill(jobs, ending=[1])
        environment.monitor.poll()
        environment.end_jobs()
        started = time.perf_counter()
        with ThreadPoolExecutor(1) as executor:
            poll = executor.submit(environment.monitor.poll)
            subscription.receive(timeout=_PATIENCE_SECONDS)
            yield time.perf_counter() - started
            poll.result()


def _inbox_of(environment: Environment) -> tuple[str, str]:
    """The URL of the inbox queue, and the pattern of the rule that feeds it native events."""
    events = environment.monitor.client("events")
    [rule] = [
        rule
        for rule in events.list_rules()["Rules"]
        if requests.NATIVE_SOURCE in rule.get("EventPattern", "")
    ]
    [target] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    name = target["Arn"].rsplit(":", 1)[-1]
    url = environment.monitor.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    return url, rule["EventPattern"]


def _native_event(job_arn: str, environment: Environment) -> dict[str, object]:
    """Bedrock's event, with the fields that EventBridge and the monitor use."""
    return {
        "version": "0",
        "id": "00000000-0000-0000-0000-000000000000",
        "source": requests.NATIVE_SOURCE,
        "detail-type": requests.NATIVE_DETAIL_TYPE,
        "account": environment.emulator.account,
        "region": environment.emulator.region,
        "time": "2026-11-24T20:00:00Z",
        "resources": [job_arn],
        "detail": {"batchJobArn": job_arn, "status": "Completed"},
    }
