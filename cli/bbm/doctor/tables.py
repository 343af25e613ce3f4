"""Whether the tables, their indexes and the customer key can be used."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bbm import stack_parts

if TYPE_CHECKING:
    from bbm.doctor.context import CheckContext, Finding
    from bbm.stack_parts import Resource


def tables(context: CheckContext) -> Iterator[Finding]:
    """The four tables and their indexes."""
    client = context.clients.dynamodb
    for resource in context.parts.of_type(stack_parts.TABLE):
        which, name = resource.logical_id, resource.physical_id
        problems = []
        try:
            table = client.describe_table(TableName=name)["Table"]
        except client.exceptions.ResourceNotFoundException:
            problems.append("does not exist")
        else:
            if table["TableStatus"] not in {"ACTIVE", "UPDATING"}:
                problems.append(f"is {table['TableStatus']}")
            problems += _problems_of_indexes(resource, table)
        yield context.finding(
            "tables",
            f"table {name} ({re.sub(r'[0-9A-F]{8}$', '', which)}) "
            + (", ".join(problems) or "and its indexes are active"),
            ok=not problems,
            command=f"aws dynamodb describe-table --table-name {name}",
            section="an-index-is-missing" if "index" in "".join(problems) else "restore-a-table",
        )


def _problems_of_indexes(resource: Resource, table: Mapping[str, Any]) -> Iterator[str]:
    """The indexes of the template that are not active."""
    found = {
        index["IndexName"]: "BACKFILLING"
        if index.get("Backfilling")
        else index.get("IndexStatus", "ACTIVE")
        for index in table.get("GlobalSecondaryIndexes", ())
    }
    for wanted in resource.template.get("Properties", {}).get("GlobalSecondaryIndexes", ()):
        name = wanted["IndexName"]
        if found.get(name) != "ACTIVE":
            yield f"index {name} is {found.get(name, 'missing')}"


def key(context: CheckContext) -> Iterator[Finding]:
    """The customer key, if the stack has one."""
    for resource in context.parts.of_type(stack_parts.KEY):
        key_id = resource.physical_id
        metadata = context.clients.client("kms").describe_key(KeyId=key_id)["KeyMetadata"]
        state = metadata["KeyState"]
        verb = "cancel-key-deletion" if state == "PendingDeletion" else "enable-key"
        yield context.finding(
            "key",
            f"key {key_id} is {state}",
            ok=state == "Enabled",
            command=f"aws kms {verb} --key-id {key_id}",
            section="the-key-was-disabled",
        )
