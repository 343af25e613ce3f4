"""AWS Step Functions: callbacks with the task token to tasks that wait for a job to end."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError, ParamValidationError

from bedrock_batch_monitor.adapters.errors import ServiceError, calling
from bedrock_batch_monitor.adapters.sdk import bounded_config, guard

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_stepfunctions import SFNClient

    from bedrock_batch_monitor.domain.tasks import TaskCallback

SERVICE: Final = "StepFunctions"
# About one state machine alone, whose data are encrypted with a key that cannot be used now: its
# callback stays pending, and the callbacks of other tasks are sent.
OF_ONE_KEY: Final = frozenset(
    {"KmsAccessDeniedException", "KmsInvalidStateException", "KmsThrottlingException"}
)
# Refusals that are about the caller or the endpoint: no callback of any task succeeds. Sources: the
# common errors of all AWS services in the API reference, and the codes that services with a JSON
# protocol were seen to use; they send most of these with status 400.
_OF_THE_CALLER: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidAction",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "SubscriptionRequiredException",
        "UnauthorizedOperation",
        "UnknownOperationException",
        "UnrecognizedClientException",
    }
)
_STATUSES_OF_THE_CALLER: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class TaskClient:
    """The tasks of the caller's account and Region; safe to use from many threads.

    The client is created for the first callback: most execution environments never need one.
    """

    def __init__(self, new_client: Callable[[], SFNClient]) -> None:
        self._new_client = new_client
        self._made: SFNClient | None = None
        self._making = Lock()

    @classmethod
    def connect(cls, session: boto3.Session, concurrency: int) -> TaskClient:
        """With a client whose connection pool serves `concurrency` threads."""
        config = bounded_config(concurrency=concurrency, attempts=2)
        return cls(lambda: guard(session.client("stepfunctions", config=config)))

    @property
    def _client(self) -> SFNClient:
        # A session makes one client at a time.
        with self._making:
            if self._made is None:
                self._made = self._new_client()
            return self._made

    def answer(self, callback: TaskCallback) -> str | None:
        """Send the callback of a task; returns None, or the code with which the task refuses it.

        A task that was called back before refuses too: a repetition after a call whose answer was
        lost looks like an expired token. Raises `ServiceError` if the callback can succeed later:
        Step Functions throttles, fails, does not answer or does not accept the caller, or one state
        machine's key cannot be used (`OF_ONE_KEY`).
        """
        with calling(SERVICE):
            client = self._client
        try:
            with calling(SERVICE):
                token = callback.task.token
                if callback.output is not None:
                    client.send_task_success(taskToken=token, output=callback.output)
                else:
                    client.send_task_failure(
                        taskToken=token, error=callback.error, cause=callback.cause
                    )
        except ServiceError as error:
            if _is_of_the_task(error):
                return error.reason
            raise
        return None


def _is_of_the_task(error: ServiceError) -> bool:
    """Whether an error is about this task alone, and no later call will be accepted either.

    TaskTimedOut, TaskDoesNotExist, InvalidToken and InvalidOutput are. So is every error that is
    not known to be about more: a ValidationException, or a new code. Otherwise one unusable token
    would block all others.
    """
    if not isinstance(error.__cause__, (ClientError, ParamValidationError)):
        return False  # the SDK cannot call Step Functions at all
    if error.is_retryable or error.reason in OF_ONE_KEY or error.reason in _OF_THE_CALLER:
        return False
    if error.status is None:
        return True
    # An error of the server is retryable.
    return error.status >= HTTPStatus.BAD_REQUEST and error.status not in _STATUSES_OF_THE_CALLER
