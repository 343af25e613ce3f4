"""The bookmarks of a scope in one poll: loaded once, and saved when a phase advances one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain.discovery import everything
from bedrock_batch_monitor.domain.state import State

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.state_table import StateTable
    from bedrock_batch_monitor.domain.arns import Scope

P = ParamSpec("P")


@dataclass(slots=True)
class Bookmarks:
    """What the state table has of a scope; `state` is None if that could not be read.

    A bookmark that cannot be read or saved is counted in `errors` and stops nothing: a poll without
    bookmarks begins at the first job and discovers none.
    """

    table: StateTable
    scope: Scope
    errors: Counter[str]
    state: State | None = None

    def load(self, home: Scope | None, now: datetime) -> None:
        """Load the state of the scope; `home` is the deployment's own scope."""
        try:
            self.state = self.table.load(self.scope)
            if not self.state.exists and home is not None and home != self.scope:
                # If the deployment's own scope has a state, then this scope is new.
                self.state = replace(self.state, exists=self.table.load(home).exists)
        except ServiceError as error:
            self.errors[error.code] += 1
        except InvalidItemError:
            self.errors["Item.InvalidState"] += 1
            # How far discovery had come is lost, so discovery lists all that may still run.
            self.state = State(discovery=everything(now))

    def save(
        self, write: Callable[Concatenate[Scope, P], None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Save a bookmark with one of the table's `set_*` methods."""
        try:
            write(self.scope, *args, **kwargs)
        except ServiceError as error:
            self.errors[error.code] += 1
