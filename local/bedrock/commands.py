"""The commands that control the stand-in over HTTP, as the server runs them.

`POST /_stand-in/<command>` with a JSON object of arguments answers a JSON value; 400 with
`{"message": ...}` for arguments that do not fit, 404 for an unknown command.
"""

from __future__ import annotations

import json
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from local.bedrock.clock import ManualClock, SimulatedClock
from local.bedrock.errors import ModelMismatchError
from local.bedrock.lifecycle import Script
from local.bedrock.shapes import timestamp_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.bedrock.simulation import Simulation


def run_command(simulation: Simulation, name: str, body: bytes) -> tuple[int, Any]:
    """Run a command; return the HTTP status and the JSON answer."""
    command = _COMMANDS.get(name)
    if command is None:
        return HTTPStatus.NOT_FOUND, {"message": f"commands: {', '.join(_COMMANDS)}"}
    try:
        return HTTPStatus.OK, command(simulation, **(json.loads(body) if body else {}))
    except (ValueError, TypeError, KeyError, AttributeError, ModelMismatchError) as error:
        return HTTPStatus.BAD_REQUEST, {"message": f"{type(error).__name__}: {error}"}


def _add_jobs(simulation: Simulation, *, jobs: list[dict[str, Any]]) -> list[str]:
    arns = []
    for job in jobs:
        arguments = dict(job)
        count = arguments.pop("count", 1)
        if (script := arguments.pop("script", "random")) != "random":
            arguments["script"] = Script.from_json(script)
        if "submitted_at" in arguments:
            arguments["submitted_at"] = datetime.fromisoformat(arguments["submitted_at"])
        arns += [simulation.add_job(**arguments) for _ in range(count)]
    return arns


def _plan(
    simulation: Simulation,
    *,
    job_name: str,
    script: dict[str, Any],
    total_records: int | None = None,
) -> None:
    simulation.plan(job_name, Script.from_json(script), total_records)


def _job(simulation: Simulation, *, arn: str) -> dict[str, Any]:
    return simulation.api.operations["GetModelInvocationJob"].serialize(simulation.job(arn))


def _calls(simulation: Simulation) -> list[list[object]]:
    return [[operation, outcome, n] for (operation, outcome), n in simulation.calls.items()]


def _set_time(simulation: Simulation, *, now: str) -> None:
    if not isinstance(simulation.clock, ManualClock):
        message = "only a manual clock can be set"
        raise TypeError(message)
    simulation.clock.set(datetime.fromisoformat(now))


def _set_speed(simulation: Simulation, *, speed: float) -> None:
    if not isinstance(simulation.clock, SimulatedClock):
        message = "a manual clock has no speed"
        raise TypeError(message)
    simulation.clock.set_speed(speed)


_COMMANDS: Final[Mapping[str, Callable[..., Any]]] = {
    "add-jobs": _add_jobs,
    "plan": _plan,
    "job": _job,
    "job-arns": lambda simulation: simulation.store.arns(),
    "calls": _calls,
    "reset-calls": lambda simulation: simulation.service.reset_calls(),
    "set-fault": lambda simulation, **fault: simulation.faults.add_json(fault),
    "remove-fault": lambda simulation, *, fault_id: simulation.faults.remove(fault_id),
    "clear-faults": lambda simulation: simulation.faults.clear(),
    "faults": lambda simulation: simulation.faults.to_json(),
    "now": lambda simulation: timestamp_text(simulation.clock.now()),
    "advance": lambda simulation, *, seconds: simulation.clock.advance(seconds),
    "set-time": _set_time,
    "set-speed": _set_speed,
    "reset": lambda simulation: simulation.reset(),
}
