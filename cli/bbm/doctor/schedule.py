"""Whether each schedule is enabled, with the payload and target of the template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bbm import stack_parts

if TYPE_CHECKING:
    from bbm.doctor.context import CheckContext, Finding
    from bbm.stack_parts import Resource


def schedule(context: CheckContext) -> Iterator[Finding]:
    """State, payload and target of each schedule."""
    client = context.clients.client("scheduler")
    function = context.parts.of_type(stack_parts.FUNCTION, "MonitorFunction")
    for each in context.parts.of_type(stack_parts.SCHEDULE):
        problems = []
        try:
            found = client.get_schedule(Name=each.physical_id.rpartition("|")[2])
        except client.exceptions.ResourceNotFoundException:
            problems.append("does not exist")
        else:
            target = found["Target"]
            if found["State"] != "ENABLED":
                problems.append(f"is {found['State']}")
            if function and not target["Arn"].endswith(f":{function[0].physical_id}"):
                problems.append(f"has the target {target['Arn']}")
            if (wrong := _wrong_payload(target.get("Input"), each)) is not None:
                problems.append(wrong)
        yield context.finding(
            "schedule",
            f"schedule {each.physical_id} "
            + (", ".join(problems) or "is enabled, with the payload and target as deployed"),
            ok=not problems,
            command="bbm doctor --fix schedule",
            section="the-schedule-was-changed",
        )


def _wrong_payload(text: str | None, deployed: Resource) -> str | None:
    wanted = deployed.template.get("Properties", {}).get("Target", {}).get("Input", "{}")
    if text is None and wanted == "{}":
        # The monitor takes the scheduler's default payload as {}.
        return None
    try:
        if isinstance(wanted, str) and json.loads(text or "") == json.loads(wanted):
            return None
    except ValueError:
        pass
    return f"has the payload {text}"
