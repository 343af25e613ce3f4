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


@dataclass(frozen=True, slots=True)
class CallbackResult:
    """The callbacks of one job: how many were sent or are pending, and the codes of refused ones.

    `waiting_since` is since when pending ones are due. `service_refuses` says that the next call
    will probably fail as well.
    """

    job_arn: str
    sent: int = 0
    refusals: tuple[str, ...] = ()
    pending: int = 0
    waiting_since: datetime | None = None
    errors: Counter[str] = field(default_factory=Counter)
    service_refuses: bool = False
    is_conflict: bool = False


def not_called_back(callbacks: PendingCallbacks) -> CallbackResult:
    """The result for callbacks that wait for the next poll."""
    return CallbackResult(callbacks.job_arn, pending=1, waiting_since=callbacks.due)


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
        job_arn = callbacks.job_arn
        errors: Counter[str] = Counter()
        refusals: list[str] = []
        sent = left = 0
        service_refuses = is_conflict = False
        try:
            tasks = self.outbox.tasks(job_arn)
            left = len(tasks) + (len(tasks) == PAGE)
            for task in tasks:
                if not may_go_on():
                    break
                try:
                    refusal = self.tasks.answer(
                        callback_for(callbacks.job, task, with_message=self.record_messages)
                    )
                except ServiceError as error:
                    errors[error.code] += 1
                    service_refuses = error.reason not in OF_ONE_KEY
                    if service_refuses:
                        break
                    continue
                if refusal is None:
                    sent += 1
                else:
                    refusals.append(refusal)
                self.outbox.delete_task(job_arn, task)
                left -= 1
            if left == 0:
                written = self.jobs.ack_callbacks(
                    job_arn,
                    callbacks.pending_event,
                    revision=callbacks.revision,
                    refusal=refusals[-1] if refusals else None,
                    now=self.clock(),
                )
                is_conflict = not written.is_done
        except ServiceError as error:
            errors[error.code] += 1
            left = max(left, 1)
        return CallbackResult(
            job_arn,
            sent=sent,
            refusals=tuple(refusals),
            pending=left,
            waiting_since=callbacks.due if left else None,
            errors=errors,
            service_refuses=service_refuses,
            is_conflict=is_conflict,
        )
