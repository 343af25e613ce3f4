from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.conditions import Finding
from bedrock_batch_monitor.domain.event_kinds import EventKind
from bedrock_batch_monitor.domain.events import (
    BYTES_PER_CALL,
    ENTRIES_PER_CALL,
    MonitorEvent,
    PendingEvent,
    calls,
    condition_event,
    pending_condition,
    pending_for,
    pending_unreachable,
    status_event,
)
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobError,
    JobObservation,
    JobRecord,
    RecordCounts,
    StoredJob,
    TrackedJob,
)
from bedrock_batch_monitor.domain.transitions import Transition, decide, end_id
from tests.docs import schemas
from tests.support.contracts import SCHEMAS, as_delivered, assert_keeps_to_schema, schema_of
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, observations, seen_jobs, times, tracked_jobs

DENIED = JobError("AccessDeniedException", "not authorized to read the job")
SUBMITTED = NOW - timedelta(seconds=3720)
ENDED = JobObservation(
    job_arn=ARN,
    status="Completed",
    model_id="anthropic.claude-sonnet-4-20250514-v1:0",
    job_name="nightly-summaries",
    submit_time=SUBMITTED,
    last_modified_time=NOW,
    end_time=NOW,
    model_invocation_type="InvokeModel",
    input_data_config={"s3InputDataConfig": {"s3Uri": "s3://in/records.jsonl"}},
    output_data_config={"s3OutputDataConfig": {"s3Uri": "s3://out/results"}},
    counts=RecordCounts(1000, 1000, 998, 2),
)
ENTRY = HistoryEntry(
    job_arn=ARN,
    sequence=5,
    status="Completed",
    previous_status="InProgress",
    observed_at=NOW,
    observed_by="poll",
    event_id=end_id(ARN),
    changed_at=NOW,
    job_name="nightly-summaries",
    model_id="anthropic.claude-sonnet-4-20250514-v1:0",
    counts=RecordCounts(1000, 1000, 998, 2),
)
RECORD = JobRecord(ENDED, ENTRY, SUBMITTED + timedelta(seconds=120))


def detail(event: MonitorEvent) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(event.detail)
    return loaded


RUNNING = JobRecord(
    replace(
        ENDED,
        status="InProgress",
        last_modified_time=SUBMITTED + timedelta(seconds=120),
        end_time=None,
        counts=RecordCounts(1000, 420, 420, 0),
    ),
    HistoryEntry(
        job_arn=ARN,
        sequence=4,
        status="InProgress",
        previous_status="Scheduled",
        observed_at=SUBMITTED + timedelta(seconds=120),
        observed_by="poll",
        changed_at=SUBMITTED + timedelta(seconds=120),
        job_name="nightly-summaries",
        model_id="anthropic.claude-sonnet-4-20250514-v1:0",
        counts=RecordCounts(1000, 420, 420, 0),
    ),
    SUBMITTED + timedelta(seconds=120),
)


def pending_of(kind: EventKind, sequence: int, since: datetime, now: datetime) -> PendingEvent:
    """The pending event of a condition, with the example of each fact."""
    facts = {field.name: field.example for field in kind.fields}
    return pending_condition(Finding(kind, since, facts), sequence, now=now)


def test_published_schemas_and_samples_are_those_that_the_code_generates() -> None:
    """`make docs` writes them."""
    published = {
        str(path.relative_to(SCHEMAS)): path.read_text() for path in SCHEMAS.rglob("*.json")
    }
    assert published == schemas.files()


@pytest.mark.parametrize("name", sorted(path.name for path in (SCHEMAS / "v1").glob("*.json")))
def test_schemas_are_draft_4_and_have_a_valid_sample(name: str) -> None:
    """An EventBridge schema registry accepts each schema, and its sample is valid."""
    schema = json.loads((SCHEMAS / "v1" / name).read_text())
    jsonschema.Draft4Validator.check_schema(schema)
    sample = json.loads((SCHEMAS / "v1/samples" / name).read_text())
    assert_keeps_to_schema(sample)
    assert schema_of(sample["detail-type"]) == schema


