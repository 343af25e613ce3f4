"""Whether the event bus and its rules exist, and whether events wait to be sent to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from bbm import stack_parts
from bbm.doctor.context import shown
from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain.arns import is_job_arn
from bedrock_batch_monitor.domain.times import from_iso

if TYPE_CHECKING:
    from bbm.doctor.context import CheckContext, Finding
    from bbm.stack_parts import Resource, StackParts

_LONGEST_PENDING: Final = timedelta(minutes=15)


def bus(context: CheckContext) -> Iterator[Finding]:
    """The event bus and the rules of the stack on it."""
    client = context.clients.events
    name = context.parts.deployment.event_bus
    problems = []
    try:
        client.describe_event_bus(Name=name)
    except client.exceptions.ResourceNotFoundException:
        problems.append("does not exist")
    else:
        for rule in rules_of_bus(context.parts):
            rule_name = rule.physical_id.rpartition("|")[2]
            try:
                state: str = client.describe_rule(Name=rule_name, EventBusName=name)["State"]
            except client.exceptions.ResourceNotFoundException:
                state = "missing"
            if state != "ENABLED":
                problems.append(f"rule {rule_name} is {state}")
    yield context.finding(
        "bus",
        f"event bus {name} " + (", ".join(problems) or "exists, with the rules of the stack"),
        ok=not problems,
        command="bbm doctor --fix bus",
        section="the-event-bus-was-deleted",
    )


def rules_of_bus(parts: StackParts) -> tuple[Resource, ...]:
    """The rules of the stack that are on the monitor's bus."""
    return tuple(
        rule
        for rule in parts.of_type(stack_parts.RULE)
        if "EventBusName" in rule.template.get("Properties", {})
    )


def pending_events(context: CheckContext) -> Iterator[Finding]:
    """The age of the oldest pending event."""
    found = context.clients.dynamodb.query(
        TableName=context.parts.deployment.jobs_table,
        IndexName=contract.PENDING_EVENTS_INDEX,
        KeyConditionExpression=f"{contract.EVENT_PENDING} = :pending",
        ExpressionAttributeValues={":pending": {"S": contract.EVENT_PENDING_VALUE}},
        Limit=1,
    )["Items"]
    if not found:
        yield context.finding(
            "pendingEvents", "no event is pending", ok=True, section="eventswaiting"
        )
        return
    key = found[0][contract.JOB_ARN]["S"]
    try:
        since = from_iso(found[0][contract.PENDING_SINCE]["S"])
    except ValueError:
        # A person wrote the item: the key of the index can be any text.
        since = datetime.min.replace(tzinfo=UTC)
    age = max(context.now - since, timedelta(0))
    yield context.finding(
        "pendingEvents",
        f"the oldest pending event has waited {shown(age)}",
        ok=age <= _LONGEST_PENDING,
        command=f"bbm trace {key}" if is_job_arn(key) else "bbm jobs",
        section="eventswaiting",
    )
