"""The usage of jobs (records, tokens, estimated cost), summed by model, day or tag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Self

from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.token_usage import short_model_id
from bedrock_batch_monitor.presentation.job_view import Job

_UNKNOWN: Final = "unknown"
_MONTH: Final = len("2026-11")
_HEADING_CHARACTERS: Final = 24
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


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The usage of one group of jobs.

    `period` is a day or a month in UTC, `group` a model id or the value of a tag; either is empty
    if it is not part of the group. `names` has them for programs.
    """

    period: str
    group: str
    names: Mapping[str, str]
    totals: Totals


@dataclass(frozen=True, slots=True)
class UsageTable:
    """The groups of jobs, the newest period first, and the headings of both parts of a group."""

    period: str
    group: str
    rows: tuple[UsageRow, ...]


def usage_by(by: str | None, ended: Iterable[Job]) -> UsageTable:
    """The usage of ended jobs by the time at which they ended, in the groups that `by` names.

    `model`, `day` or `tag:KEY` (by month); None is by day and model. Jobs without the tag form a
    group of their own.
    """
    key = "" if by is None else by.removeprefix("tag:").strip() if by.startswith("tag:") else ""
    found: dict[tuple[str, str | None], Totals] = {}
    for job in ended:
        day = _UNKNOWN if job.ended is None else job.ended.date().isoformat()
        model = short_model_id(job.model or _UNKNOWN)
        place: tuple[str, str | None] = (day, model)
        if key:
            place = (day if job.ended is None else day[:_MONTH], job.tags.get(key))
        elif by is not None:
            place = ("", model) if by == "model" else (day, "")
        found[place] = found.get(place, Totals()) + Totals.of(job)
    ordered = sorted(found.items(), key=lambda each: (each[0][1] is None, each[0][1] or ""))
    ordered.sort(key=lambda each: each[0][0], reverse=True)
    return UsageTable(
        "" if by == "model" else "MONTH" if key else "DAY (UTC)",
        "" if by == "day" else clean(key, _HEADING_CHARACTERS).upper() if key else "MODEL",
        tuple(
            UsageRow(period, _shown(group, key), _names(period, group, key), totals)
            for (period, group), totals in ordered
        ),
    )


def _shown(group: str | None, key: str) -> str:
    return f"(no {clean(key, _HEADING_CHARACTERS)})" if group is None else group


def _names(period: str, group: str | None, key: str) -> dict[str, str]:
    names = {"month": period, "tag": key} if key else {"day": period}
    if group is not None:
        names["value" if key else "modelId"] = group
    # A part that is empty is not part of the group, but the value of a tag can be empty.
    return {name: text for name, text in names.items() if text or name == "value"}


def by_tag(jobs: Iterable[Job], key: str) -> tuple[tuple[str, Totals], ...]:
    """The usage of jobs by the value of a tag, the most records first; `(no KEY)` without it."""
    found: dict[str, Totals] = {}
    for job in jobs:
        value = _shown(job.tags.get(key), key)
        found[value] = found.get(value, Totals()) + Totals.of(job)
    return tuple(sorted(found.items(), key=lambda each: (-(each[1].records or 0), each[0])))


def by_model(jobs: Iterable[Job], unknown_model: str) -> tuple[tuple[str, Totals], ...]:
    """The usage of jobs by model id, the model with the most records first."""
    found: dict[str, Totals] = {}
    for job in jobs:
        model = job.model or unknown_model
        found[model] = found.get(model, Totals()) + Totals.of(job)
    return tuple(sorted(found.items(), key=lambda each: (-(each[1].records or 0), each[0])))


def _sum(one: Any, other: Any) -> Any:  # noqa: ANN401 - two counts or two amounts, or None
    return other if one is None else one if other is None else one + other
