"""The numbers of a poll that are published as metrics."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from bedrock_batch_monitor.app import telemetry
from bedrock_batch_monitor.domain.event_kinds import (
    AT_RISK,
    DEADLINE_MISSED,
    STALLED,
    UNREACHABLE,
)
from bedrock_batch_monitor.domain.summary import HEARTBEAT, METRICS, PollSummary


def test_poll_without_a_change_has_no_metric() -> None:
    """All jobs were read, nothing changed, and the poll took a usual time."""
    assert PollSummary(jobs_active=20, jobs_read=20, jobs_listed=20, seconds=2.5).to_publish() == {}


@pytest.mark.parametrize(
    ("summary", "published"),
    [
        (PollSummary(jobs_ended=2), {"JobsEnded": 2}),
        (PollSummary(jobs_active=3, jobs_read=2), {"JobsActive": 3}),
        (PollSummary(jobs_active=3, jobs_read=3), {}),
        (PollSummary(seconds=59.9), {}),
        (PollSummary(seconds=60.0), {"PollSeconds": 60.0}),
        (PollSummary(detection_seconds=299), {}),
        (PollSummary(detection_seconds=300), {"DetectionSeconds": 300, "LateSeconds": 300}),
        (PollSummary(oldest_read_seconds=60), {"OldestReadSeconds": 60}),
        (
            PollSummary(oldest_read_seconds=700, detection_seconds=20),
            {"OldestReadSeconds": 700, "LateSeconds": 700},
        ),
        (PollSummary(newly_unreachable=1), {"JobsNewlyUnreachable": 1, "JobsNeedAttention": 1}),
        (PollSummary(unknown_statuses=1), {"UnknownStatuses": 1}),
        (PollSummary(newly_unknown=2), {"JobsNeedAttention": 2}),
        (PollSummary(errors=Counter({"Bedrock.ThrottlingException": 4})), {}),
        (PollSummary(errors=Counter({"DynamoDB.InternalServerError": 4})), {"Errors": 4}),
        (PollSummary(conditions=Counter({AT_RISK.name: 1})), {"JobsAtRisk": 1}),
        (PollSummary(conditions=Counter({STALLED.name: 2})), {"JobsStalled": 2}),
        (PollSummary(conditions=Counter({DEADLINE_MISSED.name: 3})), {"JobsPastDeadline": 3}),
        (PollSummary(conditions=Counter({UNREACHABLE.name: 4})), {"JobsUnreachable": 4}),
    ],
)
def test_numbers_that_are_not_zero_or_late_are_published(
    summary: PollSummary, published: dict[str, float]
) -> None:
    """Each number alone, with the metrics that repeat it for an alarm."""
    assert summary.to_publish() == published
    assert published.keys() <= set(METRICS) - {HEARTBEAT}


def test_failed_poll_publishes_what_it_recorded_late(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No later poll records the same change; the age of its oldest read is not known."""
    monkeypatch.setattr(telemetry.metrics, "service", "test")
    summary = PollSummary(detection_seconds=700, oldest_read_seconds=900)
    telemetry.publish(summary, failed=True)
    telemetry.metrics.flush_metrics()
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (document,) = [each for each in documents if "_aws" in each]
    assert document["LateSeconds"] == document["DetectionSeconds"] == [700.0]
    assert "OldestReadSeconds" not in document
