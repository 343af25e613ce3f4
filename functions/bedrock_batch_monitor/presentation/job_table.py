"""The dashboard widget: the live table of jobs.

CloudWatch accepts HTML with a style sheet and SVG, and removes scripts. An element with the class
`cwdb-no-default-styles` turns CloudWatch's own table style off.
Source: *Details about custom widgets in CloudWatch*, Amazon CloudWatch User Guide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.slots import ModelSlots
from bedrock_batch_monitor.presentation import parts, style, words
from bedrock_batch_monitor.presentation.attention import Concern, concerns
from bedrock_batch_monitor.presentation.badges import needs_attention
from bedrock_batch_monitor.presentation.job_view import Job
from bedrock_batch_monitor.presentation.markup import Html, element, fragment, stylesheet

MESSAGE_CHARACTERS: Final = 240
ATTENTION_ROWS: Final = 8
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
# The size of the response in JSON. Lambda allows 6 MB, but a dashboard that several people use
# should load faster. A usual page of 100 jobs has a tenth of this.
MOST_BYTES: Final = 1_000_000
DOCUMENTATION: Final = """\
## Batch inference jobs, live

This widget shows the jobs that need attention, each with its reason and the next step, the active \
jobs that the Bedrock Batch Monitor tracks, and the jobs that ended in \
the time range of the dashboard. It shows the status, the progress, the estimated end, the time in \
the status and the message, with links to Amazon Bedrock and to the output in S3.

The widget reads the monitor's tables and never calls Bedrock. It has no parameters.
`message` is Bedrock's text about a job and can contain customer data. Anyone who can invoke this \
function can read it.
"""


@dataclass(frozen=True, slots=True)
class LiveView:
    """The content of the widget.

    `active` and `ended` are the jobs that it can show. The counts by status include all jobs,
    unless the matching `is_partial` is set: then they are lower bounds. `needing_attention` is the
    number of all jobs that need attention, as far as the indexes tell. `slots` are those of the
    models of the active jobs, by account and Region.
    """

    active: Sequence[Job]
    ended: Sequence[Job]
    active_by_status: Mapping[str, int]
    ended_by_status: Mapping[str, int]
    since: datetime
    active_is_partial: bool = False
    ended_is_partial: bool = False
    needing_attention: int = 0
    slots: Sequence[tuple[Scope, ModelSlots]] = ()


def in_order_of_need(jobs: Sequence[Job], now: datetime) -> list[Job]:
    """Active jobs by urgency: those that need attention, those that run, the last changed."""

    def urgency(job: Job) -> tuple[bool, bool, float]:
        changed = 0.0 if job.changed is None else job.changed.timestamp()
        return (not needs_attention(job, now), job.status != statuses.IN_PROGRESS, -changed)

    return sorted(jobs, key=urgency)


def newest_ended(ended: Sequence[Job], most: int, now: datetime) -> list[Job]:
    """The ended jobs to show, newest first: the newest, and the newest that need attention.

    The time is that of the observation.
    """
    ordered = sorted(ended, key=lambda job: job.observed or _LONG_AGO, reverse=True)
    urgent = {one.job.arn for one in concerns(ordered, now)[: min(most, ATTENTION_ROWS)]}
    others = [job.arn for job in ordered if job.arn not in urgent][: most - len(urgent)]
    shown = {*urgent, *others}
    return [job for job in ordered if job.arn in shown]


def live(view: LiveView, now: datetime, *, dark: bool) -> Html:
    """The HTML of the widget, with as many of the jobs as fit into `MOST_BYTES`."""
    page = _live(view, now, dark=dark)
    while len(json.dumps(page)) > MOST_BYTES and (view.active or view.ended):
        active, ended = (list(jobs[: len(jobs) // 2]) for jobs in (view.active, view.ended))
        view = replace(view, active=active, ended=ended)
        page = _live(view, now, dark=dark)
    return page


def _live(view: LiveView, now: datetime, *, dark: bool) -> Html:
    active, ended = sum(view.active_by_status.values()), sum(view.ended_by_status.values())
    heading = _heading(active, "active job", partial=view.active_is_partial)
    urgent = concerns((*view.active, *view.ended), now)
    return _page(
        element(
            "div",
            parts.counts_by_status(
                {**view.active_by_status, **view.ended_by_status},
                more=view.active_is_partial or view.ended_is_partial,
            ),
            element("span", _when(view, now), class_="when"),
            class_="head",
        ),
        *_attention(urgent, max(len(urgent), view.needing_attention), now),
        element("h3", heading),
        _table(view.active, now, ended=False, caption=heading),
        _not_shown(
            active - len(view.active), "active job", "bbm jobs", partial=view.active_is_partial
        ),
        _slots(view.slots),
        element("h3", _heading(ended, "job", partial=view.ended_is_partial), _since(view, now)),
        _table(view.ended, now, ended=True, caption="Jobs that have ended"),
        _not_shown(ended - len(view.ended), "job", "bbm jobs --all", partial=view.ended_is_partial),
        dark=dark,
    )


def unreadable(reason: str, *, dark: bool) -> Html:
    """The HTML that replaces the table if the tables cannot be read."""
    return _page(
        element("p", "The jobs cannot be shown: ", element("b", reason, class_="alarm")),
        element("p", "The monitor itself can still be working: check its alarms.", class_="soft"),
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
    counted = words.plural(number, what)
    return f"More than {counted}" if partial else counted


def _since(view: LiveView, now: datetime) -> str:
    return f" ended {words.since(view.since, now)}"


def _when(view: LiveView, now: datetime) -> str:
    """When the tables were read, and how old the newest change in them was by then.

    A monitor that no longer polls has old data, however often the dashboard is drawn.
    """
    read = f"tables read at {words.moment(now)} UTC"
    observed = [job.observed for job in (*view.active, *view.ended) if job.observed is not None]
    if not observed:
        return read
    age = words.duration(max((now - max(observed)).total_seconds(), 0))
    return f"{read}, newest change recorded {age} before"


def _attention(urgent: Sequence[Concern], number: int, now: datetime) -> tuple[Html | None, ...]:
    if not urgent:
        return ()
    shown = urgent[:ATTENTION_ROWS]
    return (
        element("h3", "Needs attention"),
        parts.attention(shown, now),
        None
        if number <= len(shown)
        else element(
            "p",
            f"and {words.plural(number - len(shown), 'more job')}; ",
            element("b", "bbm report"),
            " shows all.",
            class_="more-jobs",
        ),
    )


def _slots(slots: Sequence[tuple[Scope, ModelSlots]]) -> Html | None:
    """The slots of each model; with the account and Region if there are more."""
    if not slots:
        return None
    with_scope = len({scope for scope, _ in slots}) > 1
    texts = [f"{scope} {each}" if with_scope else str(each) for scope, each in slots]
    return element("p", " \u00b7 ".join(texts), class_="more-jobs")


def _table(jobs: Sequence[Job], now: datetime, *, ended: bool, caption: str) -> Html | None:
    if not jobs:
        return None
    return parts.jobs_table(
        jobs, now, ended=ended, caption=caption, message_characters=MESSAGE_CHARACTERS
    )


def _not_shown(number: int, what: str, command: str, *, partial: bool) -> Html | None:
    if number <= 0:
        return None
    prefix = "and more than" if partial else "and"
    return element(
        "p",
        fragment(
            f"{prefix} {words.plural(number, 'more ' + what)} not shown; ", element("b", command)
        ),
        " lists all.",
        class_="more-jobs",
    )
