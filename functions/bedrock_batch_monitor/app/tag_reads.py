"""Reads the tags of jobs: once when a job is first recorded, and again if that was throttled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.circuit_breaker import CircuitBreaker
from bedrock_batch_monitor.domain.owners import owner_of
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.summary import ReconcileResult

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs
    from bedrock_batch_monitor.adapters.dynamodb.tag_writes import TagWrites

# How many jobs a poll asks for their tags again.
MOST_RETRIES_PER_POLL: Final = 32
# How many polls read the tags of a job that has ended, and of how many jobs at most.
_ATTEMPTS_AFTER_END: Final = 10
_MOST_ENDED: Final = 1000
# After a throttled or failed call, no tags are read for so long: jobs come first.
_OPEN_FOR: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class TagsRead:
    """The tags of a job; None if they could not be read, and can be read later.

    `errors` has the code of the call, if it failed.
    """

    tags: Mapping[str, str] | None
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TagReader:
    """Reads tags, one attempt for each job; raises nothing that a service can cause.

    With `is_deferred`, nothing is read now and everything is left to a later poll.
    """

    bedrock: BatchInferenceJobs
    clock: Callable[[], datetime]
    is_deferred: bool = False
    _breaker: CircuitBreaker = field(default_factory=lambda: CircuitBreaker(_OPEN_FOR))

    def defer(self) -> TagReader:
        """The same reader for when there is no time to wait for tags."""
        return replace(self, is_deferred=True)

    def read(self, job_arn: str) -> TagsRead:
        """Read the tags of a job.

        A refusal counts as no tags: the next read would be refused as well.
        """
        if self.is_deferred or self._breaker.is_open(self.clock()):
            return TagsRead(None)
        try:
            return TagsRead(self.bedrock.tags(job_arn))
        except ServiceError as error:
            if not error.is_retryable:
                return TagsRead({}, (error.code,))
            self._breaker.open(self.clock())
            return TagsRead(None, (error.code,))


@dataclass(frozen=True, slots=True)
class TagRetries:
    """Reads the tags of jobs that could not be read when the job was first recorded.

    The item of an active job says that its tags are missing. Jobs that have ended are remembered as
    long as the execution environment lasts, each for a number of attempts.
    """

    reader: TagReader
    jobs: TagWrites
    rules: Rules
    _ended: dict[str, int] = field(default_factory=dict)

    def remember(self, job_arns: Iterable[str]) -> None:
        """Remember jobs that ended without their tags; of too many, the first ones."""
        for job_arn in job_arns:
            if len(self._ended) < _MOST_ENDED:
                self._ended.setdefault(job_arn, _ATTEMPTS_AFTER_END)

    def ended(self, at_most: int) -> tuple[str, ...]:
        """So many of the jobs that ended without their tags, each counted as attempted."""
        due = tuple(islice(self._ended, max(at_most, 0)))
        for job_arn in due:
            left = self._ended.pop(job_arn) - 1
            if left > 0:
                # Behind the others, so that each has its turn.
                self._ended[job_arn] = left
        return due

    def read_again(self, job_arn: str) -> ReconcileResult:
        """Read the tags of one job again; raises nothing that a service can cause."""
        try:
            item = self.jobs.item(job_arn)
            job, stored = (
                (None, None) if item is None else (items.tracked_job(item), items.stored_job(item))
            )
            if job is None or stored is None or stored.record is None or not job.tags_pending:
                self._ended.pop(job_arn, None)
                return ReconcileResult()
            read = self.reader.read(job_arn)
            if read.tags is None:
                return ReconcileResult(errors=read.errors)
            owner = owner_of(
                job, stored.record.observation, read.tags, self.rules, stored.deadline_by
            )
            written = self.jobs.add_tags(owner, expected=job)
            if written.is_done:
                self._ended.pop(job_arn, None)
            return ReconcileResult(errors=read.errors, is_conflict=not written.is_done)
        except ServiceError as error:
            return ReconcileResult(errors=(error.code,))
        except InvalidItemError:
            # The read of the job records what is wrong with the item.
            return ReconcileResult()
