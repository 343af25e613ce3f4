"""Runs the calls of one poll in threads, within its time, and hands their results back in one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from bedrock_batch_monitor.adapters.sdk import Invocation, run_in

T = TypeVar("T")

# From here on nothing new is begun: a read takes up to 2 + 5 seconds for Bedrock, and as much again
# for the transaction, in the worst case.
STOP_BEFORE_DEADLINE_SECONDS: Final = 15.0
# What is not back by then is abandoned.
LEAVE_BEFORE_DEADLINE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class _Task:
    """What to do with the result of a call under way, and the job that it is about, if any."""

    finish: Callable[[Future[Any]], None]
    job_arn: str | None


@dataclass(slots=True)
class WorkerPool:
    """The threads of one poll; the polling thread alone calls its methods.

    A call that outlasts the poll can make no further request: its `invocation` is over then. An
    exception that no service caused goes to `on_defect` and does not stop the others.
    """

    executor: Executor
    remaining_seconds: Callable[[], float]
    on_defect: Callable[[BaseException], None]
    invocation: Invocation = field(default_factory=Invocation)
    _under_way: dict[Future[Any], _Task] = field(default_factory=dict)

    @property
    def time_is_up(self) -> bool:
        """Whether nothing new may be begun."""
        return self.remaining_seconds() < STOP_BEFORE_DEADLINE_SECONDS

    @property
    def under_way(self) -> int:
        """How many calls are not back yet."""
        return len(self._under_way)

    @property
    def jobs_under_way(self) -> list[str]:
        """The jobs whose calls are not back yet, in the order in which they were begun."""
        return [task.job_arn for task in self._under_way.values() if task.job_arn is not None]

    def submit(
        self, call: Callable[[], T], then: Callable[[T], None], *, job_arn: str | None = None
    ) -> None:
        """Begin a call; `then` gets its result in the polling thread."""

        def finish(future: Future[T]) -> None:
            defect = future.exception()
            if defect is None:
                then(future.result())
            else:
                self.on_defect(defect)

        future = self.executor.submit(run_in, self.invocation, call)
        self._under_way[future] = _Task(finish, job_arn)

    def wait_for_place(self, limit: int) -> None:
        """Wait until fewer calls than `limit` are under way, as long as there is time."""
        while len(self._under_way) >= limit and self._wait_for_some():
            pass

    def wait_for_all(self) -> None:
        """Wait until every call is back, as long as there is time."""
        while self._under_way and self._wait_for_some():
            pass

    def end(self) -> None:
        """End the poll: calls that outlast it must not hold up its answer, nor write later."""
        self.invocation.end()
        self.executor.shutdown(wait=False, cancel_futures=True)

    def _wait_for_some(self) -> bool:
        """Take the results that are there, or wait for one; False once there is no time to wait."""
        patience = self.remaining_seconds() - LEAVE_BEFORE_DEADLINE_SECONDS
        done, _ = wait(self._under_way, timeout=max(patience, 0), return_when=FIRST_COMPLETED)
        # In the order in which they were begun, so that the order of the jobs stays known.
        for future in [future for future in self._under_way if future in done]:
            self._under_way.pop(future).finish(future)
        return bool(done)
