from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.conditions import Finding
from bedrock_batch_monitor.domain.error_analysis import ErrorAnalysis
from bedrock_batch_monitor.domain.event_kinds import EventKind
from bedrock_batch_monitor.domain.events import (
    BYTES_PER_CALL,
    ENTRIES_PER_CALL,
    MonitorEvent,
    PendingEvent,
    calls,
    condition_event,
    errors_event,
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
    Usage,
)
from bedrock_batch_monitor.domain.times import from_iso
from bedrock_batch_monitor.domain.transitions import Transition, decide, end_id, event_id
from tests.docs import schemas
from tests.support.contracts import FILES, SCHEMAS, as_delivered, assert_keeps_to_schema, schema_of
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


@pytest.mark.parametrize("kind", event_kinds.KINDS, ids=lambda kind: kind.name)
def test_published_schema_and_sample_have_what_is_declared_of_the_kind(kind: EventKind) -> None:
    """Subscribers generate code from them: types, required fields and examples are a promise."""
    published = schema_of(kind.detail_type)
    assert published == schemas.schema_for(kind)
    sample = (SCHEMAS / "v1/samples" / FILES[kind.detail_type]).read_text()
    assert json.loads(sample) == schemas.sample_of(kind)
    data = published["properties"]["detail"]["properties"]["data"]
    assert ("jobArn" in data["properties"]) == kind.is_about_job
    assert ("error" in data["properties"]) == kind.has_error
    for field in kind.fields:
        *outer, name = field.name.split(".")
        owner = data["properties"][outer[0]] if outer else data
        assert owner["properties"][name]["type"] == field.type.json_type
        assert (name in owner.get("required", ())) == field.is_required


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
    assert "customer" in (
        condition_event(StoredJob(ARN, record), pending_unreachable(5, now=NOW)).detail
    )


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
        (3720, 3720, {"queuedSeconds": 3720, "runningSeconds": 0, "totalSeconds": 3720}),
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


def examples(kind: EventKind) -> dict[str, Any]:
    """The example of each field, as the samples of the reference have it."""
    fields = (*kind.fields, *((kind.since,) if kind.since is not None else ()))
    return {field.name: field.example for field in fields}


def test_example_of_each_field_has_its_type() -> None:
    """As JSON Schema names it."""
    types = {"string": str, "integer": int, "number": float}
    for kind in event_kinds.KINDS:
        for field in kind.fields:
            assert type(field.example) is types[field.type.json_type]


def test_examples_of_events_fit_together() -> None:
    """A reader of a sample can calculate one value from the others."""
    stalled = examples(event_kinds.STALLED)
    since = from_iso(stalled["stalledSince"])
    assert NOW - since == timedelta(seconds=stalled["stalledSeconds"])
    assert stalled["lastProgress.at"] == stalled["stalledSince"]
    began = RECORD.first_in_progress_at
    assert began is not None
    minutes = (since - began) / timedelta(minutes=1)
    assert stalled["lastProgress.processed"] == minutes * stalled["lastProgress.recordsPerMinute"]
    risk = examples(event_kinds.AT_RISK)
    assert risk["atRiskSince"] == AT
    left = stalled["lastProgress.total"] - stalled["lastProgress.processed"]
    ends_at = NOW + timedelta(minutes=left / risk["recordsPerMinute"])
    assert from_iso(risk["estimatedEndTime"]) == ends_at
    assert risk["risk.estimatedEndTime"] == risk["estimatedEndTime"]
    expiration = from_iso(risk["jobExpirationTime"])
    assert ends_at - expiration == timedelta(seconds=risk["secondsPastExpiration"])
    assert risk["risk.at"] == risk["jobExpirationTime"]
    slots = examples(event_kinds.SLOTS_AVAILABLE)
    assert slots["slots.active"] + slots["slots.free"] == slots["slots.limit"] == 20


def events_of(*sizes: int) -> list[MonitorEvent]:
    """Events of so many bytes, as EventBridge counts them."""
    empty = MonitorEvent(ARN, "Ended#1", event_kinds.ENDED.detail_type, "", NOW)
    return [replace(empty, detail="x" * (size - empty.size)) for size in sizes]


@pytest.mark.parametrize(
    ("sizes", "entries"),
    [
        ([], []),
        ([300] * 10, [10]),
        ([300] * 11, [10, 1]),
        ([300] * 25, [10, 10, 5]),
        ([128 * 1024] * 4, [2, 2]),
        ([128 * 1024, 128 * 1024 + 1], [1, 1]),
        ([300, 256 * 1024 - 300, 300], [2, 1]),
        # Larger than a call: EventBridge refuses it, and no other with it.
        ([300, 300 * 1024, 300], [1, 1, 1]),
    ],
)
def test_put_events_calls_are_as_full_as_they_can_be(sizes: list[int], entries: list[int]) -> None:
    """Ten events or 256 KB are in one call."""
    assert [len(group) for group in calls(events_of(*sizes))] == entries


