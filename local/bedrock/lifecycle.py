"""A job's life cycle as a pure function of its script and the time.

Times are seconds since the job was submitted. The meaning of each status comes from the `status`
documentation of GetModelInvocationJob: Expired jobs were scheduled but did not begin in time,
PartiallyCompleted jobs began but did not finish.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

__all__ = [
    "ENDINGS",
    "SUCCESSORS",
    "Counts",
    "Ending",
    "Phase",
    "Script",
    "State",
    "Status",
    "Stop",
]

Ending = Literal["Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"]
Status = Literal["Submitted", "Validating", "Scheduled", "InProgress", "Stopping"] | Ending
ENDINGS: Final[tuple[Ending, ...]] = get_args(Ending)

SUCCESSORS: Final[Mapping[str, frozenset[str]]] = {
    "Submitted": frozenset({"Validating", "Failed", "Stopping"}),
    "Validating": frozenset({"Scheduled", "Failed", "Stopping"}),
    "Scheduled": frozenset({"InProgress", "Failed", "Expired", "Stopping"}),
    "InProgress": frozenset({"Completed", "PartiallyCompleted", "Failed", "Stopping"}),
    "Stopping": frozenset({"Stopped"}),
    **{ending: frozenset() for ending in ENDINGS},
}
"""The steps of random scripts. Explicit scripts may have others."""

_FAILED_VALIDATION: Final = (
    "The batch job contains less records (37) than the required minimum of: 100",
    "Input file validation failed: line 12 of input.jsonl is not a valid JSON object",
    "The service role cannot access the S3 input location. Check the role's policy",
    "The S3 output location does not exist or the service role may not write to it",
)
_FAILED_RUNNING: Final = (
    "Internal service error. Submit the job again; contact support if it keeps failing",
    "The service role's credentials could not be renewed while records were processed",
    "Writing the results to the S3 output location failed: Access Denied",
)
_MESSAGES: Final[Mapping[str, str]] = {
    "PartiallyCompleted": "Not all records could be processed before the job's timeout",
    "Stopped": "The job was stopped by a user",
    "Expired": "The job did not begin before its timeout",
}
_WEIGHTS: Final[Mapping[Ending, float]] = {
    "Completed": 0.7,
    "PartiallyCompleted": 0.08,
    "Failed": 0.1,
    "Stopped": 0.07,
    "Expired": 0.05,
}


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a job's life cycle in one status.

    *seconds* None means that it lasts indefinitely, as a terminal status must. *message* is for
    terminal statuses other than Completed. *processed* is the share (0 to 1) of the records that
    are done when the phase ends, InProgress only: by default the script's own share, or no progress
    at all (a stall) if the phase lasts indefinitely. ValueError for anything else.
    """

    status: Status
    seconds: float | None
    message: str | None = None
    processed: float | None = None

    def __post_init__(self) -> None:
        if self.status not in SUCCESSORS:
            _refuse(f"no status of the API: {self.status!r}")
        terminal = self.status in ENDINGS
        if terminal and self.seconds is not None:
            _refuse(f"{self.status} lasts indefinitely")
        if self.seconds is not None and not 0 <= self.seconds < math.inf:
            _refuse(f"a phase lasts 0 seconds or more: {self.seconds}")
        if self.message is not None and (not terminal or self.status == "Completed"):
            _refuse(f"{self.status} has no message")
        if self.processed is not None and (
            self.status != "InProgress" or self.seconds is None or not 0 <= self.processed <= 1
        ):
            _refuse(f"records are processed InProgress, in a share of 0..1: {self}")


@dataclass(frozen=True, slots=True)
class Counts:
    """A job's records: `processed = success + error ≤ total`."""

    total: int
    processed: int
    success: int
    error: int


