"""Writes the results: `docs/performance.md`, and the counts that `bbm cost` uses."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Final

from local.benchmark.baselines import SUBJECTS, WAIT_LOOP, states_per_iteration
from local.benchmark.burst import Burst
from local.benchmark.latency import Latency
from local.benchmark.polls import Measured, OverNetwork, cpu_per_job
from local.benchmark.record_errors import Measured as RecordErrors
from local.benchmark.record_errors import text_of
from local.benchmark.start import Start
from local.benchmark.steps import Step

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "performance.md"
COUNTS: Final = ROOT / "cli" / "bbm" / "counts.json"

_PACKAGES: Final = ("boto3", "botocore", "aws-lambda-powertools", "ministack")
# Checks in an hour.
_CHECKS: Final = 60
_BASELINES: Final = tuple(name for name in SUBJECTS if name != "monitor")


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that one run of the benchmark measured."""

    command: str
    polls: tuple[Measured, ...]
    over_network: tuple[OverNetwork, ...]
    steps: tuple[Step, ...]
    burst: Burst
    latencies: tuple[Latency, ...]
    start: Start
    record_errors: RecordErrors
    forecast: str


def write(results: Results, today: date) -> None:
    """Write the page's generated parts, and the counts."""
    text = PAGE.read_text()
    for mark, lines in {
        "machine": _machine(results, today),
        "poll counts": _counts(results.polls),
        "poll ratios": _ratios(results.polls),
        "over network": _over_network(results.over_network),
        "ways": ways(results.polls),
        "CPU per job": _cpu_per_job(results.polls),
        "steps": _steps(results.steps),
        "burst": _burst(results.burst),
        "latency": _latencies(results.latencies),
        "start": _start(results.start),
        "record errors": [f"- {line}" for line in text_of(results.record_errors).splitlines()],
        "forecast": results.forecast.splitlines(),
    }.items():
        pattern = re.compile(
            rf"(<!-- measured: {mark} -->\n).*?(<!-- end of measured -->)", re.DOTALL
        )
        body = "\n".join(lines) + "\n"
        found = pattern.search(text)
        if found is None:
            message = f"{PAGE.name} has no part between 'measured: {mark}' and its end"
            raise ValueError(message)
        text = text[: found.end(1)] + body + text[found.start(2) :]
    PAGE.write_text(text)
    COUNTS.write_text(json.dumps(_as_json(results), indent=2) + "\n")


def _as_json(results: Results) -> dict[str, object]:
    return {
        "polls": [
            {
                # The name that `bbm cost` reads.
                "subject": measured.subject,
                "jobs": measured.jobs,
                "ended": measured.changed,
                "bedrockCalls": measured.counted.bedrock_calls,
                "readUnits": measured.counted.read_units,
                "writeUnits": measured.counted.write_units,
                "putEventsCalls": measured.counted.calls["PutEvents"],
                "cpuSeconds": round(measured.timed.cpu_seconds, 3),
            }
            for measured in results.polls
        ],
        "steps": {step.key: step.write_units for step in results.steps},
    }


def _machine(results: Results, today: date) -> Iterable[str]:
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    yield f"- Date: {today.isoformat()}; command: `{results.command}`"
    yield f"- Machine: {_cores()} of {_processor()}, {platform.system()}"
    yield f"- Versions: Python {platform.python_version()}, {packages}"


def _counts(polls: Sequence[Measured]) -> Iterable[str]:
    yield "| Jobs | Ended | Bedrock calls | Read units | Write units | PutEvents calls |"
    yield "|---:|---:|---|---|---|---|"
    for row in _rows(polls):
        jobs, ended = row["monitor"].jobs, row["monitor"].changed
        cells = (
            _cells(row, lambda one: f"{one.counted.bedrock_calls:,}"),
            _cells(row, lambda one: f"{one.counted.read_units:,.1f}"),
            _cells(row, lambda one: f"{one.counted.write_units:,.0f}"),
            _cells(row, lambda one: f"{one.counted.calls['PutEvents']:,}"),
        )
        yield f"| {jobs:,} | {ended:,} | {' | '.join(cells)} |"


def _ratios(polls: Sequence[Measured]) -> Iterable[str]:
    yield (
        "| Jobs | Ended | Wall time: scan, pool | CPU time: scan, pool | Peak memory, MiB "
        "| Monitor's seconds: wall, CPU |"
    )
    yield "|---:|---:|---|---|---|---|"
    for row in _rows(polls):
        ours = row["monitor"]
        wall = ", ".join(
            f"{row[name].timed.seconds / ours.timed.seconds:.2f}" for name in _BASELINES
        )
        cpu = ", ".join(
            f"{row[name].timed.cpu_seconds / ours.timed.cpu_seconds:.2f}" for name in _BASELINES
        )
        memory = _cells(row, lambda one: f"{one.counted.peak_bytes / 2**20:.1f}")
        yield (
            f"| {ours.jobs:,} | {ours.changed:,} | {wall} | {cpu} | {memory} "
            f"| {ours.timed.seconds:.2f}, {ours.timed.cpu_seconds:.2f} |"
        )


