"""Reconciles one job: reads it from Bedrock, decides what the answer means, and records that.

Polls and the inbox use the same path.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItem, InvalidItemError
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.read_errors import ReadErrors, why_not_monitored
from bedrock_batch_monitor.app.recording import CONFLICT, Recorder
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.jobs import (
    JobError,
    JobObservation,
    TrackedJob,
    normalized,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import ReconcileResult, changes_of
from bedrock_batch_monitor.domain.transitions import (
    Decision,
    Outdated,
    Refresh,
    Transition,
    decide,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs
    from bedrock_batch_monitor.adapters.dynamodb.history_table import HistoryTable
    from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
    from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
    from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
    from bedrock_batch_monitor.app.tag_reads import TagReader
    from bedrock_batch_monitor.app.usage import UsageReader

OBSERVED_BY_POLL: Final = "poll"
OBSERVED_BY_EVENT: Final = "event"


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Reconciles the jobs of one scope; safe to use from many threads.

    `failing_since` is what the execution environment remembers of reads that failed for a reason
    that can pass: the time of the first one since the last successful read of the job.
    """

    scope: Scope
    monitored: Scopes
    bedrock: BatchInferenceJobs
    jobs: JobsTable
    writes: TransitionWrites
    history: HistoryTable
    outbox: OutboxTable
    clock: Callable[[], datetime]
    rules: Rules
    usage: UsageReader | None = None
    tags: TagReader | None = None
    failing_since: dict[str, datetime] = field(default_factory=dict)

    def defer_usage(self) -> Reconciler:
        """The same reconciler for when there is no time for what a job used, or for its tags."""
        return replace(
            self,
            usage=None if self.usage is None else self.usage.defer_usage(),
            tags=None if self.tags is None else self.tags.defer(),
        )

    def reconcile(self, job: TrackedJob | InvalidItem, *, observed_by: str) -> ReconcileResult:
        """Reconcile one item of the active-jobs index; raises nothing that a service can cause."""
        try:
            try:
                result = self._reconcile(job, observed_by)
                if isinstance(job, InvalidItem):
                    return result
                return replace(result, changes=changes_of(job, result))
            except InvalidItemError as error:
                # Somebody changed the job's history, or its item since it was listed.
                problem = JobError("InvalidItem", str(error))
                return self._errors.invalid_item(job.job_arn, problem, job.last_error)
        except ServiceError as error:
            return ReconcileResult(errors=(error.code,), try_again=error.is_retryable)

    def is_fetchable(self, job: TrackedJob | InvalidItem) -> bool:
        """Whether to reconcile this job calls Bedrock: it has not ended, and it is monitored."""
        if isinstance(job, InvalidItem) or job.has_terminal_status:
            return False
        return why_not_monitored(job.job_arn, self.scope, self.monitored) is None

    def forget_failing(self, *, active: Collection[str], read: Collection[str]) -> None:
        """Forget since when reads fail of jobs that were read otherwise, or are not active."""
        for job_arn in [*self.failing_since]:
            if job_arn in read or job_arn not in active:
                self.failing_since.pop(job_arn, None)

    @property
    def _recorder(self) -> Recorder:
        return Recorder(
            self.writes,
            self.history,
            self.outbox,
            self.clock,
            self.rules,
            self.usage,
            self.tags,
        )

    @property
    def _errors(self) -> ReadErrors:
        return ReadErrors(self.writes, self._recorder, self.clock, self.rules, self.failing_since)

    def _reconcile(self, job: TrackedJob | InvalidItem, observed_by: str) -> ReconcileResult:
        if isinstance(job, InvalidItem):
            return self._errors.invalid_item(job.job_arn, job.error, job.last_error)
        if job.has_terminal_status and job.event_id is None:
            # The index lacks the event id, which says whether the end is recorded.
            found = self.jobs.find(job.job_arn)
            if found is None or isinstance(found.job, InvalidItem):
                return CONFLICT
            job = found.job
        if job.has_ended:
            return ReconcileResult(is_conflict=not self.writes.stop_tracking(job).is_done)
        if (problem := why_not_monitored(job.job_arn, self.scope, self.monitored)) is not None:
            return self._errors.not_monitored(job, problem)
        if job.has_terminal_status:
            return self._recognize_end(job, observed_by)
        return self._read(job, observed_by) if job.sequence else self._read_new(job, observed_by)

    # Reads

    def _read(self, job: TrackedJob, observed_by: str) -> ReconcileResult:
        try:
            answer = self.bedrock.get(job.job_arn)
        except ServiceError as error:
            return self._not_read(job, error, observed_by)
        return self._as_read(job, answer, self._apply(job, answer, observed_by))

    def _read_new(self, job: TrackedJob, observed_by: str) -> ReconcileResult:
        """Read a job whose item has no transition: it is new, or its item was put again.

        In the second case it continues from its history, and the pending events of its old item are
        pending again.
        """
        records = self.history.records(job.job_arn)
        if not job.backfilled:
            # The index does not have the flag, on which every event of the job depends.
            found = self.jobs.find(job.job_arn)
            if found is not None and isinstance(found.job, TrackedJob):
                job = replace(job, backfilled=found.job.backfilled)
        job = self._recorder.with_outbox(job)
        if not records:
            return self._read(job, observed_by)
        if records[-1].last.event_id is not None:
            # Bedrock may no longer return the job.
            return self._recorder.catch_up(job, records, None, observed_by)
        try:
            answer = self.bedrock.get(job.job_arn)
        except ServiceError as error:
            if error.is_retryable:
                return self._not_read(job, error, observed_by)
            restored = self._recorder.catch_up(job, records, None, observed_by)
            return replace(restored, errors=(*restored.errors, error.code))
        result = self._recorder.catch_up(job, records, answer, observed_by)
        return self._as_read(job, answer, result)

    def _as_read(
        self, job: TrackedJob, answer: JobObservation, result: ReconcileResult
    ) -> ReconcileResult:
        self.failing_since.pop(job.job_arn, None)
        return replace(result, was_read=True, unknown_status=not statuses.is_known(answer.status))

    def _not_read(self, job: TrackedJob, error: ServiceError, observed_by: str) -> ReconcileResult:
        is_poll = observed_by == OBSERVED_BY_POLL
        if not error.is_refusal:
            return self._errors.failed(job, error, is_poll=is_poll)
        self.failing_since.pop(job.job_arn, None)
        if job.sequence > 0:
            records = self.history.records(job.job_arn)
            if records and statuses.is_terminal(records[-1].last.status):
                # The jobs table was restored to an earlier point.
                result = self._recorder.catch_up(job, records, None, observed_by)
                return replace(result, errors=(error.code,))
        return self._errors.refused(job, error, is_poll=is_poll)

    # Decisions

    def _decide(
        self, job: TrackedJob, answer: JobObservation, now: datetime, observed_by: str
    ) -> tuple[JobObservation, Decision]:
        observation = normalized(job, answer, now, with_message=self.rules.record_messages)
        return observation, decide(
            job, observation, now=now, observed_by=observed_by, rules=self.rules
        )

    def _apply(self, job: TrackedJob, answer: JobObservation, observed_by: str) -> ReconcileResult:
        observation, decision = self._decide(job, answer, self.clock(), observed_by)
        if isinstance(decision, Outdated):
            return ReconcileResult(outdated=True)
        if isinstance(decision, Refresh):
            return self._recorder.refresh(job, decision)
        if isinstance(decision, Transition):
            return self._recorder.record(job, decision, answer=observation, observed_by=observed_by)
        return ReconcileResult(conditions=frozenset(job.conditions))

    def _recognize_end(self, job: TrackedJob, observed_by: str) -> ReconcileResult:
        """Record the end of a job whose status was not known as terminal when it was recorded."""
        stored = self.jobs.get(job.job_arn)
        if stored is None or stored.record is None:
            return CONFLICT
        answer = stored.record.observation
        observation, decision = self._decide(job, answer, self.clock(), observed_by)
        if not isinstance(decision, Transition):
            return CONFLICT
        return self._recorder.record(job, decision, answer=observation, observed_by=observed_by)
