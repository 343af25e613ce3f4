"""Scenarios: the initial state, the actors, and what happens outside while the monitor runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.forecast import FEWEST_JOBS
from bedrock_batch_monitor.domain.requests import Hint, Request, Track, Untrack
from bedrock_batch_monitor.domain.tasks import WaitingTask
from bedrock_batch_monitor.domain.token_usage import OutputBucket, TokenPrice, UsageRules
from bedrock_batch_monitor.settings import Settings
from tests.explorer.conduct import Conduct, Outcome
from tests.explorer.invariants import DEFECT, LATE, UNTRACKED, Verdict, Violation, judge
from tests.explorer.schedules import OUTSIDE, Case, Program, Segment, Turns
from tests.explorer.simulation import SLOW, START, Actor, World, actor, job_arn
from tests.support.monitor import RULES, SETTINGS

# Two polls that are equal, so that one order of them represents the other one.
TWINS: Final = ("A", "B")
EVENT: Final = "E"
SECOND: Final = "F"
ONE: Final = job_arn(1)
TWO: Final = job_arn(2)
TOKEN: Final = "a task's token"  # noqa: S105 - no real one
TELLS: Final = Hint(ONE)
WAIT: Final = Track(ONE, START, WaitingTask(TOKEN))
_RECOVERY_POLLS: Final = 20
_DISCOVERY_POLLS: Final = 3

Step = Callable[[World], None]


@dataclass(frozen=True)
class Scenario:
    """An initial state, the settings of the monitors, and the steps of others meanwhile."""

    begin: Callable[[], World]
    steps: tuple[Step, ...] = ()
    settings: Settings = SETTINGS
    sweeps: bool = False
    request: Request = TELLS
    batches: Mapping[str, tuple[Request, ...]] = field(default_factory=dict)
    """The batch of each inbox, instead of the one request."""
    polls: tuple[str, ...] = TWINS
    seconds: Mapping[str, float] = field(default_factory=dict)
    """The seconds that actors have, if they have a deadline."""
    repeats: bool = False
    """Whether the queue delivers each message again at the end, the last one first."""

    @property
    def inboxes(self) -> Mapping[str, tuple[Request, ...]]:
        """The batch that each inbox processes."""
        return self.batches or {EVENT: (self.request,)}

    @property
    def actors(self) -> tuple[str, ...]:
        """Polls, inboxes, and the outside if it has steps."""
        return (*self.polls, *self.inboxes, *((OUTSIDE,) if self.steps else ()))


@dataclass
class Undisturbed:
    """The oversight before and after a case: no call has a fault."""

    world: World

    def before(self, _actor: str, _operation: str, _request: Mapping[str, Any]) -> None:
        """Time passes, as with every call."""
        self.world.tick()


@dataclass
class Memory:
    """What the cases of one scenario have in common, so that it runs once.

    Between actors, a case is defined by its position: the world, the next actors, and the findings
    so far. Many cases begin equally, and many reach the same position, because most calls only
    read.
    """

    begun: dict[tuple[str, ...], Turns] = field(default_factory=dict)
    """Runs in which these actors have run to their ends, one after another and without a fault."""
    verdicts: dict[Hashable, Verdict] = field(default_factory=dict)
    """The verdict by position."""
    conduct: Conduct = field(default_factory=Conduct)
    """The known conduct of the actors."""
    pauses: dict[tuple[str, int], Turns] = field(default_factory=dict)
    """The run of one schedule without a fault, before each of its calls."""
    paused: tuple[Segment, ...] | None = None
    """The schedule of `pauses`."""
    recognized: int = 0
    """The number of cases that ended at a known position."""

    def resume(self, case: Case) -> Turns | None:
        """The run of the case up to its first fault; None if nothing can be copied there."""
        if not case.faults or SCENARIOS[case.scenario].seconds:
            return None
        if self.paused != case.schedule:
            self.pauses, self.paused = {}, case.schedule
            undisturbed = replace(case, faults=())
            turns = self.begin(undisturbed) or _begin(undisturbed, self)
            turns.pauses = self.pauses
            _run(turns, undisturbed)
        calls = {(actor, number) for actor, number, _ in case.faults}
        first = next((call for call in self.pauses if call in calls), None)
        return None if first is None else self.pauses[first].resume(case)

    def begin(self, case: Case) -> Turns | None:
        """The longest known beginning of the case."""
        head = case.head
        for length in range(len(head), 0, -1):
            if (turns := self.begun.get(head[:length])) is not None:
                return turns.fork(case)
        return None


def play(case: Case, memory: Memory | None = None) -> Verdict:
    """Run a case to its end, let the monitor recover without faults, and check the result.

    The verdict is the same with a memory of other cases of the scenario as without it.
    """
    if memory is None:
        return _conclude(run(case), SCENARIOS[case.scenario])
    head, disturbed = case.head, {actor for actor, _, _ in case.faults}
    turns = memory.resume(case) or memory.begin(case) or _begin(case, memory)
    passed: list[Hashable] = []

    def is_known() -> bool:
        finished = turns.finished
        beginning = head[: len(finished)]
        if finished == {*beginning} and beginning not in memory.begun:
            memory.begun[beginning] = turns.fork(case)
        if finished >= disturbed:
            passed.append(turns.position())
            return passed[-1] in memory.verdicts
        return False

    _run(turns, case, is_known)
    if passed and (verdict := memory.verdicts.get(passed[-1])) is not None:
        memory.recognized += 1
    else:
        verdict = _conclude(turns, SCENARIOS[case.scenario])
    memory.verdicts.update(dict.fromkeys(passed, verdict))
    return verdict


def _conclude(turns: Turns, scenario: Scenario) -> Verdict:
    turns.world.slow = {}
    broken = tuple(redeliver(turns, scenario))
    turns.defects.extend(recover(turns.world, scenario.settings, sweeps=scenario.sweeps))
    verdict = judge(
        turns.world,
        emits_status_changes=scenario.settings.rules.emit_status_changes,
        counts_tokens=scenario.settings.usage is not None,
    )
    found = (
        *broken,
        *(Violation(DEFECT, each) for each in turns.defects),
        *(Violation(LATE, each) for each in turns.late),
    )
    return replace(verdict, violations=(*found, *verdict.violations)) if found else verdict


def run(case: Case, *, recording: bool = False, memory: Memory | None = None) -> Turns:
    """Run a case until all actors have ended or crashed."""
    turns = _begin(case, memory, recording=recording)
    _run(turns, case)
    return turns


def _begin(case: Case, memory: Memory | None, *, recording: bool = False) -> Turns:
    limits = SCENARIOS[case.scenario].seconds
    return Turns(
        _beginning(case.scenario).fork(),
        case.schedule,
        case.faults_by_call,
        recording=recording,
        limits=limits,
        # The conduct of an actor does not include the time that it has left.
        conduct=None if memory is None or limits else memory.conduct,
    )


def _run(turns: Turns, case: Case, stops: Callable[[], bool] = lambda: False) -> None:
    scenario = SCENARIOS[case.scenario]
    programs: dict[str, Program] = {}
    for name in scenario.actors:
        if name == OUTSIDE:
            programs[name] = Program(partial(_go_on_outside, turns, scenario.steps))
            continue
        acting = actor(name, scenario.settings, sweeps=scenario.sweeps)
        acting.seat.oversight = turns
        if name in scenario.polls:
            programs[name] = Program(partial(_run_poll, turns, acting), seat=acting.seat)
        else:
            requests = scenario.inboxes[name]
            process = partial(_process, turns, acting, requests)
            programs[name] = Program(process, requests, acting.seat)
    turns.run(programs, stops)


def _go_on_outside(turns: Turns, steps: tuple[Step, ...]) -> Outcome:
    for step in steps[turns.calls_made(OUTSIDE) :]:
        turns.before(OUTSIDE, "Step", {})
        step(turns.world)
    return Outcome()


def _run_poll(turns: Turns, acting: Actor) -> Outcome:
    return Outcome(tuple(acting.poll(partial(turns.seconds_left, acting.seat.actor))))


def _process(turns: Turns, acting: Actor, requests: tuple[Request, ...]) -> Outcome:
    left = acting.process_all(requests, partial(turns.seconds_left, acting.seat.actor))
    return Outcome(left=tuple(left))


def redeliver(turns: Turns, scenario: Scenario) -> Iterator[Violation]:
    """The queue delivers unprocessed messages again, or all of them."""
    acting = actor("R", scenario.settings)
    acting.seat.oversight = Undisturbed(turns.world)
    requests = [request for batch in scenario.inboxes.values() for request in batch]
    for request in reversed(requests) if scenario.repeats else turns.unprocessed:
        acting.process(request)
    commands = [each for each in requests if not isinstance(each, Hint)]
    last = max(commands, key=lambda each: each.at, default=None)
    if isinstance(last, Untrack):
        turns.world.untracked |= {last.job_arn}
        if contract.TRACKING in (turns.world.item(last.job_arn) or {}):
            yield Violation(UNTRACKED, f"{last} was the last command")


def recover(world: World, settings: Settings, *, sweeps: bool = False) -> list[str]:
    """Every job ends, and polls without faults follow until nothing is pending."""
    acting = actor("R", settings, sweeps=sweeps)
    acting.seat.oversight = Undisturbed(world)
    world.refuses = False
    world.create_bus()
    world.bus_is_hidden = False
    defects = list(acting.poll())
    for job in world.jobs.values():
        while not job.is_over:
            job.advance(world.now)
        world.write_manifest(job.arn)
    polls = 1
    # Jobs that are not discovered yet are not in the tables, which are settled without them.
    fewest = 1 if settings.wanted is None else _DISCOVERY_POLLS
    while (polls < fewest or not world.is_settled()) and polls < _RECOVERY_POLLS:
        world.tick(60)
        defects.extend(acting.poll())
        polls += 1
    return defects


def _poll(world: World, settings: Settings = SETTINGS, *, sweeps: bool = False) -> None:
    """An earlier poll without faults."""
    acting = actor("P", settings, sweeps=sweeps)
    acting.seat.oversight = Undisturbed(world)
    world.tick(60)
    if defects := list(acting.poll()):
        raise AssertionError(defects)


@lru_cache(maxsize=64)
def _beginning(name: str) -> World:
    return SCENARIOS[name].begin()


def _ends_as(status: str) -> Callable[[], World]:
    """A job recorded up to InProgress that has just ended in Bedrock."""

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


def _just_put() -> World:
    world = World.empty()
    world.put(world.add_job(statuses.SUBMITTED, statuses.COMPLETED))
    return world


def _due() -> World:
    """A running job whose deadline, set as a duration, has just passed."""
    world = World.empty()
    world.put(world.add_job(statuses.SUBMITTED, statuses.IN_PROGRESS, statuses.COMPLETED))
    world.set_deadline(ONE, "2m")
    world.advance(ONE)
    _poll(world, OWNED)
    world.now += timedelta(minutes=3)
    return world


def _waits_too_long() -> World:
    """A job waits with a deadline that none of five earlier jobs would have met."""
    world = World.empty()
    for _ in range(FEWEST_JOBS):
        world.put(world.add_job(statuses.SUBMITTED, statuses.IN_PROGRESS, statuses.COMPLETED))
    _poll(world, OWNED)
    for _ in range(2):
        world.now += timedelta(hours=1)
        for arn in world.jobs:
            world.advance(arn)
        _poll(world, OWNED)
    arn = world.add_job(statuses.SUBMITTED, statuses.IN_PROGRESS, statuses.COMPLETED)
    world.put(arn)
    world.set_deadline(arn, "1h")
    _poll(world, OWNED)
    return world


def _begin_last(world: World) -> None:
    world.advance(job_arn(len(world.jobs)))


def _running() -> World:
    world = World.empty()
    world.put(world.add_job(statuses.SUBMITTED, statuses.IN_PROGRESS, statuses.COMPLETED))
    world.advance(ONE)
    _poll(world)
    return world


def _ended(*, refused: bool) -> World:
    """The end is recorded; its event is sent, or still pending."""
    world = _running()
    world.advance(ONE)
    world.refuses = refused
    _poll(world)
    world.refuses = False
    return world


def _two_ended(*, refused: bool = False) -> World:
    """Two jobs end at the same time; each is on its own page of the index."""
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
    """Two events of one job are pending, and the job has just ended."""
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
    """Bedrock did not return the job once, which makes it unreachable with these settings."""
    world = _running()
    job = world.jobs.pop(ONE)
    _poll(world, IMPATIENT)
    world.jobs[ONE] = job
    world.advance(ONE)
    return world


def _swept(
    *,
    other: str = statuses.IN_PROGRESS,
    lag: timedelta = timedelta(0),
    stand_still: bool = False,
    settings: Settings = SETTINGS,
) -> World:
    """Two recorded jobs, enough for a list scan; one has just ended, perhaps not in the lists."""
    world = World.empty()
    world.put(world.add_job(statuses.IN_PROGRESS, statuses.COMPLETED))
    world.put(world.add_job(other, statuses.FAILED))
    # Lists that lag show both jobs, and not yet the end of one.
    world.tick(lag.total_seconds())
    for _ in range(2):
        _poll(world, settings, sweeps=True)
    world.lists_lag = lag
    world.lists_end = world.now if stand_still else None
    world.tick()
    world.advance(ONE)
    return world


def _late() -> World:
    """A job that is too slow for its expiration has just made progress."""
    world = World.empty()
    world.put(world.add_job(statuses.IN_PROGRESS, statuses.PARTIALLY_COMPLETED))
    _poll(world, WARY)
    world.tick(60)
    world.progress(ONE)
    return world


def _progress(world: World) -> None:
    world.progress(ONE)


def _awaited(begin: Callable[[], World], *, known: bool) -> Callable[[], World]:
    """A task waits for the job; its command was processed, or is the case's request."""

    def beginning() -> World:
        world = begin()
        world.waiting[TOKEN] = ONE
        if known:
            acting = actor("P")
            acting.seat.oversight = Undisturbed(world)
            if not acting.process(WAIT):
                raise AssertionError(WAIT)
        return world

    return beginning


