"""Where a case begins, who takes part, and what happens outside while the monitor is at work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.inbox import LookAt, Request, Track
from bedrock_batch_monitor.domain.tasks import WaitingTask
from bedrock_batch_monitor.domain.usage import OutputBucket, TokenPrice, UsageRules
from bedrock_batch_monitor.settings import Settings
from tests.explorer.invariants import DEFECT, Verdict, Violation, judge
from tests.explorer.schedules import OUTSIDE, Case, Turns
from tests.explorer.simulation import START, Actor, World, actor, job_arn
from tests.support.monitor import RULES, SETTINGS

# Two polls that are alike in everything, so that one order of them stands for the other.
TWINS: Final = ("A", "B")
EVENT: Final = "E"
ONE: Final = job_arn(1)
TWO: Final = job_arn(2)
TOKEN: Final = "a task's token"  # noqa: S105 - no real one
TELLS: Final = LookAt(ONE)
WAIT: Final = Track(ONE, START, WaitingTask(TOKEN))
_RECOVERY_POLLS: Final = 20

Step = Callable[[World], None]


@dataclass(frozen=True)
class Scenario:
    """A beginning, the settings of the monitors, and steps that others take meanwhile."""

    begin: Callable[[], World]
    steps: tuple[Step, ...] = ()
    settings: Settings = SETTINGS
    sweeps: bool = False
    request: Request = TELLS

    @property
    def actors(self) -> tuple[str, ...]:
        """Two polls, an event or command, and the world outside if it does a thing."""
        return (*TWINS, EVENT, OUTSIDE) if self.steps else (*TWINS, EVENT)


@dataclass
class Undisturbed:
    """The oversight before and after a case: nothing goes wrong."""

    world: World

    def before(self, _actor: str, _operation: str, _request: Mapping[str, Any]) -> None:
        """Time passes, as with every call."""
        self.world.tick()


def play(case: Case) -> Verdict:
    """Play a case to its end, let the monitor recover undisturbed, and judge what is there."""
    turns = run(case)
    scenario = SCENARIOS[case.scenario]
    if turns.unfollowed:
        redeliver(turns.world, scenario)
    turns.defects.extend(recover(turns.world, scenario.settings, sweeps=scenario.sweeps))
    verdict = judge(
        turns.world,
        emits_status_changes=scenario.settings.rules.emit_status_changes,
        counts_tokens=scenario.settings.usage is not None,
    )
    if turns.defects:
        found = tuple(Violation(DEFECT, each) for each in turns.defects)
        verdict = replace(verdict, violations=(*found, *verdict.violations))
    return verdict


def run(case: Case, *, recording: bool = False) -> Turns:
    """Play a case up to the point where all actors have ended, one way or another."""
    scenario = SCENARIOS[case.scenario]
    world = _beginning(case.scenario).fork()
    turns = Turns(
        world,
        case.schedule,
        {(name, number): kind for name, number, kind in case.faults},
        recording=recording,
    )
    programs: dict[str, Callable[[], None]] = {}
    for name in scenario.actors:
        if name == OUTSIDE:
            programs[name] = lambda: _go_on_outside(turns, scenario.steps)
            continue
        acting = actor(name, scenario.settings, sweeps=scenario.sweeps)
        acting.seat.oversight = turns
        if name == EVENT:
            programs[name] = lambda acting=acting: _follow(turns, acting, scenario.request)  # type: ignore[misc]
        else:
            programs[name] = lambda acting=acting: turns.defects.extend(acting.poll())  # type: ignore[misc]
    turns.run(programs)
    return turns


def _go_on_outside(turns: Turns, steps: tuple[Step, ...]) -> None:
    for step in steps:
        turns.before(OUTSIDE, "Step", {})
        step(turns.world)


def _follow(turns: Turns, acting: Actor, request: Request) -> None:
    """The message is gone from its queue once it was followed; a crash leaves it there."""
    turns.unfollowed = True
    turns.unfollowed = not acting.follow(request)


def redeliver(world: World, scenario: Scenario) -> None:
    """The queue delivers again what was not followed."""
    acting = actor("R", scenario.settings)
    acting.seat.oversight = Undisturbed(world)
    acting.follow(scenario.request)


def recover(world: World, settings: Settings, *, sweeps: bool = False) -> list[str]:
    """Every job comes to its end, and undisturbed polls follow until all is at rest."""
    acting = actor("R", settings, sweeps=sweeps)
    acting.seat.oversight = Undisturbed(world)
    world.refuses = False
    defects = list(acting.poll())
    for job in world.jobs.values():
        while not job.is_over:
            job.advance(world.now)
        world.write_manifest(job.arn)
    polls = 1
    while not world.is_settled() and polls < _RECOVERY_POLLS:
        world.tick(60)
        defects.extend(acting.poll())
        polls += 1
    return defects


def _poll(world: World, settings: Settings = SETTINGS, *, sweeps: bool = False) -> None:
    """An earlier poll, which nothing disturbed."""
    acting = actor("P", settings, sweeps=sweeps)
    acting.seat.oversight = Undisturbed(world)
    world.tick(60)
    if defects := list(acting.poll()):
        raise AssertionError(defects)


@lru_cache(maxsize=64)
def _beginning(name: str) -> World:
    return SCENARIOS[name].begin()


def _ends_as(status: str) -> Callable[[], World]:
    """Recorded up to InProgress; in Bedrock it has just ended."""

    def begin() -> World:
        world = World.empty()
        world.put(world.add_job(statuses.SUBMITTED, statuses.IN_PROGRESS, status))
        _poll(world)
        world.advance(ONE)
        _poll(world)
        world.advance(ONE)
        return world

    return begin


def _ended_at_first_sight() -> World:
    world = World.empty()
    world.put(world.add_job(statuses.FAILED))
    return world


def _just_submitted(*, settings: Settings = SETTINGS, polled: bool = True) -> World:
    world = World.empty()
    world.put(
        world.add_job(
            statuses.SUBMITTED, statuses.SCHEDULED, statuses.IN_PROGRESS, statuses.STOPPED
        )
    )
    if polled:
        _poll(world, settings)
    return world


def _running() -> World:
    world = World.empty()
    world.put(world.add_job(statuses.SUBMITTED, statuses.IN_PROGRESS, statuses.COMPLETED))
    world.advance(ONE)
    _poll(world)
    return world


def _ended(*, refused: bool) -> World:
    """The end is recorded; its event is sent, or still owed."""
    world = _running()
    world.advance(ONE)
    world.refuses = refused
    _poll(world)
    world.refuses = False
    return world


def _two_ended(*, refused: bool = False) -> World:
    """Two jobs end at once; each is a page of the index of its own."""
    world = World.empty(page_size=1)
    for _ in range(2):
        world.put(world.add_job(statuses.IN_PROGRESS, statuses.EXPIRED))
    _poll(world)
    world.advance(ONE)
    world.advance(TWO)
    if refused:
        world.refuses = True
        _poll(world)
        world.refuses = False
    return world


def _piled_up() -> World:
    """Two events of one job are owed, and its end is next."""
    world = World.empty()
    world.put(world.add_job(statuses.SUBMITTED, statuses.IN_PROGRESS, statuses.FAILED))
    world.refuses = True
    _poll(world, TALKATIVE)
    world.advance(ONE)
    _poll(world, TALKATIVE)
    world.refuses = False
    world.advance(ONE)
    return world


def _unreachable() -> World:
    """Bedrock denied the job once, and that was enough."""
    world = _running()
    job = world.jobs.pop(ONE)
    _poll(world, IMPATIENT)
    world.jobs[ONE] = job
    world.advance(ONE)
    return world


def _swept(
    *,
    other: str = statuses.SCHEDULED,
    lag: timedelta = timedelta(0),
    stand_still: bool = False,
    settings: Settings = SETTINGS,
) -> World:
    """Two jobs, recorded and enough for a sweep; one has just ended, perhaps not in the lists."""
    world = World.empty()
    world.put(world.add_job(statuses.IN_PROGRESS, statuses.COMPLETED))
    world.put(world.add_job(other, statuses.FAILED))
    # So that lists that lag show both as they were, and not yet that one has ended.
    world.tick(lag.total_seconds())
    for _ in range(2):
        _poll(world, settings, sweeps=True)
    world.lists_lag = lag
    world.lists_end = world.now if stand_still else None
    world.tick()
    world.advance(ONE)
    return world


def _late() -> World:
    """A job that is too slow for its time has just been seen to move."""
    world = World.empty()
    world.put(world.add_job(statuses.IN_PROGRESS, statuses.PARTIALLY_COMPLETED))
    _poll(world, WARY)
    world.tick(60)
    world.progress(ONE)
    return world


def _progress(world: World) -> None:
    world.progress(ONE)


def _awaited(begin: Callable[[], World], *, known: bool) -> Callable[[], World]:
    """Somebody waits for the job; the monitor knows of it, or is about to be told."""

    def beginning() -> World:
        world = begin()
        world.waiting[TOKEN] = ONE
        if known:
            acting = actor("P")
            acting.seat.oversight = Undisturbed(world)
            if not acting.follow(WAIT):
                raise AssertionError(WAIT)
        return world

    return beginning


def _unknown() -> World:
    world = World.empty()
    world.add_job(statuses.IN_PROGRESS, statuses.FAILED)
    return world


def _backfilled() -> World:
    """A finished job was taken up for the history alone, and then everything crashed."""
    world = World.empty()
    world.add_job(statuses.FAILED)
    item = {"jobArn": {"S": ONE}, "tracking": {"S": "ACTIVE"}, "backfilled": {"BOOL": True}}
    world.dynamodb.put_item(TableName="jobs", Item=item)
    return world


def _advance(world: World) -> None:
    world.advance(ONE)


def _put(world: World) -> None:
    world.put(ONE)


def _untrack(world: World) -> None:
    world.untrack(ONE)


def _track_again(world: World) -> None:
    world.track_again(ONE)


def _delete(world: World) -> None:
    world.delete(ONE)


def _write_manifest(world: World) -> None:
    world.write_manifest(ONE)


def _ended_uncounted() -> World:
    """The end is recorded, its event is owed, and the manifest is being looked for."""
    world = _running()
    world.advance(ONE)
    world.refuses = True
    _poll(world, COUNTING)
    world.refuses = False
    world.tick(60)
    return world


TALKATIVE: Final = replace(SETTINGS, rules=replace(RULES, emit_status_changes=True))
WARY: Final = replace(
    SETTINGS, rules=replace(RULES, emit_at_risk=True, progress_interval=timedelta(0))
)
IMPATIENT: Final = replace(SETTINGS, rules=replace(RULES, unreachable_after_polls=1))
COUNTING: Final = replace(
    SETTINGS,
    usage=UsageRules((OutputBucket("bucket"),), (TokenPrice("amazon.nova-lite-v1:0", Decimal(1)),)),
)
# Recovery lasts twenty minutes, and what lists never show is to be found in these.
SOON: Final = replace(SETTINGS, rules=replace(RULES, full_read=timedelta(minutes=10)))

SCENARIOS: Final[Mapping[str, Scenario]] = {
    **{f"ends-{status}": Scenario(_ends_as(status)) for status in statuses.TERMINAL},
    "ended-at-first-sight": Scenario(_ended_at_first_sight),
    "ends-meanwhile": Scenario(_running, (_advance,)),
    "skips-states": Scenario(_just_submitted, (_advance, _advance, _advance)),
    "first-sight-meanwhile": Scenario(lambda: _just_submitted(polled=False), (_advance, _advance)),
    "two-end": Scenario(_two_ended),
    "two-owed": Scenario(lambda: _two_ended(refused=True)),
    "owed": Scenario(lambda: _ended(refused=True)),
    "status-changes": Scenario(
        lambda: _just_submitted(settings=TALKATIVE), (_advance, _advance), TALKATIVE
    ),
    "status-changes-owed": Scenario(_piled_up, (), TALKATIVE),
    "put-anew-running": Scenario(_running, (_put, _advance)),
    "put-anew-ending": Scenario(_running, (_advance, _put)),
    "put-anew-ended": Scenario(lambda: _ended(refused=False), (_put,)),
    "put-anew-owed": Scenario(lambda: _ended(refused=True), (_put,)),
    "tracked-again-ended": Scenario(lambda: _ended(refused=True), (_track_again,)),
    "untracked": Scenario(_ends_as(statuses.COMPLETED), (_untrack,)),
    "untracked-running": Scenario(_running, (_untrack, _advance)),
    "untracked-and-back": Scenario(_ends_as(statuses.COMPLETED), (_untrack, _track_again)),
    "deleted": Scenario(_ends_as(statuses.COMPLETED), (_delete,)),
    "deleted-and-back": Scenario(_ends_as(statuses.COMPLETED), (_delete, _put)),
    "unreachable": Scenario(_unreachable, (), IMPATIENT),
    "at-risk": Scenario(_late, (_progress, _advance), WARY),
    "denied": Scenario(_running, (_advance,), IMPATIENT),
    "counted-meanwhile": Scenario(
        _ends_as(statuses.COMPLETED), (_write_manifest,), settings=COUNTING
    ),
    "counted-late": Scenario(_ended_uncounted, (_write_manifest, _put), settings=COUNTING),
    "swept": Scenario(_swept, sweeps=True),
    "swept-by-status": Scenario(lambda: _swept(other=statuses.IN_PROGRESS), sweeps=True),
    "swept-lists-lag": Scenario(lambda: _swept(lag=timedelta(minutes=5)), sweeps=True),
    "swept-lists-stand-still": Scenario(
        lambda: _swept(stand_still=True, settings=SOON), settings=SOON, sweeps=True
    ),
    "task-ends": Scenario(_awaited(_ends_as(statuses.COMPLETED), known=False), request=WAIT),
    "task-ends-meanwhile": Scenario(_awaited(_running, known=False), (_advance,), request=WAIT),
    "task-of-one-of-two": Scenario(_awaited(_two_ended, known=False), request=WAIT),
    "task-of-ended": Scenario(_awaited(lambda: _ended(refused=True), known=False), request=WAIT),
    "task-of-unknown": Scenario(_awaited(_unknown, known=False), (_advance,), request=WAIT),
    "task-waits": Scenario(_awaited(_running, known=True), (_advance,)),
    "task-untracked": Scenario(_awaited(_running, known=False), (_untrack, _advance), request=WAIT),
    "backfilled": Scenario(_backfilled),
    "backfilled-task": Scenario(_awaited(_backfilled, known=False), request=WAIT),
}
