"""What happens after a job was reconciled: what is counted, logged and handed on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock, call

from bedrock_batch_monitor.app.job_results import JobResults, loggable
from bedrock_batch_monitor.domain.jobs import HistoryEntry, JobObservation, JobRecord, RecordCounts
from bedrock_batch_monitor.domain.summary import ConditionChange, PollSummary, ReconcileResult
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from tests.support.strategies import ARN

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def record(status: str, **changes: Any) -> JobRecord:
    """A job that was observed in this status a minute after it changed."""
    entry: dict[str, Any] = {
        "previous_status": "InProgress",
        "changed_at": NOW - MINUTE,
        "model_id": "m",
        "message": "confidential",
        "counts": RecordCounts(9, 8, 7, 0),
    }
    last = HistoryEntry(ARN, 3, status, NOW, "poll", **(entry | changes))
    observation = JobObservation(ARN, status, submit_time=NOW - 60 * MINUTE, end_time=NOW - MINUTE)
    return JobRecord(observation, last, first_in_progress_at=NOW - 50 * MINUTE)


def test_log_line_of_an_end_has_the_fields_that_queries_read() -> None:
    """Never its message; the status is also a key, because a query counts keys."""
    assert loggable(record("Failed")) == {
        "jobArn": ARN,
        "sequence": 3,
        "status": "Failed",
        "previousStatus": "InProgress",
        "changedAt": "2026-11-24T11:59:00.000Z",
        "modelId": "m",
        "latencySeconds": 60,
        "ended": {"Failed": 1},
        "durations": {"queuedSeconds": 600, "runningSeconds": 2940, "totalSeconds": 3540},
        "records": {"total": 9, "processed": 8, "success": 7, "error": 0},
    }


def test_log_line_leaves_out_what_is_not_known() -> None:
    """A job that has not ended has no end and no durations."""
    nothing = {"previous_status": None, "changed_at": None, "model_id": None}
    bare = record("Submitted", counts=RecordCounts(), **nothing)
    assert loggable(bare) == {"jobArn": ARN, "sequence": 3, "status": "Submitted"}
    assert loggable(record("InProgress")).keys().isdisjoint({"ended", "durations"})


def test_result_of_a_job_is_counted_logged_and_handed_on() -> None:
    """A condition that begins is a warning."""
    logger: Any = Mock()
    buffer: Any = Mock()
    event: Any = Mock()
    callbacks = PendingCallbacks(record("Failed"), "Tasks#1", 1, NOW)
    results = JobResults(PollSummary(), logger, buffer)
    results.handle(
        ReconcileResult(
            was_read=True,
            record=record("Failed"),
            events=(event,),
            callbacks=callbacks,
            never_readable=((ARN, "Code"),),
            ended_without_tags=ARN,
            changes=(
                ConditionChange(ARN, "Stalled", has_begun=True, since=NOW),
                ConditionChange(ARN, "AtRisk", has_begun=True),
                ConditionChange(ARN, "Unreachable", has_begun=False),
            ),
        )
    )
    assert results.summary.jobs_read == 1
    assert results.never_readable == [(ARN, "Code")]
    assert results.ended_without_tags == [ARN]
    stalled = {"jobArn": ARN, "condition": "Stalled", "since": "2026-11-24T12:00:00.000Z"}
    assert logger.mock_calls == [
        call.info("job changed", extra=loggable(record("Failed"))),
        call.warning("condition began", extra=stalled),
        call.warning("condition began", extra={"jobArn": ARN, "condition": "AtRisk"}),
        call.info("condition ended", extra={"jobArn": ARN, "condition": "Unreachable"}),
    ]
    assert buffer.mock_calls == [call.call_back(callbacks), call.add((event,))]


def test_result_without_news_is_only_counted() -> None:
    """Nothing is logged for a job that did not change."""
    logger: Any = Mock()
    buffer: Any = Mock()
    results = JobResults(PollSummary(), logger, buffer)
    results.handle(ReconcileResult(was_read=True))
    assert (results.summary.jobs_read, results.ended_without_tags) == (1, [])
    assert logger.mock_calls == []
    assert buffer.mock_calls == [call.add(())]
