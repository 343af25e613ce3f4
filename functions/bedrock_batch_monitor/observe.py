"""Looks at one job and records what it sees: the one path that every observation takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn, Scope
from bedrock_batch_monitor.domain.events import MonitorEvent, marks_for, status_event
from bedrock_batch_monitor.domain.jobs import (
    JobError,
    JobObservation,
    JobRecord,
    TrackedJob,
    tracked_from_history,
    with_status_of,
)
from bedrock_batch_monitor.domain.transitions import Outdated, Refresh, Transition, decide
from bedrock_batch_monitor.services.dynamodb import HistoryTable, InvalidItem, JobsTable, Written
from bedrock_batch_monitor.services.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bedrock_batch_monitor.domain.jobs import HistoryEntry
    from bedrock_batch_monitor.services.bedrock import BatchInferenceJobs


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of looking at one job.

    `entry` is the transition that was recorded, `events` those that it owes; `errors` are codes of
    the form `<Service>.<error code>`.
    """

    was_read: bool = False
    entry: HistoryEntry | None = None
    events: tuple[MonitorEvent, ...] = ()
    outdated: bool = False
    lost_race: bool = False
    unknown_status: bool = False
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads jobs of one scope and records what changed; safe to use from many threads."""

    scope: Scope
    bedrock: BatchInferenceJobs
    jobs: JobsTable
    history: HistoryTable
    clock: Callable[[], datetime]
    progress_interval: timedelta
    emit_status_changes: bool

    def look_at(self, job: TrackedJob | InvalidItem, *, observed_by: str) -> Seen:
        """Handle one item of the active-jobs index; raises nothing that a service can cause."""
        try:
            if isinstance(job, InvalidItem):
                return self._unreadable(job.job_arn, job.error, job.last_error)
            if job.has_ended:
                self.jobs.stop_tracking(job)
                return Seen()
            if (problem := self._out_of_reach(job.job_arn)) is not None:
                return self._unreadable(job.job_arn, problem, job.last_error)
            return self._read(job, observed_by)
        except ServiceError as error:
            return Seen(errors=(error.code,))

    def _out_of_reach(self, job_arn: str) -> JobError | None:
        try:
            scope = JobArn.parse(job_arn).scope
        except InvalidJobArnError as error:
            return JobError("InvalidJobArn", f"{error}: delete the item and track the right ARN")
        if scope != self.scope:
            return JobError(
                "NotMonitored",
                f"the job belongs to {scope}, this deployment monitors {self.scope}: deploy a "
                "monitor there and track the job with that one",
            )
        return None

    def _read(self, job: TrackedJob, observed_by: str) -> Seen:
        try:
            observation = self.bedrock.get(job.job_arn)
        except ServiceError as error:
            if not error.is_permanent:
                return Seen(errors=(error.code,))
            problem = JobError(error.reason, error.message)
            seen = self._unreadable(job.job_arn, problem, job.last_error)
            return replace(seen, errors=(error.code,))
        return replace(
            self._record(job, observation, observed_by),
            was_read=True,
            unknown_status=not statuses.is_known(observation.status),
        )

    def _unreadable(self, job_arn: str, problem: JobError, noted: JobError | None) -> Seen:
        # Noted once: a job that stays unreadable must not cost a write with every poll.
        if noted is None or noted.code != problem.code:
            self.jobs.note_error(job_arn, problem, self.clock())
        return Seen(errors=(f"Item.{problem.code}",))

    def _record(self, job: TrackedJob, observation: JobObservation, observed_by: str) -> Seen:
        now = self.clock()
        decision = decide(
            job,
            observation,
            now=now,
            observed_by=observed_by,
            progress_interval=self.progress_interval,
        )
        if isinstance(decision, Outdated):
            return Seen(outdated=True)
        if isinstance(decision, Refresh):
            written = self.jobs.refresh(observation, known=job, now=now)
            return Seen(lost_race=written is Written.LOST_RACE)
        if isinstance(decision, Transition):
            return self._move(job, decision, observation, observed_by)
        return Seen()

    def _move(
        self,
        job: TrackedJob,
        transition: Transition,
        observation: JobObservation,
        observed_by: str,
    ) -> Seen:
        written, seen = self._write(job, transition, observation)
        if written is Written.HISTORY_AHEAD:
            return self._catch_up(job, observation, observed_by)
        return seen

    def _catch_up(self, job: TrackedJob, observation: JobObservation, observed_by: str) -> Seen:
        """Go on from the history where a job's item was put anew over what had been recorded.

        The item that was there before may have owed the event of the job's end, so it is owed
        again: the same event, with the same id.
        """
        entries = self.history.entries(job.job_arn)
        if not entries:
            return Seen(lost_race=True)
        recorded = tracked_from_history(job.job_arn, entries)
        decision = decide(
            recorded,
            observation,
            now=self.clock(),
            observed_by=observed_by,
            progress_interval=self.progress_interval,
        )
        if isinstance(decision, Transition):
            return self._write(job, decision, observation)[1]
        last = entries[-1]
        record = JobRecord(with_status_of(observation, last), last, recorded.first_in_progress_at)
        marks = marks_for(last, emit_status_changes=False)
        if self.jobs.restore(record, known=job, marks=marks) is not Written.DONE:
            return Seen(lost_race=True)
        return Seen(events=(status_event(record, last),) if marks else ())

    def _write(
        self, job: TrackedJob, transition: Transition, observation: JobObservation
    ) -> tuple[Written, Seen]:
        entry = transition.entry
        marks = marks_for(entry, emit_status_changes=self.emit_status_changes)
        written = self.jobs.record(transition, observation, known=job, marks=marks)
        if written is not Written.DONE:
            return written, Seen(lost_race=True)
        record = JobRecord(observation, entry, transition.first_in_progress_at)
        return written, Seen(entry=entry, events=(status_event(record, entry),) if marks else ())
