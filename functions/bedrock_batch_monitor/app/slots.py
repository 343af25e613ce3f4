"""Watches the slots of one account and Region: active jobs by model, against the quota for them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.service_quotas import NO_TIME
from bedrock_batch_monitor.app.models import Models
from bedrock_batch_monitor.domain.events import MonitorEvent, slots_event
from bedrock_batch_monitor.domain.slots import (
    LONGEST_READ,
    READ_AGAIN_AFTER,
    READ_EVERY,
    ModelSlots,
    PendingSlots,
    SlotState,
    change_of,
    slots_of,
)

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.slots_table import SlotsTable
    from bedrock_batch_monitor.adapters.service_quotas import BatchQuotas
    from bedrock_batch_monitor.domain.arns import Scope

INVALID_STATE = "Item.InvalidState"
INVALID_PENDING = "Item.InvalidPendingEvent"


@dataclass(frozen=True, slots=True)
class SlotsResult:
    """What one poll found: the slots by model, and the events that are pending now.

    `quota_error` is the code with which the quotas could not be read, if they were to be read.
    """

    slots: tuple[ModelSlots, ...] = ()
    events: tuple[MonitorEvent, ...] = ()
    errors: tuple[str, ...] = ()
    is_conflict: bool = False
    quota_error: str | None = None


@dataclass(slots=True)
class SlotWatch:
    """Watches slots; what it remembers lasts as long as the execution environment.

    Without `emits_events`, the state is read once.
    """

    scope: Scope
    partition: str
    models: Models
    table: SlotsTable
    quotas: BatchQuotas
    clock: Callable[[], datetime]
    emits_events: bool
    _state: SlotState | None = None

    def run(self, active: Collection[str] | None, has_time: Callable[[], bool]) -> SlotsResult:
        """Count the active jobs; raises nothing that a service can cause.

        `active` has the ARNs of all jobs that have not ended; None if not all are known or read,
        and then only pending events are collected.
        """
        if not self.emits_events and not active:
            return SlotsResult()
        try:
            return self._run(active, has_time)
        except ServiceError as error:
            return SlotsResult(errors=(error.code,))
        except InvalidItemError:
            return SlotsResult(errors=(INVALID_STATE,))

    def _run(self, active: Collection[str] | None, has_time: Callable[[], bool]) -> SlotsResult:
        state = self._state
        if state is None or self.emits_events:
            state = self.table.load(self.scope)
        result = SlotsResult()
        if active:
            state, result = self._with_limits(state, has_time)
        self._state = state
        if active is None:
            return self._with_events(state, result)
        if not self.models.read(active, has_time):
            return self._with_events(state, result)
        slots = slots_of(filter(None, self.models.by_job.values()), state.limits)
        return self._with_events(state, replace(result, slots=slots), counted=True)

    def _with_limits(
        self, state: SlotState, has_time: Callable[[], bool]
    ) -> tuple[SlotState, SlotsResult]:
        """The state with quotas that are not too old."""
        now = self.clock()
        if state.due_at is not None and now < state.due_at:
            return state, SlotsResult()
        until = now + LONGEST_READ

        def may_read() -> bool:
            return has_time() and self.clock() < until

        try:
            limits, due_at, code = self.quotas.limits(may_read), now + READ_EVERY, None
        except ServiceError as error:
            code = error.code
            is_refused = error.is_refusal and error.reason != NO_TIME
            # A refusal switches it off until the next attempt: the quota may be another by then.
            limits = {} if is_refused else dict(state.limits)
            due_at = now + (READ_EVERY if is_refused else READ_AGAIN_AFTER)
        self.table.save_limits(self.scope, limits, due_at)
        return replace(state, limits=limits, due_at=due_at), SlotsResult(quota_error=code)

    def _with_events(
        self, state: SlotState, result: SlotsResult, *, counted: bool = False
    ) -> SlotsResult:
        """The result with the events that are pending; what begins or ends is recorded first."""
        if not self.emits_events:
            return result
        pending = state.pending
        change = change_of(state, result.slots, self.clock()) if counted else None
        if change is not None:
            if not self.table.save_change(self.scope, change, state).is_done:
                return replace(result, is_conflict=True)
            pending |= {str(each) for each in change.due}
        events, errors = [], []
        for text in pending:
            try:
                events.append(PendingSlots.parse(text))
            except ValueError:
                errors.append(INVALID_PENDING)
        events.sort(key=lambda each: each.sequence)
        return replace(
            result,
            events=tuple(slots_event(each, self.scope, self.partition) for each in events),
            errors=tuple(errors),
        )
