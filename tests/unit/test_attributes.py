"""The table of attributes is complete, and what follows from it keeps DynamoDB's limits."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import botocore.session
import pytest

from bedrock_batch_monitor.adapters.dynamodb import attributes, items
from bedrock_batch_monitor.adapters.dynamodb.attributes import Kind
from bedrock_batch_monitor.domain.discovery import Bookmark
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    RecordCounts,
    StoredJob,
    TrackedJob,
)
from bedrock_batch_monitor.domain.progress import Estimate
from bedrock_batch_monitor.domain.state import ListPosition, State
from tests.docs.pages import code, read, region, rows, section
from tests.support import full_job

# The outbox has these, not the item.
OF_OUTBOX = {"carried_events", "carries_tasks"}
# What a poll calculates for itself.
OF_POLL = {"queue_risk"}


@pytest.mark.parametrize(
    ("domain_type", "elsewhere"),
    [
        (JobObservation, {"counts"}),
        (HistoryEntry, {"counts", "usage"}),
        (TrackedJob, {"counts", *OF_OUTBOX, *OF_POLL}),
        (StoredJob, {"record", "usage_is_pending"}),
        (Estimate, set()),
    ],
)
def test_field_of_a_job_has_an_attribute(domain_type: type[Any], elsewhere: set[str]) -> None:
    """A field without a row would be lost when the job is stored."""
    with_attribute = {each.field for each in attributes.of_type(domain_type)}
    names = {each.name for each in fields(domain_type)}
    assert names - with_attribute == elsewhere


def test_record_count_of_a_job_has_an_attribute() -> None:
    """A count without a row would be lost when the job is stored."""
    assert set(RecordCounts._fields) <= {each.field for each in attributes.JOB_ATTRIBUTES}


@pytest.mark.parametrize(
    ("domain_type", "rows", "elsewhere"),
    [
        (State, attributes.STATE_ATTRIBUTES, {"exists", "discovery", "list_position"}),
        (Bookmark, attributes.BOOKMARK_ATTRIBUTES, set()),
        (ListPosition, attributes.LIST_POSITION_ATTRIBUTES, set()),
    ],
)
def test_field_of_the_state_has_an_attribute(
    domain_type: type[Any], rows: tuple[attributes.Attribute, ...], elsewhere: set[str]
) -> None:
    assert {each.name for each in fields(domain_type)} - elsewhere == {each.field for each in rows}


def test_response_of_bedrock_is_stored_under_its_own_names() -> None:
    """The rows of an observation are the members of GetModelInvocationJob's output shape."""
    operation = (
        botocore.session.get_session()
        .get_service_model("bedrock")
        .operation_model("GetModelInvocationJob")
    )
    names = {*attributes.OBSERVED, "jobArn"}
    assert names == set(operation.output_shape.members)
    assert names == set(attributes.names_of(attributes.of_type(JobObservation)))


def test_attribute_has_exactly_one_row() -> None:
    names = attributes.names_of(attributes.JOB_ATTRIBUTES)
    assert len(names) == len(set(names))


# The types on docs/tables.md, where a time is a text of one form.
TYPES = {
    Kind.TEXT: {"text"},
    Kind.NUMBER: {"number"},
    Kind.RATE: {"number"},
    Kind.SHARE: {"number"},
    Kind.TIME: {"time"},
    Kind.OPTIONAL_TIME: {"time"},
    Kind.OPTIONAL_TEXT: {"text"},
    Kind.TAGS: {"map"},
    Kind.MAP: {"map"},
    Kind.TIMES: {"map"},
    Kind.TEXT_SET: {"set of text"},
    Kind.FLAG: {"boolean"},
    Kind.ERROR: {"map"},
    Kind.USAGE: {"map", "number"},
    Kind.ANALYSIS: {"map", "list"},
}
STORED_TYPES = {"S": "text", "N": "number", "M": "map", "L": "list", "BOOL": "boolean"}