def test_size_of_an_event_is_counted_in_bytes() -> None:
    """The time counts 14, as the user guide of EventBridge says, and a letter up to four."""
    event = MonitorEvent("arn", "Ended#1", "type", "\u00fc\U0001f468", NOW)
    assert event.size == 14 + len("bedrock-batch-monitor") + len("arn") + len("type") + 2 + 4


def test_events_are_equal_whatever_else_is_pending() -> None:
    """The same event is made again from the item, in which more can be pending."""
    one = status_event(RECORD, ENTRY)
    assert one == status_event(RECORD, ENTRY, all_pending=frozenset({"Ended#5"}))
    assert one != replace(one, detail="{}")


def test_only_events_that_the_history_does_not_have_are_copied() -> None:
    """The history has the end and every change of the status; slots have an item of their own."""
    kinds = event_kinds.BY_NAME
    copied = {
        name: MonitorEvent(ARN, f"{name}#1", kind.detail_type, "", NOW).has_copy
        for name, kind in kinds.items()
    }
    assert {name for name, has_copy in copied.items() if not has_copy} == {"Ended", "StatusChanged"}
    slots = kinds["SlotsAvailable"].detail_type
    scope = Scope("123456789012", "us-east-1")
    assert not MonitorEvent(ARN, "{}", slots, "", NOW, slots_of=scope).has_copy


def test_end_without_an_event_id_is_not_pending() -> None:
    """A version that did not know the status recorded it; the entries after it still count."""
    unknown = replace(ENTRY, event_id=None)
    later = replace(ENTRY, sequence=6)
    found = pending_for([unknown, later], emit_status_changes=True, has_tasks=True)
    assert found == {"Ended#6", "Tasks#6"}


def test_facts_of_a_pending_event_are_read_by_their_types() -> None:
    """A name with a dot is a field of an inner object."""
    text = (
        f"Stalled#4#{AT}#{AT}#stalledSeconds=2700#lastProgress.at={AT}#lastProgress.total=1000"
        "#lastProgress.recordsPerMinute=2.5"
    )
    pending_event = PendingEvent.parse(text)
    assert pending_event.fact_values() == {
        "stalledSeconds": 2700,
        "lastProgress": {"at": AT, "total": 1000, "recordsPerMinute": 2.5},
    }
    assert (str(pending_event), pending_event.name) == (text, f"Stalled#4#{AT}#{AT}")
    assert PendingEvent.parse(f"AtRisk#1#{AT}#{AT}#risk.reason=queue").fact_values() == {
        "risk": {"reason": "queue"}
    }


def test_events_of_conditions_have_the_error_only_if_it_is_their_cause() -> None:
    """A job that cannot be read; its other conditions are known from earlier reads."""
    stored = StoredJob(ARN, RUNNING, last_error=DENIED, pending_events=frozenset({"Ended#5"}))
    lost = condition_event(stored, pending_unreachable(4, now=NOW))
    data = detail(lost)["data"]
    assert isinstance(data, dict)
    assert data["error"] == {"code": DENIED.code, "message": DENIED.message}
    assert data["unreachableSince"] == AT
    assert (data["account"], data["region"]) == ("123456789012", "us-east-1")
    assert data["status"] == "InProgress"
    assert lost.all_pending == {"Ended#5"}
    assert lost.time == NOW
    missed = condition_event(stored, PendingEvent("DeadlineMissed", 4, NOW, NOW))
    data = detail(missed)["data"]
    assert isinstance(data, dict)
    assert "error" not in data
    never_read = detail(condition_event(StoredJob(ARN), pending_unreachable(0, now=NOW)))["data"]
    assert never_read == {
        "jobArn": ARN,
        "account": "123456789012",
        "region": "us-east-1",
        "unreachableSince": AT,
    }


