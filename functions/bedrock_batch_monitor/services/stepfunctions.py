"""AWS Step Functions: answers the tasks that wait for a job to end."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.services.errors import ServiceError, calling
from bedrock_batch_monitor.services.sdk import bounded_config

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_stepfunctions import SFNClient

    from bedrock_batch_monitor.domain.tasks import TaskAnswer

SERVICE: Final = "StepFunctions"
# Of one task alone: its time is up, it was answered before, or its token is none. Nothing changes
# that. Source: the errors of SendTaskSuccess and SendTaskFailure in the API reference.
REFUSALS: Final = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})
# Of one state machine alone, whose data are encrypted with a key that cannot be used now.
OF_ONE_KEY: Final = frozenset(
    {"KmsAccessDeniedException", "KmsInvalidStateException", "KmsThrottlingException"}
)


class WaitingTasks:
    """The tasks of the caller's account and region; safe to use from many threads.

    The client is made for the first answer: most environments start, and end, without one.
    """

    def __init__(self, new_client: Callable[[], SFNClient]) -> None:
        self._new_client = new_client
        self._made: SFNClient | None = None
        self._making = Lock()

    @classmethod
    def connect(cls, session: boto3.Session, concurrency: int) -> WaitingTasks:
        """With a client whose connection pool serves `concurrency` threads."""
        config = bounded_config(concurrency=concurrency, attempts=2)
        return cls(lambda: session.client("stepfunctions", config=config))

    @property
    def _client(self) -> SFNClient:
        # A session makes one client at a time.
        with self._making:
            if self._made is None:
                self._made = self._new_client()
            return self._made

    def answer(self, answer: TaskAnswer) -> str | None:
        """Tell Step Functions how the job ended; None, or the code with which the task refuses.

        A task that was answered before refuses too: a repeat after a call whose answer was lost
        cannot be told from an expired token. Raises `ServiceError` for anything else.
        """
        try:
            with calling(SERVICE):
                if answer.output is not None:
                    self._client.send_task_success(taskToken=answer.token, output=answer.output)
                else:
                    self._client.send_task_failure(
                        taskToken=answer.token, error=answer.error, cause=answer.cause
                    )
        except ServiceError as error:
            if error.reason in REFUSALS:
                return error.reason
            raise
        return None
