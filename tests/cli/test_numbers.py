"""Numbers of jobs: the report, its file for programs, `bbm usage` and the widget agree."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from boto3.dynamodb.types import TypeSerializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_batch_monitor.app.overview import Overview
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.presentation import job_table
from bedrock_batch_monitor.settings import OverviewSettings
from tests.explorer.dynamodb import DynamoDB
from tests.support.tables import create_tables

from .conftest import Bbm, TestClients

NOW = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
SINCE = NOW - timedelta(days=7)
STATUSES = (*statuses.KNOWN, "Paused")
MODELS = ("amazon.nova-lite-v1:0", "anthropic.claude-sonnet-4-20250514-v1:0")


@dataclass(frozen=True)
class Case:
    """One job, as its tables have it.

    `item` is what became of its item: it is current, was deleted, was put again by hand after the
    job had ended, or is one of a backup from before the end. `second_end` is another end in the
    history, which a fork would leave.
    """

    status: str | None
    hours_ago: float
    item: str
    is_tracked: bool
    error: bool
    model: str | None
    processed: int | None
    second_end: str | None

    @property
    def has_ended(self) -> bool:
        """Whether its end is recorded."""
        return self.status in statuses.TERMINAL

    @property
    def is_in_period(self) -> bool:
        """Whether its last transition was observed in the period of the report."""
        return timedelta(hours=self.hours_ago) <= NOW - SINCE

    @property
    def is_active(self) -> bool:
        """Whether the tables have it as an active job.

        Nobody reads the end before the period of an item that was put again.
        """
        if self.has_ended:
            return self.item in {"put again", "old"} and not self.is_in_period
        return self.is_tracked and self.item != "deleted"


cases = st.builds(
    Case,
    status=st.none() | st.sampled_from(STATUSES),
    hours_ago=st.sampled_from([0.5, 30, 160, 170, 2000]),
    item=st.sampled_from(["current", "deleted", "put again", "old"]),
    is_tracked=st.booleans(),
    error=st.booleans(),
    model=st.none() | st.sampled_from(MODELS),
    processed=st.none() | st.integers(0, 10**6),
    second_end=st.none() | st.sampled_from(statuses.TERMINAL),
)


def stored(item: dict[str, Any]) -> dict[str, Any]:
    """An item with DynamoDB's types."""
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in item.items()}


def tables_of(these: list[Case]) -> DynamoDB:
    """The tables with these jobs."""
    dynamodb = DynamoDB()
    create_tables(dynamodb)
    for index, case in enumerate(these):
        arn = f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/number{index:06}"
        at = NOW - timedelta(hours=case.hours_ago)
        values: dict[str, Any] = {"jobArn": arn, "modelId": case.model}
        values |= {"processedRecordCount": case.processed, "changedAt": to_iso(at)}
        values = {name: value for name, value in values.items() if value is not None}
        ends = [case.status, case.second_end] if case.has_ended else [case.status]
        for sequence, status in enumerate(filter(None, ends), 1):
            entry = {**values, "status": status, "sequence": sequence, "observedAt": to_iso(at)}
            dynamodb.put_item(TableName="history", Item=stored(entry))
        if case.item == "deleted":
            continue
        item = dict(values)
        if case.status is not None:
            item["status"] = ends[-1] or case.status
        if case.has_ended and case.item in {"put again", "old"}:
            item = {"jobArn": arn, "tracking": "ACTIVE"}
            if case.item == "old":
                item |= {**values, "status": "InProgress"}
        elif case.is_tracked and not case.has_ended:
            item["tracking"] = "ACTIVE"
        if case.error and case.status is None:
            item["lastError"] = {"code": "InvalidJobArn", "message": "no"}
        dynamodb.put_item(TableName="jobs", Item=stored(item))
    return dynamodb


def number(text: str) -> int:
    """A number with thousands separators."""
    return int(text.replace(",", ""))


def tile(page: str, name: str) -> tuple[str, str]:
    """The value and the note of a tile."""
    found = re.search(
        rf'<span class="what">{name}</span><span class="value">([^<]*)</span>'
        r'(?:<span class="note">([^<]*)</span>)?',
        page,
    )
    assert found is not None, name
    return found[1], found[2] or ""


def section(page: str, place: str) -> str:
    """The HTML of a section."""
    return page.partition(f'<section id="{place}"')[2].partition("</section>")[0]