def _cpu_per_job(polls: Sequence[Measured]) -> Iterable[str]:
    """The CPU time per job of the largest poll in which nothing changed."""
    most = max(
        (one for one in polls if one.subject == "monitor" and not one.changed),
        key=lambda one: one.jobs,
    )
    yield cpu_per_job(most.jobs, most.cpu_seconds)


def _over_network(measured: Sequence[OverNetwork]) -> Iterable[str]:
    """The times of all subjects, with the ratio to the monitor's."""
    rows: dict[int, dict[str, OverNetwork]] = {}
    for one in measured:
        rows.setdefault(one.jobs, {})[one.subject] = one
    others = [name for name in next(iter(rows.values()), {}) if name != "monitor"]
    yield f"| Jobs | monitor, seconds | {' | '.join(f'{name}, seconds' for name in others)} |"
    yield f"|---:|---:{'|---:' * len(others)}|"
    for jobs, row in rows.items():
        ours = row["monitor"].timed.seconds
        cells = [
            f"{row[name].timed.seconds:.1f} ({row[name].timed.seconds / ours:.0f} times)"
            for name in others
        ]
        yield f"| {jobs:,} | **{ours:.2f}** | {' | '.join(cells)} |"


def ways(polls: Sequence[Measured]) -> Iterable[str]:
    """What each way to follow jobs needs per active job and hour, with a check a minute.

    From the largest poll in which nothing changed; the loops make one call per job and check.
    """
    jobs = max(one.jobs for one in polls if not one.changed)
    yield (
        "| Way | Bedrock calls | DynamoDB read units | DynamoDB write units | State transitions |"
    )
    yield "|---|---:|---:|---:|---:|"
    for name in SUBJECTS:
        (one,) = (p for p in polls if (p.subject, p.jobs, p.changed) == (name, jobs, 0))
        cost = one.counted
        cells = (cost.bedrock_calls, cost.read_units, cost.write_units)
        yield f"| {name} | {' | '.join(f'{_CHECKS * cell / jobs:,.2f}' for cell in cells)} | 0 |"
    yield f"| Airflow, one trigger per job | {_CHECKS} | 0 | 0 | 0 |"
    transitions = _CHECKS * states_per_iteration(WAIT_LOOP)
    yield f"| Step Functions, one wait loop per job | {_CHECKS} | 0 | 0 | {transitions} |"


def _steps(steps: Sequence[Step]) -> Iterable[str]:
    yield "| Step | Write units | Read units |"
    yield "|---|---:|---:|"
    for step in steps:
        yield f"| {step.name} | {step.write_units:.1f} | {step.read_units:.2f} |"


def _burst(burst: Burst) -> Iterable[str]:
    yield (
        f"{burst.jobs:,} jobs ended at once: one poll recorded and sent all of them in "
        f"{burst.seconds:.1f} s. The same {burst.transactions:,} TransactWriteItems and "
        f"{burst.put_events:,} PutEvents calls by a bare thread pool took "
        f"{burst.limit_seconds:.1f} s: a ratio of {burst.share_of_limit:.2f}. The CPU time of the "
        f"bare calls is {burst.share_of_limit_cpu:.2f} of the poll's."
    )
    yield ""
    yield "| Operation | Calls per ended job |"
    yield "|---|---:|"
    for operation, count in sorted(burst.calls.items(), key=lambda each: -each[1]):
        yield f"| {operation} | {count / burst.jobs:.2f} |"
    yield f"| All | {sum(burst.calls.values()) / burst.jobs:.2f} |"
    yield ""
    yield (
        f"All of these calls by a bare thread pool take {burst.all_seconds:.1f} s, and "
        f"{burst.share_of_all_cpu:.2f} of the poll's CPU time."
    )


def _latencies(latencies: Sequence[Latency]) -> Iterable[str]:
    yield "| Path | Active jobs | Runs | Median, seconds | Longest, seconds |"
    yield "|---|---:|---:|---:|---:|"
    for one in latencies:
        yield (
            f"| {one.path} | {one.jobs:,} | {len(one.seconds)} | {one.median:.2f} "
            f"| {one.longest:.2f} |"
        )


def _start(start: Start) -> Iterable[str]:
    yield (
        f"Import and clients of the handler take {start.handler_seconds * 1000:.0f} ms, those of a "
        f"bare boto3 with the same clients {start.bare_seconds * 1000:.0f} ms: a ratio of "
        f"{start.ratio:.2f}. Where nothing is compiled yet, as in Lambda, the handler takes "
        f"{start.uncompiled_seconds * 1000:.0f} ms. The bundle has "
        f"{start.unpacked_bytes / 2**20:.1f} MiB unpacked and "
        f"{start.zipped_bytes / 2**20:.1f} MiB zipped."
    )


def _rows(polls: Sequence[Measured]) -> Iterable[Mapping[str, Measured]]:
    rows: dict[tuple[int, int], dict[str, Measured]] = {}
    for measured in polls:
        rows.setdefault((measured.jobs, measured.changed), {})[measured.subject] = measured
    return rows.values()


def _cells(row: Mapping[str, Measured], text: Callable[[Measured], str]) -> str:
    """The monitor's figure, then those of the baselines."""
    ours, *others = (text(row[name]) for name in SUBJECTS)
    return f"**{ours}**, {', '.join(others)}"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _cores() -> str:
    count = os.cpu_count() or 1
    return f"{count} core{'s' if count > 1 else ''}"
