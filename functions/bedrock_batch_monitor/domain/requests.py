"""What an event asks for that reached the monitor: look at a job, track it, or untrack it.

Bedrock's own events are hints, best-effort and possibly late, repeated or out of order: of one of
them only the job's ARN is believed, and any other field may be missing. Source of their form: the
sample in the Bedrock user guide, "Monitor batch inference jobs".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn

from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn
from bedrock_batch_monitor.domain.deadlines import FORMS, DeadlineError, checked_deadline
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.tasks import TOKEN_CHARACTERS, WaitingTask
from bedrock_batch_monitor.domain.times import from_iso, plausible, to_milliseconds
from bedrock_batch_monitor.domain.utf16 import utf16_length

NATIVE_SOURCE: Final = "aws.bedrock"
NATIVE_DETAIL_TYPE: Final = "Batch Inference Job State Change"
TRACK_DETAIL_TYPE: Final = "Track Batch Inference Job"
UNTRACK_DETAIL_TYPE: Final = "Untrack Batch Inference Job"

TASK_TOKEN: Final = "taskToken"  # noqa: S105 - the name of the field
PARTIALLY_COMPLETED_IS_SUCCESS: Final = "partiallyCompletedIsSuccess"
DEADLINE: Final = "deadline"
COMPLETED_WITH_ERRORS_IS_SUCCESS: Final = "completedWithErrorsIsSuccess"

# A value may be a task token in the wrong field. What is shown of it is far too short to be one,
# unless it begins as an ARN does.
_SHOWN_CHARACTERS: Final = 12
_SHOWN_OF_ARN: Final = 80


class MalformedEventError(ValueError):
    """An event that asks for nothing that can be done; the text says why."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Bedrock says that a job has changed."""

    job_arn: str


@dataclass(frozen=True, slots=True)
class Track:
    """Somebody wants a job to be tracked, perhaps for a Step Functions task that waits for it.

    `at` is when the command was sent: the last command on a job wins. `deadline` is a text that
    was checked.
    """

    job_arn: str
    at: datetime
    task: WaitingTask | None = None
    deadline: str | None = None


@dataclass(frozen=True, slots=True)
class Untrack:
    """Somebody wants a job not to be tracked any more, as of `at`."""

    job_arn: str
    at: datetime


Request = Hint | Track | Untrack


def event_in(body: str) -> object:
    """The event in a message of the queue; raises `MalformedEventError` if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        message = f"the message is not JSON that can be read ({type(error).__name__})"
        raise MalformedEventError(message) from error


def request_of(
    event: object, monitored: Scopes, now: datetime, *, takes_tasks: bool = True
) -> Request:
    """Read an EventBridge event; raises `MalformedEventError` for one that cannot be processed.

    `takes_tasks` says whether tasks may wait (setting `taskTokens`). The error's text has no part
    of an event that can hold a task token.
    """
    if not isinstance(event, Mapping):
        _refuse_unseen("the event must be a JSON object", event)
    detail_type, detail = event.get("detail-type"), event.get("detail")
    if not isinstance(detail, Mapping):
        _refuse_unseen("the event's detail must be a JSON object", detail)
    if detail_type == NATIVE_DETAIL_TYPE and event.get("source") == NATIVE_SOURCE:
        return Hint(_arn_in(detail, "batchJobArn", monitored))
    at = _sent_at(event, now)
    if detail_type == TRACK_DETAIL_TYPE:
        return _track(detail, monitored, at, takes_tasks=takes_tasks)
    if detail_type != UNTRACK_DETAIL_TYPE:
        _refuse("the event's detail-type asks for nothing that the monitor does", detail_type)
    return Untrack(_arn_in(detail, "jobArn", monitored), at)


def _sent_at(event: Mapping[str, Any], now: datetime) -> datetime:
    """The event's time, never in the future; now where it is missing or makes no sense."""
    sent = event.get("time")
    try:
        moment = from_iso(sent) if isinstance(sent, str) else None
    except ValueError:
        moment = None
    return to_milliseconds(min(plausible(moment, now) or now, now))


def _track(
    detail: Mapping[str, Any], monitored: Scopes, at: datetime, *, takes_tasks: bool
) -> Track:
    job_arn = _arn_in(detail, "jobArn", monitored)
    deadline = _deadline_in(detail, at)
    if TASK_TOKEN not in detail:
        return Track(job_arn, at, deadline=deadline)
    if not takes_tasks:
        message = f"{TASK_TOKEN} is not accepted: deploy the monitor with taskTokens=true"
        raise MalformedEventError(message)
    token = detail[TASK_TOKEN]
    # The length of a text in characters is at most the one in UTF-16 code units.
    if not isinstance(token, str) or not 0 < utf16_length(token) <= TOKEN_CHARACTERS:
        message = (
            f"{TASK_TOKEN} must be a text of 1 to {TOKEN_CHARACTERS:,} characters, counted in "
            "UTF-16 code units as Step Functions does"
        )
        raise MalformedEventError(message)
    if not _is_storable(token):
        message = f"{TASK_TOKEN} has characters that cannot be stored"
        raise MalformedEventError(message)
    partially = _flag(detail, PARTIALLY_COMPLETED_IS_SUCCESS, default=False)
    with_errors = _flag(detail, COMPLETED_WITH_ERRORS_IS_SUCCESS, default=True)
    return Track(job_arn, at, WaitingTask(token, partially, with_errors), deadline)


def _deadline_in(detail: Mapping[str, Any], at: datetime) -> str | None:
    value = detail.get(DEADLINE)
    if value is None:
        return None
    if not isinstance(value, str):
        _refuse_unseen(f"{DEADLINE} must be a text", value)
    try:
        checked_deadline(value, submitted=None, now=at)
    except DeadlineError:
        _refuse(f"{DEADLINE} is not a deadline after the command was sent: write {FORMS}", value)
    return value.strip()


def _flag(detail: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = detail.get(key, default)
    if not isinstance(value, bool):
        _refuse_unseen(f"{key} must be true or false", value)
    return value


def _is_storable(text: str) -> bool:
    """Whether DynamoDB can keep a text: JSON can carry lone surrogates, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _arn_in(detail: Mapping[str, Any], key: str, monitored: Scopes) -> str:
    value = detail.get(key)
    if not isinstance(value, str):
        _refuse_unseen(f"{key} must be a text", value)
    try:
        arn = JobArn.parse(value)
    except InvalidJobArnError:
        _refuse(f"{key} is not the ARN of a batch inference job", value)
    if not monitored.covers(arn):
        _refuse(f"{key} names {arn.scope}, which is not monitored (monitored: {monitored})", value)
    return value


def _refuse_unseen(problem: str, value: object) -> NoReturn:
    message = f"{problem}: it is a {type(value).__name__}"
    raise MalformedEventError(message)


def _refuse(problem: str, value: object) -> NoReturn:
    """Refuse a value, of which the text shows the beginning alone, without control characters."""
    text = value if isinstance(value, str) else type(value).__name__
    most = _SHOWN_OF_ARN if text.startswith("arn:") else _SHOWN_CHARACTERS
    shown = clean(text[:most])
    message = f"{problem}: {shown!r}" + ("…" if len(text) > most else "")
    raise MalformedEventError(message) from None