def _unknown() -> World:
    world = World.empty()
    world.add_job(statuses.IN_PROGRESS, statuses.FAILED)
    return world


def _backfilled() -> World:
    """An ended job was backfilled, and then the monitor crashed."""
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
    """The end is recorded, its event is pending, and the manifest was not found yet."""
    world = _running()
    world.advance(ONE)
    world.refuses = True
    _poll(world, COUNTING)
    world.refuses = False
    world.tick(60)
    return world


def _many_ended(count: int, *, slow: Mapping[str, float], settings: Settings = SETTINGS) -> World:
    """Several jobs have just ended, and some calls take long."""
    world = World.empty()
    for _ in range(count):
        world.put(world.add_job(statuses.IN_PROGRESS, statuses.COMPLETED))
    _poll(world, settings)
    for arn in world.jobs:
        world.advance(arn)
    world.slow = slow
    world.has_deadlines = True
    return world


def _undiscovered(count: int, *, page_size: int = 1, slow: bool = False) -> World:
    """Jobs that are not tracked yet, each on its own page of the list."""
    world = World.empty(page_size)
    world.list_page_size = 1
    _poll(world, DISCOVERING)
    for _ in range(count):
        world.add_job(statuses.IN_PROGRESS, statuses.FAILED)
        world.tick()
    if slow:
        world.slow = {"ListModelInvocationJobs": SLOW}
        world.has_deadlines = True
    return world


