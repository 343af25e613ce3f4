"""The sections of a report: active jobs, statuses by model, durations, failures, usage."""

from __future__ import annotations

from collections.abc import Sequence

from bbm.report import charts, figures, pieces
from bbm.report.contents import (
    ACTIVE_ROWS,
    FAILURE_GROUPS,
    JOBS_PER_GROUP,
    LANES,
    MODELS,
    TABLE_MESSAGE_CHARACTERS,
    Report,
)
from bbm.report.figures import FailureGroup, Outcome
from bbm.usage import Totals
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation import parts, words
from bedrock_batch_monitor.presentation.badges import FAILURES
from bedrock_batch_monitor.presentation.job_table import in_order_of_need
from bedrock_batch_monitor.presentation.markup import Child, Html, element, fragment


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
    found = figures.outcomes(report.jobs)
    if not found:
        return element("p", "No job in this period.", class_="nothing")
    order = [*statuses.TERMINAL, *reversed(statuses.NON_TERMINAL)]
    order += sorted(status for status in report.by_status if status not in statuses.KNOWN)
    most = found[0].jobs
    return fragment(
        _scroll(
            "Outcomes by model",
            element(
                "table",
                element(
                    "thead",
                    element(
                        "tr",
                        element("th", "Model", scope="col", class_="c-model"),
                        element("th", "Jobs by status", scope="col", class_="c-share"),
                        element("th", "Jobs", scope="col", class_="num"),
                        element("th", "Ended", scope="col", class_="num"),
                        element("th", "Completed", scope="col", class_="num"),
                        element("th", "Failed", scope="col", class_="num"),
                    ),
                ),
                element("tbody", (_model_row(one, order, most) for one in found[:MODELS])),
                class_="models",
            ),
        ),
        pieces.not_shown(len(found) - MODELS, "model"),
    )


def _model_row(one: Outcome, order: Sequence[str], most: int) -> Html:
    failed = sum(one.by_status[status] for status in FAILURES)
    return element(
        "tr",
        element("th", parts.short_model(one.model), scope="row", class_="c-model"),
        element("td", charts.stack(one, order, most), class_="c-share"),
        element("td", words.count(one.jobs), class_="num"),
        element("td", words.count(one.ended), class_="num"),
        element("td", words.percent(one.by_status[statuses.COMPLETED], one.ended), class_="num"),
        element("td", words.count(failed), class_="num alarm" if failed else "num"),
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
        return element("p", "No job in this period.", class_="nothing")
    has_tokens, has_cost = total.has_tokens, total.estimated_cost_usd is not None
    headings = ["Jobs", "Records", "Failed records"]
    headings += ["Input tokens", "Output tokens"] if has_tokens else []
    headings += ["Estimated cost"] if has_cost else []

    def row(one: Totals, name: Child) -> Html:
        cells = [words.count(one.jobs), _known(one.records), _known(one.failed_records)]
        cells += [_known(one.input_tokens), _known(one.output_tokens)] if has_tokens else []
        if has_cost:
            cost = one.estimated_cost_usd
            cells.append(words.UNKNOWN if cost is None else pieces.dollars(cost))
        return element(
            "tr",
            element("th", name, scope="row", class_="c-model"),
            (element("td", cell, class_="num") for cell in cells),
        )

    return fragment(
        _scroll(
            "Usage by model",
            element(
                "table",
                element(
                    "thead",
                    element(
                        "tr",
                        element("th", "Model", scope="col", class_="c-model"),
                        (element("th", name, scope="col", class_="num") for name in headings),
                    ),
                ),
                element(
                    "tbody",
                    (row(one, parts.short_model(model)) for model, one in by_model[:MODELS]),
                    row(total, "All models") if len(by_model) > 1 else None,
                ),
                class_="models",
            ),
        ),
        pieces.not_shown(len(by_model) - MODELS, "model"),
        None
        if has_tokens
        else element("p", "No token counts are recorded for these jobs.", class_="more-jobs"),
    )


def _known(value: int | None) -> str:
    return words.UNKNOWN if value is None else words.count(value)


def _scroll(name: str, table: Html) -> Html:
    """A scrollable area for a table that can be wider than the window."""
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label=name)
