"""How the SDK is used by every edge: bounded calls, and pages whose errors are `ServiceError`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from botocore.config import Config

from bedrock_batch_monitor.services.errors import calling

T = TypeVar("T")


def bounded_config(*, concurrency: int, attempts: int) -> Config:
    """A client's settings: connections for so many threads, 2 s to connect, 5 s for an answer."""
    return Config(
        max_pool_connections=concurrency,
        connect_timeout=2,
        read_timeout=5,
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
