from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from bedrock_batch_monitor.handlers.startup import (
    NEW_OBJECTS_PER_COLLECTION,
    no_garbage_collected,
)


@pytest.fixture(autouse=True)
def threshold() -> Iterator[None]:
    """The collector of the other tests stays as it was."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_nothing_is_collected_inside_and_everything_after() -> None:
    """The collector pauses for the block alone, and passes over what was there by its end."""
    gc.unfreeze()
    with no_garbage_collected():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] == NEW_OBJECTS_PER_COLLECTION
    gc.unfreeze()


def test_a_start_that_fails_leaves_the_collector_on() -> None:
    """An exception passes, and garbage is collected again."""
    with pytest.raises(KeyError), no_garbage_collected():
        raise KeyError
    assert gc.isenabled()
    gc.unfreeze()


def test_a_collector_that_was_off_stays_off() -> None:
    """The caller that turned it off decides when it goes on again."""
    gc.disable()
    try:
        with no_garbage_collected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
