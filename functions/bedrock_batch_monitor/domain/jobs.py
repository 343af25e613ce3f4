"""A batch inference job as Bedrock reports it, and as the monitor recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.times import plausible

if TYPE_CHECKING:
    from bedrock_batch_monitor.domain.forecast import QueueRisk

# The longest text that Bedrock's service model has for a job (`Message`, model and role ARNs). A
# longer one would be a change of the API, and an item and an event that fit matter more than its
# tail.
TEXT_CHARACTERS = 2048
# A job expires at most 168 hours after its submission.
_FURTHEST_EXPIRATION = timedelta(days=30)
CUT = "… (cut by the monitor)"


def bounded(text: str) -> str:
    """The text, or its beginning with a note that it was cut."""
    if len(text) <= TEXT_CHARACTERS:
        return text
    return text[: TEXT_CHARACTERS - len(CUT)] + CUT


class RecordCounts(NamedTuple):
    """The record counts of a job; a count that Bedrock does not report is None.

    A named tuple, because a poll makes and compares some of them for each active job.
    """

    total: int | None = None
    processed: int | None = None
    success: int | None = None
    error: int | None = None

    def not_below(self, known: RecordCounts) -> RecordCounts:
        """These counts; a count that is missing or lower is as it was known before."""
        if self == known:
            return self
        return RecordCounts(
            *(
                before if count is None else count if before is None else max(count, before)
                for count, before in zip(self, known, strict=True)
            )
        )

    def is_behind(self, known: RecordCounts) -> bool:
        """Whether a count is lower than it was known to be: the answer is older."""
        return self != known and any(
            count is not None and before is not None and count < before
            for count, before in zip(self, known, strict=True)
        )


NO_COUNTS: Final = RecordCounts()


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a job and their cost in USD; an unknown value is None."""

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
    counts: RecordCounts = NO_COUNTS


class ListedState(NamedTuple):
    """The members of a list's summary that can change while the job runs.

    Times that do not change are those of the item. The status is "" if the summary has none.
    A named tuple, because a poll makes one of each active job.
    """

    job_arn: str
    status: str
    last_modified_time: datetime | None = None
    job_expiration_time: datetime | None = None
    counts: RecordCounts = NO_COUNTS
    submit_time: None = None
    end_time: None = None


Observed: TypeAlias = JobObservation | ListedState


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One observed status transition, as the history table keeps it.

    The end has an `outcome` and, if known, the share of failed records, from 0 to 1.
    `usage` is what was known at the transition; figures that were found later are in the job's item
    alone. `backfilled` marks the end of a job that is recorded for the history alone.
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
    counts: RecordCounts = NO_COUNTS
    usage: Usage | None = None
    backfilled: bool = False
    outcome: str | None = None
    error_share: float | None = None


