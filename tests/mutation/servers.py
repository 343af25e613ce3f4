"""The processes that try mutants, and what is known of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutation.settings import ROOT, SETTINGS, Code, Ring
from tests.mutation.worker import BROKEN, SURVIVED, TIMED_OUT, UNPATCHABLE, Verdict


class ServerError(Exception):
    """A worker that did not answer; its log says why."""


class Server:
    """One worker process."""

    def __init__(self, kind: str, ring: Ring, project: Project, folder: Path) -> None:
        self.served = 0
        name = f"{kind}-{ring.name.replace(' ', '-')}"
        self._log = folder / f"{name}.log"
        command = [
            sys.executable, "-m", "tests.mutation.worker", kind, ring.name, project.code.digest,
            str(folder / name), str(project.code.root), str(project.settings),
        ]  # fmt: skip
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")},
            # `tests/conftest.py` loads this profile: the examples are the same each time.
            "HYPOTHESIS_PROFILE": "mutation",
            # So is the order of sets.
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (*project.paths, ROOT))),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this module's own worker
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=project.code.root,
                env=environment,
                text=True,
            )
        self._read()

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer; raises `ServerError`."""
        if self._process.stdin is None:
            raise AssertionError
        self.served += 1
        try:
            self._process.stdin.write(f"{json.dumps(message)}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ServerError(self._why()) from None
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise AssertionError
        line = self._process.stdout.readline()
        if not line:
            raise ServerError(self._why())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ServerError(answer["error"])
        return answer

    def log_end(self) -> str:
        """The last lines that the worker wrote."""
        return f"the end of its log:\n{self._log.read_text()[-2000:]}"

    def _why(self) -> str:
        return f"a worker ended; {self.log_end()}"


@dataclass(frozen=True)
class Project:
    """What is mutated: this repository, or one that a test has made."""

    code: Code
    settings: Path = SETTINGS
    cache: Path = ROOT / "build" / "mutation"

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folders that packages are imported from."""
        return tuple(
            dict.fromkeys((self.code.root / folder).parent for folder in self.code.folders)
        )


@dataclass
class Lane:
    """The servers that work one at a time, on one core: one for each kind and ring in use.

    A server that is used for the first time runs its controls: tests without any mutant. A test
    that detects a mutant for the first time runs once more without one. A test that fails then
    would count as the detection of every mutant.
    """

    project: Project
    folder: Path
    controls: Mapping[str, Sequence[tuple[str, float]]]
    """Tests by name of the ring, with the seconds that each takes."""
    warm_up: Mapping[str, Sequence[str]]
    """Tests by name of the ring that a server runs before its first mutant."""
    _servers: dict[tuple[str, str], Server] = field(default_factory=dict)
    _controlled: set[tuple[str, str]] = field(default_factory=set)
    _confirmed: set[tuple[str, str, str]] = field(default_factory=set)

    def attempt(
        self, ring: Ring, kind: str, path: str, number: int, tests: Sequence[tuple[str, float]]
    ) -> Verdict:
        """Try a mutant with these tests; raises `ServerError`."""
        if (kind, ring.name) not in self._controlled:
            self._controlled.add((kind, ring.name))
            self._control(ring, kind, path, self.controls[ring.name])
        verdict = self._run(ring, kind, path, number, tests)
        if verdict.outcome == UNPATCHABLE:
            return self.attempt(ring, "fresh", path, number, tests)
        if verdict.test is not None and (kind, ring.name, verdict.test) not in self._confirmed:
            self._control(ring, kind, path, [each for each in tests if each[0] == verdict.test])
            self._confirmed.add((kind, ring.name, verdict.test))
        return verdict

    def _control(
        self, ring: Ring, kind: str, path: str, tests: Sequence[tuple[str, float]]
    ) -> None:
        """Run tests without a mutant; raises `ServerError` if one does not pass."""
        verdict = self._run(ring, kind, path, -1, tests)
        if verdict.outcome != SURVIVED:
            server = self._servers.get((kind, ring.name))
            problem = (
                f"{ring.name}, {kind}: {verdict.test} is {verdict.outcome} without any mutant: it "
                "passes alone or in the order of the files, and not by itself or after quicker "
                f"tests\n{'' if server is None else server.log_end()}"
            )
            raise ServerError(problem)

    def _run(
        self, ring: Ring, kind: str, path: str, number: int, tests: Sequence[tuple[str, float]]
    ) -> Verdict:
        """Run tests on a mutant; number -1 is no mutant at all."""
        message = {
            "path": path,
            "number": number,
            "tests": [test for test, _ in tests],
            "seconds": [seconds for _, seconds in tests],
        }
        key = kind, ring.name
        if key not in self._servers:
            self._servers[key] = self._started(kind, ring)
        server = self._servers[key]
        answer = server.ask(message)
        verdict = Verdict(answer["outcome"], answer["test"], answer["seconds"])
        if verdict.outcome == BROKEN:
            problem = f"{ring.name}, {kind}: no test began on a mutant\n{server.log_end()}"
            raise ServerError(problem)
        if verdict.outcome == TIMED_OUT or server.served == ring.lifetime:
            # A test that was ended may have left a request to a process that serves all of them.
            server.close()
            del self._servers[key]
        return verdict

    def _started(self, kind: str, ring: Ring) -> Server:
        server = Server(kind, ring, self.project, self.folder)
        # A server that is replaced after some mutants keeps too much of what ran in it.
        if kind == "collected" and not ring.lifetime:
            try:
                server.ask({"warm_up": self.warm_up[ring.name]})
            except ServerError as error:
                server.close()
                message = f"{ring.name}: {error}\n{server.log_end()}"
                raise ServerError(message) from None
        return server

    def close(self) -> None:
        """End all servers."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()
