"""Whose turn it is: actors that stop before each call, in an order that the schedule decides.

A schedule is a row of segments such as `A3 W. B. E.`: A makes three calls, W all of its own, then
B, then E; whoever is not at the end by then goes on in alphabetical order. Only one actor runs at
any time, and it gives up its turn only before a call.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bedrock_batch_monitor.domain.requests import Request
from tests.explorer.simulation import QUICK, SLOW, Crash, World, kinds_for

Segment = tuple[str, int]
"""An actor and how many calls it makes; `TO_THE_END` is all that it has."""
TO_THE_END: Final = -1
MAIN: Final = ""
# The actor that stands for people and for Bedrock: its calls are what they do.
OUTSIDE: Final = "W"
_PATIENCE_SECONDS: Final = 60.0
NO_DEADLINE: Final = 900.0
_SEGMENT: Final = re.compile(r"([A-Z])(\d+|\.)")
_FAULT: Final = re.compile(r"([A-Z])(\d+):([a-z0-9-]+)")


@dataclass(frozen=True, order=True)
class Case:
    """What is played: a scenario, a schedule, and which call of which actor meets which fault."""

    scenario: str
    schedule: tuple[Segment, ...] = ()
    faults: tuple[tuple[str, int, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Case:
        """Read what `str` wrote; raises ValueError."""
        scenario, schedule, faults = (part.strip() for part in text.split("|"))
        segments, found = [], []
        for each in schedule.split():
            if not (match := _SEGMENT.fullmatch(each)):
                message = f"{each!r} is no segment of a schedule, such as A3 or B."
                raise ValueError(message)
            segments.append((match[1], TO_THE_END if match[2] == "." else int(match[2])))
        for each in faults.split():
            if not (match := _FAULT.fullmatch(each)):
                message = f"{each!r} is no fault, such as A5:crash"
                raise ValueError(message)
            found.append((match[1], int(match[2]), match[3]))
        return cls(scenario, tuple(segments), tuple(found))

    def __str__(self) -> str:
        """The case as `--replay` takes it."""
        schedule = " ".join(
            f"{actor}{'.' if count == TO_THE_END else count}" for actor, count in self.schedule
        )
        faults = " ".join(f"{actor}{number}:{kind}" for actor, number, kind in self.faults)
        return f"{self.scenario} | {schedule} | {faults}"


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was made: the actor's own count, and the faults that it could have met."""

    actor: str
    number: int
    operation: str
    kinds: tuple[str, ...]
    fault: str | None


class _Worker:
    """A thread that is used again and again."""

    def __init__(self) -> None:
        self._task: Callable[[], None] | None = None
        self._wake = threading.Semaphore(0)
        threading.Thread(target=self._serve, daemon=True).start()

    def give(self, task: Callable[[], None]) -> None:
        self._task = task
        self._wake.release()

    def _serve(self) -> None:
        while True:
            self._wake.acquire()
            task, self._task = self._task, None
            if task is not None:
                task()


_idle: Final[list[_Worker]] = []


@dataclass
class Turns:
    """One run of a schedule; also the oversight under which the actors' calls are made.

    Threads are used only where an actor stops in the middle while another, begun earlier, goes on.
    An actor that runs to its end when its turn comes does so on the stack of the one that it
    interrupts, which costs half as much.
    """

    world: World
    schedule: tuple[Segment, ...]
    faults: Mapping[tuple[str, int], str]
    recording: bool = False
    trace: list[Call] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    crashed: set[str] = field(default_factory=set)
    unfollowed: list[Request] = field(default_factory=list)
    """The events and commands that are still in their queue."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """After how many seconds of its own an actor is ended, for those that have a deadline."""
    late: list[str] = field(default_factory=list)
    """The actors that were at work at their deadline, and with what."""
    spent: dict[str, float] = field(default_factory=dict)
    """How many seconds an actor's own calls took."""

    def __post_init__(self) -> None:
        self._programs: Mapping[str, Callable[[], None]] = {}
        self._queue = deque(self.schedule)
        self._numbers: dict[str, int] = {}
        self._started: set[str] = set()
        self._finished: set[str] = set()
        self._waiting: dict[str, threading.Lock] = {}
        self._left = TO_THE_END

    def run(self, programs: Mapping[str, Callable[[], None]]) -> None:
        """Play the schedule to the end of every program; they are in alphabetical order."""
        self._programs = programs
        while True:
            target, count = self._next()
            if target == MAIN:
                return
            if target in self._started:
                self._hand_over(MAIN, target, count)
            else:
                self._play(target, count)

    def before(self, actor: str, operation: str, request: Mapping[str, Any]) -> str | None:
        """The boundary of a call: give up the turn if it is over, then say what the call meets."""
        if self._left == 0:
            self._switch(actor)
        self._left -= 1
        number = self._numbers[actor] = self._numbers.get(actor, 0) + 1
        self.world.tick()
        fault = self.faults.get((actor, number))
        if self.limits:
            self._take_time(actor, operation, fault)
        if fault is not None and fault not in kinds_for(self.world, operation, request):
            # A monitor that was changed since, or a case written by hand: no such thing can happen.
            fault = None
        if self.recording:
            kinds = () if actor == OUTSIDE else kinds_for(self.world, operation, request)
            self.trace.append(Call(actor, number, operation, kinds, fault))
        return fault

    def seconds_left(self, actor: str) -> float:
        """How much of its time an actor has left."""
        return self.limits.get(actor, NO_DEADLINE) - self.spent.get(actor, 0.0)

    def _take_time(self, actor: str, operation: str, fault: str | None) -> None:
        if actor in self.limits and self.seconds_left(actor) <= 0:
            self.late.append(f"{actor}: {operation}")
            raise Crash
        seconds = SLOW if fault == "slow" else self.world.slow.get(operation, QUICK)
        self.spent[actor] = self.spent.get(actor, 0.0) + seconds

    def _next(self) -> Segment:
        while self._queue:
            target, count = self._queue.popleft()
            if target not in self._finished:
                return target, count
        for target in self._programs:
            if target not in self._finished:
                return target, TO_THE_END
        return MAIN, TO_THE_END

    def _play(self, target: str, count: int) -> None:
        self._started.add(target)
        self._left = count
        try:
            self._programs[target]()
        except Crash:
            self.crashed.add(target)
        except Exception as error:  # noqa: BLE001 - whatever else comes out is a finding
            self.defects.append(f"{target}: {type(error).__name__}: {error}")
        self._finished.add(target)

    def _switch(self, actor: str) -> None:
        while True:
            target, count = self._next()
            if target == actor:
                self._left = count
                return
            if target not in self._started and count == TO_THE_END:
                self._play(target, count)
                continue
            self._hand_over(actor, target, count)
            return

    def _hand_over(self, actor: str, target: str, count: int) -> None:
        turn = threading.Lock()
        turn.acquire()
        self._waiting[actor] = turn
        self._left = count
        if target in self._started:
            self._waiting.pop(target).release()
        else:
            self._started.add(target)
            worker = _idle.pop() if _idle else _Worker()
            worker.give(lambda: self._on_thread(worker, target, count))
        if not turn.acquire(timeout=_PATIENCE_SECONDS):
            message = f"{target} did not give back its turn"
            raise Crash(message)

    def _on_thread(self, worker: _Worker, target: str, count: int) -> None:
        self._play(target, count)
        while True:
            target, count = self._next()
            if target != MAIN and target not in self._started:
                self._play(target, count)
                continue
            self._left = count
            _idle.append(worker)
            self._waiting.pop(target).release()
            return
