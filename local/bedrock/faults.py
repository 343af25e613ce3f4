"""The faults of the stand-in: set one at a time, each removable.

Faults draw from the stand-in's seed, so the same sequence of calls gives the same answers.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from local.bedrock.errors import ACCESS_DENIED, THROTTLING, ServiceError
from local.bedrock.fault_kinds import (
    KINDS,
    Breakage,
    CallTime,
    Delay,
    Deny,
    EmptyPages,
    EmptyToken,
    Fail,
    Fault,
    Hide,
    Override,
    Refuse,
    ShortPages,
    Sometimes,
    StaleLists,
    Throttle,
)
from local.bedrock.shapes import timestamp_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from local.bedrock.clock import Clock

__all__ = ["Faults"]

P = ParamSpec("P")
_F = TypeVar("_F", bound=Fault)


def _setter(kind: Callable[P, Fault]) -> Callable[Concatenate[Faults, P], str]:
    def set_fault(faults: Faults, /, *values: P.args, **named: P.kwargs) -> str:
        return faults.add(kind(*values, **named))

    set_fault.__doc__ = kind.__doc__
    return set_fault


@dataclass
class _Active:
    """A fault that is set, with its remaining calls and tokens."""

    fault: Fault
    rng: random.Random
    calls_left: int | None
    calls_to_pass: int = 0
    tokens: float = 0.0
    filled_at: float = 0.0


class Faults:
    """The faults that are set.

    Each setter takes the arguments of its kind and returns the fault's id, for `remove`. *listed*
    maps each operation to the errors that the API's model lists for it: other errors are never
    sent. *monotonic* is the real time in seconds for real-time rate limits.
    """

    def __init__(
        self,
        clock: Clock,
        seed: int,
        listed: Mapping[str, Collection[str]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listed = listed
        self._clock = clock
        self._seed = seed
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._active: dict[str, _Active] = {}
        self._set = 0

    throttle = _setter(Throttle)
    fail = _setter(Fail)
    refuse = _setter(Refuse)
    delay = _setter(Delay)
    call_time = _setter(CallTime)
    deny = _setter(Deny)
    hide = _setter(Hide)
    stale_lists = _setter(StaleLists)
    short_pages = _setter(ShortPages)
    empty_pages = _setter(EmptyPages)
    empty_token = _setter(EmptyToken)
    override = _setter(Override)

    def add(self, fault: Fault) -> str:
        """Set a fault and return its id; ValueError for an error that its operation lacks.

        An error without an operation applies to the operations that list it.
        """
        if isinstance(fault, Fail) and not fault.is_transport:
            scope = [fault.operation] if fault.operation else list(self._listed)
            if not any(fault.error in self._listed[operation] for operation in scope):
                _refuse(f"{' or '.join(scope)} cannot answer {fault.error}")
        with self._lock:
            self._set += 1
            fault_id = str(self._set)
            active = _Active(
                fault,
                random.Random(f"{self._seed}/fault/{fault_id}"),  # noqa: S311 - must repeat, no secret
                fault.next_calls if isinstance(fault, Sometimes) else None,
                fault.after_calls if isinstance(fault, Sometimes) else 0,
            )
            if isinstance(fault, Throttle) and fault.per_second is not None:
                active.tokens, active.filled_at = _burst(fault), self._seconds(fault)
            self._active[fault_id] = active
            return fault_id

    def add_json(self, document: Mapping[str, Any]) -> str:
        """Set the fault of a JSON object: `kind` and its fields; ValueError for another object."""
        arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}
        kind: Callable[..., Fault] | None = KINDS.get(str(arguments.pop("kind", "")))
        if kind is None:
            message = f"a fault's kind is one of {', '.join(KINDS)}"
            raise ValueError(message)
        try:
            return self.add(kind(**arguments))
        except TypeError as error:
            message = f"not a fault: {error}"
            raise ValueError(message) from error

    def remove(self, fault_id: str) -> None:
        """Remove a fault; KeyError if no fault has this id."""
        with self._lock:
            del self._active[fault_id]

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._active.clear()

    def active(self) -> dict[str, Fault]:
        """Return the faults that are set, by id."""
        with self._lock:
            return {fault_id: active.fault for fault_id, active in self._active.items()}

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return the faults that are set, by id, as `add_json` takes them."""
        names = {kind: name for name, kind in KINDS.items()}
        return {
            fault_id: {"kind": names[type(fault)], **asdict(fault)}
            for fault_id, fault in self.active().items()
        }

    # Queries of the service

    def delay_of(self, operation: str, job_arn: str | None) -> float:
        """Return how many real seconds an answer is delayed."""
        return sum(f.seconds for f in self._hits(Delay, operation, job_arn))

    def time_of(self, operation: str, job_arn: str | None) -> float:
        """Return how many simulated seconds a call takes."""
        return sum(f.seconds for f in self._hits(CallTime, operation, job_arn))

    def breakage_of(self, operation: str, job_arn: str | None) -> Breakage | None:
        """Return how the transport of an answer breaks, if it does."""
        for fault in self._hits(Fail, operation, job_arn, transport=True):
            return fault.error  # type: ignore[return-value] # only transport faults hit here
        return None

    def check(self, operation: str, job_arn: str | None) -> None:
        """Raise the ServiceError of a call, if any."""
        for _ in self._hits(Throttle, operation, job_arn):
            message = "Too many requests, please wait before trying again."
            raise ServiceError(THROTTLING, message)
        for refused in self._hits(Refuse, operation, job_arn):
            message = "The request is not accepted."
            raise ServiceError(refused.error, message, refused.status)
        for _ in self._hits(Deny, operation, job_arn):
            what = f"bedrock:{operation} on {job_arn or 'this resource'}"
            message = f"User is not authorized to perform: {what}"
            raise ServiceError(ACCESS_DENIED, message)
        for fault in self._hits(Fail, operation, job_arn, transport=False):
            message = "The request could not be handled."
            raise ServiceError(fault.error, message)

    def hidden(self) -> frozenset[str]:
        """Return the ARNs of the jobs that are hidden."""
        return frozenset(f.job_arn for f in self._of(Hide))

    def list_lag(self) -> float:
        """Return by how many simulated seconds lists are behind."""
        return max((f.seconds for f in self._of(StaleLists)), default=0.0)

    def left_out(self) -> frozenset[str]:
        """Return the ARNs of the jobs that are in no list, including hidden ones."""
        return self.hidden().union(*(f.leave_out for f in self._of(StaleLists)))

    def list_without(self) -> frozenset[str]:
        """Return the members that list summaries lack."""
        return frozenset[str]().union(*(f.without for f in self._of(StaleLists)))

    def examined(self) -> int | None:
        """Return the maximum number of jobs that a page of a list examines; None: no limit."""
        return min((f.examined for f in self._of(ShortPages)), default=None)

    def empty_pages_before(self) -> int:
        """Return how many empty pages come before each page of a list."""
        return sum(f.pages for f in self._of(EmptyPages))

    def has_empty_token(self) -> bool:
        """Return whether the last page of a list has an empty token."""
        return bool(self._of(EmptyToken))

    def overridden(self, operation: str, job_arn: str, document: dict[str, Any]) -> dict[str, Any]:
        """Return a job's JSON answer or summary as the overrides change it."""
        for fault in self._of(Override):
            if fault.applies(operation, job_arn):
                merged = {**document, **fault.values}
                document = {k: _raw(v) for k, v in merged.items() if v is not None}
        return document

    def _of(self, kind: type[_F]) -> list[_F]:
        if not self._active:
            return []
        with self._lock:
            return [a.fault for a in self._active.values() if isinstance(a.fault, kind)]

    def _hits(
        self,
        kind: type[_F],
        operation: str,
        job_arn: str | None,
        *,
        transport: bool | None = None,
    ) -> Iterator[_F]:
        """Yield the faults of a kind that apply to this call, and count the call."""
        if not self._active:
            return
        with self._lock:
            actives = list(self._active.values())
        for active in actives:
            fault = active.fault
            if not isinstance(fault, kind) or not fault.applies(operation, job_arn):
                continue
            if isinstance(fault, Fail) and not self._sendable(fault, operation, transport):
                continue
            with self._lock:
                applies = self._counted(active)
            if applies:
                yield fault

    def _sendable(self, fault: Fail, operation: str, transport: bool | None) -> bool:  # noqa: FBT001 - handed on
        if fault.is_transport or transport:
            return fault.is_transport and bool(transport)
        return fault.error in self._listed[operation]

    def _counted(self, active: _Active) -> bool:
        fault = active.fault
        if active.calls_to_pass:
            active.calls_to_pass -= 1
            return False
        if active.calls_left is not None:
            if active.calls_left == 0:
                return False
            active.calls_left -= 1
        if isinstance(fault, Throttle) and fault.per_second is not None:
            now = self._seconds(fault)
            refill = (now - active.filled_at) * fault.per_second
            active.tokens = min(active.tokens + refill, _burst(fault))
            active.filled_at = now
            if active.tokens >= 1:
                active.tokens -= 1
                return False
        return not isinstance(fault, Sometimes) or active.rng.random() < fault.share

    def _seconds(self, fault: Throttle) -> float:
        return self._monotonic() if fault.real_time else self._clock.now().timestamp()


def _burst(fault: Throttle) -> float:
    return max(fault.per_second or 0.0, 1.0) if fault.burst is None else fault.burst


def _raw(value: object) -> object:
    return timestamp_text(value) if isinstance(value, datetime) else value


def _refuse(message: str) -> None:
    raise ValueError(message)
