"""The page that `make bench` writes, from invented numbers."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from local.benchmark import page
from local.benchmark.baselines import CALLS_ONLY, SUBJECTS, WAIT_LOOP, states_per_iteration
from local.benchmark.burst import Burst
from local.benchmark.latency import Latency
from local.benchmark.meter import Cost
from local.benchmark.polls import Measured, OverNetwork
from local.benchmark.record_errors import Measured as RecordErrors
from local.benchmark.record_errors import Reading
from local.benchmark.start import Start
from local.benchmark.steps import Step

SIZES = (10, 1000)


def cost(jobs: int) -> Cost:
    """A cost of a poll of so many jobs."""
    calls = Counter({"GetModelInvocationJob": jobs, "PutEvents": 1})
    return Cost(calls, 2.5 * jobs, 1.5 * jobs, jobs / 100, jobs / 10_000, 2**20)


RESULTS = page.Results(
    command="make bench",
    polls=tuple(
        Measured(subject, jobs, changed, cost(jobs), cost(jobs), (0.1, 0.3, 0.2))
        for jobs in SIZES
        for changed in (0, jobs)
        for subject in SUBJECTS
    ),
    over_network=tuple(
        OverNetwork(subject, 1000, cost(1000 * (1 + place)), 1000)
        for place, subject in enumerate((*SUBJECTS, *CALLS_ONLY))
    ),
    steps=(Step("transition", 0.5, 6.0),),
    burst=Burst(1000, {"PutEvents": 100}, 1000, 100, 10.0, 8.0, 9.0, 5.0, 4.0, 4.5),
    latencies=(Latency("native event", 1, (0.1, 0.2, 0.3)),),
    start=Start(0.2, 0.1, 2.0, 0.4, 2**20, 2**19),
    record_errors=RecordErrors(
        Reading(10**8, 1.0, 10**7), Reading(10**8, 4.0, 10**7), Reading(10**8, 2.0, 10**7), 1000
    ),
    forecast="| History |\n|---|\n| steady |\n",
)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the page, with these results."""
    shutil.copy(page.PAGE, tmp_path / "performance.md")
    monkeypatch.setattr(page, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(page, "COUNTS", tmp_path / "counts.json")
    page.write(RESULTS, date(2026, 11, 24))
    return tmp_path


def test_results_fill_every_part_of_the_page(written: Path) -> None:
    """Every part is replaced, and a second run replaces the first."""
    text = (written / "performance.md").read_text()
    parts = dict(re.findall(r"<!-- measured: (.+?) -->\n(.*?)<!-- end", text, re.DOTALL))
    page.write(RESULTS, date(2026, 11, 24))

    assert parts["machine"].startswith("- Date: 2026-11-24")
    assert "| 1,000 | **10.00** | 20.0 (2 times) |" in parts["over network"]
    assert "| monitor | 60.00 | 150.00 | 90.00 | 0 |" in parts["ways"]
    assert "100 µs" in parts["CPU per job"]
    assert "a ratio of 0.80" in parts["burst"]
    assert "0.90 of the poll's CPU time" in parts["burst"]
    assert "ratio of time 0.25" in parts["record errors"]
    assert parts["forecast"] == RESULTS.forecast
    assert all(parts.values())
    assert (written / "performance.md").read_text() == text


def test_counts_include_every_poll(written: Path) -> None:
    """The counts of `bbm cost` are those of an instant Bedrock only."""
    counts = json.loads((written / "counts.json").read_text())

    assert len(counts["polls"]) == len(RESULTS.polls)
    assert counts["steps"] == {"transition": 6.0}


def test_wait_loop_enters_three_states_for_each_check() -> None:
    """Wait, Get, Choice: each state transition is charged."""
    assert states_per_iteration(WAIT_LOOP) == 3
