"""What the monitor stores about its own progress in one account and Region."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bedrock_batch_monitor.domain.discovery import Bookmark


@dataclass(frozen=True, slots=True)
class ListPosition:
    """Where a list stopped that had no job yet: its first submission time, and the next token."""

    submitted_after: datetime
    token: str


@dataclass(frozen=True, slots=True)
class State:
    """The bookmarks of the monitor; `exists` is False while nothing was ever stored.

    `start_at` is the job with which the next poll begins (None: the first), `pending_from` the
    `pendingSince` after which the next flush of pending events begins. `resynced_until` is the
    cursor of the resync. `backfilled_since` is the submission time from which on ended jobs were
    recorded. `list_position` is where discovery continues a list whose pages were empty.
    """

    exists: bool = True
    start_at: str | None = None
    pending_from: datetime | None = None
    discovery: Bookmark | None = None
    resynced_until: datetime | None = None
    backfilled_since: datetime | None = None
    list_position: ListPosition | None = None