def _listed_page_by_page() -> World:
    """Three jobs, each on its own page of the list of their status; the last one has ended."""
    world = World.empty()
    world.list_page_size = 1
    for _ in range(3):
        world.put(world.add_job(statuses.IN_PROGRESS, statuses.COMPLETED))
        world.tick()
    for _ in range(2):
        _poll(world, sweeps=True)
    world.advance(job_arn(3))
    return world


def _without_bus(*, is_hidden: bool = False) -> World:
    """The end is recorded and its event pending, because the bus was deleted before.

    With `is_hidden`, DescribeEventBus is denied.
    """
    world = _running()
    world.advance(ONE)
    world.delete_bus()
    world.bus_is_hidden = is_hidden
    _poll(world)
    return world


def _backed_up(*, settings: Settings) -> World:
    """A backup is older than the second job and the last transition of the first."""
    world = World.empty()
    world.add_job(statuses.SUBMITTED, statuses.IN_PROGRESS, statuses.COMPLETED)
    _poll(world, settings)
    world.back_up()
    world.advance(ONE)
    world.tick(1800)
    world.add_job(statuses.IN_PROGRESS, statuses.STOPPED)
    _poll(world, settings)
    return world


def _waited_for_since_backup() -> World:
    """A backup is older than the task that waits for the job."""
    world = _backed_up(settings=DISCOVERING)
    world.waiting[TOKEN] = ONE
    acting = actor("P", DISCOVERING)
    acting.seat.oversight = Undisturbed(world)
    if not acting.process(WAIT):
        raise AssertionError(WAIT)
    return world


