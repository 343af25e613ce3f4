"""Which tests run which lines: recorded once for each file of tests, and kept under `build/`."""

from __future__ import annotations

import ast
import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.mutation.choose import Touched
from tests.mutation.probes import mentions_of, names_made_with, statements_using
from tests.mutation.servers import Project, Server, ServerError
from tests.mutation.settings import Code, Ring

# The files of this folder that a recording depends on.
_RECORDING: Final = ("probes.py", "recorder.py")
# A worker takes files of so many seconds, and is replaced then.
_PART_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Recording:
    """What one ring's tests run, and the tests that fail without any mutant."""

    touched: Touched
    failed: tuple[str, ...]


def recordings(
    project: Project, rings: Sequence[Ring], tell: Callable[[str], None], workers: int
) -> dict[str, Recording]:
    """A recording of each ring: from earlier runs where neither code nor test has changed.

    Raises `ServerError`.
    """
    return {
        ring.name: _recording(_files(project, ring, tell, workers), ring, project.code)
        for ring in rings
    }


def _files(
    project: Project, ring: Ring, tell: Callable[[str], None], workers: int
) -> dict[str, Any]:
    """The recording of each file of a ring's tests."""
    path = project.cache / f"{ring.name.replace(' ', '-')}.json"
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    current = files_of_tests(project, ring)
    fresh = {
        name: entry
        for name, entry in known.items()
        if name in current and entry["digest"] == current[name]
    }
    missing = {
        name: sum(seconds for _, seconds in known.get(name, {"tests": ()})["tests"])
        or (project.code.root / name).stat().st_size / 1000
        for name in current
        if name not in fresh
    }
    if not missing:
        return fresh
    tell(f"{ring.name}: recording which lines {len(missing)} of {len(current)} files of tests run")
    project.cache.mkdir(parents=True, exist_ok=True)
    count = max(workers, round(sum(missing.values()) / _PART_SECONDS))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        jobs = {
            pool.submit(_record, ring, files, project, Path(folder, str(number))): files
            for number, files in enumerate(in_parts(missing, count))
        }
        for job in as_completed(jobs):
            found = by_file(job.result())
            for name in jobs[job]:
                fresh[name] = {"digest": current[name], **found.get(name, _NOTHING)}
            # What is recorded stays, if this run ends before the rest is.
            path.write_text(json.dumps(fresh))
    return fresh


_NOTHING: Final[Mapping[str, Any]] = {"tests": [], "statements": [], "failed": [], "imported": []}


def by_file(recorded: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a worker has recorded, as a recording of its own for each file of tests."""
    found: dict[str, dict[str, Any]] = {}

    def entry_of(test: str) -> dict[str, Any]:
        file = test.partition("::")[0]
        return found.setdefault(file, {name: list(value) for name, value in _NOTHING.items()})

    names = []
    for name, seconds in recorded["tests"]:
        tests = entry_of(name)["tests"]
        names.append((name, len(tests)))
        tests.append([name, seconds])
    for name in recorded["failed"]:
        entry_of(name)["failed"].append(name)
    for path, line, indexes in recorded["statements"]:
        by: dict[str, list[int]] = {}
        for name, place in (names[index] for index in indexes):
            by.setdefault(name.partition("::")[0], []).append(place)
        for file, places in by.items():
            found[file]["statements"].append([path, line, places])
    for entry in found.values():
        entry["imported"] = recorded["imported"]
    return found


def in_parts(seconds: Mapping[str, float], count: int) -> list[list[str]]:
    """Files in parts that take about the same time."""
    parts: list[list[str]] = [[] for _ in range(count)]
    taken = [0.0] * count
    for name in sorted(seconds, key=lambda name: (-seconds[name], name)):
        least = taken.index(min(taken))
        taken[least] += seconds[name]
        parts[least].append(name)
    return [sorted(part) for part in parts if part]


def files_of_tests(project: Project, ring: Ring) -> dict[str, str]:
    """The files of a ring's tests, each with a digest of all that its recording depends on."""
    root = project.code.root
    shared = _digest_of_shared(project) + repr(ring).encode()
    paths = [
        path
        for name in ring.tests
        for path in ([root / name] if (root / name).is_file() else (root / name).rglob("test_*.py"))
    ]
    return {
        name: hashlib.sha256(shared + path.read_bytes()).hexdigest()[:16]
        for path in sorted(paths)
        if not ring.is_excluded(name := path.relative_to(root).as_posix())
    }


def _digest_of_shared(project: Project) -> bytes:
    """Changes with anything that several tests may read: code, helpers, schemas."""
    root = project.code.root
    here = Path(__file__).parent
    folders = ("functions", "infra", "cli", "local", "tests", "schemas", *project.code.folders)
    paths = {
        path
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.parent != here
    }
    paths = {path for path in paths if not path.match("test_*.py")}
    single = (root / "pyproject.toml", root / "cdk.json")
    paths |= {path for path in single if path.exists()}
    found = hashlib.sha256()
    for path in [*sorted(paths), *(here / name for name in _RECORDING)]:
        found.update(str(path).encode() + b"\0" + path.read_bytes())
    return found.digest()


def _record(ring: Ring, files: Sequence[str], project: Project, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    server = Server("record", ring, project, folder)
    try:
        return server.ask({"files": list(files)})
    finally:
        server.close()


def _recording(files: Mapping[str, Any], ring: Ring, code: Code) -> Recording:
    seconds: dict[str, float] = {}
    tests: dict[tuple[str, int], set[str]] = {}
    failed: list[str] = []
    imported: set[tuple[str, int]] = set()
    for entry in files.values():
        names = [name for name, _ in entry["tests"]]
        seconds.update((name, taken) for name, taken in entry["tests"])
        failed += entry["failed"]
        imported.update((path, line) for path, line in entry["imported"])
        for path, line, indexes in entry["statements"]:
            tests.setdefault((path, line), set()).update(names[index] for index in indexes)
    if not seconds:
        message = f"{ring.name}: no test passes without a mutant: {', '.join(failed[:5])}"
        raise ServerError(message)
    of_code = {
        path: ast.parse(source)
        for path, source in code.sources.items()
        if path.startswith(f"{ring.source}/")
    }
    of_tests = {name: ast.parse((code.root / name).read_text()) for name in files}
    touched = Touched(
        seconds=seconds,
        tests={place: frozenset(found) for place, found in tests.items()},
        uses=statements_using(of_code),
        imported=frozenset(imported),
        made_with=names_made_with(of_code.values()),
        importers=importers_of(of_tests),
        mentions=mentions_of(of_tests, seconds),
    )
    return Recording(touched, tuple(sorted(failed)))


def importers_of(trees: Mapping[str, ast.Module]) -> dict[str, frozenset[str]]:
    """The files that import a module or something of it, by the name that they import."""
    found: dict[str, set[str]] = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                found.setdefault(name, set()).add(path)
    return {name: frozenset(paths) for name, paths in found.items()}
