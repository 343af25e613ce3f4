"""Bookmarks of one poll: whether the scope is new, and what errors leave."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock, call

import pytest

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.bookmarks import Bookmarks
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.discovery import everything
from bedrock_batch_monitor.domain.state import State

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOME, OTHER = Scope("123456789012", "us-east-1"), Scope("123456789012", "eu-west-1")
NEW = State(exists=False)
KNOWN = State(exists=True)
FAILURE = ServiceError("DynamoDB", "InternalServerError", "m")


def bookmarks(**states: Any) -> Bookmarks:
    """Bookmarks of the other scope on a table with these states."""
    table: Any = Mock()
    table.load.side_effect = lambda scope: states["home" if scope == HOME else "other"]
    return Bookmarks(table, OTHER, Counter())


@pytest.mark.parametrize(
    ("other", "home", "exists", "loads"),
    [(NEW, NEW, False, 2), (NEW, KNOWN, True, 2), (KNOWN, NEW, True, 1)],
)
def test_scope_is_new_in_a_deployment_whose_own_scope_has_a_state(
    other: State,
    home: State,
    exists: bool,  # noqa: FBT001 - a value of the table
    loads: int,
) -> None:
    """Then it is not the deployment that is new, and its state is asked for only if needed."""
    loaded: Any = bookmarks(other=other, home=home)
    loaded.load(HOME, NOW)
    assert loaded.state.exists is exists
    assert loaded.table.load.call_count == loads


@pytest.mark.parametrize("home", [None, OTHER])
def test_own_scope_is_read_once(home: Scope | None) -> None:
    """Without another scope there is nothing to compare with."""
    loaded: Any = bookmarks(other=NEW, home=KNOWN)
    loaded.load(home, NOW)
    assert loaded.state == NEW
    assert loaded.table.load.mock_calls == [call(OTHER)]


def test_state_that_cannot_be_read_is_counted() -> None:
    """Unknown after an error; all that may run is listed after a change of the state by hand."""
    failed: Any = bookmarks()
    failed.table.load.side_effect = FAILURE
    failed.load(None, NOW)
    assert (failed.state, dict(failed.errors)) == (None, {FAILURE.code: 1})
    failed.table.load.side_effect = InvalidItemError("m")
    failed.load(None, NOW)
    assert failed.state == State(discovery=everything(NOW))
    assert failed.errors["Item.InvalidState"] == 1


def test_bookmark_that_cannot_be_saved_is_counted() -> None:
    """It is saved for the scope, and the poll goes on."""
    saved = bookmarks()
    write = Mock(side_effect=[None, FAILURE])
    for _ in range(2):
        saved.save(write, 1, name="x")
    assert write.mock_calls == [call(OTHER, 1, name="x")] * 2
    assert saved.errors == {FAILURE.code: 1}
