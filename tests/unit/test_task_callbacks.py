"""What calling back the tasks of one job does with each answer of Step Functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.dynamodb.outbox_table import PAGE
from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain.jobs import HistoryEntry, JobObservation, JobRecord
from bedrock_batch_monitor.domain.tasks import PendingCallbacks, TaskCallback, WaitingTask
from bedrock_batch_monitor.outbox.task_callbacks import (
    CallbackResult,
    TaskCallbacks,
    not_called_back,
)
from tests.support.strategies import ARN, NOW

DUE = NOW - timedelta(hours=1)
SECRET = "a prompt that Bedrock quotes"  # noqa: S105 - no real one
ENTRY = HistoryEntry(ARN, 2, "Failed", DUE, "poll", message=SECRET)
PENDING = PendingCallbacks(JobRecord(JobObservation(ARN, "Failed"), ENTRY), "Tasks#2", 3, DUE)
KEY = ServiceError("StepFunctions", "KmsAccessDeniedException", "no")
THROTTLED = ServiceError("StepFunctions", "ThrottlingException", "slow")
LOST = ServiceError("DynamoDB", "InternalServerError", "no")

Answer = str | ServiceError | None


@dataclass
class Services:
    """Step Functions, the outbox and the jobs table: answers by token, and what was done."""

    answers: dict[str, Answer]
    written: WriteResult | ServiceError = DONE
    callbacks: list[TaskCallback] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    acks: list[dict[str, Any]] = field(default_factory=list)

    def tasks(self, _job_arn: str) -> list[WaitingTask]:
        """The tasks that wait."""
        return [WaitingTask(token) for token in self.answers]

    def answer(self, callback: TaskCallback) -> str | None:
        """Why the task refuses the callback; None if it does not."""
        self.callbacks.append(callback)
        answer = self.answers[callback.task.token]
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    def delete_task(self, _job_arn: str, task: WaitingTask) -> None:
        """Forget a token."""
        self.deleted.append(task.token)

    def ack_callbacks(self, _job_arn: str, pending_event: str, **arguments: Any) -> WriteResult:
        """All are called back."""
        self.acks.append({"pending_event": pending_event, **arguments})
        if isinstance(self.written, ServiceError):
            raise self.written
        return self.written


def sent(
    services: Any, may_go_on: Callable[[], bool] = lambda: True, **options: Any
) -> CallbackResult:
    """The result for the tasks of a job that failed."""
    return TaskCallbacks(services, services, services, lambda: NOW, **options).send(
        PENDING, may_go_on
    )


def test_tasks_that_are_called_back_are_forgotten_and_acknowledged() -> None:
    services: Any = Services({"a": None, "b": None})
    callbacks = TaskCallbacks(services, services, services, lambda: NOW)
    assert callbacks.send(PENDING) == CallbackResult(ARN, DUE, sent=2)
    assert services.callbacks[0].cause == SECRET
    assert services.deleted == ["a", "b"]
    assert services.acks == [
        {"pending_event": "Tasks#2", "revision": 3, "refusal": None, "now": NOW}
    ]


@pytest.mark.parametrize("record_messages", [False, True])
def test_message_is_in_no_callback_if_messages_are_not_recorded(*, record_messages: bool) -> None:
    """It may quote what must not leave the account."""
    services = Services({"a": None})
    sent(services, record_messages=record_messages)
    assert (services.callbacks[0].cause == SECRET) is record_messages


def test_task_that_refuses_its_callback_is_forgotten_and_named() -> None:
    """It ended before; the item has the code of the last one."""
    services = Services({"a": "TaskTimedOut", "b": None, "c": "InvalidToken"})
    result = sent(services)
    assert result == CallbackResult(ARN, DUE, sent=1, refusals=["TaskTimedOut", "InvalidToken"])
    assert services.deleted == ["a", "b", "c"]
    assert services.acks[0]["refusal"] == "InvalidToken"


def test_task_whose_key_cannot_be_used_does_not_delay_the_others() -> None:
    """It waits for the next poll, so nothing is acknowledged."""
    services = Services({"a": KEY, "b": None})
    result = sent(services)
    assert (result.sent, result.pending, dict(result.errors)) == (1, 1, {KEY.code: 1})
    assert not result.service_refuses
    assert result.waiting_since == DUE
    assert (services.deleted, services.acks) == (["b"], [])


def test_service_that_refuses_one_callback_is_not_asked_again() -> None:
    """The rest of the poll would be spent on it."""
    services = Services({"a": None, "b": THROTTLED, "c": None})
    result = sent(services)
    assert (result.sent, result.pending, dict(result.errors)) == (1, 2, {THROTTLED.code: 1})
    assert result.service_refuses
    assert (services.deleted, services.acks) == (["a"], [])


def test_callbacks_without_time_left_wait_for_the_next_poll() -> None:
    answers = iter([True, False])
    services = Services({"a": None, "b": None})
    result = sent(services, lambda: next(answers))
    assert (result.sent, result.pending, dict(result.errors)) == (1, 1, {})
    assert services.acks == []


@pytest.mark.parametrize(("count", "pending"), [(PAGE - 1, 0), (PAGE, 1)])
def test_full_page_of_tasks_may_not_be_all_of_them(count: int, pending: int) -> None:
    """The next poll reads the others before the callbacks are acknowledged."""
    services = Services({str(number): None for number in range(count)})
    result = sent(services)
    assert (result.sent, result.pending) == (count, pending)
    assert len(services.acks) == 1 - pending


def test_task_that_was_registered_meanwhile_is_a_conflict() -> None:
    """The next poll calls it back."""
    result = sent(Services({"a": None}, WriteResult(WriteOutcome.CONFLICT)))
    assert (result.is_conflict, result.sent, result.pending) == (True, 1, 0)


def test_callbacks_whose_acknowledgement_fails_stay_pending() -> None:
    """Their alarm is about how long they wait."""
    result = sent(Services({"a": None}, LOST))
    assert (result.sent, result.pending, dict(result.errors)) == (1, 1, {LOST.code: 1})
    assert not result.is_conflict


def test_callbacks_that_are_left_to_the_next_poll_wait_since_they_are_due() -> None:
    result = not_called_back(PENDING)
    assert (result.job_arn, result.pending, result.waiting_since) == (ARN, 1, DUE)
    assert CallbackResult(ARN, DUE).waiting_since is None