@given(tracked_jobs, observations, st.sampled_from(["poll", "event"]))
def test_every_event_matches_its_schema(
    tracked: TrackedJob, observation: JobObservation, observed_by: str
) -> None:
    """Whatever was observed, the event is valid, described field by field, and small enough."""
    decision = decide(
        tracked,
        observation,
        now=NOW,
        observed_by=observed_by,
        rules=RULES,
    )
    if not isinstance(decision, Transition):
        return
    record = JobRecord(observation, decision.entry, decision.first_in_progress_at)
    event = status_event(record, decision.entry)
    assert_keeps_to_schema(as_delivered(event))
    assert event.size < 16 * 1024
    assert event == status_event(record, decision.entry)
    assert {event.pending_event} == pending_for(
        [replace(decision.entry, backfilled=False)], emit_status_changes=True
    )
    assert PendingEvent.parse(event.pending_event) == PendingEvent(
        event.pending_event.split("#")[0], decision.entry.sequence
    )


@given(st.sampled_from(statuses.KNOWN) | st.just("Paused"))
def test_status_change_events_are_off_by_default(status: str) -> None:
    """Only the end of a job has an event by default, and it always has one."""
    entry = replace(ENTRY, status=status)
    assert bool(pending_for([entry], emit_status_changes=False)) == statuses.is_terminal(status)
    assert len(pending_for([entry], emit_status_changes=True)) == 1
    backfilled = replace(entry, backfilled=True)
    assert pending_for([backfilled], emit_status_changes=True) == frozenset()


@given(st.sampled_from(statuses.KNOWN), st.booleans())
def test_callbacks_are_pending_only_with_the_end(
    status: str,
    backfilled: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    """A task is called back when its job has ended, whether or not the end has an event."""
    entry = replace(ENTRY, status=status, backfilled=backfilled)
    pending_events = pending_for([entry], emit_status_changes=False, has_tasks=True)
    assert ("Tasks#5" in pending_events) == statuses.is_terminal(status)


def test_recorded_message_is_omitted_with_record_messages_off() -> None:
    """With `recordMessages` off no event has a message, whatever is recorded."""
    entry = replace(ENTRY, status="Failed", message="a customer's text")
    record = replace(RECORD, last=entry)
    for event in (
        status_event(record, entry, with_message=False),
        condition_event(
            StoredJob(ARN, record), pending_unreachable(5, now=NOW), with_message=False
        ),
    ):
        assert "customer" not in event.detail
        assert_keeps_to_schema(as_delivered(event))
    assert "customer" in status_event(record, entry).detail


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("s3://out", "s3://out/abcdef123456/"),
        ("s3://out/", "s3://out/abcdef123456/"),
        ("s3://out/a/b", "s3://out/a/b/abcdef123456/"),
    ],
)
def test_output_uri_is_the_folder_of_the_job(prefix: str, expected: str) -> None:
    """The output URI contains the job ID, whether or not the configured prefix ends in a slash."""
    observation = replace(ENDED, output_data_config={"s3OutputDataConfig": {"s3Uri": prefix}})
    data = detail(status_event(replace(RECORD, observation=observation), ENTRY))["data"]
    assert isinstance(data, dict)
    assert data["outputS3Uri"] == expected


@pytest.mark.parametrize(
    ("running_since", "ended_at", "expected"),
    [
        (120, 3720, {"queuedSeconds": 120, "runningSeconds": 3600, "totalSeconds": 3720}),
        (None, 3720, {"totalSeconds": 3720}),
        (120, None, {"queuedSeconds": 120}),
        (None, None, None),
        (-5, 3720, {"totalSeconds": 3720}),
        (4000, 3720, {"queuedSeconds": 4000, "totalSeconds": 3720}),
    ],
)
def test_unknown_durations_are_absent(
    running_since: int | None, ended_at: int | None, expected: dict[str, int] | None
) -> None:
    """A duration follows from the times, or it is absent; it is never null and never negative."""
    observation = replace(
        ENDED, end_time=None if ended_at is None else SUBMITTED + timedelta(seconds=ended_at)
    )
    started = None if running_since is None else SUBMITTED + timedelta(seconds=running_since)
    data = detail(status_event(JobRecord(observation, ENTRY, started), ENTRY))["data"]
    assert isinstance(data, dict)
    assert data.get("durations") == expected


