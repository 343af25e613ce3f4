"""Looks at one job and records what it sees: the one path that every observation takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
from bedrock_batch_monitor.adapters.dynamodb.tables import (
    HistoryTable,
    InvalidItem,
    JobsTable,
    WriteOutcome,
)
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn, Scope
from bedrock_batch_monitor.domain.episodes import (
    Failing,
    Unreadable,
    failing,
    is_at_risk,
    is_given_up,
    unreadable,
)
from bedrock_batch_monitor.domain.events import (
    MonitorEvent,
    PendingEvent,
    durations,
    episode_event,
    pending_at_risk,
    pending_callbacks,
    pending_for,
    pending_stalled,
    pending_unreachable,
    status_event,
)
from bedrock_batch_monitor.domain.jobs import (
    JobError,
    JobObservation,
    JobRecord,
    TrackedJob,
    bounded,
    normalized,
    tracked_from_history,
    with_status_of,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import ReconcileResult
from bedrock_batch_monitor.domain.tasks import PendingCallbacks
from bedrock_batch_monitor.domain.times import plausible, seconds_between, to_iso
from bedrock_batch_monitor.domain.transitions import (
    Outdated,
    Refresh,
    Stalled,
    Transition,
    decide,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs
    from bedrock_batch_monitor.app.usage import UsageReader

OBSERVED_BY_POLL: Final = "poll"
OBSERVED_BY_EVENT: Final = "event"
# Refusals that are about the job and not about the monitor's permissions.
_ABOUT_ONE_JOB: Final = frozenset({"ResourceNotFoundException", "ValidationException"})


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Reads jobs of one scope and records what changed; safe to use from many threads.

    `failing_since` is what the execution environment remembers of reads that may succeed later: the
    time of the first such read of a job since its last successful one.
    """

    scope: Scope
    monitored: Scopes
    bedrock: BatchInferenceJobs
    jobs: JobsTable
    history: HistoryTable
    outbox: OutboxTable
    clock: Callable[[], datetime]
    rules: Rules
    usage: UsageReader | None = None
    failing_since: dict[str, datetime] = field(default_factory=dict)

    def defer_usage(self) -> Reconciler:
        """Give the same observer for when there is no time to wait for what a job used."""
        return self if self.usage is None else replace(self, usage=self.usage.defer_usage())

    def reconcile(self, job: TrackedJob | InvalidItem, *, observed_by: str) -> ReconcileResult:
        """Handle one item of the active-jobs index; raises nothing that a service can cause."""
        try:
            return self._reconcile(job, observed_by)
        except ServiceError as error:
            return ReconcileResult(errors=(error.code,), try_again=error.is_retryable)
        except InvalidItemError as error:
            # Somebody wrote into the history of the job, or into its item since it was listed.
            return self._invalid_record(job, JobError("InvalidItem", str(error)))

    def _invalid_record(self, job: TrackedJob | InvalidItem, problem: JobError) -> ReconcileResult:
        try:
            return self._record_item_error(job.job_arn, problem, job.last_error)
        except ServiceError as error:
            return ReconcileResult(errors=(error.code,), try_again=error.is_retryable)

    def _reconcile(self, job: TrackedJob | InvalidItem, observed_by: str) -> ReconcileResult:
        if isinstance(job, InvalidItem):
            return self._record_item_error(job.job_arn, job.error, job.last_error)
        if job.has_ended:
            return ReconcileResult(
                is_conflict=self.jobs.stop_tracking(job) is not WriteOutcome.DONE
            )
        if (problem := self._out_of_reach(job.job_arn)) is not None:
            return self._never_asked(job, problem)
        look = self._read if job.sequence else self._first_look
        return (self._recognize_end if job.has_terminal_status else look)(job, observed_by)

    def is_fetchable(self, job: TrackedJob | InvalidItem) -> bool:
        """Whether a look at this job calls Bedrock: it has not ended, and it belongs here."""
        if isinstance(job, InvalidItem) or job.has_terminal_status:
            return False
        return self._out_of_reach(job.job_arn) is None

    def forget_failing(self, *, active: Collection[str], read: Collection[str]) -> None:
        """Forget since when reads fail of jobs that were read otherwise, or are not active."""
        for job_arn in [*self.failing_since]:
            if job_arn in read or job_arn not in active:
                self.failing_since.pop(job_arn, None)

    def _out_of_reach(self, job_arn: str) -> JobError | None:
        try:
            arn = JobArn.parse(job_arn)
        except InvalidJobArnError as error:
            return JobError("InvalidJobArn", f"{error}: delete the item and track the right ARN")
        if arn.scope != self.scope or arn.partition != self.monitored.partition:
            return JobError(
                "NotMonitored",
                f"the job belongs to {arn.partition}, {arn.scope}; this deployment monitors "
                f"{self.monitored.partition}, {self.monitored}: name it in the settings "
                "`accounts` and `regions`, or track the job with a monitor there",
            )
        return None

    # Reads

    def _read(self, job: TrackedJob, observed_by: str) -> ReconcileResult:
        try:
            observation = self.bedrock.get(job.job_arn)
        except ServiceError as error:
            return self._not_read(job, error, observed_by)
        return self._record(job, observation, observed_by)

    def _first_look(self, job: TrackedJob, observed_by: str) -> ReconcileResult:
        """Look at a job of which its item says nothing: perhaps it was put again.

        Then it goes on from its history, and what its item had pending is pending again.
        """
        records = self.history.records(job.job_arn)
        if not job.backfilled:
            # The index does not say it, and it decides on every event of the job.
            found = self.jobs.find(job.job_arn)
            if found is not None and isinstance(found.job, TrackedJob):
                job = replace(job, backfilled=found.job.backfilled)
        job = self._with_outbox(job)
        if not records:
            return self._read(job, observed_by)
        if records[-1].last.event_id is not None:
            # Bedrock is not asked: it may no longer return the job.
            return self._restore(job, records, records[-1])
        try:
            observation = self.bedrock.get(job.job_arn)
        except ServiceError as error:
            if error.is_retryable:
                return self._not_read(job, error, observed_by)
            restored = self._continue(job, records, None, observed_by)
            return replace(restored, errors=(*restored.errors, error.code))
        seen = self._continue(job, records, observation, observed_by)
        return self._as_read(job, observation, seen)

    def _with_outbox(self, job: TrackedJob) -> TrackedJob:
        """The job with what only the outbox knows: its item was put again, or restored."""
        kept = self.outbox.entries(job.job_arn)
        return replace(
            job,
            carried_events=kept.events,
            carries_tasks=kept.has_tasks and job.task_revision == 0,
        )

    def _record(
        self, job: TrackedJob, observation: JobObservation, observed_by: str
    ) -> ReconcileResult:
        seen = self._apply(job, observation, observed_by)
        return self._as_read(job, observation, seen)

    def _as_read(
        self, job: TrackedJob, observation: JobObservation, seen: ReconcileResult
    ) -> ReconcileResult:
        self.failing_since.pop(job.job_arn, None)
        return replace(
            seen, was_read=True, unknown_status=not statuses.is_known(observation.status)
        )

    def _not_read(self, job: TrackedJob, error: ServiceError, observed_by: str) -> ReconcileResult:
        """Note a refusal at once, and what may pass once it has lasted; only polls count."""
        now, is_poll = self.clock(), observed_by == OBSERVED_BY_POLL
        noted = JobError(error.reason, bounded(error.message))
        if error.is_refusal:
            self.failing_since.pop(job.job_arn, None)
            if self._has_ended_in_history(job):
                return replace(self._catch_up(job, None, observed_by), errors=(error.code,))
            found = unreadable(job, noted, now=now, rules=self.rules, counts=is_poll)
            seen = self._record_unreadable(job, noted, found)
            return replace(seen, errors=(error.code,), refused=error.reason not in _ABOUT_ONE_JOB)
        if not is_poll:
            return ReconcileResult(errors=(error.code,), try_again=True)
        since = plausible(job.failing_since, now) or self.failing_since.setdefault(job.job_arn, now)
        finding = failing(job, noted, since=since, now=now)
        seen = ReconcileResult(is_unreachable=job.unreachable_since is not None)
        if isinstance(finding, Failing):
            written = self.jobs.record_failing(finding.since, expected=job)
            seen = ReconcileResult(is_conflict=written is not WriteOutcome.DONE)
        elif finding is not None or is_given_up(job, now):
            seen = self._record_unreadable(job, noted, finding)
        return replace(seen, errors=(error.code,), try_again=True)

    def _has_ended_in_history(self, job: TrackedJob) -> bool:
        """Whether the history has the end of a job of which Bedrock knows nothing.

        Then the jobs table was restored to an earlier point.
        """
        if job.sequence == 0:
            return False
        records = self.history.records(job.job_arn)
        return bool(records) and statuses.is_terminal(records[-1].last.status)

    # Items that say why a job is not followed

    def _record_item_error(
        self, job_arn: str, problem: JobError, noted: JobError | None
    ) -> ReconcileResult:
        """Note once what is wrong with an item for which Bedrock is never asked."""
        lost = False
        if noted is None or noted.code != problem.code:
            lost = self.jobs.record_error(job_arn, problem, self.clock()) is not WriteOutcome.DONE
        return ReconcileResult(errors=(f"Item.{problem.code}",), is_conflict=lost)

    def _never_asked(self, job: TrackedJob, problem: JobError) -> ReconcileResult:
        if is_given_up(job, self.clock()):
            return replace(self._give_up(job, problem), errors=(f"Item.{problem.code}",))
        return self._record_item_error(job.job_arn, problem, job.last_error)

    def _record_unreadable(
        self, job: TrackedJob, error: JobError, found: Unreadable | None
    ) -> ReconcileResult:
        now = self.clock()
        if is_given_up(job, now):
            return self._give_up(job, error)
        if found is None:
            return ReconcileResult(is_unreachable=job.unreachable_since is not None)
        is_unreachable = found.unreachable_since is not None
        # A job that is there for the history alone has no events.
        begins = is_unreachable and job.unreachable_since is None and not job.backfilled
        pending_event = pending_unreachable(job.sequence, now=now) if begins else None
        written = self.jobs.record_unreadable(
            found, expected=job, now=now, pending_event=pending_event
        )
        if written is not WriteOutcome.DONE:
            return ReconcileResult(is_unreachable=is_unreachable, is_conflict=True)
        return ReconcileResult(
            is_unreachable=is_unreachable,
            events=self._events_of_episode(job, pending_event),
            never_readable=((job.job_arn, error.code),) if begins and job.sequence == 0 else (),
        )

    def _give_up(self, job: TrackedJob, error: JobError) -> ReconcileResult:
        error = replace(
            error,
            message=bounded(
                "untracked, because the job could not be read for seven days; the last error was: "
                + error.message
            ),
        )
        written = self.jobs.give_up(job, error, self.clock())
        return ReconcileResult(
            given_up=written is WriteOutcome.DONE, is_conflict=written is not WriteOutcome.DONE
        )

    def _events_of_episode(
        self, job: TrackedJob, pending_event: PendingEvent | None
    ) -> tuple[MonitorEvent, ...]:
        """The event of an episode that has just begun, with what the item says by now."""
        stored = None if pending_event is None else self.jobs.get(job.job_arn)
        if (
            stored is None
            or pending_event is None
            or str(pending_event) not in stored.pending_events
        ):
            return ()
        return (episode_event(stored, pending_event, with_message=self.rules.record_messages),)

    # Answers

    def _normalized(self, job: TrackedJob, observation: JobObservation) -> JobObservation:
        return normalized(job, observation, self.clock(), with_message=self.rules.record_messages)

    def _apply(
        self, job: TrackedJob, observation: JobObservation, observed_by: str
    ) -> ReconcileResult:
        now = self.clock()
        observation = self._normalized(job, observation)
        decision = decide(
            job,
            observation,
            now=now,
            observed_by=observed_by,
            rules=self.rules,
        )
        if isinstance(decision, Outdated):
            return ReconcileResult(outdated=True)
        if isinstance(decision, Refresh):
            return self._refresh(job, decision, observation, now)
        if isinstance(decision, Stalled):
            pending_event = pending_stalled(job, since=decision.since, now=now)
            written = self.jobs.record_stalled(
                decision.since, expected=job, now=now, pending_event=pending_event
            )
            if written is not WriteOutcome.DONE:
                return ReconcileResult(is_conflict=True)
            events = self._events_of_episode(job, pending_event)
            return ReconcileResult(
                is_stalled=True, is_at_risk=is_at_risk(job, self.rules), events=events
            )
        if isinstance(decision, Transition):
            return self._move(job, decision, observation, observed_by)
        return ReconcileResult(
            is_stalled=job.stalled_since is not None, is_at_risk=is_at_risk(job, self.rules)
        )

    def _refresh(
        self, job: TrackedJob, decision: Refresh, observation: JobObservation, now: datetime
    ) -> ReconcileResult:
        at_risk = decision.at_risk_since is not None
        if not decision.counts_moved:
            at_risk = is_at_risk(job, self.rules)
        begins = at_risk and job.at_risk_since is None
        observation = replace(observation, counts=observation.counts.not_below(job.counts))
        expiration = observation.job_expiration_time
        pending_event = (
            pending_at_risk(job.sequence, decision.estimate, expiration, now=now)
            if begins
            else None
        )
        written = self.jobs.refresh(
            observation, expected=job, now=now, refresh=decision, pending_event=pending_event
        )
        if written is not WriteOutcome.DONE:
            return ReconcileResult(is_conflict=True)
        return ReconcileResult(
            is_at_risk=at_risk, events=self._events_of_episode(job, pending_event)
        )

    def _recognize_end(self, job: TrackedJob, observed_by: str) -> ReconcileResult:
        """Record the end of a job whose status was not known as terminal when it was recorded."""
        stored = self.jobs.get(job.job_arn)
        if stored is None or stored.record is None:
            return ReconcileResult(is_conflict=True)
        observation = self._normalized(job, stored.record.observation)
        decision = decide(
            job, observation, now=self.clock(), observed_by=observed_by, rules=self.rules
        )
        if not isinstance(decision, Transition):
            return ReconcileResult(is_conflict=True)
        return self._move(job, decision, observation, observed_by)

    def _move(
        self,
        job: TrackedJob,
        transition: Transition,
        observation: JobObservation,
        observed_by: str,
    ) -> ReconcileResult:
        if transition.is_terminal and job.sequence > 0 and job.task_revision == 0:
            # Of an item that was restored, only the outbox knows that tasks wait for the end.
            job = self._with_outbox(job)
        written, seen = self._write(job, transition, observation)
        if written is WriteOutcome.CONFLICT and transition.is_terminal:
            # The index may be late about tasks that wait for the end: look, and write once more.
            found = self.jobs.find(job.job_arn)
            now_there = None if found is None else found.job
            if isinstance(now_there, InvalidItem):
                return self._record_item_error(job.job_arn, now_there.error, now_there.last_error)
            if now_there is not None and _is_other_end(now_there, job):
                job = replace(
                    job,
                    task_revision=now_there.task_revision,
                    backfilled=now_there.backfilled,
                    carries_tasks=job.carries_tasks and now_there.task_revision == 0,
                )
                is_quiet = job.backfilled and job.sequence == 0
                transition = replace(
                    transition, entry=replace(transition.entry, backfilled=is_quiet)
                )
                written, seen = self._write(job, transition, observation)
        if written is WriteOutcome.HISTORY_AHEAD:
            return self._catch_up(job, observation, observed_by)
        return seen

    # What the history knows and the item does not

    def _catch_up(
        self, job: TrackedJob, observation: JobObservation | None, observed_by: str
    ) -> ReconcileResult:
        """Go on from the history of a job whose item knows less."""
        records = self.history.records(job.job_arn)
        if not records or records[-1].last.sequence <= job.sequence:
            return ReconcileResult(is_conflict=True)
        return self._continue(self._with_outbox(job), records, observation, observed_by)

    def _continue(
        self,
        job: TrackedJob,
        records: Sequence[JobRecord],
        observation: JobObservation | None,
        observed_by: str,
    ) -> ReconcileResult:
        """Record what is new after the last entry of the history, or restore that entry.

        `observation` is None where Bedrock does not return the job.
        """
        last = records[-1]
        recorded = tracked_from_history(job.job_arn, tuple(record.last for record in records))
        if recorded.has_ended:
            return self._restore(job, records, last)
        if recorded.has_terminal_status and observation is None:
            observation = last.observation
        first = recorded.first_in_progress_at
        if observation is None:
            return self._restore(job, records, replace(last, first_in_progress_at=first))
        observation = self._normalized(recorded, observation)
        decision = decide(
            recorded, observation, now=self.clock(), observed_by=observed_by, rules=self.rules
        )
        if isinstance(decision, Transition):
            return self._write(job, decision, observation, earlier=records)[1]
        if isinstance(decision, Outdated):
            observation = last.observation
        restored = JobRecord(with_status_of(observation, last.last), last.last, first)
        return self._restore(job, records, restored)

    def _restore(
        self, job: TrackedJob, records: Sequence[JobRecord], record: JobRecord
    ) -> ReconcileResult:
        """Put back what the history says last.

        The item that was there before may have had pending events, so they are pending again: the
        same events, with the same ids.
        """
        entry = record.last
        has_tasks = job.task_revision > 0 or job.carries_tasks
        pending_events = job.carried_events | pending_for(
            (each.last for each in records),
            emit_status_changes=self.rules.emit_status_changes,
            has_tasks=has_tasks,
        )
        follow_up = None if self.usage is None else self.usage.follow_up(entry)
        written = self.jobs.restore(
            record, expected=job, pending_events=pending_events, follow_up=follow_up
        )
        if written is not WriteOutcome.DONE:
            return ReconcileResult(is_conflict=True)
        return ReconcileResult(
            events=self._event_of(record, pending_events),
            callbacks=self._callbacks(job, record, pending_events),
        )

    # Writes

    def _write(
        self,
        job: TrackedJob,
        transition: Transition,
        observation: JobObservation,
        earlier: Sequence[JobRecord] = (),
    ) -> tuple[WriteOutcome, ReconcileResult]:
        entry, follow_up = transition.entry, None
        observation = replace(observation, counts=entry.counts)
        if self.usage is not None and transition.is_terminal:
            reading = self.usage.at_end(observation, entry)
            entry, follow_up = replace(entry, usage=reading.usage), reading.follow_up
            transition = replace(transition, entry=entry)
        pending_events = job.carried_events | pending_for(
            (*(record.last for record in earlier), entry),
            emit_status_changes=self.rules.emit_status_changes,
            has_tasks=job.task_revision > 0 or job.carries_tasks,
        )
        written = self.jobs.record(
            transition,
            observation,
            expected=job,
            pending_events=pending_events,
            follow_up=follow_up,
        )
        if written is not WriteOutcome.DONE:
            return written, ReconcileResult(is_conflict=True)
        record = JobRecord(observation, entry, transition.first_in_progress_at)
        return written, ReconcileResult(
            entry=entry,
            record=record,
            events=self._event_of(record, pending_events),
            callbacks=self._callbacks(job, record, pending_events),
            backfilled=entry.backfilled,
        )

    def _event_of(
        self, record: JobRecord, pending_events: frozenset[str]
    ) -> tuple[MonitorEvent, ...]:
        event = status_event(
            record, record.last, all_pending=pending_events, with_message=self.rules.record_messages
        )
        return (event,) if event.pending_event in pending_events else ()

    def _callbacks(
        self, job: TrackedJob, record: JobRecord, pending_events: frozenset[str]
    ) -> PendingCallbacks | None:
        pending_event = str(pending_callbacks(record.last.sequence))
        if pending_event not in pending_events:
            return None
        revision = job.task_revision + job.carries_tasks
        return PendingCallbacks(record, pending_event, revision, due=record.last.observed_at)


