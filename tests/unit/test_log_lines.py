"""The two log lines that the dashboard and people read."""

from __future__ import annotations

from collections import Counter

import pytest

from bedrock_batch_monitor.app.job_results import loggable
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import RecordCounts
from bedrock_batch_monitor.domain.summary import PollSummary, by_status
from tests.support.log_lines import ended, poll_line, running
from tests.support.strategies import ARN


@pytest.mark.parametrize("status", statuses.TERMINAL)
def test_log_line_of_an_end_has_the_fields_of_the_dashboard(status: str) -> None:
    """Durations, records, and the status as a key; never the message."""
    assert loggable(ended(status)) == {
        "jobArn": ARN,
        "sequence": 4,
        "status": status,
        "previousStatus": "InProgress",
        "changedAt": "2026-11-24T20:30:16.123Z",
        "modelId": "amazon.nova-lite-v1:0",
        "latencySeconds": 42,
        "ended": {status: 1},
        "durations": {"queuedSeconds": 120, "runningSeconds": 3600, "totalSeconds": 3720},
        "records": {"total": 1000, "processed": 1000, "success": 998, "error": 2},
    }


def test_log_line_has_zero_counts_and_omits_unknown_ones() -> None:
    """A graph of failed records shows 0 if none failed, and no value if the number is unknown."""
    line = loggable(ended("Completed", counts=RecordCounts(total=5, error=0)))
    assert line["records"] == {"total": 5, "error": 0}


def test_log_line_omits_unknown_fields() -> None:
    """What is unknown is absent, never null and never empty."""
    assert loggable(running()) == {"jobArn": ARN, "sequence": 1, "status": "Validating"}


@pytest.mark.parametrize(("failed", "message"), [(False, "poll finished"), (True, "poll failed")])
def test_log_line_of_a_poll_has_its_summary_and_jobs_by_status(
    *, failed: bool, message: str
) -> None:
    """Statuses without a job are 0, so that a graph falls to zero and does not end."""
    summary = PollSummary(
        jobs_active=3,
        errors=Counter({"Bedrock.ThrottlingException": 2}),
        active_by_status=by_status(["InProgress", "InProgress", "Paused", "Failed"]),
    )
    line = poll_line(summary, failed=failed)
    assert line["message"] == message
    assert line["summary"] == summary.as_json()
    assert line["summary"]["errors"] == {"Bedrock.ThrottlingException": 2}
    assert line["jobsByStatus"] == {
        **dict.fromkeys(statuses.NON_TERMINAL, 0),
        "InProgress": 2,
        "Paused": 1,
    }