def documented(heading: str) -> dict[str, str]:
    """The type of each attribute in a table of docs/tables.md."""
    found = {}
    for names, types, *_ in rows(section("docs/tables.md", heading)):
        each = types.split(", ")
        all_names = code(names)
        found |= dict(zip(all_names, each * (len(all_names) // len(each)), strict=True))
    return found


def stored_type(value: dict[str, Any]) -> str:
    """The type of a value in DynamoDB JSON, in the words of the page."""
    ((name, inner),) = value.items()
    if name == "SS":
        return "set of text"
    if name == "S" and re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z", inner):
        return "time"
    return STORED_TYPES[name]


def test_attribute_of_a_job_has_the_documented_type() -> None:
    """Programs of others read the items."""
    types = documented("## Jobs table")
    assert {name: stored_type(value) for name, value in full_job.ITEM.items()} == types
    # What a person gives can have another form.
    types["deadline"] = "text"
    assert [
        each.name for each in attributes.JOB_ATTRIBUTES if types[each.name] not in TYPES[each.kind]
    ] == []


def test_attribute_of_a_history_entry_has_the_documented_type() -> None:
    """The time to live is in epoch seconds."""
    item = items.history_item(full_job.ENTRY, full_job.at(30))
    assert {name: stored_type(value) for name, value in item.items()} == documented(
        "## History table"
    )


def test_attribute_of_the_state_has_the_documented_type() -> None:
    types = documented("## State table")
    rows_of_state = (
        *attributes.STATE_ATTRIBUTES,
        *attributes.BOOKMARK_ATTRIBUTES,
        *attributes.LIST_POSITION_ATTRIBUTES,
    )
    assert [each.name for each in rows_of_state if types[each.name] not in TYPES[each.kind]] == []


def test_attribute_with_a_value_is_written_as_it_was_read() -> None:
    """By the functions of its kind, if there is one in each direction."""
    for each in attributes.JOB_ATTRIBUTES:
        if each.kind in items._READERS.keys() & items._WRITERS.keys():
            value = items._READERS[each.kind](full_job.ITEM, each.name)
            assert items._WRITERS[each.kind](value) == full_job.ITEM[each.name], each.name


def test_attributes_of_usage_and_of_an_analysis_are_those_with_their_own_functions() -> None:
    by_kind = {
        kind: {each.name for each in attributes.JOB_ATTRIBUTES if each.kind is kind}
        for kind in (Kind.USAGE, Kind.ANALYSIS)
    }
    assert by_kind == {
        Kind.USAGE: full_job.OF_USAGE.keys(),
        Kind.ANALYSIS: full_job.OF_ANALYSIS.keys(),
    }


def test_attribute_of_a_domain_type_can_be_read_and_written() -> None:
    """Usage and sets of texts have their own functions in one direction or both."""
    stored = {
        each.kind
        for domain_type in (JobObservation, HistoryEntry, TrackedJob, StoredJob)
        for each in attributes.of_type(domain_type)
    }
    assert stored <= items._READERS.keys()
    assert stored - {Kind.TEXT_SET} <= items._WRITERS.keys()


def test_active_jobs_index_projects_what_a_tracked_job_reads() -> None:
    """All but the keys of table and index, and the flag that only the base table has."""
    read = set(attributes.names_of(attributes.of_type(TrackedJob)))
    assert read - set(attributes.ACTIVE_JOBS_PROJECTION) == {"jobArn", "backfilled", "eventId"}


def test_index_by_status_projects_the_documented_attributes() -> None:
    """The order means nothing."""
    documented_names = code(region(read("docs/tables.md"), "by-status"))
    assert sorted(attributes.BY_STATUS_PROJECTION) == sorted(documented_names)


@pytest.mark.parametrize(
    "projection", [attributes.ACTIVE_JOBS_PROJECTION, attributes.BY_STATUS_PROJECTION]
)
def test_projection_stays_within_the_limit_of_an_index(projection: tuple[str, ...]) -> None:
    assert len(projection) <= 20
