"""The workers of an invocation: the time that they leave, and the order of results."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.sdk import InvocationOverError, guard
from bedrock_batch_monitor.app import worker_pool
from bedrock_batch_monitor.app.worker_pool import InlineWorkers, WorkerPool
from bedrock_batch_monitor.domain.throttling import AdaptiveConcurrency
from tests.support.network import Network, session


class Pending(Executor):
    """An executor whose calls return when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.shut: dict[str, Any] = {}

    def submit(  # type: ignore[override]
        self, call: Callable[..., Any], /, *arguments: Any, **named: Any
    ) -> Future[Any]:
        """Keep the call."""
        future: Future[Any] = Future()
        self.calls.append((future, lambda: call(*arguments, **named)))
        return future

    def finish(self, place: int) -> None:
        """Let one of the calls return, or raise."""
        future, call = self.calls[place]
        try:
            future.set_result(call())
        except ValueError as error:
            future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Note how it ended."""
        self.shut = {"wait": wait, "cancel_futures": cancel_futures}


class Case:
    """A pool with this time left, whose results and defects are noted."""

    def __init__(self, seconds: float = 900.0, most: int = 2) -> None:
        self.seconds = seconds
        self.executor = Pending()
        self.results: list[str] = []
        self.defects: list[tuple[str, str | None]] = []
        self.pool = WorkerPool(
            self.executor,
            lambda: self.seconds,
            lambda error, job_arn: self.defects.append((str(error), job_arn)),
            AdaptiveConcurrency(most),
        )

    def submit(self, name: str, *, fails: bool = False) -> None:
        """Begin a call about a job, whose result is its name."""

        def call() -> str:
            if fails:
                raise ValueError(name)
            return name

        self.pool.submit(call, self.results.append, job_arn=name)


@pytest.mark.parametrize(
    ("seconds", "is_up", "is_over"),
    [
        (15.0, False, False),
        (14.9, True, False),
        (3.0, True, False),
        (2.9, True, True),
    ],
)
def test_time_is_up_before_it_is_over(
    seconds: float,
    is_up: bool,  # noqa: FBT001 - a value of the table
    is_over: bool,  # noqa: FBT001 - a value of the table
) -> None:
    """No call begins in the last fifteen seconds, and none goes on in the last three."""
    for workers in (InlineWorkers(lambda: seconds), Case(seconds).pool):
        assert (workers.time_is_up, workers.is_over) == (is_up, is_over)


@pytest.mark.parametrize(
    ("seconds", "share", "remaining"),
    [(115.0, 0.1, 105.0), (115.0, 0.5, 65.0), (115.0, 1.0, 15.0), (10.0, 0.5, 15.0)],
)
def test_share_of_the_time_is_of_what_calls_may_use(
    seconds: float, share: float, remaining: float
) -> None:
    """The last seconds of an invocation are not shared out."""
    assert Case(seconds).pool.remaining_after(share) == pytest.approx(remaining)


def test_results_are_handled_in_the_order_in_which_calls_began() -> None:
    """Whatever order they return in; a defect stops no other call."""
    case = Case()
    for name in ("a", "b", "c"):
        case.submit(name, fails=name == "b")
    assert case.pool.jobs_under_way == ["a", "b", "c"]
    for place in (2, 1, 0):
        case.executor.finish(place)
    case.pool.wait_for_all()
    assert (case.results, case.defects) == (["a", "c"], [("b", "b")])
    assert case.pool.jobs_under_way == []


def test_call_that_is_about_no_job_is_not_among_the_jobs_under_way() -> None:
    """Its defect names no job."""
    case = Case()

    def fail() -> None:
        message = "defect"
        raise ValueError(message)

    case.pool.submit(fail, lambda _: None)
    assert case.pool.jobs_under_way == []
    case.executor.finish(0)
    case.pool.wait_for_all()
    assert case.defects == [("defect", None)]


def test_place_is_free_below_the_limit_of_the_concurrency() -> None:
    """At the limit, the first result that is there makes a place."""
    case = Case(most=2)
    case.submit("a")
    case.pool.wait_for_place()
    assert case.pool.jobs_under_way == ["a"]
    case.submit("b")
    case.executor.finish(1)
    case.pool.wait_for_place()
    assert (case.results, case.pool.jobs_under_way) == (["b"], ["a"])


def test_poll_has_up_to_32_calls_under_way() -> None:
    """The next one waits for the first result; more threads would share the same core."""
    case = Case()
    case.pool = WorkerPool(case.executor, lambda: case.seconds, lambda *_: None)
    for number in range(31):
        case.submit(str(number))
        case.executor.finish(number)
    case.pool.wait_for_place()
    assert len(case.pool.jobs_under_way) == 31
    case.submit("31")
    case.pool.wait_for_place()
    assert case.pool.jobs_under_way == ["31"]
    assert len(case.results) == 31


@pytest.mark.parametrize("seconds", [3.0, 0.0])
def test_calls_are_not_waited_for_without_time(seconds: float) -> None:
    """Those that have not returned are abandoned; what has returned is handled."""
    case = Case(seconds, most=1)
    case.submit("a")
    case.pool.wait_for_place()
    case.pool.wait_for_all()
    assert (case.results, case.pool.jobs_under_way) == ([], ["a"])
    case.executor.finish(0)
    case.pool.wait_for_all()
    assert case.results == ["a"]


@pytest.mark.parametrize(("seconds", "patience"), [(900.0, 897.0), (3.5, 0.5), (2.0, 0.0)])
def test_pool_waits_until_just_before_the_end_of_the_invocation(
    seconds: float, patience: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three seconds are left for the response of the poll."""
    waits: list[float] = []

    def wait(_: object, *, timeout: float, **__: object) -> tuple[set[Any], set[Any]]:
        waits.append(timeout)
        return set(), set()

    monkeypatch.setattr(worker_pool, "wait", wait)
    case = Case(seconds)
    case.submit("a")
    case.pool.wait_for_all()
    assert waits == [patience]


def test_throttled_call_halves_the_concurrency_once_for_all_under_way() -> None:
    """The others began before, so they say nothing new."""
    case = Case(most=8)
    for name in ("a", "b"):
        case.submit(name)
    limits = []
    for _ in range(4):
        case.pool.on_throttle()
        limits.append(case.pool.concurrency.limit)
    assert limits == [4, 4, 4, 2]


def test_call_that_outlasts_the_poll_sends_nothing() -> None:
    """The poll does not wait for it, and what has not begun is cancelled."""
    case = Case()
    client: Any = guard(session().client("sts", region_name="us-east-1"))
    network = client._endpoint.http_session = Network(200)
    case.pool.submit(client.get_caller_identity, lambda _: None)
    case.pool.end()
    assert case.executor.shut == {"wait": False, "cancel_futures": True}
    with pytest.raises(InvocationOverError):
        case.executor.finish(0)
    assert network.sent == []


def test_inline_worker_makes_a_call_at_once() -> None:
    """And hands its result on."""
    results: list[int] = []
    InlineWorkers(lambda: 900.0).submit(lambda: 7, results.append)
    assert results == [7]
