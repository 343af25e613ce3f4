"""Edge cases of the inbox: no time left, conflicts, order, and hostile messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.telemetry import logger
from bedrock_batch_monitor.app.worker_pool import STOP_BEFORE_DEADLINE_SECONDS
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.handlers import inbox as module
from local.bedrock import Phase, Script

from .conftest import ACCOUNT, REGION, Cloud
from .test_handler import Context
from .test_inbox import Inbox, command, inbox, native, submit
from .test_poll import between_read_and_write

__all__ = ["inbox"]

MINUTE = 60
TAIL = f":bedrock:{REGION}:{ACCOUNT}:model-invocation-job/abcdef123456"
TOKEN = "AQCkAAAAKgAAAAMAAAAAAAAAAd-secret-token"  # noqa: S105 - no real one


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What the function logs."""
    stream = StringIO()
    before = logger.registered_handler.setStream(stream)  # type: ignore[attr-defined]
    yield stream
    logger.registered_handler.setStream(before)  # type: ignore[attr-defined]


@dataclass
class Ending(Context):
    """A context whose time runs out: 30 seconds, of which each read of Bedrock takes five."""

    seconds: float = 30.0
    lowest: list[float] = field(default_factory=list)

    def get_remaining_time_in_millis(self) -> int:
        """What is left."""
        return int(self.seconds * 1000)


def receives(context: Context, messages: dict[str, Any]) -> set[str]:
    """Have the queue deliver these messages; returns those that it delivers again."""
    records = [
        {"messageId": key, "body": json.dumps(event), "eventSource": "aws:sqs"}
        for key, event in messages.items()
    ]
    answer = module.handler({"Records": records}, context)  # type: ignore[arg-type]
    return {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}


def sent(event: dict[str, Any], cloud: Cloud) -> dict[str, Any]:
    """The event as EventBridge delivers it, with the time at which it was sent."""
    return {**event, "time": to_iso(cloud.bedrock.clock.now())}


def published(output: str) -> dict[str, Any]:
    """The metrics that an invocation published, without those by code."""
    found: dict[str, Any] = {}
    for line in output.splitlines():
        if '"_aws"' in line and '"code"' not in line:
            found |= json.loads(line)
    return found


# Time


