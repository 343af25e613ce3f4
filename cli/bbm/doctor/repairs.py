"""The repairs of `bbm doctor --fix`: what the template says, restored without a deployment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from bbm import stack_parts
from bbm.doctor.event_bus import rules_of_bus

if TYPE_CHECKING:
    from bbm.doctor.context import CheckContext
    from bbm.stack_parts import Resource

_OF_SCHEDULE: Final = ("Description", "FlexibleTimeWindow", "ScheduleExpression", "State", "Target")
_OF_RULE: Final = ("Description", "EventPattern", "State")


def fix_schedule(context: CheckContext) -> list[str]:
    """Restore state, payload, retries and target of each schedule; returns what was done."""
    client = context.clients.client("scheduler")
    done = []
    for each in context.parts.of_type(stack_parts.SCHEDULE):
        properties = context.parts.properties(each)
        request = {name: properties[name] for name in _OF_SCHEDULE if name in properties}
        name = each.physical_id.rpartition("|")[2]
        try:
            client.update_schedule(Name=name, **request)
            done.append(f"restored the schedule {name}")
        except client.exceptions.ResourceNotFoundException:
            client.create_schedule(Name=name, **request)
            done.append(f"created the schedule {name}")
    return done


def fix_bus(context: CheckContext) -> list[str]:
    """Create the bus again under its name, with the rules of the stack; returns what was done.

    Subscribers keep its ARN. Rules of others that were deleted with it are not known here.
    """
    client, name = context.clients.events, context.parts.deployment.event_bus
    done = []
    try:
        client.describe_event_bus(Name=name)
    except client.exceptions.ResourceNotFoundException:
        (bus,) = context.parts.of_type(stack_parts.BUS)
        description = str(context.parts.properties(bus).get("Description", ""))
        client.create_event_bus(Name=name, Description=description)
        done.append(f"created the event bus {name}")
    return done + [_put_rule(context, rule, name) for rule in rules_of_bus(context.parts)]


def _put_rule(context: CheckContext, rule: Resource, bus: str) -> str:
    client, properties = context.clients.events, context.parts.properties(rule)
    name = rule.physical_id.rpartition("|")[2]
    request: dict[str, Any] = {key: properties[key] for key in _OF_RULE if key in properties}
    request["EventPattern"] = json.dumps(request["EventPattern"])
    client.put_rule(Name=name, EventBusName=bus, **request)
    client.put_targets(Rule=name, EventBusName=bus, Targets=properties["Targets"])
    return f"restored the rule {name}"
