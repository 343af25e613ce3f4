from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import (
    BYTES_PER_CALL,
    ENTRIES_PER_CALL,
    MonitorEvent,
    PendingEvent,
    calls,
    episode_event,
    pending_at_risk,
    pending_for,
    pending_stalled,
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
from bedrock_batch_monitor.domain.progress import Estimate
from bedrock_batch_monitor.domain.transitions import Transition, decide, end_id
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


def test_the_whole_event() -> None:
    """An ending becomes the event that the published sample shows, key by key."""
    usage = Usage(812_345, 104_020, Decimal("1.998668"))
    event = status_event(RECORD, replace(ENTRY, usage=usage))
    sample = json.loads((SCHEMAS / "v1/samples/batch-inference-job-ended.json").read_text())
    assert as_delivered(event) == {
        key: sample[key] for key in ("source", "detail-type", "resources", "detail")
    }
    assert event.pending_event == "Ended#5"
    assert event.time == NOW


def test_the_whole_status_change() -> None:
    """A non-terminal transition becomes the event that the published sample shows."""
    running = replace(ENDED, status="InProgress", end_time=None, counts=RecordCounts(total=1000))
    entry = HistoryEntry(
        job_arn=ARN,
        sequence=4,
        status="InProgress",
        previous_status="Scheduled",
        observed_at=NOW,
        observed_by="poll",
        changed_at=SUBMITTED + timedelta(seconds=120),
        job_name=running.job_name,
        model_id=running.model_id,
        counts=running.counts,
    )
    event = status_event(JobRecord(running, entry, entry.changed_at), entry)
    sample = json.loads(
        (SCHEMAS / "v1/samples/batch-inference-job-status-changed.json").read_text()
    )
    assert as_delivered(event) == {
        key: sample[key] for key in ("source", "detail-type", "resources", "detail")
    }


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

LATE = Estimate(0.4, NOW + timedelta(minutes=1450))


def test_the_whole_stalled_event() -> None:
    """A job that stands still becomes the event that the published sample shows."""
    known = TrackedJob(
        ARN, sequence=4, counts=RecordCounts(1000, 420, 420, 0), records_per_minute=28
    )
    pending_event = pending_stalled(known, since=NOW - timedelta(minutes=45), now=NOW)
    event = episode_event(StoredJob(ARN, RUNNING), pending_event)
    sample = json.loads((SCHEMAS / "v1/samples/batch-inference-job-stalled.json").read_text())
    assert as_delivered(event) == {
        key: sample[key] for key in ("source", "detail-type", "resources", "detail")
    }


def test_the_whole_at_risk_event() -> None:
    """A job that is expected to end too late becomes the event that the published sample shows."""
    pending_event = pending_at_risk(4, LATE, NOW + timedelta(hours=23), now=NOW)
    event = episode_event(StoredJob(ARN, RUNNING), pending_event)
    sample = json.loads((SCHEMAS / "v1/samples/batch-inference-job-at-risk.json").read_text())
    assert as_delivered(event) == {
        key: sample[key] for key in ("source", "detail-type", "resources", "detail")
    }


def test_the_whole_unreachable_event() -> None:
    """A job that cannot be read becomes the event that the published sample shows."""
    stored = StoredJob(ARN, RUNNING, last_error=DENIED)
    event = episode_event(stored, pending_unreachable(4, now=NOW))
    sample = json.loads((SCHEMAS / "v1/samples/batch-inference-job-unreachable.json").read_text())
    assert as_delivered(event) == {
        key: sample[key] for key in ("source", "detail-type", "resources", "detail")
    }


@pytest.mark.parametrize("name", sorted(path.name for path in (SCHEMAS / "v1").glob("*.json")))
def test_schemas_are_draft_4_and_have_a_valid_sample(name: str) -> None:
    """Each schema is one that an EventBridge schema registry takes, and its sample is valid."""
    schema = json.loads((SCHEMAS / "v1" / name).read_text())
    jsonschema.Draft4Validator.check_schema(schema)
    sample = json.loads((SCHEMAS / "v1/samples" / name).read_text())
    assert_keeps_to_schema(sample)
    assert schema_of(sample["detail-type"]) == schema


@given(tracked_jobs, observations, st.sampled_from(["poll", "event"]))
def test_every_event_keeps_to_its_schema(
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
def test_status_changes_are_off_unless_asked_for(status: str) -> None:
    """Only the end of a job has an event by default, and it always has one."""
    entry = replace(ENTRY, status=status)
    assert bool(pending_for([entry], emit_status_changes=False)) == statuses.is_terminal(status)
    assert len(pending_for([entry], emit_status_changes=True)) == 1
    backfilled = replace(entry, backfilled=True)
    assert pending_for([backfilled], emit_status_changes=True) == frozenset()


@given(st.sampled_from(statuses.KNOWN), st.booleans())
def test_tasks_are_pending_with_the_end_alone(
    status: str,
    backfilled: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    """A task is called back when its job has ended, whether or not the end has an event."""
    entry = replace(ENTRY, status=status, backfilled=backfilled)
    pending_events = pending_for([entry], emit_status_changes=False, has_tasks=True)
    assert ("Tasks#5" in pending_events) == statuses.is_terminal(status)


def test_message_that_was_recorded_before_is_left_out_on_request() -> None:
    """With `recordMessages` off no event has a message, whatever is recorded."""
    entry = replace(ENTRY, status="Failed", message="a customer's text")
    record = replace(RECORD, last=entry)
    for event in (
        status_event(record, entry, with_message=False),
        episode_event(StoredJob(ARN, record), pending_unreachable(5, now=NOW), with_message=False),
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
def test_the_output_is_in_the_folder_of_the_job(prefix: str, expected: str) -> None:
    """The output URI has the job's id, whether or not the configured prefix ends in a slash."""
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
def test_unknown_durations_are_left_out(
    running_since: int | None, ended_at: int | None, expected: dict[str, int] | None
) -> None:
    """A duration is what the times say, or it is absent; it is never null and never negative."""
    observation = replace(
        ENDED, end_time=None if ended_at is None else SUBMITTED + timedelta(seconds=ended_at)
    )
    started = None if running_since is None else SUBMITTED + timedelta(seconds=running_since)
    data = detail(status_event(JobRecord(observation, ENTRY, started), ENTRY))["data"]
    assert isinstance(data, dict)
    assert data.get("durations") == expected


@given(st.lists(st.integers(min_value=1, max_value=BYTES_PER_CALL), max_size=60))
def test_calls_hold_ten_entries_and_256_kilobytes(sizes: list[int]) -> None:
    """Grouping keeps every event and its order, and no call is too long or too large."""
    events = [
        MonitorEvent(ARN, f"Ended#{position}", contract.JOB_ENDED, "x" * size, NOW)
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
    f"Stalled#1#{AT}#{AT}#processed=-1",
    f"Stalled#1#{AT}#{AT}#total",
    f"Stalled#1#{AT}#{AT}#odd=1",
    f"AtRisk#1#{AT}#{AT}#recordsPerMinute=nan",
    f"AtRisk#1#{AT}#{AT}#estimatedEndTime=soon",
]


@pytest.mark.parametrize("text", TEXTS)
def test_other_texts_are_no_marks(text: str) -> None:
    """A mark that the monitor did not write is refused by name."""
    with pytest.raises(ValueError, match="is no mark of an event") as caught:
        PendingEvent.parse(text)
    assert repr(text) in str(caught.value)


@given(st.integers(min_value=0, max_value=10**6), times, times, seen_jobs)
def test_marks_read_back(sequence: int, since: datetime, now: datetime, job: TrackedJob) -> None:
    """What the item says of a waiting event is enough to name it again, times included."""
    for pending_event in (
        PendingEvent("Ended", sequence),
        pending_stalled(replace(job, sequence=sequence), since=since, now=now),
        pending_unreachable(sequence, now=now),
        pending_at_risk(sequence, Estimate(job.records_per_minute, now), since, now=now),
    ):
        assert PendingEvent.parse(str(pending_event)) == pending_event
        assert pending_event.is_episode == (pending_event.since is not None)


@given(
    seen_jobs,
    observations,
    st.booleans(),
    times,
    st.none() | st.just(DENIED),
)
def test_every_event_of_an_episode_keeps_to_its_schema(
    tracked: TrackedJob,
    observation: JobObservation,
    was_seen: bool,  # noqa: FBT001 - drawn by Hypothesis
    since: datetime,
    error: JobError | None,
) -> None:
    """Whatever is known of a job, the events of its episodes are valid and described."""
    decision = decide(
        replace(tracked, status=None), observation, now=NOW, observed_by="poll", rules=RULES
    )
    assert isinstance(decision, Transition)
    record = JobRecord(observation, decision.entry, decision.first_in_progress_at)
    stored = StoredJob(ARN, record if was_seen else None, last_error=error)
    for pending_event in (
        pending_stalled(tracked, since=since, now=max(NOW, since)),
        pending_unreachable(tracked.sequence, now=NOW),
        pending_at_risk(tracked.sequence, LATE, NOW, now=since),
    ):
        event = episode_event(stored, pending_event)
        assert_keeps_to_schema(as_delivered(event))
        assert event == episode_event(stored, PendingEvent.parse(event.pending_event))


def test_a_transition_is_no_episode() -> None:
    """An event of an episode cannot be made from the mark of a transition."""
    with pytest.raises(ValueError, match="Ended#5 is not the mark of an episode"):
        episode_event(StoredJob(ARN), PendingEvent("Ended", 5))
