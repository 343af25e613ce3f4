"""The monitor's own bookmarks in one account and region."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bedrock_batch_monitor.domain.discovery import Bookmark
from bedrock_batch_monitor.domain.sweep import SweepBookmark


@dataclass(frozen=True, slots=True)
class State:
    """Where to go on: with which job (None: the first), how far discovery and full read came.

    `backfilled_since` is the submission time from which on finished jobs were taken up, if any.
    """

    start_at: str | None = None
    discovery: Bookmark | None = None
    sweep: SweepBookmark | None = None
    backfilled_since: datetime | None = None
