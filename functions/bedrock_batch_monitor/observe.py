"""Looks at one job and records what it sees: the one path that every observation takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn, Scope
from bedrock_batch_monitor.domain.episodes import is_at_risk, is_due, unreadable
from bedrock_batch_monitor.domain.events import (
    Mark,
    MonitorEvent,
    at_risk_mark,
    durations,
    episode_event,
    marks_for,
    stalled_mark,
    status_event,
    unreachable_mark,
)
from bedrock_batch_monitor.domain.jobs import (
    JobError,
    JobObservation,
    JobRecord,
    TrackedJob,
    tracked_from_history,
    with_status_of,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import Seen
from bedrock_batch_monitor.domain.tasks import TaskAnswer, answer_of, marks_of
from bedrock_batch_monitor.domain.times import seconds_between, to_iso
from bedrock_batch_monitor.domain.transitions import (
    Outdated,
    Refresh,
    Stalled,
    Transition,
    decide,
)
from bedrock_batch_monitor.services.dynamodb import HistoryTable, InvalidItem, JobsTable, Written
from bedrock_batch_monitor.services.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bedrock_batch_monitor.services.bedrock import BatchInferenceJobs
    from bedrock_batch_monitor.usage import UsageReader


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads jobs of one scope and records what changed; safe to use from many threads."""

    scope: Scope
    monitored: Scopes
    bedrock: BatchInferenceJobs
    jobs: JobsTable
    history: HistoryTable
    clock: Callable[[], datetime]
    rules: Rules
    usage: UsageReader | None = None

    def hurried(self) -> Observer:
        """Give the same observer for when there is no time to wait for what a job used."""
        return self if self.usage is None else replace(self, usage=self.usage.hurried())

    def look_at(self, job: TrackedJob | InvalidItem, *, observed_by: str) -> Seen:
        """Handle one item of the active-jobs index; raises nothing that a service can cause."""
        try:
            if isinstance(job, InvalidItem):
                return self._refused(job.job_arn, job.error, job.last_error)
            if job.has_ended:
                self.jobs.stop_tracking(job)
                return Seen()
            if (problem := self._out_of_reach(job.job_arn)) is not None:
                return self._refused(job.job_arn, problem, job.last_error)
            return self._read(job, observed_by)
        except ServiceError as error:
            return Seen(errors=(error.code,), try_again=not error.is_permanent)

    def is_due(self, job: TrackedJob | InvalidItem) -> bool:
        """Whether to look at a job in this poll; an unreachable one is looked at now and then."""
        if isinstance(job, InvalidItem):
            return True
        return is_due(job, now=self.clock(), rules=self.rules)

    def may_be_got(self, job: TrackedJob | InvalidItem) -> bool:
        """Whether a look at this job calls Bedrock: it has not ended, and belongs here."""
        if isinstance(job, InvalidItem) or job.has_ended:
            return False
        return self._out_of_reach(job.job_arn) is None

    def _out_of_reach(self, job_arn: str) -> JobError | None:
        try:
            scope = JobArn.parse(job_arn).scope
        except InvalidJobArnError as error:
            return JobError("InvalidJobArn", f"{error}: delete the item and track the right ARN")
        if scope != self.scope:
            return JobError(
                "NotMonitored",
                f"the job belongs to {scope}, this deployment monitors {self.monitored}: name it "
                "in the settings `accounts` and `regions`, or track the job with a monitor there",
            )
        return None

    def _read(self, job: TrackedJob, observed_by: str) -> Seen:
        try:
            observation = self.bedrock.get(job.job_arn)
        except ServiceError as error:
            if not error.is_permanent:
                raise
            return replace(
                self._unreadable(job, JobError(error.reason, error.message)), errors=(error.code,)
            )
        if not self.rules.record_messages:
            observation = replace(observation, message=None)
        return replace(
            self._record(job, observation, observed_by),
            was_read=True,
            last_modified_time=observation.last_modified_time,
            unknown_status=not statuses.is_known(observation.status),
        )

    def _refused(self, job_arn: str, problem: JobError, noted: JobError | None) -> Seen:
        """Note once what is wrong with an item that is never asked for."""
        if noted is None or noted.code != problem.code:
            self.jobs.note_error(job_arn, problem, self.clock())
        return Seen(errors=(f"Item.{problem.code}",))

    def _unreadable(self, job: TrackedJob, error: JobError) -> Seen:
        now = self.clock()
        found = unreadable(job, error, now=now, rules=self.rules)
        if found is None:
            return Seen(is_unreachable=True)
        is_unreachable = found.unreachable_since is not None
        # A job that is there for the history alone has no events.
        begins = is_unreachable and job.unreachable_since is None and not job.backfilled
        mark = unreachable_mark(job.sequence, now=now) if begins else None
        written = self.jobs.note_unreadable(found, known=job, now=now, mark=mark)
        if written is not Written.DONE:
            return Seen(is_unreachable=is_unreachable, lost_race=True)
        return Seen(is_unreachable=is_unreachable, events=self._events_of_episode(job, mark))

    def _events_of_episode(self, job: TrackedJob, mark: Mark | None) -> tuple[MonitorEvent, ...]:
        """The event of an episode that has just begun, told from what the item says by now."""
        stored = None if mark is None else self.jobs.get(job.job_arn)
        return () if mark is None or stored is None else (episode_event(stored, mark),)

    def _record(self, job: TrackedJob, observation: JobObservation, observed_by: str) -> Seen:
        now = self.clock()
        decision = decide(
            job,
            observation,
            now=now,
            observed_by=observed_by,
            rules=self.rules,
        )
        if isinstance(decision, Outdated):
            return Seen(outdated=True)
        if isinstance(decision, Refresh):
            return self._refresh(job, decision, observation, now)
        if isinstance(decision, Stalled):
            mark = stalled_mark(job, since=decision.since, now=now)
            written = self.jobs.note_stalled(decision.since, known=job, now=now, mark=mark)
            if written is not Written.DONE:
                return Seen(lost_race=True)
            events = self._events_of_episode(job, mark)
            return Seen(is_stalled=True, is_at_risk=is_at_risk(job, self.rules), events=events)
        if isinstance(decision, Transition):
            return self._move(job, decision, observation, observed_by)
        return Seen(
            is_stalled=job.stalled_since is not None, is_at_risk=is_at_risk(job, self.rules)
        )

    def _refresh(
        self, job: TrackedJob, decision: Refresh, observation: JobObservation, now: datetime
    ) -> Seen:
        at_risk = decision.at_risk_since is not None
        if not decision.counts_moved:
            at_risk = is_at_risk(job, self.rules)
        begins = at_risk and job.at_risk_since is None
        expiration = observation.job_expiration_time
        mark = (
            at_risk_mark(job.sequence, decision.estimate, expiration, now=now) if begins else None
        )
        written = self.jobs.refresh(observation, known=job, now=now, refresh=decision, mark=mark)
        if written is not Written.DONE:
            return Seen(lost_race=True)
        return Seen(is_at_risk=at_risk, events=self._events_of_episode(job, mark))

    def _move(
        self,
        job: TrackedJob,
        transition: Transition,
        observation: JobObservation,
        observed_by: str,
    ) -> Seen:
        written, seen = self._write(job, transition, observation)
        if written is Written.LOST_RACE and transition.is_terminal:
            # The index does not tell who waits for the end: look, and write once more.
            found = self.jobs.find(job.job_arn)
            now_there = None if found is None else found.job
            if isinstance(now_there, InvalidItem):
                return self._refused(job.job_arn, now_there.error, now_there.last_error)
            if now_there is not None and _is_other_end(now_there, job):
                job = replace(job, tasks=now_there.tasks, backfilled=now_there.backfilled)
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
            rules=self.rules,
        )
        if isinstance(decision, Transition):
            return self._write(job, decision, observation)[1]
        if isinstance(decision, Outdated):
            # An answer from before the last entry cannot tell what is missing; a later one can.
            return Seen(outdated=True)
        last = entries[-1]
        record = JobRecord(with_status_of(observation, last), last, recorded.first_in_progress_at)
        marks = marks_for(last, emit_status_changes=False)
        follow_up = None if self.usage is None else self.usage.follow_up(last)
        owed = marks | marks_of(job.tasks, last)
        written = self.jobs.restore(record, known=job, marks=owed, follow_up=follow_up)
        if written is not Written.DONE:
            return Seen(lost_race=True)
        return Seen(
            events=(status_event(record, last, owed=owed),) if marks else (),
            answers=self._answers(job, record),
        )

    def _write(
        self, job: TrackedJob, transition: Transition, observation: JobObservation
    ) -> tuple[Written, Seen]:
        entry, follow_up = transition.entry, None
        if self.usage is not None and transition.is_terminal:
            reading = self.usage.at_end(observation, entry)
            entry, follow_up = replace(entry, usage=reading.usage), reading.follow_up
            transition = replace(transition, entry=entry)
        marks = marks_for(
            entry,
            emit_status_changes=self.rules.emit_status_changes,
            backfilled=job.backfilled,
        )
        owed = marks | marks_of(job.tasks, entry)
        written = self.jobs.record(
            transition, observation, known=job, marks=owed, follow_up=follow_up
        )
        if written is not Written.DONE:
            return written, Seen(lost_race=True)
        record = JobRecord(observation, entry, transition.first_in_progress_at)
        return written, Seen(
            entry=entry,
            record=record,
            events=(status_event(record, entry, owed=owed),) if marks else (),
            answers=self._answers(job, record),
            backfilled=job.backfilled and transition.is_first_sight and transition.is_terminal,
        )

    def _answers(self, job: TrackedJob, record: JobRecord) -> tuple[TaskAnswer, ...]:
        """What the tasks that waited for this end are to be told; those unreadable stay marked."""
        if not statuses.is_terminal(record.last.status):
            return ()
        return tuple(answers_to(job.tasks, record, due=record.last.observed_at))


def answers_to(tasks: Iterable[str], record: JobRecord, *, due: datetime) -> Iterator[TaskAnswer]:
    """The answers to those tasks that the monitor wrote; others are counted by the next poll."""
    for task in tasks:
        with suppress(ValueError):
            yield answer_of(record, task, due=due)


def _is_other_end(found: TrackedJob, known: TrackedJob) -> bool:
    """Whether a job is where it was, and only who waits for its end is another."""
    there = (found.tasks, found.backfilled) != (known.tasks, known.backfilled)
    return there and found.sequence == known.sequence


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