def _advance_both(world: World) -> None:
    world.advance(ONE)
    world.advance(TWO)


def _moving() -> World:
    """A job that has just changed in Bedrock, and not to its end."""
    world = World.empty()
    world.put(world.add_job(statuses.SUBMITTED, statuses.IN_PROGRESS, statuses.COMPLETED))
    _poll(world)
    world.advance(ONE)
    return world


def _first_page_unreadable() -> World:
    """Two jobs, each on its own page of the index; Bedrock no longer returns the first."""
    world = World.empty(page_size=1)
    for _ in range(2):
        world.put(world.add_job(statuses.IN_PROGRESS, statuses.COMPLETED))
    _poll(world)
    del world.jobs[ONE]
    world.advance(TWO)
    return world


def _take_bus_away(world: World) -> None:
    world.delete_bus(calls=1)


def _delete_bus(world: World) -> None:
    world.delete_bus()


def _create_bus(world: World) -> None:
    world.create_bus()


def _expire(sequence: int) -> Step:
    def expire(world: World) -> None:
        world.expire(ONE, sequence)

    return expire


def _lose(*tables: str) -> Step:
    def lose(world: World) -> None:
        world.lose(*tables)

    return lose


def _restore(*tables: str) -> Step:
    def restore(world: World) -> None:
        world.restore(*tables)

    return restore


