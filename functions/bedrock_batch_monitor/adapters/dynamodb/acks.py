"""Pending events in the items of their jobs: read before they are sent, removed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes, items, write_conditions, writes
from bedrock_batch_monitor.adapters.dynamodb.connection import SERVICE
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.dynamodb.job_items import JobItems, key_of
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import calling
from bedrock_batch_monitor.domain.event_kinds import ENDED
from bedrock_batch_monitor.domain.jobs import StoredJob

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


@dataclass(frozen=True, slots=True)
class StoredJobs:
    """The items of some jobs; `unreadable` could not be understood, `unprocessed` not be read."""

    found: Mapping[str, StoredJob]
    unreadable: frozenset[str] = frozenset()
    unprocessed: frozenset[str] = frozenset()


class Acks(JobItems):
    """Reads pending events and acknowledges them. All raise `ServiceError`."""

    def stored(self, job_arns: Sequence[str]) -> StoredJobs:
        """The items of up to 100 jobs, read consistently (BatchGetItem)."""
        keys: list[Mapping[str, AttributeValueTypeDef]] = [key_of(arn) for arn in job_arns]
        with calling(SERVICE):
            answer = self._client.batch_get_item(
                RequestItems={self._name: {"Keys": keys, "ConsistentRead": True}}
            )
        found: dict[str, StoredJob] = {}
        unreadable = set()
        for item in answer["Responses"].get(self._name, ()):
            job_arn = item[contract.JOB_ARN]["S"]
            try:
                found[job_arn] = items.stored_job(item)
            except items.InvalidItemError:
                unreadable.add(job_arn)
        left = answer.get("UnprocessedKeys", {}).get(self._name, {"Keys": []})["Keys"]
        unprocessed = frozenset(key[contract.JOB_ARN]["S"] for key in left)
        return StoredJobs(found, frozenset(unreadable), unprocessed)

    def ack(
        self, job_arn: str, pending_event: str, published: datetime | None = None
    ) -> WriteResult:
        """Remove a pending event that was `published` then; None if it is dropped.

        A conflict means that the item has no such pending event any more.
        """

        def at(update: UpdateExpression) -> str:
            _set_published(update, {pending_event}, published)
            return ""

        return self._ack(job_arn, pending_event, at)

    def ack_callbacks(
        self, job_arn: str, pending_event: str, *, revision: int, refusal: str | None, now: datetime
    ) -> WriteResult:
        """Remove the pending callbacks, unless a task was registered since `revision`.

        `refusal` is the code with which the last task refused its callback, if one did.
        """

        def all_called_back(update: UpdateExpression) -> str:
            if refusal is not None:
                update.set(attributes.TASK_TOKEN_ERROR, items.text(refusal))
                update.set(attributes.TASK_TOKEN_ERROR_AT, items.time(now))
            return f" AND {write_conditions.same_tasks(revision, update)}"

        return self._ack(job_arn, pending_event, all_called_back)

    def ack_batch(
        self, pending_events: Mapping[str, frozenset[str]], published: datetime | None = None
    ) -> WriteResult:
        """Remove in one transaction all pending events of up to 100 jobs.

        If one of the jobs has another pending event by now, nothing is written.
        """
        updates = []
        for job_arn, all_pending in pending_events.items():
            update = UpdateExpression()
            condition = _ack_all(all_pending, update)
            _set_published(update, all_pending, published)
            updates.append({"Update": self._update_of(job_arn, update, condition)})
        result = writes.transact(self._client, updates)  # type: ignore[arg-type]
        return result if result.is_done else WriteResult(WriteOutcome.CONFLICT)

    def leave_pending_index(self, job_arn: str) -> WriteResult:
        """Remove a job without pending events from the pending-events index."""
        update = UpdateExpression()
        update.remove(contract.EVENT_PENDING, contract.PENDING_SINCE)
        absent = update.is_absent(attributes.PENDING_EVENTS)
        return self._update(job_arn, update, f"{update.exists(contract.JOB_ARN)} AND {absent}")

    def _ack(
        self, job_arn: str, pending_event: str, more: Callable[[UpdateExpression], str]
    ) -> WriteResult:
        """Remove a pending event; `more` adds changes and returns a further condition."""
        update = UpdateExpression()
        condition = _ack_all({pending_event}, update) + more(update)
        result = self._update(job_arn, update, condition)
        if result.is_done:
            return result
        # It is one of several.
        update = UpdateExpression()
        update.delete(attributes.PENDING_EVENTS, pending_event)
        names = update.name(attributes.PENDING_EVENTS)
        condition = f"contains({names}, {update.value(items.text(pending_event))}){more(update)}"
        return self._update(job_arn, update, condition)


def _ack_all(all_pending: Collection[str], update: UpdateExpression) -> str:
    """Remove all pending events; the condition is that these are all."""
    update.remove(contract.EVENT_PENDING, contract.PENDING_SINCE, attributes.PENDING_EVENTS)
    return update.equals(attributes.PENDING_EVENTS, {"SS": sorted(all_pending)})


def _set_published(
    update: UpdateExpression, pending_events: Collection[str], published: datetime | None
) -> None:
    """Say in the item when the event of the job's end was published."""
    kinds = {pending_event.partition("#")[0] for pending_event in pending_events}
    if published is not None and ENDED.name in kinds:
        update.set(attributes.EVENT_PUBLISHED_AT, items.time(published))
