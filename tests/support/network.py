"""What is under a client of botocore: a network without a wire, for tests that open no socket."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

Answer = bytes | int | Exception | tuple[int, bytes, dict[str, str]]


class _Body(io.BytesIO):
    """The body of an answer, as urllib3 streams it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        """The whole body at once."""
        yield self.read()


class Network:
    """Keeps each request that is sent, and answers it.

    `answers` are the next ones: a body with status 200, a status with the body `{}`, both with
    headers, or an exception of the SDK; `{}` after them. `meanwhile` happens before each.
    """

    def __init__(self, *answers: Answer) -> None:
        self.sent: list[str] = []
        self.answers = list(answers)
        self.meanwhile: Callable[[], object] = lambda: None

    def send(self, request: Any) -> AWSResponse:
        """Send a request over no wire."""
        self.sent.append(request.url)
        answer = self.answers.pop(0) if self.answers else b"{}"
        self.meanwhile()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            answer = (200, answer, {})
        elif isinstance(answer, int):
            answer = (answer, b"{}", {})
        status, body, headers = answer
        headers = {"content-length": str(len(body)), **headers}
        return AWSResponse(request.url, status, headers, _Body(body))  # type: ignore[no-untyped-call]


def session() -> boto3.Session:
    """A session with keys that nothing checks."""
    return boto3.Session("key", "secret", region_name="us-east-1")
