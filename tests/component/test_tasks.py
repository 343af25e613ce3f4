"""Step Functions tasks that wait for jobs, from the command to the callback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from bedrock_batch_monitor.adapters.dynamodb.acks import Acks
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import PAGE, OutboxTable
from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
from bedrock_batch_monitor.adapters.eventbridge import EventBus
from bedrock_batch_monitor.adapters.stepfunctions import TaskClient
from bedrock_batch_monitor.app.telemetry import logger
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.requests import Track
from bedrock_batch_monitor.domain.tasks import WaitingTask
from bedrock_batch_monitor.handlers import inbox as module
from bedrock_batch_monitor.outbox.task_callbacks import TaskCallbacks
from local.bedrock import Phase, Script
from tests.support.monitor import SETTINGS

from .test_delivery import Faulty, denied
from .test_inbox import Inbox, command, inbox, submit

__all__ = ["inbox"]

MINUTE = 60
THROTTLED = "ThrottlingException"
TIMED_OUT = "TaskTimedOut"
KEY_DENIED = "KmsAccessDeniedException"
TOKEN = "AQCkAAAAKgAAAAMAAAAAAAAAAd-secret"  # noqa: S105 - no real one
RUNNING = Script((Phase("InProgress", MINUTE), Phase("Completed", None)))


class StepFunctions:
    """A client of Step Functions: open tasks, and their callbacks."""

    def __init__(self, *open_tokens: str) -> None:
        self.open = set(open_tokens)
        self.answers: list[dict[str, Any]] = []
        self.calls = 0
        self.fault: Callable[[], None] = lambda: None

    def send_task_success(self, **request: Any) -> dict[str, Any]:
        """Take an answer if the task still waits."""
        return self._take(request)

    send_task_failure = send_task_success

    def _take(self, request: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        self.fault()
        if request["taskToken"] not in self.open:
            refusing_with(TIMED_OUT)()
        self.open.remove(request["taskToken"])
        self.answers.append(request)
        return {}


def refusing_with(code: str) -> Callable[[], None]:
    """What raises this error of Step Functions, with a text that quotes the token."""

    def refuse() -> None:
        answer = {"Error": {"Code": code, "Message": f"about {TOKEN}"}}
        raise ClientError(answer, "SendTaskSuccess")  # type: ignore[arg-type]

    return refuse


def dying_at(patch: pytest.MonkeyPatch, owner: type, method: str) -> None:
    """The process ends when it comes to this call."""

    def dies(*_: object, **__: object) -> None:
        raise SystemExit

    patch.setattr(owner, method, dies)


class Waiting:
    """Monitor and inbox of one deployment, with the same Step Functions under both."""

    def __init__(self, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client = StepFunctions(TOKEN)
        self.inbox = inbox
        self.tasks = TaskClient(lambda: self.client)  # type: ignore[arg-type,return-value]
        self._patch = monkeypatch
        self.cloud = inbox.cloud
        self.deployed(discovery_prefix="")

    def deployed(self, **changes: Any) -> None:
        """Deploy with other settings."""
        cloud = self.inbox.cloud
        # The monitor of these tests discovers nothing, so that commands alone track jobs.
        cloud = cloud.with_settings(**(changes | {"discovery_prefix": None}))
        self.cloud = replace(cloud, monitor=self._calling(cloud.monitor))
        self.inbox.deployed(**changes)
        composed = self._calling(module.inbox())
        self._patch.setattr(module, "inbox", lambda: composed)

    def _calling(self, part: Any) -> Any:
        return replace(part, callbacks=replace(part.callbacks, tasks=self.tasks))

    def track(self, arn: str, token: object = TOKEN, **detail: Any) -> list[str]:
        """The command, with a token, comes to the inbox."""
        event = command("Track", arn)
        event["detail"] |= {"taskToken": token, **detail}
        return self.inbox.receives(event)

    def job(self, arn: str) -> dict[str, Any]:
        """A job's item."""
        return self.cloud.job(arn) or {}

    def tokens(self) -> set[str]:
        """All tokens that are stored."""
        return {item["token"] for item in self.cloud.items("outbox") if "token" in item}

    def nothing_left(self, arn: str) -> bool:
        """Nothing of this job is pending, and no token is stored."""
        pending = {"pendingEvents", "eventPending", "pendingSince"} & set(self.job(arn))
        return not pending and not self.tokens()


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What the functions log."""
    stream = StringIO()
    before = logger.registered_handler.setStream(stream)  # type: ignore[attr-defined]
    yield stream
    logger.registered_handler.setStream(before)  # type: ignore[attr-defined]


@pytest.fixture
def waiting(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """A deployment whose inbox takes tokens."""
    return Waiting(inbox, monkeypatch)


def test_task_is_called_back_when_its_job_ends(waiting: Waiting) -> None:
    """The output of the task is the detail of the event of the job's end."""
    cloud = waiting.cloud
    arn = submit(cloud, RUNNING)
    assert waiting.track(arn) == []
    # Principals that may read or write jobs cannot read tokens: they are in a table of their own.
    assert waiting.tokens() == {TOKEN}
    assert TOKEN not in str(cloud.items("jobs")) + str(cloud.items("history"))
    assert waiting.client.calls == 0
    cloud.bedrock.clock.advance(2 * MINUTE)
    summary = cloud.poll()
    assert (summary.tasks_answered, summary.events_sent) == (1, 1)
    [answer] = waiting.client.answers
    [event] = cloud.new_events()
    assert json.loads(answer["output"]) == event["detail"]
    assert waiting.nothing_left(arn)


