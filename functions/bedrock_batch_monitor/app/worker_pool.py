"""Makes calls within the time of an invocation: those of a poll in threads, the inbox's at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from bedrock_batch_monitor.adapters.sdk import Invocation, run_in
from bedrock_batch_monitor.domain.throttling import AdaptiveConcurrency

T = TypeVar("T")

# Measured against a server with 30 ms latency: 32 threads make about 1,000 reads a second. More
# threads make no more than that on one core.
CONCURRENCY: Final = 32
# From here on no new call begins: in the worst case a read takes 2 + 5 seconds for Bedrock, and as
# much again for its transaction.
STOP_BEFORE_DEADLINE_SECONDS: Final = 15.0
# Calls that have not returned by then are abandoned.
LEAVE_BEFORE_DEADLINE_SECONDS: Final = 3.0


class _Timed:
    """What both kinds of workers say about the time that their invocation has left."""

    __slots__ = ()
    remaining_seconds: Callable[[], float]

    @property
    def time_is_up(self) -> bool:
        """Whether no new call may begin; in the inbox, the rest goes back to the queue then."""
        return self.remaining_seconds() < STOP_BEFORE_DEADLINE_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether calls under way may make no further request: nobody waits for them any more."""
        return self.remaining_seconds() < LEAVE_BEFORE_DEADLINE_SECONDS


@dataclass(slots=True)
class WorkerPool(_Timed):
    """The threads of one poll; only the polling thread calls its methods.

    A call that outlasts the poll can send no further request, because its `invocation` is over
    then. An exception that no service caused goes to `on_defect`, with the job if the call is about
    one, and does not stop other calls.
    """

    executor: Executor
    remaining_seconds: Callable[[], float]
    on_defect: Callable[[BaseException, str | None], None]
    concurrency: AdaptiveConcurrency = field(
        default_factory=lambda: AdaptiveConcurrency(CONCURRENCY)
    )
    invocation: Invocation = field(default_factory=Invocation)
    # Each call returns how to handle its result. The value is the job that the call is about.
    _under_way: dict[Future[Callable[[], None]], str | None] = field(default_factory=dict)

    @property
    def jobs_under_way(self) -> list[str]:
        """The jobs whose calls have not returned yet, in the order in which the calls began."""
        return [job_arn for job_arn in self._under_way.values() if job_arn is not None]

    def remaining_after(self, share: float) -> float:
        """How many seconds will remain when this share of the time that is left has been used."""
        left = self.remaining_seconds() - STOP_BEFORE_DEADLINE_SECONDS
        return STOP_BEFORE_DEADLINE_SECONDS + max(left, 0) * (1 - share)

    def submit(
        self, call: Callable[[], T], then: Callable[[T], None], *, job_arn: str | None = None
    ) -> None:
        """Begin a call; `then` gets its result in the polling thread."""

        def run() -> Callable[[], None]:
            return partial(then, call())

        self._under_way[self.executor.submit(run_in, self.invocation, run)] = job_arn

    def on_throttle(self) -> None:
        """Lower the concurrency after a throttled or failed call."""
        self.concurrency.on_throttle(len(self._under_way))

    def wait_for_place(self) -> None:
        """Wait until the concurrency allows one more call, as long as there is time."""
        while len(self._under_way) >= self.concurrency.limit and self._wait_for_some():
            pass

    def wait_for_all(self) -> None:
        """Wait until every call has returned, as long as there is time."""
        while self._under_way and self._wait_for_some():
            pass

    def end(self) -> None:
        """End the poll: calls that outlast it must not delay its response, nor write later."""
        self.invocation.end()
        self.executor.shutdown(wait=False, cancel_futures=True)

    def _wait_for_some(self) -> bool:
        """Handle the results that are there, or wait for one; False once there is no more time."""
        patience = self.remaining_seconds() - LEAVE_BEFORE_DEADLINE_SECONDS
        done, _ = wait(self._under_way, timeout=max(patience, 0), return_when=FIRST_COMPLETED)
        # In the order in which the calls began, so that the order of the jobs stays known.
        for future in [future for future in self._under_way if future in done]:
            job_arn = self._under_way.pop(future)
            defect = future.exception()
            if defect is None:
                future.result()()
            else:
                self.on_defect(defect, job_arn)
        return bool(done)


@dataclass(slots=True)
class InlineWorkers(_Timed):
    """Makes each call at once in the calling thread, within the time of an invocation."""

    remaining_seconds: Callable[[], float]

    def submit(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        """Make a call, then handle its result."""
        then(call())
