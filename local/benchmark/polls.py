"""The cost of one poll, by number of jobs and the share that has ended since the last poll."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from local.benchmark.baselines import SUBJECTS, Poll
from local.benchmark.environment import Environment
from local.benchmark.meter import Cost, Meter, timing

SHARES: Final = (0.0, 0.01, 1.0)
# With more jobs, the burst alone measures what it costs if all of them end.
_MOST_THAT_END: Final = 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """One subject's poll: the counts of one run, and the time of another run."""

    subject: str
    jobs: int
    changed: int
    counted: Cost
    timed: Cost


def measure(environment: Environment, sizes: Sequence[int]) -> Iterator[Measured]:
    """Measure every subject at every size and share, smallest first."""
    for jobs in sizes:
        for share in SHARES:
            changed = round(jobs * share)
            if (share and not changed) or changed > _MOST_THAT_END:
                continue
            for subject in SUBJECTS:
                timed = _timed(environment, subject, jobs, changed)
                # If nothing changed, the state is the same and needs no preparation.
                counted = _counted(environment, subject, jobs, changed, prepare=changed > 0)
                yield Measured(subject, jobs, changed, counted, timed)


def _counted(
    environment: Environment, subject: str, jobs: int, changed: int, *, prepare: bool
) -> Cost:
    # Another session for the counted poll, so that the meter does not slow down the first one.
    if prepare:
        _prepare(
            environment,
            subject,
            SUBJECTS[subject](environment, environment.session()),
            jobs,
            changed,
        )
    metered = environment.session()
    meter = Meter(metered, environment.monitor.client("dynamodb"))
    again = SUBJECTS[subject](environment, metered)
    with meter.counting() as cost:
        again()
    return cost


def _timed(environment: Environment, subject: str, jobs: int, changed: int) -> Cost:
    poll = SUBJECTS[subject](environment, environment.session())
    _prepare(environment, subject, poll, jobs, changed)
    with timing() as cost:
        poll()
    return cost


def _prepare(environment: Environment, subject: str, poll: Poll, jobs: int, changed: int) -> None:
    """Record the jobs, and then let some of them end."""
    environment.fill(jobs, ending=changed)
    if subject == "monitor":
        # Its first poll records all jobs; the table of the baselines already has them.
        poll()
    environment.end_jobs()