@pytest.mark.parametrize("status", statuses.TERMINAL)
@pytest.mark.parametrize("flag", [None, False, True])
def test_each_terminal_status_succeeds_or_fails_the_task(
    waiting: Waiting, status: str, *, flag: bool | None
) -> None:
    """Completed succeeds, PartiallyCompleted on request, and the others fail with the status."""
    message = None if status == "Completed" else "no capacity"
    arn = submit(waiting.cloud, Script((Phase(status, None, message),)))
    detail = {} if flag is None else {"partiallyCompletedIsSuccess": flag}
    assert waiting.track(arn, **detail) == []
    [answer] = waiting.client.answers
    if status == "Completed" or (status == "PartiallyCompleted" and flag):
        assert json.loads(answer["output"])["data"]["status"] == status
    else:
        assert (answer["error"], answer["cause"]) == (status, "no capacity")
    assert waiting.nothing_left(arn)
    assert len(waiting.cloud.new_events()) == 1


def test_callback_has_no_message_with_record_messages_off(waiting: Waiting) -> None:
    """Neither cause nor output has Bedrock's message."""
    waiting.deployed(discovery_prefix="", rules=replace(SETTINGS.rules, record_messages=False))
    for partially in (False, True):
        waiting.client.open.add(TOKEN)
        script = Script((Phase("PartiallyCompleted", None, "the patient's text"),))
        waiting.track(submit(waiting.cloud, script), partiallyCompletedIsSuccess=partially)
    failure, success = waiting.client.answers
    assert failure["cause"].endswith(" ended as PartiallyCompleted")
    assert "the patient's text" not in json.dumps([failure, success])


def test_task_of_an_ended_job_is_called_back_at_once(waiting: Waiting) -> None:
    """The item has the end: Bedrock is not called, and the event is not sent again."""
    arn = waiting.cloud.track(submit(waiting.cloud, "Completed"))
    waiting.cloud.poll()
    waiting.cloud.new_events()
    asked = waiting.cloud.asked()
    assert waiting.track(arn) == []
    assert len(waiting.client.answers) == 1
    assert waiting.cloud.asked() == asked
    assert waiting.nothing_left(arn)
    assert waiting.cloud.new_events() == []


