from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.domain.jobs import JobError, JobObservation, TrackedJob
from bedrock_batch_monitor.domain.progress import UNKNOWN, Estimate
from bedrock_batch_monitor.domain.transitions import Transition, decide
from tests.support import full_job
from tests.support.full_job import at
from tests.support.monitor import RULES
from tests.support.strategies import (
    ARN,
    NOW,
    observations,
    optional_times,
    seen_jobs,
    tracked_jobs,
)

WITH_LATER_USAGE = replace(
    full_job.STORED,
    record=replace(full_job.RECORD, last=replace(full_job.ENTRY, usage=None)),
)


def without(item: full_job.Item, name: str) -> full_job.Item:
    """The item without an attribute."""
    return {each: value for each, value in item.items() if each != name}


def transition(tracked: TrackedJob, observation: JobObservation) -> Transition | None:
    decision = decide(
        replace(tracked, status=None),
        observation,
        now=NOW,
        observed_by="poll",
        rules=RULES,
    )
    return decision if isinstance(decision, Transition) else None


@given(tracked_jobs, observations)
def test_transition_survives_a_round_trip(tracked: TrackedJob, observation: JobObservation) -> None:
    """The job item and the history item contain the observation and the transition."""
    moved = transition(tracked, observation)
    if moved is None:
        return
    item = {
        "jobArn": items.text(ARN),
        **items.observed_attributes(observation),
        **items.transition_attributes(moved.entry, moved.first_in_progress_at),
    }
    counts = observation.counts.not_below(tracked.counts)
    observation = replace(observation, counts=counts)
    item |= items.observed_attributes(observation)
    record = items.job_record(item)
    assert record.observation == observation
    assert record.last == moved.entry
    assert record.first_in_progress_at == moved.first_in_progress_at
    # The history does not repeat when a job was submitted.
    known = replace(tracked, status=None).after(moved.entry)
    assert items.tracked_job(item) == replace(known, submit_time=observation.submit_time)
    assert items.history_entry(items.history_item(moved.entry, None)) == moved.entry


@given(seen_jobs, observations, optional_times)
def test_history_expires_only_with_a_retention(
    tracked: TrackedJob, observation: JobObservation, expires_at: datetime | None
) -> None:
    """The time to live is in epoch seconds, and absent when history is kept indefinitely."""
    moved = transition(tracked, observation)
    assert moved is not None
    item = items.history_item(moved.entry, expires_at)
    if expires_at is None:
        assert "expiresAt" not in item
    else:
        assert item["expiresAt"] == {"N": str(int(expires_at.timestamp()))}


def test_observation_is_stored_under_the_names_of_bedrock() -> None:
    """All that GetModelInvocationJob returns; the ARN is the key."""
    assert items.observed_attributes(full_job.OBSERVATION) == full_job.OF_OBSERVATION


def test_transition_is_repeated_in_the_item_of_its_job() -> None:
    """What the observation says in addition is not part of it."""
    assert items.transition_attributes(full_job.ENTRY, at(7)) == {
        **full_job.OF_TRANSITION,
        **full_job.OF_USAGE,
        **full_job.OF_FIRST_IN_PROGRESS,
        # The status has just changed.
        "progressAt": full_job.OF_TRANSITION["observedAt"],
    }


def test_history_entry_is_stored_with_all_that_is_known_of_the_transition() -> None:
    """It is read as it was written."""
    item = items.history_item(full_job.ENTRY, None)
    assert item == full_job.OF_ENTRY
    assert items.history_entry(item) == full_job.ENTRY


def test_history_entry_of_an_end_is_stored_with_the_whole_job() -> None:
    """A lost item is restored from it; it expires with the other entries."""
    item = items.history_item(full_job.ENTRY, at(30), full_job.RECORD)
    assert item == {
        **full_job.OF_ENTRY,
        **full_job.OF_OBSERVATION,
        **full_job.OF_TAGS,
        **full_job.OF_FIRST_IN_PROGRESS,
        "expiresAt": {"N": "1795552216"},
    }
    assert items.job_record(item) == full_job.RECORD


def test_estimate_and_usage_are_stored_under_the_names_of_the_contract() -> None:
    assert items.estimate_attributes(full_job.ESTIMATE) == full_job.OF_ESTIMATE
    assert items.usage_attributes(full_job.USAGE) == full_job.OF_USAGE
    assert items.follow_up_attributes(full_job.FOLLOW_UP) == full_job.OF_FOLLOW_UP


def test_item_with_every_attribute_is_read_as_a_tracked_job() -> None:
    assert items.tracked_job(full_job.ITEM) == full_job.TRACKED


