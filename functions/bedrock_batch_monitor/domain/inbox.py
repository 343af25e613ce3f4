"""What an event asks for that reached the monitor: look at a job, track it, or untrack it.

Bedrock's own events are hints, best-effort and possibly late, repeated or out of order: of one of
them only the job's ARN is believed, and any other field may be missing. Source of their form: the
sample in the Bedrock user guide, "Monitor batch inference jobs".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.tasks import TOKEN_CHARACTERS, WaitingTask

NATIVE_SOURCE: Final = "aws.bedrock"
NATIVE_DETAIL_TYPE: Final = "Batch Inference Job State Change"
TRACK_DETAIL_TYPE: Final = "Track Batch Inference Job"
UNTRACK_DETAIL_TYPE: Final = "Untrack Batch Inference Job"

TASK_TOKEN: Final = "taskToken"  # noqa: S105 - the name of the field
PARTIALLY_COMPLETED_IS_SUCCESS: Final = "partiallyCompletedIsSuccess"

_SHOWN_CHARACTERS: Final = 80


class MalformedEventError(ValueError):
    """An event that asks for nothing that can be done; the text says why."""


@dataclass(frozen=True, slots=True)
class LookAt:
    """Bedrock says that a job has changed."""

    job_arn: str


@dataclass(frozen=True, slots=True)
class Track:
    """Somebody wants a job to be tracked, perhaps for a Step Functions task that waits for it."""

    job_arn: str
    task: WaitingTask | None = None


@dataclass(frozen=True, slots=True)
class Untrack:
    """Somebody wants a job not to be tracked any more."""

    job_arn: str


Request = LookAt | Track | Untrack


def request_of(event: object, monitored: Scopes, *, takes_tasks: bool = True) -> Request:
    """Read an EventBridge event; raises `MalformedEventError` for one that cannot be followed.

    `takes_tasks` says whether tasks may wait (setting `taskTokens`). The error's text has no part
    of an event that can hold a task token.
    """
    if not isinstance(event, Mapping):
        _refuse_unseen("the event is no JSON object", event)
    detail_type, detail = event.get("detail-type"), event.get("detail")
    if not isinstance(detail, Mapping):
        _refuse_unseen("the event's detail is no JSON object", detail)
    if detail_type == NATIVE_DETAIL_TYPE and event.get("source") == NATIVE_SOURCE:
        return LookAt(_arn_in(detail, "batchJobArn", monitored))
    if detail_type == TRACK_DETAIL_TYPE:
        return _track(detail, monitored, takes_tasks=takes_tasks)
    if detail_type != UNTRACK_DETAIL_TYPE:
        _refuse("the event's detail-type asks for nothing", detail_type)
    return Untrack(_arn_in(detail, "jobArn", monitored))


def _track(detail: Mapping[str, Any], monitored: Scopes, *, takes_tasks: bool) -> Track:
    if TASK_TOKEN not in detail:
        return Track(_arn_in(detail, "jobArn", monitored))
    try:
        job_arn = _arn_in(detail, "jobArn", monitored)
    except MalformedEventError:
        # Whoever mixes up the two fields has the token in this one.
        message = f"jobArn is not the ARN of a batch inference job in {monitored}"
        raise MalformedEventError(message) from None
    if not takes_tasks:
        message = f"{TASK_TOKEN} is not taken: deploy the monitor with taskTokens=true"
        raise MalformedEventError(message)
    token, partially = detail[TASK_TOKEN], detail.get(PARTIALLY_COMPLETED_IS_SUCCESS, False)
    if not isinstance(token, str) or not 0 < len(token) <= TOKEN_CHARACTERS:
        message = f"{TASK_TOKEN} is no text of 1 to {TOKEN_CHARACTERS:,} characters"
        raise MalformedEventError(message)
    if not _is_storable(token):
        message = f"{TASK_TOKEN} has characters that cannot be stored"
        raise MalformedEventError(message)
    if not isinstance(partially, bool):
        _refuse_unseen(f"{PARTIALLY_COMPLETED_IS_SUCCESS} is neither true nor false", partially)
    return Track(job_arn, WaitingTask(token, partially))


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
        _refuse(f"{key} is no text", value)
    try:
        arn = JobArn.parse(value)
    except InvalidJobArnError as error:
        message = f"{key}: {error}"
        raise MalformedEventError(message) from error
    if arn.scope not in monitored:
        _refuse(f"{key} names {arn.scope}, and {monitored} is monitored", value)
    return value


def _refuse_unseen(problem: str, value: object) -> NoReturn:
    message = f"{problem} but a {type(value).__name__}"
    raise MalformedEventError(message)


def _refuse(problem: str, value: object) -> NoReturn:
    shown = repr(value)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "…"
    message = f"{problem}: {shown}"
    raise MalformedEventError(message)
