"""What ended jobs used, summed up by model and day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Self

from bbm.tables import Item
from bedrock_batch_monitor.domain.plain_text import IMPLAUSIBLE, plausible_count
from bedrock_batch_monitor.domain.token_usage import short_model_id

_UNKNOWN_MODEL: Final = "unknown"
_MILLIONTH: Final = Decimal("0.000001")
_DATE: Final = len("2026-11-24")


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over some jobs; a sum is None where no job has a value, and leaves out those without."""

    jobs: int = 0
    records: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    estimated_cost_usd: Decimal | None = None
    jobs_without_tokens: int = 0
    jobs_without_cost: int = 0

    @classmethod
    def of(cls, item: Item) -> Self:
        """What one job used, as its item or its history entry says."""
        tokens = item.get("tokens")
        tokens = tokens if isinstance(tokens, Mapping) else {}
        used, made = plausible_count(tokens.get("input")), plausible_count(tokens.get("output"))
        cost = _cost(item.get("estimatedCostUsd"))
        return cls(
            jobs=1,
            records=plausible_count(item.get("processedRecordCount")),
            input_tokens=used,
            output_tokens=made,
            estimated_cost_usd=cost,
            jobs_without_tokens=int(used is None and made is None),
            jobs_without_cost=int(cost is None),
        )

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.jobs + other.jobs,
            _sum(self.records, other.records),
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
            _sum(self.estimated_cost_usd, other.estimated_cost_usd),
            self.jobs_without_tokens + other.jobs_without_tokens,
            self.jobs_without_cost + other.jobs_without_cost,
        )

    def as_json(self) -> dict[str, Any]:
        """The sums under the names of the tables; one that is unknown is left out."""
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


def by_model_and_day(
    ended: Iterable[Item], jobs: Mapping[str, Item]
) -> tuple[tuple[ModelDay, Totals], ...]:
    """Sum up the ends that the history has, the newest day first.

    Figures that came after a job's end are in its item in the jobs table alone, so the item is
    asked where there is one. A job counts for the day on which it ended.
    """
    found: dict[ModelDay, Totals] = {}
    for entry in ended:
        item = {**entry, **jobs.get(entry["jobArn"], {})}
        ended_at = str(item.get("endTime") or item.get("changedAt") or item["observedAt"])
        model_id = short_model_id(str(item.get("modelId") or _UNKNOWN_MODEL))
        place = ModelDay(ended_at[:_DATE], model_id)
        found[place] = found.get(place, Totals()) + Totals.of(item)
    by_model = sorted(found.items(), key=lambda each: each[0].model_id)
    return tuple(sorted(by_model, key=lambda each: each[0].day, reverse=True))


def _sum(one: Any, other: Any) -> Any:  # noqa: ANN401 - two counts or two amounts, or None
    return other if one is None else one if other is None else one + other


def _cost(value: object) -> Decimal | None:
    """What a job cost; None for anything but a number that is neither negative nor absurd."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(str(value)).quantize(_MILLIONTH) if 0 <= value < IMPLAUSIBLE else None
