"""The processes that try mutants, and what is known of the tests."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.mutation.choose import Touched
from tests.mutation.probes import statements_using
from tests.mutation.settings import ROOT, SETTINGS, Code, Ring
from tests.mutation.worker import SURVIVED, TIMED_OUT, UNPATCHABLE, Verdict

# The files of this folder that a recording depends on.
_RECORDING: Final = ("probes.py", "recorder.py")


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
            # Examples of Hypothesis and the order of sets are the same each time.
            "CI": "1",
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

    def _why(self) -> str:
        return f"a worker ended; the end of its log:\n{self._log.read_text()[-2000:]}"


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

    A server that is used for the first time runs its controls: tests without any mutant, in the
    order in which mutants meet them. One that fails would count as a mutant that was noticed.
    """

    project: Project
    folder: Path
    controls: Mapping[str, Sequence[tuple[str, float]]]
    """Tests by name of the ring, with the seconds that each takes."""
    _servers: dict[tuple[str, str], Server] = field(default_factory=dict)
    _controlled: set[tuple[str, str]] = field(default_factory=set)

    def attempt(
        self, ring: Ring, kind: str, path: str, number: int, tests: Sequence[tuple[str, float]]
    ) -> Verdict:
        """Try a mutant with these tests; number -1 is no mutant at all. Raises `ServerError`."""
        if (kind, ring.name) not in self._controlled:
            self._controlled.add((kind, ring.name))
            verdict = self.attempt(ring, kind, path, -1, self.controls[ring.name])
            if verdict.outcome != SURVIVED:
                problem = (
                    f"{ring.name}, {kind}: {verdict.test} is {verdict.outcome} without any mutant: "
                    "it passes alone or in the order of the files, and not after quicker tests"
                )
                raise ServerError(problem)
        message = {
            "path": path,
            "number": number,
            "tests": [test for test, _ in tests],
            "seconds": [seconds for _, seconds in tests],
        }
        key = kind, ring.name
        if key not in self._servers:
            self._servers[key] = Server(kind, ring, self.project, self.folder)
        server = self._servers[key]
        answer = server.ask(message)
        verdict = Verdict(answer["outcome"], answer["test"], answer["seconds"])
        if verdict.outcome == TIMED_OUT or server.served == ring.lifetime:
            # A test that was ended may have left a request to a process that serves all of them.
            server.close()
            del self._servers[key]
        if verdict.outcome == UNPATCHABLE:
            return self.attempt(ring, "fresh", path, number, tests)
        return verdict

    def close(self) -> None:
        """End all servers."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()


@dataclass(frozen=True)
class Recording:
    """What one ring's tests run, and the tests that fail without any mutant."""

    touched: Touched
    failed: tuple[str, ...]


def recordings(
    project: Project, rings: Sequence[Ring], tell: Callable[[str], None], workers: int
) -> dict[str, Recording]:
    """A recording of each ring: an earlier one of the very same files, or a new one.

    Raises `ServerError`.
    """
    code = project.code
    digest = _digest_of_all(project)
    cached = {ring.name: project.cache / f"{_file(ring)}-{digest}.json" for ring in rings}
    missing = [ring for ring in rings if not cached[ring.name].exists()]
    if missing:
        tell(f"recording which tests run which lines: {', '.join(r.name for r in missing)}")
        project.cache.mkdir(parents=True, exist_ok=True)
        found: dict[str, list[dict[str, Any]]] = {}
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
            jobs = [
                (ring, pool.submit(_record, ring, files, project, Path(folder, str(number))))
                for ring in missing
                for number, files in enumerate(_parts(ring, code.root, workers))
            ]
            for ring, job in jobs:
                found.setdefault(ring.name, []).append(job.result())
        for ring in missing:
            for old in project.cache.glob(f"{_file(ring)}-*.json"):
                old.unlink()
            cached[ring.name].write_text(json.dumps(found[ring.name]))
    return {
        ring.name: _recording(json.loads(cached[ring.name].read_text()), ring, code)
        for ring in rings
    }


def _file(ring: Ring) -> str:
    return ring.name.replace(" ", "-")


def _record(ring: Ring, files: Sequence[str], project: Project, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    server = Server("record", ring, project, folder)
    try:
        return server.ask({"files": list(files)})
    finally:
        server.close()


def _recording(parts: Iterable[Mapping[str, Any]], ring: Ring, code: Code) -> Recording:
    seconds: dict[str, float] = {}
    tests: dict[tuple[str, int], set[str]] = {}
    failed: list[str] = []
    for part in parts:
        names = [name for name, _ in part["tests"]]
        if not names:
            message = f"{ring.name}: no test passes without a mutant: {part['failed'][:5]}"
            raise ServerError(message)
        seconds.update((name, taken) for name, taken in part["tests"])
        failed += part["failed"]
        for path, line, indexes in part["statements"]:
            tests.setdefault((path, line), set()).update(names[index] for index in indexes)
    sources = {
        path: source for path, source in code.sources.items() if path.startswith(f"{ring.source}/")
    }
    touched = Touched(
        seconds,
        {place: frozenset(found) for place, found in tests.items()},
        statements_using(sources),
    )
    return Recording(touched, tuple(sorted(failed)))


def _parts(ring: Ring, root: Path, count: int) -> list[list[str]]:
    """The files of a ring's tests in parts of about the same size."""
    files = [
        path
        for folder in ring.tests
        for path in sorted((root / folder).rglob("test_*.py"))
        if not ring.is_excluded(path.relative_to(root).as_posix())
    ]
    parts: list[list[str]] = [[] for _ in range(count)]
    sizes = [0] * count
    for path in sorted(files, key=lambda path: -path.stat().st_size):
        least = sizes.index(min(sizes))
        sizes[least] += path.stat().st_size
        parts[least].append(path.relative_to(root).as_posix())
    return [sorted(part) for part in parts if part]


def _digest_of_all(project: Project) -> str:
    """Changes with anything that a test may read: code, tests, schemas, settings of the tools."""
    root = project.code.root
    here = Path(__file__).parent
    folders = ("functions", "infra", "cli", "local", "tests", "schemas", *project.code.folders)
    paths = {path for folder in folders for path in (root / folder).rglob("*") if path.is_file()}
    paths = {path for path in paths if "__pycache__" not in path.parts and path.parent != here}
    single = (root / "pyproject.toml", root / "cdk.json", project.settings)
    paths |= {path for path in single if path.exists()}
    found = hashlib.sha256()
    for path in [*sorted(paths), *(here / name for name in _RECORDING)]:
        found.update(str(path).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]
