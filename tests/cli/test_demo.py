"""The views and the scenario of the demo; `make demo` itself needs the emulator."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bedrock_batch_monitor.domain import statuses
from local.demo import scenario, view

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 25, 6, 30, tzinfo=UTC)
PREFIX = "arn:aws:bedrock:us-east-1:000000000000:model-invocation-job/"


def item(number: int, planned: scenario.PlannedJob) -> dict[str, Any]:
    """The item of a job of the demo at its end."""
    end = planned.script.phases[-1]
    return {
        "jobArn": f"{PREFIX}abcdefghij{number:02}",
        "jobName": planned.name,
        "status": end.status,
        "message": end.message or "",
        "eventId": "x",
        "totalRecordCount": planned.records,
        "processedRecordCount": planned.records,
        "observedAt": "2026-11-25T06:29:00.000Z",
        "changedAt": "2026-11-25T06:28:00.000Z",
    }


def event(job: dict[str, Any]) -> dict[str, Any]:
    records = {"success": 47_000, "error": 1_500}
    data = {"jobName": job["jobName"], "status": job["status"], "message": job["message"]}
    metadata = {"observedAt": job["observedAt"]}
    return {"detail": {"data": data | {"records": records}, "metadata": metadata}}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_live_view_of_the_demo_fits_the_terminal(width: int) -> None:
    """It has every job and every event, and no line is wider than the terminal."""
    jobs = [item(number, planned) for number, planned in enumerate(scenario.JOBS)]
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(view.screen(jobs, [event(job) for job in jobs], NOW, "polls: 1", width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert sum("nightly-" in line for line in lines) == 2
    assert sum("PartiallyCompleted" in line for line in lines) == 2


def test_lines_of_the_demo_fit_80_columns() -> None:
    """They are the output in a pipe, for the longest name and status."""
    longest = max(scenario.JOBS, key=lambda job: len(job.name))
    job = item(0, longest) | {
        "status": statuses.PARTIALLY_COMPLETED,
        "previousStatus": statuses.PARTIALLY_COMPLETED,
    }
    assert len(view.transition_line(job)) <= 80
    assert len(view.event_line(event(job))) <= 80


def test_demo_has_every_terminal_status_and_failed_records() -> None:
    """One job is Completed with failed records."""
    completed = [job for job in scenario.JOBS if job.script.phases[-1].status == "Completed"]
    assert any(job.script.error_share * job.records >= 1 for job in completed)
    ends = {job.script.phases[-1].status for job in scenario.JOBS if not job.stopped_by_user}
    assert ends | {statuses.STOPPED} == {*statuses.TERMINAL}


def test_demo_prints_its_first_lines_before_the_emulator_starts() -> None:
    """Not in a terminal; this run ends where the emulator would start."""
    program = (
        "import local.demo.__main__ as demo\n"
        "def local_cloud(**_): raise SystemExit('the cloud starts')\n"
        "demo.local_cloud = local_cloud\n"
        "demo.main(keep=False)\n"
    )
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "functions", "cli"))
    done = subprocess.run(  # noqa: S603 - this Python
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip() == "the cloud starts"
    assert "This takes less than a minute" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80
