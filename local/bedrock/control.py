"""Steering the stand-in from another process: commands over HTTP, and the client for them.

`POST /_stand-in/<command>` with a JSON object of arguments answers a JSON value; 400 with
`{"message": ...}` for arguments that do not fit, 404 for a command that there is not.
"""

from __future__ import annotations

import http.client
import json
from collections import Counter
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from local.bedrock.clock import ManualClock, SimulatedClock
from local.bedrock.lifecycle import Script
from local.bedrock.model import ModelMismatchError, timestamp_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from local.bedrock.server import StandIn

__all__ = ["PREFIX", "Control", "ControlError", "run_command"]

PREFIX: Final = "/_stand-in/"
_TIMEOUT_SECONDS: Final = 60


# The server's half


def run_command(stand_in: StandIn, name: str, body: bytes) -> tuple[int, Any]:
    """Run a command and return its HTTP status and JSON answer."""
    command = _COMMANDS.get(name)
    if command is None:
        return HTTPStatus.NOT_FOUND, {"message": f"commands: {', '.join(_COMMANDS)}"}
    try:
        return HTTPStatus.OK, command(stand_in, **(json.loads(body) if body else {}))
    except (ValueError, TypeError, KeyError, AttributeError, ModelMismatchError) as error:
        return HTTPStatus.BAD_REQUEST, {"message": f"{type(error).__name__}: {error}"}


def _add_jobs(stand_in: StandIn, *, jobs: list[dict[str, Any]]) -> list[str]:
    arns = []
    for job in jobs:
        arguments = dict(job)
        count = arguments.pop("count", 1)
        if (script := arguments.pop("script", "random")) != "random":
            arguments["script"] = Script.from_json(script)
        if "submitted_at" in arguments:
            arguments["submitted_at"] = datetime.fromisoformat(arguments["submitted_at"])
        arns += [stand_in.add_job(**arguments) for _ in range(count)]
    return arns


def _plan(
    stand_in: StandIn, *, job_name: str, script: dict[str, Any], total_records: int | None = None
) -> None:
    stand_in.plan(job_name, Script.from_json(script), total_records)


def _job(stand_in: StandIn, *, arn: str) -> dict[str, Any]:
    return stand_in.api.operations["GetModelInvocationJob"].serialize(stand_in.job(arn))


def _calls(stand_in: StandIn) -> list[list[object]]:
    return [[operation, outcome, n] for (operation, outcome), n in stand_in.calls.items()]


def _set_time(stand_in: StandIn, *, now: str) -> None:
    if not isinstance(stand_in.clock, ManualClock):
        message = "only a manual clock can be set"
        raise TypeError(message)
    stand_in.clock.set(datetime.fromisoformat(now))


def _set_speed(stand_in: StandIn, *, speed: float) -> None:
    if not isinstance(stand_in.clock, SimulatedClock):
        message = "a manual clock has no speed"
        raise TypeError(message)
    stand_in.clock.set_speed(speed)


_COMMANDS: Final[Mapping[str, Callable[..., Any]]] = {
    "add-jobs": _add_jobs,
    "plan": _plan,
    "job": _job,
    "job-arns": lambda stand_in: stand_in.store.arns(),
    "calls": _calls,
    "reset-calls": lambda stand_in: stand_in.service.reset_calls(),
    "set-fault": lambda stand_in, **fault: stand_in.faults.add_json(fault),
    "remove-fault": lambda stand_in, *, fault_id: stand_in.faults.remove(fault_id),
    "clear-faults": lambda stand_in: stand_in.faults.clear(),
    "faults": lambda stand_in: stand_in.faults.to_json(),
    "now": lambda stand_in: timestamp_text(stand_in.clock.now()),
    "advance": lambda stand_in, *, seconds: stand_in.clock.advance(seconds),
    "set-time": _set_time,
    "set-speed": _set_speed,
    "reset": lambda stand_in: stand_in.reset(),
}


# The client's half


class ControlError(Exception):
    """The stand-in refused a command."""


