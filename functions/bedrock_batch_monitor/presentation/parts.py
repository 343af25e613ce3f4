"""HTML that the widget and the report share: status, badges, progress bar, table of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.event_kinds import Severity
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.domain.token_usage import short_model_id
from bedrock_batch_monitor.presentation import console, words
from bedrock_batch_monitor.presentation.attention import Concern
from bedrock_batch_monitor.presentation.badges import Badge, badges_of
from bedrock_batch_monitor.presentation.job_view import NEVER_READ, NOT_POLLED, Job
from bedrock_batch_monitor.presentation.markup import Child, Html, element, fragment
from bedrock_batch_monitor.presentation.palette import css_class, look

NAME_CHARACTERS: Final = 80
MODEL_CHARACTERS: Final = 80
TAGS_CHARACTERS: Final = 80
# Room for a job ARN.
ID_CHARACTERS: Final = 120
STATUS_CHARACTERS: Final = 40
REASON_CHARACTERS: Final = 240
# An item can have any status, and a page has no room for thousands of them.
_OTHER_STATUSES: Final = 8
_OTHERS: Final = "Other"
_JUST_NOW: Final = timedelta(minutes=1)
_NO_DETAILS: Final[Mapping[str, str]] = {}
_BADGE_CLASSES: Final = {
    Severity.NOTE: "badge",
    Severity.WARNING: "badge warn",
    Severity.ALARM: "badge alarm",
}


def icon(status: str | None) -> Html:
    """The shape of a status. It is decoration, because the name of the status is next to it."""
    one = look(status)
    ring = element("circle", cx=6, cy=6, r=4.9, class_="ring") if one.ring else None
    shape = element("path", d=one.shape) if one.shape else None
    return element("svg", ring, shape, class_="icon", viewBox="0 0 12 12", aria_hidden="true")


def status(name: str) -> Html:
    """A status, as `Job.shown_status` has it, with its shape, name and color."""
    word = words.bounded(name, STATUS_CHARACTERS)
    return element("span", icon(name), element("span", word), class_=f"status {css_class(name)}")


def badges(shown: Iterable[Badge]) -> Html:
    """Badges in the order given."""
    return fragment(
        element("span", badge.text, class_=_BADGE_CLASSES[badge.severity]) for badge in shown
    )


def moment(value: datetime | None, *, shown: str | None = None) -> Html | None:
    """A time. Its title has date and time in UTC, even if `shown` replaces the text."""
    if value is None:
        return None
    full = f"{words.moment(value)} UTC"
    return element("time", shown or words.moment(value), datetime=to_iso(value), title=full)


def link(label: Child, target: str | None, title: str | None = None) -> Html | Child:
    """A link that opens a new window; the label alone without a target."""
    if target is None:
        return label
    return element("a", label, href=target, target="_blank", rel="noopener noreferrer", title=title)


def progress(job: Job) -> Html | None:
    """A progress bar with the record counts; None if no count is known."""
    fraction = job.progress
    if fraction is None or job.total is None or job.processed is None:
        if job.processed is None and job.total is None:
            return None
        known = job.processed if job.processed is not None else job.total
        return element("span", f"{words.count(known or 0)} records", class_="soft")
    percent = words.percent(job.processed, job.total)
    filled = round(100 * fraction, 1)
    failed = None
    if job.failed:
        failed = element("span", f"{words.count(job.failed)} failed", class_="alarm nowrap")
    return fragment(
        element(
            "svg",
            element("rect", class_="rest", width="100%", height=8),
            element("rect", class_="done", width=f"{filled:g}%", height=8),
            class_=f"bar {css_class(job.status)}",
            width="100%",
            height=8,
            role="img",
            aria_label=f"{percent} of the records processed",
        ),
        element(
            "span",
            element("b", percent),
            _separated(f" {words.short(job.processed)} of {words.short(job.total)}", failed),
            class_="counts",
        ),
    )


def ends(job: Job, now: datetime) -> Html | None:
    """The estimated end and the rate of an active job, or how long ago a job ended."""
    if job.has_ended:
        return _ago(job.ended, now)
    due = None
    if job.deadline is not None:
        due = element("span", "due ", moment(job.deadline), class_="under")
    if job.estimated_end is None:
        is_running = job.status == statuses.IN_PROGRESS
        unknown = element("span", "unknown", class_="soft") if is_running else None
        return unknown if due is None else fragment(unknown, due)
    is_due = job.estimated_end <= now
    return fragment(
        moment(
            job.estimated_end,
            shown="any moment" if is_due else f"in {words.between(now, job.estimated_end)}",
        ),
        None
        if not job.records_per_minute
        else element("span", f"{words.short(job.records_per_minute)} a minute", class_="under"),
        due,
    )


def times(job: Job, now: datetime) -> Html | None:
    """How long an active job has had its status, or how long an ended job took."""
    if not job.has_ended:
        if job.changed is None:
            return None
        return moment(job.changed, shown=words.between(job.changed, now))
    if job.total_seconds is None:
        return None
    queued = job.queued_seconds
    return fragment(
        words.duration(job.total_seconds),
        None
        if queued is None
        else element("span", f"{words.duration(queued)} queued", class_="under"),
    )


def message(job: Job, characters: int) -> Html | None:
    """The reason why the job cannot be read, or else Bedrock's message."""
    shown = job.error or job.message
    if shown is None:
        return None
    kind = "alarm" if job.error is not None else None
    return element("span", words.bounded(shown, characters), class_=kind, dir="auto")


