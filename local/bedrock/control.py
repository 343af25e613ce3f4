"""The client that controls a stand-in in another process; `commands.py` is the server's half."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from local.bedrock.lifecycle import Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["PREFIX", "Control", "ControlError"]

PREFIX: Final = "/_stand-in/"
_TIMEOUT_SECONDS: Final = 60


class ControlError(Exception):
    """The stand-in refused a command."""


class Control:
    """A client of a stand-in in another process, at its endpoint URL.

    Every method raises ControlError if the stand-in refuses, OSError if it is unreachable.
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
        """Add a job and return its ARN; the arguments are those of StandIn.add_job."""
        return self.add_jobs([_job_json(script, submitted_at, attributes)])[0]

    def add_jobs(self, jobs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Add many jobs in one call and return their ARNs.

        Each is a JSON object with the arguments of StandIn.add_job: `script` as Script.from_json
        reads it or "random", `submitted_at` in ISO 8601, and `count` for a number of equal jobs.
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
        """Return the number of calls by operation and outcome."""
        return Counter({(operation, outcome): n for operation, outcome, n in self._run("calls")})

    def reset_calls(self) -> None:
        """Reset the counts of calls."""
        self._run("reset-calls")

    def set_fault(self, kind: str, **arguments: Any) -> str:  # noqa: ANN401 - checked by the stand-in
        """Set a fault and return its id: *kind* and fields as in Faults.add_json."""
        fault_id: str = self._run("set-fault", kind=kind, **arguments)
        return fault_id

    def remove_fault(self, fault_id: str) -> None:
        """Remove a fault."""
        self._run("remove-fault", fault_id=fault_id)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._run("clear-faults")

    def faults(self) -> dict[str, dict[str, Any]]:
        """Return the faults that are set, by id."""
        faults: dict[str, dict[str, Any]] = self._run("faults")
        return faults

    def now(self) -> datetime:
        """Return the simulated time."""
        return datetime.fromisoformat(self._run("now"))

    def advance(self, seconds: float) -> None:
        """Advance the clock by simulated seconds."""
        self._run("advance", seconds=seconds)

    def set_time(self, now: datetime) -> None:
        """Set a manual clock to a later time."""
        self._run("set-time", now=now.isoformat())

    def set_speed(self, speed: float) -> None:
        """Set how many seconds a simulated clock runs per real second."""
        self._run("set-speed", speed=speed)

    def reset(self) -> None:
        """Remove jobs, plans, faults and counts."""
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
