"""Collects events and task callbacks of one poll or batch, sends them, and counts the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from bedrock_batch_monitor.adapters.eventbridge import BusLook, BusState, Delivery
from bedrock_batch_monitor.domain.events import (
    ENTRIES_PER_CALL,
    MonitorEvent,
    calls,
    event_id_of,
)
from bedrock_batch_monitor.outbox.relay import not_sent
from bedrock_batch_monitor.outbox.task_callbacks import not_called_back

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.domain.summary import PollSummary
    from bedrock_batch_monitor.domain.tasks import PendingCallbacks
    from bedrock_batch_monitor.outbox.relay import BusWatch, DeliveryResult, Relay
    from bedrock_batch_monitor.outbox.task_callbacks import CallbackResult, TaskCallbacks

T = TypeVar("T")

# A poll repeats the lines of events that stay pending, and there can be thousands.
_PENDING_LOGGED_AT_MOST: Final = 20


class Workers(Protocol):
    """What makes calls, in threads or at once, and hands the results back in the calling thread."""

    @property
    def time_is_up(self) -> bool:
        """Whether no new call may begin."""

    @property
    def is_over(self) -> bool:
        """Whether calls under way may make no further request."""

    def submit(self, call: Callable[[], T], then: Callable[[T], None]) -> None:
        """Begin a call; `then` gets its result."""


@dataclass(slots=True)
class EventBuffer:
    """Sends events in full PutEvents calls, and calls tasks back next to them.

    `bus_refuses` says that the bus does not exist or that a call accepted nothing. `waiting_since`
    is the time of the oldest event or callback that stays pending.
    """

    relay: Relay
    callbacks: TaskCallbacks
    watch: BusWatch
    workers: Workers
    summary: PollSummary
    logger: Logger
    bus_refuses: bool = False
    tasks_refuse: bool = False
    waiting_since: datetime | None = None
    _bus: BusLook | None = None
    _pending_logged: int = 0
    _events: list[MonitorEvent] = field(default_factory=list)

    @property
    def bus_exists(self) -> bool:
        """Whether the bus was looked for, and exists."""
        return self._bus is not None and self._bus.exists

    def add(self, events: Sequence[MonitorEvent]) -> None:
        """Collect events, and send them once they fill a call."""
        self._events.extend(events)
        self._send_collected(at_least=ENTRIES_PER_CALL)

    def flush(self) -> None:
        """Send the events that are left."""
        self._send_collected(at_least=1)

    def send(self, group: Sequence[MonitorEvent]) -> None:
        """Send one call's worth of events, if there is a bus to accept them.

        Near the end of the poll's time, the calling thread does not wait for a check of the bus:
        the delivery, which may outlast the poll, makes it.
        """
        if self._bus is None and not self.workers.time_is_up:
            self._bus = self._look_for_bus()
        if self._bus is None or self._bus.exists:
            deliver = partial(self.relay.deliver, group, self.watch, lambda: self.workers.is_over)
            self.workers.submit(deliver, self._on_delivery)
        else:
            self.bus_refuses = True
            self.postpone(group, self._bus.code)

    def postpone(self, group: Sequence[MonitorEvent], reason: str) -> None:
        """Count events that wait for the next poll."""
        self._on_delivery(not_sent(group, reason))

    def call_back(self, callbacks: PendingCallbacks) -> None:
        """Call back the tasks of a job; once Step Functions refuses, leave them to the next poll.

        Events and callbacks do not wait for each other.
        """
        if self.tasks_refuse:
            self._on_callback(not_called_back(callbacks))
            return
        call = partial(self.callbacks.send, callbacks, lambda: not self.workers.time_is_up)
        self.workers.submit(call, self._on_callback)

    def _send_collected(self, *, at_least: int) -> None:
        while len(self._events) >= at_least:
            group = next(calls(self._events))
            del self._events[: len(group)]
            self.send(group)

    def _look_for_bus(self) -> BusLook:
        bus = self.watch.first()
        if not bus.exists:
            self.summary.errors[bus.code] += 1
            self.logger.error(
                "the event bus does not exist"
                if bus.state is BusState.MISSING
                else "it is not known whether the event bus exists",
                extra={"error": bus.code},
            )
        return bus

    def _on_delivery(self, result: DeliveryResult) -> None:
        self.summary.events_sent += result.sent
        self.summary.events_pending += result.pending
        self.summary.conflicts += result.conflicts
        self.summary.errors.update(result.errors)
        self.bus_refuses = self.bus_refuses or result.bus_refuses
        self._record_waiting(result.waiting_since)
        for delivery in result.deliveries:
            self._log(delivery)

    def _log(self, delivery: Delivery) -> None:
        """Log what became of an event; of many that wait, the first ones."""
        event = delivery.event
        extra = {
            "jobArn" if event.slots_of is None else "modelArn": event.resource,
            "eventId": event_id_of(event),
            "detailType": event.detail_type,
        }
        if delivery.error is None:
            self.logger.info("event published", extra={**extra, "eventBridgeId": delivery.bus_id})
        elif self._pending_logged < _PENDING_LOGGED_AT_MOST:
            self._pending_logged += 1
            self.logger.warning("event pending", extra={**extra, "reason": delivery.error})

    def _on_callback(self, result: CallbackResult) -> None:
        self.summary.tasks_answered += result.sent
        self.summary.tasks_refused += len(result.refusals)
        self.summary.tasks_pending += result.pending
        self.summary.conflicts += result.is_conflict
        self.summary.errors.update(result.errors)
        for refusal in result.refusals:
            # The job, and never the token.
            extra = {"jobArn": result.job_arn, "error": refusal}
            self.logger.warning("task token refused", extra=extra)
        self.tasks_refuse = self.tasks_refuse or result.service_refuses
        self._record_waiting(result.waiting_since)

    def _record_waiting(self, since: datetime | None) -> None:
        if since is not None:
            self.waiting_since = min(since, self.waiting_since or since)
