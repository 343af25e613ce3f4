"""Whether the polls of each account and Region succeed, without lasting errors or late reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from bbm import stack_parts
from bbm.doctor.context import shown
from bbm.doctor.oldest_read import oldest_read
from bbm.log_lines import LogLine, lines_since
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.summary import is_of_service

if TYPE_CHECKING:
    from bbm.doctor.context import CheckContext, Finding

_INTERVALS: Final = 3
_SHORTEST_WINDOW: Final = timedelta(minutes=5)
_OF_POLLS: Final = ("poll finished", "poll failed", "invocation failed")
_NEWEST: Final = 2


def polls(context: CheckContext) -> Iterator[Finding]:
    """When a poll of each scope last succeeded, and how old its oldest read of an active job is."""
    window = max(_SHORTEST_WINDOW, _INTERVALS * context.interval)
    # Lines arrive late; an older poll says when polls stopped.
    start = context.now - 4 * window
    found = lines_since(context.clients, context.parts.log_groups("Monitor"), start, _OF_POLLS)
    home = context.parts.deployment.scope
    for scope in _polled_scopes(context):
        of_scope = [
            line
            for line in found
            if line.fields.get("account") == scope.account
            and line.fields.get("region") == scope.region
        ]
        where = Where() if scope == home else Where(f"{scope}: ", f" --scope {scope}")
        yield _last_poll(context, of_scope, where, window)
        yield _service_errors(context, of_scope, where)
        finished = [line for line in of_scope if line.message == "poll finished"]
        if finished:
            yield _oldest_read(context, finished, where)


@dataclass(frozen=True, slots=True)
class Where:
    """How a finding names its scope, and the option of `bbm poll`; empty for the deployment's."""

    prefix: str = ""
    option: str = ""


def _polled_scopes(context: CheckContext) -> list[Scope]:
    """The scope of each schedule, the deployment's own first; its payload is `{}`."""
    home = context.parts.deployment.scope
    payloads = (
        json.loads(context.parts.properties(each).get("Target", {}).get("Input", "{}"))
        for each in context.parts.of_type(stack_parts.SCHEDULE)
    )
    scopes = {
        Scope(each.get("account", home.account), each.get("region", home.region))
        for each in payloads
    }
    return [home, *sorted(scopes - {home}, key=str)]


def _last_poll(
    context: CheckContext, found: list[LogLine], where: Where, window: timedelta
) -> Finding:
    """When a poll last succeeded; if the newest one did not, what it ran into."""
    last = max(
        (line.at for line in found if _has_succeeded(line)),
        default=None,
    )
    if last is None:
        age, detail = None, f"no successful poll in the last {shown(4 * window)}"
    else:
        age = max(context.now - last, timedelta(0))
        detail = f"the last successful poll was {shown(age)} ago"
    if found and not _has_succeeded(found[-1]):
        detail += f"; {_why_not(found[-1])}"
    elif not found:
        detail += "; no poll has written a log line"
    return context.finding(
        "poll",
        where.prefix + detail,
        ok=age is not None and age <= window and _has_succeeded(found[-1]),
        command=f"bbm poll{where.option}",
        section="nopoll",
    )


def _why_not(line: LogLine) -> str:
    """Why a poll was not a success."""
    if (exception := line.fields.get("exceptionType")) is not None:
        return f"the newest poll failed: {exception}"
    summary = line.fields.get("summary", {})
    codes = ", ".join(sorted(summary.get("errors", {}))) or "no unreachable job was read"
    if line.message == "poll failed":
        return f"the newest poll failed: {codes}"
    return f"the newest poll read none of {summary.get('jobsActive', 0)} jobs: {codes}"


def _service_errors(context: CheckContext, found: list[LogLine], where: Where) -> Finding:
    """The errors of services that each of the newest polls had; a single one can pass."""
    newest = [set(line.fields.get("summary", {}).get("errors", {})) for line in found[-_NEWEST:]]
    in_common = set.intersection(*newest) if len(newest) == _NEWEST else set()
    lasting = sorted(filter(is_of_service, in_common))
    return context.finding(
        "errors",
        f"{where.prefix}the newest polls had errors: {', '.join(lasting)}"
        if lasting
        else f"{where.prefix}the newest polls have no error of a service in common",
        ok=not lasting,
        command=f"bbm poll{where.option}",
        section="error-codes",
    )


def _has_succeeded(line: LogLine) -> bool:
    answered: bool = line.fields.get("summary", {}).get("answered", True)
    return line.message == "poll finished" and answered


def _oldest_read(context: CheckContext, polls_: list[LogLine], where: Where) -> Finding:
    age = oldest_read(polls_)
    if age is None:
        detail = "it is not known how old the oldest read of an active job is: the function has "
        detail += "started again, and has not read every job since"
    else:
        detail = f"the oldest read of an active job was {shown(age)} old at the last poll"
    errors = polls_[-1].fields.get("summary", {}).get("errors", {})
    is_late = age is None or age > _INTERVALS * context.interval
    if is_late and errors:
        detail += f"; errors: {', '.join(sorted(errors))}"
    return context.finding(
        "reads", where.prefix + detail, ok=not is_late, command="bbm jobs", section="jobslate"
    )