def test_several_tasks_of_one_job_are_each_called_back(waiting: Waiting) -> None:
    """Each by its own flag."""
    tokens = [f"{TOKEN}-{number}" for number in range(3)]
    waiting.client.open.update(tokens)
    script = Script((Phase("InProgress", MINUTE), Phase("PartiallyCompleted", None)))
    arn = submit(waiting.cloud, script)
    for number, token in enumerate(tokens):
        waiting.track(arn, token, partiallyCompletedIsSuccess=number == 1)
    waiting.cloud.bedrock.clock.advance(2 * MINUTE)
    assert waiting.cloud.poll().tasks_answered == 3
    answers = {answer["taskToken"]: "output" in answer for answer in waiting.client.answers}
    assert answers == {tokens[0]: False, tokens[1]: True, tokens[2]: False}
    assert waiting.nothing_left(arn)


def test_junk_tokens_do_not_block_a_valid_one(waiting: Waiting) -> None:
    """However many tokens are sent for a job, the task that waits is called back."""
    arn = submit(waiting.cloud, RUNNING)
    junk = 2 * PAGE + 5
    outbox = waiting.cloud.monitor.callbacks.outbox
    waiting.track(arn, "junk-0")
    for number in range(1, junk):
        outbox.put_task(arn, WaitingTask(f"junk-{number}"), waiting.cloud.bedrock.clock.now())
    waiting.track(arn)
    waiting.cloud.bedrock.clock.advance(2 * MINUTE)
    summaries = [waiting.cloud.poll() for _ in range(4)]
    assert sum(summary.tasks_answered for summary in summaries) == 1
    assert sum(summary.tasks_refused for summary in summaries) == junk
    assert [answer["taskToken"] for answer in waiting.client.answers] == [TOKEN]
    assert waiting.nothing_left(arn)
    assert summaries[-1].tasks_pending == 0


def test_repeated_command_is_one_task(waiting: Waiting) -> None:
    """SQS may deliver a message again while the job runs: there is one callback."""
    arn = submit(waiting.cloud, RUNNING)
    waiting.track(arn)
    waiting.track(arn)
    waiting.cloud.bedrock.clock.advance(2 * MINUTE)
    summary = waiting.cloud.poll()
    assert (summary.tasks_answered, summary.tasks_refused) == (1, 0)


@pytest.mark.parametrize("tracked", [True, False])
def test_command_with_a_token_starts_tracking(waiting: Waiting, *, tracked: bool) -> None:
    """A job that is unknown, or that was untracked, is tracked for the task."""
    arn = submit(waiting.cloud, RUNNING)
    if tracked:
        waiting.inbox.receives(command("Track", arn), command("Untrack", arn))
    waiting.track(arn)
    assert waiting.job(arn)["tracking"] == "ACTIVE"
    waiting.cloud.bedrock.clock.advance(2 * MINUTE)
    assert waiting.cloud.poll().tasks_answered == 1


def test_backfilled_job_has_a_callback_and_no_event(waiting: Waiting) -> None:
    """A task may wait for a job that is recorded in the history only."""
    arn = submit(waiting.cloud, "Completed")
    waiting.cloud.dynamodb.put_item(
        TableName="jobs",
        Item={"jobArn": {"S": arn}, "tracking": {"S": "ACTIVE"}, "backfilled": {"BOOL": True}},
    )
    assert waiting.track(arn) == []
    assert len(waiting.client.answers) == 1
    assert waiting.nothing_left(arn)
    assert waiting.cloud.new_events() == []


# Orders of the two writes


def register(inbox: Any, task: Track) -> object:
    """The writes of a command with a token, without the look at the job that follows them."""
    assert task.task is not None
    inbox.commands.outbox.put_task(task.job_arn, task.task, task.at)
    found = inbox.jobs.find(task.job_arn)
    return inbox.jobs.await_end(found.job, now=task.at, resumes=True, command_at=task.at)


