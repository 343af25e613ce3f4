"""The registry of event kinds: names, data fields, and words for people.

Pending events, event ids, schemas, samples, badges, notifications and metrics derive from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Final

from bedrock_batch_monitor.domain.times import from_iso, to_iso


class Severity(StrEnum):
    """How urgent something is for people."""

    NOTE = "note"
    WARNING = "warning"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True)
class Words:
    """How people are told.

    `sentence` completes "Batch job <name> …". `short` is a badge and the subject of an email,
    `symbol` an emoji for a chat, `advice` what to do.
    """

    sentence: str
    short: str
    symbol: str
    advice: str
    severity: Severity


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        message = f"{text!r} is not a whole number"
        raise ValueError(message)
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        message = f"{text!r} is not a finite number"
        raise ValueError(message)
    return value


def _word(text: str) -> str:
    if not (text.isascii() and text.isalpha()):
        message = f"{text!r} is not a word"
        raise ValueError(message)
    return text


def _time(text: str) -> str:
    return to_iso(from_iso(text))


class FieldType(Enum):
    """The type of a data field: its name in JSON Schema, and how its text is read."""

    TEXT = ("string", _word)
    TIME = ("string", _time)
    WHOLE = ("integer", _whole)
    NUMBER = ("number", _finite)

    def __init__(self, json_type: str, parse: Callable[[str], Any]) -> None:
        self.json_type = json_type
        self.parse = parse


@dataclass(frozen=True, slots=True)
class DataField:
    """A field of `detail.data`; `name` has a dot before the name of an inner field.

    `is_required` says that every event of the kind has it.
    """

    name: str
    type: FieldType
    description: str
    example: object
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class EventKind:
    """One kind of event.

    `name` is part of pending events and event ids, and the name in `notifyOutcomes`. A condition of
    a job begins and ends: `since` is the data field with the time at which it began, `metric`
    counts the jobs that have the condition, and `fields` are what the event says about the moment
    at which the condition was detected. `has_error` says that the event has the `error` of the read
    that failed. An event that is not about one job (`is_about_job`) is about a model, and its
    `fields` are all of its data but account and Region.
    """

    name: str
    detail_type: str
    description: str
    when_sent: str
    words: Words | None = None
    since: DataField | None = None
    fields: tuple[DataField, ...] = ()
    has_error: bool = False
    metric: str = ""
    is_about_job: bool = True


ENDED: Final = EventKind(
    name="Ended",
    detail_type="Batch Inference Job Ended",
    description="A batch inference job has reached one of its five terminal statuses.",
    when_sent="Always, once per job that reaches a terminal status.",
)
STATUS_CHANGED: Final = EventKind(
    name="StatusChanged",
    detail_type="Batch Inference Job Status Changed",
    description="A batch inference job has a new status that is not terminal.",
    when_sent="Every non-terminal transition, with `emitStatusChanges`.",
)
STALLED: Final = EventKind(
    name="Stalled",
    detail_type="Batch Inference Job Stalled",
    description="Neither the status nor the record counts of a batch inference job have changed "
    "for a long time.",
    when_sent="No change of status or counts for `stalledAfterMinutes`.",
    words=Words(
        sentence="has stalled: its status and its record counts no longer change",
        short="stalled",
        symbol="\u26a0\ufe0f",
        advice="Wait, or stop the job. Bedrock ends it at its expiration.",
        severity=Severity.WARNING,
    ),
    since=DataField(
        "stalledSince",
        FieldType.TIME,
        "When the status or the counts last changed.",
        "2026-11-24T19:45:16.123Z",
    ),
    fields=(
        DataField(
            "stalledSeconds",
            FieldType.WHOLE,
            "Whole seconds from then until the monitor detected it.",
            2700,
        ),
        DataField(
            "lastProgress.at",
            FieldType.TIME,
            "The same as stalledSince.",
            "2026-11-24T19:45:16.123Z",
        ),
        DataField(
            "lastProgress.processed",
            FieldType.WHOLE,
            "Records processed by then.",
            420,
            is_required=False,
        ),
        DataField(
            "lastProgress.total", FieldType.WHOLE, "Records in the input.", 1000, is_required=False
        ),
        DataField(
            "lastProgress.recordsPerMinute",
            FieldType.NUMBER,
            "The job's rate until then, in records per minute.",
            28.0,
            is_required=False,
        ),
    ),
    metric="JobsStalled",
)
AT_RISK: Final = EventKind(
    name="AtRisk",
    detail_type="Batch Inference Job At Risk",
    description="A batch inference job will probably miss a limit: its expiration, when Bedrock "
    "ends it, or its deadline.",
    when_sent="Once each time a limit comes at risk: the expiration with `emitAtRisk`, and each "
    "deadline.",
    words=Words(
        sentence="will probably not be done in time",
        short="at risk",
        symbol="\u23f3",
        advice="A job cannot be sped up. Inform those who wait for its output. When it has ended, "
        "submit the missing records again.",
        severity=Severity.WARNING,
    ),
    since=DataField(
        "atRiskSince",
        FieldType.TIME,
        "When the monitor first found the limit at risk.",
        "2026-11-24T20:30:16.123Z",
    ),
    fields=(
        DataField(
            "recordsPerMinute",
            FieldType.NUMBER,
            "The job's rate at that time, in records per minute.",
            0.4,
            is_required=False,
        ),
        DataField(
            "estimatedEndTime",
            FieldType.TIME,
            "When the job would have processed its last record at that rate; at most a year ahead.",
            "2026-11-25T20:40:16.123Z",
            is_required=False,
        ),
        DataField(
            "jobExpirationTime",
            FieldType.TIME,
            "When Bedrock ends the job, as the API returns it.",
            "2026-11-25T19:30:16.123Z",
            is_required=False,
        ),
        DataField(
            "secondsPastExpiration",
            FieldType.WHOLE,
            "Whole seconds from the expiration to the estimated end, if that is later.",
            4200,
            is_required=False,
        ),
        DataField(
            "risk.reason",
            FieldType.TEXT,
            "expiration: the job runs, and will not be done at its expiration. deadline: it will "
            "not be done at its deadline. queue: it waits, and expires soon.",
            "expiration",
        ),
        DataField(
            "risk.at",
            FieldType.TIME,
            "The limit: the expiration or the deadline.",
            "2026-11-25T19:30:16.123Z",
        ),
        DataField(
            "risk.estimatedEndTime",
            FieldType.TIME,
            "When the job is expected to end, if that is known.",
            "2026-11-25T20:40:16.123Z",
            is_required=False,
        ),
    ),
    metric="JobsAtRisk",
)
DEADLINE_MISSED: Final = EventKind(
    name="DeadlineMissed",
    detail_type="Batch Inference Job Deadline Missed",
    description="The deadline of a batch inference job passed before the job ended.",
    when_sent="Once per job and deadline, at the first poll after the deadline; also if the job "
    "has ended late by then.",
    words=Words(
        sentence="has missed its deadline",
        short="deadline missed",
        symbol="\u23f0",
        advice="Inform those who wait for its output. The job goes on until it ends or expires.",
        severity=Severity.ALARM,
    ),
    since=DataField(
        "deadline",
        FieldType.TIME,
        "The deadline that passed.",
        "2026-11-24T20:30:00.000Z",
    ),
    metric="JobsPastDeadline",
)
UNREACHABLE: Final = EventKind(
    name="Unreachable",
    detail_type="Batch Inference Job Unreachable",
    description="A batch inference job cannot be read, so the monitor cannot detect its end.",
    when_sent="The job was refused in `unreachableAfterPolls` consecutive polls, or could not be "
    "read for an hour for another reason.",
    words=Words(
        sentence="cannot be read, so the monitor cannot detect its end",
        short="unreachable",
        symbol="\u2753",
        advice="Allow the monitor's role to read the job. Untrack a job that no longer exists.",
        severity=Severity.ALARM,
    ),
    since=DataField(
        "unreachableSince",
        FieldType.TIME,
        "When the monitor found that the job is unreachable.",
        "2026-11-24T20:30:16.123Z",
    ),
    has_error=True,
    metric="JobsUnreachable",
)
ERRORS_ANALYZED: Final = EventKind(
    name="ErrorsAnalyzed",
    detail_type="Batch Inference Job Errors Analyzed",
    description="What the failed records of an ended batch inference job have in common.",
    when_sent="Once per ended job that has failed or missing records, with `recordErrors`.",
)
SLOTS_AVAILABLE: Final = EventKind(
    name="SlotsAvailable",
    detail_type="Batch Inference Slots Available",
    description="The account can submit batch inference jobs of a model again: its quota for "
    "active jobs was used up, and is no longer.",
    when_sent="Once each time slots of a model become free after all were in use, with "
    "`emitSlotsAvailable`.",
    fields=(
        DataField(
            "modelId",
            FieldType.TEXT,
            "The id of the model.",
            "anthropic.claude-sonnet-4-20250514-v1:0",
        ),
        DataField(
            "fullSince",
            FieldType.TIME,
            "When the monitor first found all slots in use.",
            "2026-11-24T19:45:16.123Z",
        ),
        DataField("slots.active", FieldType.WHOLE, "Tracked jobs that have not ended.", 18),
        DataField("slots.limit", FieldType.WHOLE, "The quota.", 20),
        DataField("slots.free", FieldType.WHOLE, "Slots that are free.", 2),
        DataField(
            "slots.quotaName",
            FieldType.TEXT,
            "The model, as the name of the quota has it.",
            "Claude Sonnet 4",
        ),
    ),
    is_about_job=False,
)

KINDS: Final = (
    ENDED,
    STATUS_CHANGED,
    STALLED,
    UNREACHABLE,
    AT_RISK,
    DEADLINE_MISSED,
    ERRORS_ANALYZED,
    SLOTS_AVAILABLE,
)
CONDITIONS: Final = tuple(kind for kind in KINDS if kind.since is not None)
BY_NAME: Final = {kind.name: kind for kind in KINDS}
