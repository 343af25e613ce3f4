"""What actors do, remembered by the answers that they had.

The monitor is a program without chance: its next call, or its end, depends on the settings, the
answers to its calls so far, and the time at each of them. So the code runs once for each row of
answers, and a case in which an actor has the same answers as in another is played by making the
same calls. Where an answer is new, the code is run from its beginning: it is given the answers that
are known, and goes on from there with calls of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bedrock_batch_monitor.domain.requests import Request

# So many moments take about 200 MB.
_MOST_MOMENTS: Final = 40_000


class OtherConductError(BaseException):
    """The code made another call than before after the same answers; nothing may catch that."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an actor's work ended: defects, and the requests that go back to their queue."""

    defects: tuple[str, ...] = ()
    left: tuple[Request, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to, an answer or an error, and the time as the actor then has it."""

    at: datetime
    value: Any
    error: Exception | None = None

    def is_like(self, other: Answer) -> bool:
        """Whether an actor cannot tell the two apart; both came at the same time."""
        if self.error is None or other.error is None:
            return self.error is other.error and bool(self.value == other.value)
        return type(self.error) is type(other.error) and vars(self.error) == vars(other.error)


@dataclass(slots=True, eq=False)
class Moment:
    """A place in an actor's work: the call that comes next, or the outcome; neither if unknown."""

    operation: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None
    then: dict[datetime, list[tuple[Answer, Moment]]] = field(default_factory=dict)
    """What comes after which answer, by the time of the answer."""


@dataclass
class Conduct:
    """What the actors of one scenario do, from the time at which each begins."""

    beginnings: dict[tuple[str, datetime], Moment] = field(default_factory=dict)
    moments: int = 0

    def begin(self, actor: str, now: datetime) -> Moment:
        """Where an actor is that begins now."""
        if self.moments > _MOST_MOMENTS:
            self.beginnings, self.moments = {}, 0
        return self.beginnings.setdefault((actor, now), Moment())

    def after(self, moment: Moment, answer: Answer) -> Moment:
        """Where an actor is after this answer."""
        known = moment.then.setdefault(answer.at, [])
        for earlier, then in known:
            if earlier.is_like(answer):
                return then
        self.moments += 1
        then = Moment()
        known.append((answer, then))
        return then
