"""How the SDK is used by every edge: bounded calls, and pages whose errors are `ServiceError`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from botocore.config import Config

from bedrock_batch_monitor.services.errors import calling

T = TypeVar("T")


def bounded_config(
    *, concurrency: int, attempts: int, connect_seconds: float = 2, answer_seconds: float = 5
) -> Config:
    """A client's settings: connections for so many threads, and how long a call may take."""
    return Config(
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
