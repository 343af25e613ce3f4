"""Step Functions tasks that wait for a job: what a command says of one, and what it is answered.

A task waits with a token (`.waitForTaskToken`) until somebody calls SendTaskSuccess or
SendTaskFailure with it. The token is a secret: whoever has it can answer. It is never part of a
log line, an error text or a `repr`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import status_event, task_mark
from bedrock_batch_monitor.domain.jobs import HistoryEntry, JobRecord

# `TaskToken`, `SensitiveCause` and `SensitiveData` in the service model of Step Functions.
TOKEN_CHARACTERS: Final = 2048
CAUSE_CHARACTERS: Final = 32768
OUTPUT_CHARACTERS: Final = 262144
# Tokens are part of the job's item, which is written at each transition and may have 400 KB.
TASKS_PER_JOB: Final = 20

_ID_CHARACTERS: Final = 16


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """One task that waits for a job to end; `PartiallyCompleted` is a success only on request."""

    token: str = field(repr=False)
    partially_completed_is_success: bool = False

    @classmethod
    def parse(cls, text: str) -> WaitingTask:
        """Read what `str` wrote; raises ValueError, without the text, for anything else."""
        least, separator, token = text.partition("#")
        if not separator or not token or least not in _LEAST:
            message = "a waiting task is written '<least status that is a success>#<token>'"
            raise ValueError(message)
        return cls(token, least == statuses.PARTIALLY_COMPLETED)

    def __str__(self) -> str:
        """The task as the job's item has it: `Completed#<token>`, `PartiallyCompleted#<token>`."""
        return f"{_LEAST[self.partially_completed_is_success]}#{self.token}"


_LEAST: Final = (statuses.COMPLETED, statuses.PARTIALLY_COMPLETED)


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """What Step Functions is to be told: `output` of a success, or `error` and `cause`.

    `mark` is the name under which the job's item says that the answer is still to be sent, `due`
    since when it is.
    """

    job_arn: str
    mark: str
    task: str = field(repr=False)
    token: str = field(repr=False)
    due: datetime
    output: str | None = field(default=None, repr=False)
    error: str = ""
    cause: str = field(default="", repr=False)


def mark_of(task: str, sequence: int) -> str:
    """The mark of a task, as the item has it, whose job ended with this transition."""
    digest = hashlib.sha256(task.encode()).hexdigest()
    return str(task_mark(sequence, digest[:_ID_CHARACTERS]))


def marks_of(tasks: Iterable[str], entry: HistoryEntry) -> frozenset[str]:
    """The marks of the answers that a transition owes to these tasks: none before the end."""
    if not statuses.is_terminal(entry.status):
        return frozenset()
    return frozenset(mark_of(task, entry.sequence) for task in tasks)


def answer_of(job: JobRecord, task: str, *, due: datetime) -> TaskAnswer:
    """The answer to a task whose job has ended.

    A success has the detail of the job's `Batch Inference Job Ended` as its output; a failure has
    the job's status as its error and Bedrock's message as its cause. Raises ValueError for a task
    that the monitor did not write.
    """
    waiting = WaitingTask.parse(task)
    entry = job.last
    mark = mark_of(task, entry.sequence)
    if entry.status == statuses.COMPLETED or (
        entry.status == statuses.PARTIALLY_COMPLETED and waiting.partially_completed_is_success
    ):
        output = status_event(job, entry).detail
        return TaskAnswer(entry.job_arn, mark, task, waiting.token, due, output=output)
    cause = entry.message or f"{entry.job_arn} ended as {entry.status}"
    return TaskAnswer(
        entry.job_arn,
        mark,
        task,
        waiting.token,
        due,
        error=entry.status,
        cause=cause[:CAUSE_CHARACTERS],
    )
