"""Adaptive concurrency: fewer calls at once to an API that throttles, and a retry budget."""

from __future__ import annotations

from typing import Final

_LEAST_CONCURRENCY: Final = 1.0
_LEAST_RETRIES: Final = 10
_MOST_RETRIES: Final = 1000


class AdaptiveConcurrency:
    """The number of calls under way: halved when the API throttles, raised slowly otherwise.

    Additive increase, multiplicative decrease, as in congestion control. Responses to calls that
    began before the last decrease contain no new information and do not halve the number again.

    The retry budget is half the number of first calls, at least 10 and at most 1,000. So the calls
    of one poll are bounded, whatever the API does.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = self._most
        self._ignored = 0
        self._first_calls = 0
        self._retries = 0

    @property
    def limit(self) -> int:
        """How many calls may be under way now."""
        return int(self._limit)

    def on_first_call(self) -> None:
        """Count a call that is not a retry."""
        self._first_calls += 1

    def on_success(self) -> None:
        """Raise the limit after a call that was not throttled."""
        self._ignored = max(0, self._ignored - 1)
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def on_throttle(self, under_way: int) -> None:
        """Halve the limit after a throttled or failed call, while so many others are under way."""
        if self._ignored:
            self._ignored -= 1
            return
        self._ignored = under_way
        self._limit = max(_LEAST_CONCURRENCY, self._limit / 2)

    def may_retry(self) -> bool:
        """Whether the retry budget allows one more retry; counts the retry if so."""
        if self._retries >= min(_MOST_RETRIES, max(_LEAST_RETRIES, self._first_calls // 2)):
            return False
        self._retries += 1
        return True
