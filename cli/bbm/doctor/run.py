"""The list of all checks of `bbm doctor`, and the findings that they return.

A check that AWS refuses is a finding too: what cannot be checked is not known to be well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from bbm.doctor.alarms import alarm_topic, alarms
from bbm.doctor.context import CheckContext, Finding
from bbm.doctor.deployment import stack_status
from bbm.doctor.event_bus import bus, pending_events
from bbm.doctor.polls import polls
from bbm.doctor.queues import dead_letters, inbox
from bbm.doctor.records import records, unread_jobs
from bbm.doctor.schedule import schedule
from bbm.doctor.tables import key, tables

CHECKS: Final[tuple[tuple[str, Callable[[CheckContext], Iterator[Finding]]], ...]] = (
    ("stack", stack_status),
    ("poll", polls),
    ("schedule", schedule),
    ("alarms", alarms),
    ("alarmTopic", alarm_topic),
    ("deadLetters", dead_letters),
    ("inbox", inbox),
    ("bus", bus),
    ("tables", tables),
    ("key", key),
    ("records", records),
    ("unread", unread_jobs),
    ("pendingEvents", pending_events),
)


def findings(context: CheckContext) -> list[Finding]:
    """The findings of every check, in the order of `CHECKS`."""
    found: list[Finding] = []
    denied: list[str] = []
    for name, check in CHECKS:
        try:
            found.extend(check(context))
        except (ClientError, BotoCoreError, ValueError, KeyError) as error:
            reason = _reason(error)
            denied += [name] if "Denied" in reason else []
            detail = f"cannot be checked: {reason}"
            found.append(
                context.finding(
                    name,
                    detail,
                    ok=False,
                    command="aws sts get-caller-identity",
                    section="troubleshooting-by-symptom",
                )
            )
    found.append(
        context.finding(
            "permissions",
            f"you may not check: {', '.join(denied)}" if denied else "you may check everything",
            ok=not denied,
            command="aws sts get-caller-identity",
            section="troubleshooting-by-symptom",
        )
    )
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, ClientError):
        return f"{error.operation_name}: {error.response.get('Error', {}).get('Code', 'Unknown')}"
    return f"{type(error).__name__}: {error}"
