"""Stops calls to a service that did not respond, for a while and in all threads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(slots=True)
class CircuitBreaker:
    """Until when a service is not called; one for all threads and polls of an environment."""

    open_for: timedelta
    open_until: datetime | None = None

    def is_open(self, now: datetime) -> bool:
        """Whether no call may be made."""
        return self.open_until is not None and now < self.open_until

    def open(self, now: datetime) -> None:
        """Make no calls for a while."""
        self.open_until = now + self.open_for