def _is_other_end(found: TrackedJob, known: TrackedJob) -> bool:
    """Whether a job is where it was, and only tasks or the backfilled flag are others."""
    differs = (found.task_revision, found.backfilled) != (known.task_revision, known.backfilled)
    return differs and found.sequence == known.sequence


def loggable(record: JobRecord) -> dict[str, Any]:
    """What a log line tells of a transition: never its message, which can hold customer data.

    The dashboard's queries read these fields. `ended` names the status of an ending as a key, for a
    query can count in how many lines a key is, and cannot tell values apart in one series each.
    """
    entry = record.last
    has_ended = statuses.is_terminal(entry.status)
    counts = {
        "total": entry.counts.total,
        "processed": entry.counts.processed,
        "success": entry.counts.success,
        "error": entry.counts.error,
    }
    fields = {
        "jobArn": entry.job_arn,
        "sequence": entry.sequence,
        "status": entry.status,
        "previousStatus": entry.previous_status,
        "changedAt": None if entry.changed_at is None else to_iso(entry.changed_at),
        "modelId": entry.model_id,
        "latencySeconds": seconds_between(entry.changed_at, entry.observed_at),
        "ended": {entry.status: 1} if has_ended else None,
        "durations": durations(record) if has_ended else None,
        "records": {name: count for name, count in counts.items() if count is not None},
    }
    return {name: value for name, value in fields.items() if value not in (None, {})}
