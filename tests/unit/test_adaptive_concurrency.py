from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.throttling import AdaptiveConcurrency

MOST = 32


@given(st.lists(st.booleans(), max_size=300))
def test_limit_stays_between_one_and_the_maximum(answers: list[bool]) -> None:
    """Whatever the API answers, at least one call may run, and never more than the maximum."""
    concurrency = AdaptiveConcurrency(MOST)
    for good in answers:
        if good:
            concurrency.on_success()
        else:
            concurrency.on_throttle(concurrency.limit)
        assert 1 <= concurrency.limit <= MOST


def test_burst_of_throttled_calls_halves_the_limit_once() -> None:
    """Calls that began before the last decrease do not halve the limit again."""
    concurrency = AdaptiveConcurrency(MOST)
    for left in range(31, -1, -1):
        concurrency.on_throttle(left)
    assert concurrency.limit == MOST // 2


def test_constant_throttling_reduces_the_limit_to_one() -> None:
    """An API that always throttles gets one call at a time after a few decreases."""
    concurrency = AdaptiveConcurrency(MOST)
    for _ in range(200):
        concurrency.on_throttle(0)
    assert concurrency.limit == 1


def test_constant_throttling_halves_the_limit_while_calls_are_in_flight() -> None:
    """Each generation of throttled calls halves the limit, also while other calls are in flight."""
    concurrency = AdaptiveConcurrency(MOST)
    limits = []
    for _ in range(6):
        under_way = concurrency.limit
        # All calls of a round are refused; as each comes back, the rest is still under way.
        for left in range(under_way - 1, -1, -1):
            concurrency.on_throttle(left)
        limits.append(concurrency.limit)
    assert limits == [16, 8, 4, 2, 1, 1]


def test_successful_calls_raise_the_limit_to_the_maximum() -> None:
    """When the API responds again, the limit is at its maximum after some hundred calls."""
    concurrency = AdaptiveConcurrency(MOST)
    for _ in range(200):
        concurrency.on_throttle(0)
    for _ in range(600):
        concurrency.on_success()
    assert concurrency.limit == MOST


@given(st.integers(min_value=0, max_value=20_000))
def test_retry_budget_bounds_the_retries_of_a_poll(jobs: int) -> None:
    """Retries are at most half the number of jobs, at least 10 and at most 1,000."""
    concurrency = AdaptiveConcurrency(MOST)
    for _ in range(jobs):
        concurrency.on_first_call()
    granted = sum(concurrency.may_retry() for _ in range(1_100))
    assert granted == min(1000, max(10, jobs // 2))


def test_first_throttled_call_halves_the_limit_at_once() -> None:
    """Also after calls that succeeded."""
    for successes in (0, 1, 5):
        concurrency = AdaptiveConcurrency(MOST)
        for _ in range(successes):
            concurrency.on_success()
        concurrency.on_throttle(0)
        assert concurrency.limit == 16


@pytest.mark.parametrize(("successes", "limits"), [(0, [16, 16, 8]), (1, [16, 8]), (2, [8])])
def test_calls_that_were_under_way_are_counted_whatever_their_answers(
    successes: int, limits: list[int]
) -> None:
    """Two of them: then the next throttled call began after the decrease."""
    concurrency = AdaptiveConcurrency(MOST)
    concurrency.on_throttle(2)
    for _ in range(successes):
        concurrency.on_success()
    found = []
    for _ in limits:
        concurrency.on_throttle(9)
        found.append(concurrency.limit)
    assert found == limits


def test_limit_rises_by_one_after_as_many_calls_as_it_allows() -> None:
    """So it rises by about one in the time of one call."""
    concurrency = AdaptiveConcurrency(MOST)
    for _ in range(6):
        concurrency.on_throttle(0)
    limits = [concurrency.limit]
    for _ in range(7):
        concurrency.on_success()
        limits.append(concurrency.limit)
    assert limits == [1, 2, 2, 2, 3, 3, 3, 4]
