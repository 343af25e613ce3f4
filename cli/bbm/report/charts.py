"""The charts of the report: lanes, columns and bars, as SVG without script.

Positions on the time axis are percentages, so a chart adapts to the width of the page without
distortion. Every chart has a text or a table with the same content.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from bbm.report.figures import Bucket, Spread, Track, ticks
from bbm.report.pieces import day
from bbm.report.segments import Segment
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation import words
from bedrock_batch_monitor.presentation.markup import Html, element
from bedrock_batch_monitor.presentation.palette import css_class
from bedrock_batch_monitor.presentation.tally import Tally

_MOST_TICKS: Final = 7
_LANE_HEIGHT: Final = 16
# Waiting is thin and running is thick, so that they differ without color. Every shape has an
# outline of its color, one unit wide, so that the shortest one can be seen.
_OUTLINE: Final = 1
_THICKNESS: Final = {statuses.IN_PROGRESS: 10, statuses.STOPPING: 10}
_THIN: Final = 4
_CAP_WIDTH: Final = 3
_SHORTEST: Final = 0.6
# The last position of a label, in percent, so that it stays within the chart: of any label, and of
# one in a narrow window.
_LAST_LABEL: Final = 87.0
_LAST_LABEL_NARROW: Final = 72.0
_STEPS_OF_TEN: Final = (1, 2, 4, 6, 8)
_COLUMN: Final = 10


def position(at: datetime, since: datetime, until: datetime) -> float:
    """The position of a time between two others, in percent."""
    span = (until - since).total_seconds()
    return 0.0 if span <= 0 else min(100.0, max(0.0, 100 * (at - since).total_seconds() / span))


def scale(since: datetime, until: datetime) -> Html:
    """The labels of a time axis."""
    marks = ticks(since, until, _MOST_TICKS)
    by_day = len(marks) < 2 or marks[1] - marks[0] >= timedelta(days=1)  # noqa: PLR2004 - a pair
    return element(
        "svg",
        (
            element(
                "text",
                day(mark) if by_day or mark.hour == mark.minute == 0 else f"{mark:%H:%M}",
                x=_percent(position(mark, since, until)),
                y=13,
                class_="late" if position(mark, since, until) > _LAST_LABEL_NARROW else None,
            )
            for mark in marks
            if position(mark, since, until) <= _LAST_LABEL
        ),
        class_="scale",
        width="100%",
        height=18,
        aria_hidden="true",
    )


def grid_rule(place: str, since: datetime, until: datetime) -> str:
    """One CSS rule that draws the ticks behind all lanes of the group with this class."""
    lines = ",".join(
        f"linear-gradient(var(--line),var(--line)) {position(mark, since, until):.3f}% 0/1px 100% "
        "no-repeat"
        for mark in ticks(since, until, _MOST_TICKS)
    )
    return f".{place} .track{{background:{lines}}}" if lines else ""


def lane(track: Track, since: datetime, until: datetime) -> Html:
    """The segments of one job. A cap at the end has the color of the terminal status."""
    return element(
        "svg",
        (
            _bar(segment, since, until)
            for segment in track.segments
            # A segment can begin after the period of its day; the text shows its duration.
            if segment.start <= until
        ),
        class_="track",
        width="100%",
        height=_LANE_HEIGHT,
        aria_hidden="true",
    )


def _bar(segment: Segment, since: datetime, until: datetime) -> Html:
    begin, end = (position(at, since, until) for at in (segment.start, segment.end))
    if segment.status in statuses.TERMINAL:
        return element(
            "rect",
            class_=css_class(segment.status),
            x=_percent(begin),
            y=_OUTLINE,
            width=_CAP_WIDTH,
            height=_LANE_HEIGHT - 2 * _OUTLINE,
        )
    thickness = _THICKNESS.get(segment.status, _THIN)
    return element(
        "rect",
        class_=css_class(segment.status),
        x=_percent(begin),
        y=(_LANE_HEIGHT - thickness) // 2 + _OUTLINE,
        width=_percent(max(end - begin, _SHORTEST)),
        height=thickness - 2 * _OUTLINE,
    )


def columns(buckets: Sequence[Bucket]) -> Html:
    """The jobs that ended over time, stacked by status."""
    top = _top(max(bucket.by_status.total() for bucket in buckets))
    rects = []
    for index, bucket in enumerate(buckets):
        bottom = 100.0
        for status in statuses.TERMINAL:
            number = bucket.by_status[status]
            if number == 0:
                continue
            height = 100 * number / top
            bottom -= height
            rects.append(
                element(
                    "rect",
                    element(
                        "title", f"{words.moment(bucket.start)} UTC: {words.count(number)} {status}"
                    ),
                    class_=css_class(status),
                    x=index * _COLUMN + 1,
                    y=round(bottom, 2),
                    width=_COLUMN - 2,
                    height=round(height, 2),
                )
            )
    total = sum(bucket.by_status.total() for bucket in buckets)
    marks = (top, top // 2, 0) if top > 1 else (top, 0)
    return element(
        "div",
        element(
            "div",
            (element("span", words.count(mark)) for mark in marks),
            class_="y",
            aria_hidden="true",
        ),
        element(
            "svg",
            (
                element("path", d=f"M0 {y}H{len(buckets) * _COLUMN}", class_="grid")
                for y in ((0, 50) if top > 1 else (0,))
            ),
            rects,
            class_="bars",
            viewBox=f"0 0 {len(buckets) * _COLUMN} 100",
            preserveAspectRatio="none",
            role="img",
            aria_label=f"{words.plural(total, 'ended job')}, the axis ends at {words.count(top)}",
        ),
        scale(buckets[0].start, buckets[-1].end),
        class_="plot",
    )


def _top(peak: int) -> int:
    """The end of an axis: the smallest round number, 1 or even, that is not less than `peak`."""
    unit = 1
    while True:
        for step in _STEPS_OF_TEN:
            if step * unit >= peak:
                return step * unit
        unit *= 10


def stack(counted: Tally, order: Sequence[str], most: int) -> Html:
    """The jobs of one model by status; the full width stands for `most` jobs."""
    begin = 0.0
    rects = []
    for status in order:
        width = 100 * counted.by_status[status] / max(most, 1)
        if width:
            rects.append(
                element(
                    "rect",
                    element("title", f"{words.count(counted.by_status[status])} {status}"),
                    class_=css_class(status),
                    x=_percent(begin),
                    width=_percent(width),
                    height=14,
                )
            )
        begin += width
    label = ", ".join(
        f"{words.count(counted.by_status[status])} {status}"
        for status in order
        if counted.by_status[status]
    )
    return element(
        "svg", rects, class_="stack", width="100%", height=14, role="img", aria_label=label
    )


def histogram(spread: Spread, caption: str, kind: str) -> Html:
    """The number of jobs by duration: a table whose bars are decoration."""
    peak = max(number for _, number in spread.bins)
    return element(
        "table",
        element("caption", caption, class_="vh"),
        element(
            "tbody",
            (
                element(
                    "tr",
                    element("th", label, scope="row"),
                    element(
                        "td",
                        element(
                            "svg",
                            element("rect", width=_percent(100 * number / peak), height=14),
                            class_=css_class(kind),
                            width="100%",
                            height=14,
                            aria_hidden="true",
                        ),
                    ),
                    element("td", words.count(number), class_="num"),
                )
                for label, number in spread.bins
            ),
        ),
        class_="hist",
    )


def _percent(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") + "%"
