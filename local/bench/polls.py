"""What one poll takes at so many jobs, of which a share has ended since the last one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from local.bench.arena import Arena
from local.bench.contestants import CONTESTANTS, Poll
from local.bench.meter import Cost, Meter, timing

SHARES: Final = (0.0, 0.01, 1.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """One contestant's poll: what a run that counts has counted, and the time of another run."""

    contestant: str
    jobs: int
    changed: int
    counted: Cost
    timed: Cost


def measure(arena: Arena, sizes: Sequence[int]) -> Iterator[Measured]:
    """Measure every contestant at every size and share, smallest first."""
    for jobs in sizes:
        for share in SHARES:
            changed = round(jobs * share)
            if share and not changed:
                continue
            for contestant in CONTESTANTS:
                timed = _timed(arena, contestant, jobs, changed)
                # Where nothing changes all is as it was, and need not be made anew.
                counted = _counted(arena, contestant, jobs, changed, anew=changed > 0)
                yield Measured(contestant, jobs, changed, counted, timed)


def _counted(arena: Arena, contestant: str, jobs: int, changed: int, *, anew: bool) -> Cost:
    # A session of its own for what is counted, so that the first poll is not slowed down.
    if anew:
        _prepare(arena, contestant, CONTESTANTS[contestant](arena, arena.session()), jobs, changed)
    metered = arena.session()
    meter = Meter(metered, arena.monitor.client("dynamodb"))
    again = CONTESTANTS[contestant](arena, metered)
    with meter.counting() as cost:
        again()
    return cost


def _timed(arena: Arena, contestant: str, jobs: int, changed: int) -> Cost:
    poll = CONTESTANTS[contestant](arena, arena.session())
    _prepare(arena, contestant, poll, jobs, changed)
    with timing() as cost:
        poll()
    return cost


def _prepare(arena: Arena, contestant: str, poll: Poll, jobs: int, changed: int) -> None:
    """Have the jobs known, and then let some of them end."""
    arena.fill(jobs, ending=changed)
    if contestant == "monitor":
        # Its first poll records all jobs; the samples' table has them as an earlier one left it.
        poll()
    arena.end_jobs()
