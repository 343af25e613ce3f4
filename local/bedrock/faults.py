"""What the stand-in can be told to do wrong, one fault at a time, each removable.

A fault applies to the calls of its `operation` (None: all four) and, with `job_arn`, only to
calls that name this job. Faults draw from the stand-in's seed, so a sequence of calls repeats.
"""

from __future__ import annotations

import math
import random
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args

from local.bedrock.model import (
    ACCESS_DENIED,
    INTERNAL,
    OPERATIONS,
    THROTTLING,
    ServiceError,
    timestamp_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from local.bedrock.clock import Clock

__all__ = [
    "Breakage",
    "CallTime",
    "Delay",
    "Deny",
    "EmptyPages",
    "EmptyToken",
    "Fail",
    "Fault",
    "Faults",
    "Hide",
    "Override",
    "Refuse",
    "ShortPages",
    "StaleLists",
    "Throttle",
]

_STATUSES_END: Final = 600

Breakage = Literal["reset", "truncated", "garbage"]
"""Transport faults: the connection is reset without an answer, the JSON of the right answer ends
half way (with a matching Content-Length), or the answer is HTML with status 200.

botocore raises for none of the latter two: it hands such a body over as the member `message`."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What all faults have: the calls that they apply to. ValueError for an unknown operation."""

    operation: str | None = None
    job_arn: str | None = None

    def __post_init__(self) -> None:
        if self.operation is not None and self.operation not in OPERATIONS:
            _refuse(f"no such operation: {self.operation}")

    def applies(self, operation: str, job_arn: str | None) -> bool:
        """Return whether a call is in scope; *job_arn* is the job that it names, if any."""
        return self.operation in {None, operation} and self.job_arn in {None, job_arn}


@dataclass(frozen=True, kw_only=True)
class _Sometimes(Fault):
    """A fault of a share of the calls (0..1, seeded), or of the next so many, then no more.

    The first *after_calls* calls in its scope pass: so a page of a list fails after good ones.
    """

    share: float = 1.0
    next_calls: int | None = None
    after_calls: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            _refuse(f"a share is 0..1: {self.share}")
        if self.next_calls is not None and self.next_calls < 0:
            _refuse(f"a number of calls: {self.next_calls}")
        if self.after_calls < 0:
            _refuse(f"a number of calls: {self.after_calls}")


@dataclass(frozen=True, kw_only=True)
class Throttle(_Sometimes):
    """ThrottlingException: for a share of calls, the next calls, or all above *per_second*.

    *per_second* is a token bucket, full at first with *burst* calls (default: one second's worth,
    at least 1), by simulated time or *real_time*.
    """

    per_second: float | None = None
    burst: float | None = None
    real_time: bool = False


@dataclass(frozen=True, kw_only=True)
class Fail(_Sometimes):
    """An error of the model by its name (`InternalServerException`, ...), or a broken transport."""

    error: str = INTERNAL


@dataclass(frozen=True, kw_only=True)
class Refuse(_Sometimes):
    """An error that the API's model does not have, with its HTTP status.

    Any service can answer so before the API is reached: UnrecognizedClientException (403) in a
    Region that the account has not enabled, for example.
    """

    error: str = "UnrecognizedClientException"
    status: int = HTTPStatus.FORBIDDEN

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.error or not HTTPStatus.MULTIPLE_CHOICES <= self.status < _STATUSES_END:
            _refuse(f"an error has a code and an HTTP status of 300 to 599: {self}")


@dataclass(frozen=True, kw_only=True)
class Delay(_Sometimes):
    """An answer that comes so many real seconds late."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class CallTime(_Sometimes):
    """A call that takes so many simulated seconds: the clock is advanced, the caller does not wait.

    The answer is what was true when the call began.
    """

    seconds: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.seconds < math.inf:
            _refuse(f"a call takes 0 seconds or more: {self.seconds}")


@dataclass(frozen=True, kw_only=True)
class Deny(_Sometimes):
    """AccessDeniedException."""


@dataclass(frozen=True, kw_only=True)
class Hide(Fault):
    """A job that answers ResourceNotFoundException and is in no list, until this is removed."""

    # Without field() the default of the base class would stay, and a job is needed here.
    job_arn: str = field()


@dataclass(frozen=True, kw_only=True)
class StaleLists(Fault):
    """Lists as of *seconds* simulated seconds ago.

    Their summaries lack the members in *without*, and the jobs in *leave_out* (ARNs) are missing.
    """

    seconds: float = 0
    without: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShortPages(Fault):
    """Lists that look at *examined* jobs for a page: pages may be short, or empty with a token."""

    examined: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.examined < 1:
            _refuse(f"a page looks at 1 job or more: {self.examined}")


@dataclass(frozen=True, kw_only=True)
class EmptyPages(Fault):
    """Lists that give *pages* empty pages with a token before each page that they have."""

    pages: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pages < 1:
            _refuse(f"a number of pages: {self.pages}")


@dataclass(frozen=True, kw_only=True)
class EmptyToken(Fault):
    """Lists whose last page has an empty `nextToken` instead of none."""


@dataclass(frozen=True, kw_only=True)
class Override(Fault):
    """Raw JSON members put into a job's answers and summaries, past the model's validation.

    A value None leaves the member out. Times may be given as aware datetimes.
    """

    job_arn: str = field()
    values: Mapping[str, Any] = field(default_factory=dict)


_KINDS: Final[Mapping[str, type[Fault]]] = {
    "throttle": Throttle,
    "fail": Fail,
    "refuse": Refuse,
    "delay": Delay,
    "call-time": CallTime,
    "deny": Deny,
    "hide": Hide,
    "stale-lists": StaleLists,
    "short-pages": ShortPages,
    "empty-pages": EmptyPages,
    "empty-token": EmptyToken,
    "override": Override,
}
_F = TypeVar("_F", bound=Fault)


@dataclass
class _Active:
    """A fault that is set, with what it has used up so far."""

    fault: Fault
    rng: random.Random
    calls_left: int | None
    calls_to_pass: int = 0
    tokens: float = 0.0
    filled_at: float = 0.0


class Faults:
    """The faults that are set. Each setter returns the fault's id, for `remove`.

    *listed* is operation → error names that the API's model lists for it: other errors are never
    sent. *monotonic* (seconds) is the real time that a real-time rate limit goes by.
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

    # Setting

    def throttle(  # noqa: PLR0913 - three ways to say how often, and the scope
        self,
        *,
        share: float = 1.0,
        per_second: float | None = None,
        burst: float | None = None,
        next_calls: int | None = None,
        after_calls: int = 0,
        real_time: bool = False,
        operation: str | None = None,
        job_arn: str | None = None,
    ) -> str:
        """Answer ThrottlingException; see Throttle for the ways to say to which calls."""
        return self.add(
            Throttle(
                share=share,
                per_second=per_second,
                burst=burst,
                next_calls=next_calls,
                after_calls=after_calls,
                real_time=real_time,
                operation=operation,
                job_arn=job_arn,
            )
        )

    def fail(  # noqa: PLR0913 - how often, and the scope
        self,
        error: str = INTERNAL,
        *,
        share: float = 1.0,
        next_calls: int | None = None,
        after_calls: int = 0,
        operation: str | None = None,
        job_arn: str | None = None,
    ) -> str:
        """Answer with an error of the model, or break the transport (see Breakage)."""
        return self.add(
            Fail(
                error=error,
                share=share,
                next_calls=next_calls,
                after_calls=after_calls,
                operation=operation,
                job_arn=job_arn,
            )
        )

    def refuse(  # noqa: PLR0913 - how often, and the scope
        self,
        error: str = "UnrecognizedClientException",
        status: int = HTTPStatus.FORBIDDEN,
        *,
        share: float = 1.0,
        next_calls: int | None = None,
        after_calls: int = 0,
        operation: str | None = None,
        job_arn: str | None = None,
    ) -> str:
        """Answer with an error that the API's model does not have; see Refuse."""
        return self.add(
            Refuse(
                error=error,
                status=status,
                share=share,
                next_calls=next_calls,
                after_calls=after_calls,
                operation=operation,
                job_arn=job_arn,
            )
        )

    def delay(
        self,
        seconds: float,
        *,
        share: float = 1.0,
        next_calls: int | None = None,
        operation: str | None = None,
        job_arn: str | None = None,
    ) -> str:
        """Answer so many real seconds late."""
        return self.add(
            Delay(
                seconds=seconds,
                share=share,
                next_calls=next_calls,
                operation=operation,
                job_arn=job_arn,
            )
        )

    def call_time(
        self,
        seconds: float,
        *,
        share: float = 1.0,
        next_calls: int | None = None,
        operation: str | None = None,
        job_arn: str | None = None,
    ) -> str:
        """Let calls take so many simulated seconds each; see CallTime."""
        return self.add(
            CallTime(
                seconds=seconds,
                share=share,
                next_calls=next_calls,
                operation=operation,
                job_arn=job_arn,
            )
        )

    def deny(
        self,
        job_arn: str | None = None,
        *,
        operation: str | None = None,
        next_calls: int | None = None,
    ) -> str:
        """Answer AccessDeniedException."""
        return self.add(Deny(job_arn=job_arn, operation=operation, next_calls=next_calls))

    def hide(self, job_arn: str) -> str:
        """Let a job be gone, until this fault is removed."""
        return self.add(Hide(job_arn=job_arn))

    def stale_lists(
        self, seconds: float = 0, *, without: Sequence[str] = (), leave_out: Sequence[str] = ()
    ) -> str:
        """Let lists lag, and lack members of their summaries (*without*) or jobs (*leave_out*)."""
        return self.add(
            StaleLists(seconds=seconds, without=tuple(without), leave_out=tuple(leave_out))
        )

    def short_pages(self, examined: int) -> str:
        """Let lists return pages that are short or empty although there are more."""
        return self.add(ShortPages(examined=examined))

    def empty_pages(self, pages: int = 1) -> str:
        """Let lists give so many empty pages with a token before each page that they have."""
        return self.add(EmptyPages(pages=pages))

    def empty_token(self) -> str:
        """Let the last page of a list have an empty token instead of none."""
        return self.add(EmptyToken())

    def override(
        self, job_arn: str, values: Mapping[str, Any], *, operation: str | None = None
    ) -> str:
        """Put raw JSON *values* into a job's answers; None leaves a member out."""
        return self.add(Override(job_arn=job_arn, values=values, operation=operation))

    def add(self, fault: Fault) -> str:
        """Set a fault and return its id; ValueError for an error that its operation lacks.

        An error without an operation strikes those that list it.
        """
        if isinstance(fault, Fail) and not _is_transport(fault):
            scope = [fault.operation] if fault.operation else list(self._listed)
            if not any(fault.error in self._listed[operation] for operation in scope):
                _refuse(f"{' or '.join(scope)} cannot answer {fault.error}")
        with self._lock:
            self._set += 1
            fault_id = str(self._set)
            active = _Active(
                fault,
                random.Random(f"{self._seed}/fault/{fault_id}"),  # noqa: S311 - must repeat, no secret
                fault.next_calls if isinstance(fault, _Sometimes) else None,
                fault.after_calls if isinstance(fault, _Sometimes) else 0,
            )
            if isinstance(fault, Throttle) and fault.per_second is not None:
                active.tokens, active.filled_at = _burst(fault), self._seconds(fault)
            self._active[fault_id] = active
            return fault_id

    def add_json(self, document: Mapping[str, Any]) -> str:
        """Set the fault of a JSON object, `kind` and its class's fields; ValueError if none."""
        arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}
        kind: Callable[..., Fault] | None = _KINDS.get(str(arguments.pop("kind", "")))
        if kind is None:
            message = f"a fault's kind is one of {', '.join(_KINDS)}"
            raise ValueError(message)
        try:
            return self.add(kind(**arguments))
        except TypeError as error:
            message = f"not a fault: {error}"
            raise ValueError(message) from error

    def remove(self, fault_id: str) -> None:
        """Take a fault back; KeyError if there is none of this id."""
        with self._lock:
            del self._active[fault_id]

    def clear(self) -> None:
        """Take all faults back."""
        with self._lock:
            self._active.clear()

    def active(self) -> dict[str, Fault]:
        """Return the faults that are set, by id."""
        with self._lock:
            return {fault_id: active.fault for fault_id, active in self._active.items()}

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return the faults that are set, by id, as `add_json` takes them."""
        names = {kind: name for name, kind in _KINDS.items()}
        return {
            fault_id: {"kind": names[type(fault)], **asdict(fault)}
            for fault_id, fault in self.active().items()
        }

    # Asking, by the service

    def delay_of(self, operation: str, job_arn: str | None) -> float:
        """Return how many real seconds an answer is held back."""
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
        """Raise the ServiceError that a call is to be answered with, if any."""
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
        """Return the ARNs of the jobs that are in no list, hidden ones among them."""
        return self.hidden().union(*(f.leave_out for f in self._of(StaleLists)))

    def list_without(self) -> frozenset[str]:
        """Return the members that list summaries lack."""
        return frozenset[str]().union(*(f.without for f in self._of(StaleLists)))

    def examined(self) -> int | None:
        """Return how many jobs a page of a list looks at, None for as many as it takes."""
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

    # How

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
        """Yield the faults of a kind that strike this call, using up their next calls."""
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
                strikes = self._strikes(active)
            if strikes:
                yield fault

    def _sendable(self, fault: Fail, operation: str, transport: bool | None) -> bool:  # noqa: FBT001 - handed on
        if _is_transport(fault) or transport:
            return _is_transport(fault) and bool(transport)
        return fault.error in self._listed[operation]

    def _strikes(self, active: _Active) -> bool:
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
        return not isinstance(fault, _Sometimes) or active.rng.random() < fault.share

    def _seconds(self, fault: Throttle) -> float:
        return self._monotonic() if fault.real_time else self._clock.now().timestamp()


def _burst(fault: Throttle) -> float:
    return max(fault.per_second or 0.0, 1.0) if fault.burst is None else fault.burst


def _is_transport(fault: Fault) -> bool:
    return isinstance(fault, Fail) and fault.error in get_args(Breakage)


def _raw(value: object) -> object:
    return timestamp_text(value) if isinstance(value, datetime) else value


def _refuse(message: str) -> None:
    raise ValueError(message)
