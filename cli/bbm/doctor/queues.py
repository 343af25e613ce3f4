"""Whether there are dead letters, and whether the inbox function receives its messages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from bbm import stack_parts
from bbm.doctor.context import shown

if TYPE_CHECKING:
    from bbm.doctor.context import CheckContext, Finding
    from bbm.stack_parts import Resource

_INBOX_STOPPED: Final = timedelta(minutes=10)


def dead_letters(context: CheckContext) -> Iterator[Finding]:
    """How many dead letters there are."""
    (queue,) = context.parts.of_type(stack_parts.QUEUE, "EventsDeadLetters")
    count = _messages(context, queue)
    yield context.finding(
        "deadLetters",
        f"{count} dead letters",
        ok=count == 0,
        command="bbm letters",
        section="dead-letters",
    )


def inbox(context: CheckContext) -> Iterator[Finding]:
    """The event source mapping of the inbox, and the age of its oldest message."""
    (function,) = context.parts.of_type(stack_parts.FUNCTION, "InboxFunction")
    (queue,) = context.parts.of_type(stack_parts.QUEUE, "InboxQueue")
    mappings = context.clients.functions.list_event_source_mappings(
        FunctionName=function.physical_id
    )["EventSourceMappings"]
    states = [mapping.get("State", "Enabled") for mapping in mappings]
    name = queue.physical_id.rpartition("/")[2]
    points = context.clients.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": name}],
        StartTime=context.now - timedelta(minutes=10),
        EndTime=context.now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    newest = max(points, key=lambda point: point["Timestamp"], default=None)
    age = timedelta(seconds=0 if newest is None else newest["Maximum"])
    is_on = bool(states) and all(state in {"Enabled", "Enabling", "Updating"} for state in states)
    yield context.finding(
        "inbox",
        f"event source mapping: {', '.join(states) or 'missing'}; "
        f"{_messages(context, queue)} messages, the oldest {shown(age)} old",
        ok=is_on and age <= _INBOX_STOPPED,
        command=f"aws lambda list-event-source-mappings --function-name {function.physical_id}",
        section="inboxstopped",
    )


def _messages(context: CheckContext, queue: Resource) -> int:
    attributes = context.clients.client("sqs").get_queue_attributes(
        QueueUrl=queue.physical_id, AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])
