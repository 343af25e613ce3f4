"""How fast a job goes and when it will be done, from the record counts that were seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

# Enough to even out the unevenness of the counts, few enough to follow a change of pace.
POINTS_KEPT: Final = 12


@dataclass(frozen=True, slots=True)
class Point:
    """So many records were processed at this moment."""

    at: datetime
    processed: int


def with_point(points: tuple[Point, ...], point: Point) -> tuple[Point, ...]:
    """The points with one more, if it is news: a count that did not move says nothing of a pace."""
    if points and (point.processed == points[-1].processed or point.at <= points[-1].at):
        return points
    return (*points, point)[-POINTS_KEPT:]


def records_per_second(points: Sequence[Point]) -> float | None:
    """The pace between the first and the last point; None where they do not tell."""
    if len(points) < 2:  # noqa: PLR2004 - a pace needs two points
        return None
    seconds = (points[-1].at - points[0].at).total_seconds()
    records = points[-1].processed - points[0].processed
    return records / seconds if seconds > 0 and records > 0 else None


def time_left(points: Sequence[Point], total: int | None, now: datetime) -> timedelta | None:
    """How long the rest takes at the pace so far; None for unknown, never negative."""
    pace = records_per_second(points)
    if pace is None or total is None or total < points[-1].processed:
        return None
    done_at = points[-1].at + timedelta(seconds=(total - points[-1].processed) / pace)
    return max(timedelta(0), done_at - now)
