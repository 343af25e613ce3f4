"""Follows the requests of one batch: commands to track and untrack, and hints to look at a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItem
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import FoundJob, JobsTable
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.reconcile import OBSERVED_BY_EVENT, Reconciler
from bedrock_batch_monitor.domain.arns import JobArn, Scope
from bedrock_batch_monitor.domain.discovery import JobFilter
from bedrock_batch_monitor.domain.events import calls
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.requests import Hint, Request, Track, Untrack
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import ReconcileResult
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from bedrock_batch_monitor.domain.times import plausible

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
    from bedrock_batch_monitor.outbox.relay import BusWatch, DeliveryResult, Relay
    from bedrock_batch_monitor.outbox.task_callbacks import CallbackResult, TaskCallbacks

# A job moves on so rarely that a write which loses a race wins the next one.
_ATTEMPTS: Final = 3
# From here on no further request is begun: one takes a read of Bedrock (2 + 5 seconds at most), as
# much again for its transaction, and a few quick calls. What is left goes back to the queue.
STOP_BEFORE_DEADLINE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class RequestResult:
    """What came of one request.

    `error` is the code with which it failed; then the request is worth repeating. `is_left` says
    that there was no time for it.
    """

    request: Request
    seen: ReconcileResult = field(default_factory=ReconcileResult)
    error: str | None = None
    is_left: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the queue may forget the request."""
        return self.error is None and not self.is_left


