"""The time now: asked for here alone, and handed to whatever depends on it."""

from __future__ import annotations

from datetime import UTC, datetime

from bedrock_batch_monitor.domain.times import to_milliseconds


def utc_now() -> datetime:
    """The time now, in the precision in which times are stored."""
    return to_milliseconds(datetime.now(UTC))
