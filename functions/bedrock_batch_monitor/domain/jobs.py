"""What is known of a batch inference job: as Bedrock reports it and as the monitor recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from bedrock_batch_monitor.domain import statuses

# The longest text that Bedrock's service model has for a job (`Message`, model and role ARNs). A
# longer one would be a change of the API, and an item and an event that fit matter more than its
# tail.
TEXT_CHARACTERS = 2048
CUT = "… (cut by the monitor)"


def bounded(text: str) -> str:
    """The text, or its beginning with a note that it was cut."""
    if len(text) <= TEXT_CHARACTERS:
        return text
    return text[: TEXT_CHARACTERS - len(CUT)] + CUT


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """How many records of the input were handled; a count that Bedrock does not report is None."""

    total: int | None = None
    processed: int | None = None
    success: int | None = None
    error: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a job and what they cost in USD; what is unknown is None."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    estimated_cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job could not be read: the API's error code and a text for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class JobObservation:
    """One answer of GetModelInvocationJob, with the monitor's own limits applied.

    `last_modified_time` is optional in the API; configurations are maps as the API returns them.
    """

    job_arn: str
    status: str
    model_id: str | None = None
    job_name: str | None = None
    message: str | None = None
    submit_time: datetime | None = None
    last_modified_time: datetime | None = None
    end_time: datetime | None = None
    job_expiration_time: datetime | None = None
    timeout_duration_in_hours: int | None = None
    role_arn: str | None = None
    client_request_token: str | None = None
    model_invocation_type: str | None = None
    input_data_config: Mapping[str, Any] | None = None
    output_data_config: Mapping[str, Any] | None = None
    vpc_config: Mapping[str, Any] | None = None
    counts: RecordCounts = field(default_factory=RecordCounts)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One observed status transition, as the history table keeps it.

    `usage` is what was known of it at the transition; figures that came later are in the job's item
    alone.
    """

    job_arn: str
    sequence: int
    status: str
    observed_at: datetime
    observed_by: str
    event_id: str | None = None
    previous_status: str | None = None
    changed_at: datetime | None = None
    seconds_in_previous_status: int | None = None
    job_name: str | None = None
    model_id: str | None = None
    message: str | None = None
    counts: RecordCounts = field(default_factory=RecordCounts)
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class TrackedJob:
    """What the monitor had recorded of a job before it looked again.

    A job that was only just put into the table has `sequence` 0 and no status. `backfilled` says
    that it was taken up for the history alone; `tasks` are Step Functions tasks that wait for its
    end.
    """

    job_arn: str
    sequence: int = 0
    status: str | None = None
    changed_at: datetime | None = None
    last_modified_time: datetime | None = None
    first_in_progress_at: datetime | None = None
    counts: RecordCounts = field(default_factory=RecordCounts)
    progress_at: datetime | None = None
    last_error: JobError | None = None
    unreadable_polls: int = 0
    unreachable_since: datetime | None = None
    stalled_since: datetime | None = None
    submit_time: datetime | None = None
    records_per_minute: float | None = None
    at_risk_since: datetime | None = None
    # What the active-jobs index does not tell: the writes that depend on it find out.
    backfilled: bool = False
    tasks: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def has_ended(self) -> bool:
        """Whether a terminal status is recorded, which is final."""
        return self.status is not None and statuses.is_terminal(self.status)

    def after(self, entry: HistoryEntry) -> TrackedJob:
        """The job once this transition is recorded."""
        return TrackedJob(
            job_arn=self.job_arn,
            sequence=entry.sequence,
            status=entry.status,
            changed_at=entry.changed_at,
            last_modified_time=entry.changed_at,
            first_in_progress_at=first_in_progress_at(self.first_in_progress_at, entry),
            counts=entry.counts,
            progress_at=entry.observed_at,
        )


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is recorded of a job: the last observation and transition."""

    observation: JobObservation
    last: HistoryEntry
    first_in_progress_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A whole item of the jobs table; `record` is None while the job was never seen.

    `usage_is_pending` says that its token counts are to be looked for, and `usage_due_at` when; the
    latter is None where somebody wrote something else there.
    """

    job_arn: str
    record: JobRecord | None = None
    pending_events: frozenset[str] = frozenset()
    last_error: JobError | None = None
    usage_is_pending: bool = False
    usage_due_at: datetime | None = None
    tasks: frozenset[str] = field(default=frozenset(), repr=False)
    pending_since: datetime | None = None


def first_in_progress_at(known: datetime | None, entry: HistoryEntry) -> datetime | None:
    """When the job was first seen to run: kept once known, else taken from an entry InProgress."""
    if known is None and entry.status == statuses.IN_PROGRESS:
        return entry.changed_at
    return known


def tracked_from_history(job_arn: str, entries: tuple[HistoryEntry, ...]) -> TrackedJob:
    """Rebuild what was known of a job from its whole history, oldest entry first."""
    tracked = TrackedJob(job_arn=job_arn)
    for entry in entries:
        tracked = tracked.after(entry)
    return tracked


def with_status_of(observation: JobObservation, entry: HistoryEntry) -> JobObservation:
    """The observation put back to what an entry recorded, where that entry is the last word."""
    return replace(
        observation,
        status=entry.status,
        message=entry.message,
        last_modified_time=entry.changed_at,
        counts=entry.counts,
    )
