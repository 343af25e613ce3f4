"""Seeded bugs: variants of the monitor that the explorer must find.

Each variant patches the runtime inside of its context.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from bedrock_batch_monitor.adapters.dynamodb import (
    acks,
    attributes,
    connection,
    items,
    write_conditions,
)
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.dynamodb.history_table import HistoryTable
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxEntries, OutboxTable
from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import BusLook, BusState, Delivery, EventBus
from bedrock_batch_monitor.app import commands, recording
from bedrock_batch_monitor.app.discover import Discoverer
from bedrock_batch_monitor.app.recording import PlannedWrite, Recorder
from bedrock_batch_monitor.app.worker_pool import InlineWorkers, WorkerPool
from bedrock_batch_monitor.domain import conditions, events
from bedrock_batch_monitor.domain.discovery import TableInfo
from bedrock_batch_monitor.domain.events import status_event
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.statuses import is_terminal
from bedrock_batch_monitor.listing import list_scan
from bedrock_batch_monitor.listing.list_scan import ListScan, ScanResult, _Reading
from bedrock_batch_monitor.listing.resync import ResyncLane
from bedrock_batch_monitor.outbox.relay import BusWatch, Relay
from bedrock_batch_monitor.outbox.task_callbacks import TaskCallbacks
from tests.explorer.simulation import _DynamoDBClient


@contextmanager
def event_before_write() -> Iterator[None]:
    """The event is sent first, then the transition is recorded, and no event is pending."""
    write = Recorder._write_once

    def broken(self: Recorder, plan: PlannedWrite) -> Any:
        if plan.is_end and not plan.is_restored:
            client: Any = self.writes._client
            event = status_event(plan.record, plan.record.last)
            EventBus(client._seat.client("events"), "monitor").put((event,))
        return write(self, plan)

    def nothing(_entries: Any, **_: Any) -> frozenset[str]:
        return frozenset()

    with (
        patch.object(recording, "pending_for", nothing),
        patch.object(Recorder, "_write_once", broken),
    ):
        yield


@contextmanager
def no_pending_event() -> Iterator[None]:
    """The transition is written, then the event is sent, without a pending event in the item."""
    record = TransitionWrites.record

    def broken(self: TransitionWrites, *arguments: Any, pending_events: Any, **named: Any) -> Any:
        del pending_events
        return record(self, *arguments, pending_events=frozenset(), **named)

    with patch.object(TransitionWrites, "record", broken):
        yield


@contextmanager
def no_flush() -> Iterator[None]:
    """Unsent events stay pending, and no poll sends them."""

    def broken(_self: Relay, _jobs: Any, _errors: Any) -> Iterator[Any]:
        return iter(())

    with patch.object(Relay, "pending", broken):
        yield


@contextmanager
def index_trusted() -> Iterator[None]:
    """Every event in the pending-events index is sent, without a read of the base table."""

    def broken(_self: Relay, job: Any, _errors: Any) -> Iterator[Any]:
        if job.record is not None and is_terminal(job.record.last.status):
            yield status_event(job.record, job.record.last)

    with patch.object(Relay, "_pending_of", broken):
        yield


@contextmanager
def refusals_ignored() -> Iterator[None]:
    """PutEvents succeeded, so all of its entries count as accepted."""
    put = EventBus._put

    def broken(self: EventBus, sent: Any) -> tuple[Delivery, ...]:
        return tuple(Delivery(delivery.event, None) for delivery in put(self, sent))

    with patch.object(EventBus, "_put", broken):
        yield


@contextmanager
def job_condition_dropped() -> Iterator[None]:
    """The job's item is written although it changed since the read."""

    def whatever(_known: Any, _changes: Any) -> str:
        return "attribute_exists(jobArn) OR attribute_not_exists(jobArn)"

    with patch.object(write_conditions, "unmoved", whatever):
        yield


@contextmanager
def waiting_overlooked() -> Iterator[None]:
    """The end is written although a task was registered, or the job is only backfilled."""

    def whatever(_known: Any, _changes: Any) -> str:
        return "attribute_exists(jobArn)"

    with patch.object(write_conditions, "same_waiters", whatever):
        yield


@contextmanager
def backfill_overlooked() -> Iterator[None]:
    """The flag of a backfilled job is neither read nor part of a condition."""
    find = JobsTable.find

    def broken(self: JobsTable, job_arn: str) -> Any:
        found = find(self, job_arn)
        if found is None or not isinstance(found.job, TrackedJob):
            return found
        return replace(found, job=replace(found.job, backfilled=False))

    with waiting_overlooked(), patch.object(JobsTable, "find", broken):
        yield


@contextmanager
def token_forgotten_first() -> Iterator[None]:
    """The callbacks are acknowledged, then the tasks are called back."""
    send = TaskCallbacks.send

    def broken(self: TaskCallbacks, callbacks: Any, *rest: Any) -> Any:
        with suppress(ServiceError):
            self.jobs.ack_callbacks(
                callbacks.job_arn,
                callbacks.pending_event,
                revision=callbacks.revision,
                refusal=None,
                now=callbacks.due,
            )
        return send(self, callbacks, *rest)

    with patch.object(TaskCallbacks, "send", broken):
        yield


