"""Records transitions, and restores from their history jobs whose item was put again or restored.

What is recorded says which events and task callbacks are pending then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteOutcome, WriteResult
from bedrock_batch_monitor.app.tag_reads import TagsRead
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.conditions import Finding, conditions_of
from bedrock_batch_monitor.domain.events import (
    MonitorEvent,
    PendingEvent,
    condition_event,
    pending_callbacks,
    pending_conditions,
    pending_for,
    status_event,
)
from bedrock_batch_monitor.domain.jobs import JobObservation, JobRecord, TrackedJob
from bedrock_batch_monitor.domain.owners import Owner, owner_of, resolved_deadline
from bedrock_batch_monitor.domain.restoring import decide_from_history
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.summary import ReconcileResult
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from bedrock_batch_monitor.domain.token_usage import FollowUp
from bedrock_batch_monitor.domain.transitions import Refresh, Transition

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.history_table import HistoryTable
    from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
    from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
    from bedrock_batch_monitor.app.tag_reads import TagReader
    from bedrock_batch_monitor.app.usage import UsageReader

# A write, the same over tasks that the index did not show, and one that follows the history.
_ATTEMPTS: Final = 3
CONFLICT: Final = ReconcileResult(is_conflict=True)


@dataclass(frozen=True, slots=True)
class PlannedWrite:
    """A record to write to a job that is still as `job` says.

    `answer` is Bedrock's answer from which it was decided, None if there is none. `is_restored`
    says that the history has the entry already. `history` has the earlier entries, which the item
    lacks: their events may still be pending. `findings` are the conditions that hold. `owner` is
    what to write about tags and deadline, and `errors` has the code of a read of tags that failed.
    """

    job: TrackedJob
    record: JobRecord
    answer: JobObservation | None
    observed_by: str
    is_restored: bool = False
    history: tuple[JobRecord, ...] = ()
    follow_up: FollowUp | None = None
    findings: tuple[Finding, ...] = ()
    owner: Owner | None = None
    errors: tuple[str, ...] = ()

    @property
    def is_end(self) -> bool:
        """Whether the job has ended with this record."""
        return statuses.is_terminal(self.record.last.status)

    @property
    def pending_conditions(self) -> tuple[PendingEvent, ...]:
        """The events of conditions that begin with this write."""
        last = self.record.last
        return pending_conditions(self.job, self.findings, last.sequence, now=last.observed_at)

    def pending_events(self, *, emit_status_changes: bool) -> frozenset[str]:
        """The events that are pending once this is written."""
        entries = [record.last for record in self.history]
        if not self.is_restored:
            entries.append(self.record.last)
        conditions = frozenset(str(each) for each in self.pending_conditions)
        return (
            self.job.carried_events
            | conditions
            | pending_for(
                entries,
                emit_status_changes=emit_status_changes,
                has_tasks=self.job.task_revision > 0 or self.job.carries_tasks,
            )
        )

    def over(self, current: TrackedJob) -> PlannedWrite | None:
        """The same write to the job as it is now; None if more than its waiters has changed.

        Waiters are the tasks that wait for the end, and the backfilled flag. The active-jobs index
        can be late about both.
        """
        job = self.job
        same = (current.task_revision, current.backfilled) == (job.task_revision, job.backfilled)
        if same or current.sequence != job.sequence:
            return None
        job = replace(
            job,
            task_revision=current.task_revision,
            backfilled=current.backfilled,
            carries_tasks=job.carries_tasks and current.task_revision == 0,
        )
        entry = replace(self.record.last, backfilled=job.backfilled and job.sequence == 0)
        return replace(self, job=job, record=replace(self.record, last=entry))


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records transitions and restores jobs; safe to use from many threads.

    All methods raise `ServiceError` and `InvalidItemError`. `usage` reads what an ended job used.
    """

    writes: TransitionWrites
    history: HistoryTable
    outbox: OutboxTable
    clock: Callable[[], datetime]
    rules: Rules
    usage: UsageReader | None
    tags: TagReader | None = None

    def record(
        self, job: TrackedJob, transition: Transition, *, answer: JobObservation, observed_by: str
    ) -> ReconcileResult:
        """Record a transition that Bedrock's answer to a read shows."""
        if transition.is_terminal and job.sequence > 0 and job.task_revision == 0:
            # If the item was restored, only the outbox has the tasks that wait for the end.
            job = self.with_outbox(job)
        return self._write(self._plan(job, transition, answer, observed_by))

    def catch_up(
        self,
        job: TrackedJob,
        history: Sequence[JobRecord],
        answer: JobObservation | None,
        observed_by: str,
    ) -> ReconcileResult:
        """Continue from the history, if it has more transitions than the item.

        `answer` is None if Bedrock does not return the job.
        """
        return self._write(self._plan_from(job, history, answer, observed_by))

    def with_outbox(self, job: TrackedJob) -> TrackedJob:
        """The job with what only the outbox has after its item was put again or restored."""
        kept = self.outbox.entries(job.job_arn)
        carries_tasks = kept.has_tasks and job.task_revision == 0
        return replace(job, carried_events=kept.events, carries_tasks=carries_tasks)

    def refresh(self, job: TrackedJob, refresh: Refresh) -> ReconcileResult:
        """Record newer values of the same status, and the conditions that hold."""
        now = self.clock()
        pending = pending_conditions(job, refresh.findings, job.sequence, now=now)
        written = self.writes.refresh(refresh, expected=job, now=now, pending=pending)
        if not written.is_done:
            return CONFLICT
        return ReconcileResult(
            conditions=frozenset(conditions_of(refresh.findings)),
            events=self.condition_events(job.job_arn, *pending),
        )

    def condition_events(self, job_arn: str, *pending: PendingEvent) -> tuple[MonitorEvent, ...]:
        """The events of conditions that were just recorded, with what the item says by now."""
        stored = self.writes.get(job_arn) if pending else None
        if stored is None:
            return ()
        return tuple(
            condition_event(stored, each, with_message=self.rules.record_messages)
            for each in pending
            if str(each) in stored.pending_events
        )

    # Plans

    def _plan(
        self,
        job: TrackedJob,
        transition: Transition,
        answer: JobObservation | None,
        observed_by: str,
        history: Sequence[JobRecord] = (),
    ) -> PlannedWrite:
        """Plan to record a transition; reads the manifest if the job has ended."""
        record, follow_up = transition.record, None
        if self.usage is not None and transition.is_terminal:
            reading = self.usage.at_end(record.observation, record.last)
            record = replace(record, last=replace(record.last, usage=reading.usage))
            follow_up = reading.follow_up
        return PlannedWrite(
            job,
            record,
            answer,
            observed_by,
            history=tuple(history),
            follow_up=follow_up,
            findings=transition.findings,
        )

    def _plan_from(
        self,
        job: TrackedJob,
        history: Sequence[JobRecord],
        answer: JobObservation | None,
        observed_by: str,
    ) -> PlannedWrite | None:
        """Plan what follows the history; None if the item has as many transitions.

        The item that was lost may have had pending events, so they are pending again, with the same
        ids.
        """
        if not history or history[-1].last.sequence <= job.sequence:
            return None
        if job.sequence > 0:
            # A job without a transition is read with its outbox.
            job = self.with_outbox(job)
        decision = decide_from_history(
            history, answer, now=self.clock(), observed_by=observed_by, rules=self.rules
        )
        if isinstance(decision, Transition):
            return self._plan(job, decision, answer, observed_by, history)
        return PlannedWrite(
            job,
            decision,
            answer,
            observed_by,
            is_restored=True,
            history=tuple(history),
            follow_up=None if self.usage is None else self.usage.follow_up(decision.last),
        )

    # Writes

    def _write(self, plan: PlannedWrite | None) -> ReconcileResult:
        """Make a planned write; after a conflict, the one that fits what is stored by then."""
        for _ in range(_ATTEMPTS):
            if plan is None:
                break
            plan = self._with_owner(plan)
            written = self._write_once(plan)
            if written.is_done:
                return self._result(plan)
            plan = self._after_conflict(plan, written)
        return CONFLICT

    def _write_once(self, plan: PlannedWrite) -> WriteResult:
        if plan.is_restored:
            return self.writes.restore(
                plan.record,
                expected=plan.job,
                pending_events=self._pending(plan),
                follow_up=plan.follow_up,
                owner=plan.owner,
            )
        return self.writes.record(
            plan.record,
            expected=plan.job,
            pending_events=self._pending(plan),
            follow_up=plan.follow_up,
            conditions=conditions_of(plan.findings),
            copied=plan.pending_conditions,
            owner=plan.owner,
        )

    def _with_owner(self, plan: PlannedWrite) -> PlannedWrite:
        """The plan with the tags of the job, which its events have, and with its deadline.

        The index does not have the tags. What is read here still holds when the plan is written, or
        the write is a conflict.
        """
        job, record = plan.job, plan.record
        if job.sequence == 0 and plan.owner is not None:
            # The first write met a conflict: tags do not change.
            return plan
        if job.sequence == 0:
            read = TagsRead(record.tags)
            if self.tags is not None and not record.tags:
                read = self.tags.read(job.job_arn)
            record = replace(record, tags=read.tags or {})
            owner = owner_of(job, record.observation, read.tags, self.rules)
            return replace(plan, record=record, owner=owner, errors=read.errors)
        deadline = resolved_deadline(job, record.observation)
        sends = plan.is_end or self.rules.emit_status_changes
        stored = self.writes.get(job.job_arn) if sends and self.rules.read_tags else None
        if stored is None or stored.record is None:
            return plan if deadline is None else replace(plan, owner=deadline)
        job = replace(job, tags_pending=stored.tags_pending)
        owner = replace(deadline or Owner(), tags_pending=stored.tags_pending)
        plan = replace(plan, job=job, record=replace(record, tags=stored.record.tags), owner=owner)
        if not (plan.is_end and stored.tags_pending and self.tags is not None):
            return plan
        # The last event of the job: one more attempt, or it never has the tags.
        read = self.tags.read(job.job_arn)
        if read.tags is None:
            return replace(plan, errors=read.errors)
        owner = owner_of(job, record.observation, read.tags, self.rules, stored.deadline_by)
        record = replace(record, tags=read.tags)
        return replace(plan, record=record, owner=owner, errors=read.errors)

    def _after_conflict(self, plan: PlannedWrite, written: WriteResult) -> PlannedWrite | None:
        """The write to try next; None to leave the job to the next poll."""
        job = plan.job
        if plan.history:
            return None
        if written.outcome is WriteOutcome.HISTORY_AHEAD:
            history = self.history.records(job.job_arn)
            return self._plan_from(job, history, plan.answer, plan.observed_by)
        if not plan.is_end:
            return None
        # DynamoDB does not return the item after a conflict of two transactions.
        current = written.current or self.writes.item(job.job_arn)
        return None if current is None else plan.over(items.tracked_job(current))

    def _result(self, plan: PlannedWrite) -> ReconcileResult:
        """What a write that is done means: what was recorded, and what is pending."""
        record, all_pending = plan.record, self._pending(plan)
        event = status_event(
            record,
            record.last,
            all_pending=all_pending,
            with_message=self.rules.record_messages,
        )
        result = ReconcileResult(
            events=(
                *((event,) if event.pending_event in all_pending else ()),
                *self.condition_events(record.last.job_arn, *plan.pending_conditions),
            ),
            conditions=frozenset(conditions_of(plan.findings)),
            callbacks=_callbacks(plan, all_pending),
        )
        if plan.errors:
            result = replace(result, errors=plan.errors)
        if plan.is_end and plan.owner is not None and plan.owner.tags_pending:
            result = replace(result, ended_without_tags=record.last.job_arn)
        if plan.is_restored:
            return result
        return replace(result, entry=record.last, record=record, backfilled=record.last.backfilled)

    def _pending(self, plan: PlannedWrite) -> frozenset[str]:
        return plan.pending_events(emit_status_changes=self.rules.emit_status_changes)


def _callbacks(plan: PlannedWrite, all_pending: frozenset[str]) -> PendingCallbacks | None:
    entry = plan.record.last
    pending_event = str(pending_callbacks(entry.sequence))
    if pending_event not in all_pending:
        return None
    revision = plan.job.task_revision + plan.job.carries_tasks
    return PendingCallbacks(plan.record, pending_event, revision, due=entry.observed_at)
