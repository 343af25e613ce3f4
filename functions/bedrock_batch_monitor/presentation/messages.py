"""Notifications as an email and as a chat message: of one event, or of ARNs never readable.

The values of an event are untrusted: users choose the name of a job, and anyone who can put events
on the bus can forge an event. A value of the wrong type counts as unknown and is left out. A text
cannot end its line and cannot be markup. Every text has a maximum length, so that an email and a
chat message stay far below the limit of SNS, 256 KB.

The chat message follows the custom notification schema of Amazon Q Developer in chat applications
(administrator guide, "Custom notifications"): version "1.0", source "custom", and texts in the
Markdown of the chat client. In Slack, `&`, `<` and `>` form links and mentions (Slack, "Formatting
message text"). In Teams, square brackets also form links.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn, is_job_arn
from bedrock_batch_monitor.domain.event_kinds import (
    CONDITIONS,
    ENDED,
    ERRORS_ANALYZED,
    UNREACHABLE,
    EventKind,
)
from bedrock_batch_monitor.domain.outcomes import NOTIFIABLE, OUTCOMES
from bedrock_batch_monitor.domain.plain_text import CUT, clean, duration, percent, plausible_count
from bedrock_batch_monitor.domain.tags import tags_in
from bedrock_batch_monitor.presentation.console import bedrock_jobs

# SNS accepts subjects below 100 characters without line breaks and control characters. For years it
# accepted ASCII only, so ASCII is the safe choice.
SUBJECT_CHARACTERS: Final = 99
# The limits of the custom notification schema. Amazon Q drops a message with a longer text.
TITLE_CHARACTERS: Final = 250
DESCRIPTION_CHARACTERS: Final = 8000
# The maximum length of a variable of a custom action (API_CustomActionAttachment).
_CONTEXT_CHARACTERS: Final = 1024

_NAME_CHARACTERS: Final = 100
_MESSAGE_CHARACTERS: Final = 300
_TAGS_CHARACTERS: Final = 600
_CODE_CHARACTERS: Final = 40
# Room for a bucket name and the longest key.
_URI_CHARACTERS: Final = 1100
# Room for the ARN of an inference profile.
_MODEL_CHARACTERS: Final = 300
_KEYWORD: Final = "Bedrock batch inference"
# The limits of a summary of ARNs. A job ARN has about 90 characters, but an item can have any key.
_ARNS_SHOWN: Final = 20
_ARN_CHARACTERS: Final = 120
_UNREADABLE_PHRASE: Final = "could never be read"
_UNREADABLE_ADVICE: Final = (
    "Check the ARN, its account and Region, and the permissions of the monitor's role. To stop "
    "tracking a job, run: bbm untrack <ARN>."
)
_UNREADABLE_THREAD: Final = "bedrock-batch-monitor/unreadable-arns"
# A zero-width space after '@' and ']' prevents mentions and links, and does not change the look.
_ZERO_WIDTH_SPACE: Final = "\u200b"
_IN_CHAT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "@": "@" + _ZERO_WIDTH_SPACE,
        "]": "]" + _ZERO_WIDTH_SPACE,
        "`": "'",
        "*": "\u2217",
        "~": "\u223c",
    }
)


class NotANotificationError(ValueError):
    """An event that causes no notification. The text never quotes a value of the event."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a notification."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Notification:
    """The content of a notification of one event: texts of one line, not yet escaped for a chat.

    `event_id` is the `eventId` of the event, which is the same on every delivery; None without one.
    """

    kind: EventKind
    outcome: str
    arn: JobArn
    job: str
    event_id: str | None
    facts: tuple[Fact, ...]
    output: str | None


@dataclass(frozen=True, slots=True)
class Texts:
    """A notification that is ready to be published.

    `subject` is printable ASCII in one line, below 100 characters. `chat` is the custom
    notification, as JSON has it.
    """

    subject: str
    mail: str
    chat: Mapping[str, Any]


def is_summarized(event: object) -> bool:
    """Whether an event is about an ARN that was never readable.

    Each poll sends one summary of these ARNs (`unreadable_texts`) in place of a notification for
    each event, because anyone who can track jobs can add thousands of ARNs of jobs that do not
    exist.
    """
    is_unreachable = _at(event, "detail-type") == UNREACHABLE.detail_type
    return is_unreachable and _raw(_at(event, "detail", "data"), "status") is None