def test_item_with_every_attribute_is_read_as_a_stored_job() -> None:
    """Usage that was found after the end is no part of what the event of the end says."""
    assert items.stored_job(full_job.ITEM) == WITH_LATER_USAGE
    at_the_end = without(full_job.ITEM, "usageReadAt")
    assert items.stored_job(at_the_end) == full_job.STORED


def test_item_without_a_sequence_is_read_as_a_job_that_was_never_read() -> None:
    """What was written by the monitor about reads and tasks counts, and no observation."""
    assert items.tracked_job(without(full_job.ITEM, "sequence")) == TrackedJob(
        job_arn=ARN,
        last_error=full_job.ERROR,
        unreadable_polls=2,
        unreachable_since=at(11),
        failing_since=at(12),
        backfilled=True,
        task_revision=4,
        deadline="2026-11-24T20:19:16.123Z",
        tags_pending=True,
    )


NO_TEXT, NO_COUNT, NO_TIME = "a string", "a whole number from 0", "a time such as"
REFUSED: dict[str, tuple[Any, tuple[str, ...]]] = {
    NO_TEXT: (
        {"N": "1"},
        (
            *("status", "previousStatus", "observedBy", "eventId", "outcome", "jobName"),
            *("modelId", "message", "roleArn", "clientRequestToken", "modelInvocationType"),
            "deadline",
        ),
    ),
    NO_COUNT: (
        {"N": "1.5"},
        (
            *("sequence", "secondsInPreviousStatus", "timeoutDurationInHours"),
            *("totalRecordCount", "processedRecordCount"),
            *("successRecordCount", "errorRecordCount", "unreadablePolls", "taskRevision"),
        ),
    ),
    NO_TIME: (
        {"S": "soon"},
        (
            *("changedAt", "observedAt", "firstInProgressAt", "progressAt", "submitTime"),
            *("lastModifiedTime", "endTime", "jobExpirationTime"),
            *("unreachableSince", "failingSince"),
        ),
    ),
    "a number above 0": ({"N": "0"}, ("recordsPerMinute",)),
    "a number from 0 to 1": ({"N": "1.1"}, ("errorShare",)),
    "a map": ({"S": "{}"}, ("inputDataConfig", "outputDataConfig", "vpcConfig")),
    "a map of times": ({"M": {"Stalled": {"S": "soon"}}}, ("conditions",)),
    "a set of strings": ({"S": "Ended#3"}, ("pendingEvents",)),
}


@pytest.mark.parametrize("expected", REFUSED)
def test_attribute_on_which_something_depends_is_refused_with_another_value(expected: str) -> None:
    """A poll and the relay either refuse the item, or do not read the attribute."""
    value, names = REFUSED[expected]
    for name in names:
        refusals = []
        for read, whole in (
            (items.tracked_job, full_job.TRACKED),
            (items.stored_job, WITH_LATER_USAGE),
        ):
            try:
                assert read(full_job.ITEM | {name: value}) == whole
            except items.InvalidItemError as error:
                refusals.append(str(error))
        assert refusals
        for refusal in refusals:
            assert refusal.startswith(f"attribute {name} is {value}, expected {expected}")


def test_attribute_on_which_nothing_depends_is_unknown_with_another_value() -> None:
    """A value that was written by hand stops neither a poll nor an event."""
    names = (
        *("tags", "lastError", "pendingSince", "usageDueAt", "deadlineBy", "commandAt"),
        *("tokens", "estimatedCostUsd", "trackedAt", "eventPublishedAt", "usageReadAt"),
        *("lastErrorAt", "estimatedEndTime", "taskTokenErrorAt", "lastStalled"),
    )
    item = full_job.ITEM | {name: {"BOOL": False} for name in names}
    assert items.tracked_job(item) == replace(full_job.TRACKED, last_error=None)
    assert items.stored_job(item) == replace(
        full_job.STORED,
        record=replace(full_job.RECORD, last=replace(full_job.ENTRY, usage=None), tags={}),
        last_error=None,
        pending_since=None,
        usage_due_at=None,
        deadline_by=None,
    )
    assert items.command_at(item) is None
    assert items.usage(item) is None


def test_wrong_value_is_shown_up_to_80_characters() -> None:
    """As DynamoDB JSON; the rest of a longer one could be anything."""
    for characters, shown in ((71, "x" * 71 + "'},"), (72, "x" * 72 + "'…,")):
        item = full_job.ITEM | {"changedAt": items.text("x" * characters)}
        with pytest.raises(items.InvalidItemError) as caught:
            items.tracked_job(item)
        assert str(caught.value).startswith(
            f"attribute changedAt is {{'S': '{shown} expected a time"
        )


