"""Step Functions tasks that wait for a job, and their callbacks.

A task waits with a token (`.waitForTaskToken`) until somebody calls SendTaskSuccess or
SendTaskFailure with it. The token is a secret: anyone who has it can end the task. It is never part
of a log line, an error text or a `repr`, and it is stored in the outbox table alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import status_event
from bedrock_batch_monitor.domain.jobs import JobRecord
from bedrock_batch_monitor.domain.outcomes import COMPLETED_WITH_ERRORS
from bedrock_batch_monitor.domain.utf16 import cut_utf16

# `TaskToken` and `SensitiveCause` in the service model of Step Functions, in UTF-16 code units. An
# output is always far below the limit of `SensitiveData`.
TOKEN_CHARACTERS: Final = 2048
CAUSE_CHARACTERS: Final = 32768

_ID_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """One task that waits for a job to end, and which outcomes other than `Completed` succeed."""

    token: str = field(repr=False)
    partially_completed_is_success: bool = False
    completed_with_errors_is_success: bool = True

    def succeeds(self, outcome: str) -> bool:
        """Whether the task succeeds if the job has this outcome."""
        if outcome == statuses.PARTIALLY_COMPLETED:
            return self.partially_completed_is_success
        if outcome == COMPLETED_WITH_ERRORS:
            return self.completed_with_errors_is_success
        return outcome == statuses.COMPLETED

    @property
    def id(self) -> str:
        """What names the task where its token must not be: a digest."""
        return hashlib.sha256(self.token.encode()).hexdigest()[:_ID_CHARACTERS]


@dataclass(frozen=True, slots=True)
class TaskCallback:
    """The callback of one task: the `output` of a success, or error and cause of a failure."""

    task: WaitingTask
    output: str | None = field(default=None, repr=False)
    error: str = ""
    cause: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class PendingCallbacks:
    """A job that has ended while tasks wait for it, as of a `revision` of its tasks.

    `pending_event` is the name under which the item says so, `due` since when.
    """

    job: JobRecord
    pending_event: str
    revision: int
    due: datetime

    @property
    def job_arn(self) -> str:
        """The job's ARN."""
        return self.job.last.job_arn


def callback_for(job: JobRecord, task: WaitingTask, *, with_message: bool = True) -> TaskCallback:
    """The callback of a task whose job has ended.

    A success has the detail of the job's `Batch Inference Job Ended` as its output; a failure has
    the job's outcome as its error and Bedrock's message as its cause.
    """
    entry = job.last
    outcome = entry.outcome or entry.status
    if task.succeeds(outcome):
        output = status_event(job, entry, with_message=with_message).detail
        return TaskCallback(task, output=output)
    message = entry.message if with_message else None
    cause = message or f"{entry.job_arn} ended as {outcome}"
    return TaskCallback(task, error=outcome, cause=cut_utf16(cause, CAUSE_CHARACTERS))
