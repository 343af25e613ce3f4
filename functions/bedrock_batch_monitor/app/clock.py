"""The current time: read here alone, and passed to what depends on it."""

from __future__ import annotations

from datetime import UTC, datetime

from bedrock_batch_monitor.domain.times import to_milliseconds


def utc_now() -> datetime:
    """The current time, in the precision in which times are stored."""
    return to_milliseconds(datetime.now(UTC))
