"""Forecasts for jobs that wait and have a deadline, from the jobs of their model that completed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.dynamodb.job_items import KEYS_PER_CALL
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import JobArn, is_job_arn
from bedrock_batch_monitor.domain.forecast import MOST_JOBS, Forecaster, QueueRisk
from bedrock_batch_monitor.domain.owners import deadline_of
from bedrock_batch_monitor.domain.times import plausible
from bedrock_batch_monitor.domain.token_usage import short_model_id

if TYPE_CHECKING:
    from bedrock_batch_monitor.adapters.dynamodb.completed_jobs import CompletedJobs
    from bedrock_batch_monitor.app.models import Models
    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor.domain.forecast import Sample
    from bedrock_batch_monitor.domain.jobs import TrackedJob

# How long the list of completed jobs counts as known.
READ_EVERY: Final = timedelta(hours=1)
# How many of them are listed.
MOST_ENTRIES: Final = 1000


@dataclass(frozen=True, slots=True)
class QueueRisks:
    """What the forecast says of the jobs that it was asked for, and the errors of its reads."""

    by_job: Mapping[str, QueueRisk] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


@dataclass(slots=True)
class Forecasts:
    """Forecasts for one scope; what they rest on lasts as long as the execution environment.

    Nothing is stored for them, and nothing is read while no job with a deadline waits.
    """

    scope: Scope
    models: Models
    completed: CompletedJobs
    clock: Callable[[], datetime]
    _listed_at: datetime | None = None
    # The jobs that completed last, by model, the newest first.
    _ended: dict[str, list[str]] = field(default_factory=dict)
    _forecasters: dict[str, Forecaster] = field(default_factory=dict)
    # By job: what the result rests on, and the result.
    _risks: dict[str, tuple[tuple[datetime, int | None], QueueRisk]] = field(default_factory=dict)

    def queue_risks(
        self, active: Mapping[str, TrackedJob], has_time: Callable[[], bool]
    ) -> QueueRisks:
        """From when on each job that waits will probably miss its deadline.

        A job is missing if it has no deadline or no known model, and from the moment on when there
        is no more time. Raises nothing that a service can cause.
        """
        now = self.clock()
        waiting = {
            arn: (job, submitted, deadline)
            for arn, job in active.items()
            if job.status in statuses.WAITING
            and (submitted := plausible(job.submit_time, now)) is not None
            and (deadline := deadline_of(job)) is not None
            and deadline > now
        }
        self._risks = {arn: risk for arn, risk in self._risks.items() if arn in waiting}
        risks: dict[str, QueueRisk] = {}
        if not waiting or not has_time():
            return QueueRisks()
        try:
            self.models.read(waiting.keys(), has_time)
            self._list(now)
            for arn, (job, submitted, deadline) in waiting.items():
                model = short_model_id(self.models.by_job.get(arn, ""))
                forecaster = self._forecaster(model, has_time) if model else None
                if forecaster is not None:
                    risks[arn] = self._risk_of(job, forecaster, submitted, deadline)
        except ServiceError as error:
            return QueueRisks(risks, (error.code,))
        return QueueRisks(risks)

    def _risk_of(
        self, job: TrackedJob, forecaster: Forecaster, submitted: datetime, deadline: datetime
    ) -> QueueRisk:
        basis = (deadline, job.counts.total)
        known = self._risks.get(job.job_arn)
        if known is None or known[0] != basis:
            risk = forecaster.queue_risk(job.counts.total, submitted, deadline)
            known = self._risks[job.job_arn] = (basis, risk)
        return known[1]

    def _list(self, now: datetime) -> None:
        """List the jobs that completed last, unless that was done lately."""
        listed_at = self._listed_at
        if listed_at is not None and timedelta(0) <= now - listed_at < READ_EVERY:
            return
        ended: dict[str, list[str]] = {}
        for arn, model_id in self.completed.newest(MOST_ENTRIES):
            if is_job_arn(arn) and JobArn.parse(arn).scope == self.scope:
                ended.setdefault(short_model_id(model_id), []).append(arn)
        self._ended, self._listed_at = ended, now
        self._forecasters.clear()
        self._risks.clear()

    def _forecaster(self, model: str, has_time: Callable[[], bool]) -> Forecaster | None:
        """What the completed jobs of a model say; None if there is no time to read them."""
        if model not in self._forecasters:
            samples: list[Sample] = []
            arns = self._ended.get(model, [])[:MOST_JOBS]
            for start in range(0, len(arns), KEYS_PER_CALL):
                if not has_time():
                    return None
                samples += self.completed.samples(arns[start : start + KEYS_PER_CALL])
            forecaster = self._forecasters[model] = Forecaster()
            for sample in sorted(samples, key=lambda each: each.ended):
                forecaster.add(sample)
        return self._forecasters[model]
