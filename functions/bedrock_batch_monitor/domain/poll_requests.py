"""What an invocation of the monitor function asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.plain_text import quoted
from bedrock_batch_monitor.domain.scopes import PayloadError, Scopes
from bedrock_batch_monitor.domain.times import from_iso

ALL: Final = "all"
REDISCOVER_SINCE: Final = "rediscoverSince"
_SCHEDULER: Final = "aws.scheduler"


@dataclass(frozen=True, slots=True)
class PollRequest:
    """One poll of a scope.

    With `everything`, it reads unreachable jobs at once. With `rediscover_since`, it lists all jobs
    that were submitted since then, and tracks those without an item.
    """

    scope: Scope
    everything: bool = False
    rediscover_since: datetime | None = None


def poll_request(payload: object, scopes: Scopes) -> PollRequest:
    """Read a payload; raises `PayloadError`.

    `{}` is a poll of the deployment's own scope, and so is the payload that EventBridge Scheduler
    sends for a schedule without input. `account` and `region` name another scope, `all` is true or
    false, and `rediscoverSince` an ISO 8601 time.
    """
    if not isinstance(payload, Mapping) or payload.get("source") == _SCHEDULER:
        return PollRequest(scopes.asked_for({} if isinstance(payload, Mapping) else payload))
    options = {key: payload[key] for key in (ALL, REDISCOVER_SINCE) if key in payload}
    rest = {key: value for key, value in payload.items() if key not in options}
    everything, since = options.get(ALL, False), options.get(REDISCOVER_SINCE)
    if not isinstance(everything, bool):
        message = f"{ALL} in the payload is {quoted(everything)}: it must be true or false"
        raise PayloadError(message)
    return PollRequest(scopes.asked_for(rest), everything, None if since is None else _time(since))


def _time(value: object) -> datetime:
    try:
        if isinstance(value, str):
            return from_iso(value)
    except ValueError:
        pass
    message = (
        f"{REDISCOVER_SINCE} in the payload is {quoted(value)}: it must be a time such as "
        "2026-11-24T20:30:00.000Z"
    )
    raise PayloadError(message)
