"""`python -m tests.explorer`: run the cases, and print the results and the replay commands."""

from __future__ import annotations

import argparse
import sys

from tests.explorer.explore import USUAL_CASES, Report, explore_on_all_cores
from tests.explorer.scenarios import SCENARIOS, play
from tests.explorer.schedules import Case

_SHOWN_CHARACTERS = 400


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 0 without a violation, 1 with one, 2 for an invalid case."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.explorer",
        description="Stop, fail and interleave the real monitor at every call, and check its "
        "guarantees.",
    )
    parser.add_argument(
        "--cases",
        type=int,
        default=USUAL_CASES,
        help=f"run about this many, and pairs of faults (default: {USUAL_CASES:,}; 0: all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="selects the cases (default: 0)")
    parser.add_argument("--replay", metavar="TEXT", help="run the case that a failure printed")
    chosen = parser.parse_args(arguments)
    if chosen.replay is not None:
        return _replay(chosen.replay)
    report = explore_on_all_cores(chosen.cases or None, chosen.seed, _show_progress)
    print(report)  # noqa: T201 - a command
    if not report.found:
        return 0
    _explain(report)
    return 1


def _show_progress(cases: int, violations: int) -> None:
    print(f"{cases:,} cases, {violations:,} violations", file=sys.stderr, flush=True)  # noqa: T201 - a command


def _replay(text: str) -> int:
    try:
        case = Case.parse(text)
        if case.scenario not in SCENARIOS:
            message = f"{case.scenario!r} is not a scenario: use one of {', '.join(SCENARIOS)}"
            raise ValueError(message)  # noqa: TRY301 - both mean that the case is invalid
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 2
    verdict = play(case)
    for violation in verdict.violations:
        print(violation)  # noqa: T201 - a command
    print(f"events repeated with the same id: {verdict.repeated}")  # noqa: T201 - a command
    return 1 if verdict.violations else 0


def _explain(report: Report) -> None:
    lines = []
    for kind, count in sorted(report.violations.items()):
        case, text = report.smallest(kind)
        lines += [
            "",
            f"{kind}: {count:,} cases. The smallest:",
            f"  {text[:_SHOWN_CHARACTERS]}",
            f"  python -m tests.explorer --replay '{case}'",
        ]
    print("\n".join(lines))  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
