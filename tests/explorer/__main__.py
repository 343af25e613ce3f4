"""`python -m tests.explorer`: run the cases, print the figures, and how to see a failure again."""

from __future__ import annotations

import argparse
import sys

from tests.explorer.explore import USUAL_CASES, Report, explore_on_all_cores
from tests.explorer.scenarios import SCENARIOS, play
from tests.explorer.schedules import Case

_SHOWN_CHARACTERS = 400


def main(arguments: list[str] | None = None) -> int:
    """Run it; 0 if every promise was kept, 1 if one was broken, 2 for a case that is none."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.explorer",
        description="Stop, fail and interleave the real monitor at every call, and check that it "
        "keeps its promises.",
    )
    parser.add_argument(
        "--cases",
        type=int,
        default=USUAL_CASES,
        help=f"run about so many, and pairs of faults too (default: {USUAL_CASES:,}; 0: all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="which ones, if not all (default: 0)")
    parser.add_argument("--replay", metavar="TEXT", help="run one case, as a failure printed it")
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
            message = f"no scenario is called {case.scenario!r}: {', '.join(SCENARIOS)}"
            raise ValueError(message)  # noqa: TRY301 - both mean that the text is no case
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
            f"{kind}: {count:,} cases, the smallest of them",
            f"  {text[:_SHOWN_CHARACTERS]}",
            f"  python -m tests.explorer --replay '{case}'",
        ]
    print("\n".join(lines))  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