def identity(job: Job, inner: Child = None) -> Html:
    """The job's name, which links to the Bedrock console, above its id and model."""
    name = element("span", words.bounded(job.label, NAME_CHARACTERS), dir="auto", class_="name")
    return fragment(
        link(
            name,
            console.bedrock_jobs(job.arn),
            f"Batch inference jobs in the Bedrock console; this job has the id {job.job_id}",
        ),
        inner,
        element(
            "span",
            _separated(
                element(
                    "span",
                    # A job without a name is called by its id; its ARN helps to find it.
                    words.bounded(job.arn if job.name is None else job.job_id, ID_CHARACTERS),
                    class_="id",
                ),
                None if job.model is None else short_model(job.model),
            ),
            class_="under",
        ),
        _tags(job),
    )


def _tags(job: Job) -> Html | None:
    """The tags of the job; the title has all of them."""
    if not job.tags:
        return None
    shown = [f"{name}={text}" for name, text in job.tags.items()]
    whole = ", ".join(shown)
    return element(
        "span", words.bounded(whole, TAGS_CHARACTERS), class_="under", title=whole, dir="auto"
    )


def short_model(model: str) -> Html:
    """A model by the end of its ARN. The title has the whole model id."""
    end = words.bounded(short_model_id(model), MODEL_CHARACTERS)
    return element("span", end, title=model, dir="auto")


def output(job: Job) -> Html | Child:
    """A link to the job's output in S3; None without a valid location."""
    target = console.s3_prefix(job.arn, job.output_uri)
    return None if target is None else link("Output", target, job.output_uri)


def jobs_table(
    jobs: Sequence[Job], now: datetime, *, ended: bool, caption: str, message_characters: int
) -> Html:
    """A table with one row for each job, without empty columns.

    The jobs are all active, or all `ended`.
    """
    headings = {
        "status": "Status",
        "job": "Job",
        "records": "Records",
        "ends": "Ended" if ended else "Ends",
        "times": "Took" if ended else "In status",
        "message": "Message",
        "output": "S3",
    }
    rows = [dict(zip(headings, _cells(job, now, message_characters), strict=True)) for job in jobs]
    shown = [kind for kind in headings if any(row[kind] is not None for row in rows)]
    # CSS lays the rows out as blocks in a narrow window. The roles keep the table a table for
    # screen readers.
    return element(
        "table",
        element("caption", caption, class_="vh"),
        element(
            "thead",
            element(
                "tr",
                (
                    element(
                        "th", headings[kind], scope="col", role="columnheader", class_=f"c-{kind}"
                    )
                    for kind in shown
                ),
                role="row",
            ),
            role="rowgroup",
        ),
        element(
            "tbody",
            (
                element(
                    "tr",
                    (element("td", row[kind], role="cell", class_=f"c-{kind}") for kind in shown),
                    role="row",
                )
                for row in rows
            ),
            role="rowgroup",
        ),
        role="table",
        class_=" ".join(
            ("jobs", "ended" if ended else "active", *(f"with-{kind}" for kind in shown))
        ),
    )


def attention(
    shown: Iterable[Concern], now: datetime, details: Mapping[str, str] = _NO_DETAILS
) -> Html:
    """The jobs that need attention, each with its reason and the next step.

    `details` has the anchor of more about a job on the same page, by job ARN.
    """
    return element(
        "ul",
        (
            element(
                "li",
                element(
                    "div",
                    status(one.job.shown_status),
                    badges(one.badges),
                    class_="what",
                ),
                element("div", _ago(one.since, now), class_="when"),
                element("div", identity(one.job), class_="who"),
                element(
                    "div",
                    element("span", words.bounded(one.reason, REASON_CHARACTERS), dir="auto"),
                    element(
                        "span",
                        element("b", "Next: "),
                        one.next_step,
                        _links(one.job, details.get(one.job.arn)),
                        class_="next",
                    ),
                    class_="why",
                ),
            )
            for one in shown
        ),
        class_="concerns",
    )


def _ago(value: datetime | None, now: datetime) -> Html | None:
    if value is None:
        return None
    is_new = abs(now - value) < _JUST_NOW
    return moment(value, shown="just now" if is_new else f"{words.between(value, now)} ago")


def _links(job: Job, anchor: str | None) -> Html:
    found = [] if anchor is None else [element("a", "Details", href=anchor)]
    if job.has_ended and (target := output(job)) is not None:
        found.append(fragment(target))
    return fragment((" ", one) for one in found)


def counts_by_status(counts: Mapping[str, int], *, more: bool = False) -> Html:
    """How many jobs have each status, without statuses that no job has.

    `more` marks each number as a lower bound. Of the statuses that this version does not know,
    the most frequent are shown by name and the others as one number.
    """
    known = [name for name in statuses.KNOWN if counts.get(name)]
    known += [name for name in (NOT_POLLED, NEVER_READ) if counts.get(name)]
    unknown = {name: counts[name] for name in counts if name not in known and counts[name]}
    others = sorted(unknown, key=lambda name: (-unknown[name], name))
    others_count = sum(unknown[name] for name in others[_OTHER_STATUSES:])
    shown = {name: counts[name] for name in (*known, *others[:_OTHER_STATUSES])}
    return element(
        "ul",
        (
            element(
                "li",
                element("b", f"{words.count(number)}{'+' if more else ''}"),
                " ",
                status(name),
            )
            for name, number in (*shown.items(), (_OTHERS, others_count))
            if number
        ),
        class_="chips",
    )


def _cells(job: Job, now: datetime, message_characters: int) -> tuple[Child, ...]:
    return (
        fragment(status(job.shown_status), badges(badges_of(job, now))),
        identity(job),
        progress(job),
        ends(job, now),
        times(job, now),
        message(job, message_characters),
        output(job),
    )


def _separated(*pieces: Child) -> Html:
    known = [piece for piece in pieces if piece is not None]
    return fragment(
        (element("span", " · ", class_="dot", aria_hidden="true") if index else None, piece)
        for index, piece in enumerate(known)
    )
