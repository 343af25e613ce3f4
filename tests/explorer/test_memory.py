"""The memory that the cases of a scenario share does not change a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import pytest

from tests.explorer import variants
from tests.explorer.conduct import OtherConductError
from tests.explorer.explore import Planned, Sample, cases, explore, plan
from tests.explorer.scenarios import SCENARIOS, Memory, _beginning, play
from tests.explorer.schedules import Case
from tests.explorer.simulation import START, World

_SCHEDULES = 4


@pytest.fixture(autouse=True)
def beginnings() -> Iterator[None]:
    """A scenario begins with what the monitor did before, so a broken one begins otherwise."""
    _beginning.cache_clear()
    yield
    _beginning.cache_clear()


def chosen(plans: list[Planned], sample: Sample) -> list[Case]:
    """The cases of some schedules that are in a sample."""
    return [case for each in plans for _, case in cases(each, sample, Memory())]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_verdict_is_the_same_with_a_memory(scenario: str) -> None:
    """Some cases of each scenario, one after another with a memory and each alone without one."""
    memory = Memory()
    some = chosen(plan(scenario, 0), Sample(fraction=0.02, pairs=0.1))
    assert some
    remembered = [play(case, memory) for case in some]
    assert remembered == [play(case) for case in some]


@pytest.mark.parametrize(
    "scenario", ["two-end", "untracked-then-tracked", "put-again-ending", "waits-too-long"]
)
def test_verdict_is_the_same_where_a_case_continues_from_a_copy(scenario: str) -> None:
    """Schedules in which an actor is interrupted, and then continues from a copy of the run."""
    memory = Memory()
    interrupted = [each for each in plan(scenario, 1) if each.preemptions == 1]
    for each in interrupted[:: len(interrupted) // 8]:
        some = [replace(each.case, faults=(fault,)) for fault in each.faults[::5]]
        # The conduct without a fault is known from the first case on.
        remembered = [play(case, memory) for case in (each.case, *some)]
        assert len(memory.pauses) > len(some) / 5
        assert remembered == [play(case) for case in (each.case, *some)]


@pytest.mark.parametrize(
    ("broken", "scenario"),
    [
        (nullcontext, "pending"),
        (variants.no_pending_event, "ends-Completed"),
        (variants.acknowledged_first, "ends-Completed"),
        (variants.history_not_consulted, "expired-ended"),
        (variants.poll_without_deadline, "slow-reads"),
    ],
)
def test_seeded_bug_has_the_same_verdicts_with_a_memory(
    broken: Callable[[], AbstractContextManager[None]], scenario: str
) -> None:
    """All cases of some schedules, for a correct monitor and some with a seeded bug."""
    memory = Memory()
    with broken():
        some = chosen(plan(scenario, 1)[:_SCHEDULES], Sample(pairs=0))
        remembered = [play(case, memory) for case in some]
        assert remembered == [play(case) for case in some]
    assert memory.recognized > len(some) / 4
    assert any(verdict.violations for verdict in remembered) == (broken is not nullcontext)


def test_nondeterministic_monitor_is_refused() -> None:
    """A monitor that acts differently after the same responses cannot be remembered."""
    with variants.random_event_id(), pytest.raises(OtherConductError):
        explore(plan("ends-Completed", 1), Sample(pairs=0))


def test_different_worlds_have_different_digests() -> None:
    """Items, jobs, the time and every other field of a world are part of its digest."""
    world = World.empty()
    arn = world.add_job("InProgress", "Completed")
    world.put(arn)
    digests = {world.digest()}
    assert world.fork().digest() in digests

    def is_new() -> bool:
        before = len(digests)
        digests.add(world.digest())
        return len(digests) > before

    world.advance(arn)
    assert is_new()
    world.untrack(arn)
    assert is_new()
    world.tick()
    assert is_new()
    world.received.append({"Detail": "{}"})
    assert is_new()
    world.counted |= {arn}
    assert is_new()
    world.bus_created_at = None
    assert is_new()
    world.lists_end = START
    assert is_new()
    world.restarted = True
    assert is_new()


def test_report_has_the_number_of_cases_of_each_scenario() -> None:
    """Single faults and schedules with their total, and pairs of faults separately."""
    report = explore(plan("pending", 0), Sample(fraction=0.5, pairs=0.2))
    [line] = [line for line in str(report).splitlines() if line.startswith("  pending ")]
    ran, planned, pairs = (int(part.replace(",", "")) for part in line.split()[1:])
    assert 0 < ran < planned
    assert pairs > 0
    assert ran + pairs == report.cases
