"""Hypothesis strategies for the domain's values, implausible ones included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import JobError, JobObservation, RecordCounts, TrackedJob
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.times import to_milliseconds

ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdef123456"
NOW = datetime(2026, 11, 24, 20, 30, 16, 123000, tzinfo=UTC)

known_statuses = st.sampled_from(statuses.KNOWN)
any_status = known_statuses | st.sampled_from(["Paused", "completed", "Queued", "ÜBER"])
times = st.datetimes(
    min_value=datetime(2020, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    max_value=datetime(2035, 1, 1),  # noqa: DTZ001 - Hypothesis adds the zone
    timezones=st.just(UTC),
).map(to_milliseconds)
optional_times = st.none() | times
optional_text = st.none() | st.text(
    alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60
)
optional_count = st.none() | st.integers(min_value=0, max_value=10**9)
counts = st.builds(
    RecordCounts,
    total=optional_count,
    processed=optional_count,
    success=optional_count,
    error=optional_count,
)
s3_uris = st.sampled_from(["s3://bucket/in.jsonl", "s3://bucket/out", "s3://bucket/out/", "s3://b"])
input_configs = st.none() | s3_uris.map(
    lambda uri: {"s3InputDataConfig": {"s3Uri": uri, "s3InputFormat": "JSONL"}}
)
output_configs = st.none() | s3_uris.map(lambda uri: {"s3OutputDataConfig": {"s3Uri": uri}})

observations = st.builds(
    JobObservation,
    job_arn=st.just(ARN),
    status=any_status,
    model_id=optional_text,
    job_name=optional_text,
    message=optional_text,
    submit_time=optional_times,
    last_modified_time=optional_times,
    end_time=optional_times,
    job_expiration_time=optional_times,
    timeout_duration_in_hours=st.none() | st.integers(min_value=24, max_value=168),
    role_arn=optional_text,
    client_request_token=optional_text,
    model_invocation_type=st.none() | st.sampled_from(["InvokeModel", "Converse"]),
    input_data_config=input_configs,
    output_data_config=output_configs,
    vpc_config=st.none() | st.just({"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]}),
    counts=counts,
)
seen_jobs = st.builds(
    TrackedJob,
    job_arn=st.just(ARN),
    sequence=st.integers(min_value=1, max_value=20),
    status=any_status,
    changed_at=optional_times,
    last_modified_time=optional_times,
    first_in_progress_at=optional_times,
    counts=counts,
    progress_at=optional_times,
    last_error=st.none() | st.just(JobError("AccessDeniedException", "denied")),
    unreadable_polls=st.integers(min_value=0, max_value=5),
    unreachable_since=optional_times,
    records_per_minute=st.none() | st.floats(min_value=1e-4, max_value=1e9),
    conditions=st.dictionaries(st.sampled_from(["Stalled", "AtRisk"]), times),
)
new_jobs = st.just(TrackedJob(job_arn=ARN))
tracked_jobs = new_jobs | seen_jobs
minutes = st.integers(min_value=1, max_value=1440).map(lambda number: timedelta(minutes=number))
all_rules = st.builds(
    Rules,
    progress_interval=minutes | st.just(timedelta(0)),
    poll_interval=st.integers(min_value=1, max_value=60).map(
        lambda number: timedelta(minutes=number)
    ),
    unreachable_after_polls=st.integers(min_value=1, max_value=5),
    stalled_after=st.none() | minutes,
    emit_status_changes=st.booleans(),
    record_messages=st.booleans(),
    emit_at_risk=st.booleans(),
)
