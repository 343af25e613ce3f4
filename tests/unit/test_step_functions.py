"""Errors of Step Functions about a task callback: of one task, or of every task."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.exceptions import ClientError

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.stepfunctions import OF_ONE_KEY, TaskClient
from bedrock_batch_monitor.domain.tasks import TaskCallback, WaitingTask

URL = "https://states.example"
TOKEN = "a-secret-token"  # noqa: S105 - no real one
TASK = WaitingTask(TOKEN)
SUCCESS = TaskCallback(TASK, output="{}")
FAILURE = TaskCallback(TASK, error="Failed", cause="no capacity")


class Client:
    """A client of Step Functions that raises a given error, and records its requests."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[tuple[str, dict[str, str]]] = []

    def send_task_success(self, **request: str) -> dict[str, Any]:
        """Take the output of a task."""
        return self._take("success", request)

    def send_task_failure(self, **request: str) -> dict[str, Any]:
        """Take the error and cause of a task."""
        return self._take("failure", request)

    def _take(self, operation: str, request: dict[str, str]) -> dict[str, Any]:
        self.asked.append((operation, request))
        if self.error is not None:
            raise self.error
        return {}


def refusal(code: str, status: int | None) -> ClientError:
    """An error of an answer, whose text quotes the token."""
    answer: dict[str, Any] = {"Error": {"Code": code, "Message": f"about {TOKEN}"}}
    if status is not None:
        answer["ResponseMetadata"] = {"HTTPStatusCode": status}
    return ClientError(answer, "SendTaskSuccess")  # type: ignore[arg-type]


def tasks(client: Client) -> TaskClient:
    return TaskClient(lambda: client)  # type: ignore[arg-type,return-value]


def test_success_and_failure_callbacks_are_sent_unchanged() -> None:
    client = Client()
    assert tasks(client).answer(SUCCESS) is None
    assert tasks(client).answer(FAILURE) is None
    assert client.asked == [
        ("success", {"taskToken": TOKEN, "output": "{}"}),
        ("failure", {"taskToken": TOKEN, "error": "Failed", "cause": "no capacity"}),
    ]


@pytest.mark.parametrize("answer", [SUCCESS, FAILURE], ids=["success", "failure"])
@pytest.mark.parametrize("status", [400, 404, None])
@pytest.mark.parametrize(
    "code",
    [
        "TaskTimedOut",
        "TaskDoesNotExist",
        "InvalidToken",
        "InvalidOutput",
        "ValidationException",
        "ValidationError",
        "ResourceNotFoundException",
        "SomethingNew",
    ],
)
def test_refusal_of_one_task_is_returned_as_its_result(
    answer: TaskCallback, code: str, status: int | None
) -> None:
    """The code is returned, so that the token is removed and no other task waits for it."""
    assert tasks(Client(refusal(code, status))).answer(answer) == code


def test_token_that_the_sdk_refuses_is_a_refusal_of_that_task() -> None:
    error = sdk.ParamValidationError(report="taskToken")
    assert tasks(Client(error)).answer(SUCCESS) == "ParamValidationError"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 400),
        ("TooManyRequestsException", 429),
        ("SomethingNew", 429),
        ("AccessDeniedException", 400),
        ("AccessDeniedException", None),
        ("AccessDenied", 403),
        ("SomethingNew", 401),
        ("SomethingNew", 403),
        ("ExpiredTokenException", 400),
        ("ExpiredToken", 400),
        ("UnrecognizedClientException", 400),
        ("InvalidSignatureException", 400),
        ("MissingAuthenticationToken", 400),
        ("OptInRequired", 400),
        ("UnknownOperationException", 404),
        ("InternalServerError", 500),
        ("InternalFailure", None),
        ("ValidationException", 503),
        ("PermanentRedirect", 301),
    ],
)
def test_error_of_the_service_or_the_caller_keeps_the_token(code: str, status: int | None) -> None:
    """No task gets a callback now; the token may be valid."""
    with pytest.raises(ServiceError) as caught:
        tasks(Client(refusal(code, status))).answer(SUCCESS)
    assert caught.value.code == f"StepFunctions.{code}"


@pytest.mark.parametrize("code", sorted(OF_ONE_KEY))
@pytest.mark.parametrize("status", [400, None])
def test_key_that_cannot_be_used_keeps_the_token(code: str, status: int | None) -> None:
    """The callback stays pending; `OF_ONE_KEY` marks that other tasks are not affected."""
    with pytest.raises(ServiceError) as caught:
        tasks(Client(refusal(code, status))).answer(SUCCESS)
    assert caught.value.reason in OF_ONE_KEY


@pytest.mark.parametrize(
    "error",
    [
        sdk.EndpointConnectionError(endpoint_url=URL),
        sdk.ReadTimeoutError(endpoint_url=URL),
        sdk.NoCredentialsError(),
        sdk.UnknownEndpointError(service_name="states", region_name="nowhere"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_call_without_a_response_keeps_the_token(error: Exception) -> None:
    with pytest.raises(ServiceError):
        tasks(Client(error)).answer(SUCCESS)


def test_client_that_cannot_be_made_keeps_the_token() -> None:
    """A deployment without a Region must not drop the tokens of all tasks."""

    def fails() -> Any:
        raise sdk.NoRegionError

    with pytest.raises(ServiceError, match="NoRegionError"):
        TaskClient(fails).answer(SUCCESS)


def test_client_is_created_once() -> None:
    made: list[Client] = []

    def make() -> Any:
        made.append(Client())
        return made[-1]

    waiting = TaskClient(make)
    assert made == []
    waiting.answer(SUCCESS)
    waiting.answer(FAILURE)
    assert len(made) == 1
