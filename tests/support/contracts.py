"""The published schemas, and the check of events against them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import event_kinds
from bedrock_batch_monitor.domain.events import MonitorEvent

SCHEMAS = Path(__file__).parents[2] / "schemas"
FILES = {
    kind.detail_type: f"{kind.detail_type.lower().replace(' ', '-')}.json"
    for kind in event_kinds.KINDS
}


def schema_of(detail_type: str, version: str = "1") -> dict[str, Any]:
    """The published schema of a detail-type."""
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"v{version}" / FILES[detail_type]).read_text())
    return loaded


def as_delivered(event: MonitorEvent) -> dict[str, Any]:
    """An event as a subscriber receives it, with the fields that the monitor sets."""
    return {
        "source": contract.EVENT_SOURCE,
        "detail-type": event.detail_type,
        "resources": [event.resource],
        "detail": json.loads(event.detail),
    }


def assert_keeps_to_schema(delivered: Mapping[str, Any]) -> None:
    """The event is valid, and has no field in its detail that the schema does not describe."""
    schema = schema_of(delivered["detail-type"])
    jsonschema.Draft4Validator(schema).validate(delivered)
    undescribed = set(_undescribed(delivered["detail"], schema["properties"]["detail"], "detail"))
    assert not undescribed
    assert None not in _values(delivered["detail"])


def _undescribed(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, inner in value.items():
        described = schema.get("properties", {}).get(key)
        if described is None:
            yield f"{path}.{key}"
        elif isinstance(inner, Mapping) and "additionalProperties" not in described:
            yield from _undescribed(inner, described, f"{path}.{key}")


def _values(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for inner in value.values() for leaf in _values(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _values(inner)]
    return [value]