@given(st.lists(st.integers(min_value=1, max_value=BYTES_PER_CALL), max_size=60))
def test_put_events_calls_have_at_most_10_entries_and_256_kb(sizes: list[int]) -> None:
    """Batching keeps every event and its order, and no call is too long or too large."""
    events = [
        MonitorEvent(ARN, f"Ended#{position}", event_kinds.ENDED.detail_type, "x" * size, NOW)
        for position, size in enumerate(sizes, start=1)
    ]
    groups = list(calls(events))
    assert [event for group in groups for event in group] == events
    for group in groups:
        assert 1 <= len(group) <= ENTRIES_PER_CALL
        assert len(group) == 1 or sum(event.size for event in group) <= BYTES_PER_CALL


AT = "2026-11-24T20:30:16.123Z"
TEXTS = [
    *("", "Ended", "Ended#", "Ended#x", "Ended#-1", "#1", "Stalled#1", "Stalled#1#x#y", "Odd#1"),
    f"Stalled#1#{AT}#{AT}#lastProgress.processed=-1",
    f"Stalled#1#{AT}#{AT}#lastProgress.total",
    f"Stalled#1#{AT}#{AT}#odd=1",
    f"AtRisk#1#{AT}#{AT}#recordsPerMinute=nan",
    f"AtRisk#1#{AT}#{AT}#estimatedEndTime=soon",
]


@pytest.mark.parametrize("text", TEXTS)
def test_malformed_pending_event_is_refused(text: str) -> None:
    """The error quotes the text."""
    with pytest.raises(ValueError, match="is not a pending event") as caught:
        PendingEvent.parse(text)
    assert repr(text) in str(caught.value)


@given(
    st.sampled_from(event_kinds.CONDITIONS), st.integers(min_value=0, max_value=10**6), times, times
)
def test_pending_event_survives_a_round_trip(
    kind: EventKind, sequence: int, since: datetime, now: datetime
) -> None:
    """What the item stores of a pending event identifies it again, times included."""
    for pending_event in (PendingEvent("Ended", sequence), pending_of(kind, sequence, since, now)):
        assert PendingEvent.parse(str(pending_event)) == pending_event
        assert pending_event.is_condition == (pending_event.since is not None)


@given(
    seen_jobs,
    observations,
    st.booleans(),
    times,
    st.none() | st.just(DENIED),
    st.sampled_from(event_kinds.CONDITIONS),
)
def test_every_condition_event_matches_its_schema(  # noqa: PLR0913, PLR0917 - drawn by Hypothesis
    tracked: TrackedJob,
    observation: JobObservation,
    was_seen: bool,  # noqa: FBT001 - drawn by Hypothesis
    since: datetime,
    error: JobError | None,
    kind: EventKind,
) -> None:
    """Whatever is known of a job, the events of its conditions are valid and described."""
    decision = decide(
        replace(tracked, status=None), observation, now=NOW, observed_by="poll", rules=RULES
    )
    assert isinstance(decision, Transition)
    record = JobRecord(observation, decision.entry, decision.first_in_progress_at)
    stored = StoredJob(ARN, record if was_seen else None, last_error=error)
    event = condition_event(stored, pending_of(kind, tracked.sequence, since, max(NOW, since)))
    assert_keeps_to_schema(as_delivered(event))
    assert event == condition_event(stored, PendingEvent.parse(event.pending_event))


def test_condition_event_of_a_transition_is_refused() -> None:
    """An event of a condition cannot be made from the pending event of a transition."""
    with pytest.raises(ValueError, match="Ended#5 is not the event of a condition"):
        condition_event(StoredJob(ARN), PendingEvent("Ended", 5))
