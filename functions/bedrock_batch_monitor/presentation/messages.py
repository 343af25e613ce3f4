"""What people are told: an event, or ARNs that were never readable, as an e-mail and in a chat.

Everything in an event that is not the monitor's own word is hostile here: a job's name and message
are chosen by others, and anybody who may put events on the bus can forge one. Values of the wrong
type count as unknown and are left out; a text can neither end its line nor be markup, and every
text has a bound, so that a mail and a chat message stay far below the 256 KB that SNS takes.

The chat message keeps to the custom notification schema of Amazon Q Developer in chat applications
(its administrator guide, "Custom notifications"): version "1.0", source "custom", and texts in the
markdown of whichever chat it is shown in. In Slack `&`, `<` and `>` are what links and mentions are
made of (Slack, "Formatting message text"); in Teams square brackets make links besides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn, is_job_arn
from bedrock_batch_monitor.domain.outcomes import AT_RISK, STALLED, UNREACHABLE
from bedrock_batch_monitor.domain.plain_text import CUT, clean, duration, plausible_count
from bedrock_batch_monitor.presentation.console import bedrock_jobs

# SNS takes subjects below 100 characters, without line breaks and control characters. ASCII alone
# was its rule for years, and is the safe choice.
SUBJECT_CHARACTERS: Final = 99
# Said to be the limits of the custom notification schema; a longer text is not shown at all.
TITLE_CHARACTERS: Final = 250
DESCRIPTION_CHARACTERS: Final = 8000
# What a variable of a custom action may hold at most (API_CustomActionAttachment).
_CONTEXT_CHARACTERS: Final = 1024

_NAME_CHARACTERS: Final = 100
_MESSAGE_CHARACTERS: Final = 300
# A bucket's name, the longest key, and what is around them.
_URI_CHARACTERS: Final = 1100
# Room for the ARN of an inference profile.
_MODEL_CHARACTERS: Final = 300
_KEYWORD: Final = "Bedrock batch inference"
# What a summary of ARNs shows at most. An ARN of a job has 90 characters; what somebody put into
# the table in its place can be longer.
_ARNS_SHOWN: Final = 20
_ARN_CHARACTERS: Final = 120
_UNREADABLE_SAID: Final = "cannot be read and never could"
_UNREADABLE_ADVICE: Final = (
    "Check the ARN, its account and Region, and the permissions of the monitor's role. If the job "
    "is not yours to monitor, stop tracking it: bbm untrack <ARN>."
)
_UNREADABLE_THREAD: Final = "bedrock-batch-monitor/unreadable-arns"
# Behind '@' and ']' a space without width: no mention, no link, and the text looks the same.
_APART: Final = "\u200b"
_IN_CHAT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "@": "@" + _APART,
        "]": "]" + _APART,
        "`": "'",
        "*": "\u2217",
        "~": "\u223c",
    }
)


class NotANotificationError(ValueError):
    """An event of which there is nothing to tell; the text says why, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What can become of a job, in words: after "Batch job …", in a subject, and what to do."""

    detail_type: str
    said: str
    in_short: str
    symbol: str
    advice: str


# Every outcome that can be told, by the name under which the settings know it: the terminal status,
# or what the monitor itself noticed of a job that has not ended.
OUTCOMES: Final[Mapping[str, Outcome]] = MappingProxyType(
    {
        statuses.COMPLETED: Outcome(
            contract.JOB_ENDED,
            "ran to its end",
            "completed",
            "\u2705",
            "Read the output. Records that failed have their error in it.",
        ),
        statuses.PARTIALLY_COMPLETED: Outcome(
            contract.JOB_ENDED,
            "ran out of time: there is output, and some is missing",
            "partially completed",
            "\u26a0\ufe0f",
            "Read the output, and submit the records that are missing again.",
        ),
        statuses.FAILED: Outcome(
            contract.JOB_ENDED,
            "failed",
            "failed",
            "\u274c",
            "Correct what the message names, and submit the job again.",
        ),
        statuses.STOPPED: Outcome(
            contract.JOB_ENDED,
            "was stopped",
            "stopped",
            "\u23f9\ufe0f",
            "Nothing, if that was meant. Submit the job again otherwise.",
        ),
        statuses.EXPIRED: Outcome(
            contract.JOB_ENDED,
            "ran out of time before it could begin",
            "expired",
            "\u231b",
            "Submit the job again.",
        ),
        STALLED: Outcome(
            contract.JOB_STALLED,
            "has not ended, and nothing moves any more",
            "stalled",
            "\u26a0\ufe0f",
            "Wait, or stop the job: Bedrock ends it when its time is up.",
        ),
        AT_RISK: Outcome(
            contract.JOB_AT_RISK,
            "is too slow to end before its time is up",
            "at risk",
            "\u23f3",
            "A running job cannot be made faster. Submit again what it leaves undone.",
        ),
        UNREACHABLE: Outcome(
            contract.JOB_UNREACHABLE,
            "cannot be read any more, so that nobody knows what becomes of it",
            "unreachable",
            "\u2753",
            "Let the monitor's role read the job again, or untrack a job that is gone.",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a notification."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Notification:
    """What is to be told of one event: texts in one line each, not yet made safe for a chat.

    `event_id` is the id that the event has on every delivery; None if it has none.
    """

    outcome: str
    arn: JobArn
    job: str
    event_id: str | None
    facts: tuple[Fact, ...]
    output: str | None


@dataclass(frozen=True, slots=True)
class Texts:
    """A notification that is ready to be sent.

    `subject` is printable ASCII in one line, below 100 characters. `chat` is the custom
    notification, as JSON has it.
    """

    subject: str
    mail: str
    chat: Mapping[str, Any]


def is_summarized(event: object) -> bool:
    """Whether an event is about an ARN that was never readable.

    People are told of these in one summary per poll, `unreadable_texts`, and not by event: such an
    ARN can name any job, and anybody who may track jobs can add thousands of them.
    """
    is_unreachable = _at(event, "detail-type") == contract.JOB_UNREACHABLE
    return is_unreachable and _raw(_at(event, "detail", "data"), "status") is None


def unreadable_texts(pairs: Sequence[tuple[str, str]]) -> Texts:
    """The summary of ARNs that were never readable, each with the code of the last refusal.

    Shows 20 of them at most and says how many more there are. Raises ValueError without any.
    """
    if not pairs:
        message = "there is no ARN to tell: call this only with ARNs that could not be read"
        raise ValueError(message)
    known = [
        (clean(arn, _ARN_CHARACTERS).strip() or "(empty)", clean(code, _NAME_CHARACTERS).strip())
        for arn, code in pairs[:_ARNS_SHOWN]
    ]
    # Only what is an ARN for certain: a chat may take the rest for markup.
    related = [arn for arn, _ in known if is_job_arn(arn)]
    number = len(pairs)
    what = "1 tracked job ARN" if number == 1 else f"{number:,} tracked job ARNs"
    said = f"{what} {_UNREADABLE_SAID}"
    lines = [f"{arn}: {code}" for arn, code in known]
    mail = [
        f"{said}.",
        "",
        *_and_more(lines, number - len(lines)),
        "",
        f"What to do: {_UNREADABLE_ADVICE}",
        "The monitor stops tracking an ARN that was never readable after seven days.",
    ]
    return Texts(
        subject=_subject(f"Bedrock batch monitor: {said}"),
        mail="\n".join(mail) + "\n",
        chat={
            "version": "1.0",
            "source": "custom",
            "content": {
                "textType": "client-markdown",
                "title": f"{OUTCOMES[UNREACHABLE].symbol} {said}",
                "description": _unreadable_description(lines, number),
                "nextSteps": [_escaped(_UNREADABLE_ADVICE, DESCRIPTION_CHARACTERS)],
                "keywords": [_KEYWORD, UNREACHABLE],
            },
            "metadata": {
                "threadId": _UNREADABLE_THREAD,
                "summary": said,
                "eventType": contract.JOB_UNREACHABLE,
                **({"relatedResources": related} if related else {}),
            },
        },
    )


def texts_of(notification: Notification) -> Texts:
    """What is sent of one event."""
    return Texts(subject_of(notification), mail_of(notification), chat_message_of(notification))


def notification_of(event: object) -> Notification:
    """Read an EventBridge event; raises `NotANotificationError` where there is nothing to tell."""
    detail_type = _at(event, "detail-type")
    data = _at(event, "detail", "data")
    outcome = _outcome_of(detail_type, _at(data, "status"))
    try:
        arn = JobArn.parse(_raw(data, "jobArn") or "")
    except InvalidJobArnError:
        message = "detail.data.jobArn is not the ARN of a batch inference job"
        raise NotANotificationError(message) from None
    return Notification(
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
    """A mail's subject: printable ASCII in one line, below 100 characters."""
    said = OUTCOMES[notification.outcome].in_short
    return _subject(f"Bedrock batch job {said}: {notification.job}")


