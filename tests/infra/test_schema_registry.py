"""The schema registry: it contains the schemas that the repository publishes."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor import contract
from bedrock_batch_monitor_cdk.config import MonitorConfig
from bedrock_batch_monitor_cdk.schema_registry import registry_schema, registry_schemas
from tests.support.contracts import FILES, SCHEMAS, schema_of

pytestmark = pytest.mark.xdist_group("template")

WITH_REGISTRY = MonitorConfig(schema_registry=True)
SAMPLES = {
    detail_type: json.loads((SCHEMAS / "v1" / "samples" / file).read_text())
    for detail_type, file in FILES.items()
}
ENVELOPE = {"version", "id", "account", "region", "time"}
# Limits of CreateSchema: API Reference of the EventBridge schema registry.
LONGEST_CONTENT = 100_000
LONGEST_DESCRIPTION = 256
OTHER_VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.just([]) | st.just({})


def paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where something is in an event, EventBridge's envelope left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if path or key not in ENVELOPE:
                yield (*path, key)
                yield from paths(inner, (*path, key))


def test_registry_has_a_schema_for_each_detail_type(
    synthesize: Callable[[MonitorConfig], dict[str, Any]],
    of_type: Callable[[dict[str, Any], str], dict[str, Any]],
    render: Callable[[Any], Any],
) -> None:
    """Their names are those that schema discovery would use."""
    template = synthesize(WITH_REGISTRY)
    (registry,) = of_type(template, "AWS::EventSchemas::Registry")
    schemas = [
        render(one["Properties"]) for one in of_type(template, "AWS::EventSchemas::Schema").values()
    ]

    assert {schema["SchemaName"] for schema in schemas} == {
        "bedrock-batch-monitor@" + detail_type.replace(" ", "") for detail_type in FILES
    }
    for schema in schemas:
        assert schema["RegistryName"] == f"<{registry}.RegistryName>"
        assert schema["Type"] == "JSONSchemaDraft4"
        assert len(schema["Content"]) <= LONGEST_CONTENT
        assert len(schema["Description"]) <= LONGEST_DESCRIPTION
        assert "Tags" not in schema
    assert (
        render(template["Outputs"]["SchemaRegistryName"]["Value"]) == f"<{registry}.RegistryName>"
    )
    contents = [json.loads(schema["Content"]) for schema in schemas]
    assert contents == [schema.content for schema in registry_schemas()]


@pytest.mark.parametrize("detail_type", FILES)
def test_schema_is_valid_and_accepts_its_sample(detail_type: str) -> None:
    """It is Draft 4, and has its source and detail-type."""
    (schema,) = [one for one in registry_schemas() if one.detail_type == detail_type]

    jsonschema.Draft4Validator.check_schema(schema.content)
    jsonschema.Draft4Validator(schema.content).validate(SAMPLES[detail_type])
    assert schema.content["$schema"] == "http://json-schema.org/draft-04/schema#"
    assert schema.content["x-amazon-events-source"] == contract.EVENT_SOURCE
    assert schema.content["x-amazon-events-detail-type"] == detail_type
    # Every member of a delivered event is described.
    assert set(SAMPLES[detail_type]) == set(schema.content["properties"])


@given(st.sampled_from(sorted(FILES)), st.data())
def test_registry_schema_and_published_schema_agree(detail_type: str, data: st.DataObject) -> None:
    """An event that one of them refuses is refused by the other."""
    published = schema_of(detail_type)
    event = copy.deepcopy(SAMPLES[detail_type])
    *above, key = data.draw(st.sampled_from(list(paths(event))))
    holder = event
    for step in above:
        holder = holder[step]
    if data.draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = data.draw(OTHER_VALUES)

    verdicts = {
        jsonschema.Draft4Validator(schema).is_valid(event)
        for schema in (published, registry_schema(published).content)
    }
    assert len(verdicts) == 1