@pytest.mark.parametrize("end_first", [True, False])
def test_concurrent_token_and_end_cause_one_callback(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch, *, end_first: bool
) -> None:
    """The write that comes second sees the other one."""
    cloud = waiting.cloud
    arn = cloud.track(submit(cloud, RUNNING))
    cloud.poll()
    cloud.bedrock.clock.advance(2 * MINUTE)
    task = Track(arn, cloud.bedrock.clock.now(), WaitingTask(TOKEN))
    owner, write = (JobsTable, "await_end") if end_first else (TransitionWrites, "record")
    real = getattr(owner, write)
    met: list[Any] = []

    def meanwhile(self: Any, *arguments: Any, **named: Any) -> Any:
        if not met:
            met.append(cloud.poll() if end_first else register(module.inbox(), task))
        return real(self, *arguments, **named)

    monkeypatch.setattr(owner, write, meanwhile)
    if end_first:
        batch = module.inbox().batch(lambda: 60.0, logger)
        assert batch.process({"message-0": task}) == []
        # The poll that recorded the end has found the token in the outbox, and called it back.
        assert met[0].tasks_answered == 1
        [(_, summary)] = batch.summaries()
        assert (summary.tasks_answered, summary.tasks_pending) == (0, 0)
    else:
        assert cloud.poll().tasks_answered == 1
    assert met
    assert len(waiting.client.answers) == 1
    assert waiting.nothing_left(arn)
    assert len(cloud.new_events()) == 1


# Crashes and refusals


