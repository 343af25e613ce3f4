"""Errors of AWS services in the monitor's own terms: which service, which code, can it pass.

One rule for every service: only an error that is known to pass is retryable. Everything else is a
refusal, which is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from botocore import exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from bedrock_batch_monitor.domain.jobs import bounded

# STS answers this both for a role that does not exist and for one that does not trust the caller.
ROLE_REFUSED: Final = "STS.AccessDenied"
UNKNOWN: Final = "Unknown"
UNUSABLE_ANSWER: Final = "UnusableAnswer"
# What botocore's parser raises for an answer of another shape than the API's: a time that is not a
# time, a text in place of a structure, a document that is too deep. One such answer must not end a
# poll.
ODD_ANSWER: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
# A code becomes part of items, log lines and metrics; text of another form is not used as one.
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

_THROTTLING: Final = frozenset(
    {
        # botocore.retries.standard.ThrottledRetryableChecker: "the union of all error codes we've
        # seen that represent a throttled error".
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
        # botocore's service models: Step Functions; SNS, which shortens the names of its shapes.
        "KmsThrottlingException",
        "KMSThrottling",
        "KMSThrottlingException",
        "Throttled",
        # DynamoDB API reference, TransactWriteItems: codes among the reasons of a cancellation.
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
    }
)
# For errors whose HTTP status is not known: entries of PutEvents, for example. Sources: the common
# errors of all AWS services, and the service models of Bedrock, DynamoDB, S3 and SNS.
_SERVER_ERRORS: Final = frozenset(
    {
        "InternalError",
        "InternalErrorException",
        "InternalException",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
# A 4xx that can pass: the service did not receive the whole request
# (botocore.retries.standard.TransientRetryableChecker), or another write to the same item was in
# progress (DynamoDB API reference; botocore's _retry.json has the one of global tables).
_TRANSIENT: Final = frozenset(
    {
        "ReplicatedWriteConflictException",
        "RequestTimeout",
        "RequestTimeoutException",
        "TransactionConflict",
        "TransactionConflictException",
    }
)
# Exceptions of the SDK after which the answer is unknown: the network, an answer that cannot be
# parsed, or no credentials to sign a request with. Others, such as ParamValidationError, mean that
# the SDK refuses to send the request; it will refuse again.
_NO_ANSWER: Final[tuple[type[Exception], ...]] = (
    sdk.ConnectionError,
    sdk.HTTPClientError,
    sdk.IncompleteReadError,
    sdk.ChecksumError,
    sdk.FlexibleChecksumError,
    ResponseParserError,
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
    sdk.MetadataRetrievalError,
    sdk.NoAuthTokenError,
    sdk.TokenRetrievalError,
    sdk.LoginError,
    sdk.SSOError,
)
_NO_ANSWER_NAMES: Final = frozenset({UNUSABLE_ANSWER, ResponseParserError.__name__}) | {
    name
    for name, value in vars(sdk).items()
    if isinstance(value, type) and issubclass(value, _NO_ANSWER)
}


class ServiceError(Exception):
    """A call that an AWS service refused or that did not get an answer.

    `code` is `<Service>.<error code>`, where a call without an answer has the SDK's exception name
    as its code (for example `Bedrock.ReadTimeoutError`). `status` is the HTTP status of the answer:
    None if there was no answer, or if the error is one entry's in an answer that succeeded.
    """

    def __init__(
        self, service: str, reason: str, message: str, *, status: int | None = None
    ) -> None:
        super().__init__(f"{service}.{reason}: {message}")
        self.reason = reason
        self.message = message
        self.code = f"{service}.{reason}"
        self.status = status

    @property
    def is_throttling(self) -> bool:
        """Whether there were too many calls; fewer of them can succeed."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or self.reason in _THROTTLING

    @property
    def is_server_error(self) -> bool:
        """Whether the service failed: a 5xx, or a code that means one if the status is unknown."""
        if self.status is None:
            return self.reason in _SERVER_ERRORS
        return self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    @property
    def has_no_answer(self) -> bool:
        """Whether no usable answer came: what the call did at the service is unknown."""
        if self.reason == UNUSABLE_ANSWER:
            return True
        return self.status is None and self.reason in _NO_ANSWER_NAMES

    @property
    def is_retryable(self) -> bool:
        """Whether the error is known to pass by itself."""
        return (
            self.is_throttling
            or self.is_server_error
            or self.has_no_answer
            or self.reason in _TRANSIENT
        )

    @property
    def is_refusal(self) -> bool:
        """Whether the same call will probably be refused until something is changed."""
        return not self.is_retryable


@contextmanager
def calling(service: str) -> Iterator[None]:
    """Turn what botocore raises in this block into a `ServiceError` of this service."""
    try:
        yield
    except ClientError as error:
        raise _refused(service, error) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise ServiceError(service, type(error).__name__, storable(str(error))) from error


def storable(text: str) -> str:
    """The text in bounds, without lone surrogates: JSON can carry those, DynamoDB cannot."""
    # Surrogates are not ASCII, and most texts are: each text of each summary comes here.
    return bounded(text if text.isascii() else text.encode(errors="replace").decode())


def _refused(service: str, error: ClientError) -> ServiceError:
    # The answer can come from a proxy, with any values in these places.
    details = error.response.get("Error", {})
    code, message = details.get("Code"), details.get("Message")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return ServiceError(
        service,
        code if isinstance(code, str) and _CODE.fullmatch(code) else UNKNOWN,
        storable(message) if isinstance(message, str) else "",
        status=status if isinstance(status, int) else None,
    )
