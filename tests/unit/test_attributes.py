"""The table of attributes is complete, and what follows from it keeps DynamoDB's limits."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    "projection", [attributes.ACTIVE_JOBS_PROJECTION, attributes.BY_STATUS_PROJECTION]
)
def test_projection_stays_within_the_limit_of_an_index(projection: tuple[str, ...]) -> None:
    assert len(projection) <= 20