def test_token_survives_a_crash_before_the_callback(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pending event was written with the end: the next poll sends the callback."""
    cloud = waiting.cloud
    arn = submit(cloud, RUNNING)
    waiting.track(arn)
    cloud.bedrock.clock.advance(2 * MINUTE)

    with monkeypatch.context() as patch:
        dying_at(patch, TaskCallbacks, "send")
        with pytest.raises(SystemExit):
            cloud.poll()
    pending_events = waiting.job(arn)["pendingEvents"]
    assert len(pending_events) == 2
    assert TOKEN not in str(pending_events)
    summary = cloud.poll()
    assert (summary.tasks_answered, summary.events_sent) == (1, 1)
    assert waiting.nothing_left(arn)


def test_late_token_survives_a_crash_before_the_callback(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For an ended job, the write of the token makes the callback pending."""
    arn = waiting.cloud.track(submit(waiting.cloud, "Failed"))
    waiting.cloud.poll()

    with monkeypatch.context() as patch:
        dying_at(patch, TaskCallbacks, "send")
        with pytest.raises(SystemExit):
            waiting.track(arn)
    assert waiting.cloud.poll().tasks_answered == 1
    assert waiting.client.answers[0]["error"] == "Failed"


@pytest.mark.parametrize(
    ("owner", "method", "refused"),
    [(OutboxTable, "delete_task", 1), (Acks, "ack_callbacks", 0)],
)
def test_crash_after_the_callback_is_not_an_error(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, refused: int
) -> None:
    """The repeat is refused, which is counted separately and recorded in the item."""
    arn = submit(waiting.cloud, RUNNING)
    waiting.track(arn)
    waiting.cloud.bedrock.clock.advance(2 * MINUTE)

    with monkeypatch.context() as patch:
        dying_at(patch, owner, method)
        with pytest.raises(SystemExit):
            waiting.cloud.poll()
    summary = waiting.cloud.poll()
    assert (summary.tasks_answered, summary.tasks_refused, summary.errors) == (0, refused, {})
    assert len(waiting.client.answers) == 1
    assert waiting.nothing_left(arn)
    assert ("taskTokenError" in waiting.job(arn)) == bool(refused)


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_expired_token_is_recorded_and_dropped(
    waiting: Waiting, log: StringIO, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    """The item, a metric and a log line without the token report it once."""
    cloud = waiting.cloud
    waiting.client.fault = refusing_with(code)
    by_inbox = submit(cloud, "Completed")
    waiting.track(by_inbox)
    by_poll = submit(cloud, RUNNING)
    waiting.track(by_poll)
    cloud.bedrock.clock.advance(2 * MINUTE)
    summary = cloud.poll()
    assert (summary.tasks_refused, summary.tasks_pending, summary.errors) == (1, 0, {})
    for arn in (by_inbox, by_poll):
        job = waiting.job(arn)
        assert job["taskTokenError"] == code
        assert job["taskTokenErrorAt"].startswith("2026-")
        assert waiting.nothing_left(arn)
    assert len(cloud.new_events()) == 2
    out = capsys.readouterr().out
    assert '"TasksRefused":[1.0]' in out
    logged = log.getvalue() + cloud.log.getvalue()
    assert logged.count("task token refused") == 2
    assert TOKEN not in logged + out
    calls = waiting.client.calls
    cloud.poll()
    assert waiting.client.calls == calls


def test_callback_that_fails_otherwise_stays_pending(waiting: Waiting) -> None:
    """Throttled callbacks stay pending; the next poll retries them and reports their age."""
    cloud = waiting.cloud
    arn = submit(cloud, RUNNING)
    waiting.track(arn)
    cloud.bedrock.clock.advance(2 * MINUTE)

    waiting.client.fault = refusing_with(THROTTLED)
    summary = cloud.poll()
    assert summary.errors == {"StepFunctions.ThrottlingException": 1}
    assert (summary.tasks_pending, summary.events_sent, summary.events_pending) == (1, 1, 0)
    cloud.bedrock.clock.advance(20 * MINUTE)
    assert cloud.poll().oldest_pending_event_seconds == 20 * MINUTE
    waiting.client.fault = lambda: None
    assert cloud.poll().tasks_answered == 1
    assert waiting.nothing_left(arn)


def test_age_of_a_late_token_begins_with_the_token(waiting: Waiting) -> None:
    """A callback is pending since the token arrived, not since the end of the job."""
    cloud = waiting.cloud
    arn = cloud.track(submit(cloud, "Completed"))
    cloud.poll()
    cloud.bedrock.clock.advance(7 * 86400)

    waiting.client.fault = refusing_with(THROTTLED)
    waiting.track(arn)
    cloud.bedrock.clock.advance(MINUTE)
    assert cloud.poll().oldest_pending_event_seconds == MINUTE


def test_unavailable_step_functions_costs_one_call_per_poll(waiting: Waiting) -> None:
    """Events and jobs continue; the circuit breaker skips the other callbacks."""
    cloud = waiting.cloud
    tokens = [f"{TOKEN}-{number}" for number in range(30)]
    waiting.client.open.update(tokens)
    for token in tokens:
        waiting.track(submit(cloud, RUNNING), token)
    cloud.bedrock.clock.advance(2 * MINUTE)

    def silent() -> None:
        raise ReadTimeoutError(endpoint_url="https://states")

    waiting.client.fault = silent
    summary = cloud.poll()
    assert (summary.events_sent, summary.tasks_pending) == (30, 30)
    waiting.client.calls = 0
    assert cloud.poll().tasks_pending == 30
    assert waiting.client.calls == 1
    waiting.client.fault = lambda: None
    assert cloud.poll().tasks_answered == 30


def test_unusable_key_of_one_state_machine_delays_no_other(waiting: Waiting) -> None:
    """The callbacks of other state machines are sent."""
    cloud = waiting.cloud
    arns = [submit(cloud, RUNNING) for _ in range(3)]
    waiting.client.open.update(arns)
    for arn in arns:
        waiting.track(arn, arn)
    cloud.bedrock.clock.advance(2 * MINUTE)
    take = waiting.client._take

    def picky(request: dict[str, Any]) -> dict[str, Any]:
        if request["taskToken"] == arns[0]:
            refusing_with(KEY_DENIED)()
        return take(request)

    waiting.client._take = picky  # type: ignore[method-assign]
    first, second = cloud.poll(), cloud.poll()
    assert (first.tasks_answered, first.tasks_pending) == (2, 1)
    assert (second.tasks_answered, second.tasks_pending) == (0, 1)


def test_unavailable_bus_delays_no_callback(waiting: Waiting) -> None:
    """The task behind more pending events than one call contains is called back."""
    cloud = waiting.cloud
    for number in range(15):
        cloud.track(submit(cloud, "Failed", job_name=f"job-{number}"))
    arn = submit(cloud, RUNNING)
    waiting.track(arn)
    refusing = cloud.with_bus(EventBus(Faulty(cloud.events, denied), "monitor"))  # type: ignore[arg-type]
    cloud.bedrock.clock.advance(2 * MINUTE)

    waiting.client.fault = refusing_with(THROTTLED)
    assert refusing.poll().events_pending == 16
    waiting.client.fault = lambda: None
    summary = refusing.poll()
    assert (summary.tasks_answered, summary.events_sent) == (1, 0)
    assert waiting.job(arn)["pendingEvents"] == {"Ended#2"}
    assert cloud.poll().events_sent == 16
    assert waiting.nothing_left(arn)


@pytest.mark.parametrize("code", ["ValidationException", "SomethingNew"])
def test_refused_token_delays_no_other_task(waiting: Waiting, code: str) -> None:
    """One token that is invalid must not block the tasks of all other jobs."""
    cloud = waiting.cloud
    arns = sorted(submit(cloud, RUNNING) for _ in range(5))
    waiting.client.open.update(arns)
    for arn in arns:
        waiting.track(arn, arn)
    cloud.bedrock.clock.advance(2 * MINUTE)
    take = waiting.client._take

    def picky(request: dict[str, Any]) -> dict[str, Any]:
        if request["taskToken"] == arns[0]:
            refusing_with(code)()
        return take(request)

    waiting.client.send_task_success = waiting.client.send_task_failure = (  # type: ignore[method-assign]
        lambda **request: picky(request)
    )
    summary = cloud.poll()
    assert (summary.tasks_answered, summary.tasks_refused, summary.errors) == (4, 1, {})
    assert all(waiting.nothing_left(arn) for arn in arns)


def test_task_behind_more_than_100_pending_jobs_is_called_back(waiting: Waiting) -> None:
    """A bus that is unavailable for long must not delay a callback."""
    cloud = waiting.cloud
    refusing = cloud.with_bus(EventBus(Faulty(cloud.events, denied), "monitor"))  # type: ignore[arg-type]
    for number in range(105):
        cloud.track(submit(cloud, "Failed", job_name=f"job-{number}"))
    refusing.poll()
    cloud.bedrock.clock.advance(MINUTE)
    arn = submit(cloud, "Completed")
    waiting.client.fault = refusing_with(THROTTLED)
    waiting.track(arn)
    waiting.client.fault = lambda: None
    assert refusing.poll().tasks_answered == 1
    assert waiting.tokens() == set()


# Invalid commands


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ({"taskToken": 7}, "taskToken must be a text of 1 to 2,048 characters"),
        ({"taskToken": ""}, "taskToken must be a text of 1 to 2,048 characters"),
        ({"taskToken": TOKEN * 100}, "taskToken must be a text of 1 to 2,048 characters"),
        ({"taskToken": TOKEN + "\ud800"}, "taskToken has characters that cannot be stored"),
        (
            {"partiallyCompletedIsSuccess": TOKEN},
            "partiallyCompletedIsSuccess must be true or false",
        ),
        ({"jobArn": TOKEN}, "jobArn is not the ARN of a batch inference job"),
    ],
)
def test_malformed_command_is_dropped_without_logging_its_token(
    waiting: Waiting, log: StringIO, detail: dict[str, Any], reason: str
) -> None:
    """The reason contains the name of the field and never a possible token."""
    arn = submit(waiting.cloud, "Completed")
    event = command("Track", arn)
    event["detail"] |= {"taskToken": TOKEN, **detail}
    assert waiting.inbox.receives(event) == []
    out = log.getvalue()
    assert reason in out
    # What is shown of a value is far too short to be a token.
    assert TOKEN[:13] not in out
    assert waiting.cloud.items("jobs") == []


