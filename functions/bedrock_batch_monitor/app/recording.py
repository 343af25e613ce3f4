"""Records what was decided about a job, and says which events and callbacks are pending then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.events import (
    MonitorEvent,
    PendingEvent,
    episode_event,
    pending_callbacks,
    pending_for,
    status_event,
)
from bedrock_batch_monitor.domain.jobs import JobObservation, JobRecord, TrackedJob
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.summary import ReconcileResult
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from bedrock_batch_monitor.domain.token_usage import FollowUp
from bedrock_batch_monitor.domain.transitions import Transition

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
    from bedrock_batch_monitor.adapters.dynamodb.writes import WriteResult
    from bedrock_batch_monitor.app.usage import UsageReader


@dataclass(frozen=True, slots=True)
class PlannedWrite:
    """A record to write to a job that is still as `job` says.

    `answer` is Bedrock's answer from which it was decided, None if there is none. `is_restored`
    says that the history has the entry already. `history` has the earlier entries, which the item
    lacks: their events may still be pending.
    """

    job: TrackedJob
    record: JobRecord
    answer: JobObservation | None
    observed_by: str
    is_restored: bool = False
    history: tuple[JobRecord, ...] = ()
    follow_up: FollowUp | None = None

    @property
    def is_end(self) -> bool:
        """Whether the job has ended with this record."""
        return statuses.is_terminal(self.record.last.status)

    def pending_events(self, *, emit_status_changes: bool) -> frozenset[str]:
        """The events that are pending once this is written."""
        entries = [record.last for record in self.history]
        if not self.is_restored:
            entries.append(self.record.last)
        return self.job.carried_events | pending_for(
            entries,
            emit_status_changes=emit_status_changes,
            has_tasks=self.job.task_revision > 0 or self.job.carries_tasks,
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
    """Writes records; safe to use from many threads. `usage` reads what an ended job used."""

    writes: TransitionWrites
    rules: Rules
    usage: UsageReader | None

    def plan_transition(
        self,
        job: TrackedJob,
        transition: Transition,
        *,
        answer: JobObservation | None,
        observed_by: str,
        history: Sequence[JobRecord] = (),
    ) -> PlannedWrite:
        """Plan to record a transition; reads the manifest if the job has ended."""
        plan = PlannedWrite(job, transition.record, answer, observed_by, history=tuple(history))
        if self.usage is None or not transition.is_terminal:
            return plan
        reading = self.usage.at_end(transition.record.observation, transition.entry)
        record = replace(transition.record, last=replace(transition.entry, usage=reading.usage))
        return replace(plan, record=record, follow_up=reading.follow_up)

    def plan_restore(
        self, job: TrackedJob, history: Sequence[JobRecord], record: JobRecord, observed_by: str
    ) -> PlannedWrite:
        """Plan to restore a job from its history.

        The item that was lost may have had pending events, so they are pending again, with the same
        ids.
        """
        follow_up = None if self.usage is None else self.usage.follow_up(record.last)
        return PlannedWrite(
            job,
            record,
            None,
            observed_by,
            is_restored=True,
            history=tuple(history),
            follow_up=follow_up,
        )

    def write(self, plan: PlannedWrite) -> WriteResult:
        """Make the write; raises `ServiceError`."""
        write = self.writes.restore if plan.is_restored else self.writes.record
        return write(
            plan.record,
            expected=plan.job,
            pending_events=self._pending(plan),
            follow_up=plan.follow_up,
        )

    def result(self, plan: PlannedWrite) -> ReconcileResult:
        """What a write that is done means: what was recorded, and what is pending."""
        record, all_pending = plan.record, self._pending(plan)
        with_message = self.rules.record_messages
        event = status_event(
            record, record.last, all_pending=all_pending, with_message=with_message
        )
        result = ReconcileResult(
            events=(event,) if event.pending_event in all_pending else (),
            callbacks=_callbacks(plan, all_pending),
        )
        if plan.is_restored:
            return result
        return replace(result, entry=record.last, record=record, backfilled=record.last.backfilled)

    def episode_events(
        self, job_arn: str, pending_event: PendingEvent | None
    ) -> tuple[MonitorEvent, ...]:
        """The event of an episode that was just recorded, with what the item says by now.

        Raises `ServiceError`, `InvalidItemError`.
        """
        if pending_event is None:
            return ()
        stored = self.writes.get(job_arn)
        if stored is None or str(pending_event) not in stored.pending_events:
            return ()
        return (episode_event(stored, pending_event, with_message=self.rules.record_messages),)

    def _pending(self, plan: PlannedWrite) -> frozenset[str]:
        return plan.pending_events(emit_status_changes=self.rules.emit_status_changes)


def _callbacks(plan: PlannedWrite, all_pending: frozenset[str]) -> PendingCallbacks | None:
    entry = plan.record.last
    pending_event = str(pending_callbacks(entry.sequence))
    if pending_event not in all_pending:
        return None
    revision = plan.job.task_revision + plan.job.carries_tasks
    return PendingCallbacks(plan.record, pending_event, revision, due=entry.observed_at)
