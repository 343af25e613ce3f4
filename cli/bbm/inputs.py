"""Parsers for arguments: statuses, times, accounts and Regions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bbm.problems import UsageProblem
from bedrock_batch_monitor.contract import TAGS
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.deadlines import Deadline, DeadlineError, checked_deadline
from bedrock_batch_monitor.domain.outcomes import OUTCOMES
from bedrock_batch_monitor.domain.plain_text import quoted
from bedrock_batch_monitor.domain.scopes import parse_scope
from bedrock_batch_monitor.domain.tags import tags_in

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"(\d+)\s*([smhdw])", re.ASCII | re.IGNORECASE)


def status(text: str) -> str:
    """One of the ten statuses, in any capitalization; raises `UsageProblem` with the list."""
    return _one_of(statuses.KNOWN, text, "status", "statuses")


def outcome(text: str) -> str:
    """One of the outcomes of ended jobs, in any capitalization; raises `UsageProblem`."""
    return _one_of(tuple(OUTCOMES), text, "outcome", "outcomes")


def since(text: str, now: datetime) -> datetime:
    """A time from a duration before `now` (`30m`, `24h`, `7d`) or an ISO 8601 time.

    A time without a zone is UTC. Raises `UsageProblem`.
    """
    try:
        if (duration := _DURATION.fullmatch(text.strip())) is not None:
            return now - timedelta(**{_UNITS[duration[2].lower()]: int(duration[1])})
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = (
            f"--since {quoted(text)} is not a time: give a duration such as 30m, 24h or 7d, or an "
            "ISO time such as 2026-11-24 or 2026-11-24T20:30:00Z"
        )
        raise UsageProblem(message) from error


def deadline(
    text: str, submitted: datetime | None, now: datetime, option: str = "--deadline"
) -> Deadline:
    """A deadline that has not passed; raises `UsageProblem`."""
    try:
        return checked_deadline(text, submitted=submitted, now=now)
    except DeadlineError as error:
        message = f"{option} {error}"
        raise UsageProblem(message) from error


def tags(texts: Iterable[str] | None) -> dict[str, str | None]:
    """Tags to choose jobs by: `KEY=VALUE`, or `KEY` for any value; raises `UsageProblem`."""
    found: dict[str, str | None] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not key.strip():
            message = f"--tag {quoted(text)} has no key: write KEY=VALUE, or KEY for any value"
            raise UsageProblem(message)
        found[key.strip()] = value.strip() if equals else None
    return found


def has_tags(item: Mapping[str, Any], wanted: Mapping[str, str | None]) -> bool:
    """Whether an item has all of these tags."""
    found = tags_in(item.get(TAGS))
    return all(key in found and value in {None, found[key]} for key, value in wanted.items())


def grouping(text: str) -> str:
    """What `bbm usage` groups by: `model`, `day` or `tag:KEY`; raises `UsageProblem`."""
    if text in {"model", "day"} or (text.startswith("tag:") and text.removeprefix("tag:").strip()):
        return text.strip()
    message = f"--by {quoted(text)} is not a group: write model, day or tag:KEY, such as tag:team"
    raise UsageProblem(message)


def scope(text: str) -> dict[str, str]:
    """`<account>/<region>` as the monitor function takes it; raises `UsageProblem`."""
    found = parse_scope(text)
    if found is None:
        message = (
            f"--scope {quoted(text)} is not an account and Region: give both, such as "
            "123456789012/eu-west-1"
        )
        raise UsageProblem(message)
    return {"account": found.account, "region": found.region}


def _one_of(names: tuple[str, ...], text: str, what: str, plural: str) -> str:
    by_form = {_form(name): name for name in names}
    if (known := by_form.get(_form(text))) is not None:
        return known
    near = difflib.get_close_matches(_form(text), by_form, n=1, cutoff=0.5)
    hint = f" (did you mean {by_form[near[0]]}?)" if near else ""
    message = f"unknown {what} {quoted(text)}{hint}: the {plural} are {', '.join(names)}"
    raise UsageProblem(message)


def _form(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).lower()
