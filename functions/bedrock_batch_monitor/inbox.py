"""Follows one request that came as an event: look at a job now, track it, or untrack it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bedrock_batch_monitor.deliver import Courier, Delivered, not_sent
from bedrock_batch_monitor.domain.arns import JobArn, Scope
from bedrock_batch_monitor.domain.events import calls
from bedrock_batch_monitor.domain.inbox import LookAt, Request, Track
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import Seen
from bedrock_batch_monitor.observe import Observer
from bedrock_batch_monitor.services.dynamodb import InvalidItem, JobsTable, Written

OBSERVED_BY_EVENT: Final = "event"


@dataclass(frozen=True, slots=True)
class Inbox:
    """Takes the same path as a poll does, for one job, where the job's own ARN says.

    `discovery_prefix` is what the names of jobs begin with that are taken up when Bedrock tells of
    them and nobody tracks them yet: empty for all, None for none.
    """

    monitored: Scopes
    observer_of: Callable[[Scope], Observer]
    jobs: JobsTable
    courier: Courier
    clock: Callable[[], datetime]
    discovery_prefix: str | None

    def handle(self, request: Request) -> Seen:
        """Do what is asked for; raises `ServiceError`.

        `try_again` in the answer says that Bedrock could not be asked now; the event is worth
        repeating, though the next poll asks as well.
        """
        if isinstance(request, LookAt):
            job = self._known(request.job_arn)
        elif isinstance(request, Track):
            job = self._tracked(request.job_arn)
        else:
            self.jobs.untrack(request.job_arn)
            job = None
        if job is None:
            return Seen()
        return self._observer(job.job_arn).look_at(job, observed_by=OBSERVED_BY_EVENT)

    def deliver(self, seen: Seen) -> list[Delivered]:
        """Send what is owed after a look; what cannot be sent is left to the next poll."""
        if not seen.events:
            return []
        if self.courier.bus.is_missing():
            return [not_sent(seen.events)]
        return [self.courier.deliver(group) for group in calls(seen.events)]

    def _observer(self, job_arn: str) -> Observer:
        return self.observer_of(JobArn.parse(job_arn).scope)

    def _known(self, job_arn: str) -> TrackedJob | InvalidItem | None:
        """The job to look at; None for one that has ended, or that nobody wants tracked."""
        found = self.jobs.find(job_arn)
        if found is None:
            return self._taken_up(job_arn)
        if not found.is_tracked or isinstance(found.job, InvalidItem) or found.job.has_ended:
            return None
        return found.job

    def _taken_up(self, job_arn: str) -> TrackedJob | None:
        if self.discovery_prefix is None:
            return None
        # The event may lack the job's name, and is not believed anyway.
        if self.discovery_prefix:
            name = self._observer(job_arn).bedrock.get(job_arn).job_name or ""
            if not name.startswith(self.discovery_prefix):
                return None
        return self._started(job_arn)

    def _tracked(self, job_arn: str) -> TrackedJob | InvalidItem | None:
        found = self.jobs.find(job_arn)
        if found is None:
            return self._started(job_arn)
        if isinstance(found.job, InvalidItem) or found.job.has_ended:
            return None
        if not found.is_tracked:
            self.jobs.resume_tracking(found.job)
        return found.job

    def _started(self, job_arn: str) -> TrackedJob | None:
        written = self.jobs.start_tracking(job_arn, tracked_by=OBSERVED_BY_EVENT, now=self.clock())
        # Somebody else put it there just now, and looks at it.
        return TrackedJob(job_arn=job_arn) if written is Written.DONE else None
