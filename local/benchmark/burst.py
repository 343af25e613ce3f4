"""Many jobs that end at once: the speed of the monitor relative to the bare calls."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore import xform_name
from botocore.config import Config

from local.benchmark.meter import timing

if TYPE_CHECKING:
    import boto3

    from local.benchmark.environment import Environment
    from local.benchmark.meter import Cost

_THREADS: Final = 32


class Call(NamedTuple):
    """One call of a poll: the client's service, the operation, and the parameters."""

    service: str
    operation: str
    parameters: Mapping[str, Any]

    @property
    def records(self) -> bool:
        """Whether it records or sends an end: other transactions acknowledge events."""
        items = self.parameters.get("TransactItems", ())
        return self.operation == "PutEvents" or any("Put" in part for part in items)

    @property
    def acknowledges(self) -> bool:
        """Whether it acknowledges events: it succeeds only after their ends are recorded."""
        return "TransactItems" in self.parameters and not self.records


@dataclass(frozen=True, slots=True)
class Burst:
    """Seconds until a poll has recorded and sent all, and those of bare calls in a thread pool.

    The `limit` is of the calls that record and send, `all` of every call that the poll made. CPU
    seconds are those of this process, without the local cloud's. `calls` are counted by operation.
    """

    jobs: int
    calls: Mapping[str, int]
    transactions: int
    put_events: int
    seconds: float
    limit_seconds: float
    all_seconds: float
    cpu_seconds: float
    limit_cpu_seconds: float
    all_cpu_seconds: float

    @property
    def share_of_limit(self) -> float:
        """The monitor's speed as a share of the bare thread pool's."""
        return self.limit_seconds / self.seconds

    @property
    def share_of_limit_cpu(self) -> float:
        """The CPU time of the bare calls as a share of the monitor's."""
        return self.limit_cpu_seconds / self.cpu_seconds

    @property
    def share_of_all_cpu(self) -> float:
        """The CPU time of all calls, made bare, as a share of the monitor's."""
        return self.all_cpu_seconds / self.cpu_seconds


def measure(environment: Environment, jobs: int, *, are_recorded: bool) -> Burst:
    """Let jobs end at once, and record and send their ends: by a poll, then by bare calls.

    With `are_recorded`, the environment already has so many active jobs, all of which end next.

    The poll does more than the bare calls: it reads the index and every job, decides, and
    acknowledges each event. It is timed until the bus has the last event.
    """
    session = environment.session()
    made, sent_at = _recorded_calls(session)
    poll = environment.poll_of_monitor(session)
    if not are_recorded:
        environment.fill(jobs, ending=[jobs])
    poll()
    before = environment.snapshot(environment.tables)
    environment.end_jobs()
    made.clear()
    started = time.perf_counter()
    with timing() as taken:
        poll()
    seconds = max(sent_at) - started
    recording = [call for call in made if call.records]
    calls = Counter(call.operation for call in made)
    put_events = calls["PutEvents"]

    # Each time from the state before the poll, so that the same transactions succeed again.
    environment.restore(before)
    bare = _repeat(environment, recording)
    history = environment.monitor.outputs.history_table_name
    recorded = len(environment.items(history)) - len(before[history])
    if recorded != len(recording) - put_events:
        message = f"the bare calls wrote {recorded} transitions, not those of the poll"
        raise RuntimeError(message)
    environment.restore(before)
    # The poll acknowledges an event once its end is recorded. Bare calls wait for none.
    everything = _repeat(environment, sorted(made, key=lambda call: call.acknowledges))
    return Burst(
        jobs,
        calls,
        recorded,
        put_events,
        seconds,
        bare.seconds,
        everything.seconds,
        taken.cpu_seconds,
        bare.cpu_seconds,
        everything.cpu_seconds,
    )


def _recorded_calls(session: boto3.Session) -> tuple[list[Call], list[float]]:
    """The calls of a session's clients in their order, and the times after each PutEvents call."""
    made: list[Call] = []
    sent_at: list[float] = []

    def keep(params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        # A copy, because botocore adds an idempotency token to the original.
        made.append(Call(model.service_model.service_name, model.name, dict(params)))

    def sent(**_: object) -> None:
        sent_at.append(time.perf_counter())

    session.events.register("provide-client-params", keep)
    session.events.register("after-call.events.PutEvents", sent)
    return made, sent_at


def _repeat(environment: Environment, calls: Iterable[Call]) -> Cost:
    """Make the calls in their order, with as many threads as the monitor has."""
    session = environment.session()
    config = Config(max_pool_connections=_THREADS)
    clients = {call.service for call in calls}
    methods = {
        service: session.client(service, config=config)  # type: ignore[call-overload]
        for service in clients
    }
    with timing() as cost, ThreadPoolExecutor(_THREADS) as executor:
        under_way: list[Future[Any]] = [
            executor.submit(
                getattr(methods[call.service], xform_name(call.operation)), **call.parameters
            )
            for call in calls
        ]
        for future in under_way:
            future.result()
    return cost