def test_detail_that_is_a_text_is_not_quoted(waiting: Waiting, log: StringIO) -> None:
    """A detail that is encoded twice does not put the token into the log."""
    event = command("Track", "") | {"detail": json.dumps({"taskToken": TOKEN})}
    assert waiting.inbox.receives(event, json.dumps(json.dumps(event))) == []
    out = log.getvalue()
    assert out.count('"message":"event dropped"') == 2
    assert TOKEN not in out


def test_token_is_refused_with_the_remedy_if_callbacks_are_off(inbox: Inbox, log: StringIO) -> None:
    """No task waits without a callback; a command without a token is processed as usual."""
    inbox.deployed(discovery_prefix="", task_tokens=False)
    arn = submit(inbox.cloud, "InProgress")
    event = command("Track", arn)
    event["detail"]["taskToken"] = TOKEN
    assert inbox.receives(event) == []
    out = log.getvalue()
    assert "deploy the monitor with taskTokens=true" in out
    assert TOKEN not in out
    assert inbox.cloud.items("jobs") == []
    inbox.receives(command("Track", arn))
    assert len(inbox.cloud.history(arn)) == 1


# What people do to an item


def test_token_for_an_invalid_item_returns_to_the_queue(waiting: Waiting) -> None:
    """After the last delivery it is a dead letter: such an item has no place for it."""
    arn = waiting.cloud.track(submit(waiting.cloud, "InProgress"))
    waiting.cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET #s = :s",
        ExpressionAttributeNames={"#s": "sequence"},
        ExpressionAttributeValues={":s": {"S": "one"}},
    )
    assert waiting.track(arn) == ["message-0"]


