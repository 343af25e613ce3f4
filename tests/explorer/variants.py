"""The monitor, broken on purpose in one place each: what the explorer must find.

Each variant patches the runtime for as long as its context lasts.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from bedrock_batch_monitor import observe
from bedrock_batch_monitor.answer import Answerer
from bedrock_batch_monitor.deliver import Courier
from bedrock_batch_monitor.domain.events import status_event
from bedrock_batch_monitor.domain.jobs import JobRecord
from bedrock_batch_monitor.domain.statuses import is_terminal
from bedrock_batch_monitor.domain.sweep import FullRead
from bedrock_batch_monitor.observe import Observer
from bedrock_batch_monitor.services import dynamodb, items
from bedrock_batch_monitor.services.dynamodb import JobsTable
from bedrock_batch_monitor.services.errors import ServiceError
from bedrock_batch_monitor.services.eventbridge import Delivery, EventBus
from bedrock_batch_monitor.sweep import _Reading
from tests.explorer.simulation import _DynamoDBClient


@contextmanager
def event_before_write() -> Iterator[None]:
    """The event goes out first, then the transition is recorded, and no mark is needed."""
    write = Observer._write

    def broken(self: Observer, job: Any, transition: Any, observation: Any) -> Any:
        entry = transition.entry
        if transition.is_terminal:
            client: Any = self.jobs._client
            record = JobRecord(observation, entry, transition.first_in_progress_at)
            EventBus(client._seat.client("events"), "monitor").put((status_event(record, entry),))
        return write(self, job, transition, observation)

    def nothing(_entry: Any, **_: Any) -> frozenset[str]:
        return frozenset()

    with patch.object(observe, "marks_for", nothing), patch.object(Observer, "_write", broken):
        yield


@contextmanager
def no_mark() -> Iterator[None]:
    """The transition is written, then the event is sent, and nothing says that it is owed."""
    record = JobsTable.record

    def broken(self: JobsTable, *arguments: Any, marks: Any, **named: Any) -> Any:
        del marks
        return record(self, *arguments, marks=frozenset(), **named)

    with patch.object(JobsTable, "record", broken):
        yield


@contextmanager
def no_sweep() -> Iterator[None]:
    """What is left over is marked, and nobody looks for it."""

    def broken(_self: Courier, _errors: Any, _share: Any) -> Iterator[Any]:
        return iter(())

    with patch.object(Courier, "left_over", broken):
        yield


@contextmanager
def index_trusted() -> Iterator[None]:
    """What the pending-events index says is owed is sent, whatever the base table says by now."""

    def broken(self: Courier, job_arn: str, _errors: Any) -> Iterator[Any]:
        job = self.jobs.get(job_arn)
        if job is not None and job.record is not None and is_terminal(job.record.last.status):
            yield status_event(job.record, job.record.last)

    with patch.object(Courier, "_owed_by", broken):
        yield


@contextmanager
def refusals_ignored() -> Iterator[None]:
    """PutEvents answered, so all of its entries count as sent."""
    put = EventBus._put

    def broken(self: EventBus, events: Any) -> tuple[Delivery, ...]:
        return tuple(Delivery(delivery.event, None) for delivery in put(self, events))

    with patch.object(EventBus, "_put", broken):
        yield


@contextmanager
def job_condition_dropped() -> Iterator[None]:
    """The job's item is written whatever has become of it meanwhile."""

    def whatever(_known: Any, _changes: Any) -> str:
        return "attribute_exists(jobArn) OR attribute_not_exists(jobArn)"

    with patch.object(dynamodb, "_still", whatever):
        yield


@contextmanager
def waiting_overlooked() -> Iterator[None]:
    """The end is written whatever came to wait for it, and whatever it was taken up for."""

    def whatever(_known: Any, _changes: Any) -> str:
        return "attribute_exists(jobArn)"

    with patch.object(dynamodb, "_still_awaited", whatever):
        yield


@contextmanager
def token_forgotten_first() -> Iterator[None]:
    """A token is taken off the job, then the task is answered."""
    answer = Answerer.answer

    def broken(self: Answerer, owed: Any) -> Any:
        self.jobs.clear_task(owed.job_arn, owed.mark, owed.task, refusal=None, now=owed.due)
        return answer(self, owed)

    with patch.object(Answerer, "answer", broken):
        yield


@contextmanager
def history_condition_dropped() -> Iterator[None]:
    """Besides, the history entry is put over one that may be there."""

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
def mark_cleared_first() -> Iterator[None]:
    """The mark is taken away, then the event is sent."""
    deliver = Courier.deliver

    def broken(self: Courier, events: Any) -> Any:
        for event in events:
            try:
                self.jobs.clear_mark(event.job_arn, event.mark)
            except ServiceError:
                continue
        return deliver(self, events)

    with patch.object(Courier, "deliver", broken):
        yield


@contextmanager
def settled_whatever_is_owed() -> Iterator[None]:
    """What several jobs owe is taken off them together, and what came to it meanwhile with it."""
    settling = JobsTable._settling

    def broken(self: JobsTable, job_arn: str, owed: Any, changes: Any) -> Any:
        update = settling(self, job_arn, owed, changes)
        marks = changes.name(items.PENDING_EVENTS)
        some = " OR ".join(f"contains({marks}, {changes.value(items.text(mark))})" for mark in owed)
        update["ExpressionAttributeValues"] = {
            name: value for name, value in changes.values.items() if name in some
        }
        return {**update, "ConditionExpression": some}

    with patch.object(JobsTable, "_settling", broken):
        yield


@contextmanager
def late_figures_in_events() -> Iterator[None]:
    """Whatever the job's item says of tokens goes into the event of its end."""
    history_entry = items.history_entry

    def broken(item: Any) -> Any:
        return replace(history_entry(item), usage=items.usage(item))

    with patch.object(items, "history_entry", broken):
        yield


@contextmanager
def lists_trusted() -> Iterator[None]:
    """What lists do not show has not happened: no job is got because its turn has come."""

    def broken(_self: FullRead, *_: Any) -> frozenset[str]:
        return frozenset()

    with patch.object(FullRead, "due", broken):
        yield


@contextmanager
def missing_is_unchanged() -> Iterator[None]:
    """A job that is on no page has not changed."""

    def broken(self: _Reading) -> frozenset[str]:
        return frozenset(self.jobs.keys() - self.doubtful)

    with patch.object(_Reading, "unchanged", broken):
        yield


@contextmanager
def random_event_id() -> Iterator[None]:
    """Each sending makes up an id of its own."""
    put = EventBus._put

    def renamed(event: Any) -> Any:
        detail = json.loads(event.detail)
        detail["metadata"]["eventId"] = str(uuid.uuid4())
        return replace(event, detail=json.dumps(detail))

    def broken(self: EventBus, events: Any) -> tuple[Delivery, ...]:
        return put(self, tuple(renamed(event) for event in events))

    with patch.object(EventBus, "_put", broken):
        yield


@contextmanager
def risk_condition_dropped() -> Iterator[None]:
    """Whoever sees a job at risk says so, whether or not another poll has said it already."""
    update = _DynamoDBClient.update_item

    def broken(self: _DynamoDBClient, **request: Any) -> Any:
        condition = request["ConditionExpression"]
        request["ConditionExpression"] = condition.replace(
            " AND attribute_not_exists(#atRiskSince)", ""
        )
        return update(self, **request)

    with patch.object(_DynamoDBClient, "update_item", broken):
        yield