@dataclass(frozen=True, slots=True)
class _Command:
    """What a command has done to the jobs table, and what is left to do about its job.

    `looks_at` is the job to read at once, `callbacks` the tasks to call back at once.
    """

    looks_at: TrackedJob | None = None
    callbacks: PendingCallbacks | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Inbox:
    """Takes the same path as a poll does, for one job, where the job's own ARN says.

    `wanted` are the jobs that are tracked when Bedrock reports them and nobody tracks them yet;
    None for none. `takes_tasks` says whether Step Functions tasks may wait for a job.
    """

    monitored: Scopes
    reconciler_of: Callable[[Scope], Reconciler]
    jobs: JobsTable
    outbox: OutboxTable
    relay: Relay
    callbacks: TaskCallbacks
    clock: Callable[[], datetime]
    wanted: JobFilter | None
    takes_tasks: bool

    def follow(
        self, requests: Mapping[str, Request], remaining_seconds: Callable[[], float]
    ) -> Iterator[tuple[str, RequestResult]]:
        """Follow requests by their message ids; raises nothing that a service can cause.

        Commands come first, in the order in which they were sent, and are done once the jobs table
        has them: the polls see to the rest. Then jobs are read, each once, as long as there is
        time.
        """

        def is_time_left() -> bool:
            return remaining_seconds() >= STOP_BEFORE_DEADLINE_SECONDS

        looks: dict[str, TrackedJob] = {}
        for message_id, command in _in_order(requests):
            if is_time_left():
                yield message_id, self._followed(command, looks)
            else:
                yield message_id, RequestResult(command, is_left=True)
        for job_arn, job in looks.items():
            # The polls read it in any case, so a failure is not worth repeating the command.
            if is_time_left():
                seen = replace(self._reconcile(job_arn, job), try_again=False)
                yield "", RequestResult(Hint(job_arn), seen)
        for job_arn, message_ids in _hints(requests).items():
            hint = Hint(job_arn)
            if job_arn in looks:
                followed = RequestResult(hint)
            else:
                followed = self._hint(hint) if is_time_left() else RequestResult(hint, is_left=True)
            # The same outcome for each message, and one count of what was seen.
            yield message_ids[0], followed
            for message_id in message_ids[1:]:
                yield message_id, replace(followed, seen=ReconcileResult())

    def _followed(self, command: Track | Untrack, looks: dict[str, TrackedJob]) -> RequestResult:
        """Follow a command, and note the job that is to be read for it."""
        done = self._obey(command)
        looks.pop(command.job_arn, None)
        if done.looks_at is not None:
            looks[command.job_arn] = done.looks_at
        return RequestResult(command, ReconcileResult(callbacks=done.callbacks), done.error)

    def deliver(self, seen: ReconcileResult, watch: BusWatch) -> list[DeliveryResult]:
        """Send what is pending after a look; what cannot be sent is left to the next poll."""
        return [self.relay.deliver(group, watch) for group in calls(seen.events)]

    def call_back(
        self, seen: ReconcileResult, remaining_seconds: Callable[[], float]
    ) -> CallbackResult | None:
        """Call back the tasks that waited; what cannot be called back is left to the next poll."""
        if seen.callbacks is None:
            return None
        return self.callbacks.send(
            seen.callbacks, lambda: remaining_seconds() >= STOP_BEFORE_DEADLINE_SECONDS
        )

    def _reconciler(self, job_arn: str) -> Reconciler:
        return self.reconciler_of(JobArn.parse(job_arn).scope)

    # Commands

    def _obey(self, command: Track | Untrack) -> _Command:
        try:
            if isinstance(command, Untrack):
                return self._untrack(command)
            if command.task is not None:
                self.outbox.put_task(command.job_arn, command.task, self.clock())
            return self._track(command)
        except ServiceError as error:
            return _Command(error=error.code)

    def _untrack(self, command: Untrack) -> _Command:
        for _ in range(_ATTEMPTS):
            written = self.jobs.untrack(command.job_arn, at=command.at, now=self.clock())
            if written.is_done:
                return _Command()
            found = self.jobs.find(command.job_arn)
            if found is not None:
                if _is_superseded(command, found, self.clock()):
                    return _Command()
                continue
            # Without an item discovery would track the job later.
            written = self.jobs.put_untracked(
                command.job_arn, tracked_by=OBSERVED_BY_EVENT, at=command.at
            )
            if written.is_done:
                return _Command()
        return _Command(error="DynamoDB.LostRace")

    def _track(self, command: Track) -> _Command:
        """Have a job polled, and note the task that waits for it, if there is one."""
        has_task = command.task is not None
        for _ in range(_ATTEMPTS):
            found = self.jobs.find(command.job_arn)
            if found is None:
                written = self.jobs.start_tracking(
                    command.job_arn,
                    tracked_by=OBSERVED_BY_EVENT,
                    now=self.clock(),
                    has_task=has_task,
                    command_at=command.at,
                )
                job = TrackedJob(job_arn=command.job_arn, task_revision=int(has_task))
                if written.is_done:
                    return _Command(looks_at=job)
                continue
            done = self._track_known(command, found)
            if done is not None:
                return done
        return _Command(error="DynamoDB.LostRace")

    def _track_known(self, command: Track, found: FoundJob) -> _Command | None:
        """Follow a Track command for a job that has an item; None if the item moved meanwhile."""
        job, is_superseded = found.job, _is_superseded(command, found, self.clock())
        if isinstance(job, InvalidItem):
            # A task's token has no place there: the queue keeps it until the item is repaired.
            has_task = command.task is not None
            return _Command(error=f"Item.{job.error.code}" if has_task else None)
        if command.task is not None:
            written = self.jobs.await_end(
                job, now=self.clock(), resumes=not is_superseded, command_at=command.at
            )
            job = replace(job, task_revision=job.task_revision + 1)
        elif job.has_ended or is_superseded:
            return _Command()
        else:
            written = self.jobs.resume_tracking(command.job_arn, at=command.at, now=self.clock())
        if not written.is_done:
            return None
        if job.has_ended:
            return self._callbacks_of(job)
        # As the item says now. With its errors it would be given up again at once.
        return _Command(looks_at=job if is_superseded else job.without_errors())

    def _callbacks_of(self, job: TrackedJob) -> _Command:
        """The tasks that wait for a job which has ended already."""
        stored = self.jobs.get(job.job_arn)
        if stored is None or stored.record is None:
            return _Command()
        pending_event = next(
            (
                pending_event
                for pending_event in stored.pending_events
                if pending_event.startswith("Tasks#")
            ),
            None,
        )
        if pending_event is None:
            return _Command()
        due = stored.pending_since or self.clock()
        return _Command(
            callbacks=PendingCallbacks(stored.record, pending_event, stored.task_revision, due)
        )

    # Hints

    def _hint(self, hint: Hint) -> RequestResult:
        try:
            job = self._known(hint.job_arn)
        except ServiceError as error:
            if error.is_refusal:
                # Bedrock will say the same of the job the next time.
                return RequestResult(hint, ReconcileResult(errors=(error.code,)))
            return RequestResult(hint, error=error.code)
        if job is None:
            return RequestResult(hint)
        seen = self._reconcile(hint.job_arn, job)
        failure = (", ".join(seen.errors) or "NotRead") if seen.try_again else None
        return RequestResult(hint, seen, failure)

    def _reconcile(self, job_arn: str, job: TrackedJob) -> ReconcileResult:
        return self._reconciler(job_arn).reconcile(job, observed_by=OBSERVED_BY_EVENT)

    def _known(self, job_arn: str) -> TrackedJob | None:
        """The job to look at; None for one that has ended, or that nobody wants tracked."""
        found = self.jobs.find(job_arn)
        if found is None:
            return self._tracked_from_hint(job_arn)
        if not found.is_tracked or isinstance(found.job, InvalidItem) or found.job.has_ended:
            return None
        return found.job

    def _tracked_from_hint(self, job_arn: str) -> TrackedJob | None:
        if self.wanted is None:
            return None
        # The event may lack the job's name and model, and is not believed anyway.
        if self.wanted.is_limited:
            job = self._reconciler(job_arn).bedrock.get(job_arn)
            if not self.wanted.wants(job.job_name, job.model_id):
                return None
        written = self.jobs.start_tracking(job_arn, tracked_by=OBSERVED_BY_EVENT, now=self.clock())
        # On a lost race somebody else put it there just now, and looks at it.
        return TrackedJob(job_arn=job_arn) if written.is_done else None


def _is_superseded(command: Track | Untrack, found: FoundJob, now: datetime) -> bool:
    """Whether a later command on the job was followed already."""
    followed_at = plausible(found.command_at, now)
    return followed_at is not None and followed_at > command.at


def _in_order(requests: Mapping[str, Request]) -> list[tuple[str, Track | Untrack]]:
    """The commands among the requests, in the order in which they were sent."""
    commands = [
        (message_id, request)
        for message_id, request in requests.items()
        if not isinstance(request, Hint)
    ]
    return sorted(commands, key=lambda each: each[1].at)


def _hints(requests: Mapping[str, Request]) -> dict[str, list[str]]:
    """The message ids of the hints among the requests, by job."""
    hints: dict[str, list[str]] = {}
    for message_id, request in requests.items():
        if isinstance(request, Hint):
            hints.setdefault(request.job_arn, []).append(message_id)
    return hints
