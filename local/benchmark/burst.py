"""Many jobs that end at once: the speed of the monitor relative to the bare writes."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from local.benchmark.meter import timing

if TYPE_CHECKING:
    import boto3

    from local.benchmark.environment import Environment

_THREADS: Final = 32
_RECORDED: Final = ("TransactWriteItems", "PutEvents")


@dataclass(frozen=True, slots=True)
class Burst:
    """Seconds until a poll has recorded and sent all, and those of a bare thread pool.

    CPU seconds are those of this process, without the local cloud's.
    """

    jobs: int
    transactions: int
    put_events: int
    seconds: float
    limit_seconds: float
    cpu_seconds: float
    limit_cpu_seconds: float

    @property
    def share_of_limit(self) -> float:
        """The monitor's speed as a share of the bare thread pool's."""
        return self.limit_seconds / self.seconds

    @property
    def share_of_limit_cpu(self) -> float:
        """The CPU time of the bare calls as a share of the monitor's."""
        return self.limit_cpu_seconds / self.cpu_seconds


def measure(environment: Environment, jobs: int) -> Burst:
    """Let jobs end at once, and record and send their ends: by a poll, then by bare calls.

    The poll does more than the bare calls: it reads the index and every job, decides, and
    acknowledges each event. It is timed until the bus has the last event.
    """
    session = environment.session()
    made, sent_at = _recorded_calls(session)
    poll = environment.poll_of_monitor(session)
    environment.fill(jobs, ending=[jobs])
    poll()
    before = environment.snapshot(environment.tables)
    environment.end_jobs()
    for calls in made.values():
        calls.clear()
    started = time.perf_counter()
    with timing() as taken:
        poll()
    seconds = max(sent_at) - started

    # Restore the state before the poll, so that the same transactions succeed again.
    environment.restore(before)
    with timing() as bare:
        _repeat(environment, made)
    history = environment.monitor.outputs.history_table_name
    recorded = len(environment.items(history)) - len(before[history])
    if recorded != len(made["TransactWriteItems"]):
        message = f"the bare calls wrote {recorded} transitions, not those of the poll"
        raise RuntimeError(message)
    return Burst(
        jobs,
        len(made["TransactWriteItems"]),
        len(made["PutEvents"]),
        seconds,
        bare.seconds,
        taken.cpu_seconds,
        bare.cpu_seconds,
    )


def _recorded_calls(session: boto3.Session) -> tuple[dict[str, list[dict[str, Any]]], list[float]]:
    """The calls that record and send, by operation, and the times after each PutEvents call."""
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in _RECORDED}
    sent_at: list[float] = []

    def keep(params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        # Only the transactions that record; the others acknowledge events.
        records = any("Put" in part for part in params.get("TransactItems", ()))
        if records or model.name == "PutEvents":
            # A copy, because botocore adds an idempotency token to the original.
            made[model.name].append(dict(params))

    def sent(**_: object) -> None:
        sent_at.append(time.perf_counter())

    session.events.register("provide-client-params", keep)
    session.events.register("after-call.events.PutEvents", sent)
    return made, sent_at


def _repeat(environment: Environment, made: dict[str, list[dict[str, Any]]]) -> None:
    session = environment.session()
    config = Config(max_pool_connections=_THREADS)
    dynamodb = session.client("dynamodb", config=config)
    events = session.client("events", config=config)
    with ThreadPoolExecutor(_THREADS) as executor:
        under_way: list[Future[Any]] = [
            executor.submit(dynamodb.transact_write_items, **call)
            for call in made["TransactWriteItems"]
        ]
        under_way += [executor.submit(events.put_events, **call) for call in made["PutEvents"]]
        for future in under_way:
            future.result()
