"""Errors of AWS services in the monitor's own terms: which service, which code, can it pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

_PERMANENT: Final = frozenset(
    {"ResourceNotFoundException", "AccessDeniedException", "ValidationException"}
)
# What STS says where a role is not there, or does not trust who asks: it does not tell which.
ROLE_REFUSED: Final = "STS.AccessDenied"


class ServiceError(Exception):
    """A call that an AWS service refused or that did not get an answer.

    `code` is `<Service>.<error code>`, where a call without an answer has the SDK's exception name
    as its code (for example `Bedrock.ReadTimeoutError`).
    """

    def __init__(self, service: str, reason: str, message: str) -> None:
        super().__init__(f"{service}.{reason}: {message}")
        self.reason = reason
        self.message = message
        self.code = f"{service}.{reason}"

    @property
    def is_permanent(self) -> bool:
        """Whether the same call will be refused again until somebody changes something."""
        return self.reason in _PERMANENT or self.code == ROLE_REFUSED


@contextmanager
def calling(service: str) -> Iterator[None]:
    """Turn what botocore raises in this block into a `ServiceError` of this service."""
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        raise ServiceError(
            service, details.get("Code", "Unknown"), details.get("Message", "")
        ) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise ServiceError(service, type(error).__name__, str(error)) from error