def _submit(world: World) -> None:
    world.add_job(statuses.IN_PROGRESS, statuses.EXPIRED)


# The first command on a job, and the one that was sent after it.
_FIRST: Final = START + timedelta(seconds=1)
_LAST: Final = START + timedelta(seconds=2)
_TRACK_LAST: Final = {EVENT: (Untrack(ONE, _FIRST),), SECOND: (Track(ONE, _LAST),)}
_UNTRACK_LAST: Final = {EVENT: (Track(ONE, _FIRST),), SECOND: (Untrack(ONE, _LAST),)}
_FIVE_HINTS: Final = tuple(Hint(job_arn(number)) for number in range(1, 6))

TALKATIVE: Final = replace(SETTINGS, rules=replace(RULES, emit_status_changes=True))
WARY: Final = replace(
    SETTINGS, rules=replace(RULES, emit_at_risk=True, progress_interval=timedelta(0))
)
OWNED: Final = replace(SETTINGS, rules=replace(RULES, emit_status_changes=True, read_tags=True))
OFTEN: Final = replace(SETTINGS, rules=replace(RULES, progress_interval=timedelta(0)))
IMPATIENT: Final = replace(SETTINGS, rules=replace(RULES, unreachable_after_polls=1))
DISCOVERING: Final = replace(SETTINGS, discovery_prefix="")
TALKATIVE_DISCOVERING: Final = replace(TALKATIVE, discovery_prefix="")
COUNTING: Final = replace(
    SETTINGS,
    usage=UsageRules((OutputBucket("bucket"),), (TokenPrice("amazon.nova-lite-v1:0", Decimal(1)),)),
)
# Recovery lasts twenty minutes, in which the resync must find what lists never show.
SOON: Final = replace(SETTINGS, rules=replace(RULES, full_read=timedelta(minutes=10)))

