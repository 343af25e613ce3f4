from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.domain.jobs import JobError, JobObservation, TrackedJob
from bedrock_batch_monitor.domain.progress import UNKNOWN, Estimate
from bedrock_batch_monitor.domain.transitions import Transition, decide
from tests.support.monitor import RULES
from tests.support.strategies import (
    ARN,
    NOW,
    observations,
    optional_times,
    seen_jobs,
    tracked_jobs,
)


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


def test_attributes_have_the_names_of_the_contract() -> None:
    """Every attribute of a full job item is one that the contract or the monitor's index names."""
    observation = JobObservation(
        job_arn=ARN,
        status="Completed",
        model_id="m",
        job_name="n",
        message="x",
        submit_time=NOW,
        last_modified_time=NOW,
        end_time=NOW,
        job_expiration_time=NOW,
        timeout_duration_in_hours=24,
        role_arn="r",
        client_request_token="t",  # noqa: S106 - an idempotency token
        model_invocation_type="Converse",
        input_data_config={"s3InputDataConfig": {"s3Uri": "s3://in/"}},
        output_data_config={"s3OutputDataConfig": {"s3Uri": "s3://out/"}},
        vpc_config={"subnetIds": ["s"], "securityGroupIds": ["g"]},
    )
    assert items.observed_attributes(observation) == {
        "jobName": {"S": "n"},
        "modelId": {"S": "m"},
        "status": {"S": "Completed"},
        "message": {"S": "x"},
        "roleArn": {"S": "r"},
        "clientRequestToken": {"S": "t"},
        "modelInvocationType": {"S": "Converse"},
        "submitTime": {"S": "2026-11-24T20:30:16.123Z"},
        "lastModifiedTime": {"S": "2026-11-24T20:30:16.123Z"},
        "endTime": {"S": "2026-11-24T20:30:16.123Z"},
        "jobExpirationTime": {"S": "2026-11-24T20:30:16.123Z"},
        "inputDataConfig": {"M": {"s3InputDataConfig": {"M": {"s3Uri": {"S": "s3://in/"}}}}},
        "outputDataConfig": {"M": {"s3OutputDataConfig": {"M": {"s3Uri": {"S": "s3://out/"}}}}},
        "vpcConfig": {
            "M": {"subnetIds": {"L": [{"S": "s"}]}, "securityGroupIds": {"L": [{"S": "g"}]}}
        },
        "timeoutDurationInHours": {"N": "24"},
    }


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
