"""Change the code in small ways and see whether a test notices: `make mutate`.

python -m tests.mutation [--base REV] [--seed TEXT] [--minutes N] [--sample N] [--part PART]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from subprocess import CalledProcessError
from typing import Final

from tests.mutation.check import ACCEPTED_OUTCOME, NOT_TRIED, WORKERS, Check, report
from tests.mutation.choose import base_revision, changed_lines, plan
from tests.mutation.kills import Kills
from tests.mutation.recordings import recordings
from tests.mutation.servers import Project, ServerError
from tests.mutation.settings import (
    PARTS,
    ROOT,
    SETTINGS,
    Accepted,
    Code,
    Settings,
    SettingsError,
    read_accepted,
    read_settings,
    unresolved,
)
from tests.mutation.worker import SURVIVED

_SAMPLE: Final = 300
_BUDGET: Final = 4.0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    year, week, _ = datetime.now(UTC).isocalendar()
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--base", help="revision that changed lines are compared with")
    parser.add_argument("--seed", default=f"{year}-W{week:02}", help="of the sample: the ISO week")
    parser.add_argument(
        "--minutes", type=float, default=15.0, help="when to stop, without the recording: 15"
    )
    parser.add_argument("--sample", type=int, default=_SAMPLE, help=f"its size: {_SAMPLE}")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part")
    parser.add_argument(
        "--only", default="", help="only mutants whose qualified name contains this text"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=_BUDGET,
        help=f"seconds of tests that a mutant gets at first: {_BUDGET}",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; 0 if nothing survived but what is accepted, 1 if so, 2 if it cannot run."""
    began = time.monotonic()
    options = _arguments(arguments)

    def tell(text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - began:5.0f} s] {text}\n")
        sys.stderr.flush()

    try:
        settings, accepted = read_settings(), read_accepted()
        project = Project(Code.read(ROOT, settings.rings))
        found, text = check(project, settings, accepted, options, tell)
    except (SettingsError, ServerError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except CalledProcessError as error:
        sys.stderr.write(f"git: {error.stderr.strip()}\n")
        return 2
    sys.stdout.write(f"{text}\n")
    return int(found)


def check(
    project: Project,
    settings: Settings,
    accepted: Sequence[Accepted],
    options: argparse.Namespace,
    tell: Callable[[str], None],
) -> tuple[bool, str]:
    """Whether a mutant survived that is not accepted, and the report.

    Raises `SettingsError`, `ServerError`, and `subprocess.CalledProcessError` for a wrong base.
    """
    code = project.code
    if missing := unresolved(code, settings.fixed_names):
        message = f"{SETTINGS.name}: nothing in the code has these names: {', '.join(missing)}"
        raise SettingsError(message)
    base = options.base or base_revision(code.root)
    mutants = [mutant for ring in settings.rings for mutant in code.mutants(ring)]
    planned = [
        (part, mutant)
        for part, mutant in plan(
            mutants,
            fixed=settings.fixed_names,
            changed=changed_lines(code.root, base),
            sampled=[ring.source for ring in settings.rings if ring.sampled],
            size=options.sample,
            seed=options.seed,
        )
        if part in (options.part or PARTS) and options.only in mutant.name
    ]
    counts = Counter(part for part, _ in planned)
    parts = ", ".join(f"{part} {counts[part]}" for part in PARTS)
    tell(
        f"{len(planned)} of {len(mutants)} mutants (seed {options.seed}, base {base[:12]}): {parts}"
    )
    rings = [
        ring
        for ring in settings.rings
        if any(mutant.path.startswith(f"{ring.source}/") for _, mutant in planned)
    ]
    recorded = recordings(project, rings, tell, WORKERS)
    for name, recording in recorded.items():
        seconds = recording.touched.seconds.values()
        tell(f"{name}: {len(seconds)} tests take {sum(seconds):.0f} s")
        for test in recording.failed:
            tell(f"not used, because it fails without a mutant: {test}")
    keys = {mutant.key for mutant in mutants}
    began = time.monotonic()
    running = Check(
        project=project,
        rings=rings,
        recorded=recorded,
        accepted=frozenset(entry.key for entry in accepted),
        kills=Kills.read(project.cache / "kills.json", keys),
        budget=options.budget,
        # A recording takes as long as it takes: what it leaves of the time would be nothing.
        deadline=began + 60 * options.minutes,
        tell=tell,
    )
    running.run(planned)
    tried = sum(tried.outcome not in {NOT_TRIED, ACCEPTED_OUTCOME} for tried in running.results)
    taken = time.monotonic() - began
    tell(f"{tried} mutants tried in {taken:.0f} s: {taken / max(tried, 1):.2f} s each")
    stale = [entry for entry in accepted if entry.key not in keys]
    survived = any(tried.outcome == SURVIVED for tried in running.results)
    return survived, report(running.results, stale)


if __name__ == "__main__":
    sys.exit(main())
