"""Calls back the Step Functions tasks that wait for jobs, and deletes a token once that is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from bedrock_batch_monitor.adapters.dynamodb.acks import Acks
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import PAGE, OutboxTable
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.stepfunctions import OF_ONE_KEY, TaskClient
from bedrock_batch_monitor.domain.tasks import PendingCallbacks, callback_for


@dataclass(slots=True)
class CallbackResult:
    """The callbacks of one job: how many were sent or are pending, and the codes of refused ones.

    Callbacks are due since `due`. `service_refuses` says that the next call will probably fail as
    well.
    """

    job_arn: str
    due: datetime
    sent: int = 0
    refusals: list[str] = field(default_factory=list)
    pending: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    service_refuses: bool = False
    is_conflict: bool = False

    @property
    def waiting_since(self) -> datetime | None:
        """Since when callbacks are pending; None if there are none."""
        return self.due if self.pending else None


def not_called_back(callbacks: PendingCallbacks) -> CallbackResult:
    """The result for callbacks that wait for the next poll."""
    return CallbackResult(callbacks.job_arn, callbacks.due, pending=1)


@dataclass(frozen=True, slots=True)
class TaskCallbacks:
    """Calls tasks back at least once: the repetition of a callback is refused by the task.

    Tokens are independent: one that is refused, or whose state machine's key cannot be used, does
    not delay the others.
    """

    tasks: TaskClient
    outbox: OutboxTable
    jobs: Acks
    clock: Callable[[], datetime]
    record_messages: bool = True

    def send(
        self, callbacks: PendingCallbacks, may_go_on: Callable[[], bool] = lambda: True
    ) -> CallbackResult:
        """Call back the tasks of one job; raises nothing that a service can cause."""
        result = CallbackResult(callbacks.job_arn, callbacks.due)
        try:
            self._call_back(callbacks, result, may_go_on)
            if result.pending == 0:
                written = self.jobs.ack_callbacks(
                    callbacks.job_arn,
                    callbacks.pending_event,
                    revision=callbacks.revision,
                    refusal=result.refusals[-1] if result.refusals else None,
                    now=self.clock(),
                )
                result.is_conflict = not written.is_done
        except ServiceError as error:
            result.errors[error.code] += 1
            result.pending = max(result.pending, 1)
        return result

    def _call_back(
        self, callbacks: PendingCallbacks, result: CallbackResult, may_go_on: Callable[[], bool]
    ) -> None:
        """Call back task by task, as long as Step Functions answers; raises `ServiceError`."""
        tasks = self.outbox.tasks(callbacks.job_arn)
        # A full page may not be all of them.
        result.pending = len(tasks) + (len(tasks) == PAGE)
        for task in tasks:
            if not may_go_on():
                return
            callback = callback_for(callbacks.job, task, with_message=self.record_messages)
            try:
                refusal = self.tasks.answer(callback)
            except ServiceError as error:
                result.errors[error.code] += 1
                if error.reason in OF_ONE_KEY:
                    continue
                result.service_refuses = True
                return
            if refusal is None:
                result.sent += 1
            else:
                result.refusals.append(refusal)
            self.outbox.delete_task(callbacks.job_arn, task)
            result.pending -= 1
