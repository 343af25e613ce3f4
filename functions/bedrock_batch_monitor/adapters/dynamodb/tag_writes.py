"""The tags and the deadline of a job in its item."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes, items, write_conditions
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.dynamodb.job_items import JobItems

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.writes import WriteResult
    from bedrock_batch_monitor.domain.jobs import TrackedJob
    from bedrock_batch_monitor.domain.owners import Owner


class TagWrites(JobItems):
    """Tags that were read after a job was first recorded. Raises `ServiceError`."""

    def add_tags(self, owner: Owner, *, expected: TrackedJob) -> WriteResult:
        """Store the tags of a job, and the deadline that they name.

        A job with a pending event keeps waiting: each copy of an event says the same, so tags must
        not appear in the second one. A conflict leaves the tags to the next poll.
        """
        update = UpdateExpression()
        condition = set_owner(update, owner, expected)
        unmoved = write_conditions.unmoved(expected, update)
        no_event = update.is_absent(attributes.PENDING_EVENTS)
        return self._update(expected.job_arn, update, f"{unmoved} AND {condition} AND {no_event}")


def set_owner(update: UpdateExpression, owner: Owner, expected: TrackedJob) -> str:
    """Set tags and deadline; the condition is that nobody else has set them meanwhile."""
    pending = update.exists if expected.tags_pending else update.is_absent
    conditions = [pending(attributes.TAGS_PENDING)]
    if owner.tags:
        update.set(contract.TAGS, items.tags(owner.tags))
    if owner.tags_pending and not expected.tags_pending:
        update.set(attributes.TAGS_PENDING, {"BOOL": True})
    if expected.tags_pending and not owner.tags_pending:
        update.remove(attributes.TAGS_PENDING)
    if owner.deadline is not None and owner.deadline_by is not None:
        update.set(attributes.DEADLINE, items.text(owner.deadline))
        update.set(attributes.DEADLINE_BY, items.text(owner.deadline_by.value))
        known = None if expected.deadline is None else items.text(expected.deadline)
        conditions.append(update.equals(attributes.DEADLINE, known))
    return " AND ".join(conditions)
