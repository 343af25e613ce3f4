"""Simulated time: clocks that are read; nothing sleeps."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock", "ManualClock", "SimulatedClock"]


class Clock(Protocol):
    """The clock that the stand-in needs. Times are aware, in UTC, in whole milliseconds."""

    def now(self) -> datetime:
        """Return the simulated time."""
        ...

    def advance(self, seconds: float) -> None:
        """Advance by simulated seconds; ValueError if negative."""
        ...


class ManualClock:
    """A clock that only moves when it is advanced or set.

    *start* must be aware (ValueError otherwise); without it the clock starts at the real now.
    """

    def __init__(self, start: datetime | None = None) -> None:
        self._lock = threading.Lock()
        self._now = _utc(start)

    def now(self) -> datetime:
        """Return the simulated time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Advance by simulated seconds; ValueError if negative."""
        with self._lock:
            self._now = _milliseconds(self._now + _forward(seconds))

    def set(self, now: datetime) -> None:
        """Jump to a later time; ValueError if it is earlier than now or naive."""
        with self._lock:
            self._now = _milliseconds(self._now + _forward((_utc(now) - self._now).total_seconds()))


class SimulatedClock:
    """A clock that runs *speed* simulated seconds per real second, from *start* on.

    The real time in seconds comes from *monotonic*, which a test can replace. *start* must
    be aware (ValueError otherwise); without it the clock starts at the real now.
    """

    def __init__(
        self,
        start: datetime | None = None,
        speed: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._base = _utc(start)
        self._base_at = monotonic()
        self._speed = _positive(speed)

    @property
    def speed(self) -> float:
        """Simulated seconds per real second."""
        return self._speed

    def now(self) -> datetime:
        """Return the simulated time."""
        with self._lock:
            return _milliseconds(self._reading())

    def advance(self, seconds: float) -> None:
        """Advance by simulated seconds; ValueError if negative."""
        with self._lock:
            self._base += _forward(seconds)

    def set_speed(self, speed: float) -> None:
        """Run at another speed from now on; ValueError unless positive."""
        with self._lock:
            # Rebasing keeps the time continuous: the past ran at the old speed.
            self._base, self._base_at = self._reading(), self._monotonic()
            self._speed = _positive(speed)

    def _reading(self) -> datetime:
        return self._base + timedelta(seconds=(self._monotonic() - self._base_at) * self._speed)


def _utc(moment: datetime | None) -> datetime:
    if moment is None:
        return _milliseconds(datetime.now(UTC))
    if moment.tzinfo is None:
        message = f"a time needs its zone: {moment}"
        raise ValueError(message)
    return _milliseconds(moment.astimezone(UTC))


def _milliseconds(moment: datetime) -> datetime:
    # The API's times have milliseconds, and equal answers must compare equal.
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _forward(seconds: float) -> timedelta:
    if not seconds >= 0:
        message = f"time does not run backwards: {seconds} s"
        raise ValueError(message)
    return timedelta(seconds=seconds)


def _positive(speed: float) -> float:
    if not 0 < speed < float("inf"):
        message = f"a speed is a positive number: {speed}"
        raise ValueError(message)
    return speed
