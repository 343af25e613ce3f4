"""Many jobs that end at once: how near the monitor comes to the plain speed of the same writes."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config

from local.bench.meter import timing

if TYPE_CHECKING:
    from local.bench.arena import Arena

_THREADS: Final = 32
_RECORDED: Final = ("TransactWriteItems", "PutEvents")


@dataclass(frozen=True, slots=True)
class Burst:
    """Seconds until a poll has recorded and sent all, and those of a bare thread pool for the same.

    `cpu_seconds` are those of each process alone, without the local cloud's.
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


def measure(arena: Arena, jobs: int) -> Burst:
    """Let so many jobs end at once, and record and emit them: by a poll, then by bare calls.

    The poll does more than the bare calls: it reads the index and every job, decides, and takes
    each mark away once the bus has the event. It is timed until the bus has the last event.
    """
    session = arena.session()
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in _RECORDED}

    sent_at: list[float] = []

    def keep(params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        # Of the transactions those that record: the others take marks away.
        records = any("Put" in part for part in params.get("TransactItems", ()))
        if records or model.name == "PutEvents":
            # botocore adds a token to these very parameters, by which a second call does nothing.
            made[model.name].append(dict(params))

    def sent(**_: object) -> None:
        sent_at.append(time.perf_counter())

    session.events.register("provide-client-params", keep)
    session.events.register("after-call.events.PutEvents", sent)
    poll = arena.poll_of_monitor(session)
    arena.fill(jobs, ending=jobs)
    poll()
    before = _items(arena, arena.monitor.outputs.jobs_table_name)
    history = _items(arena, arena.monitor.outputs.history_table_name)
    arena.end_jobs()
    for calls in made.values():
        calls.clear()
    started = time.perf_counter()
    with timing() as taken:
        poll()
    seconds = max(sent_at) - started

    # Everything back to where the poll found it, so that the same transactions succeed again.
    arena.empty()
    for table, items in (
        (arena.monitor.outputs.jobs_table_name, before),
        (arena.monitor.outputs.history_table_name, history),
    ):
        arena.write(table, [{"PutRequest": {"Item": item}} for item in items])
    with timing() as bare:
        _repeat(arena, made)
    recorded = len(_items(arena, arena.monitor.outputs.history_table_name)) - len(history)
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


def _repeat(arena: Arena, made: dict[str, list[dict[str, Any]]]) -> None:
    session = arena.session()
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


def _items(arena: Arena, table: str) -> list[dict[str, Any]]:
    pages = arena.monitor.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    return [dict(item) for page in pages for item in page["Items"]]
