"""Processes one batch of queue messages: commands, and Bedrock's events as hints to read a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItem
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.commands import Commands
from bedrock_batch_monitor.app.job_results import JobResults
from bedrock_batch_monitor.app.reconcile import OBSERVED_BY_EVENT, Reconciler
from bedrock_batch_monitor.app.worker_pool import InlineWorkers
from bedrock_batch_monitor.domain.arns import JobArn, Scope
from bedrock_batch_monitor.domain.discovery import JobFilter
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.requests import (
    TRACK_DETAIL_TYPE,
    UNTRACK_DETAIL_TYPE,
    Hint,
    MalformedEventError,
    Request,
    Track,
    Untrack,
    event_in,
    request_of,
)
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import PollSummary, ReconcileResult
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.outbox.event_buffer import EventBuffer

if TYPE_CHECKING:
    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.outbox.relay import BusWatch, Relay
    from bedrock_batch_monitor.outbox.task_callbacks import TaskCallbacks


@dataclass(frozen=True, slots=True)
class Inbox:
    """What processes requests, in the scope that the ARN of a job names.

    `wanted` are the jobs that are tracked when Bedrock reports them and nobody tracks them yet;
    None for none. `takes_tasks` says whether Step Functions tasks may wait for a job.
    """

    monitored: Scopes
    reconciler_of: Callable[[Scope], Reconciler]
    commands: Commands
    jobs: JobsTable
    relay: Relay
    callbacks: TaskCallbacks
    clock: Callable[[], datetime]
    wanted: JobFilter | None
    takes_tasks: bool

    def batch(self, remaining_seconds: Callable[[], float], logger: Logger) -> InboxBatch:
        """A batch to process in the time that is left."""
        return InboxBatch(self, InlineWorkers(remaining_seconds), logger, self.relay.watch())

    def process_hint(self, job_arn: str) -> tuple[ReconcileResult, str | None]:
        """Read a job now; with the error code if the hint is worth repeating.

        Raises nothing that a service can cause.
        """
        try:
            job = self._job_of_hint(job_arn)
        except ServiceError as error:
            if error.is_refusal:
                # Bedrock refuses the next read of the job as well.
                return ReconcileResult(errors=(error.code,)), None
            return ReconcileResult(), error.code
        if job is None:
            return ReconcileResult(), None
        result = self.reconcile(job)
        return result, (", ".join(result.errors) or "NotRead") if result.try_again else None

    def reconcile(self, job: TrackedJob) -> ReconcileResult:
        """Read a job, and record what changed; raises nothing that a service can cause."""
        return self._reconciler(job.job_arn).reconcile(job, observed_by=OBSERVED_BY_EVENT)

    def _reconciler(self, job_arn: str) -> Reconciler:
        return self.reconciler_of(JobArn.parse(job_arn).scope)

    def _job_of_hint(self, job_arn: str) -> TrackedJob | None:
        """The job to read; None for one that has ended, or that nobody wants tracked."""
        found = self.jobs.find(job_arn)
        if found is None:
            return self._tracked_from_hint(job_arn)
        if not found.is_tracked or isinstance(found.job, InvalidItem) or found.job.has_ended:
            return None
        return found.job

    def _tracked_from_hint(self, job_arn: str) -> TrackedJob | None:
        if self.wanted is None:
            return None
        # The event may lack the job's name and model, and only the API's answer counts anyway.
        if self.wanted.is_limited:
            job = self._reconciler(job_arn).bedrock.get(job_arn)
            if not self.wanted.wants(job.job_name, job.model_id):
                return None
        written = self.jobs.start_tracking(job_arn, tracked_by=OBSERVED_BY_EVENT, now=self.clock())
        # On a conflict another writer has just tracked the job, and reads it.
        return TrackedJob(job_arn=job_arn) if written.is_done else None


@dataclass(frozen=True, slots=True)
class InboxBatch:
    """The requests of one batch, and what came of them."""

    inbox: Inbox
    workers: InlineWorkers
    logger: Logger
    watch: BusWatch
    _results: dict[Scope, JobResults] = field(default_factory=dict)

    def summaries(self) -> Iterator[tuple[Scope, PollSummary]]:
        """What was counted so far, by the scope of the jobs."""
        return ((scope, results.summary) for scope, results in self._results.items())

    def process_messages(self, bodies: Mapping[str, str]) -> list[str]:
        """Process the events in message bodies, by message id; the ids to deliver again.

        A malformed event is dropped, logged and counted. No message is ever logged, because it may
        hold a task token.
        """
        requests: dict[str, Request] = {}
        for message_id, body in bodies.items():
            try:
                requests[message_id] = request_of(
                    event_in(body),
                    self.inbox.monitored,
                    self.inbox.clock(),
                    takes_tasks=self.inbox.takes_tasks,
                )
            except MalformedEventError as error:
                self._results_of(self.inbox.monitored.home).summary.events_malformed += 1
                self.logger.warning("event dropped", extra={"reason": str(error)})
        return self.process(requests)

    def process(self, requests: Mapping[str, Request]) -> list[str]:
        """Process requests, by message id; the ids to deliver again: failed, or out of time.

        Commands come first, in the order in which they were sent, and are done once the jobs table
        has them. Then jobs are read, each once, as long as there is time. Raises nothing that a
        service can cause.
        """
        failed, to_read = [], dict[str, TrackedJob]()
        for message_id, command in _in_order(requests):
            if self.workers.time_is_up or not self._process_command(command, to_read):
                failed.append(message_id)
        for job in to_read.values():
            # The polls read it in any case, so a failure is not worth repeating the command.
            if not self.workers.time_is_up:
                self._handle(job.job_arn, self.inbox.reconcile(job))
        for job_arn, message_ids in _hints(requests).items():
            if job_arn in to_read:
                continue
            if self.workers.time_is_up or not self._process_hints(job_arn, len(message_ids)):
                failed.extend(message_ids)
        return failed

    def _process_command(self, command: Track | Untrack, to_read: dict[str, TrackedJob]) -> bool:
        """Process a command, and remember the job to read for it; whether the command is done."""
        result = self.inbox.commands.process(command)
        to_read.pop(command.job_arn, None)
        if result.to_read is not None:
            to_read[command.job_arn] = result.to_read
        self._handle(command.job_arn, ReconcileResult(callbacks=result.callbacks), result.error)
        if result.error is None:
            name = TRACK_DETAIL_TYPE if isinstance(command, Track) else UNTRACK_DETAIL_TYPE
            extra = {"jobArn": command.job_arn, "command": name, "sentAt": to_iso(command.at)}
            self.logger.info("command processed", extra=extra)
        return result.error is None

    def _process_hints(self, job_arn: str, messages: int) -> bool:
        """Read a job once for so many messages; whether the hints are done."""
        result, error = self.inbox.process_hint(job_arn)
        self._handle(job_arn, result, error)
        for _ in range(messages - 1):
            # Each message that fails is counted and logged.
            self._handle(job_arn, ReconcileResult(), error)
        return error is None

    def _handle(self, job_arn: str, result: ReconcileResult, error: str | None = None) -> None:
        results = self._results_of(JobArn.parse(job_arn).scope)
        results.handle(result)
        results.buffer.flush()
        if error is not None:
            if error not in result.errors:
                results.summary.errors[error] += 1
            self.logger.warning("event not processed", extra={"error": error, "jobArn": job_arn})

    def _results_of(self, scope: Scope) -> JobResults:
        if scope not in self._results:
            summary = PollSummary()
            buffer = EventBuffer(
                relay=self.inbox.relay,
                callbacks=self.inbox.callbacks,
                watch=self.watch,
                workers=self.workers,
                summary=summary,
                logger=self.logger,
            )
            self._results[scope] = JobResults(summary, self.logger, buffer)
        return self._results[scope]


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
