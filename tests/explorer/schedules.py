"""Schedules: actors stop before each call, and the schedule decides which one continues.

A schedule is a sequence of segments such as `A3 W. B. E.`: A makes three calls, W all of its own,
then B, then E. Actors that have not finished by then continue in alphabetical order. Only one actor
runs at any time, and it passes its turn only before a call.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

from greenlet import getcurrent, greenlet

from bedrock_batch_monitor.app.worker_pool import LEAVE_BEFORE_DEADLINE_SECONDS
from bedrock_batch_monitor.domain.requests import Request
from tests.explorer.conduct import Conduct, Outcome
from tests.explorer.simulation import QUICK, SLOW, Crash, Line, Seat, World, kinds_for

Segment = tuple[str, int]
"""An actor and its number of calls; `TO_THE_END` means all of them."""
TO_THE_END: Final = -1
# The actor that represents people and Bedrock: its calls are their actions.
OUTSIDE: Final = "W"
NO_DEADLINE: Final = 900.0
_SEGMENT: Final = re.compile(r"([A-Z])(\d+|\.)")
_FAULT: Final = re.compile(r"([A-Z])(\d+):([a-z0-9-]+)")


@dataclass(frozen=True, order=True)
class Case:
    """A scenario, a schedule, and the faults: the actor, the number of its call, and the kind."""

    scenario: str
    schedule: tuple[Segment, ...] = ()
    faults: tuple[tuple[str, int, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Case:
        """Parse the text that `str` returns; raises ValueError."""
        scenario, schedule, faults = (part.strip() for part in text.split("|"))
        segments, found = [], []
        for each in schedule.split():
            if not (match := _SEGMENT.fullmatch(each)):
                message = f"{each!r} is not a segment of a schedule, such as A3 or B."
                raise ValueError(message)
            segments.append((match[1], TO_THE_END if match[2] == "." else int(match[2])))
        for each in faults.split():
            if not (match := _FAULT.fullmatch(each)):
                message = f"{each!r} is not a fault, such as A5:crash"
                raise ValueError(message)
            found.append((match[1], int(match[2]), match[3]))
        return cls(scenario, tuple(segments), tuple(found))

    @property
    def faults_by_call(self) -> dict[tuple[str, int], str]:
        """The kind of fault by actor and call."""
        return {(actor, number): kind for actor, number, kind in self.faults}

    @property
    def head(self) -> tuple[str, ...]:
        """The first actors that run to their ends, one after another and without a fault."""
        disturbed = {actor for actor, _, _ in self.faults}
        undisturbed = takewhile(
            lambda segment: segment[1] == TO_THE_END and segment[0] not in disturbed, self.schedule
        )
        return tuple(actor for actor, _ in undisturbed)

    def __str__(self) -> str:
        """The case as `--replay` accepts it."""
        schedule = " ".join(
            f"{actor}{'.' if count == TO_THE_END else count}" for actor, count in self.schedule
        )
        faults = " ".join(f"{actor}{number}:{kind}" for actor, number, kind in self.faults)
        return f"{self.scenario} | {schedule} | {faults}"


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was made: its number within the actor, and the faults possible at it."""

    actor: str
    number: int
    operation: str
    kinds: tuple[str, ...]
    fault: str | None


@dataclass(frozen=True)
class Program:
    """The code of an actor, the requests that it gets from a queue, and its seat."""

    run: Callable[[], Outcome]
    requests: tuple[Request, ...] = ()
    seat: Seat | None = None