def unreadable_texts(pairs: Sequence[tuple[str, str]]) -> Texts:
    """The summary of ARNs that were never readable, from pairs of ARN and last error code.

    Shows at most 20 ARNs and the number of the others. Raises ValueError if there are no pairs.
    """
    if not pairs:
        message = "no ARN given: a summary needs at least one ARN that could not be read"
        raise ValueError(message)
    known = [
        (clean(arn, _ARN_CHARACTERS).strip() or "(empty)", clean(code, _NAME_CHARACTERS).strip())
        for arn, code in pairs[:_ARNS_SHOWN]
    ]
    # Only valid ARNs: a chat client could interpret another text as markup.
    related = [arn for arn, _ in known if is_job_arn(arn)]
    number = len(pairs)
    what = "1 tracked job ARN" if number == 1 else f"{number:,} tracked job ARNs"
    summary = f"{what} {_UNREADABLE_PHRASE}"
    lines = [f"{arn}: {code}" for arn, code in known]
    mail = [
        f"{summary}.",
        "",
        *_and_more(lines, number - len(lines)),
        "",
        f"What to do: {_UNREADABLE_ADVICE}",
        "The monitor untracks an ARN that was never readable after seven days.",
    ]
    return Texts(
        subject=_subject(f"Bedrock batch monitor: {summary}"),
        mail="\n".join(mail) + "\n",
        chat={
            "version": "1.0",
            "source": "custom",
            "content": {
                "textType": "client-markdown",
                "title": f"{NOTIFIABLE[UNREACHABLE.name].symbol} {summary}",
                "description": _unreadable_description(lines, number),
                "nextSteps": [_escaped(_UNREADABLE_ADVICE, DESCRIPTION_CHARACTERS)],
                "keywords": [_KEYWORD, UNREACHABLE.name],
            },
            "metadata": {
                "threadId": _UNREADABLE_THREAD,
                "summary": summary,
                "eventType": UNREACHABLE.detail_type,
                **({"relatedResources": related} if related else {}),
            },
        },
    )


def texts_of(notification: Notification) -> Texts:
    """The texts to publish for one event."""
    return Texts(subject_of(notification), mail_of(notification), chat_message_of(notification))


def notification_of(event: object) -> Notification:
    """Read an EventBridge event; raises `NotANotificationError` for one without a notification."""
    detail_type = _at(event, "detail-type")
    data = _at(event, "detail", "data")
    kind, outcome = _kind_and_outcome(detail_type, data)
    try:
        arn = JobArn.parse(_raw(data, "jobArn") or "")
    except InvalidJobArnError:
        message = "detail.data.jobArn is not the ARN of a batch inference job"
        raise NotANotificationError(message) from None
    return Notification(
        kind=kind,
        outcome=outcome,
        arn=arn,
        job=_text(data, "jobName", _NAME_CHARACTERS) or arn.job_id,
        event_id=_text(_at(event, "detail", "metadata"), "eventId", _NAME_CHARACTERS),
        facts=tuple(
            Fact(label, text) for label, text in _facts(outcome, data, arn) if text is not None
        ),
        output=_text(data, "outputS3Uri", _CONTEXT_CHARACTERS),
    )


def subject_of(notification: Notification) -> str:
    """The subject of an email: printable ASCII in one line, below 100 characters."""
    if notification.kind is ERRORS_ANALYZED:
        # The second email about the same end.
        return _subject(f"Bedrock batch job, why records failed: {notification.job}")
    short = NOTIFIABLE[notification.outcome].short
    return _subject(f"Bedrock batch job {short}: {notification.job}")


def _subject(text: str) -> str:
    ascii_only = "".join(character if " " <= character <= "~" else "?" for character in text)
    return ascii_only[:SUBJECT_CHARACTERS].rstrip()


def mail_of(notification: Notification) -> str:
    """The body of an email: the outcome, one line for each fact, and what to do."""
    outcome = NOTIFIABLE[notification.outcome]
    lines = [
        f"Batch job {notification.job} {outcome.sentence}.",
        "",
        *(f"{fact.label}: {fact.text}" for fact in notification.facts),
        f"Job ARN: {notification.arn}",
        "",
        f"What to do: {outcome.advice}",
    ]
    console = bedrock_jobs(str(notification.arn))
    if console is not None:
        lines.append(f"Bedrock console: {console}")
    if notification.event_id is not None:
        lines += ["", f"Event {notification.event_id}"]
    return "\n".join(lines) + "\n"