@contextmanager
def history_condition_dropped() -> Iterator[None]:
    """In addition, the history entry replaces an existing one."""

    def broken(self: _DynamoDBClient, **request: Any) -> Any:
        parts = [
            {
                kind: {
                    name: value
                    for name, value in write.items()
                    if kind != "Put" or name != "ConditionExpression"
                }
                for kind, write in part.items()
            }
            for part in request["TransactItems"]
        ]
        return self._seat.call("TransactWriteItems", {"TransactItems": parts})

    with job_condition_dropped(), patch.object(_DynamoDBClient, "transact_write_items", broken):
        yield


@contextmanager
def acknowledged_first() -> Iterator[None]:
    """An event is acknowledged, then it is sent."""
    deliver = Relay.deliver

    def broken(self: Relay, sent: Any, watch: Any) -> Any:
        for event in sent:
            try:
                self.jobs.ack(event.resource, event.pending_event)
            except ServiceError:
                continue
        return deliver(self, sent, watch)

    with patch.object(Relay, "deliver", broken):
        yield


@contextmanager
def acknowledged_together_whatever_else() -> Iterator[None]:
    """Several jobs are acknowledged together, with events that became pending meanwhile."""
    ack_all = acks._ack_all

    def broken(all_pending: Any, update: UpdateExpression) -> str:
        ack_all(all_pending, update)
        update.values.clear()
        pending_events = update.name(attributes.PENDING_EVENTS)
        some = " OR ".join(
            f"contains({pending_events}, {update.value(items.text(pending_event))})"
            for pending_event in all_pending
        )
        return f"({some})"

    with patch.object(acks, "_ack_all", broken):
        yield


@contextmanager
def late_figures_in_events() -> Iterator[None]:
    """The end event has the tokens of the job's item, not those of the history."""
    history_entry = items.history_entry

    def broken(item: Any) -> Any:
        return replace(history_entry(item), usage=items.usage(item))

    with patch.object(items, "history_entry", broken):
        yield


@contextmanager
def lists_trusted() -> Iterator[None]:
    """Lists are always right: no job is read because its resync time has come."""

    def broken(_self: ResyncLane, *_: Any) -> frozenset[str]:
        return frozenset()

    with patch.object(ResyncLane, "due", broken):
        yield


@contextmanager
def missing_is_unchanged() -> Iterator[None]:
    """A job that is on no page of a list has not changed."""
    run = ListScan.run

    def broken(self: ListScan, jobs: Any, limits: Any) -> ScanResult:
        readings: list[_Reading] = []

        def noted(*arguments: Any) -> _Reading:
            readings.append(_Reading(*arguments))
            return readings[-1]

        with patch.object(list_scan, "_Reading", noted):
            result = run(self, jobs, limits)
        doubtful = {arn for reading in readings for arn in reading.doubtful}
        return ScanResult(frozenset(jobs) - doubtful) if readings else result

    with patch.object(ListScan, "run", broken):
        yield


@contextmanager
def random_event_id() -> Iterator[None]:
    """Each call sends the event with a new ID."""
    put = EventBus._put

    def renamed(event: Any) -> Any:
        detail = json.loads(event.detail)
        detail["metadata"]["eventId"] = str(uuid.uuid4())
        return replace(event, detail=json.dumps(detail))

    def broken(self: EventBus, sent: Any) -> tuple[Delivery, ...]:
        return put(self, tuple(renamed(event) for event in sent))

    with patch.object(EventBus, "_put", broken):
        yield


@contextmanager
def risk_condition_dropped() -> Iterator[None]:
    """A poll that finds a job at risk records it, although another poll already has."""
    write = _DynamoDBClient.transact_write_items
    dropped = " AND attribute_not_exists(#conditions)"

    def without(part: Any) -> Any:
        update = part.get("Update")
        if update is None:
            return part
        condition = update["ConditionExpression"].replace(dropped, "")
        return {"Update": {**update, "ConditionExpression": condition}}

    def broken(self: _DynamoDBClient, **request: Any) -> Any:
        parts = [without(part) for part in request["TransactItems"]]
        return write(self, TransactItems=parts)

    with (
        patch.object(write_conditions, "same_answer", write_conditions.unmoved),
        patch.object(_DynamoDBClient, "transact_write_items", broken),
    ):
        yield


@contextmanager
def outcome_of_track_discarded() -> Iterator[None]:
    """A Track command counts as processed, although it had a conflict and wrote nothing."""

    def broken(self: JobsTable, job_arn: str, *, at: Any, **_: Any) -> WriteResult:
        found = self.find(job_arn)
        if found is not None and isinstance(found.job, TrackedJob):
            update = UpdateExpression()
            update.set("tracking", items.text("ACTIVE"))
            update.set("commandAt", items.time(at))
            self._update(job_arn, update, write_conditions.unmoved(found.job, update))
        return DONE

    with patch.object(JobsTable, "resume_tracking", broken):
        yield


