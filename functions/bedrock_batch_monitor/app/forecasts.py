"""Forecasts for jobs that wait and have a deadline, from the jobs of their model that completed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from bedrock_batch_monitor.adapters.dynamodb.job_items import KEYS_PER_CALL
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import scope_of
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
# How many jobs one call calculates: each takes a millisecond of CPU time at most.
MOST_CALCULATED: Final = 1000


@dataclass(frozen=True, slots=True)
class QueueRisks:
    """What the forecast says of the jobs that it was asked for, and the errors of its reads."""

    by_job: Mapping[str, QueueRisk] = field(default_factory=dict)
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    """A result, and what it rests on: the list of that time, the deadline, the record count."""

    listed_at: datetime | None
    deadline: datetime
    records: int | None
    risk: QueueRisk


class _Waiting(NamedTuple):
    """A job that waits, and its times."""

    job: TrackedJob
    submitted: datetime
    deadline: datetime


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
    _risks: dict[str, _Known] = field(default_factory=dict)

    def queue_risks(
        self, active: Mapping[str, TrackedJob], has_time: Callable[[], bool]
    ) -> QueueRisks:
        """From when on each job that waits will probably miss its deadline.

        A job is missing if it has no deadline. It is also missing until there is time to read what
        its forecast rests on, and until a call calculates it: each calculates `MOST_CALCULATED`.
        Until a job is calculated again from newer jobs, its earlier result counts. Raises nothing
        that a service can cause.
        """
        now = self.clock()
        waiting = _waiting(active, now)
        self._risks = {arn: known for arn, known in self._risks.items() if arn in waiting}
        risks: dict[str, QueueRisk] = {}
        if not waiting or not has_time():
            return QueueRisks()
        budget = MOST_CALCULATED
        try:
            self.models.read(waiting.keys(), has_time)
            if not self._list(now, has_time):
                return QueueRisks()
            for arn, each in waiting.items():
                model = self.models.by_job.get(arn)
                if model == "":
                    # As with too few completed jobs: a risk of before could never end otherwise.
                    risks[arn] = QueueRisk()
                    continue
                if model is not None and budget and not self._is_current(each):
                    budget -= self._calculate(each, model, has_time)
                known = self._risks.get(arn)
                if model is not None and known is not None and known.deadline == each.deadline:
                    risks[arn] = known.risk
        except ServiceError as error:
            return QueueRisks(risks, (error.code,))
        return QueueRisks(risks)

    def _is_current(self, waiting: _Waiting) -> bool:
        known = self._risks.get(waiting.job.job_arn)
        return known is not None and (known.listed_at, known.deadline, known.records) == (
            self._listed_at,
            waiting.deadline,
            waiting.job.counts.total,
        )

    def _calculate(self, waiting: _Waiting, model: str, has_time: Callable[[], bool]) -> bool:
        """Calculate the risk of a job; whether there was time for it."""
        forecaster = self._forecaster(short_model_id(model), has_time)
        if forecaster is None or not has_time():
            return False
        job, records = waiting.job, waiting.job.counts.total
        risk = forecaster.queue_risk(records, waiting.submitted, waiting.deadline)
        self._risks[job.job_arn] = _Known(self._listed_at, waiting.deadline, records, risk)
        return True

    def _list(self, now: datetime, has_time: Callable[[], bool]) -> bool:
        """List the jobs that completed last, unless that was done lately; False without time."""
        listed_at = self._listed_at
        if listed_at is not None and timedelta(0) <= now - listed_at < READ_EVERY:
            return True
        # A job whose end was recorded twice is one job. The values are unused.
        ended: dict[str, dict[str, None]] = {}
        for arn, model_id in self.completed.newest(MOST_ENTRIES):
            if not has_time():
                return False
            if scope_of(arn) == self.scope:
                ended.setdefault(short_model_id(model_id), {})[arn] = None
        # Of a model that waits, jobs that newer ones of other models displaced still count.
        # Otherwise a risk would end, and begin again, because many other jobs completed.
        for model in set(map(short_model_id, self.models.by_job.values())) & self._ended.keys():
            ended.setdefault(model, {}).update(dict.fromkeys(self._ended[model]))
        self._ended = {model: [*arns][:MOST_JOBS] for model, arns in ended.items()}
        self._listed_at = now
        self._forecasters.clear()
        return True

    def _forecaster(self, model: str, has_time: Callable[[], bool]) -> Forecaster | None:
        """What the completed jobs of a model say; None if there is no time to read them."""
        if model not in self._forecasters:
            samples: list[Sample] = []
            arns = self._ended.get(model, [])
            for start in range(0, len(arns), KEYS_PER_CALL):
                if not has_time():
                    return None
                samples += self.completed.samples(arns[start : start + KEYS_PER_CALL])
            forecaster = self._forecasters[model] = Forecaster()
            for sample in sorted(samples, key=lambda each: each.ended):
                # One that ended in the future would count as the newest of all.
                if plausible(sample.ended, self.clock()) is not None:
                    forecaster.keep(sample)
        return self._forecasters[model]


def _waiting(active: Mapping[str, TrackedJob], now: datetime) -> dict[str, _Waiting]:
    """The jobs that wait and have a deadline that is still to come."""
    return {
        arn: _Waiting(job, submitted, deadline)
        for arn, job in active.items()
        if job.status in statuses.WAITING
        and (submitted := plausible(job.submit_time, now)) is not None
        and (deadline := deadline_of(job)) is not None
        and deadline > now
    }
