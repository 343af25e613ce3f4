"""Classification of AWS service errors: retryable, or a refusal."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from botocore import exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from bedrock_batch_monitor.adapters.errors import UNUSABLE_ANSWER, ServiceError, calling
from bedrock_batch_monitor.domain.jobs import TEXT_CHARACTERS

SERVICES = ("Bedrock", "DynamoDB", "EventBridge", "StepFunctions", "S3", "STS")
URL = "https://service.example"


class Kind(NamedTuple):
    """What a ServiceError says of itself; `is_retryable` and `is_refusal` follow."""

    throttling: bool = False
    server: bool = False
    no_answer: bool = False
    transient: bool = False


REFUSAL = Kind()
THROTTLING = Kind(throttling=True)
SERVER = Kind(server=True)
BOTH = Kind(throttling=True, server=True)
NO_ANSWER = Kind(no_answer=True)
TRANSIENT = Kind(transient=True)


def raised(error: Exception, service: str = "Bedrock") -> ServiceError:
    """The ServiceError that this exception of botocore becomes."""
    with pytest.raises(ServiceError) as caught, calling(service):
        raise error
    return caught.value


def answered(code: str | None, status: int | None) -> ClientError:
    """The error of an answer, as botocore reads it; None leaves code or status out."""
    answer: dict[str, Any] = {"Error": {"Message": "text"}}
    if code is not None:
        answer["Error"]["Code"] = code
    if status is not None:
        answer["ResponseMetadata"] = {"HTTPStatusCode": status}
    return ClientError(answer, "Operation")  # type: ignore[arg-type]


def assert_kind(error: ServiceError, kind: Kind) -> None:
    assert (error.is_throttling, error.is_server_error, error.has_no_answer) == kind[:3]
    assert error.is_retryable is any(kind)
    assert error.is_refusal is not any(kind)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("UnrecognizedClientException", 403, REFUSAL),
        ("InvalidSignatureException", 403, REFUSAL),
        ("ExpiredTokenException", 403, REFUSAL),
        ("ExpiredToken", 400, REFUSAL),
        ("AccessDeniedException", 403, REFUSAL),
        ("AccessDeniedException", 400, REFUSAL),
        ("AccessDenied", 403, REFUSAL),
        ("OptInRequired", 403, REFUSAL),
        ("ResourceNotFoundException", 404, REFUSAL),
        ("ValidationException", 400, REFUSAL),
        ("UnknownOperationException", 404, REFUSAL),
        ("ConditionalCheckFailedException", 400, REFUSAL),
        ("NoSuchKey", 404, REFUSAL),
        ("PermanentRedirect", 301, REFUSAL),
        ("SomethingNew", 418, REFUSAL),
        ("ThrottlingException", 429, THROTTLING),
        ("ThrottlingException", 400, THROTTLING),
        ("Throttling", 400, THROTTLING),
        ("TooManyRequestsException", 429, THROTTLING),
        ("ProvisionedThroughputExceededException", 400, THROTTLING),
        ("RequestLimitExceeded", 400, THROTTLING),
        ("KmsThrottlingException", 400, THROTTLING),
        ("SomethingNew", 429, THROTTLING),
        ("SlowDown", 503, BOTH),
        ("InternalServerException", 500, SERVER),
        ("InternalServerError", 500, SERVER),
        ("ServiceUnavailable", 503, SERVER),
        ("SomethingNew", 500, SERVER),
        ("AccessDeniedException", 502, SERVER),
        ("NetworkConnectTimeoutError", 599, SERVER),
        ("RequestTimeout", 400, TRANSIENT),
        ("RequestTimeoutException", 408, TRANSIENT),
        ("TransactionConflictException", 400, TRANSIENT),
    ],
)
def test_error_response_is_classified_by_code_and_status(
    service: str, code: str, status: int, kind: Kind
) -> None:
    """One rule for every service: what is not known to be temporary is a refusal."""
    error = raised(answered(code, status), service)
    assert (error.code, error.reason, error.status) == (f"{service}.{code}", code, status)
    assert error.message == "text"
    assert_kind(error, kind)


@pytest.mark.parametrize("code", [None, "", "Unknown"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, REFUSAL),
        (400, REFUSAL),
        (401, REFUSAL),
        (403, REFUSAL),
        (404, REFUSAL),
        (428, REFUSAL),
        (429, THROTTLING),
        (430, REFUSAL),
        (499, REFUSAL),
        (500, SERVER),
        (502, SERVER),
        (503, SERVER),
        (504, SERVER),
        (None, REFUSAL),
    ],
)
def test_error_without_a_code_is_classified_by_its_status(
    code: str | None, status: int | None, kind: Kind
) -> None:
    """Responses of a proxy, or of a broken service, often have no code."""
    error = raised(answered(code, status))
    assert error.code == "Bedrock.Unknown"
    assert_kind(error, kind)


@pytest.mark.parametrize(
    "code", [7, ["a"], {"a": 1}, "two words", "line\nbreak", "\x1b[2J", "\ud800", "x" * 129]
)
def test_malformed_error_code_is_unknown(code: Any) -> None:
    """Codes are in items, log lines and metrics: free text of a proxy must not get there."""
    error = raised(answered(code, 403))
    assert error.code == "Bedrock.Unknown"
    assert_kind(error, REFUSAL)


@pytest.mark.parametrize(
    "code", ["AWS.SimpleQueueService.NonExistentQueue", "503", "a:b-c.d", "x" * 128]
)
def test_error_code_of_a_service_is_kept(code: str) -> None:
    assert raised(answered(code, 403)).reason == code


def test_error_message_is_bounded_and_can_be_stored() -> None:
    """It fits into `lastError`, whatever the service returns."""
    error = answered("ValidationException", 400)
    error.response["Error"]["Message"] = "bad \ud800 " + "x" * 1_000_000
    message = raised(error).message
    assert message.startswith("bad ? x")
    assert len(message) == TEXT_CHARACTERS
    error.response["Error"]["Message"] = {"a": 1}  # type: ignore[typeddict-item]
    assert raised(error).message == ""
    text = raised(sdk.HTTPClientError(error="x" * 1_000_000)).message
    assert len(text) == TEXT_CHARACTERS


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InternalFailure", SERVER),
        ("InternalException", SERVER),
        ("InternalServerException", SERVER),
        ("ServiceUnavailable", SERVER),
        ("ServiceUnavailableException", SERVER),
        ("ThrottlingException", THROTTLING),
        ("ThrottlingError", THROTTLING),
        ("ProvisionedThroughputExceeded", THROTTLING),
        ("TransactionConflict", TRANSIENT),
        ("ConditionalCheckFailed", REFUSAL),
        ("NotAuthorizedForSourceException", REFUSAL),
        ("AccessDeniedException", REFUSAL),
        ("ValidationError", REFUSAL),
        (UNUSABLE_ANSWER, NO_ANSWER),
        ("ReadTimeoutError", NO_ANSWER),
    ],
)
def test_entry_of_a_response_is_classified_by_its_code(code: str, kind: Kind) -> None:
    """Refused entries of PutEvents and reasons of a cancelled transaction have no HTTP status."""
    error = ServiceError("EventBridge", code, "")
    assert error.status is None
    assert_kind(error, kind)


@pytest.mark.parametrize("status", [400, 404])
def test_client_error_status_overrides_the_code_of_a_server_error(status: int) -> None:
    """A code that usually comes with a 5xx does not make a 4xx retryable."""
    assert_kind(raised(answered("InternalFailure", status)), REFUSAL)


@pytest.mark.parametrize(
    "error",
    [
        sdk.EndpointConnectionError(endpoint_url=URL),
        sdk.ReadTimeoutError(endpoint_url=URL),
        sdk.ConnectTimeoutError(endpoint_url=URL),
        sdk.ConnectionClosedError(endpoint_url=URL),
        sdk.SSLError(endpoint_url=URL, error="handshake"),
        sdk.ProxyConnectionError(proxy_url=URL),
        sdk.HTTPClientError(error="other"),
        sdk.ResponseStreamingError(error="cut off"),
        sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        sdk.NoCredentialsError(),
        sdk.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        sdk.CredentialRetrievalError(provider="assume-role", error_msg="no answer"),
        sdk.MetadataRetrievalError(error_msg="no answer"),
        ResponseParserError("not JSON"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_call_without_a_response_is_retryable(error: Exception) -> None:
    """Time-outs, failed connections, hosts that do not resolve, credentials that do not load."""
    result = raised(error)
    assert result.code == f"Bedrock.{type(error).__name__}"
    assert result.status is None
    assert_kind(result, NO_ANSWER)


@pytest.mark.parametrize(
    "error",
    [
        sdk.ParamValidationError(report="Invalid bucket name"),
        sdk.UnknownEndpointError(service_name="bedrock", region_name="nowhere"),
        sdk.InvalidRegionError(region_name="us east"),
        sdk.DataNotFoundError(data_path="x"),
        BotoCoreError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_request_that_the_sdk_does_not_send_is_a_refusal(error: Exception) -> None:
    """The SDK will refuse the same request again."""
    assert_kind(raised(error), REFUSAL)


def test_sdk_exception_name_in_a_response_is_a_refusal() -> None:
    """A response stays a response, whatever its code is called."""
    assert_kind(raised(answered("ConnectionError", 400)), REFUSAL)


@pytest.mark.parametrize("status", [None, 200])
def test_unusable_response_is_retryable(status: int | None) -> None:
    """A body that is truncated or belongs to another job can be right at the next call."""
    assert_kind(ServiceError("Bedrock", UNUSABLE_ANSWER, "", status=status), NO_ANSWER)


def test_every_code_that_the_sdk_retries_is_retryable() -> None:
    """A newer SDK that knows more codes fails here, and the lists are extended."""
    codes = {
        *ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
        *TransientRetryableChecker._TRANSIENT_ERROR_CODES,
    }
    assert [code for code in sorted(codes) if ServiceError("S3", code, "").is_refusal] == []
    throttled = ThrottledRetryableChecker._THROTTLED_ERROR_CODES
    assert all(ServiceError("S3", code, "").is_throttling for code in throttled)


def test_other_exceptions_are_not_translated() -> None:
    """A defect of the monitor is not an error of a service."""
    with pytest.raises(KeyError), calling("Bedrock"):
        raise KeyError