def test_slow_hints_delay_no_command(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Bedrock that does not respond must not send an Untrack command to the dead-letter queue."""
    cloud = inbox.cloud
    jobs = [cloud.track(submit(cloud, "InProgress")) for _ in range(20)]
    mine = cloud.track(submit(cloud, "InProgress"))
    cloud.poll()
    context = Ending()
    asked: list[str] = []

    def slow(_: object, job_arn: str) -> Any:
        context.seconds -= 5
        context.lowest.append(context.seconds)
        asked.append(job_arn)
        error = ServiceError("Bedrock", "ReadTimeoutError", "no answer")
        raise error

    monkeypatch.setattr(type(cloud.monitor.reconciler.bedrock), "get", slow)
    messages = {f"hint-{number}": native(arn) for number, arn in enumerate(jobs)}
    messages["untrack"] = command("Untrack", mine)
    failed = receives(context, messages)
    # Messages without time left return to the queue, and no work begins that may not end in time.
    assert failed == messages.keys() - {"untrack"}
    assert "tracking" not in (cloud.job(mine) or {"tracking": None})
    assert min(context.lowest) >= STOP_BEFORE_DEADLINE_SECONDS - 5
    assert len(asked) == len(set(asked)) == 4


def test_message_without_time_left_returns_to_the_queue(inbox: Inbox) -> None:
    """Commands return too, and no item is changed by them."""
    arn = submit(inbox.cloud, "InProgress")
    messages = {"track": command("Track", arn), "hint": native(arn)}
    context = Ending(seconds=STOP_BEFORE_DEADLINE_SECONDS - 0.1)
    assert receives(context, messages) == {"track", "hint"}
    assert inbox.cloud.items("jobs") == []
    assert inbox.cloud.asked() == 0


# Order


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("last", ["Track", "Untrack"])
def test_last_command_wins_in_any_order_of_delivery(
    inbox: Inbox, last: str, *, together: bool
) -> None:
    """The queue does not keep the order; the time at which a command was sent decides."""
    cloud = inbox.cloud
    arn = submit(cloud, "InProgress")
    first = sent(command("Untrack" if last == "Track" else "Track", arn), cloud)
    cloud.bedrock.clock.advance(1)
    second = sent(command(last, arn), cloud)
    cloud.bedrock.clock.advance(1)
    if together:
        assert inbox.receives(second, first) == []
    else:
        assert inbox.receives(second) == []
        assert inbox.receives(first) == []
    assert ("tracking" in (cloud.job(arn) or {})) == (last == "Track")


def test_track_command_wins_over_a_concurrent_poll(inbox: Inbox) -> None:
    """The poll changes the job between the command's read and its write: the command is applied."""
    cloud = inbox.cloud
    arn = cloud.track(submit(cloud, "InProgress"))

    def meanwhile() -> None:
        assert inbox.receives(command("Untrack", arn)) == []
        cloud.bedrock.clock.advance(1)
        assert inbox.receives(command("Track", arn)) == []

    between_read_and_write(cloud, meanwhile)
    cloud.poll()
    assert (cloud.job(arn) or {})["tracking"] == "ACTIVE"
    assert len(cloud.history(arn)) == 1


# Races


@pytest.mark.parametrize(
    ("kind", "has_item", "write"),
    [
        ("Track", False, "start_tracking"),
        ("Track", True, "resume_tracking"),
        ("Task", True, "await_end"),
        ("Untrack", True, "untrack"),
        ("Untrack", False, "put_untracked"),
    ],
)
def test_command_with_repeated_conflicts_returns_to_the_queue(  # noqa: PLR0913, PLR0917 - fixtures and a table
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
    log: StringIO,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    has_item: bool,  # noqa: FBT001 - a parameter of the table
    write: str,
) -> None:
    """After three conflicts the queue keeps the message: a task would wait indefinitely."""
    arn = submit(inbox.cloud, "InProgress")
    if has_item:
        inbox.cloud.track(arn)
        inbox.cloud.poll()
    event = command("Track" if kind == "Task" else kind, arn)
    if kind == "Task":
        event["detail"]["taskToken"] = TOKEN
    tried: list[str] = []

    def loses(*_: object, **__: object) -> WriteResult:
        tried.append(write)
        return WriteResult(WriteOutcome.CONFLICT)

    with monkeypatch.context() as patch:
        patch.setattr(JobsTable, write, loses)
        assert inbox.receives(event) == ["message-0"]
    assert len(tried) == 3
    assert published(capsys.readouterr().out)["Errors"] == [1]
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    [line] = [line for line in lines if line["message"] == "event not processed"]
    assert (line["error"], line["jobArn"]) == ("DynamoDB.LostRace", arn)
    assert inbox.receives(event) == []


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_command_that_dynamodb_refuses_returns_to_the_queue(
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
    log: StringIO,
    capsys: pytest.CaptureFixture[str],
    code: str,
) -> None:
    """The code is in the metric and in the log line; the queue delivers the command again."""
    arn = submit(inbox.cloud, "InProgress")

    def fails(*_: object, **__: object) -> WriteResult:
        error = ServiceError("DynamoDB", code, "not now")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(JobsTable, "find", fails)
        assert inbox.receives(command("Track", arn)) == ["message-0"]
    assert f'"code":"DynamoDB.{code}"' in capsys.readouterr().out.replace(" ", "")
    assert f'"error":"DynamoDB.{code}"' in log.getvalue()


# Hostile messages


@pytest.mark.parametrize(
    "event",
    [
        command("Track", "arn:aws-" + "A" * 3000 + TAIL),
        command("Track", "arn:aws-" + "A" * 100_000 + TAIL),
        command("Track", "arn:aws-\ud800" + TAIL),
        command("Track", "arn:aws- " + TAIL),
        command("Track", "arn:aws-cn" + TAIL),
        command("Untrack", "arn:aws-\n" + TAIL),
        command("Track", "arn:aws" + TAIL + "\n"),
        native("arn:aws-\x1b[2J" + TAIL),
        '{"detail-type": "x", "detail": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"detail-type": "x", "detail": {"jobArn": ' + "9" * 5000 + "}}",
        '{"detail-type":"Track Batch Inference Job","detail-type":"x","detail":{}}',
        "[]",
        "null",
        "",
        "NaN",
    ],
    ids=range(15),
)
def test_poison_message_is_dropped_and_fails_no_other(
    inbox: Inbox, log: StringIO, capsys: pytest.CaptureFixture[str], event: Any
) -> None:
    """It is counted, the valid message in the batch is processed, and none is delivered again."""
    good = submit(inbox.cloud, "Completed")
    assert inbox.receives(event, native(good)) == []
    assert [item["jobArn"] for item in inbox.cloud.items("jobs")] == [good]
    assert published(capsys.readouterr().out)["EventsMalformed"] == [1]
    [line] = [line for line in log.getvalue().splitlines() if "event dropped" in line]
    assert len(line) < 1000
    assert "\\u001b" not in line


def test_arn_of_an_unknown_partition_creates_no_item(inbox: Inbox) -> None:
    """A hundred spellings of one ARN must not cost a hundred items and calls."""
    events = [command("Track", f"arn:aws-{number}{TAIL}") for number in range(20)]
    assert inbox.receives(*events) == []
    assert inbox.cloud.items("jobs") == []


@pytest.mark.parametrize(
    "detail",
    [
        {"jobArn": TOKEN},
        {"jobArn": TOKEN, "taskToken": "arn"},
        {"jobArn": {"taskToken": TOKEN}},
        {"taskToken": TOKEN},
        {"jobArn": "arn:aws" + TAIL, "taskToken": [TOKEN]},
        {"jobArn": "arn:aws" + TAIL, "taskToken": "t", "partiallyCompletedIsSuccess": TOKEN},
        TOKEN,
        [TOKEN],
    ],
    ids=range(8),
)
@pytest.mark.parametrize(
    "detail_type", ["Track Batch Inference Job", "Untrack Batch Inference Job", TOKEN]
)
def test_log_lines_never_contain_a_token(
    inbox: Inbox,
    log: StringIO,
    capsys: pytest.CaptureFixture[str],
    detail_type: str,
    detail: object,
) -> None:
    """Wherever it was put, neither the log nor a metric shows more than its first characters."""
    inbox.receives({"detail-type": detail_type, "detail": detail})
    assert TOKEN[:13] not in log.getvalue() + capsys.readouterr().out


def test_failed_command_does_not_log_its_token(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, log: StringIO
) -> None:
    """Also if the table refuses it with a text that quotes the request."""
    arn = submit(inbox.cloud, "InProgress")
    event = command("Track", arn)
    event["detail"]["taskToken"] = TOKEN

    def fails(*_: object, **__: object) -> None:
        error = ServiceError("DynamoDB", "ValidationException", f"the item has {TOKEN}")
        raise error

    monkeypatch.setattr(
        "bedrock_batch_monitor.adapters.dynamodb.outbox_table.OutboxTable.put_task", fails
    )
    assert inbox.receives(event) == ["message-0"]
    assert "event not processed" in log.getvalue()
    assert TOKEN[:13] not in log.getvalue()


# Bus


def test_missing_bus_is_one_error_per_batch(
    inbox: Inbox, log: StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """The inbox checks the bus once per batch and logs it, and a later poll sends the events."""
    cloud = inbox.cloud
    ending = Script((Phase("Failed", None),))
    arns = [cloud.track(submit(cloud, ending)) for _ in range(3)]
    cloud.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    cloud.events.delete_rule(Name="all", EventBusName="monitor")
    cloud.events.delete_event_bus(Name="monitor")
    messages = {f"hint-{number}": native(arn) for number, arn in enumerate(arns)}
    assert receives(Context(), messages) == set()
    assert log.getvalue().count("the event bus does not exist") == 1
    assert published(capsys.readouterr().out)["Errors"] == [1.0]
    assert all("pendingEvents" in (cloud.job(arn) or {}) for arn in arns)
