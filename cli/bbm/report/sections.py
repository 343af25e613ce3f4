"""The sections of a report that are tables: what is active, outcomes, spans, failures, usage."""

from __future__ import annotations

from collections.abc import Sequence

from bbm.report import charts, figures
from bbm.report.contents import (
    ACTIVE_ROWS,
    FAILURE_GROUPS,
    JOBS_PER_GROUP,
    LANES,
    MODELS,
    TABLE_MESSAGE_CHARACTERS,
    Report,
)
from bbm.report.figures import FailureGroup, Outcome, Usage
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation import parts, words
from bedrock_batch_monitor.presentation.job_table import in_order_of_need
from bedrock_batch_monitor.presentation.markup import Child, Html, element, fragment


def active(report: Report) -> Child:
    """The active jobs, in the table that the widget has too."""
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
        parts.rest(len(jobs) - ACTIVE_ROWS, "active job"),
    )


def models(report: Report) -> Child:
    """How the jobs of each model stand."""
    found = figures.outcomes(report.jobs)
    if not found:
        return element("p", "No job in this time.", class_="nothing")
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
        parts.rest(len(found) - MODELS, "model"),
    )


def _model_row(one: Outcome, order: Sequence[str], most: int) -> Html:
    failed = sum(one.by_status[status] for status in figures.FAILURES)
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
            "from submission until it was first seen running",
            figures.spread(job.queued_seconds for job in report.jobs),
            statuses.SCHEDULED,
        ),
        _span(
            "Running",
            "from then to the end",
            figures.spread(job.running_seconds for job in report.jobs),
            statuses.IN_PROGRESS,
        ),
        class_="split",
    )


def _span(name: str, what: str, spread: figures.Spread | None, kind: str) -> Html:
    if spread is None:
        return element(
            "div", element("h3", name), element("p", "Not known of any job.", class_="nothing")
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
    """What failed, grouped by message."""
    groups = figures.failures(report.jobs)
    if not groups:
        return element("p", "No job failed, expired or was only partly done.", class_="nothing")
    return fragment(
        element(
            "p",
            "Jobs that ended alike: messages that differ only in numbers, ids and places in S3 "
            "count as one, and the newest of them is shown.",
        ),
        (_failure_group(report, group) for group in groups[:FAILURE_GROUPS]),
        parts.rest(len(groups) - FAILURE_GROUPS, "kind", "of failure."),
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
                f"{models}; the last ",
                parts.moment(group.newest) or "at an unknown time",
                class_="soft",
            ),
            element(
                "ul",
                (_failed_job(report, index) for index in group.jobs[:JOBS_PER_GROUP]),
            ),
            parts.rest(len(group.jobs) - JOBS_PER_GROUP, "job"),
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
    total, by_model = report.usage
    if not by_model:
        return element("p", "No job in this time.", class_="nothing")
    has_tokens = total.input_tokens is not None or total.output_tokens is not None
    headings = ["Jobs", "Records", "Failed records"]
    headings += ["Input tokens", "Output tokens"] if has_tokens else []
    headings += ["Estimated cost"] if total.dollars is not None else []

    def row(one: Usage, name: Child) -> Html:
        cells = [words.count(one.jobs), _known(one.records), _known(one.failed_records)]
        cells += [_known(one.input_tokens), _known(one.output_tokens)] if has_tokens else []
        if total.dollars is not None:
            cells.append(words.UNKNOWN if one.dollars is None else words.dollars(one.dollars))
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
                    (row(one, parts.short_model(one.model)) for one in by_model[:MODELS]),
                    row(total, total.model) if len(by_model) > 1 else None,
                ),
                class_="models",
            ),
        ),
        parts.rest(len(by_model) - MODELS, "model"),
        None
        if has_tokens
        else element("p", "No tokens are recorded of these jobs.", class_="more-jobs"),
    )


def _known(value: int | None) -> str:
    return words.UNKNOWN if value is None else words.count(value)


def _scroll(name: str, table: Html) -> Html:
    """A table that may be wider than a phone; the keyboard scrolls it as well."""
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label=name)
