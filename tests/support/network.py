"""A fake HTTP session for botocore clients, for tests that open no socket."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse

Answer = bytes | int | Exception | tuple[int, bytes, dict[str, str]]


class _Body(io.BytesIO):
    """The body of a response, as urllib3 streams it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        """The whole body at once."""
        yield self.read()


class Network:
    """Records the URL and the body of each request, and responds to it.

    `answers` are the next responses: a body with status 200, a status with the body `{}`, both with
    headers, or an exception of the SDK; then `{}`. `meanwhile` is called before each response.
    """

    def __init__(self, *answers: Answer) -> None:
        self.sent: list[str] = []
        self.bodies: list[bytes] = []
        self.answers = list(answers)
        self.meanwhile: Callable[[], object] = lambda: None

    def send(self, request: Any) -> AWSResponse:
        """Record a request and return the next response."""
        self.sent.append(request.url)
        self.bodies.append(request.body)
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
    """A session with keys that are never checked."""
    return boto3.Session("key", "secret", region_name="us-east-1")
