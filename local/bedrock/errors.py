"""The errors of the API and of the stand-in."""

from __future__ import annotations

from typing import Final

# The error shapes that the stand-in sends for its own reasons.
ACCESS_DENIED: Final = "AccessDeniedException"
CONFLICT: Final = "ConflictException"
INTERNAL: Final = "InternalServerException"
NOT_FOUND: Final = "ResourceNotFoundException"
THROTTLING: Final = "ThrottlingException"
VALIDATION: Final = "ValidationException"


class ServiceError(Exception):
    """An error response of the API: *code* is the name of an error shape.

    With a *status* the API's model does not have the error: any service can send it.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class ModelMismatchError(AssertionError):
    """The stand-in was about to send a response that the API's model does not allow."""


class ResultsRefusedError(Exception):
    """The results of a job cannot be written; the text is the message with which the job fails."""
