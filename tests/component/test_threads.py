"""A poll with the real thread pool, slow calls and a short deadline.

Time is injected: what is left of it follows from what the threads have come to. Every wait has a
bound, and none measures by sleeping.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from threading import Event, Lock
from typing import Any

import pytest

from .conftest import Cloud

# Far longer than any wait of these tests should take, so that a busy machine fails none of them.
BOUND = 120
ENOUGH = 600.0
# Just before the poll leaves: a wait that is begun now is over at once.
HARDLY_ANY = 3.05


class Threads(Executor):
    """The executor of a poll, which says how many calls are back."""

    def __init__(self, threads: int) -> None:
        self.pool = ThreadPoolExecutor(threads)
        self._lock = Lock()
        self.back = 0

    def submit(  # type: ignore[override]
        self, call: Callable[..., Any], /, *arguments: Any, **named: Any
    ) -> Future[Any]:
        """Have a thread call this."""
        future = self.pool.submit(call, *arguments, **named)
        future.add_done_callback(self._count)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """End as the poll asks for it."""
        self.pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _count(self, _: Future[Any]) -> None:
        with self._lock:
            self.back += 1


@pytest.fixture
def cloud(cloud: Cloud) -> Cloud:
    """The cloud, whose moto takes one call after the other: its transactions are not made for more.

    Bedrock's stand-in is a server of its own, and answers threads at the same time.
    """
    lock = Lock()
    for client in (cloud.monitor.jobs._client, cloud.monitor.relay.bus._client):
        call = client._make_api_call  # type: ignore[attr-defined]

        def one_by_one(*arguments: Any, call: Callable[..., Any] = call) -> Any:
            with lock:
                return call(*arguments)

        client._make_api_call = one_by_one  # type: ignore[attr-defined]
    return cloud


class SlowJob:
    """A Bedrock in which the answer about one job does not come before it is released."""

    def __init__(self, cloud: Cloud, job_arn: str) -> None:
        self.asked, self.release = Event(), Event()
        self.job_arn = job_arn
        self._get = cloud.monitor.reconciler.bedrock.get
        cloud.monitor.reconciler.bedrock.get = self  # type: ignore[method-assign, assignment]

    def __call__(self, job_arn: str) -> Any:
        """Answer, in the end."""
        if job_arn == self.job_arn:
            self.asked.set()
            assert self.release.wait(BOUND)
        return self._get(job_arn)


def test_poll_ends_in_time_and_a_late_thread_writes_nothing(cloud: Cloud) -> None:
    """Responses in time are recorded; the next poll reads the rest, and only once."""
    arns = sorted(cloud.add_job("Completed") for _ in range(4))
    slow = SlowJob(cloud, arns[0])
    threads = Threads(4)

    def left() -> float:
        if threads.back < len(arns) - 1:
            return ENOUGH
        assert slow.asked.wait(BOUND)
        return HARDLY_ANY

    monitor = replace(cloud.monitor, new_executor=lambda: threads)
    begun = time.monotonic()
    summary = monitor.poll(left)
    assert time.monotonic() - begun < BOUND
    assert (summary.jobs_ended, summary.complete) == (3, False)
    assert [len(cloud.history(arn)) for arn in arns] == [0, 1, 1, 1]
    # The next poll begins with the job that was not read.
    assert cloud.items("state")[0]["startAt"] == arns[0]

    before = cloud.items("jobs"), cloud.items("history")
    slow.release.set()
    threads.pool.shutdown(wait=True)
    assert (cloud.items("jobs"), cloud.items("history")) == before

    summary = cloud.poll()
    assert (summary.jobs_read, summary.jobs_ended) == (1, 1)
    assert [len(cloud.history(arn)) for arn in arns] == [1, 1, 1, 1]
    delivered = {event["detail"]["metadata"]["eventId"] for event in cloud.new_events()}
    assert len(delivered) == 4


def test_poll_with_threads_reads_each_job_once(cloud: Cloud) -> None:
    """With time enough everything is read, recorded and sent in one poll."""
    arns = [cloud.add_job("Completed") for _ in range(12)]
    monitor = replace(cloud.monitor, new_executor=lambda: ThreadPoolExecutor(8))
    summary = monitor.poll(lambda: ENOUGH)
    assert (summary.jobs_ended, summary.events_sent, summary.complete) == (12, 12, True)
    assert cloud.asked() == 12
    assert all(len(cloud.history(arn)) == 1 for arn in arns)
    assert len(cloud.new_events()) == 12
    assert summary.errors == {}
