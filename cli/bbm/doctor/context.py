"""What every check of `bbm doctor` reads, and the finding that it returns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from bbm import stack_parts

if TYPE_CHECKING:
    from bbm.aws import Clients
    from bbm.stack_parts import StackParts

_RATE: Final = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_MINUTES: Final = {"minute": 1, "hour": 60, "day": 1440}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: whether it is well, in one line, and what to run if it is not."""

    check: str
    ok: bool
    detail: str
    command: str
    link: str

    def as_json(self) -> dict[str, Any]:
        """The finding in the form of the contract."""
        return {
            "check": self.check,
            "ok": self.ok,
            "detail": self.detail,
            "command": self.command,
            "link": self.link,
        }


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What each check reads: the clients, the parts of the stack, and the time."""

    clients: Clients
    stack: str
    parts: StackParts
    now: datetime

    @property
    def interval(self) -> timedelta:
        """The time between two polls, as deployed."""
        for schedule in self.parts.of_type(stack_parts.SCHEDULE):
            text = str(schedule.template.get("Properties", {}).get("ScheduleExpression", ""))
            if (match := _RATE.fullmatch(text)) is not None:
                return timedelta(minutes=int(match[1]) * _MINUTES[match[2]])
        return timedelta(minutes=1)

    def finding(
        self, check: str, detail: str, *, ok: bool, command: str = "", section: str
    ) -> Finding:
        """A finding with its section of the runbook."""
        return Finding(check, ok, detail, command, self.parts.runbook(section))


def shown(span: timedelta) -> str:
    """A span as a detail shows it: in seconds, minutes or hours."""
    seconds = int(span.total_seconds())
    minute = 60
    if seconds < 2 * minute:
        return f"{seconds} s"
    minutes = seconds // minute
    return f"{minutes} min" if minutes < 2 * minute else f"{minutes // minute} h"
