"""The kinds of faults of the stand-in, and the calls to which each applies.

A fault applies to the calls of its `operation` (None: all of them) and, with `job_arn`, only to
calls that name this job.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Literal, get_args

from local.bedrock.errors import INTERNAL
from local.bedrock.model import OPERATIONS

_STATUSES_END: Final = 600

Breakage = Literal["reset", "truncated", "garbage"]
"""Transport faults: the connection is reset without an answer, the JSON of the right answer is cut
in half (with a matching Content-Length), or the answer is HTML with status 200.

botocore raises for neither of the latter two: it returns such a body as the member `message`."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The calls that a fault applies to; raises ValueError for an unknown operation."""

    operation: str | None = None
    job_arn: str | None = None

    def __post_init__(self) -> None:
        if self.operation is not None and self.operation not in OPERATIONS:
            _refuse(f"no such operation: {self.operation}")

    def applies(self, operation: str, job_arn: str | None) -> bool:
        """Return whether the fault applies to a call; *job_arn* is the job that the call names."""
        return self.operation in {None, operation} and self.job_arn in {None, job_arn}


@dataclass(frozen=True, kw_only=True)
class Sometimes(Fault):
    """A fault of a share of the calls (0 to 1, seeded), or only of the next calls.

    The first *after_calls* calls pass, so that a later page of a list can fail.
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
class Throttle(Sometimes):
    """ThrottlingException: for a share of calls, the next calls, or all above *per_second*.

    *per_second* is a token bucket, full at first with *burst* calls (default: one second's worth,
    at least 1), by simulated time or *real_time*.
    """

    per_second: float | None = None
    burst: float | None = None
    real_time: bool = False


@dataclass(frozen=True, kw_only=True)
class Fail(Sometimes):
    """An error of the model by its name (`InternalServerException`, ...), or a broken transport."""

    error: str = field(default=INTERNAL, kw_only=False)

    @property
    def is_transport(self) -> bool:
        """Whether it breaks the transport of the answer."""
        return self.error in get_args(Breakage)


@dataclass(frozen=True, kw_only=True)
class Refuse(Sometimes):
    """An error that the API's model does not have, with its HTTP status.

    Any service can return it before the API is reached: for example, UnrecognizedClientException
    (403) in a Region that the account has not enabled.
    """

    error: str = field(default="UnrecognizedClientException", kw_only=False)
    status: int = field(default=HTTPStatus.FORBIDDEN, kw_only=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.error or not HTTPStatus.MULTIPLE_CHOICES <= self.status < _STATUSES_END:
            _refuse(f"an error has a code and an HTTP status of 300 to 599: {self}")


@dataclass(frozen=True, kw_only=True)
class Delay(Sometimes):
    """An answer that arrives *seconds* real seconds late."""

    seconds: float = field(kw_only=False)


@dataclass(frozen=True, kw_only=True)
class CallTime(Sometimes):
    """A call that takes *seconds* simulated seconds: the clock advances, the caller does not wait.

    The answer has the state at the start of the call.
    """

    seconds: float = field(kw_only=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.seconds < math.inf:
            _refuse(f"a call takes 0 seconds or more: {self.seconds}")


@dataclass(frozen=True, kw_only=True)
class Deny(Sometimes):
    """AccessDeniedException."""

    job_arn: str | None = field(default=None, kw_only=False)


@dataclass(frozen=True, kw_only=True)
class Hide(Fault):
    """A job that is not found by Get and is in no list, until this is removed."""

    job_arn: str = field(kw_only=False)


@dataclass(frozen=True, kw_only=True)
class StaleLists(Fault):
    """Lists as of *seconds* simulated seconds ago.

    Their summaries lack the members in *without*, and the jobs in *leave_out* (ARNs) are missing.
    """

    seconds: float = field(default=0, kw_only=False)
    without: Sequence[str] = ()
    leave_out: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ShortPages(Fault):
    """Lists that examine *examined* jobs for a page: pages may be short, or empty with a token."""

    examined: int = field(kw_only=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.examined < 1:
            _refuse(f"a page examines 1 job or more: {self.examined}")


@dataclass(frozen=True, kw_only=True)
class EmptyPages(Fault):
    """Lists that return *pages* empty pages with a token before each page."""

    pages: int = field(default=1, kw_only=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pages < 1:
            _refuse(f"a number of pages: {self.pages}")


@dataclass(frozen=True, kw_only=True)
class EmptyToken(Fault):
    """Lists whose last page has an empty `nextToken` instead of none."""


@dataclass(frozen=True, kw_only=True)
class Override(Fault):
    """Raw JSON members in a job's answers and summaries, without the model's validation.

    A value None removes the member. Times may be aware datetimes.
    """

    job_arn: str = field(kw_only=False)
    values: Mapping[str, Any] = field(default_factory=dict, kw_only=False)


KINDS: Final[Mapping[str, type[Fault]]] = {
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


def _refuse(message: str) -> None:
    raise ValueError(message)
