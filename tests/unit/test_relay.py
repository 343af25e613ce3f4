"""What a delivery reports where it makes no call, or where the bus refuses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import BusLook, BusState, Delivery
from bedrock_batch_monitor.outbox.relay import NO_TIME, BusWatch, DeliveryResult, Relay
from tests.support.strategies import NOW

EVENT: Any = SimpleNamespace(time=NOW)
OTHER: Any = SimpleNamespace(time=NOW)
REFUSED = "EventBridge.ThrottlingException"
THERE = BusLook(BusState.EXISTS)
MISSING = BusLook(BusState.MISSING, "EventBridge.BusMissing")


@dataclass
class Bus:
    """A bus with these answers; it refuses the second of two events."""

    looks: list[BusLook]
    error: ServiceError | None = None

    def look(self) -> BusLook:
        """The next answer."""
        return self.looks.pop(0)

    def put(self, events: Any) -> tuple[Delivery, ...]:
        """Accept the first event only."""
        if self.error is not None:
            raise self.error
        return tuple(Delivery(event, REFUSED if event is OTHER else None) for event in events)


def delivered(bus: Any, is_over: Callable[[], bool] = lambda: False) -> DeliveryResult:
    """The result of a delivery of two events."""
    nothing: Any = None
    relay = Relay(bus, nothing, nothing, nothing, nothing)
    return relay.deliver([EVENT, OTHER], BusWatch(bus), is_over)


@pytest.mark.parametrize(
    ("bus", "code"),
    [
        (Bus([MISSING]), MISSING.code),
        (Bus([THERE], ServiceError("EventBridge", "InternalException", "no")), None),
        (Bus([THERE, MISSING]), MISSING.code),
    ],
)
def test_delivery_that_the_bus_refuses_is_counted_and_stops_the_next_ones(
    bus: Bus, code: str | None
) -> None:
    """Both events wait with the reason."""
    result = delivered(bus)
    expected = code or "EventBridge.InternalException"
    assert result.errors[expected] == 1
    assert result.bus_refuses
    assert (result.sent, result.pending, result.waiting_since) == (0, 2, NOW)
    assert [each.error for each in result.deliveries] == [expected, expected]


def test_delivery_without_time_to_confirm_the_bus_counts_what_was_refused() -> None:
    """Nothing is acknowledged, so both events wait; the bus does not refuse everything."""
    over = iter([False, True])
    result = delivered(Bus([THERE]), lambda: next(over))
    assert dict(result.errors) == {REFUSED: 1}
    assert not result.bus_refuses
    assert [each.error for each in result.deliveries] == [NO_TIME, NO_TIME]