def chat_message_of(notification: Notification) -> dict[str, Any]:
    """The custom notification as a JSON value.

    Characters that a chat client would interpret as markup are replaced, also in S3 locations. The
    email and the event have the original text. All messages of a job form one thread.
    """
    outcome = NOTIFIABLE[notification.outcome]
    sentence = f"Batch job {_escaped(notification.job, TITLE_CHARACTERS // 2)} {outcome.sentence}"
    console = bedrock_jobs(str(notification.arn))
    identity = {} if notification.event_id is None else {"id": notification.event_id}
    return {
        "version": "1.0",
        "source": "custom",
        **identity,
        "content": {
            "textType": "client-markdown",
            "title": f"{outcome.symbol} {sentence}",
            "description": _description(notification),
            "nextSteps": [
                outcome.advice,
                *(() if console is None else (f"Open the Bedrock console: {console}",)),
            ],
            "keywords": [_KEYWORD, notification.outcome],
        },
        "metadata": {
            "threadId": str(notification.arn),
            "summary": sentence,
            "eventType": notification.kind.detail_type,
            "relatedResources": [str(notification.arn)],
            "additionalContext": dict(_additional_context(notification)),
        },
    }


def _description(notification: Notification) -> str:
    """The facts that fit, the most important first."""
    lines: list[str] = []
    left = DESCRIPTION_CHARACTERS
    for fact in notification.facts:
        line = f"*{fact.label}:* {_escaped(fact.text, DESCRIPTION_CHARACTERS)}"
        if len(line) < left:
            lines.append(line)
            left -= len(line) + 1
    return "\n".join(lines)


def _unreadable_description(lines: Sequence[str], number: int) -> str:
    """The lines that fit, and the number of the others."""
    shown: list[str] = []
    # Room for the line with the number of the others.
    left = DESCRIPTION_CHARACTERS - _NAME_CHARACTERS
    for line in lines:
        escaped = _escaped(line, DESCRIPTION_CHARACTERS)
        if len(escaped) >= left:
            break
        shown.append(escaped)
        left -= len(escaped) + 1
    return "\n".join(_and_more(shown, number - len(shown)))


def _and_more(lines: Sequence[str], more: int) -> list[str]:
    return [*lines, *([f"and {more:,} more"] if more > 0 else [])]


def _additional_context(notification: Notification) -> Iterator[tuple[str, str]]:
    """The variables for custom actions in the chat."""
    yield "jobArn", str(notification.arn)
    yield "jobName", notification.job
    yield "outcome", notification.outcome
    yield "account", notification.arn.account
    yield "region", notification.arn.region
    if notification.output is not None:
        yield "outputS3Uri", notification.output


def _kind_and_outcome(detail_type: object, data: object) -> tuple[EventKind, str]:
    """The event's kind, and the name of its words in `NOTIFIABLE`."""
    for kind in (ENDED, ERRORS_ANALYZED):
        if detail_type != kind.detail_type:
            continue
        # An event of an earlier version has no outcome.
        for name in (_at(data, contract.OUTCOME), _at(data, contract.STATUS)):
            if isinstance(name, str) and name in OUTCOMES:
                return kind, name
    for kind in CONDITIONS:
        if detail_type == kind.detail_type:
            return kind, kind.name
    message = "detail-type and outcome belong to no notification"
    raise NotANotificationError(message)


def _top_reason(data: Mapping[str, Any]) -> str | None:
    """The largest group of failed records, if their errors were analyzed."""
    groups = _at(data, "errorGroups")
    first = groups[0] if isinstance(groups, list) and groups else None
    count = plausible_count(_at(first, "count"))
    if count is None:
        return None
    code = _at(first, "errorCode")
    shown = clean(code, _CODE_CHARACTERS) if isinstance(code, int | str) else None
    parts = [part for part in (shown, _text(first, "pattern", _MESSAGE_CHARACTERS)) if part]
    return f"{': '.join(parts) or 'no code'} ({count:,} record{'' if count == 1 else 's'})"