class Control:
    """A client of a stand-in in another process, at its endpoint URL.

    Every method raises ControlError if the stand-in refuses, OSError if it cannot be reached.
    """

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self._netloc = urlsplit(endpoint_url).netloc

    def add_job(
        self,
        *,
        script: Script | Mapping[str, Any] | None = None,
        submitted_at: datetime | None = None,
        **attributes: Any,  # noqa: ANN401 - checked by the stand-in
    ) -> str:
        """Put a job there and return its ARN; the arguments are those of StandIn.add_job."""
        return self.add_jobs([_job_json(script, submitted_at, attributes)])[0]

    def add_jobs(self, jobs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Put many jobs there in one call and return their ARNs.

        Each is a JSON object with the arguments of StandIn.add_job: `script` as Script.from_json
        reads it or "random", `submitted_at` in ISO 8601, and `count` for so many alike.
        """
        arns: list[str] = self._run("add-jobs", jobs=list(jobs))
        return arns

    def plan(
        self,
        job_name: str,
        script: Script | Mapping[str, Any],
        total_records: int | None = None,
    ) -> None:
        """Let jobs that are created through the API with this name follow *script*."""
        document = _script_json(script)
        self._run("plan", job_name=job_name, script=document, total_records=total_records)

    def job(self, arn: str) -> dict[str, Any]:
        """Return a job's attributes now, as JSON: times are ISO 8601 texts."""
        attributes: dict[str, Any] = self._run("job", arn=arn)
        return attributes

    def job_arns(self) -> list[str]:
        """Return the ARNs of all jobs."""
        arns: list[str] = self._run("job-arns")
        return arns

    def calls(self) -> Counter[tuple[str, str]]:
        """Return how many calls there were, by operation and outcome."""
        return Counter({(operation, outcome): n for operation, outcome, n in self._run("calls")})

    def reset_calls(self) -> None:
        """Count calls from zero again."""
        self._run("reset-calls")

    def set_fault(self, kind: str, **arguments: Any) -> str:  # noqa: ANN401 - checked by the stand-in
        """Set a fault and return its id: *kind* and fields as in Faults.add_json."""
        fault_id: str = self._run("set-fault", kind=kind, **arguments)
        return fault_id

    def remove_fault(self, fault_id: str) -> None:
        """Take a fault back."""
        self._run("remove-fault", fault_id=fault_id)

    def clear_faults(self) -> None:
        """Take all faults back."""
        self._run("clear-faults")

    def faults(self) -> dict[str, dict[str, Any]]:
        """Return the faults that are set, by id."""
        faults: dict[str, dict[str, Any]] = self._run("faults")
        return faults

    def now(self) -> datetime:
        """Return the simulated time."""
        return datetime.fromisoformat(self._run("now"))

    def advance(self, seconds: float) -> None:
        """Jump forward by so many simulated seconds."""
        self._run("advance", seconds=seconds)

    def set_time(self, now: datetime) -> None:
        """Set a manual clock to a later time."""
        self._run("set-time", now=now.isoformat())

    def set_speed(self, speed: float) -> None:
        """Let a simulated clock run so many seconds per real second."""
        self._run("set-speed", speed=speed)

    def reset(self) -> None:
        """Forget jobs, plans, faults and counts."""
        self._run("reset")

    def _run(self, command: str, **arguments: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
        connection = http.client.HTTPConnection(self._netloc, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("POST", PREFIX + command, json.dumps(arguments))
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != HTTPStatus.OK:
            raise ControlError(answer["message"])
        return answer


def _job_json(
    script: Script | Mapping[str, Any] | None,
    submitted_at: datetime | None,
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    document = dict(attributes)
    if script is not None:
        document["script"] = _script_json(script)
    if submitted_at is not None:
        document["submitted_at"] = submitted_at.isoformat()
    return document


def _script_json(script: Script | Mapping[str, Any]) -> dict[str, Any]:
    return script.to_json() if isinstance(script, Script) else dict(script)