def test_event_of_an_end_has_every_known_field() -> None:
    """In the order of the reference; what is not known is absent."""
    usage = Usage(1000, 0, Decimal("0.000250"))
    entry = replace(ENTRY, usage=usage, outcome="CompletedWithErrors", message="done")
    record = JobRecord(ENDED, entry, SUBMITTED + timedelta(seconds=120), {"team": "a"})
    event = status_event(record, entry)
    assert detail(event) == {
        "metadata": {
            "schemaVersion": "1",
            "eventId": end_id(ARN),
            "sequence": 5,
            "observedBy": "poll",
            "observedAt": AT,
        },
        "data": {
            "jobArn": ARN,
            "jobName": "nightly-summaries",
            "modelId": "anthropic.claude-sonnet-4-20250514-v1:0",
            "account": "123456789012",
            "region": "us-east-1",
            "status": "Completed",
            "previousStatus": "InProgress",
            "outcome": "CompletedWithErrors",
            "message": "done",
            "submitTime": "2026-11-24T19:28:16.123Z",
            "endTime": AT,
            "changedAt": AT,
            "durations": {"queuedSeconds": 120, "runningSeconds": 3600, "totalSeconds": 3720},
            "records": {
                "total": 1000,
                "processed": 1000,
                "success": 998,
                "error": 2,
                "errorShare": 0.002,
            },
            "tokens": {"input": 1000, "output": 0},
            "estimatedCostUsd": 0.00025,
            "tags": {"team": "a"},
            "inputS3Uri": "s3://in/records.jsonl",
            "outputS3Uri": "s3://out/results/abcdef123456/",
            "modelInvocationType": "InvokeModel",
        },
    }


def test_status_change_has_no_end_and_knows_only_what_was_known_then() -> None:
    """A repeated event has the same content as the first one, although more is known by now."""
    queued = replace(RUNNING.last, status="Scheduled", changed_at=SUBMITTED + timedelta(seconds=60))
    running_since = SUBMITTED + timedelta(seconds=120)

    def durations_of(entry: HistoryEntry, since: datetime | None) -> object:
        data = detail(status_event(JobRecord(ENDED, entry, since), entry))["data"]
        assert isinstance(data, dict)
        assert "endTime" not in data
        return data.get("durations")

    assert durations_of(RUNNING.last, running_since) == {"queuedSeconds": 120}
    assert durations_of(queued, running_since) is None
    assert durations_of(replace(RUNNING.last, changed_at=None), running_since) is None
    assert durations_of(RUNNING.last, None) is None


AT = "2026-11-24T20:30:16.123Z"
TEXTS = [
    *("", "Ended", "Ended#", "Ended#x", "Ended#-1", "#1", "Stalled#1", "Stalled#1#x#y", "Odd#1"),
    f"Stalled#1#{AT}#{AT}#lastProgress.processed=-1",
    f"Stalled#1#{AT}#{AT}#lastProgress.total",
    f"Stalled#1#{AT}#{AT}#odd=1",
    f"AtRisk#1#{AT}#{AT}#recordsPerMinute=nan",
    f"AtRisk#1#{AT}#{AT}#estimatedEndTime=soon",
    f"AtRisk#1#{AT}#{AT}#recordsPerMinute=inf",
    f"AtRisk#1#{AT}#{AT}#risk.reason=a1",
    f"AtRisk#1#{AT}#{AT}#risk.reason=",
    f"AtRisk#1#{AT}#{AT}#risk.reason=\u00fcber",
    f"Stalled#1#{AT}#{AT}#stalledSeconds=\u00b2",
    f"Stalled#1#{AT}#{AT}#stalledSeconds=",
    f"Stalled#1#{AT}",
    "Ended#\u00b2",
    "Tasks#-1",
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


def test_event_about_failed_records_has_groups_and_summary() -> None:
    """It is about the last transition; a job that was never read has none."""
    summary = {"analyzedAt": "2026-11-24T20:31:16.123Z", "complete": True}
    analysis = ErrorAnalysis(({"count": 2},), summary)
    entry = replace(ENTRY, message="a text")
    event = errors_event(StoredJob(ARN, replace(RECORD, last=entry)), analysis)
    data = detail(event)["data"]
    assert isinstance(data, dict)
    assert (data["errorGroups"], data["errorAnalysis"]) == ([{"count": 2}], summary)
    assert (data["status"], data["message"]) == ("Completed", "a text")
    assert (event.pending_event, event.time) == ("ErrorsAnalyzed#5", NOW + timedelta(minutes=1))
    assert detail(event)["metadata"] == {
        "schemaVersion": "1",
        "eventId": event_id(ARN, "ErrorsAnalyzed"),
        "sequence": 5,
        "observedBy": "event",
        "observedAt": "2026-11-24T20:31:16.123Z",
    }
    with pytest.raises(ValueError, match="was never read"):
        errors_event(StoredJob(ARN), analysis)


def test_condition_event_of_a_transition_is_refused() -> None:
    """An event of a condition cannot be made from the pending event of a transition."""
    with pytest.raises(ValueError, match="Ended#5 is not the event of a condition"):
        condition_event(StoredJob(ARN), PendingEvent("Ended", 5))
