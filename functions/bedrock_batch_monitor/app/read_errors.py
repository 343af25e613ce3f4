"""Records why a job cannot be read, or why Bedrock is not called for it at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn, Scope, is_job_arn_in
from bedrock_batch_monitor.domain.events import pending_unreachable
from bedrock_batch_monitor.domain.jobs import JobError, TrackedJob, bounded
from bedrock_batch_monitor.domain.read_failures import (
    Failing,
    Unreadable,
    failing,
    is_given_up,
    unreadable,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.summary import ABOUT_ONE_JOB, ReconcileResult
from bedrock_batch_monitor.domain.times import plausible

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
    from bedrock_batch_monitor.adapters.errors import ServiceError
    from bedrock_batch_monitor.app.recording import Recorder


def why_not_monitored(job_arn: str, scope: Scope, monitored: Scopes) -> JobError | None:
    """Why Bedrock is never called for this job in this scope; None if it is."""
    if is_job_arn_in(job_arn, monitored.partition, scope):
        return None
    try:
        arn = JobArn.parse(job_arn)
    except InvalidJobArnError as error:
        return JobError("InvalidJobArn", f"{error}: delete the item and track the right ARN")
    return JobError(
        "NotMonitored",
        f"the job belongs to {arn.partition}, {arn.scope}; this deployment monitors "
        f"{monitored.partition}, {monitored}: name it in the settings `accounts` and `regions`, or "
        "track the job with a monitor there",
    )


@dataclass(frozen=True, slots=True)
class ReadErrors:
    """Writes errors to the items of jobs. All methods raise `ServiceError`.

    `failing_since` has the time of the first read of a job that failed for a reason that can pass,
    since its last successful read.
    """

    writes: TransitionWrites
    recorder: Recorder
    clock: Callable[[], datetime]
    rules: Rules
    failing_since: dict[str, datetime]

    def invalid_item(
        self, job_arn: str, problem: JobError, recorded: JobError | None
    ) -> ReconcileResult:
        """Record once what is wrong with an item for which Bedrock is never called."""
        errors = (f"Item.{problem.code}",)
        if recorded is not None and recorded.code == problem.code:
            return ReconcileResult(errors=errors)
        is_done = self.writes.record_error(job_arn, problem, self.clock()).is_done
        return ReconcileResult(errors=errors, is_conflict=not is_done, newly_unreachable=is_done)

    def not_monitored(self, job: TrackedJob, problem: JobError) -> ReconcileResult:
        """Record why Bedrock is not called for a job, or give the job up."""
        if is_given_up(job, self.clock()):
            return replace(self._give_up(job, problem), errors=(f"Item.{problem.code}",))
        return self.invalid_item(job.job_arn, problem, job.last_error)

    def refused(self, job: TrackedJob, error: ServiceError, *, is_poll: bool) -> ReconcileResult:
        """Record a refusal at once; only polls count."""
        problem = JobError(error.reason, bounded(error.message))
        found = unreadable(job, problem, now=self.clock(), rules=self.rules, counts=is_poll)
        result = self._unreadable(job, problem, found)
        is_general = error.reason not in ABOUT_ONE_JOB
        return replace(result, errors=(error.code,), refused=is_general)

    def failed(self, job: TrackedJob, error: ServiceError, *, is_poll: bool) -> ReconcileResult:
        """Record a failure that can pass, once it has lasted; only polls count."""
        if not is_poll:
            return ReconcileResult(errors=(error.code,), try_again=True)
        now = self.clock()
        problem = JobError(error.reason, bounded(error.message))
        since = plausible(job.failing_since, now) or self.failing_since.setdefault(job.job_arn, now)
        finding = failing(job, problem, since=since, now=now)
        result = ReconcileResult(is_unreachable=job.unreachable_since is not None)
        if isinstance(finding, Failing):
            written = self.writes.record_failing(finding.since, expected=job)
            result = ReconcileResult(is_conflict=not written.is_done)
        elif finding is not None or is_given_up(job, now):
            result = self._unreadable(job, problem, finding)
        return replace(result, errors=(error.code,), try_again=True)

    def _unreadable(
        self, job: TrackedJob, error: JobError, found: Unreadable | None
    ) -> ReconcileResult:
        now = self.clock()
        if is_given_up(job, now):
            return self._give_up(job, error)
        if found is None:
            return ReconcileResult(is_unreachable=job.unreachable_since is not None)
        is_unreachable = found.unreachable_since is not None
        # A job that is recorded for the history alone has no events.
        begins = is_unreachable and job.unreachable_since is None and not job.backfilled
        pending = (pending_unreachable(job.sequence, now=now),) if begins else ()
        written = self.writes.record_unreadable(found, expected=job, now=now, pending=pending)
        if not written.is_done:
            return ReconcileResult(is_unreachable=is_unreachable, is_conflict=True)
        return ReconcileResult(
            is_unreachable=is_unreachable,
            newly_unreachable=is_unreachable and job.unreachable_since is None,
            events=self.recorder.condition_events(job.job_arn, *pending),
            never_readable=((job.job_arn, error.code),) if begins and job.sequence == 0 else (),
        )

    def _give_up(self, job: TrackedJob, error: JobError) -> ReconcileResult:
        message = "untracked, because the job could not be read for seven days; the last error was:"
        error = replace(error, message=bounded(f"{message} {error.message}"))
        is_done = self.writes.give_up(job, error, self.clock()).is_done
        return ReconcileResult(given_up=is_done, is_conflict=not is_done)
