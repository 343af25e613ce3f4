"""The figures of one poll: returned, logged and published as metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.event_kinds import CONDITIONS, STALLED, UNREACHABLE
from bedrock_batch_monitor.domain.events import MonitorEvent
from bedrock_batch_monitor.domain.jobs import HistoryEntry, JobRecord, TrackedJob, Usage
from bedrock_batch_monitor.domain.outcomes import WITH_FAILED_RECORDS
from bedrock_batch_monitor.domain.slots import ModelSlots
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from bedrock_batch_monitor.domain.times import seconds_between
from bedrock_batch_monitor.domain.token_usage import short_model_id

JOBS_ACTIVE: Final = "JobsActive"
JOBS_READ: Final = "JobsRead"
JOBS_LISTED: Final = "JobsListed"
JOBS_CHANGED: Final = "JobsChanged"
JOBS_ENDED: Final = "JobsEnded"
JOBS_WITH_FAILED_RECORDS: Final = "JobsWithFailedRecords"
EVENTS_SENT: Final = "EventsSent"
ERRORS: Final = "Errors"
POLL_SECONDS: Final = "PollSeconds"
JOBS_UNREACHABLE: Final = UNREACHABLE.metric
JOBS_STALLED: Final = STALLED.metric
JOBS_DISCOVERED: Final = "JobsDiscovered"
JOBS_GIVEN_UP: Final = "JobsGivenUp"
EVENTS_MALFORMED: Final = "EventsMalformed"
EVENTS_PENDING: Final = "EventsPending"
OLDEST_PENDING_EVENT_SECONDS: Final = "OldestPendingEventSeconds"
OBSERVATIONS_OUTDATED: Final = "ObservationsOutdated"
UNKNOWN_STATUSES: Final = "UnknownStatuses"
LOST_RACES: Final = "LostRaces"
USAGE_GIVEN_UP: Final = "UsageGivenUp"
JOBS_BACKFILLED: Final = "JobsBackfilled"
TASKS_ANSWERED: Final = "TasksAnswered"
TASKS_REFUSED: Final = "TasksRefused"
TASKS_PENDING: Final = "TasksPending"
JOBS_NEWLY_UNREACHABLE: Final = "JobsNewlyUnreachable"
JOBS_NEED_ATTENTION: Final = "JobsNeedAttention"
OLDEST_READ_SECONDS: Final = "OldestReadSeconds"
DETECTION_SECONDS: Final = "DetectionSeconds"
LATE_SECONDS: Final = "LateSeconds"

# The fields of `PollSummary` that count one thing, by metric.
_FIELDS: Final = {
    JOBS_ACTIVE: "jobs_active",
    JOBS_READ: "jobs_read",
    JOBS_LISTED: "jobs_listed",
    JOBS_CHANGED: "jobs_changed",
    JOBS_ENDED: "jobs_ended",
    JOBS_WITH_FAILED_RECORDS: "jobs_with_failed_records",
    JOBS_DISCOVERED: "jobs_discovered",
    JOBS_NEWLY_UNREACHABLE: "newly_unreachable",
    JOBS_GIVEN_UP: "jobs_given_up",
    EVENTS_MALFORMED: "events_malformed",
    EVENTS_SENT: "events_sent",
    EVENTS_PENDING: "events_pending",
    OLDEST_PENDING_EVENT_SECONDS: "oldest_pending_event_seconds",
    OLDEST_READ_SECONDS: "oldest_read_seconds",
    DETECTION_SECONDS: "detection_seconds",
    OBSERVATIONS_OUTDATED: "observations_outdated",
    UNKNOWN_STATUSES: "unknown_statuses",
    LOST_RACES: "conflicts",
    USAGE_GIVEN_UP: "usage_given_up",
    JOBS_BACKFILLED: "jobs_backfilled",
    TASKS_ANSWERED: "tasks_answered",
    TASKS_REFUSED: "tasks_refused",
    TASKS_PENDING: "tasks_pending",
}
# The names of the conditions' event kinds by metric.
CONDITION_METRICS: Final = {kind.metric: kind.name for kind in CONDITIONS}
# CloudWatch bills a metric for each hour in which it is published: in a month as much as 480,000
# writes to DynamoDB. So every poll that is a success publishes one, zero included: its samples show
# that polls succeed ...
HEARTBEAT: Final = JOBS_READ
# ... and the others only when there is something to report: most if they are not zero, these from
# a number of seconds, and `JobsActive` if the poll did not read every active job.
PUBLISHED_FROM_SECONDS: Final = {POLL_SECONDS: 60, DETECTION_SECONDS: 300, LATE_SECONDS: 300}
# Figures of which each has one alarm, and that repeat others.
_OF_ALARMS: Final = (JOBS_NEED_ATTENTION, LATE_SECONDS)
METRICS: Final = tuple(
    name
    for name in (*_FIELDS, *CONDITION_METRICS, ERRORS, POLL_SECONDS, *_OF_ALARMS)
    if name != JOBS_LISTED
)
# Published for each model, when the figures of a job become known.
INPUT_TOKENS: Final = "InputTokens"
OUTPUT_TOKENS: Final = "OutputTokens"
MODEL: Final = "model"
UNKNOWN_MODEL: Final = "unknown"
# The dimension by which errors are counted by code, in addition to the total without it.
ERROR_CODE: Final = "code"
# The dimension of the metrics of other scopes than the deployment's own: `<account>/<region>`.
SCOPE: Final = "scope"
THROTTLED: Final = "Bedrock.ThrottlingException"
REFUSED: Final = "Bedrock.Refused"
# Refusals that are about the job and not about the monitor's permissions.
ABOUT_ONE_JOB: Final = frozenset({"ResourceNotFoundException", "ValidationException"})
_ABOUT_ONE_JOB: Final = frozenset(f"Bedrock.{reason}" for reason in ABOUT_ONE_JOB)


def is_about_item(code: str) -> bool:
    """Whether an error code is about a single item: the services work, and other jobs are read."""
    return code.startswith("Item.") or code in _ABOUT_ONE_JOB


def is_of_service(code: str) -> bool:
    """Whether the metric `Errors` counts an error code in its total.

    It does not count what is about a single item, which can be wrong for days. Nor does it count
    throttling by Bedrock: what counts is how late reads are (`OldestReadSeconds`).
    """
    return not is_about_item(code) and code != THROTTLED


@dataclass(frozen=True, slots=True)
class ConditionChange:
    """A condition of a job that began or ended with a read; `since` is when it began."""

    job_arn: str
    condition: str
    has_begun: bool
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """The result of reconciling one job.

    `conditions` has the names of the event kinds of the conditions that the job has. `entry` is the
    transition that was recorded, `record` the job with that transition. `events` are
    pending now, `callbacks` are for the tasks that wait for the end. `errors` are codes of the form
    `<Service>.<error code>`. `try_again` says that a retry may succeed. `backfilled` says that the
    entry is the end of a job that is recorded in the history alone. `never_readable` has ARN and
    error code, without the service, of a job that became unreachable without ever having been read.
    `given_up` says that such a job was untracked. `refused` says that Bedrock refused the read for
    a reason that does not concern this job alone. `newly_unreachable` says that the job became
    unreachable, or that its item was found to be wrong, with this result. `ended_without_tags` is
    the ARN of a job whose end was recorded before its tags could be read. `changes` are the
    conditions that began or ended.
    """

    was_read: bool = False
    is_unreachable: bool = False
    conditions: frozenset[str] = frozenset()
    try_again: bool = False
    entry: HistoryEntry | None = None
    record: JobRecord | None = None
    events: tuple[MonitorEvent, ...] = ()
    callbacks: PendingCallbacks | None = None
    backfilled: bool = False
    outdated: bool = False
    is_conflict: bool = False
    unknown_status: bool = False
    errors: tuple[str, ...] = ()
    never_readable: tuple[tuple[str, str], ...] = ()
    given_up: bool = False
    refused: bool = False
    newly_unreachable: bool = False
    ended_without_tags: str | None = None
    changes: tuple[ConditionChange, ...] = ()

    @property
    def was_answered(self) -> bool:
        """Whether the services work for this job: it was read, or only the job itself is wrong."""
        if self.was_read:
            return True
        return not (self.try_again or self.refused) and all(map(is_about_item, self.errors))

    @property
    def is_conclusive(self) -> bool:
        """Whether nothing about the job is left to do: it was read, or recorded as unreadable."""
        return not (self.try_again or self.is_conflict)


@dataclass(slots=True)
class PollSummary:
    """The figures of one poll, counted as the poll goes on.

    - `jobs_active`: the jobs that the poll found in the index; `jobs_read`: those whose state
      Bedrock reported, by Get or in a list; `jobs_listed`: those of `jobs_read` that a list
      confirmed without a Get.
    - `jobs_with_failed_records`: jobs that completed, and whose share of failed records exceeds
      `maxErrorShare`.
    - `has_answer`: False if the poll had jobs to read and not one was answered, for a reason that
      is not about single jobs. Such a poll is not a success.
    - `oldest_read_seconds`: the age of the oldest read of an active job that is not unreachable.
      `detection_seconds`: the longest time from a change in Bedrock until it was recorded.
    - `newly_unreachable`: jobs that became unreachable, and items that were found to be wrong;
      `newly_unknown`: transitions to a status that this version does not know.
    - `conditions`: jobs that have a condition, by the name of its event kind.
    - `jobs_discovered`: jobs that discovery started to track; `jobs_backfilled`: ended jobs that
      were recorded in the history alone, which are in no other figure.
    - `events_malformed`: events that are not valid requests; `events_pending`: events that were due
      and could not be sent. The oldest of them, or of the task callbacks, has been pending for
      `oldest_pending_event_seconds`.
    - `tasks_answered`, `tasks_refused`, `tasks_pending`: callbacks of Step Functions tasks.
    - `usage_given_up`: jobs whose token counts are not read any more; `tokens`: token counts that
      became known, by metric and model.
    - `errors`: by `<Service>.<error code>`; `active_by_status`: jobs that have not ended at the end
      of the poll, and `slots`: the same by model. Both are logged.
    - `complete` is False if time ran out before every active job was reached; the next poll begins
      with those.
    """

    jobs_active: int = 0
    jobs_read: int = 0
    jobs_listed: int = 0
    jobs_changed: int = 0
    jobs_ended: int = 0
    jobs_with_failed_records: int = 0
    has_answer: bool = True
    oldest_read_seconds: int = 0
    detection_seconds: int = 0
    newly_unreachable: int = 0
    newly_unknown: int = 0
    conditions: Counter[str] = field(default_factory=Counter)
    jobs_discovered: int = 0
    jobs_given_up: int = 0
    events_malformed: int = 0
    events_sent: int = 0
    events_pending: int = 0
    oldest_pending_event_seconds: int = 0
    observations_outdated: int = 0
    unknown_statuses: int = 0
    conflicts: int = 0
    refused: int = 0
    usage_given_up: int = 0
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)
    jobs_backfilled: int = 0
    tasks_answered: int = 0
    tasks_refused: int = 0
    tasks_pending: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    active_by_status: Mapping[str, int] = field(default_factory=dict)
    slots: tuple[ModelSlots, ...] = ()
    complete: bool = True
    seconds: float = 0.0

    def count(self, result: ReconcileResult) -> None:
        """Add the result of one job; the poll counts unreachable jobs, which it may read twice."""
        self.jobs_read += result.was_read
        self.conditions.update(result.conditions)
        self.observations_outdated += result.outdated
        self.conflicts += result.is_conflict
        self.unknown_statuses += result.unknown_status
        self.errors.update(result.errors)
        self.jobs_backfilled += result.backfilled
        self.jobs_given_up += result.given_up
        self.refused += result.refused
        self.newly_unreachable += result.newly_unreachable
        if result.entry is not None and not result.backfilled:
            self.jobs_changed += 1
            self.newly_unknown += not statuses.is_known(result.entry.status)
            self.jobs_ended += statuses.is_terminal(result.entry.status)
            self.jobs_with_failed_records += result.entry.outcome in WITH_FAILED_RECORDS
            self.count_usage(result.entry.model_id, result.entry.usage)
            # The first entry of a job says when tracking began, and not how late it was read.
            if result.entry.previous_status is not None:
                late = seconds_between(result.entry.changed_at, result.entry.observed_at)
                self.detection_seconds = max(self.detection_seconds, late or 0)

    def count_usage(self, model_id: str | None, usage: Usage | None) -> None:
        """Add the tokens of a job that have become known."""
        model = UNKNOWN_MODEL if model_id is None else short_model_id(model_id)
        if usage is not None and usage.input_tokens is not None:
            self.tokens[INPUT_TOKENS, model] += usage.input_tokens
        if usage is not None and usage.output_tokens is not None:
            self.tokens[OUTPUT_TOKENS, model] += usage.output_tokens

    def count_listed(self, job: TrackedJob) -> None:
        """Add a job that a list confirmed as unchanged: a Get would have reported the same."""
        self.jobs_read += 1
        self.jobs_listed += 1
        if job.conditions:
            self.conditions.update(job.conditions.keys())

    def figures(self) -> dict[str, float]:
        """The figures by metric name."""
        counts: dict[str, float] = {name: getattr(self, field) for name, field in _FIELDS.items()}
        for metric, kind in CONDITION_METRICS.items():
            counts[metric] = self.conditions[kind]
        return counts | {
            ERRORS: sum(count for code, count in self.errors.items() if is_of_service(code)),
            POLL_SECONDS: self.seconds,
            JOBS_NEED_ATTENTION: self.newly_unreachable + self.newly_unknown,
            LATE_SECONDS: max(self.oldest_read_seconds, self.detection_seconds),
        }

    def to_publish(self) -> dict[str, float]:
        """The figures to publish as metrics, by metric name; not the heartbeat.

        What is missing is zero, or short, or for `JobsActive` the same as `JobsRead`.
        """
        left_out = {HEARTBEAT}
        if self.jobs_active == self.jobs_read:
            left_out.add(JOBS_ACTIVE)
        figures = self.figures()
        return {
            name: figures[name]
            for name in METRICS
            if name not in left_out
            and figures[name]
            and figures[name] >= PUBLISHED_FROM_SECONDS.get(name, 0)
        }

    def as_json(self) -> dict[str, Any]:
        """The summary as the function returns it: camelCase keys, `errors` by code."""
        figures: dict[str, Any] = {
            name[0].lower() + name[1:]: value
            for name, value in self.figures().items()
            if name not in {ERRORS, POLL_SECONDS, EVENTS_MALFORMED, *_OF_ALARMS}
        }
        return figures | {
            "errors": dict(sorted(self.errors.items())),
            "answered": self.has_answer,
            "complete": self.complete,
            "seconds": round(self.seconds, 3),
        }


def changes_of(job: TrackedJob, result: ReconcileResult) -> tuple[ConditionChange, ...]:
    """The conditions of a job that began or ended with this result."""
    before = dict(job.conditions)
    if job.unreachable_since is not None:
        before[UNREACHABLE.name] = job.unreachable_since
    if result.was_read and not (result.is_conflict or result.outdated):
        after = result.conditions
    elif result.newly_unreachable and result.is_unreachable:
        after = frozenset((*before, UNREACHABLE.name))
    else:
        return ()
    return tuple(
        ConditionChange(job.job_arn, name, has_begun=name in after, since=before.get(name))
        for name in sorted(after ^ before.keys())
    )


def by_status(found: Iterable[str]) -> dict[str, int]:
    """How many jobs have each non-terminal status, zeros included."""
    counted = Counter(status for status in found if not statuses.is_terminal(status))
    return dict.fromkeys(statuses.NON_TERMINAL, 0) | dict(counted)


def by_code(unread: Mapping[str, tuple[str, ...]], *, at_most: int) -> dict[str, Any]:
    """The jobs by their first error code: how many, and the ARNs of the first ones."""
    jobs: dict[str, list[str]] = {}
    for job_arn, codes in unread.items():
        jobs.setdefault(codes[0], []).append(job_arn)
    return {
        code: {"count": len(arns), "jobArns": arns[:at_most]} for code, arns in sorted(jobs.items())
    }
