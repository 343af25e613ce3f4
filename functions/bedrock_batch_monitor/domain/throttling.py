"""How hard a poll leans on an API that pushes back: fewer calls at once, and a budget of them."""

from __future__ import annotations

from typing import Final

_LEAST_CONCURRENCY: Final = 1.0
_LEAST_RETRIES: Final = 10
RETRY_BUDGET: Final = 1000


class AdaptiveConcurrency:
    """The number of calls under way: halved when the API pushes back, raised slowly otherwise.

    Additive increase, multiplicative decrease, as in congestion control. Answers to calls that were
    begun before the last decrease tell nothing new and do not halve the number again. Besides, at
    most half as many repeats as jobs are granted, so that the calls of one poll are bounded by one
    and a half times its jobs (and 10) whatever the API does.
    """

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._limit = self._most
        self._ignored = 0
        self._jobs = 0
        self._repeats = 0

    @property
    def limit(self) -> int:
        """How many calls may be under way now."""
        return int(self._limit)

    def begun(self) -> None:
        """A job is asked for, for the first time in this poll."""
        self._jobs += 1

    def answered(self) -> None:
        """A call got its answer."""
        self._ignored = max(0, self._ignored - 1)
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def on_throttle(self, under_way: int) -> None:
        """A call was throttled or failed while so many others were under way."""
        if self._ignored:
            self._ignored -= 1
            return
        self._ignored = under_way
        self._limit = max(_LEAST_CONCURRENCY, self._limit / 2)

    def may_retry(self) -> bool:
        """Whether one more call for a job that failed is within the budget; counts it if so."""
        allowed = min(RETRY_BUDGET, max(_LEAST_RETRIES, self._jobs // 2))
        if self._repeats >= allowed:
            return False
        self._repeats += 1
        return True
