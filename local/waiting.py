"""Waiting with a bound."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_SECONDS = 0.05


def wait_for(
    condition: Callable[[], T | None], timeout: float = 10.0, *, what: str = "the condition"
) -> T:
    """Call `condition` until it returns something true, and return that.

    The condition is tried at least once. Raises TimeoutError if it is still false after `timeout`
    seconds; the message says `what` was waited for and what the condition returned last.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            message = f"waited {timeout:g} s for {what}, got {value!r}"
            raise TimeoutError(message)
        time.sleep(_PAUSE_SECONDS)
