"""How all adapters use the SDK: bounded calls, and pages whose errors are `ServiceError`.

Lambda freezes an execution environment, with the threads that still run, when an invocation
returns, and thaws it for the next invocation. A thread of the earlier invocation then continues
with outdated data. `Invocation`, `run_in` and `guard` make sure that it sends no request.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar, copy_context
from threading import Event
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import botocore
from botocore.config import Config

from bedrock_batch_monitor.adapters.errors import calling

if TYPE_CHECKING:
    from boto3 import Session as Session  # noqa: PLC0414 - the type for those who may not import the SDK
    from botocore.client import BaseClient

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound="BaseClient")

USER_AGENT: Final = (
    f"bedrock-batch-monitor Botocore/{botocore.__version__} Python/{platform.python_version()}"
)


def bounded_config(
    *, concurrency: int, attempts: int, connect_seconds: float = 2, answer_seconds: float = 5
) -> Config:
    """A client's settings: connections for so many threads, and how long a call may take.

    Two of them save a sixth of the CPU time of a call: requests are validated against the API's
    model in the tests and not at each call, and the User-Agent, which CloudTrail records, is built
    once.
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


class InvocationOverError(Exception):
    """A request was not sent, because the invocation that it belongs to has ended.

    It is not an error of a service or of the SDK, so that neither the SDK's retries nor the
    handling of service errors catch it.
    """

    def __init__(self) -> None:
        super().__init__("the invocation that this request belongs to has ended")


class Invocation:
    """One invocation of the function, for the threads that work for it; safe to share by them."""

    def __init__(self) -> None:
        self._over = Event()

    @property
    def is_over(self) -> bool:
        """Whether `end` was called."""
        return self._over.is_set()

    def end(self) -> None:
        """Guarded clients send nothing more for this invocation; can be called again."""
        self._over.set()


_CURRENT: ContextVar[Invocation | None] = ContextVar("invocation", default=None)


def run_in(
    invocation: Invocation, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a function as part of an invocation: `executor.submit(run_in, invocation, f, x)`.

    The thread belongs to the invocation for this call only. Returns and raises what the function
    does; a guarded client raises `InvocationOverError` in it once the invocation is over.
    """
    context = copy_context()
    context.run(_CURRENT.set, invocation)
    return context.run(function, *args, **kwargs)


def guard(client: C) -> C:
    """Let a client refuse to send requests for an invocation that is over; returns the client.

    The check is made before each attempt, retries of the SDK included. A request that was sent
    before cannot be cancelled. Calls outside of `run_in` are not checked.
    """
    client.meta.events.register_first("before-send", _check_invocation, unique_id="invocation")
    return client


def _check_invocation(**_: Any) -> None:  # noqa: ANN401 - what botocore hands to its handlers
    invocation = _CURRENT.get()
    if invocation is not None and invocation.is_over:
        raise InvocationOverError
