from __future__ import annotations

from datetime import timedelta

import pytest

from local.bedrock import ManualClock, SimulatedClock

from .conftest import START


def test_simulated_time_runs_at_its_speed() -> None:
    """Simulated time is the start plus real time times speed; a new speed counts from then on."""
    real = [100.0]
    clock = SimulatedClock(START, speed=60, monotonic=lambda: real[0])
    real[0] += 20
    assert clock.now() == START + timedelta(minutes=20)
    clock.set_speed(1)
    real[0] += 30
    assert clock.now() == START + timedelta(minutes=20, seconds=30)
    clock.advance(10)
    assert clock.now() == START + timedelta(minutes=20, seconds=40)


def test_manual_time_stands_still() -> None:
    """A manual clock moves only on command, in whole milliseconds."""
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
def test_time_does_not_run_backwards(wrong: object) -> None:
    """No clock goes back, stands still by speed, or takes a time without its zone."""
    with pytest.raises(ValueError, match=r"time|speed"):
        wrong()
