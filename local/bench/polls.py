"""What one poll takes at so many jobs, of which a share has ended since the last one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from local.bench.arena import Arena
from local.bench.contestants import CONTESTANTS
from local.bench.meter import Cost, Meter, timing

SHARES: Final = (0.0, 0.01, 1.0)
# From here on all of them at once are measured as a burst alone.
_MANY: Final = 10_000


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
            if (share and not changed) or (jobs >= _MANY and changed == jobs):
                continue
            for contestant in CONTESTANTS:
                timed = _timed(arena, contestant, jobs, changed)
                # Where nothing changes all is as it was, and need not be made anew.
                counted = _counted(arena, contestant, jobs, changed, anew=changed > 0)
                yield Measured(contestant, jobs, changed, counted, timed)


def _counted(arena: Arena, contestant: str, jobs: int, changed: int, *, anew: bool) -> Cost:
    if anew:
        arena.fill(jobs, ending=changed)
        if contestant == "monitor":
            arena.poll_of_monitor(arena.session())()
        arena.end_jobs()
    # A session of its own, so that the first poll, which records all jobs, is not slowed down.
    metered = arena.session()
    meter = Meter(metered, arena.monitor.client("dynamodb"))
    again = CONTESTANTS[contestant](arena, metered)
    with meter.counting() as cost:
        again()
    return cost


def _timed(arena: Arena, contestant: str, jobs: int, changed: int) -> Cost:
    poll = CONTESTANTS[contestant](arena, arena.session())
    arena.fill(jobs, ending=changed)
    if contestant == "monitor":
        poll()
    arena.end_jobs()
    with timing() as cost:
        poll()
    return cost
