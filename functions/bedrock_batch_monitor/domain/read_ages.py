"""How long ago each active job was read, and whether a poll read any of its jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ReadAges:
    """When active jobs were last read, as far as the execution environment remembers it.

    `read_at` has a time for each job that can be read and is not unreachable. `has_answer` is the
    verdict on the last poll that tried to read a job; None before there was one. Nothing is stored:
    a new execution environment counts from its first poll, or from the `failingSince` of a job.
    """

    read_at: Mapping[str, datetime] = field(default_factory=dict)
    has_answer: bool | None = None

    def after(  # noqa: PLR0913 - what one poll says, all named
        self,
        *,
        active: Mapping[str, datetime | None],
        is_whole: bool,
        attempted: Collection[str],
        answered: Collection[str],
        waiting: Mapping[str, bool],
        now: datetime,
    ) -> ReadAges:
        """What is known after a poll that began to read at `now`.

        `active` are the jobs that can be read, each with the time since which its reads fail, if
        that is known. `is_whole` says that they are all there. `attempted` are the jobs that the
        poll had to read, unreachable ones included; `answered` those for which the services work.
        `waiting` are the unreachable jobs that wait for their turn, each with whether its recorded
        error is about that job alone.

        A poll that had none to read says nothing, so the verdict on the one before it stays. In a
        new execution environment, the recorded errors decide: if none is about a single job, then
        the service fails and no job is read.
        """
        read_at = {} if is_whole else dict(self.read_at)
        for job_arn, failing_since in active.items():
            known = self.read_at.get(job_arn) or failing_since or now
            read_at[job_arn] = now if job_arn in answered else min(known, now)
        if attempted:
            has_answer: bool | None = not frozenset(attempted).isdisjoint(answered)
        elif self.has_answer is None and waiting:
            has_answer = any(waiting.values())
        else:
            # An unreachable job that waits for its turn is active, and nothing is known of it.
            has_answer = self.has_answer
        return ReadAges(read_at, has_answer)

    def oldest_seconds(self, now: datetime) -> int:
        """The age of the oldest read in whole seconds; 0 if no job can be read."""
        oldest = min(self.read_at.values(), default=now)
        return max(int((now - oldest).total_seconds()), 0)
