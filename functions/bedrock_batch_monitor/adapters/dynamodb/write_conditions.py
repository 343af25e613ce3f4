"""The conditions of writes to a job's item: what must still be as it was when the job was read.

Each takes the update whose placeholders it uses.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes, items
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.times import CLOCK_TOLERANCE

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression


def unmoved(expected: TrackedJob, update: UpdateExpression) -> str:
    """The job has the same last transition, and its item was not removed.

    The sequence alone is not enough: it starts again after tables were lost.
    """
    if expected.sequence == 0:
        exists = update.exists(contract.JOB_ARN)
        return f"{exists} AND {update.is_absent(contract.SEQUENCE)}"
    condition = update.equals(contract.SEQUENCE, items.number(expected.sequence))
    if expected.status is None:
        return condition
    return f"{condition} AND {update.equals(contract.STATUS, items.text(expected.status))}"


def same_answer(expected: TrackedJob, update: UpdateExpression) -> str:
    """No answer of Bedrock was stored since the one that is known."""
    return " AND ".join(
        (
            unmoved(expected, update),
            same_time(attributes.PROGRESS_AT, expected.progress_at, update),
            same_time(attributes.LAST_MODIFIED_TIME, expected.last_modified_time, update),
        )
    )


def same_time(attribute: str, moment: datetime | None, update: UpdateExpression) -> str:
    """The attribute has this time; with None, it is absent."""
    return update.equals(attribute, None if moment is None else items.time(moment))


def same_count(attribute: str, count: int, update: UpdateExpression) -> str:
    """The attribute has this count, where an absent one stands for 0."""
    return update.equals(attribute, items.number(count) if count else None)


def same_conditions(expected: TrackedJob, update: UpdateExpression) -> str:
    """No condition of the job has begun or ended."""
    known = expected.conditions
    return update.equals(contract.CONDITIONS, items.times(known) if known else None)


def not_superseded(at: datetime, now: datetime, update: UpdateExpression) -> str:
    """No command on the job's tracking that was sent later than `at` was processed.

    A command with a time in the future was noted with a wrong clock and does not count.
    """
    name = update.name(contract.COMMAND_AT)
    absent = update.is_absent(contract.COMMAND_AT)
    sent, latest = (update.value(items.time(time)) for time in (at, now + CLOCK_TOLERANCE))
    return f"({absent} OR {name} <= {sent} OR {name} > {latest})"


def same_tasks(revision: int, update: UpdateExpression) -> str:
    """No Step Functions task was registered since this revision."""
    return same_count(contract.TASK_REVISION, revision, update)


def still_due(due_at: datetime, update: UpdateExpression) -> str:
    """Nothing else has looked for the job's token counts meanwhile."""
    return same_time(contract.USAGE_DUE_AT, due_at, update)


def same_waiters(expected: TrackedJob, update: UpdateExpression) -> str:
    """The registered tasks and the backfilled flag are unchanged since the read.

    So an end that is recorded before a task was registered is written again with the task, and a
    task that is registered after the end finds the job ended.
    """
    backfilled = (update.exists if expected.backfilled else update.is_absent)(attributes.BACKFILLED)
    return f"{same_tasks(expected.task_revision, update)} AND {backfilled}"