def _facts(outcome: str, data: Mapping[str, Any], arn: JobArn) -> Iterator[tuple[str, str | None]]:
    yield "Outcome", outcome
    yield "Duration", _spans(data)
    yield "Records", _records(_at(data, "records"))
    yield "Top reason", _top_reason(data)
    yield "Retry file", _text(_at(data, "errorAnalysis", "retryFile"), "s3Uri", _URI_CHARACTERS)
    yield "Message", _first_line(_raw(data, "message"))
    yield "Error", _error(_at(data, "error"))
    yield "Output folder", _text(data, "outputS3Uri", _URI_CHARACTERS)
    yield "Model", _text(data, "modelId", _MODEL_CHARACTERS)
    yield "Ended", _text(data, "endTime", _NAME_CHARACTERS)
    yield "Estimated end", _text(data, "estimatedEndTime", _NAME_CHARACTERS)
    yield "Expiration", _text(data, "jobExpirationTime", _NAME_CHARACTERS)
    yield "At risk", _risk(_at(data, "risk"))
    yield "Deadline", _text(data, "deadline", _NAME_CHARACTERS)
    yield "Tags", _tags(tags_in(_at(data, contract.TAGS)))
    yield "Account and Region", f"{arn.account}, {arn.region}"


def _risk(risk: Mapping[str, Any]) -> str | None:
    reason, at = _text(risk, "reason", _NAME_CHARACTERS), _text(risk, "at", _NAME_CHARACTERS)
    return None if reason is None or at is None else f"{reason}, {at}"


def _tags(tags: Mapping[str, str]) -> str | None:
    """Tags in one line: `stage=prod, team=search`."""
    return (
        _bounded(", ".join(f"{name}={text}" for name, text in tags.items()), _TAGS_CHARACTERS)
        or None
    )


def _spans(data: Mapping[str, Any]) -> str | None:
    durations = _at(data, "durations")
    parts = [
        f"{duration(seconds)} {what}".rstrip()
        for seconds, what in (
            (_count(durations, "totalSeconds"), ""),
            (_count(durations, "queuedSeconds"), "in the queue"),
            (_count(durations, "runningSeconds"), "running"),
            (_count(data, "stalledSeconds"), "without progress"),
            (_count(data, "secondsPastExpiration"), "past its expiration, at the current rate"),
        )
        if seconds is not None
    ]
    return ", ".join(parts) or None


def _records(records: Mapping[str, Any]) -> str | None:
    total, error = _count(records, "total"), _count(records, "error")
    if total == 0:
        # Bedrock reports 0 for every count until it has validated the job, so they are unknown.
        return None
    done, word = _count(records, "success"), "succeeded"
    if done is None:
        done, word = _count(records, "processed"), "processed"
    parts = []
    if done is not None:
        parts.append(f"{done:,} {word}" if total is None else f"{done:,} of {total:,} {word}")
    elif total is not None:
        parts.append(f"{total:,} in the input")
    if error is not None:
        errors = "1 error" if error == 1 else f"{error:,} errors"
        share = _number(records, "errorShare")
        parts.append(errors if not share else f"{errors} ({percent(share)})")
    return ", ".join(parts) or None


def _error(error: Mapping[str, Any]) -> str | None:
    texts = (_text(error, "code", _NAME_CHARACTERS), _first_line(_raw(error, "message")))
    return ": ".join(text for text in texts if text is not None) or None


def _first_line(text: str | None) -> str | None:
    """The first line with a visible character."""
    lines = () if text is None else text.splitlines()
    shown = (_bounded(line, _MESSAGE_CHARACTERS) for line in lines)
    return next((line for line in shown if line), None)


def _bounded(text: str, characters: int) -> str:
    return clean(text.strip(), characters).strip()


def _escaped(text: str, characters: int) -> str:
    """A text that no chat client interprets as markup, of at most so many characters.

    Underscores stay: they are frequent in names and paths, and can only cause italics.
    """
    pieces: list[str] = []
    left = characters - 1
    for character in text:
        piece = _IN_CHAT.get(character, character)
        if len(piece) > left:
            return "".join(pieces) + CUT
        pieces.append(piece)
        left -= len(piece)
    return "".join(pieces)


def _at(value: object, *path: str) -> Any:  # noqa: ANN401 - a part of a JSON document
    """The value at a path in a JSON document; an empty mapping without one."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return {} if value is None else value


def _raw(values: object, key: str) -> str | None:
    """The unchanged text; None for another value and for a text without a visible character."""
    value = _at(values, key)
    return value if isinstance(value, str) and clean(value).strip() else None


def _text(values: object, key: str, characters: int) -> str | None:
    value = _raw(values, key)
    return None if value is None else _bounded(value, characters)


def _number(values: object, key: str) -> float | None:
    """A share from 0 to 1."""
    value = _at(values, key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= 1 else None


def _count(values: object, key: str) -> int | None:
    return plausible_count(_at(values, key))
