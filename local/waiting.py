"""Waiting with a bound."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# A pause is a twentieth of the time so far, within these bounds: a condition that asks a server
# takes the server's time from what it waits for.
_PAUSE_SHARE = 0.05
_SHORTEST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0


def wait_for(
    condition: Callable[[], T | None], timeout: float = 10.0, *, what: str = "the condition"
) -> T:
    """Call `condition` until it returns something true, and return that.

    The condition is tried at least once. Raises TimeoutError if it is still false after `timeout`
    seconds; the message says `what` was waited for and what the condition returned last.
    """
    start = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - start
        if waited >= timeout:
            message = f"waited {timeout:g} s for {what}, got {value!r}"
            raise TimeoutError(message)
        pause = min(max(_SHORTEST_PAUSE_SECONDS, waited * _PAUSE_SHARE), _LONGEST_PAUSE_SECONDS)
        time.sleep(min(pause, timeout - waited))
