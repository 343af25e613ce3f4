"""Deadlines of jobs: how they are written, and which moment each means.

A deadline is a moment (`2026-11-27T06:00:00Z`), a time of day with a time zone
(`06:00 Europe/Berlin`: the next one after the submission), or a duration after the submission
(`4h`).

At a change of the clock, a local time that occurs twice means its first occurrence. A local time
that does not occur is moved forward by the length of the gap: 02:30 becomes 03:30.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.domain.plain_text import quoted
from bedrock_batch_monitor.domain.times import from_iso, to_iso, to_milliseconds

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

FORMS: Final = (
    "a moment such as 2026-11-27T06:00:00Z, a time of day with a time zone such as "
    "06:00 Europe/Berlin, or a duration after submission such as 4h"
)
# A job expires at most 168 hours after its submission; this also covers the time before.
LONGEST: Final = timedelta(days=30)
# The longest value of a tag.
CHARACTERS: Final = 256
MOST_PATTERNS: Final = 20

_DURATION: Final = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?", re.ASCII)
_TIME_OF_DAY: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?:\s+(\S+))?", re.ASCII)
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII)
_MOMENT: Final = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}\S*", re.ASCII)
_PATTERN: Final = re.compile(r"[a-zA-Z0-9+\-.*?]{1,63}", re.ASCII)


class DeadlineError(ValueError):
    """A text that is not a deadline; the message says what is wrong and what is allowed."""


class SetBy(StrEnum):
    """Where the deadline of a job comes from; the first one counts."""

    USER = "user"
    TAG = "tag"
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline as it was written: exactly one of its parts is set, a time of day with a zone."""

    moment: datetime | None = None
    time_of_day: time | None = None
    zone: str = ""
    duration: timedelta | None = None

    def after(self, submitted: datetime) -> datetime:
        """The moment of the deadline of a job that was submitted then, in UTC."""
        if self.moment is not None:
            return self.moment
        if self.duration is not None:
            return to_milliseconds(submitted + self.duration)
        return self._next(submitted)

    def note(self, submitted: datetime) -> str | None:
        """Which rule applies if the local time occurs twice or not at all; None otherwise."""
        if self.time_of_day is None:
            return None
        zone = _zone(self.zone)
        local = self._next(submitted).astimezone(zone)
        if local.time() != self.time_of_day:
            return (
                f"{self.time_of_day:%H:%M} {self.zone} does not occur on {local:%Y-%m-%d}, because "
                f"the clock is put forward: the deadline is {local:%H:%M}"
            )
        if local.replace(fold=1).utcoffset() != local.utcoffset():
            return (
                f"{self.time_of_day:%H:%M} {self.zone} occurs twice on {local:%Y-%m-%d}, because "
                "the clock is put back: the deadline is the first occurrence"
            )
        return None

    def _next(self, submitted: datetime) -> datetime:
        assert self.time_of_day is not None  # noqa: S101 - one of the parts is set
        zone = _zone(self.zone)
        day = submitted.astimezone(zone).date()
        # Where the clock is put back just after midnight, the next day has begun before.
        found = (
            _moment_of(day + timedelta(days=more), self.time_of_day, zone) for more in range(3)
        )
        return next(moment for moment in found if moment > submitted)


def parse_deadline(text: str) -> Deadline:
    """Read a deadline; raises `DeadlineError`."""
    stripped = text.strip() if len(text) <= CHARACTERS else ""
    if (found := _TIME_OF_DAY.fullmatch(stripped)) is not None:
        if found[3] is None:
            message = f"{quoted(text)} has no time zone: write one, as in {stripped} Europe/Berlin"
            raise DeadlineError(message)
        _zone(found[3])
        return Deadline(time_of_day=time(int(found[1]), int(found[2])), zone=found[3])
    if stripped and (found := _DURATION.fullmatch(stripped.replace(" ", ""))) is not None:
        days, hours, minutes = (int(part or 0) for part in found.groups())
        duration = timedelta(days=days, hours=hours, minutes=minutes)
        if not timedelta(minutes=1) <= duration <= LONGEST:
            message = f"{quoted(text)} is not a duration from 1m to {LONGEST.days}d"
            raise DeadlineError(message)
        return Deadline(duration=duration)
    if _MOMENT.fullmatch(stripped) is not None:
        return Deadline(moment=_parse_moment(stripped))
    message = f"{quoted(text)} is not a deadline: write {FORMS}"
    raise DeadlineError(message)


