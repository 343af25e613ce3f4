"""The monitor's own bookmarks in one account and region."""

from __future__ import annotations

from dataclasses import dataclass

from bedrock_batch_monitor.domain.discovery import Bookmark


@dataclass(frozen=True, slots=True)
class State:
    """Where to go on: with which job (None: the first), and how far discovery has come."""

    start_at: str | None = None
    discovery: Bookmark | None = None
