"""Follows one request that came as an event: look at a job now, track it, or untrack it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bedrock_batch_monitor.answer import Answered, Answerer
from bedrock_batch_monitor.deliver import Courier, Delivered, not_sent
from bedrock_batch_monitor.domain.arns import JobArn, Scope
from bedrock_batch_monitor.domain.discovery import JobFilter
from bedrock_batch_monitor.domain.events import calls
from bedrock_batch_monitor.domain.inbox import LookAt, MalformedEventError, Request, Track
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import Seen
from bedrock_batch_monitor.domain.tasks import TASKS_PER_JOB, WaitingTask
from bedrock_batch_monitor.observe import Observer, answers_to
from bedrock_batch_monitor.services.dynamodb import InvalidItem, JobsTable, Written

OBSERVED_BY_EVENT: Final = "event"
# A job moves on so rarely that a write which loses a race wins the next one.
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Inbox:
    """Takes the same path as a poll does, for one job, where the job's own ARN says.

    `wanted` are the jobs that are taken up when Bedrock tells of them and nobody tracks them yet;
    None for none. `takes_tasks` says whether Step Functions tasks may wait for a job.
    """

    monitored: Scopes
    observer_of: Callable[[Scope], Observer]
    jobs: JobsTable
    courier: Courier
    answerer: Answerer
    clock: Callable[[], datetime]
    wanted: JobFilter | None
    takes_tasks: bool

    def handle(self, request: Request) -> Seen:
        """Do what is asked for; raises `ServiceError`, `MalformedEventError`.

        `try_again` in the answer says that Bedrock could not be asked now; the event is worth
        repeating, though the next poll asks as well.
        """
        if isinstance(request, Track) and request.task is not None:
            return self._awaited(request.job_arn, request.task)
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

    def answer(self, seen: Seen) -> list[Answered]:
        """Answer the tasks that waited; what cannot be answered is left to the next poll."""
        return [self.answerer.answer(answer) for answer in seen.answers]

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
        if self.wanted is None:
            return None
        # The event may lack the job's name and model, and is not believed anyway.
        if self.wanted.is_limited:
            job = self._observer(job_arn).bedrock.get(job_arn)
            if not self.wanted.wants(job.job_name, job.model_id):
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

    def _awaited(self, job_arn: str, task: WaitingTask) -> Seen:
        """Have a task wait for a job, tracked or not yet; one that has ended is answered now.

        Once the token is with the job, the polls see to it: nothing is asked for again.
        """
        for _ in range(_ATTEMPTS):
            found = self.jobs.find(job_arn)
            if found is None:
                job = TrackedJob(job_arn=job_arn, tasks=frozenset({str(task)}))
                written = self.jobs.start_tracking(
                    job_arn, tracked_by=OBSERVED_BY_EVENT, now=self.clock(), task=str(task)
                )
            elif isinstance(found.job, InvalidItem):
                # The token has no place there: the queue keeps it until somebody mends the item.
                return Seen(errors=(f"Item.{found.job.error.code}",), try_again=True)
            else:
                job = replace(found.job, tasks=found.job.tasks | {str(task)})
                if len(job.tasks) > TASKS_PER_JOB:
                    message = f"{TASKS_PER_JOB} tasks wait for {job_arn}: it can have no more"
                    raise MalformedEventError(message)
                written = self.jobs.await_end(found.job, str(task), now=self.clock())
            if written is Written.DONE:
                return self._answered_or_seen(job)
        return Seen(lost_race=True, try_again=True)

    def _answered_or_seen(self, job: TrackedJob) -> Seen:
        if not job.has_ended:
            seen = self._observer(job.job_arn).look_at(job, observed_by=OBSERVED_BY_EVENT)
            return replace(seen, try_again=False)
        stored = self.jobs.get(job.job_arn)
        if stored is None or stored.record is None:
            return Seen()
        due = stored.pending_since or self.clock()
        return Seen(answers=tuple(answers_to(stored.tasks, stored.record, due=due)))

    def _started(self, job_arn: str) -> TrackedJob | None:
        written = self.jobs.start_tracking(job_arn, tracked_by=OBSERVED_BY_EVENT, now=self.clock())
        # Somebody else put it there just now, and looks at it.
        return TrackedJob(job_arn=job_arn) if written is Written.DONE else None
