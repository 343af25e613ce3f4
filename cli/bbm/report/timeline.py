"""The report's timeline: when jobs ended, and a lane for each job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Final

from bbm.report import charts, figures, pieces
from bbm.report.contents import LANES, Report
from bbm.report.figures import Bucket, Track
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation import console, parts, words
from bedrock_batch_monitor.presentation.job_view import MESSAGE_CHARACTERS, Job
from bedrock_batch_monitor.presentation.markup import Child, Html, element, fragment
from bedrock_batch_monitor.presentation.palette import css_class
from bedrock_batch_monitor.presentation.tally import tally

# The number of lanes that are open at first. The newest day is always open.
_OPEN_LANES: Final = 60
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Day:
    """The lanes that begin on one day, with their index in the report, and the period they show."""

    place: str
    begun: date | None
    lanes: Sequence[tuple[int, Track]]
    since: datetime
    until: datetime


def grid_rules(report: Report) -> str:
    """CSS that draws the time grid behind the lanes of each day."""
    return "".join(
        charts.grid_rule(day.place, day.since, day.until)
        for day in _days(report)
        if day.begun is not None
    )


def timeline(report: Report) -> Child:
    """The jobs that ended over time, and a lane for each job, grouped by day."""
    if not report.tracks:
        return element("p", "Nothing was recorded in this period.", class_="nothing")
    buckets = figures.ended_over_time(report.jobs, report.since, report.until)
    opened = 0
    groups = []
    for day in _days(report):
        is_open = opened == 0 or opened + len(day.lanes) <= _OPEN_LANES
        opened += len(day.lanes)
        groups.append(_day_group(report, day, is_open=is_open))
    return fragment(
        element("div", parts.counts_by_status(report.tally.by_status), class_="legend"),
        _ended_over_time(buckets) if buckets else None,
        element("h3", "Each job"),
        element(
            "p",
            "Grouped by the day on which the lane begins. A thin line means that the job waits, a "
            "thick line that it runs, and a cap that it has ended. Open a job for its details.",
            class_="under",
        ),
        groups,
        pieces.not_shown(
            len(report.tracks) - LANES, "job", "The counts and figures include all jobs."
        ),
    )


def _ended_over_time(buckets: Sequence[Bucket]) -> Html:
    step = words.step(buckets[0].end - buckets[0].start)
    used = [bucket for bucket in buckets if bucket.by_status.total()]
    return element(
        "div",
        element("h3", "Jobs that ended"),
        element(
            "p",
            f"Number of jobs in steps of {step}, from {words.moment(buckets[0].start)} to "
            f"{words.moment(buckets[-1].end)}.",
            class_="peak",
        ),
        charts.columns(buckets),
        element(
            "details",
            element("summary", "Show as a table", class_="soft"),
            _ended_table(used),
        ),
        class_="columns",
    )


def _ended_table(buckets: Sequence[Bucket]) -> Html:
    order = [
        status
        for status in statuses.TERMINAL
        if any(bucket.by_status[status] for bucket in buckets)
    ]
    return pieces.numbers(
        "Jobs that ended, by time and status",
        "From (UTC)",
        order,
        [
            pieces.Row(
                parts.moment(bucket.start),
                [words.count(bucket.by_status[status]) for status in order],
            )
            for bucket in buckets
        ],
    )


def _days(report: Report) -> list[_Day]:
    """The lanes by the day on which they begin, each day with the period that it shows.

    A day shows the time of its jobs, until the end of the next day at the latest. Lanes therefore
    stay readable however long the period of the report is.
    """
    shown = enumerate(report.tracks[:LANES])
    found = []
    for number, (begun, group) in enumerate(groupby(shown, key=lambda pair: _begun(pair[1]))):
        lanes = list(group)
        if begun is None:
            since, until = report.since, report.until
        else:
            latest = datetime.combine(begun, time(), UTC) + 2 * _DAY
            since, until = figures.zoomed(
                min(at, latest)
                for _, track in lanes
                for at in (track.segments[0].start, track.segments[-1].end)
            )
        found.append(_Day(f"g{number}", begun, lanes, since, until))
    return found


def _begun(track: Track) -> date | None:
    return None if track.began is None else track.began.date()


def _day_group(report: Report, day: _Day, *, is_open: bool) -> Html:
    return element(
        "details",
        element(
            "summary",
            element("b", "No time known" if day.begun is None else pieces.day(day.begun)),
            element("span", words.plural(len(day.lanes), "job"), class_="soft"),
            parts.counts_by_status(tally(track.job for _, track in day.lanes).by_status),
        ),
        None
        if day.begun is None
        else element("div", charts.scale(day.since, day.until), class_="axis"),
        (_lane(report, day, index, track) for index, track in day.lanes),
        class_=f"day {day.place}",
        open=is_open,
    )


def _lane(report: Report, day: _Day, index: int, track: Track) -> Html:
    job = track.job
    label = words.bounded(job.label, parts.NAME_CHARACTERS)
    took = job.total_seconds
    if took is None and job.submitted is not None and job.is_active:
        took = int((report.until - job.submitted).total_seconds())
    return element(
        "details",
        element(
            "summary",
            element(
                "span",
                parts.icon(job.status),
                element("span", f"{job.shown_status}: ", class_="vh"),
                element("span", label, class_="label", dir="auto", title=label),
                class_="who",
            ),
            charts.lane(track, day.since, day.until),
            element("span", "" if took is None else words.duration(took), class_="took"),
        ),
        element("div", _more(track), class_="more"),
        class_=f"lane {css_class(job.status)}",
        id=f"j{index}",
    )


def _more(track: Track) -> Html:
    job = track.job
    recorded = element(
        "ol",
        (
            element(
                "li",
                parts.status(transition.status),
                " ",
                parts.moment(transition.at),
                class_="step",
            )
            for transition in sorted(track.transitions)
        ),
    )
    bedrock = console.bedrock_jobs(job.arn)
    rows: list[tuple[str, Child]] = [
        (
            "Job",
            fragment(job.job_id, " · ", parts.link("Bedrock console", bedrock))
            if bedrock
            else job.arn,
        ),
        ("Model", job.model),
        ("Recorded", recorded if track.transitions else None),
        ("Message", parts.message(job, MESSAGE_CHARACTERS)),
        ("Records", _records(job)),
        ("Took", _took(job)),
        ("Output", parts.link(job.output_uri, console.s3_prefix(job.arn, job.output_uri))),
    ]
    return element(
        "dl",
        ((element("dt", name), element("dd", value)) for name, value in rows if value is not None),
    )


def _records(job: Job) -> str | None:
    if job.total is None and job.processed is None:
        return None
    text = "" if job.processed is None else f"{words.count(job.processed)} processed"
    if job.total is not None:
        text = f"{text} of {words.count(job.total)}" if text else words.count(job.total)
    return f"{text}, {words.count(job.failed)} failed" if job.failed else text


def _took(job: Job) -> str | None:
    known = (
        (job.total_seconds, "in total"),
        (job.queued_seconds, "queued"),
        (job.running_seconds, "running"),
    )
    texts = [f"{words.duration(value)} {what}" for value, what in known if value is not None]
    return ", ".join(texts) or None
