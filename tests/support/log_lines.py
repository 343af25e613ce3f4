"""The fields of the log lines that the dashboard queries, from the code that writes the lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

from bedrock_batch_monitor.app.job_results import loggable
from bedrock_batch_monitor.app.telemetry import logger, publish
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    JobRecord,
    RecordCounts,
    TrackedJob,
)
from bedrock_batch_monitor.domain.summary import PollSummary, by_status
from bedrock_batch_monitor.domain.transitions import Transition, decide
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW


def ended(status: str, **changes: Any) -> JobRecord:
    """The record of a job that ended with this status, with all fields; `changes` replace some."""
    observation = JobObservation(
        job_arn=ARN,
        status=status,
        model_id="amazon.nova-lite-v1:0",
        job_name="nightly",
        message="a customer's text",
        submit_time=NOW - timedelta(seconds=3720),
        last_modified_time=NOW,
        end_time=NOW,
        counts=RecordCounts(1000, 1000, 998, 2),
    )
    observation = replace(observation, **changes)
    running = NOW - timedelta(seconds=3600)
    known = TrackedJob(ARN, sequence=3, status="InProgress", first_in_progress_at=running)
    now: datetime = NOW + timedelta(seconds=42)
    decision = decide(known, observation, now=now, observed_by="poll", rules=RULES)
    assert isinstance(decision, Transition)
    return JobRecord(observation, decision.entry, decision.first_in_progress_at)


def running() -> JobRecord:
    """The record of a job with few known fields."""
    entry = HistoryEntry(ARN, 1, "Validating", NOW, "poll")
    return JobRecord(JobObservation(ARN, "Validating"), entry)


def poll_line(summary: PollSummary, *, failed: bool = False) -> dict[str, Any]:
    """The log line of a poll."""
    stream = StringIO()
    before = logger.registered_handler.setStream(stream)  # type: ignore[attr-defined]
    try:
        publish(summary, failed=failed)
    finally:
        logger.registered_handler.setStream(before)  # type: ignore[attr-defined]
    line: dict[str, Any] = json.loads(stream.getvalue())
    return line


def fields() -> set[str]:
    """Every field of both lines, with nested ones as `<field>.<inner field>`."""
    found: set[str] = set()
    for status in statuses.TERMINAL:
        found |= set(_paths(loggable(ended(status))))
    return found | set(_paths(poll_line(PollSummary(active_by_status=by_status(())))))


def _paths(value: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, inner in value.items():
        yield f"{prefix}{name}"
        if isinstance(inner, Mapping):
            yield from _paths(inner, f"{prefix}{name}.")