def column(part: str, heading: str) -> list[int]:
    """The numbers in a column of a table of numbers; unknown ones are left out."""
    cells = re.findall(
        rf'<span class="k" aria-hidden="true">{re.escape(heading)} </span>([^<]*)</td>', part
    )
    return [number(cell) for cell in cells if cell[:1].isdigit()]


def chips(part: str) -> dict[str, int]:
    """Numbers of jobs by status in the first list of statuses."""
    part = part.partition('class="chips"')[2].partition("</ul>")[0]
    found = re.findall(r"<li><b>([\d,]+)</b>.*?</svg><span>([^<]*)</span>", part)
    return {name: number(count) for count, name in found}


def run(dynamodb: DynamoDB, bbm: Bbm, folder: Path) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The documents of `bbm report` and `bbm usage`, and the page."""
    bbm.clients = TestClients(dynamodb, None, None)
    target = folder / "report.html"
    document = bbm.json("report", "-o", str(target), "--since", to_iso(SINCE))
    used = bbm.json("usage", "--since", to_iso(SINCE))
    return document, used, target.read_text(encoding="utf-8")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(cases, max_size=12))
def test_every_surface_counts_the_same_jobs(bbm: Bbm, tmp_path: Path, these: list[Case]) -> None:
    """For any items and history entries, the same question has one number."""
    ended = [case for case in these if case.has_ended and case.is_in_period]
    active = [case for case in these if case.is_active]
    final = [case.second_end or case.status for case in ended]
    dynamodb = tables_of(these)
    document, used, page = run(dynamodb, bbm, tmp_path)
    names = OverviewSettings("jobs", "history")
    view = Overview(dynamodb, names).read(SINCE, NOW)  # type: ignore[arg-type]
    widget = job_table.live(view, NOW, dark=False)

    # The number of jobs that ended, and of those that did not complete.
    completed = final.count("Completed")
    assert used["total"]["jobs"] == len(ended)
    assert sum(line["jobs"] for line in used["usage"]) == len(ended)
    assert sum(document["byStatus"].get(name, 0) for name in statuses.TERMINAL) == len(ended)
    assert tile(page, "Completed")[1] == f"{completed} of {len(ended)} ended"
    assert tile(page, "Not completed")[0] == str(len(ended) - completed)
    assert sum(map(int, re.findall(r"\d+", tile(page, "Not completed")[1]))) == (
        len(ended) - completed
    )
    assert sum(column(section(page, "models"), "Ended")) == len(ended)
    assert sum(column(section(page, "models"), "Not completed")) == len(ended) - completed
    assert column(section(page, "usage"), "Jobs")[-1:] == ([len(ended)] if ended else [])
    assert sum(sum(column(section(page, "time"), name)) for name in statuses.TERMINAL) == len(ended)
    assert sum(view.ended_by_status.values()) == len(view.ended) == len(ended)
    assert (f"{len(ended)} job" if ended else "No job has") + (
        "s ended" if len(ended) > 1 else " ended"
    ) in re.sub(r"<[^>]*>", "", widget)

    # The number of active jobs.
    assert document["active"] == len(active)
    assert tile(page, "Active now")[0] == str(len(active))
    assert section(page, "now").count('<td role="cell" class="c-status">') == len(active)
    assert sum(view.active_by_status.values()) == len(view.active) == len(active)

    # The number of all jobs, and of those in each status.
    assert tile(page, "Jobs")[0] == str(document["jobs"])
    assert sum(map(int, re.findall(r"\d+", tile(page, "Jobs")[1]))) == document["jobs"]
    assert sum(column(section(page, "models"), "Jobs")) == document["jobs"]
    assert page.count('class="lane ') == document["jobs"]
    legend = chips(section(page, "time"))
    assert sum(legend.values()) == document["jobs"]
    assert {name: legend[name] for name in legend if name in STATUSES} == document["byStatus"]
    shown = chips(widget)
    for name in statuses.TERMINAL:
        assert shown.get(name, 0) == legend.get(name, 0) == final.count(name)

    # Records and tokens.
    assert document["usage"].get("records") == used["total"].get("records")
    known = [case.processed for case in ended if case.processed is not None]
    assert used["total"].get("records") == (sum(known) if known else None)
    assert json.loads(json.dumps(document))["usage"].get("estimatedCostUsd") is None
