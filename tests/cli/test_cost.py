"""The cost estimate: the lines add up, and the cost grows with the workload."""

import json
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bbm.cost import Counts, Workload, alternatives, as_json, bill, counts, total
from bbm.main import app

WORKLOADS = st.builds(
    Workload,
    jobs=st.integers(1, 10**6),
    interval_minutes=st.integers(1, 60),
    hours_per_job=st.integers(1, 168),
    progress_minutes=st.integers(1, 1440),
    memory_megabytes=st.integers(128, 10240),
)


@given(WORKLOADS)
def test_cost_is_never_negative(workload: Workload) -> None:
    """For every line and alternative."""
    assert all(line.dollars >= 0 for line in bill(workload))
    assert all(other.dollars >= 0 for other in alternatives(workload))


@given(WORKLOADS)
def test_json_document_agrees_with_the_bill(workload: Workload) -> None:
    """The lines of `--json` add up to its sum, within their rounding."""
    document = as_json(workload)
    lines = [line["dollarsPerMonth"] for line in document["lines"]]

    assert abs(sum(lines) - document["dollarsPerMonth"]) <= 0.0001 * len(lines)
    assert json.loads(json.dumps(document)) == document


@given(st.integers(1, 10_000), st.integers(1, 60))
def test_more_jobs_never_cost_less(jobs: int, interval: int) -> None:
    """For the monitor and for the alternatives."""
    fewer, more = (Workload(jobs=number, interval_minutes=interval) for number in (jobs, jobs + 1))
    for one, other in zip(alternatives(fewer), alternatives(more), strict=True):
        if one.name != "One function, scans and updates every job":
            assert one.dollars <= other.dollars
    writes = [
        sum(line.dollars for line in bill(workload) if "writes" in line.what)
        for workload in (fewer, more)
    ]
    assert writes[0] <= writes[1]


def test_counts_are_interpolated_between_measured_sizes() -> None:
    """They are extrapolated beyond these sizes, but never below zero."""
    found = Counts({"monitor": {10: {"reads": 1.0}, 30: {"reads": 5.0}}}, {})

    assert found.at("monitor", "reads", 20) == 3
    assert found.at("monitor", "reads", 40) == 7
    assert found.at("monitor", "reads", 1) == 0
    assert Counts({"monitor": {10: {"reads": 1.5}}}, {}).at("monitor", "reads", 99) == Fraction(
        3, 2
    )


def test_counts_of_the_benchmark_are_complete() -> None:
    """For every design that the estimate uses, and for every step."""
    assert {"monitor", "scan", "pool"} <= counts().polls.keys()
    assert counts().steps.keys() == {"discovery", "transition", "counts", "end"}
    assert all(units >= 1 for units in counts().steps.values())


def test_step_functions_loop_costs_its_transitions() -> None:
    """Three transitions a minute, at $25 a million: $3.24 for each job and month."""
    [loop] = [other for other in alternatives(Workload(jobs=100)) if "Step Functions" in other.name]

    assert loop.dollars == 324
    assert "46 hours" in loop.remark


def test_cost_command_needs_no_account() -> None:
    """Neither credentials nor a stack; the sum is at the end of the bill."""
    result = CliRunner().invoke(app, ["cost", "--jobs", "1000", "--interval", "5"])

    assert result.exit_code == 0
    expected = f"{float(total(bill(Workload(jobs=1000, interval_minutes=5)))):,.2f}"
    [line] = [line for line in result.stdout.splitlines() if line.startswith("Total per month")]
    assert line.split()[-1] == expected
