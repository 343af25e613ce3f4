"""Amazon EventBridge: puts events on the monitor's bus and returns which of them it accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.errors import ServiceError, calling
from bedrock_batch_monitor.adapters.sdk import bounded_config, guard
from bedrock_batch_monitor.domain.events import MonitorEvent

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_events import EventBridgeClient

SERVICE: Final = "EventBridge"
BUS_MISSING: Final = f"{SERVICE}.BusMissing"
BUS_REPLACED: Final = f"{SERVICE}.BusReplaced"


class BusState(Enum):
    """Whether the bus exists. While that is unknown, nothing is sent and nothing acknowledged."""

    EXISTS = auto()
    MISSING = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class BusLook:
    """The result of one DescribeEventBus: the state, an error code, and the creation time."""

    state: BusState
    code: str = ""
    created_at: datetime | None = None

    @property
    def exists(self) -> bool:
        """Whether the bus is known to exist."""
        return self.state is BusState.EXISTS

    def compared_with(self, first: BusLook | None) -> BusLook:
        """The same result, or `MISSING` if the bus is not the same as at the first look."""
        if first is not None and self.exists and self.created_at != first.created_at:
            return BusLook(BusState.MISSING, BUS_REPLACED)
        return self


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result for one event: `error` is None if the bus accepted it, or `EventBridge.<code>`.

    `bus_id` is the id that EventBridge gave to the event, if it accepted it.
    """

    event: MonitorEvent
    error: str | None
    bus_id: str | None = None


class EventBus:
    """One event bus; safe to use from many threads."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    @classmethod
    def connect(cls, session: boto3.Session, name: str, concurrency: int) -> EventBus:
        """A bus whose connection pool serves `concurrency` threads."""
        config = bounded_config(concurrency=concurrency, attempts=2)
        return cls(guard(session.client("events", config=config)), name)

    def look(self) -> BusLook:
        """Whether the bus exists (DescribeEventBus); raises nothing that the service can cause."""
        try:
            with calling(SERVICE):
                found = self._client.describe_event_bus(Name=self._name)
        except ServiceError as error:
            if error.reason == "ResourceNotFoundException":
                return BusLook(BusState.MISSING, BUS_MISSING)
            return BusLook(BusState.UNKNOWN, error.code)
        return BusLook(BusState.EXISTS, created_at=found.get("CreationTime"))

    def put(self, events: Sequence[MonitorEvent]) -> tuple[Delivery, ...]:
        """Make one PutEvents call and return the result of each entry.

        PutEvents can answer 200 and refuse entries (`FailedEntryCount`), so only an entry's own
        EventId says that it was accepted. Raises `ServiceError` if the whole call was refused or
        got no answer; no event counts as accepted then.
        """
        try:
            return self._put(events)
        except ServiceError as error:
            if error.reason != "ValidationException" or len(events) == 1:
                raise
        # One entry that EventBridge rejects as malformed must not delay the others of its call.
        return tuple(delivery for event in events for delivery in self._put_alone(event))

    def _put_alone(self, event: MonitorEvent) -> tuple[Delivery, ...]:
        try:
            return self._put((event,))
        except ServiceError as error:
            return (Delivery(event, error.code),)

    def _put(self, events: Sequence[MonitorEvent]) -> tuple[Delivery, ...]:
        with calling(SERVICE):
            results = self._client.put_events(
                Entries=[
                    {
                        "EventBusName": self._name,
                        "Source": contract.EVENT_SOURCE,
                        "DetailType": event.detail_type,
                        "Detail": event.detail,
                        "Resources": [event.resource],
                        "Time": event.time,
                    }
                    for event in events
                ]
            )["Entries"]
        if len(results) != len(events):
            return tuple(Delivery(event, f"{SERVICE}.UnusableAnswer") for event in events)
        return tuple(
            Delivery(
                event,
                None
                if result.get("EventId")
                else f"{SERVICE}.{result.get('ErrorCode', 'UnusableAnswer')}",
                result.get("EventId"),
            )
            for event, result in zip(events, results, strict=True)
        )
