from __future__ import annotations

from datetime import timedelta

import pytest

from local.bedrock import ManualClock, SimulatedClock

from .conftest import START


def test_simulated_time_runs_at_its_speed() -> None:
    """Simulated time is the start plus real time times speed; a new speed applies from then on."""
    real = [100.0]
    clock = SimulatedClock(START, speed=60, monotonic=lambda: real[0])
    real[0] += 20
    assert clock.now() == START + timedelta(minutes=20)
    clock.set_speed(1)
    real[0] += 30
    assert clock.now() == START + timedelta(minutes=20, seconds=30)
    clock.advance(10)
    assert clock.now() == START + timedelta(minutes=20, seconds=40)


def test_manual_clock_moves_only_on_command() -> None:
    """It moves in whole milliseconds."""
    clock = ManualClock(START)
    clock.advance(1.2345)
    assert clock.now() == START + timedelta(milliseconds=1234)
    clock.set(START + timedelta(hours=1))
    assert clock.now() == START + timedelta(hours=1)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: ManualClock(START).advance(-1),
        lambda: ManualClock(START).set(START - timedelta(seconds=1)),
        lambda: ManualClock(START.replace(tzinfo=None)),
        lambda: SimulatedClock(START, speed=0),
        lambda: SimulatedClock(START).set_speed(-1),
        lambda: SimulatedClock(START).advance(-1),
    ],
)
def test_clock_never_runs_backwards(wrong: object) -> None:
    """No clock goes back, has a speed of zero or less, or accepts a time without a zone."""
    with pytest.raises(ValueError, match=r"time|speed"):
        wrong()
