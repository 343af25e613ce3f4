"""How many jobs there are: the one function that counts them.

The widget, the report and `bbm usage` take every number of jobs from `tally`, and the jobs that
ended in a period from `ended_jobs`, so their numbers agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation.job_view import Job

# The values that an item can lack: all that can be unknown.
_VALUES: Final = tuple(one.name for one in fields(Job) if one.default is None)


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers of jobs. `active`, `ended` and `untracked` add up to `jobs`.

    `by_status` has the words of `Job.shown_status`.
    """

    by_status: Counter[str]
    active: int
    ended: int

    @property
    def jobs(self) -> int:
        """The number of jobs."""
        return self.by_status.total()

    @property
    def untracked(self) -> int:
        """The number of jobs that have not ended and are not tracked."""
        return self.jobs - self.active - self.ended

    @property
    def completed(self) -> int:
        """The number of jobs that ran to their end."""
        return self.by_status[statuses.COMPLETED]

    @property
    def not_completed(self) -> int:
        """The number of jobs that ended in any other way."""
        return self.ended - self.completed


def tally(jobs: Iterable[Job]) -> Tally:
    """Count jobs."""
    by_status: Counter[str] = Counter()
    active = ended = 0
    for job in jobs:
        by_status[job.shown_status] += 1
        active += job.is_active
        ended += job.has_ended
    return Tally(by_status, active, ended)


def ended_jobs(ends: Iterable[Job], current: Mapping[str, Job]) -> tuple[Job, ...]:
    """The jobs that ended, each job once, in the order of `ends`.

    `ends` are read from terminal history entries, `current` (by ARN) from the jobs table. The
    newest entry of a job counts.
    """
    newest: dict[str, Job] = {}
    for end in ends:
        if (newest.get(end.arn, end).sequence or 0) <= (end.sequence or 0):
            newest[end.arn] = end
    return tuple(ended_job(end, current.get(arn)) for arn, end in newest.items())


def ended_job(end: Job, current: Job | None) -> Job:
    """A job that ended, from its terminal history entry and its item.

    The item takes precedence, because usage that became known later is only there. A job whose item
    was deleted, or put again and not polled since, keeps the values of its history entry: an end is
    final.
    """
    if current is None:
        return end
    if not current.has_ended:
        current = replace(current, status=end.status, changed=end.changed, ended=end.ended)
    missing = {name: getattr(end, name) for name in _VALUES if getattr(current, name) is None}
    return replace(current, **missing)
