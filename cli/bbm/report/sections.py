"""The sections of a report: active jobs, statuses by model, durations, failures, usage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bbm.report import charts, figures, pieces
from bbm.report.contents import (
    ACTIVE_ROWS,
    ATTENTION_OPEN,
    ATTENTION_ROWS,
    FAILURE_GROUPS,
    JOBS_PER_GROUP,
    LANES,
    MODELS,
    TABLE_MESSAGE_CHARACTERS,
    TAG_VALUES,
    Report,
)
from bbm.report.figures import FailureGroup
from bbm.usage import Totals
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation import parts, words
from bedrock_batch_monitor.presentation.job_table import in_order_of_need
from bedrock_batch_monitor.presentation.markup import Child, Html, element, fragment
from bedrock_batch_monitor.presentation.tally import Tally

_USAGE: Final = (
    "Jobs",
    "Records",
    "Failed records",
    "Input tokens",
    "Output tokens",
    "Cost (est.)",
)


def attention(report: Report) -> Child:
    """The jobs that need attention, each with its reason and the next step."""
    if not report.concerns:
        return element("p", "No job needs attention.", class_="nothing")
    lanes = {track.job.arn: f"#j{index}" for index, track in enumerate(report.tracks[:LANES])}
    others = report.concerns[ATTENTION_OPEN:ATTENTION_ROWS]
    return fragment(
        parts.attention(report.concerns[:ATTENTION_OPEN], report.until, lanes),
        element(
            "details",
            element("summary", f"Show {words.plural(len(others), 'more job')}", class_="soft"),
            parts.attention(others, report.until, lanes),
            class_="others",
        )
        if others
        else None,
        pieces.not_shown(
            len(report.concerns) - ATTENTION_ROWS, "job", "The sections below include all jobs."
        ),
    )


def active(report: Report) -> Child:
    """The active jobs, in the same table as in the widget."""
    if not report.active:
        return element("p", "No job is active.", class_="nothing")
    jobs = in_order_of_need(report.active, report.until)
    return fragment(
        parts.jobs_table(
            jobs[:ACTIVE_ROWS],
            report.until,
            ended=False,
            caption="Active jobs",
            message_characters=TABLE_MESSAGE_CHARACTERS,
        ),
        pieces.not_shown(len(jobs) - ACTIVE_ROWS, "active job"),
    )


def models(report: Report) -> Child:
    """The jobs of each model by status."""
    found = figures.by_model(report.jobs)
    if not found:
        return element("p", "No job in this period.", class_="nothing")
    order = [*statuses.TERMINAL, *reversed(statuses.NON_TERMINAL)]
    order += sorted(status for status in report.tally.by_status if status not in statuses.KNOWN)
    most = found[0][1].jobs
    return fragment(
        pieces.numbers(
            "Jobs by model and status",
            "Model",
            ("Jobs", "Ended", "Completed", "Not completed"),
            [_model_row(model, counted, order, most) for model, counted in found[:MODELS]],
            "Jobs by status",
        ),
        pieces.not_shown(len(found) - MODELS, "model"),
    )


def _model_row(model: str, counted: Tally, order: Sequence[str], most: int) -> pieces.Row:
    return pieces.Row(
        parts.short_model(model),
        (
            words.count(counted.jobs),
            words.count(counted.ended),
            words.percent(counted.completed, counted.ended) or None,
            words.count(counted.not_completed) if counted.ended else None,
        ),
        charts.stack(counted, order, most),
        frozenset({3} if counted.not_completed else ()),
    )


def spans(report: Report) -> Child:
    """How long jobs wait and run."""
    return element(
        "div",
        _span(
            "In the queue",
            "from submission to the first observation of InProgress",
            figures.spread(job.queued_seconds for job in report.jobs),
            statuses.SCHEDULED,
        ),
        _span(
            "Running",
            "from that observation to the end",
            figures.spread(job.running_seconds for job in report.jobs),
            statuses.IN_PROGRESS,
        ),
        class_="split",
    )


def _span(name: str, what: str, spread: figures.Spread | None, kind: str) -> Html:
    if spread is None:
        return element(
            "div", element("h3", name), element("p", "Unknown for all jobs.", class_="nothing")
        )
    return element(
        "div",
        element("h3", name),
        element(
            "ul",
            element("li", "half within ", element("b", words.duration(spread.median))),
            element("li", "9 of 10 within ", element("b", words.duration(spread.ninetieth))),
            element("li", "longest ", element("b", words.duration(spread.longest))),
            class_="three",
        ),
        charts.histogram(spread, f"{name}, {what}: jobs by time", kind),
        element("p", f"{words.plural(spread.number, 'job')}, {what}.", class_="under"),
    )


def failures(report: Report) -> Child:
    """The failed jobs, grouped by message."""
    groups = figures.failures(report.jobs)
    if not groups:
        return element("p", "No job failed, expired or partially completed.", class_="nothing")
    return fragment(
        element(
            "p",
            "Jobs with the same status and a similar message form a group. Messages are similar if "
            "they differ only in numbers, ids and S3 URIs. The newest message is shown.",
        ),
        (_failure_group(report, group) for group in groups[:FAILURE_GROUPS]),
        pieces.not_shown(len(groups) - FAILURE_GROUPS, "group"),
    )


def _failure_group(report: Report, group: FailureGroup) -> Html:
    models = ", ".join(
        f"{words.bounded(model.rpartition('/')[2], parts.MODEL_CHARACTERS)} ({words.count(number)})"
        for model, number in group.models.most_common(5)
    )
    return element(
        "details",
        element(
            "summary",
            element(
                "span",
                words.count(len(group.jobs)),
                element("span", " jobs", class_="vh"),
                class_="many",
            ),
            parts.status(group.status),
            element("span", group.example, class_="example", dir="auto"),
        ),
        element(
            "div",
            element(
                "span",
                f"{models}; the latest ",
                parts.moment(group.newest) or "at an unknown time",
                class_="soft",
            ),
            element(
                "ul",
                (_failed_job(report, index) for index in group.jobs[:JOBS_PER_GROUP]),
            ),
            pieces.not_shown(len(group.jobs) - JOBS_PER_GROUP, "job"),
            class_="more",
        ),
        class_="group",
    )


def _failed_job(report: Report, index: int) -> Html:
    job = report.jobs[index]
    label = element("span", words.bounded(job.label, parts.NAME_CHARACTERS), dir="auto")
    shown = element("a", label, href=f"#j{index}") if index < LANES else label
    return element("li", shown, " ", element("span", parts.moment(job.ended), class_="soft"))


def usage(report: Report) -> Child:
    """Records, tokens and cost by model."""
    total, by_model = report.usage, report.usage_by_model
    if not by_model:
        return element("p", "No job has ended in this period.", class_="nothing")
    rows = [_usage_row(parts.short_model(model), one) for model, one in by_model[:MODELS]]
    if len(by_model) > 1:
        rows.append(_usage_row("All models", total))
    return fragment(
        element("p", "Of all jobs that ended, as in ", element("b", "bbm usage"), "."),
        pieces.numbers("Usage by model", "Model", _USAGE, rows),
        pieces.not_shown(len(by_model) - MODELS, "model"),
        (_usage_by_tag(key, groups) for key, groups in report.usage_by_tag),
        None
        if total.has_tokens
        else element("p", "No token counts are recorded for these jobs.", class_="more-jobs"),
    )


def _usage_by_tag(key: str, groups: Sequence[tuple[str, Totals]]) -> Html:
    shown = words.bounded(key, parts.MODEL_CHARACTERS)
    rows = [
        _usage_row(element("span", words.bounded(value, parts.MODEL_CHARACTERS), dir="auto"), one)
        for value, one in groups[:TAG_VALUES]
    ]
    return fragment(
        pieces.numbers(f"Usage by the tag {shown}", shown, _USAGE, rows),
        pieces.not_shown(len(groups) - TAG_VALUES, "value"),
    )


def _usage_row(name: Child, one: Totals) -> pieces.Row:
    counts = (one.jobs, one.records, one.failed_records, one.input_tokens, one.output_tokens)
    cost = one.estimated_cost_usd
    return pieces.Row(
        name,
        (
            *(None if value is None else words.count(value) for value in counts),
            None if cost is None else pieces.dollars(cost),
        ),
    )