@dataclass
class Turns:
    """One run of a schedule; also the oversight of the actors' calls.

    Each actor is a greenlet. It switches back to the loop of `run` when its turn is over.
    """

    world: World
    schedule: tuple[Segment, ...]
    faults: Mapping[tuple[str, int], str]
    recording: bool = False
    trace: list[Call] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    crashed: set[str] = field(default_factory=set)
    unprocessed: list[Request] = field(default_factory=list)
    """The hints and commands that are still in their queue."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """The seconds after which an actor is ended, for actors with a deadline."""
    late: list[str] = field(default_factory=list)
    """The actors that were still running at their deadline, with the operation."""
    spent: dict[str, float] = field(default_factory=dict)
    """The seconds that an actor's calls took."""
    conduct: Conduct | None = None
    """The known conduct of the actors: their code runs only where it is unknown. None: always."""
    pauses: dict[tuple[str, int], Turns] | None = None
    """Copies of this run before each call, by actor and number; None: no copies are kept."""

    def __post_init__(self) -> None:
        self._queue = deque(self.schedule)
        self._numbers: dict[str, int] = {}
        self._begun: set[str] = set()
        self._finished: set[str] = set()
        self._lines: dict[str, Line] = {}
        # The actor whose turn it was when this copy was made.
        self._paused: str | None = None
        self._left = TO_THE_END
        self._loop = getcurrent()

    def fork(self, case: Case) -> Turns:
        """Continue from here with a case that begins like this run; only between actors."""
        fork = Turns(
            self.world.fork(),
            case.schedule,
            case.faults_by_call,
            defects=[*self.defects],
            crashed={*self.crashed},
            unprocessed=[*self.unprocessed],
            limits=self.limits,
            late=[*self.late],
            spent={**self.spent},
            conduct=self.conduct,
        )
        fork._begun = {*self._begun}
        fork._finished = {*self._finished}
        return fork

    def resume(self, case: Case) -> Turns:
        """Continue from here with a case of the same schedule; here no fault has occurred yet."""
        fork = self.fork(case)
        fork._queue = self._queue.copy()
        fork._numbers = {**self._numbers}
        fork._lines = {actor: line.fork() for actor, line in self._lines.items()}
        fork._paused, fork._left = self._paused, self._left
        return fork

    def calls_made(self, actor: str) -> int:
        """How many calls an actor has made."""
        return self._numbers.get(actor, 0)

    def _pause(self, actor: str) -> None:
        """Keep a copy of the run before the next call of this actor, whose turn it is."""
        unfinished = (line for name, line in self._lines.items() if name not in self._finished)
        if any(line.is_taught for line in unfinished):
            # No later copy either: the first fault of a case must not be skipped.
            self.pauses = None
        if self.pauses is None or actor == OUTSIDE:
            return
        copy = self.resume(Case("", tuple(self.schedule)))
        copy._paused = actor
        self.pauses[actor, self.calls_made(actor) + 1] = copy

    def run(
        self, programs: Mapping[str, Program], stops: Callable[[], bool] = lambda: False
    ) -> None:
        """Run the schedule to the end of every program; they are in alphabetical order.

        When actors have finished and no other has begun, the run ends if `stops` returns true.
        """
        actors = {name: greenlet(self._play) for name in programs}
        self._loop = getcurrent()
        while segment := self._next(programs):
            target, self._left = segment
            actors[target].switch(target, programs[target])
            if len(self._finished) == len(self._begun) and stops():
                return

    def before(self, actor: str, operation: str, request: Mapping[str, Any]) -> str | None:
        """The boundary of a call: pass the turn if it is over, then return the call's fault."""
        if self._left == 0:
            self._loop.switch()
        if self.pauses is not None:
            self._pause(actor)
        self._left -= 1
        number = self._numbers[actor] = self._numbers.get(actor, 0) + 1
        self.world.tick()
        fault = self.faults.get((actor, number))
        if self.limits:
            self._take_time(actor, operation, fault)
        if fault is not None and fault not in kinds_for(self.world, operation, request):
            # The monitor changed since, or a person wrote the case: this fault is impossible here.
            fault = None
        if self.recording:
            kinds = () if actor == OUTSIDE else kinds_for(self.world, operation, request)
            self.trace.append(Call(actor, number, operation, kinds, fault))
        return fault

    def seconds_left(self, actor: str) -> float:
        """The seconds that an actor has left."""
        return self.limits.get(actor, NO_DEADLINE) - self.spent.get(actor, 0.0)

    def stop_waiting(self, actor: str) -> None:
        """The actor's call is in a thread: the actor waits until shortly before its deadline."""
        if actor in self.limits:
            latest = self.limits[actor] - LEAVE_BEFORE_DEADLINE_SECONDS
            self.spent[actor] = min(self.spent.get(actor, 0.0), latest)

    def _take_time(self, actor: str, operation: str, fault: str | None) -> None:
        if actor in self.limits and self.seconds_left(actor) <= 0:
            self.late.append(f"{actor}: {operation}")
            raise Crash
        seconds = SLOW if fault == "slow" else self.world.slow.get(operation, QUICK)
        self.spent[actor] = self.spent.get(actor, 0.0) + seconds

    @property
    def finished(self) -> frozenset[str]:
        """The actors that have finished."""
        return frozenset(self._finished)

    def position(self) -> Hashable:
        """Everything on which the rest of the run and its verdict depend.

        Two runs at the same position have the same result. Valid only between actors, after every
        fault.
        """
        to_come = tuple(segment for segment in self._queue if segment[0] not in self._finished)
        return (
            to_come,
            frozenset(self._finished),
            tuple(self.unprocessed),
            tuple(self.defects),
            tuple(self.late),
            self.world.digest(),
        )

    def _next(self, programs: Mapping[str, Program]) -> Segment | None:
        if self._paused is not None:
            paused, self._paused = self._paused, None
            return paused, self._left
        while self._queue:
            segment = self._queue.popleft()
            if segment[0] not in self._finished:
                return segment
        unfinished = (name for name in programs if name not in self._finished)
        return next(((name, TO_THE_END) for name in unfinished), None)

    def _play(self, actor: str, program: Program) -> None:
        if actor not in self._begun:
            self._begun.add(actor)
            # A processed message leaves its queue; a crash leaves all of them there.
            self.unprocessed.extend(program.requests)
        try:
            outcome = self._outcome(actor, program)
        except Crash:
            self.crashed.add(actor)
        else:
            self.defects.extend(outcome.defects)
            for request in program.requests:
                if request not in outcome.left:
                    self.unprocessed.remove(request)
        self._finished.add(actor)

    def _outcome(self, actor: str, program: Program) -> Outcome:
        def run() -> Outcome:
            try:
                return program.run()
            except Exception as error:  # noqa: BLE001 - any other exception is a finding
                defect = f"{actor}: {type(error).__name__}: {error}"
                return Outcome((defect,), program.requests)

        if program.seat is None or self.conduct is None:
            return run()
        if actor not in self._lines:
            self._lines[actor] = program.seat.begin(self.conduct)
        return program.seat.act(run, self.conduct, self._lines[actor])
