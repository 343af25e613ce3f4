from __future__ import annotations

import json
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any
from unittest.mock import Mock

import pytest

from bedrock_batch_monitor import contract, settings
from bedrock_batch_monitor.app.poll import PollError
from bedrock_batch_monitor.app.record_errors import Handled
from bedrock_batch_monitor.app.telemetry import logger, metrics
from bedrock_batch_monitor.domain.summary import HEARTBEAT, PollSummary
from bedrock_batch_monitor.handlers import monitor as module
from bedrock_batch_monitor.handlers import record_errors as record_errors_module
from local.bedrock import Script
from tests.support.variables import DEFAULT_VARIABLES

from .conftest import ACCOUNT, REGION, Cloud, InlineExecutor

SECRET = "patient 4711 has the following record"  # noqa: S105 - a customer's text in a message


@dataclass
class Context:
    """What Lambda hands to a handler, as far as it is looked at."""

    function_name: str = "monitor"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:monitor"
    aws_request_id: str = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        """Time enough."""
        return 50_000


@pytest.fixture
def deployed(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The handler with the environment that the stack writes."""
    for name, value in {
        settings.JOBS_TABLE_NAME: "jobs",
        settings.HISTORY_TABLE_NAME: "history",
        settings.STATE_TABLE_NAME: "state",
        settings.OUTBOX_TABLE_NAME: "outbox",
        settings.EVENT_BUS_NAME: "monitor",
        settings.MONITORED_ACCOUNT: ACCOUNT,
        settings.MONITORED_REGION: REGION,
        settings.MONITORED_PARTITION: "aws",
        **DEFAULT_VARIABLES,
        "DISCOVERY": "off",
        # moto has no quotas of Bedrock.
        "READ_QUOTAS": "false",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(metrics, "service", "BedrockBatchMonitor")
    module.parts.cache_clear()
    module.monitor.cache_clear()
    compose = module.monitor
    monkeypatch.setattr(
        module, "monitor", lambda scope: replace(compose(scope), new_executor=InlineExecutor)
    )
    return cloud


def invoke() -> dict[str, Any]:
    answer: dict[str, Any] = module.handler({}, Context())  # type: ignore[arg-type]
    return answer


def published(output: str) -> dict[str, Any]:
    """The metrics document of an invocation, as CloudWatch reads it from the log."""
    documents = [json.loads(line) for line in output.splitlines() if '"_aws"' in line]
    [document] = [entry for entry in documents if "code" not in entry]
    assert isinstance(document, dict)
    return document


def test_poll_returns_its_summary(deployed: Cloud) -> None:
    """The payload {} runs one poll; the response is JSON with the numbers of the contract."""
    deployed.add_job("Completed")
    deployed.add_job("InProgress")
    answer = json.loads(json.dumps(invoke()))
    assert answer.pop("seconds") >= 0
    assert answer == {
        "jobsActive": 2,
        "jobsRead": 2,
        "jobsListed": 0,
        "jobsChanged": 2,
        "jobsEnded": 1,
        "jobsWithFailedRecords": 0,
        "jobsNewlyUnreachable": 0,
        "oldestReadSeconds": 0,
        "detectionSeconds": 0,
        "eventsSent": 1,
        "eventsPending": 0,
        "oldestPendingEventSeconds": 0,
        "jobsUnreachable": 0,
        "jobsStalled": 0,
        "jobsAtRisk": 0,
        "jobsPastDeadline": 0,
        "jobsDiscovered": 0,
        "jobsGivenUp": 0,
        "observationsOutdated": 0,
        "unknownStatuses": 0,
        "lostRaces": 0,
        "usageGivenUp": 0,
        "jobsBackfilled": 0,
        "tasksAnswered": 0,
        "tasksRefused": 0,
        "tasksPending": 0,
        "errors": {},
        "answered": True,
        "complete": True,
    }


def test_numbers_of_a_poll_are_metrics(deployed: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is a metric in the monitor's namespace with the stack's name as dimension."""
    deployed.add_job("Completed")
    deployed.add_job("InProgress")
    invoke()
    document = published(capsys.readouterr().out)
    [directive] = document["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == contract.METRICS_NAMESPACE
    assert directive["Dimensions"] == [["service"]]
    assert document["service"] == "BedrockBatchMonitor"
    names = [metric["Name"] for metric in directive["Metrics"]]
    assert {name: document[name] for name in names} == {
        "JobsRead": [2],
        "JobsChanged": [2],
        "JobsEnded": [1],
        "EventsSent": [1],
    }


def test_poll_without_news_publishes_only_the_heartbeat(
    deployed: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """CloudWatch bills a metric for each hour in which it is published, also if it is zero."""
    deployed.add_job("InProgress")
    invoke()
    capsys.readouterr()

    invoke()

    [directive] = published(capsys.readouterr().out)["_aws"]["CloudWatchMetrics"]
    assert [metric["Name"] for metric in directive["Metrics"]] == [HEARTBEAT]


def test_unknown_status_is_a_metric_and_needs_attention_once(
    deployed: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each poll counts it; the alarm reports the new case, and is free for the next one."""
    arn = deployed.add_job("InProgress")
    deployed.bedrock.faults.override(arn, {"status": "Paused"})
    invoke()
    first = published(capsys.readouterr().out)
    invoke()
    second = published(capsys.readouterr().out)

    assert (first["UnknownStatuses"], first["JobsNeedAttention"]) == ([1], [1])
    assert second["UnknownStatuses"] == [1]
    assert "JobsNeedAttention" not in second


def test_jobs_active_is_published_only_if_not_each_job_is_read(
    deployed: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise it is the same as `JobsRead`."""
    deployed.add_job("InProgress")
    deployed.bedrock.faults.deny(job_arn=deployed.add_job("InProgress"))
    invoke()

    document = published(capsys.readouterr().out)
    assert (document["JobsActive"], document["JobsRead"]) == ([2], [1])


def test_errors_are_counted_in_metrics_by_code(
    deployed: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error counts in the total and under its code; codes without errors cost no metric."""
    deployed.bedrock.faults.deny(job_arn=deployed.add_job("InProgress"))
    invoke()
    output = capsys.readouterr().out
    assert published(output)["Errors"] == [1]
    by_code = [
        entry
        for entry in map(json.loads, output.splitlines())
        if entry.get("_aws") and entry.get("code")
    ]
    assert [(entry["code"], entry["Errors"]) for entry in by_code] == [
        ("Bedrock.AccessDeniedException", [1]),
        # The alarm on refusals looks at one code for all of them.
        ("Bedrock.Refused", [1]),
    ]


def test_messages_of_jobs_are_never_logged(
    deployed: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job's message is in table and event, and in no log line, even at level DEBUG."""
    log = StringIO()
    before = logger.registered_handler.setStream(log)
    logger.setLevel("DEBUG")
    arn = deployed.add_job(Script.ending("Failed", message=SECRET))
    deployed.bedrock.clock.advance(10 * 86400)
    invoke()
    logger.setLevel("INFO")
    logger.registered_handler.setStream(before)
    assert deployed.history(arn)[-1]["message"] == SECRET
    [event] = deployed.new_events()
    assert event["detail"]["data"]["message"] == SECRET
    captured = capsys.readouterr()
    assert "job changed" in log.getvalue()
    assert SECRET not in log.getvalue() + captured.out + captured.err


@pytest.mark.usefixtures("deployed")
def test_poll_gets_the_time_that_is_left_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda has it in milliseconds."""
    monitor = Mock()
    monitor.poll.return_value = PollSummary()
    monkeypatch.setattr(module, "monitor", lambda _: monitor)
    invoke()
    ((remaining_seconds,), _) = monitor.poll.call_args
    assert remaining_seconds() == 50


def test_message_of_an_ended_job_is_handled_and_one_that_is_no_event_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log has what became of it, and nothing of the message."""
    handle = Mock(side_effect=[Handled.SENT, Handled.MALFORMED])
    log = StringIO()
    before = record_errors_module.logger.registered_handler.setStream(log)
    monkeypatch.setattr(record_errors_module, "record_errors", lambda: Mock(handle=handle))
    event = {"Records": [{"body": "an event"}, {"body": SECRET}]}
    record_errors_module.handler(event, Context())  # type: ignore[arg-type]
    record_errors_module.logger.registered_handler.setStream(before)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("INFO", "errors of records"),
        ("WARNING", "event dropped"),
    ]
    assert [call.args[0] for call in handle.call_args_list] == ["an event", SECRET]
    assert {call.args[1]() for call in handle.call_args_list} == {50}
    assert SECRET not in log.getvalue()


def test_poll_that_cannot_list_active_jobs_fails_the_invocation(
    deployed: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invocation that did not read the jobs is an error to Lambda."""
    deployed.dynamodb.delete_table(TableName="jobs")
    with pytest.raises(PollError, match=r"cannot be listed: DynamoDB\.ResourceNotFoundException"):
        invoke()
    document = published(capsys.readouterr().out)
    # The Query for pending events fails like the one for active jobs.
    assert document["Errors"] == [2]
    # An alarm detects by the absence of the heartbeat that no poll succeeds.
    assert [metric["Name"] for metric in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]] == [
        "Errors"
    ]
