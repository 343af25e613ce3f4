"""The usage of jobs (records, tokens, estimated cost), summed by model and by day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Self

from bedrock_batch_monitor.domain.token_usage import short_model_id
from bedrock_batch_monitor.presentation.job_view import Job

_UNKNOWN: Final = "unknown"
_MILLIONTH: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over jobs. A sum leaves out jobs without the value; it is None if no job has it."""

    jobs: int = 0
    records: int | None = None
    failed_records: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    estimated_cost_usd: Decimal | None = None
    jobs_without_tokens: int = 0
    jobs_without_cost: int = 0

    @classmethod
    def of(cls, job: Job) -> Self:
        """The usage of one job."""
        cost = None if job.dollars is None else Decimal(str(job.dollars)).quantize(_MILLIONTH)
        return cls(
            jobs=1,
            records=job.processed,
            failed_records=job.failed,
            input_tokens=job.input_tokens,
            output_tokens=job.output_tokens,
            estimated_cost_usd=cost,
            jobs_without_tokens=int(job.input_tokens is None and job.output_tokens is None),
            jobs_without_cost=int(cost is None),
        )

    @classmethod
    def of_all(cls, totals: Iterable[Totals]) -> Totals:
        """The sum of several totals."""
        return sum(totals, Totals())

    @property
    def has_tokens(self) -> bool:
        """Whether a token count of any job is known."""
        return self.input_tokens is not None or self.output_tokens is not None

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.jobs + other.jobs,
            _sum(self.records, other.records),
            _sum(self.failed_records, other.failed_records),
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
            _sum(self.estimated_cost_usd, other.estimated_cost_usd),
            self.jobs_without_tokens + other.jobs_without_tokens,
            self.jobs_without_cost + other.jobs_without_cost,
        )

    def as_json(self) -> dict[str, Any]:
        """The document of `bbm usage`: sums by the attribute names, without unknown sums."""
        cost = self.estimated_cost_usd
        tokens = {"input": self.input_tokens, "output": self.output_tokens}
        known = {
            "records": self.records,
            "tokens": {side: count for side, count in tokens.items() if count is not None} or None,
            "estimatedCostUsd": None if cost is None else float(cost),
        }
        return {
            "jobs": self.jobs,
            **{name: value for name, value in known.items() if value is not None},
            "jobsWithoutTokens": self.jobs_without_tokens,
            "jobsWithoutCost": self.jobs_without_cost,
        }


@dataclass(frozen=True, slots=True, order=True)
class ModelDay:
    """A day in UTC, and a model by the id at the end of its ARN."""

    day: str
    model_id: str


def by_model_and_day(ended: Iterable[Job]) -> tuple[tuple[ModelDay, Totals], ...]:
    """The usage of ended jobs by the day on which they ended and by model, the newest day first."""
    found: dict[ModelDay, Totals] = {}
    for job in ended:
        day = _UNKNOWN if job.ended is None else job.ended.date().isoformat()
        group = ModelDay(day, short_model_id(job.model or _UNKNOWN))
        found[group] = found.get(group, Totals()) + Totals.of(job)
    by_model_id = sorted(found.items(), key=lambda each: each[0].model_id)
    return tuple(sorted(by_model_id, key=lambda each: each[0].day, reverse=True))


def by_model(jobs: Iterable[Job], unknown_model: str) -> tuple[tuple[str, Totals], ...]:
    """The usage of jobs by model id, the model with the most records first."""
    found: dict[str, Totals] = {}
    for job in jobs:
        model = job.model or unknown_model
        found[model] = found.get(model, Totals()) + Totals.of(job)
    return tuple(sorted(found.items(), key=lambda each: (-(each[1].records or 0), each[0])))


def _sum(one: Any, other: Any) -> Any:  # noqa: ANN401 - two counts or two amounts, or None
    return other if one is None else one if other is None else one + other
