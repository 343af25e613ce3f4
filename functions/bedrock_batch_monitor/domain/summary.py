"""What one poll did, in the figures that are returned, logged and published as metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

JOBS_ACTIVE: Final = "JobsActive"
JOBS_READ: Final = "JobsRead"
JOBS_CHANGED: Final = "JobsChanged"
JOBS_ENDED: Final = "JobsEnded"
EVENTS_SENT: Final = "EventsSent"
EVENTS_PENDING: Final = "EventsPending"
OBSERVATIONS_OUTDATED: Final = "ObservationsOutdated"
UNKNOWN_STATUSES: Final = "UnknownStatuses"
LOST_RACES: Final = "LostRaces"
ERRORS: Final = "Errors"
POLL_SECONDS: Final = "PollSeconds"

# Published with every poll, zero included: each is one custom metric and is paid for as one.
COUNT_METRICS: Final = (
    JOBS_ACTIVE,
    JOBS_READ,
    JOBS_CHANGED,
    JOBS_ENDED,
    EVENTS_SENT,
    EVENTS_PENDING,
    OBSERVATIONS_OUTDATED,
    UNKNOWN_STATUSES,
    LOST_RACES,
    ERRORS,
)


@dataclass(slots=True)
class PollSummary:
    """The figures of one poll; a poll counts them up as it goes.

    `jobs_active` counts the jobs that the poll came across, `jobs_read` those of them that Bedrock
    answered for. `events_pending` are events that were due and could not be sent; they stay marked.
    `errors` counts by `<Service>.<error code>`. `complete` is False when time ran out before every
    active job was reached; the next poll starts with those.
    """

    jobs_active: int = 0
    jobs_read: int = 0
    jobs_changed: int = 0
    jobs_ended: int = 0
    events_sent: int = 0
    events_pending: int = 0
    observations_outdated: int = 0
    unknown_statuses: int = 0
    lost_races: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    complete: bool = True
    seconds: float = 0.0

    def counts(self) -> dict[str, int]:
        """The counts by metric name, in the order of `COUNT_METRICS`."""
        return {
            JOBS_ACTIVE: self.jobs_active,
            JOBS_READ: self.jobs_read,
            JOBS_CHANGED: self.jobs_changed,
            JOBS_ENDED: self.jobs_ended,
            EVENTS_SENT: self.events_sent,
            EVENTS_PENDING: self.events_pending,
            OBSERVATIONS_OUTDATED: self.observations_outdated,
            UNKNOWN_STATUSES: self.unknown_statuses,
            LOST_RACES: self.lost_races,
            ERRORS: self.errors.total(),
        }

    def as_json(self) -> dict[str, Any]:
        """The summary as the function returns it: camelCase keys, `errors` by code."""
        counts = {name[0].lower() + name[1:]: value for name, value in self.counts().items()}
        return counts | {
            "errors": dict(sorted(self.errors.items())),
            "complete": self.complete,
            "seconds": round(self.seconds, 3),
        }
