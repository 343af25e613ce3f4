"""How the SDK is used by every edge: bounded calls, and pages whose errors are `ServiceError`."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import botocore
from botocore.config import Config

from bedrock_batch_monitor.services.errors import calling

T = TypeVar("T")

USER_AGENT: Final = (
    f"bedrock-batch-monitor Botocore/{botocore.__version__} Python/{platform.python_version()}"
)


def bounded_config(
    *, concurrency: int, attempts: int, connect_seconds: float = 2, answer_seconds: float = 5
) -> Config:
    """A client's settings: connections for so many threads, and how long a call may take.

    Two of them save a sixth of what a call takes on our side, which a small function has least of:
    requests are checked against the API's model in the tests and not at each call, and the name of
    the caller, which CloudTrail records, is put together once.
    """
    return Config(
        parameter_validation=False,
        user_agent=USER_AGENT,
        max_pool_connections=concurrency,
        connect_timeout=connect_seconds,
        read_timeout=answer_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )


def pages_of(service: str, paginated: Iterable[T]) -> Iterator[T]:
    """Every page of a boto3 paginator; raises `ServiceError` of this service."""
    pages = iter(paginated)
    while True:
        with calling(service):
            page = next(pages, None)
        if page is None:
            return
        yield page
