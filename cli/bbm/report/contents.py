"""What a report is made of, and how much of it a page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from bbm.report import figures
from bbm.report.figures import Track, Usage
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation.job_view import Job, Transition, segments

# What a page shows at most; its counts and figures are of everything.
LANES: Final = 1000
ACTIVE_ROWS: Final = 200
MODELS: Final = 20
FAILURE_GROUPS: Final = 50
JOBS_PER_GROUP: Final = 30
TABLE_MESSAGE_CHARACTERS: Final = 240


@dataclass(frozen=True)
class Report:
    """What a report is made of: the jobs with something recorded in the span, or active now."""

    tracks: Sequence[Track]
    since: datetime
    until: datetime
    account: str
    region: str
    stack: str

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs, in the order of the tracks."""
        return tuple(track.job for track in self.tracks)

    @cached_property
    def active(self) -> tuple[Job, ...]:
        """Those that are followed and have not ended."""
        return tuple(job for job in self.jobs if job.is_active)

    @cached_property
    def by_status(self) -> Counter[str]:
        """How many jobs have each status now."""
        return Counter(job.status or "" for job in self.jobs)

    @cached_property
    def ended(self) -> int:
        """How many have ended."""
        return sum(self.by_status[status] for status in statuses.TERMINAL)

    @cached_property
    def usage(self) -> tuple[Usage, list[Usage]]:
        """What all used, and by model."""
        return figures.usage(self.jobs)


def newest_first(tracks: Iterable[Track]) -> list[Track]:
    """Tracks in the order of the report: the last begun first."""
    return sorted(
        tracks,
        key=lambda track: (track.began.timestamp() if track.began else 0.0, track.job.arn),
        reverse=True,
    )


def tracks_of(
    jobs: Iterable[Job],
    transitions: Mapping[str, Sequence[Transition]],
    since: datetime,
    until: datetime,
) -> tuple[Track, ...]:
    """Each job with what was recorded of it since then, the last begun first."""
    found = []
    for job in jobs:
        recorded = tuple(sorted(transitions.get(job.arn, ())))
        found.append(Track(job, recorded, segments(job, recorded, since, until)))
    return tuple(newest_first(found))