def _subject(text: str) -> str:
    ascii_only = "".join(character if " " <= character <= "~" else "?" for character in text)
    return ascii_only[:SUBJECT_CHARACTERS].rstrip()


def mail_of(notification: Notification) -> str:
    """A mail's text: what happened, every fact in a line of its own, what to do."""
    outcome = OUTCOMES[notification.outcome]
    lines = [
        f"Batch job {notification.job} {outcome.said}.",
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
    """The custom notification, as JSON has it.

    A text from the event may come out altered where a chat would take it for markup, a location in
    S3 included; the mail and the event have it as it is. All of a job's messages are one thread.
    """
    outcome = OUTCOMES[notification.outcome]
    said = f"Batch job {_escaped(notification.job, TITLE_CHARACTERS // 2)} {outcome.said}"
    console = bedrock_jobs(str(notification.arn))
    identity = {} if notification.event_id is None else {"id": notification.event_id}
    return {
        "version": "1.0",
        "source": "custom",
        **identity,
        "content": {
            "textType": "client-markdown",
            "title": f"{outcome.symbol} {said}",
            "description": _description(notification),
            "nextSteps": [
                outcome.advice,
                *(() if console is None else (f"Look it up in the Bedrock console: {console}",)),
            ],
            "keywords": [_KEYWORD, notification.outcome],
        },
        "metadata": {
            "threadId": str(notification.arn),
            "summary": said,
            "eventType": outcome.detail_type,
            "relatedResources": [str(notification.arn)],
            "additionalContext": dict(_additional_context(notification)),
        },
    }


def _description(notification: Notification) -> str:
    """The facts, as many as there is room for; the first of them matter most."""
    lines: list[str] = []
    left = DESCRIPTION_CHARACTERS
    for fact in notification.facts:
        line = f"*{fact.label}:* {_escaped(fact.text, DESCRIPTION_CHARACTERS)}"
        if len(line) < left:
            lines.append(line)
            left -= len(line) + 1
    return "\n".join(lines)


def _unreadable_description(lines: Sequence[str], number: int) -> str:
    """As many of the lines as there is room for, and how many more there are."""
    shown: list[str] = []
    # Room for the line that says how many more.
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
    """What custom actions in the chat can take their variables from."""
    yield "jobArn", str(notification.arn)
    yield "jobName", notification.job
    yield "outcome", notification.outcome
    yield "account", notification.arn.account
    yield "region", notification.arn.region
    if notification.output is not None:
        yield "outputS3Uri", notification.output


def _outcome_of(detail_type: object, status: object) -> str:
    for name, outcome in OUTCOMES.items():
        if outcome.detail_type == detail_type and (
            outcome.detail_type != contract.JOB_ENDED or name == status
        ):
            return name
    message = "detail-type and status are those of no outcome"
    raise NotANotificationError(message)


def _facts(outcome: str, data: Mapping[str, Any], arn: JobArn) -> Iterator[tuple[str, str | None]]:
    yield "Outcome", outcome
    yield "Duration", _spans(data)
    yield "Records", _records(_at(data, "records"))
    yield "Message", _first_line(_raw(data, "message"))
    yield "Refused with", _refusal(_at(data, "error"))
    yield "Output folder", _text(data, "outputS3Uri", _URI_CHARACTERS)
    yield "Model", _text(data, "modelId", _MODEL_CHARACTERS)
    yield "Ended", _text(data, "endTime", _NAME_CHARACTERS)
    yield "Expected to end", _text(data, "estimatedEndTime", _NAME_CHARACTERS)
    yield "Time is up", _text(data, "jobExpirationTime", _NAME_CHARACTERS)
    yield "Account and Region", f"{arn.account}, {arn.region}"


def _spans(data: Mapping[str, Any]) -> str | None:
    durations = _at(data, "durations")
    parts = [
        f"{duration(seconds)} {what}".rstrip()
        for seconds, what in (
            (_count(durations, "totalSeconds"), ""),
            (_count(durations, "queuedSeconds"), "in the queue"),
            (_count(durations, "runningSeconds"), "running"),
            (_count(data, "stalledSeconds"), "without movement"),
            (_count(data, "secondsPastExpiration"), "too long, at the present pace"),
        )
        if seconds is not None
    ]
    return ", ".join(parts) or None


def _records(records: Mapping[str, Any]) -> str | None:
    total, error = _count(records, "total"), _count(records, "error")
    if total == 0:
        # Bedrock reports 0 for every count until it has validated the job: they are unknown.
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
        parts.append("1 error" if error == 1 else f"{error:,} errors")
    return ", ".join(parts) or None


def _refusal(error: Mapping[str, Any]) -> str | None:
    texts = (_text(error, "code", _NAME_CHARACTERS), _first_line(_raw(error, "message")))
    return ": ".join(text for text in texts if text is not None) or None


def _first_line(text: str | None) -> str | None:
    """The first line in which something is to be seen."""
    lines = () if text is None else text.splitlines()
    shown = (_bounded(line, _MESSAGE_CHARACTERS) for line in lines)
    return next((line for line in shown if line), None)


def _bounded(text: str, characters: int) -> str:
    return clean(text.strip(), characters).strip()


def _escaped(text: str, characters: int) -> str:
    """A text that no chat takes for markup, of so many characters at most.

    Underscores stay: in names and paths they are frequent, and make nothing but slanted letters.
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
    """What is at a path in a JSON document; an empty mapping where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return {} if value is None else value


def _raw(values: object, key: str) -> str | None:
    """A text as it came; None for another value, and for a text in which nothing is to be seen."""
    value = _at(values, key)
    return value if isinstance(value, str) and clean(value).strip() else None


def _text(values: object, key: str, characters: int) -> str | None:
    value = _raw(values, key)
    return None if value is None else _bounded(value, characters)


def _count(values: object, key: str) -> int | None:
    return plausible_count(_at(values, key))