def test_invalid_task_attribute_is_reported_in_the_item(waiting: Waiting) -> None:
    """The end stays unrecorded until the attribute is fixed, and the item has the reason."""
    arn = waiting.cloud.track(submit(waiting.cloud, "Completed"))
    waiting.cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET taskRevision = :t",
        ExpressionAttributeValues={":t": {"S": "two"}},
    )
    assert waiting.cloud.poll().errors == {"Item.InvalidItem": 1}
    error = waiting.job(arn)["lastError"]
    assert error["code"] == "InvalidItem"
    assert "attribute taskRevision is" in error["message"]
    waiting.cloud.dynamodb.update_item(
        TableName="jobs", Key={"jobArn": {"S": arn}}, UpdateExpression="REMOVE taskRevision"
    )
    assert waiting.cloud.poll().jobs_ended == 1


def test_outbox_entry_without_a_token_is_skipped(waiting: Waiting) -> None:
    """The monitor did not write it."""
    arn = submit(waiting.cloud, RUNNING)
    waiting.track(arn)
    waiting.cloud.dynamodb.put_item(
        TableName="outbox", Item={"jobArn": {"S": arn}, "entry": {"S": "task#0"}}
    )
    waiting.cloud.bedrock.clock.advance(2 * MINUTE)
    summary = waiting.cloud.poll()
    assert (summary.jobs_ended, summary.tasks_answered, summary.events_sent) == (1, 1, 1)
    assert (summary.tasks_pending, waiting.cloud.poll().errors) == (0, {})
    assert waiting.nothing_left(arn)


def test_pending_callback_without_a_token_is_removed(waiting: Waiting) -> None:
    """No task waits any more: the job leaves the index of pending events."""
    arn = submit(waiting.cloud, RUNNING)
    waiting.track(arn)
    waiting.cloud.bedrock.clock.advance(2 * MINUTE)

    waiting.client.fault = refusing_with(THROTTLED)
    waiting.cloud.poll()
    waiting.cloud.monitor.callbacks.outbox.delete_task(arn, WaitingTask(TOKEN))
    waiting.cloud.poll()
    assert waiting.nothing_left(arn)
