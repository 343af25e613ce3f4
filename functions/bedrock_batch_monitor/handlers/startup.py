"""Starts a function quickly: a start makes many objects and no garbage, so none is looked for."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage_collected() -> Iterator[None]:
    """Keep Python's collector from looking through all that is imported or made in this block.

    It would a hundred times, which is a sixth of a cold start (`make bench`). What is there at the
    end stays as long as the process, and is set aside from later collections (`gc.freeze`).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()
