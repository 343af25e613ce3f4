from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.throttling import AdaptiveConcurrency

MOST = 32


@given(st.lists(st.booleans(), max_size=300))
def test_the_limit_stays_between_one_and_the_most(answers: list[bool]) -> None:
    """Whatever comes back, at least one call may be under way and never more than the most."""
    concurrency = AdaptiveConcurrency(MOST)
    for good in answers:
        if good:
            concurrency.on_success()
        else:
            concurrency.on_throttle(concurrency.limit)
        assert 1 <= concurrency.limit <= MOST


def test_a_burst_of_refusals_halves_once() -> None:
    """The refusals of calls begun before the last decrease are the same news."""
    concurrency = AdaptiveConcurrency(MOST)
    for left in range(31, -1, -1):
        concurrency.on_throttle(left)
    assert concurrency.limit == MOST // 2


def test_lasting_refusals_lead_to_one_call_at_a_time() -> None:
    """An API that keeps refusing is asked by one call at a time after a few rounds."""
    concurrency = AdaptiveConcurrency(MOST)
    for _ in range(200):
        concurrency.on_throttle(0)
    assert concurrency.limit == 1


def test_lasting_refusals_slow_a_poll_that_keeps_calls_under_way() -> None:
    """Each round of refusals halves the number of calls, also while others are under way."""
    concurrency = AdaptiveConcurrency(MOST)
    limits = []
    for _ in range(6):
        under_way = concurrency.limit
        # All calls of a round are refused; as each comes back, the rest is still under way.
        for left in range(under_way - 1, -1, -1):
            concurrency.on_throttle(left)
        limits.append(concurrency.limit)
    assert limits == [16, 8, 4, 2, 1, 1]


def test_answers_raise_the_limit_again() -> None:
    """When the API answers again, the poll is back at full width after some hundred calls."""
    concurrency = AdaptiveConcurrency(MOST)
    for _ in range(200):
        concurrency.on_throttle(0)
    for _ in range(600):
        concurrency.on_success()
    assert concurrency.limit == MOST


@given(st.integers(min_value=0, max_value=20_000))
def test_the_budget_bounds_the_calls_of_a_poll(jobs: int) -> None:
    """Repeats are at most half the jobs, at least ten, and a thousand at the most."""
    concurrency = AdaptiveConcurrency(MOST)
    for _ in range(jobs):
        concurrency.on_first_call()
    granted = 0
    while concurrency.may_retry():
        granted += 1
    assert granted == min(1000, max(10, jobs // 2))
