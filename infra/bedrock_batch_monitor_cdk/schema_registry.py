"""The schemas of the monitor's events in an EventBridge schema registry, for `schemaRegistry`.

The published schemas are JSON Schema Draft 4 and describe the whole event, like the schemas that
EventBridge discovers. The registry contains the same documents, with EventBridge's envelope and the
two annotations by which tools recognize the events of a schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aws_cdk import aws_eventschemas as eventschemas
from constructs import Construct

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain.events import SCHEMA_VERSION
from bedrock_batch_monitor_cdk.packaged import packaged

_TYPE: Final = "JSONSchemaDraft4"
# The members of every event that EventBridge sets.
_ENVELOPE: Final[Mapping[str, Any]] = {
    "version": {"type": "string", "description": "The version of EventBridge's own envelope."},
    "id": {
        "type": "string",
        "description": "EventBridge's id of one delivery; detail.metadata.eventId is the event's.",
    },
    "account": {"type": "string", "description": "The account that the monitor runs in."},
    "region": {"type": "string", "description": "The Region that the monitor runs in."},
    "time": {"type": "string", "format": "date-time", "description": "When it was sent."},
}


@dataclass(frozen=True, slots=True)
class RegistrySchema:
    """One schema in the registry, with the name that a discovered schema would have."""

    detail_type: str
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """`<source>@<detail-type without blanks>`."""
        return f"{contract.EVENT_SOURCE}@{self.detail_type.replace(' ', '')}"


class SchemaRegistry(Construct):
    """A registry with a schema for each detail-type.

    Every change of a schema creates a new version; EventBridge keeps the earlier ones.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self.registry = eventschemas.CfnRegistry(
            self,
            "Registry",
            description="Events of the monitor of Bedrock batch inference jobs",
        )
        for schema in registry_schemas():
            eventschemas.CfnSchema(
                self,
                schema.detail_type.replace(" ", ""),
                registry_name=self.registry.attr_registry_name,
                schema_name=schema.name,
                type=_TYPE,
                content=json.dumps(schema.content, ensure_ascii=False, separators=(",", ":")),
                description=f"The event {schema.detail_type}, version {SCHEMA_VERSION}",
            )


def registry_schemas() -> Iterator[RegistrySchema]:
    """The schema of every detail-type in the current version, in the order of file names."""
    for path in sorted(packaged(f"schemas/v{SCHEMA_VERSION}").glob("*.json")):
        yield registry_schema(json.loads(path.read_text(encoding="utf-8")))


def registry_schema(published: Mapping[str, Any]) -> RegistrySchema:
    """A published schema in its form for the registry.

    EventBridge's envelope is described and not required, so that both forms accept the same events
    of the monitor.
    """
    (detail_type,) = published["properties"]["detail-type"]["enum"]
    return RegistrySchema(
        detail_type=detail_type,
        content={
            **published,
            "x-amazon-events-source": contract.EVENT_SOURCE,
            "x-amazon-events-detail-type": detail_type,
            "properties": {**_ENVELOPE, **published["properties"]},
        },
    )