@dataclass(slots=True)
class TrackedJob:
    """What is recorded of a job before it is read again.

    A job that was never read has `sequence` 0 and no status. `conditions` says since when the job
    has each condition, by the name of its event kind. `backfilled` says that it is tracked
    for the history alone. `task_revision` counts the Step Functions tasks that were registered for
    its end. `carried_events` are pending events that an item had before it was put again, and
    `carries_tasks` says that tasks were registered before. `deadline` is the text in the item: a
    moment, or before the job was read what a person wrote. `tags_pending` says that its tags could
    not be read yet. `queue_risk` is what the forecast says of a job that waits; None if it was not
    asked.

    `Final` in place of a frozen class, which takes three times as long to make: a poll makes one of
    each active job.
    """

    job_arn: Final[str]
    sequence: Final[int] = 0
    status: Final[str | None] = None
    changed_at: Final[datetime | None] = None
    last_modified_time: Final[datetime | None] = None
    first_in_progress_at: Final[datetime | None] = None
    counts: Final[RecordCounts] = NO_COUNTS
    progress_at: Final[datetime | None] = None
    last_error: Final[JobError | None] = None
    unreadable_polls: Final[int] = 0
    unreachable_since: Final[datetime | None] = None
    submit_time: Final[datetime | None] = None
    records_per_minute: Final[float | None] = None
    conditions: Final[Mapping[str, datetime]] = field(default_factory=dict)
    event_id: Final[str | None] = None
    failing_since: Final[datetime | None] = None
    backfilled: Final[bool] = False
    task_revision: Final[int] = 0
    carried_events: Final[frozenset[str]] = frozenset()
    carries_tasks: Final[bool] = False
    deadline: Final[str | None] = None
    tags_pending: Final[bool] = False
    queue_risk: Final[QueueRisk | None] = None

    @property
    def has_ended(self) -> bool:
        """Whether the end of the job is recorded, which is final.

        A terminal status without an `eventId` was recorded by a version that did not know the
        status as terminal. Its end is not recorded yet.
        """
        return self.has_terminal_status and self.event_id is not None

    @property
    def has_terminal_status(self) -> bool:
        """Whether the recorded status is one that ends a job."""
        return self.status is not None and statuses.is_terminal(self.status)

    @property
    def has_read_failures(self) -> bool:
        """Whether the item says that the job could not be read."""
        return (
            self.last_error is not None
            or self.unreadable_polls > 0
            or self.failing_since is not None
        )

    def without_errors(self) -> TrackedJob:
        """The job without its read errors."""
        return replace(
            self, last_error=None, unreadable_polls=0, unreachable_since=None, failing_since=None
        )

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
            event_id=entry.event_id,
            backfilled=self.backfilled or entry.backfilled,
        )


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is recorded of a job: the last observation and transition, and its tags."""

    observation: JobObservation
    last: HistoryEntry
    first_in_progress_at: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A whole item of the jobs table; `record` is None for a job that was never read.

    `usage_is_pending` says that its token counts are still to be read, and `usage_due_at` when. The
    latter is None if the attribute is not a time. `tags_pending` says that its tags could not be
    read yet, and `deadline_by` where its deadline comes from.
    """

    job_arn: str
    record: JobRecord | None = None
    pending_events: frozenset[str] = frozenset()
    last_error: JobError | None = None
    usage_is_pending: bool = False
    usage_due_at: datetime | None = None
    task_revision: int = 0
    pending_since: datetime | None = None
    tags_pending: bool = False
    deadline_by: str | None = None


def first_in_progress_at(known: datetime | None, entry: HistoryEntry) -> datetime | None:
    """When the job was first observed `InProgress`: as known before, else as this entry says."""
    if known is None and entry.status == statuses.IN_PROGRESS:
        return entry.changed_at
    return known


def tracked_from_history(job_arn: str, entries: tuple[HistoryEntry, ...]) -> TrackedJob:
    """What is recorded of a job according to its whole history, oldest entry first."""
    tracked = TrackedJob(job_arn=job_arn)
    for entry in entries:
        tracked = tracked.after(entry)
    return tracked


def normalized(
    job: TrackedJob, observation: JobObservation, now: datetime, *, with_message: bool
) -> JobObservation:
    """An answer of Bedrock as it can be compared and stored.

    Times that are not plausible are left out. For the same status, a missing `lastModifiedTime` is
    as it was known, so that an older answer is still recognized; for a terminal status, it is never
    before the known one. Record counts are left to `decide`.
    """
    modified = plausible(observation.last_modified_time, now)
    known = plausible(job.last_modified_time, now)
    if observation.status == job.status:
        modified = modified or known
    elif statuses.is_terminal(observation.status) and modified is not None and known is not None:
        modified = max(modified, known)
    return replace(
        observation,
        message=observation.message if with_message else None,
        submit_time=plausible(observation.submit_time, now) or plausible(job.submit_time, now),
        last_modified_time=modified,
        end_time=plausible(observation.end_time, now),
        job_expiration_time=plausible(
            observation.job_expiration_time, now, ahead=_FURTHEST_EXPIRATION
        ),
    )


def with_status_of(observation: JobObservation, entry: HistoryEntry) -> JobObservation:
    """The observation with status, message, time and counts of an entry that is still valid."""
    return replace(
        observation,
        status=entry.status,
        message=entry.message,
        last_modified_time=entry.changed_at,
        counts=entry.counts,
    )
