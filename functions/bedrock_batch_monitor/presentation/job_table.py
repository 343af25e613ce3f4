"""The dashboard's widget: the live table of jobs.

CloudWatch takes HTML with a style sheet and SVG, and no script, which it would remove. Its own
style of tables is turned off by an element of a class that it looks for.
Source: *Details about custom widgets in CloudWatch*, Amazon CloudWatch User Guide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation import parts, style, words
from bedrock_batch_monitor.presentation.job_view import Job
from bedrock_batch_monitor.presentation.markup import Html, element, fragment, stylesheet

MESSAGE_CHARACTERS: Final = 240
# Of the answer as the function returns it, which is JSON. A function answers with 6 MB at most
# (AWS Lambda quotas); a dashboard that several people look at is better off with less. The usual
# page of 100 jobs has a tenth of this.
MOST_BYTES: Final = 1_000_000
DOCUMENTATION: Final = """\
## Batch inference jobs, live

The table of the jobs that the Bedrock Batch Monitor follows, and of those that have ended in the \
time range of the dashboard: status, progress, when it will be done, how long it has had its \
status, message, and links to Amazon Bedrock and to the output in S3.

It reads the monitor's tables and never calls Bedrock. It takes no parameters.
`message` is Bedrock's text on a job and can quote customer data: whoever may invoke this function \
can read it.
"""


@dataclass(frozen=True, slots=True)
class LiveView:
    """What the widget shows.

    `active` and `ended` are the jobs shown in full, the counts are of all there are; where one of
    them `is_partial` there are more than were counted.
    """

    active: Sequence[Job]
    ended: Sequence[Job]
    active_by_status: Mapping[str, int]
    ended_by_status: Mapping[str, int]
    since: datetime
    active_is_partial: bool = False
    ended_is_partial: bool = False


def in_order_of_need(jobs: Sequence[Job], now: datetime) -> list[Job]:
    """Active jobs as a person wants them: those in trouble, those that run, the last changed."""

    def need(job: Job) -> tuple[bool, bool, float]:
        changed = 0.0 if job.changed is None else job.changed.timestamp()
        return (not job.troubles(now), job.status != statuses.IN_PROGRESS, -changed)

    return sorted(jobs, key=need)


def live(view: LiveView, now: datetime, *, dark: bool) -> Html:
    """The widget's content, with as many of the jobs as fit into `MOST_BYTES`."""
    page = _live(view, now, dark=dark)
    while len(json.dumps(page)) > MOST_BYTES and (view.active or view.ended):
        active, ended = (list(jobs[: len(jobs) // 2]) for jobs in (view.active, view.ended))
        view = replace(view, active=active, ended=ended)
        page = _live(view, now, dark=dark)
    return page


def _live(view: LiveView, now: datetime, *, dark: bool) -> Html:
    active, ended = sum(view.active_by_status.values()), sum(view.ended_by_status.values())
    heading = _heading(active, "active job", partial=view.active_is_partial)
    return _page(
        element(
            "div",
            parts.counts_by_status(
                {**view.active_by_status, **view.ended_by_status},
                more=view.active_is_partial or view.ended_is_partial,
            ),
            element("span", f"as recorded at {words.moment(now)} UTC", class_="when"),
            class_="head",
        ),
        element("h3", heading),
        _table(view.active, now, ended=False, caption=heading),
        _not_shown(active - len(view.active), "active job", partial=view.active_is_partial),
        element("h3", _heading(ended, "job", partial=view.ended_is_partial), _since(view, now)),
        _table(view.ended, now, ended=True, caption="Jobs that have ended"),
        _not_shown(ended - len(view.ended), "job", partial=view.ended_is_partial),
        dark=dark,
    )


def unreadable(reason: str, *, dark: bool) -> Html:
    """What is shown instead where the tables cannot be read."""
    return _page(
        element("p", "The jobs cannot be shown: ", element("b", reason, class_="alarm")),
        element("p", "The monitor itself may work all the same: see its alarms.", class_="soft"),
        dark=dark,
    )


def _page(*children: Html | None, dark: bool) -> Html:
    return element(
        "div",
        element("div", class_="cwdb-no-default-styles"),
        stylesheet(style.widget(dark=dark)),
        *children,
        class_="bbm",
    )


def _heading(number: int, what: str, *, partial: bool) -> str:
    if number == 0:
        return f"No {what}" if what != "job" else "No job has"
    told = words.plural(number, what)
    return f"More than {told}" if partial else told


def _since(view: LiveView, now: datetime) -> str:
    return f" ended in the last {words.between(view.since, now)}"


def _table(jobs: Sequence[Job], now: datetime, *, ended: bool, caption: str) -> Html | None:
    if not jobs:
        return None
    return parts.jobs_table(
        jobs, now, ended=ended, caption=caption, message_characters=MESSAGE_CHARACTERS
    )


def _not_shown(number: int, what: str, *, partial: bool) -> Html | None:
    if number <= 0:
        return None
    known = "and more than" if partial else "and"
    return element(
        "p",
        fragment(
            f"{known} {words.plural(number, 'more ' + what)} not shown; ", element("b", "bbm jobs")
        ),
        " lists all.",
        class_="more-jobs",
    )
