"""The report's timeline: the endings over time, and a lane for each job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from itertools import groupby
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.report import charts, figures, links, parts, words
from bedrock_batch_monitor.report.contents import LANES, MESSAGE_CHARACTERS, Report
from bedrock_batch_monitor.report.figures import Bucket, Track
from bedrock_batch_monitor.report.jobs import Job
from bedrock_batch_monitor.report.markup import Child, Html, element, fragment
from bedrock_batch_monitor.report.palette import css_class

# So many lanes are open from the beginning, and those of the newest day in any case.
_OPEN_LANES: Final = 60


def timeline(report: Report) -> Child:
    """The endings over time, and every job as a lane that opens, grouped by day."""
    shown = report.tracks[:LANES]
    if not shown:
        return element("p", "Nothing was recorded in this time.", class_="nothing")
    buckets = figures.endings_over_time(report.tracks, report.since, report.until)
    days = [
        (begun, list(group))
        for begun, group in groupby(enumerate(shown), key=lambda pair: _day(pair[1]))
    ]
    opened = 0
    groups = []
    for begun, lanes in days:
        is_open = opened == 0 or opened + len(lanes) <= _OPEN_LANES
        opened += len(lanes)
        groups.append(_day_group(report, begun, lanes, is_open=is_open))
    return fragment(
        element("div", parts.counts_by_status(report.by_status), class_="legend"),
        _endings(buckets) if report.ended else None,
        element("h3", "Each job"),
        element(
            "p",
            "A thin line is waiting, a thick one running, and the cap its end. "
            "Open a job for what was recorded of it.",
            class_="soft",
        ),
        element(
            "div",
            element("div", charts.scale(report.since, report.until), class_="axis"),
            groups,
            class_="lanes",
        ),
        parts.rest(len(report.tracks) - LANES, "job", "The counts and figures are of all of them."),
    )


def _endings(buckets: Sequence[Bucket]) -> Html:
    peak = max(bucket.by_status.total() for bucket in buckets)
    step = words.between(buckets[0].start, buckets[0].end)
    used = [bucket for bucket in buckets if bucket.by_status.total()]
    return element(
        "div",
        element("h3", "Endings over time"),
        element(
            "p",
            f"In steps of {step}; the tallest is {words.plural(peak, 'job')}.",
            class_="peak",
        ),
        charts.columns(buckets),
        charts.scale(buckets[0].start, buckets[-1].end),
        element(
            "details",
            element("summary", "The same as a table", class_="soft"),
            element(
                "div",
                _endings_table(used),
                class_="scroll",
                tabindex=0,
                role="region",
                aria_label="Endings over time as a table",
            ),
        ),
        class_="columns",
    )


def _endings_table(buckets: Sequence[Bucket]) -> Html:
    order = [
        status
        for status in statuses.TERMINAL
        if any(bucket.by_status[status] for bucket in buckets)
    ]
    return element(
        "table",
        element(
            "thead",
            element(
                "tr",
                element("th", "From (UTC)", scope="col"),
                (element("th", status, scope="col", class_="num") for status in order),
            ),
        ),
        element(
            "tbody",
            (
                element(
                    "tr",
                    element("th", parts.moment(bucket.start), scope="row"),
                    (
                        element("td", words.count(bucket.by_status[status]), class_="num")
                        for status in order
                    ),
                )
                for bucket in buckets
            ),
        ),
    )


def _day(track: Track) -> date | None:
    return None if track.began is None else track.began.date()


def _day_group(
    report: Report, begun: date | None, lanes: Sequence[tuple[int, Track]], *, is_open: bool
) -> Html:
    first = lanes[0][1].began
    name = "Before" if begun is None or first is None else words.day(first)
    return element(
        "details",
        element(
            "summary",
            element("b", name),
            element("span", words.plural(len(lanes), "job"), class_="soft"),
            parts.counts_by_status(Counter(track.job.status or "" for _, track in lanes)),
        ),
        (_lane(report, index, track) for index, track in lanes),
        class_="day",
        open=is_open,
    )


def _lane(report: Report, index: int, track: Track) -> Html:
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
                element("span", f"{job.status or 'not polled yet'}: ", class_="vh"),
                element("span", label, class_="label", dir="auto", title=label),
                class_="who",
            ),
            charts.lane(track, report.since, report.until),
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
    rows: list[tuple[str, Child]] = [
        (
            "Job",
            fragment(job.job_id, " · ", parts.link("Bedrock console", links.bedrock_jobs(job.arn)))
            if links.bedrock_jobs(job.arn)
            else job.arn,
        ),
        ("Model", job.model),
        ("Recorded", recorded if track.transitions else None),
        ("Message", parts.message(job, MESSAGE_CHARACTERS)),
        ("Records", _records(job)),
        ("Took", _took(job)),
        ("Output", parts.link(job.output_uri, links.s3_place(job.arn, job.output_uri))),
    ]
    return element(
        "dl",
        ((element("dt", name), element("dd", value)) for name, value in rows if value is not None),
    )


def _records(job: Job) -> str | None:
    if job.total is None and job.processed is None:
        return None
    told = "" if job.processed is None else f"{words.count(job.processed)} processed"
    if job.total is not None:
        told = f"{told} of {words.count(job.total)}" if told else words.count(job.total)
    return f"{told}, {words.count(job.failed)} failed" if job.failed else told


def _took(job: Job) -> str | None:
    known = (
        (job.total_seconds, "in all"),
        (job.queued_seconds, "queued"),
        (job.running_seconds, "running"),
    )
    told = [f"{words.duration(value)} {what}" for value, what in known if value is not None]
    return ", ".join(told) or None
