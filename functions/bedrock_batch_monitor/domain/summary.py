"""What one poll did, in the figures that are returned, logged and published as metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.episodes import is_at_risk
from bedrock_batch_monitor.domain.events import MonitorEvent
from bedrock_batch_monitor.domain.jobs import HistoryEntry, JobRecord, TrackedJob, Usage
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from bedrock_batch_monitor.domain.token_usage import short_model_id

JOBS_ACTIVE: Final = "JobsActive"
JOBS_READ: Final = "JobsRead"
JOBS_LISTED: Final = "JobsListed"
JOBS_CHANGED: Final = "JobsChanged"
JOBS_ENDED: Final = "JobsEnded"
EVENTS_SENT: Final = "EventsSent"
ERRORS: Final = "Errors"
POLL_SECONDS: Final = "PollSeconds"
JOBS_UNREACHABLE: Final = "JobsUnreachable"
JOBS_STALLED: Final = "JobsStalled"
JOBS_AT_RISK: Final = "JobsAtRisk"
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

# A custom metric costs as much as 480,000 writes to DynamoDB, in each month in which it is
# published at all. So few are published with every successful poll, zero included ...
STEADY_METRICS: Final = (
    JOBS_ACTIVE,
    JOBS_READ,
    JOBS_CHANGED,
    JOBS_ENDED,
    EVENTS_SENT,
    ERRORS,
    POLL_SECONDS,
)
# ... and the others only by polls in which they are not zero.
OCCASIONAL_METRICS: Final = (
    JOBS_UNREACHABLE,
    JOBS_STALLED,
    JOBS_AT_RISK,
    JOBS_DISCOVERED,
    JOBS_GIVEN_UP,
    EVENTS_MALFORMED,
    EVENTS_PENDING,
    OLDEST_PENDING_EVENT_SECONDS,
    OBSERVATIONS_OUTDATED,
    UNKNOWN_STATUSES,
    LOST_RACES,
    USAGE_GIVEN_UP,
    JOBS_BACKFILLED,
    TASKS_ANSWERED,
    TASKS_REFUSED,
    TASKS_PENDING,
)
# Published for each model, when the figures of a job become known.
INPUT_TOKENS: Final = "InputTokens"
OUTPUT_TOKENS: Final = "OutputTokens"
MODEL: Final = "model"
UNKNOWN_MODEL: Final = "unknown"
# The dimension under which errors are counted by their code, beside the total without it.
ERROR_CODE: Final = "code"
# The dimension of the metrics of other scopes than the deployment's own: `<account>/<region>`.
SCOPE: Final = "scope"
THROTTLED: Final = "Bedrock.ThrottlingException"
REFUSED: Final = "Bedrock.Refused"


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """What came of looking at one job.

    `entry` is the transition that was recorded and `record` the job as it stands with it, `events`
    are those that are pending now, `callbacks` the tasks that wait for the end; `errors` are codes
    of the form `<Service>.<error code>`. `try_again` says that the failure may have passed when the
    job is looked at once more. `backfilled` says that the entry is that of a finished job, for the
    history alone. `never_readable` has ARN and error code of a job that has become unreachable
    without ever having been read, `given_up` says that such a job was untracked. `refused` says
    that Bedrock refused the read for a reason that is not about this job alone.
    """

    was_read: bool = False
    is_unreachable: bool = False
    is_stalled: bool = False
    is_at_risk: bool = False
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

    @property
    def is_conclusive(self) -> bool:
        """Whether nothing about the job is left to do: it was read, or noted as unreadable."""
        return not (self.try_again or self.is_conflict)


@dataclass(slots=True)
class PollSummary:
    """The figures of one poll; a poll counts them up as it goes.

    `jobs_active` counts the jobs that the poll came across, `jobs_read` those of them that Bedrock
    told of, by Get or in a list, and `jobs_listed` those of these for which the list was enough, so
    that the difference is the number of answers of Get. `jobs_unreachable`, `jobs_stalled` and
    `jobs_at_risk` are those in such an episode, `jobs_discovered` those that were taken up without
    being tracked by hand. `events_malformed` are events that asked for nothing that can be done.
    `events_pending` are events that were due and could not be sent; they stay marked, the oldest of
    them for `oldest_pending_event_seconds` so far, answers to tasks included. `jobs_backfilled`
    counts finished jobs that were recorded for the history alone, which are in no other figure.
    `tasks_answered`, `tasks_refused` and `tasks_pending` count answers to Step Functions tasks.
    `usage_given_up` are jobs whose token counts are
    not looked for any more, `tokens` those that became known, by metric and model. `errors` counts
    by `<Service>.<error code>`, `active_by_status` the jobs that have not ended by the end of the
    poll, which is logged. `complete` is False when time ran out before every active job was
    reached; the next poll starts with those.
    """

    jobs_active: int = 0
    jobs_read: int = 0
    jobs_listed: int = 0
    jobs_changed: int = 0
    jobs_ended: int = 0
    jobs_unreachable: int = 0
    jobs_stalled: int = 0
    jobs_at_risk: int = 0
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
    complete: bool = True
    seconds: float = 0.0

    def count(self, seen: ReconcileResult) -> None:
        """Add what came of looking at one job."""
        self.jobs_read += seen.was_read
        self.jobs_stalled += seen.is_stalled
        self.jobs_at_risk += seen.is_at_risk
        self.observations_outdated += seen.outdated
        self.conflicts += seen.is_conflict
        self.unknown_statuses += seen.unknown_status
        self.errors.update(seen.errors)
        self.jobs_backfilled += seen.backfilled
        self.jobs_given_up += seen.given_up
        self.refused += seen.refused
        if seen.entry is not None and not seen.backfilled:
            self.jobs_changed += 1
            self.jobs_ended += statuses.is_terminal(seen.entry.status)
            self.count_usage(seen.entry.model_id, seen.entry.usage)

    def count_usage(self, model_id: str | None, usage: Usage | None) -> None:
        """Add the tokens of a job that have become known."""
        model = UNKNOWN_MODEL if model_id is None else short_model_id(model_id)
        if usage is not None and usage.input_tokens is not None:
            self.tokens[INPUT_TOKENS, model] += usage.input_tokens
        if usage is not None and usage.output_tokens is not None:
            self.tokens[OUTPUT_TOKENS, model] += usage.output_tokens

    def count_listed(self, job: TrackedJob, rules: Rules) -> None:
        """Add a job that a list shows unchanged: what a Get would have told is as it was."""
        self.jobs_read += 1
        self.jobs_listed += 1
        self.jobs_stalled += job.stalled_since is not None
        self.jobs_at_risk += is_at_risk(job, rules)

    def figures(self) -> dict[str, float]:
        """The figures by metric name."""
        return {
            JOBS_ACTIVE: self.jobs_active,
            JOBS_READ: self.jobs_read,
            JOBS_LISTED: self.jobs_listed,
            JOBS_CHANGED: self.jobs_changed,
            JOBS_ENDED: self.jobs_ended,
            JOBS_UNREACHABLE: self.jobs_unreachable,
            JOBS_STALLED: self.jobs_stalled,
            JOBS_AT_RISK: self.jobs_at_risk,
            JOBS_DISCOVERED: self.jobs_discovered,
            JOBS_GIVEN_UP: self.jobs_given_up,
            EVENTS_MALFORMED: self.events_malformed,
            EVENTS_SENT: self.events_sent,
            EVENTS_PENDING: self.events_pending,
            OLDEST_PENDING_EVENT_SECONDS: self.oldest_pending_event_seconds,
            OBSERVATIONS_OUTDATED: self.observations_outdated,
            UNKNOWN_STATUSES: self.unknown_statuses,
            LOST_RACES: self.conflicts,
            USAGE_GIVEN_UP: self.usage_given_up,
            JOBS_BACKFILLED: self.jobs_backfilled,
            TASKS_ANSWERED: self.tasks_answered,
            TASKS_REFUSED: self.tasks_refused,
            TASKS_PENDING: self.tasks_pending,
            ERRORS: self.errors.total(),
            POLL_SECONDS: self.seconds,
        }

    def as_json(self) -> dict[str, Any]:
        """The summary as the function returns it: camelCase keys, `errors` by code."""
        figures: dict[str, Any] = {
            name[0].lower() + name[1:]: value
            for name, value in self.figures().items()
            if name not in {ERRORS, POLL_SECONDS, EVENTS_MALFORMED}
        }
        return figures | {
            "errors": dict(sorted(self.errors.items())),
            "complete": self.complete,
            "seconds": round(self.seconds, 3),
        }


def by_status(found: Iterable[str]) -> dict[str, int]:
    """How many jobs have each status in which a job is active, with zeros for those none has."""
    counted = Counter(status for status in found if not statuses.is_terminal(status))
    return dict.fromkeys(statuses.NON_TERMINAL, 0) | dict(counted)