SCENARIOS: Final[Mapping[str, Scenario]] = {
    **{f"ends-{status}": Scenario(_ends_as(status)) for status in statuses.TERMINAL},
    "ended-at-first-sight": Scenario(_ended_at_first_sight),
    "ends-meanwhile": Scenario(_running, (_advance,)),
    "skips-states": Scenario(_just_submitted, (_advance, _advance, _advance)),
    "first-sight-meanwhile": Scenario(lambda: _just_submitted(polled=False), (_advance, _advance)),
    "two-end": Scenario(_two_ended),
    "two-pending": Scenario(lambda: _two_ended(refused=True)),
    "pending": Scenario(lambda: _ended(refused=True)),
    "status-changes": Scenario(
        lambda: _just_submitted(settings=TALKATIVE), (_advance, _advance), TALKATIVE
    ),
    "status-changes-pending": Scenario(_piled_up, (), TALKATIVE),
    "put-again-running": Scenario(_running, (_put, _advance)),
    "put-again-ending": Scenario(_running, (_advance, _put)),
    "put-again-ended": Scenario(lambda: _ended(refused=False), (_put,)),
    "put-again-pending": Scenario(lambda: _ended(refused=True), (_put,)),
    "tracked-again-ended": Scenario(lambda: _ended(refused=True), (_track_again,)),
    "untracked": Scenario(_ends_as(statuses.COMPLETED), (_untrack,)),
    "untracked-running": Scenario(_running, (_untrack, _advance)),
    "untracked-and-back": Scenario(_ends_as(statuses.COMPLETED), (_untrack, _track_again)),
    "deleted": Scenario(_ends_as(statuses.COMPLETED), (_delete,)),
    "deleted-and-back": Scenario(_ends_as(statuses.COMPLETED), (_delete, _put)),
    "unreachable": Scenario(_unreachable, (), IMPATIENT),
    "at-risk": Scenario(_late, (_progress, _advance), WARY),
    "tagged-at-first-sight": Scenario(_just_put, (_advance,), OWNED),
    "due": Scenario(_due, (_advance,), OWNED, polls=TWINS),
    "waits-too-long": Scenario(_waits_too_long, (_begin_last,), OWNED),
    "progresses-meanwhile": Scenario(_late, (_progress,), OFTEN),
    "denied": Scenario(_running, (_advance,), IMPATIENT),
    "counted-meanwhile": Scenario(
        _ends_as(statuses.COMPLETED), (_write_manifest,), settings=COUNTING
    ),
    "counted-late": Scenario(_ended_uncounted, (_write_manifest, _put), settings=COUNTING),
    "swept": Scenario(lambda: _swept(other=statuses.SCHEDULED), sweeps=True),
    "swept-by-status": Scenario(_swept, sweeps=True),
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
    "untracked-then-tracked": Scenario(_moving, batches=_TRACK_LAST, polls=("A",), repeats=True),
    "tracked-then-untracked": Scenario(_moving, batches=_UNTRACK_LAST, polls=("A",), repeats=True),
    "untracked-and-tracked-moving": Scenario(
        _moving,
        batches={EVENT: (Untrack(ONE, _FIRST), Track(ONE, _LAST))},
        polls=("A",),
    ),
    "untracked-then-tracked-unknown": Scenario(
        _unknown, settings=DISCOVERING, batches=_TRACK_LAST, polls=("A",), repeats=True
    ),
    "tracked-then-untracked-unknown": Scenario(
        _unknown, settings=DISCOVERING, batches=_UNTRACK_LAST, polls=("A",), repeats=True
    ),
    "untracked-before-discovery": Scenario(
        _unknown, settings=DISCOVERING, request=Untrack(ONE, _FIRST), repeats=True
    ),
    "commands-in-one-batch": Scenario(
        _running,
        (_advance,),
        batches={EVENT: (TELLS, Track(ONE, _LAST), Untrack(ONE, _FIRST))},
        repeats=True,
    ),
    "commands-on-ended": Scenario(
        lambda: _ended(refused=True), batches=_TRACK_LAST, polls=("A",), repeats=True
    ),
    "bus-deleted": Scenario(_ends_as(statuses.COMPLETED), (_delete_bus,), polls=("A",)),
    "bus-replaced": Scenario(
        _ends_as(statuses.COMPLETED), (_delete_bus, _create_bus), polls=("A",)
    ),
    "bus-replaced-two-end": Scenario(_two_ended, (_delete_bus, _create_bus), polls=("A",)),
    "bus-away-for-one-call": Scenario(_ends_as(statuses.COMPLETED), (_take_bus_away,)),
    "bus-unknown": Scenario(lambda: _without_bus(is_hidden=True), (_create_bus,)),
    "bus-comes-back": Scenario(_without_bus, (_create_bus,)),
    "expired-running": Scenario(_ends_as(statuses.COMPLETED), (_expire(1), _put), polls=("A",)),
    "expired-ended": Scenario(lambda: _ended(refused=True), (_expire(1), _put), polls=("A",)),
    "expired-whole": Scenario(
        lambda: _ended(refused=True), (_expire(1), _expire(2), _put), polls=("A",)
    ),
    "jobs-restored": Scenario(
        lambda: _backed_up(settings=DISCOVERING),
        (_restore("jobs"), _advance_both),
        DISCOVERING,
        polls=("A",),
    ),
    "jobs-restored-task": Scenario(
        _waited_for_since_backup, (_restore("jobs"), _advance), DISCOVERING, polls=("A",)
    ),
    "jobs-lost": Scenario(
        lambda: _backed_up(settings=DISCOVERING),
        (_lose("jobs"), _advance_both),
        DISCOVERING,
        polls=("A",),
    ),
    "history-restored": Scenario(
        lambda: _backed_up(settings=TALKATIVE_DISCOVERING),
        (_restore("history"), _advance_both),
        TALKATIVE_DISCOVERING,
        polls=("A",),
    ),
    "history-lost": Scenario(_ends_as(statuses.FAILED), (_lose("history"), _put), polls=("A",)),
    "state-lost": Scenario(
        lambda: _backed_up(settings=DISCOVERING),
        (_lose("state"), _advance_both),
        DISCOVERING,
        polls=("A",),
    ),
    "jobs-and-history-lost": Scenario(
        lambda: _backed_up(settings=TALKATIVE_DISCOVERING),
        (_lose("jobs", "history"), _advance_both),
        TALKATIVE_DISCOVERING,
        polls=("A",),
    ),
    "slow-reads": Scenario(
        lambda: _many_ended(4, slow={"GetModelInvocationJob": SLOW}),
        polls=("A",),
        seconds={"A": 32.0},
    ),
    "slow-hints": Scenario(
        lambda: _many_ended(5, slow={"GetModelInvocationJob": SLOW}),
        batches={EVENT: (*_FIVE_HINTS, Untrack(ONE, _FIRST))},
        polls=("A",),
        seconds={EVENT: 30.0},
    ),
    "slow-lists": Scenario(
        lambda: _undiscovered(4, page_size=1000, slow=True),
        settings=DISCOVERING,
        polls=("A",),
        seconds={"A": 45.0},
    ),
    "discovered": Scenario(lambda: _undiscovered(2), (_advance,), DISCOVERING, polls=("A",)),
    "discovered-twice": Scenario(lambda: _undiscovered(2), (), DISCOVERING),
    "discovered-meanwhile": Scenario(
        lambda: _undiscovered(1), (_submit, _advance), DISCOVERING, polls=("A",)
    ),
    "unreadable-on-first-page": Scenario(_first_page_unreadable, polls=("A",)),
    "swept-page-by-page": Scenario(_listed_page_by_page, polls=("A",), sweeps=True),
}
