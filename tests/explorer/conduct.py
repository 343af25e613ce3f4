"""The conduct of actors: the calls that they make, stored by the responses that they got.

The monitor is deterministic: its next call, or its end, depends on the settings, the responses to
its calls so far, and the time of each. So its code runs once for each sequence of responses. If an
actor gets the same responses as in an earlier case, the same calls are made without its code. If a
response is new, the code runs from its beginning: it gets the known responses first, and then makes
calls of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bedrock_batch_monitor.domain.requests import Request

# About 200 MB.
_MOST_MOMENTS: Final = 40_000


class OtherConductError(BaseException):
    """The code made another call than before after the same responses; no code may catch this."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an actor: defects, and the requests that return to their queue."""

    defects: tuple[str, ...] = ()
    left: tuple[Request, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a call or its error, and the time by the actor's clock."""

    at: datetime
    value: Any
    error: Exception | None = None

    def is_like(self, other: Answer) -> bool:
        """Whether an actor cannot distinguish the two; both have the same time."""
        if self.error is None or other.error is None:
            return self.error is other.error and bool(self.value == other.value)
        return type(self.error) is type(other.error) and vars(self.error) == vars(other.error)


@dataclass(slots=True, eq=False)
class Moment:
    """A point in an actor's run: the next call, or the outcome; neither if unknown."""

    operation: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None
    then: dict[datetime, list[tuple[Answer, Moment]]] = field(default_factory=dict)
    """The next moment for each response, by the time of the response."""


@dataclass
class Conduct:
    """The known runs of the actors of one scenario, by actor and time of the start."""

    beginnings: dict[tuple[str, datetime], Moment] = field(default_factory=dict)
    moments: int = 0

    def begin(self, actor: str, now: datetime) -> Moment:
        """The first moment of an actor that begins now."""
        if self.moments > _MOST_MOMENTS:
            self.beginnings, self.moments = {}, 0
        return self.beginnings.setdefault((actor, now), Moment())

    def after(self, moment: Moment, answer: Answer) -> Moment:
        """The moment of an actor after this response."""
        known = moment.then.setdefault(answer.at, [])
        for earlier, then in known:
            if earlier.is_like(answer):
                return then
        self.moments += 1
        then = Moment()
        known.append((answer, then))
        return then
