"""The content of a report, and the limits on what its page shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from bbm.report.figures import UNKNOWN_MODEL, Track
from bbm.report.segments import Transition, segments
from bbm.usage import Totals, by_model, by_tag
from bedrock_batch_monitor.presentation.attention import Concern, concerns
from bedrock_batch_monitor.presentation.job_view import Job
from bedrock_batch_monitor.presentation.tally import Tally, tally

# The most that a page shows. Its counts and figures include everything.
LANES: Final = 1000
ACTIVE_ROWS: Final = 200
ATTENTION_ROWS: Final = 100
# The rows of them that are open at first.
ATTENTION_OPEN: Final = 8
MODELS: Final = 20
TAGS: Final = 3
TAG_VALUES: Final = 20
FAILURE_GROUPS: Final = 50
JOBS_PER_GROUP: Final = 30
TABLE_MESSAGE_CHARACTERS: Final = 240


@dataclass(frozen=True)
class Report:
    """The jobs that are active or have a recorded transition in the period of the report."""

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
        """The jobs that are tracked and have not ended."""
        return tuple(job for job in self.jobs if job.is_active)

    @cached_property
    def ended(self) -> tuple[Job, ...]:
        """The jobs that have ended."""
        return tuple(job for job in self.jobs if job.has_ended)

    @cached_property
    def tally(self) -> Tally:
        """The numbers of jobs."""
        return tally(self.jobs)

    @cached_property
    def concerns(self) -> tuple[Concern, ...]:
        """The jobs that need attention, the newest first."""
        return tuple(concerns(self.jobs, self.until))

    @cached_property
    def usage_by_model(self) -> tuple[tuple[str, Totals], ...]:
        """The usage of the ended jobs by model id, the model with the most records first."""
        return by_model(self.ended, UNKNOWN_MODEL)

    @cached_property
    def usage_by_tag(self) -> tuple[tuple[str, tuple[tuple[str, Totals], ...]], ...]:
        """The usage of the ended jobs by the tags that most of them have, by key."""
        counted = Counter(key for job in self.ended for key in job.tags)
        keys = sorted(counted, key=lambda key: (-counted[key], key))[:TAGS]
        return tuple((key, by_tag(self.ended, key)) for key in keys)

    @cached_property
    def usage(self) -> Totals:
        """The usage of all ended jobs."""
        return Totals.of_all(totals for _, totals in self.usage_by_model)


def newest_first(tracks: Iterable[Track]) -> list[Track]:
    """Tracks in the order of the report: the latest start first."""
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
    """Each job with its transitions and segments between two times, the latest start first."""
    found = []
    for job in jobs:
        recorded = tuple(sorted(transitions.get(job.arn, ())))
        found.append(Track(job, recorded, segments(job, recorded, since, until)))
    return tuple(newest_first(found))
