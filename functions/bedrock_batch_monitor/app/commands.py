"""Processes commands to track and untrack jobs: the tables have them before the queue forgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItem
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import FoundJob, JobsTable
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.reconcile import OBSERVED_BY_EVENT
from bedrock_batch_monitor.domain.deadlines import moment_of
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.requests import Track, Untrack
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from bedrock_batch_monitor.domain.times import plausible, to_iso

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable

# A job moves on so rarely that a write which meets a conflict succeeds the next time.
_ATTEMPTS: Final = 3
_CONFLICT: Final = "DynamoDB.LostRace"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What is left to do after a command.

    `to_read` is the job to read at once, `callbacks` are the tasks to call back at once. `error` is
    the code with which the command failed; then it is worth repeating.
    """

    to_read: TrackedJob | None = None
    callbacks: PendingCallbacks | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Commands:
    """Writes commands to the jobs table; the last command on a job wins."""

    jobs: JobsTable
    outbox: OutboxTable
    clock: Callable[[], datetime]

    def process(self, command: Track | Untrack) -> CommandResult:
        """Process one command; raises nothing that a service can cause."""
        try:
            if isinstance(command, Untrack):
                return self._untrack(command)
            if command.task is not None:
                self.outbox.put_task(command.job_arn, command.task, self.clock())
            return self._track(command)
        except ServiceError as error:
            return CommandResult(error=error.code)

    def _untrack(self, command: Untrack) -> CommandResult:
        for _ in range(_ATTEMPTS):
            written = self.jobs.untrack(command.job_arn, at=command.at, now=self.clock())
            if written.is_done:
                return CommandResult()
            found = self.jobs.find(command.job_arn)
            if found is not None:
                if _is_superseded(command, found, self.clock()):
                    return CommandResult()
                continue
            # Without an item, discovery would track the job later.
            written = self.jobs.put_untracked(
                command.job_arn, tracked_by=OBSERVED_BY_EVENT, at=command.at
            )
            if written.is_done:
                return CommandResult()
        return CommandResult(error=_CONFLICT)

    def _track(self, command: Track) -> CommandResult:
        """Start or resume tracking, and record the task that waits for the job, if there is one."""
        has_task = command.task is not None
        for _ in range(_ATTEMPTS):
            found = self.jobs.find(command.job_arn)
            if found is not None:
                result = self._track_known(command, found)
                if result is not None:
                    return result
                continue
            written = self.jobs.start_tracking(
                command.job_arn,
                tracked_by=OBSERVED_BY_EVENT,
                now=self.clock(),
                has_task=has_task,
                command_at=command.at,
                deadline=command.deadline,
            )
            if written.is_done:
                job = TrackedJob(
                    command.job_arn, task_revision=int(has_task), deadline=command.deadline
                )
                return CommandResult(job)
        return CommandResult(error=_CONFLICT)

    def _track_known(self, command: Track, found: FoundJob) -> CommandResult | None:
        """Process a Track command for a job that has an item; None on a conflict."""
        job, is_superseded = found.job, _is_superseded(command, found, self.clock())
        if isinstance(job, InvalidItem):
            # No task can be recorded in such an item: the queue keeps it until somebody fixes it.
            has_task = command.task is not None
            return CommandResult(error=f"Item.{job.error.code}" if has_task else None)
        deadline = _text_for(command, job)
        if command.task is not None:
            written = self.jobs.await_end(
                job,
                now=self.clock(),
                resumes=not is_superseded,
                command_at=command.at,
                deadline=deadline,
            )
            job = replace(job, task_revision=job.task_revision + 1)
        elif job.has_ended or is_superseded:
            return CommandResult()
        else:
            written = self.jobs.resume_tracking(
                command.job_arn, at=command.at, now=self.clock(), deadline=deadline
            )
        if not written.is_done:
            return None
        if job.has_ended:
            return CommandResult(callbacks=self._callbacks_of(job))
        if is_superseded:
            return CommandResult(job)
        # As the item says now. With its errors, the job would be given up again at once.
        return CommandResult(replace(job.without_errors(), deadline=deadline or job.deadline))

    def _callbacks_of(self, job: TrackedJob) -> PendingCallbacks | None:
        """The pending callbacks of a job that has ended already."""
        stored = self.jobs.get(job.job_arn)
        if stored is None or stored.record is None:
            return None
        pending = (event for event in stored.pending_events if event.startswith("Tasks#"))
        pending_event = next(pending, None)
        if pending_event is None:
            return None
        due = stored.pending_since or self.clock()
        return PendingCallbacks(stored.record, pending_event, stored.task_revision, due)


def _text_for(command: Track, job: TrackedJob) -> str | None:
    """The deadline of a command as the item has it: a moment, once the submission is known."""
    if command.deadline is None:
        return None
    at = moment_of(command.deadline, job.submit_time)
    return command.deadline if at is None else to_iso(at)


def _is_superseded(command: Track | Untrack, found: FoundJob, now: datetime) -> bool:
    """Whether a later command on the job was processed already."""
    processed_at = plausible(found.command_at, now)
    return processed_at is not None and processed_at > command.at
