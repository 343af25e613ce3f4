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


def test_garbage_collection_pauses_inside_the_block_only() -> None:
    """After the block, the objects that existed by then are frozen."""
    gc.unfreeze()
    with no_garbage_collected():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] == NEW_OBJECTS_PER_COLLECTION
    gc.unfreeze()


def test_failed_start_leaves_the_collector_on() -> None:
    """The exception is raised, and garbage is collected again."""
    with pytest.raises(KeyError), no_garbage_collected():
        raise KeyError
    assert gc.isenabled()
    gc.unfreeze()


def test_collector_that_was_off_stays_off() -> None:
    """The caller that turned it off decides when to turn it on."""
    gc.disable()
    try:
        with no_garbage_collected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