@contextmanager
def commands_by_arrival() -> Iterator[None]:
    """The command that arrives last wins, not the one that was sent last."""

    def whatever(_at: Any, _now: Any, _changes: Any) -> str:
        return "attribute_exists(jobArn)"

    def never(_command: Any, _found: Any, _now: Any) -> bool:
        return False

    with (
        patch.object(write_conditions, "not_superseded", whatever),
        patch.object(commands, "_is_superseded", never),
    ):
        yield


@contextmanager
def unknown_bus_taken_for_existing() -> Iterator[None]:
    """A check of the bus that fails means that the bus exists."""
    look = EventBus.look

    def broken(self: EventBus) -> BusLook:
        found = look(self)
        return BusLook(BusState.EXISTS) if found.state is BusState.UNKNOWN else found

    def same(self: BusLook, _first: Any) -> BusLook:
        return self

    with patch.object(EventBus, "look", broken), patch.object(BusLook, "compared_with", same):
        yield


@contextmanager
def bus_looked_at_once() -> Iterator[None]:
    """The bus is checked before events are sent, and not again before they are acknowledged."""

    def broken(self: BusWatch) -> BusLook:
        return self.first()

    with patch.object(BusWatch, "confirm", broken):
        yield


@contextmanager
def replaced_bus_unnoticed() -> Iterator[None]:
    """A bus that was created again since the first check counts as the same one."""

    def same(self: BusLook, _first: Any) -> BusLook:
        return self

    with patch.object(BusLook, "compared_with", same):
        yield


@contextmanager
def id_from_sequence() -> Iterator[None]:
    """The ID of an event depends only on the job and the sequence."""
    shaped = events._event

    def broken(job_arn: str, pending_event: Any, *, event_id: str, **named: Any) -> Any:
        del event_id
        text = f"{job_arn}#{pending_event.sequence}"
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, text))
        return shaped(job_arn, pending_event, event_id=identity, **named)

    with patch.object(events, "_event", broken):
        yield


@contextmanager
def history_not_consulted() -> Iterator[None]:
    """An item that was put again starts at sequence 1, whatever the history contains."""

    def nothing(_self: HistoryTable, _job_arn: str) -> tuple[Any, ...]:
        return ()

    with patch.object(HistoryTable, "records", nothing):
        yield


@contextmanager
def table_not_recognized() -> Iterator[None]:
    """Another jobs table with the same name counts as the earlier one."""

    def broken(_self: JobsTable) -> TableInfo:
        return TableInfo(None, None, is_restored=False)

    with patch.object(JobsTable, "describe", broken):
        yield


@contextmanager
def outbox_not_consulted() -> Iterator[None]:
    """The outbox is not read: tasks that are missing in the item are not found."""

    def nothing(_self: OutboxTable, _job_arn: str) -> OutboxEntries:
        return OutboxEntries()

    with patch.object(OutboxTable, "entries", nothing):
        yield


@contextmanager
def older_answer_accepted() -> Iterator[None]:
    """Counts are written although a newer response was stored since they were read."""
    with patch.object(write_conditions, "same_answer", write_conditions.unmoved):
        yield


@contextmanager
def deadline_ignored_at_the_end() -> Iterator[None]:
    """A job that has ended is not compared with its deadline."""
    with patch.object(conditions, "RULES_AT_END", ()):
        yield


@contextmanager
def tags_left_to_the_second_copy() -> Iterator[None]:
    """An event that is sent at once has no tags; one that is sent from the item has them."""
    with_owner = Recorder._with_owner

    def broken(self: Recorder, plan: PlannedWrite) -> PlannedWrite:
        return plan if plan.job.sequence else with_owner(self, plan)

    with patch.object(Recorder, "_with_owner", broken):
        yield


@contextmanager
def poll_without_deadline() -> Iterator[None]:
    """A poll begins reads although no time is left."""
    with patch.object(WorkerPool, "time_is_up", property(lambda _self: False)):
        yield


@contextmanager
def inbox_without_deadline() -> Iterator[None]:
    """The inbox processes requests although no time is left."""
    with patch.object(InlineWorkers, "time_is_up", property(lambda _self: False)):
        yield


@contextmanager
def first_page_is_the_list() -> Iterator[None]:
    """Discovery reads only the first page of a list."""
    pages = Discoverer.pages

    def broken(self: Discoverer, listing: Any, token: Any = None) -> Iterator[Any]:
        for page in pages(self, listing, token):
            yield page._replace(next_token=None)
            return

    with patch.object(Discoverer, "pages", broken):
        yield


@contextmanager
def first_page_is_the_index() -> Iterator[None]:
    """A query of an index reads only its first page."""

    def broken(_service: str, paginated: Any) -> Iterator[Any]:
        yield next(iter(paginated))

    with patch.object(connection, "pages_of", broken):
        yield