def test_manually_tracked_job_is_new() -> None:
    """Two attributes are enough; nothing is known of such a job yet."""
    item = {"jobArn": items.text(ARN), "tracking": items.text("ACTIVE")}
    assert items.tracked_job(item) == TrackedJob(job_arn=ARN)


def test_item_without_a_sequence_is_a_new_job() -> None:
    """A manually written status cannot make a job look ended."""
    item = {"jobArn": items.text(ARN), "status": items.text("Completed")}
    assert items.tracked_job(item) == TrackedJob(job_arn=ARN)


@pytest.mark.parametrize(
    ("attribute", "value", "expected"),
    [
        ("sequence", {"S": "one"}, "a whole number from 0"),
        ("sequence", {"N": "-1"}, "a whole number from 0"),
        ("sequence", {"N": "1.5"}, "a whole number from 0"),
        ("status", {"N": "1"}, "a string"),
        ("changedAt", {"S": "yesterday"}, "a time such as"),
        ("changedAt", {"S": "2026-11-24T20:30:16"}, "a time such as"),
        ("changedAt", {"BOOL": True}, "a time such as"),
        ("totalRecordCount", {"S": "12"}, "a whole number from 0"),
        ("recordsPerMinute", {"S": "12"}, "a number above 0"),
        ("recordsPerMinute", {"N": "0"}, "a number above 0"),
        ("recordsPerMinute", {"N": "-1.5"}, "a number above 0"),
        ("conditions", {"S": "Stalled"}, "a map of times"),
        ("conditions", {"M": {"AtRisk": {"S": "yesterday"}}}, "a map of times"),
        ("changedAt", {"S": "x" * 5000}, "a time such as"),
    ],
)
def test_invalid_attribute_is_named_with_the_remedy(
    attribute: str, value: dict[str, object], expected: str
) -> None:
    """The error contains the name of the attribute, what was expected, and what to do."""
    item = {
        "jobArn": items.text(ARN),
        "sequence": items.number(1),
        "status": items.text("InProgress"),
        attribute: value,
    }
    with pytest.raises(items.InvalidItemError) as caught:
        items.tracked_job(item)  # type: ignore[arg-type]
    assert attribute in str(caught.value)
    assert expected in str(caught.value)
    assert "delete the item and put it again" in str(caught.value)
    assert len(str(caught.value)) < 400


@given(
    st.floats(min_value=1e-9, max_value=1e15).map(lambda pace: float(f"{pace:.6g}")),
    optional_times,
)
def test_estimate_survives_a_round_trip(pace: float, ends_at: datetime | None) -> None:
    """The next estimate starts from exactly the rate that was written, as a plain number."""
    written = items.estimate_attributes(Estimate(pace, ends_at))
    item = {
        "jobArn": items.text(ARN),
        "sequence": items.number(1),
        "status": items.text("InProgress"),
        **written,
    }
    assert items.tracked_job(item).records_per_minute == pace
    assert "e" not in written["recordsPerMinute"]["N"].lower()
    assert written.get("estimatedEndTime") == (None if ends_at is None else items.time(ends_at))
    assert items.estimate_attributes(UNKNOWN) == {}


def test_sequence_without_a_status_is_refused() -> None:
    """An item that lost its status cannot be tracked."""
    with pytest.raises(items.InvalidItemError, match="attribute status is missing"):
        items.tracked_job({"jobArn": items.text(ARN), "sequence": items.number(2)})


@pytest.mark.parametrize(
    "value",
    [
        {"S": "denied"},
        {"M": {}},
        {"M": {"code": {"N": "1"}}},
        {"M": {"code": {"S": "denied"}}},
        {"M": {"message": {"S": "no"}}},
    ],
)
def test_invalid_last_error_is_ignored(value: dict[str, object]) -> None:
    """A `lastError` in another form is written again instead of failing the read."""
    item = {"jobArn": items.text(ARN), "lastError": value}
    assert items.last_error(item) is None  # type: ignore[arg-type]


def test_last_error_survives_a_round_trip() -> None:
    """The error of a job that cannot be read is known at the next poll."""
    noted = JobError("AccessDeniedException", "no")
    assert items.last_error({"jobArn": items.text(ARN), "lastError": items.error(noted)}) == noted


def test_time_with_any_offset_is_read() -> None:
    """A time that a person wrote with another offset is the same moment."""
    item = {
        "jobArn": items.text(ARN),
        "sequence": items.number(1),
        "status": items.text("InProgress"),
        "changedAt": items.text("2026-11-24T22:30:16.123+02:00"),
    }
    assert items.tracked_job(item).changed_at == datetime(2026, 11, 24, 20, 30, 16, 123000, UTC)
