"""The report: one self-contained HTML page for a period.

Its Content-Security-Policy allows no script and no other resource, so a job name or a message can
only be text. Parts that open and close are `details` elements, which work with a keyboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bbm.report import figures, page_style, pieces, sections
from bbm.report.contents import Report
from bbm.report.timeline import grid_rules, timeline
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation import parts, words
from bedrock_batch_monitor.presentation.markup import Child, Html, element, fragment, stylesheet

_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
_DOCTYPE: Final = Html("<!doctype html>\n")
# What a tile shows: its heading, its value and a note.
_Tile = tuple[str, str, str | None]
_LONG: Final = frozenset({"attention", "now", "time", "failures"})


def render(report: Report) -> Html:
    """The whole page, from its doctype on."""
    shown: tuple[tuple[str, str, Child], ...] = (
        ("attention", "Needs attention", sections.attention(report)),
        ("now", "Active now", sections.active(report)),
        ("time", "Timeline", timeline(report)),
        ("models", "Outcomes by model", sections.models(report)),
        ("spans", "Queue and run time", sections.spans(report)),
        ("failures", "Failures", sections.failures(report)),
        ("usage", "Usage", sections.usage(report)),
    )
    title = f"Bedrock batch jobs, {report.region}, {pieces.day(report.until)} {report.until:%Y}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        stylesheet(page_style.style_sheet() + grid_rules(report)),
    )
    body = element(
        "body",
        element(
            "div",
            element("a", "Skip to the jobs", href="#attention", class_="skip"),
            _header(report, [(place, name) for place, name, _ in shown]),
            element(
                "main",
                (
                    element(
                        "section",
                        element("h2", name, id=f"{place}-heading"),
                        content,
                        id=place,
                        aria_labelledby=f"{place}-heading",
                        class_="long" if place in _LONG else None,
                    )
                    for place, name, content in shown
                ),
            ),
            _footer(report),
            class_="bbm",
        ),
    )
    return fragment(_DOCTYPE, element("html", head, body, lang="en"), "\n")


def _header(report: Report, places: Sequence[tuple[str, str]]) -> Html:
    return element(
        "header",
        element("h1", "Bedrock batch inference jobs"),
        element(
            "p",
            f"{report.region} · account {report.account} · ",
            parts.moment(report.since),
            " to ",
            parts.moment(report.until),
            " UTC",
        ),
        _tiles(report),
        element(
            "nav",
            element(
                "ul",
                (element("li", element("a", name, href=f"#{place}")) for place, name in places),
            ),
            aria_label="Sections",
        ),
    )


def _tiles(report: Report) -> Html:
    tiles = [*_job_tiles(report), *_usage_tiles(report)]
    return element(
        "ul",
        (
            element(
                "li",
                element("span", what, class_="what"),
                element("span", value, class_="value"),
                element("span", note, class_="note") if note else None,
            )
            for what, value, note in tiles
        ),
        class_=f"tiles of-{len(tiles)}",
    )


def _job_tiles(report: Report) -> list[_Tile]:
    total = report.tally
    urgent = sum(not one.job.has_ended for one in report.concerns)
    run = figures.spread(job.running_seconds for job in report.jobs)
    kinds = ((total.ended, "ended"), (total.active, "active"), (total.untracked, "not tracked"))
    return [
        (
            "Jobs",
            words.count(total.jobs),
            ", ".join(f"{words.count(number)} {kind}" for number, kind in kinds if number) or None,
        ),
        (
            "Active now",
            words.count(total.active),
            f"{words.count(urgent)} to check" if urgent else "no problem detected",
        ),
        (
            "Completed",
            words.percent(total.completed, total.ended) or words.UNKNOWN,
            f"{words.count(total.completed)} of {words.count(total.ended)} ended",
        ),
        (
            "Not completed",
            words.count(total.not_completed),
            ", ".join(
                f"{words.count(total.by_status[status])} {status}"
                for status in statuses.TERMINAL
                if status != statuses.COMPLETED and total.by_status[status]
            )
            or None,
        ),
        (
            "Median run time",
            words.UNKNOWN if run is None else words.duration(run.median),
            None if run is None else f"9 of 10 within {words.duration(run.ninetieth)}",
        ),
    ]


def _usage_tiles(report: Report) -> list[_Tile]:
    total = report.usage
    tiles: list[_Tile] = [
        (
            "Records processed",
            words.UNKNOWN if total.records is None else words.short(total.records),
            None if not total.failed_records else f"{words.short(total.failed_records)} failed",
        ),
    ]
    if total.has_tokens:
        both = (total.input_tokens or 0) + (total.output_tokens or 0)
        tiles.append(
            (
                "Tokens",
                words.short(both),
                f"{words.short(total.output_tokens or 0)} of them output",
            )
        )
    if total.estimated_cost_usd is not None:
        cost = pieces.dollars(total.estimated_cost_usd)
        tiles.append(("Estimated cost", cost, "from the setting tokenPrices"))
    return tiles


def _footer(report: Report) -> Html:
    return element(
        "footer",
        element(
            "p",
            f"From the tables of the stack {report.stack}, as of {words.moment(report.until)} UTC. "
            "All times are UTC.",
        ),
        element(
            "p",
            "The names and messages of jobs can contain customer data. This file contains all of "
            "its data and loads nothing.",
        ),
    )