@dataclass(frozen=True, slots=True)
class Stop:
    """A user's StopModelInvocationJob *at* this time; Stopping takes *seconds*."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class State:
    """A job at one moment. Times are seconds since submission.

    *counts* are all 0 until the job has been validated, *ended* is None before the end.
    """

    status: str
    changed: float
    """When the status or the counts last changed: the API's lastModifiedTime."""
    ended: float | None = None
    message: str | None = None
    counts: Counts = Counts(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Script:
    """A job's phases in order, and the progress of its records.

    *processed_share* of the records (0 to 1) is done when InProgress ends, *error_share* of all
    records (0 to 1) are errors if all are processed, and counts change *steps* times in a phase
    (fewer with fewer records). ValueError if a phase other than the last is terminal or lasts
    indefinitely, or if a share or *steps* is out of range.
    """

    phases: tuple[Phase, ...]
    processed_share: float = 1.0
    error_share: float = 0.0
    steps: int = 25
    stop: Stop | None = None

    def __post_init__(self) -> None:
        if not self.phases:
            _refuse("a script has at least one phase")
        for phase in self.phases[:-1]:
            if phase.seconds is None:
                _refuse(f"no phase can follow one that lasts indefinitely: {phase}")
        last = self.phases[-1]
        if last.seconds is not None:
            _refuse(f"the last phase lasts indefinitely: {last}")
        if not (0 <= self.processed_share <= 1 and 0 <= self.error_share <= 1 and self.steps >= 1):
            _refuse(f"shares are 0..1 and steps at least 1: {self}")
        shares = [p.processed for p in self.phases if p.processed is not None]
        if shares != sorted(shares):
            _refuse(f"records are not un-processed: {shares}")

    @classmethod
    def ending(  # noqa: PLR0913 - each is one duration or share that a test wants to set by name
        cls,
        status: Ending,
        message: str | None = None,
        *,
        submitted: float = 60,
        validating: float = 120,
        scheduled: float = 300,
        running: float = 1200,
        stopping: float = 60,
        processed_share: float | None = None,
        error_share: float = 0.0,
    ) -> Script:
        """Return a script of plain durations (seconds) that ends in *status*, by the usual path.

        Failed comes after *running*, or in validation if *running* is 0, because no record was
        processed yet. Expired comes after *scheduled*. Without *message* it is a typical one.
        """
        if processed_share is None:
            processed_share = 1.0 if status == "Completed" else 0.6
        text = _message(status, message, begun=running > 0)
        phases = [Phase("Submitted", submitted), Phase("Validating", validating)]
        if status == "Expired":
            phases.append(Phase("Scheduled", scheduled))
        elif status != "Failed" or running > 0:
            phases += [Phase("Scheduled", scheduled), Phase("InProgress", running)]
        if status == "Stopped":
            phases.append(Phase("Stopping", stopping))
        phases.append(Phase(status, None, text))
        return cls(tuple(phases), processed_share=processed_share, error_share=error_share)

    @classmethod
    def random(
        cls,
        rng: random.Random,
        *,
        ending: Ending | None = None,
        timeout_hours: float = 24,
        weights: Mapping[Ending, float] | None = None,
    ) -> Script:
        """A random, realistic script: terminal status (by *weights*), durations and records.

        Expired and PartiallyCompleted come after *timeout_hours*, everything else within minutes.
        The same state of *rng* gives the same script.
        """
        if ending is None:
            share = weights or _WEIGHTS
            ending = rng.choices(list(share), list(share.values()))[0]
        phases = [
            Phase("Submitted", _seconds(rng, 10, 120)),
            Phase("Validating", _seconds(rng, 30, 300)),
            Phase("Scheduled", _seconds(rng, 5, 1800)),
            Phase("InProgress", _seconds(rng, 300, 3600)),
        ]
        processed_share = rng.uniform(0.05, 0.95)
        if ending == "Completed":
            processed_share = 1.0
        elif ending == "Failed":
            phases = phases[: rng.choice((2, 2, 4))]
        elif ending == "Stopped":
            phases = [*phases[: rng.randint(1, 4)], Phase("Stopping", _seconds(rng, 5, 120))]
        elif ending == "Expired":
            phases = _until(phases[:3], timeout_hours)
        else:
            phases = _until(phases, timeout_hours)
        begun = phases[-1].status == "InProgress"
        message = None
        if ending == "Failed":
            message = rng.choice(_FAILED_RUNNING if begun else _FAILED_VALIDATION)
        phases.append(Phase(ending, None, _message(ending, message, begun=begun)))
        error_share = rng.choice((0.0, 0.0, rng.uniform(0, 0.02), rng.uniform(0, 0.3)))
        return cls(tuple(phases), processed_share=processed_share, error_share=error_share)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Script:
        """Return the script of a JSON object, as `to_json` writes it; ValueError otherwise.

        Instead of `phases` it may contain `ending` and any of the keyword arguments of `ending()`.
        """
        try:
            if "ending" in document:
                arguments = dict(document)
                return cls.ending(arguments.pop("ending"), **arguments)
            phases = tuple(Phase(**phase) for phase in document["phases"])
            return cls(**{**document, "phases": phases})
        except (KeyError, TypeError) as error:
            message = f"not a script: {error}"
            raise ValueError(message) from error

    def to_json(self) -> dict[str, Any]:
        """Return the script as JSON values, without a user's stop."""
        return {
            "phases": [
                {"status": phase.status, "seconds": phase.seconds}
                | ({} if phase.message is None else {"message": phase.message})
                | ({} if phase.processed is None else {"processed": phase.processed})
                for phase in self.phases
            ],
            "processed_share": self.processed_share,
            "error_share": self.error_share,
            "steps": self.steps,
        }

    def stopped(self, at: float, seconds: float) -> Script:
        """Return the script of the same job, stopped by a user *at* that time."""
        return replace(self, stop=Stop(at, seconds))

    def failed(self, message: str) -> Script:
        """Return the script of the same job, which fails with *message* where this one ends."""
        return replace(self, phases=(*self.phases[:-1], Phase("Failed", None, message)))

    def state(self, elapsed: float, total: int) -> State:
        """Return the state of a job of *total* records, *elapsed* seconds after submission."""
        if self.stop is None or elapsed < self.stop.at:
            return self._scripted(max(elapsed, 0.0), total)
        counts = self._scripted(self.stop.at, total).counts
        ended = self.stop.at + self.stop.seconds
        if elapsed < ended:
            return State("Stopping", self.stop.at, counts=counts)
        return State("Stopped", ended, ended, _MESSAGES["Stopped"], counts)

    def _scripted(self, elapsed: float, total: int) -> State:
        validated = False
        done = 0
        start = 0.0
        for phase in self.phases:
            running = phase.status == "InProgress"
            # The API's documentation: a job that is Scheduled "has been validated".
            validated = validated or running or phase.status == "Scheduled"
            goal = max(done, self._goal(phase, total)) if running else done
            if phase.seconds is None or elapsed < start + phase.seconds:
                break
            done = goal
            start += phase.seconds
        changed = start
        if running and phase.seconds and goal > done:
            steps = min(self.steps, goal - done)
            step = min(int((elapsed - start) / phase.seconds * steps), steps)
            # Integer arithmetic keeps the counts monotone and their sums exact.
            done += (goal - done) * step // steps
            changed = start + phase.seconds * step / steps
        counts = Counts(0, 0, 0, 0)
        if validated:
            errors = done * round(self.error_share * total) // total if total else 0
            counts = Counts(total, done, done - errors, errors)
        ended = start if phase.status in ENDINGS else None
        return State(phase.status, min(changed, elapsed), ended, phase.message, counts)

    def _goal(self, phase: Phase, total: int) -> int:
        """Return how many records are processed when an InProgress phase ends."""
        if phase.seconds is None:
            return 0
        share = self.processed_share if phase.processed is None else phase.processed
        return round(share * total)


def _until(phases: list[Phase], hours: float) -> list[Phase]:
    """Extend the last phase until *hours* after submission."""
    *earlier, last = phases
    before = list(accumulate((p.seconds or 0 for p in earlier), initial=0.0))[-1]
    return [*earlier, Phase(last.status, max(hours * 3600 - before, 0.0))]


def _message(status: Ending, message: str | None, *, begun: bool) -> str | None:
    if message is not None or status == "Completed":
        return message
    if status == "Failed":
        return _FAILED_RUNNING[0] if begun else _FAILED_VALIDATION[0]
    return _MESSAGES[status]


def _seconds(rng: random.Random, low: float, high: float) -> float:
    return round(rng.uniform(low, high), 3)


def _refuse(message: str) -> None:
    raise ValueError(message)
