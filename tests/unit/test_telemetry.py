"""What an invocation logs and publishes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock, patch

import pytest

from bedrock_batch_monitor.app import telemetry
from bedrock_batch_monitor.contract import METRICS_NAMESPACE
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.slots import ModelSlots
from bedrock_batch_monitor.domain.summary import PollSummary

SCOPE = Scope("123456789012", "eu-west-1")
SUMMARY = PollSummary(
    jobs_active=3,
    jobs_read=2,
    jobs_ended=1,
    seconds=61.0,
    oldest_read_seconds=700,
    detection_seconds=400,
    refused=2,
    errors=Counter({"Bedrock.AccessDeniedException": 2}),
    tokens=Counter({("InputTokens", "nova"): 7}),
    has_answer=True,
)
Published = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def logger() -> Iterator[Any]:
    """The logger, which notes what it is told."""
    with patch.object(telemetry, "logger", Mock()) as told:
        yield told


@pytest.fixture
def published(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], logger: Any
) -> Published:
    """The metrics documents so far: dimensions and values, with the unit if they are seconds."""
    monkeypatch.setattr(telemetry.metrics, "service", "test")
    telemetry.metrics.clear_metrics()
    assert logger.mock_calls == []

    def read() -> list[dict[str, Any]]:
        if telemetry.metrics.metric_set:
            telemetry.metrics.flush_metrics()
        found = []
        for line in capsys.readouterr().out.splitlines():
            document = json.loads(line)
            [directive] = document["_aws"]["CloudWatchMetrics"]
            assert directive["Namespace"] == METRICS_NAMESPACE
            [dimensions] = directive["Dimensions"]
            values = {name: document[name] for name in dimensions}
            for metric in directive["Metrics"]:
                [value] = document[metric["Name"]]
                unit = "" if metric["Unit"] == "Count" else f" {metric['Unit']}"
                values[metric["Name"]] = f"{value:g}{unit}"
            found.append(values)
        return found

    return read


def test_poll_publishes_its_figures_and_its_errors_by_code(published: Published) -> None:
    """Without a dimension for the deployment's own scope; refused calls have their own code."""
    telemetry.publish(SUMMARY)
    *others, figures = published()
    assert figures == {
        "service": "test",
        "JobsActive": "3",
        "JobsRead": "2",
        "JobsEnded": "1",
        "PollSeconds": "61 Seconds",
        "OldestReadSeconds": "700 Seconds",
        "DetectionSeconds": "400 Seconds",
        "LateSeconds": "700 Seconds",
        "Errors": "2",
    }
    assert others == [
        {"service": "test", "code": "Bedrock.AccessDeniedException", "Errors": "2"},
        {"service": "test", "code": "Bedrock.Refused", "Errors": "2"},
        {"service": "test", "model": "nova", "InputTokens": "7"},
    ]


def test_poll_of_another_scope_has_its_scope_as_dimension(published: Published) -> None:
    """In each of its documents."""
    telemetry.publish(SUMMARY, scope=SCOPE)
    assert {each["scope"] for each in published()} == {str(SCOPE)}


def test_failed_poll_leaves_out_what_it_does_not_know(published: Published, logger: Any) -> None:
    """Nothing about the reads, and no heartbeat; what it recorded late is late."""
    telemetry.publish(SUMMARY, failed=True)
    assert published()[-1] == {
        "service": "test",
        "JobsEnded": "1",
        "DetectionSeconds": "400 Seconds",
        "LateSeconds": "400 Seconds",
        "Errors": "2",
    }
    [(name, (message,), extra)] = logger.mock_calls
    assert (name, message) == ("error", "poll failed")
    assert extra["extra"]["summary"] == SUMMARY.as_json()


def test_poll_without_an_answer_has_no_heartbeat(published: Published, logger: Any) -> None:
    """A missing `JobsRead` shows that no poll succeeded."""
    telemetry.publish(PollSummary(jobs_active=1, has_answer=False))
    assert "JobsRead" not in published()[-1]
    [(name, (message,), _)] = logger.mock_calls
    assert (name, message) == ("info", "poll finished")


def test_log_line_of_a_poll_has_jobs_by_status_and_slots(published: Published, logger: Any) -> None:
    """Slots without a known quota have no limit."""
    slots = (ModelSlots("m", 3, "Nova", 20), ModelSlots("n", 1))
    telemetry.publish(PollSummary(active_by_status=Counter(Failed=2), slots=slots))
    published()
    extra = logger.info.call_args.kwargs["extra"]
    assert extra["jobsByStatus"] == {"Failed": 2}
    assert extra["slots"] == [
        {"modelId": "m", "active": 3, "limit": 20},
        {"modelId": "n", "active": 1},
    ]
    telemetry.publish(PollSummary())
    published()
    assert "slots" not in logger.info.call_args.kwargs["extra"]


def test_batch_of_events_publishes_only_counts(published: Published) -> None:
    """The gauges are those of a poll."""
    telemetry.publish_inbox(SUMMARY, SCOPE)
    first, *others = published()
    assert first == {
        "service": "test",
        "scope": str(SCOPE),
        "JobsEnded": "1",
        "DetectionSeconds": "400 Seconds",
        "LateSeconds": "700 Seconds",
        "Errors": "2",
    }
    assert len(others) == 3
    telemetry.publish_inbox(PollSummary())
    assert published() == []
    telemetry.publish_inbox(PollSummary(jobs_ended=1))
    assert published() == [{"service": "test", "JobsEnded": "1"}]


def test_exception_is_logged_without_its_message_and_raised(logger: Any) -> None:
    """The message may quote that of a job."""

    @telemetry.failures_logged()
    def fail() -> None:
        message = "secret"
        raise ValueError(message)

    with pytest.raises(ValueError, match="secret"):
        fail()
    [(name, (message,), extra)] = logger.mock_calls
    assert (name, message) == ("error", "invocation failed")
    assert extra["extra"]["exceptionType"] == "ValueError"
    assert "test_telemetry" in "".join(extra["extra"]["stack"])
    assert 'ValueError("' not in str(extra)