def checked_deadline(text: str, *, submitted: datetime | None, now: datetime) -> Deadline:
    """Read a deadline that somebody sets now.

    Raises `DeadlineError`, also for a deadline that has passed, as far as that is known before the
    job was read (`submitted` is None).
    """
    deadline = parse_deadline(text)
    at = deadline.moment if submitted is None else deadline.after(submitted)
    if at is not None and at <= now:
        message = (
            f"{quoted(text)} is in the past: it means {to_iso(at)}, and now it is {to_iso(now)}"
        )
        raise DeadlineError(message)
    return deadline


def moment_of(text: str | None, submitted: datetime | None) -> datetime | None:
    """The moment that a stored deadline means.

    None without a deadline, for a text that is none, and where the unknown submission decides.
    """
    if text is None:
        return None
    deadline = _parsed(text)
    if deadline is None:
        return None
    if deadline.moment is not None:
        return deadline.moment
    return None if submitted is None else deadline.after(submitted)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Deadline | None:
    try:
        return parse_deadline(text)
    except DeadlineError:
        return None


def stored_text(deadline: Deadline, submitted: datetime | None) -> str | None:
    """The text of a deadline as an item has it: a moment; None until the submission is known."""
    if deadline.moment is not None:
        return to_iso(deadline.moment)
    return None if submitted is None else to_iso(deadline.after(submitted))


@dataclass(frozen=True, slots=True)
class DeadlineRule:
    """A deadline, and a pattern for whole job names: `*` is any text, `?` one character."""

    pattern: str
    deadline: str


def chosen_deadline(
    *,
    tags: Mapping[str, str],
    tag: str,
    rules: Iterable[DeadlineRule],
    job_name: str | None,
    submitted: datetime | None,
) -> tuple[str, SetBy] | None:
    """The deadline that tag or settings give a job, and which; None for none.

    A tag that is not a deadline counts as absent, and so does a deadline before the submission.
    """
    candidates = [(tags[tag], SetBy.TAG)] if tag in tags else []
    named = (rule.deadline for rule in rules if _matches(rule.pattern, job_name))
    candidates += [(text, SetBy.SETTING) for text in named][:1]
    for text, source in candidates:
        at = moment_of(text, submitted)
        if at is not None and submitted is not None and at > submitted:
            return to_iso(at), source
    return None


def deadline_rules_of(value: object) -> tuple[DeadlineRule, ...]:
    """Deadlines by patterns, from a JSON object or its text; raises ValueError, and says why."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            message = "it is not JSON"
            raise ValueError(message) from error
    if not isinstance(value, Mapping) or not 1 <= len(value) <= MOST_PATTERNS:
        message = f"it must have 1 to {MOST_PATTERNS} patterns"
        raise ValueError(message)
    return tuple(_rule(pattern, deadline) for pattern, deadline in value.items())


def deadline_rules_text(rules: Iterable[DeadlineRule]) -> str:
    """Deadlines by patterns, as the JSON that `deadline_rules_of` reads."""
    return json.dumps({rule.pattern: rule.deadline for rule in rules}, separators=(",", ":"))


def _rule(pattern: object, deadline: object) -> DeadlineRule:
    if not isinstance(pattern, str) or _PATTERN.fullmatch(pattern) is None:
        message = (
            f"the pattern {quoted(pattern)} is not 1 to 63 letters, digits, '+', '-', '.', '*' or "
            "'?'"
        )
        raise ValueError(message)
    if not isinstance(deadline, str):
        message = f"the deadline of {pattern} is not a text"
        raise ValueError(message)  # noqa: TRY004 - one kind of error for every value
    parse_deadline(deadline)
    return DeadlineRule(pattern, deadline.strip())


def _matches(pattern: str, name: str | None) -> bool:
    return name is not None and fnmatchcase(name, pattern)


def _parse_moment(text: str) -> datetime:
    try:
        return to_milliseconds(from_iso(text))
    except (ValueError, OverflowError) as error:
        message = f"{quoted(text)} is not a moment with a time zone such as 2026-11-27T06:00:00Z"
        raise DeadlineError(message) from error


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    # The time zones are read where a deadline names one: most polls need none.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        if _ZONE.fullmatch(name) is not None:
            return ZoneInfo(name)
    # The last two: the name of a folder of the time zone database.
    except (ZoneInfoNotFoundError, ValueError, IsADirectoryError, PermissionError):
        pass
    message = f"{quoted(name)} is not a time zone: write one such as Europe/Berlin or UTC"
    raise DeadlineError(message)


def _moment_of(day: date, at: time, zone: ZoneInfo) -> datetime:
    # `fold=0` is the first of two occurrences, and moves a time in a gap forward by its length.
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
