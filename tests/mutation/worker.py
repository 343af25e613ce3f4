"""A process that runs tests on mutants: it forks for each, so nothing is imported twice.

Started by `tests.mutation.servers` with a request per line on standard input, as JSON, and an
answer per line on standard output. There are three kinds:

- `collected` imports and collects all tests of a ring once. In the child, the functions that live
  get the code of the mutated ones.
- `fresh` imports libraries alone. In the child, the mutated module is imported as it would be from
  disk, and then its tests: for changes to what runs at import.
- `record` runs tests without a mutant and notes which statements each of them runs.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

import pytest

from tests.mutation.operators import mutated
from tests.mutation.probes import Probes, caches_of, load_with
from tests.mutation.recorder import Recorder
from tests.mutation.settings import Code, Ring, read_settings

KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"
UNPATCHABLE: Final = "unpatchable"
BROKEN: Final = "broken"
# Of a test that takes seconds while nothing is mutated; the machine may be busy with other things.
_PATIENCE: Final = 6.0
_LEAST_SECONDS: Final = 8.0
_START_SECONDS: Final = 120.0
_OPTIONS: Final = (
    "-n0", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--dist=no",
    # Nobody reads why a test failed on a mutant, and to explain it takes longer than most tests.
    "--tb=line", "--assert=plain",
)  # fmt: skip


class UnpatchableError(Exception):
    """The mutated code is in no function that lives: the module has to be imported again."""


@dataclass(frozen=True)
class Request:
    """A mutant, and the tests to run on it."""

    path: str
    number: int
    tests: tuple[str, ...]
    seconds: tuple[float, ...]
    """How long each of the tests takes while nothing is mutated."""

    def limit(self, index: int) -> float:
        """After how many seconds a test counts as endless; a busy machine gets more."""
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        return busy * (_LEAST_SECONDS + _PATIENCE * self.seconds[index])


@dataclass
class Verdict:
    """What became of a mutant."""

    outcome: str
    test: str | None = None
    """The test that killed it, or that did not end."""
    seconds: float = 0.0


# Patching


def code_objects(code: CodeType) -> Iterator[CodeType]:
    """A code object and all that are in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_objects(constant)


def live_functions(paths: frozenset[str]) -> dict[tuple[str, str, int], list[FunctionType]]:
    """Every function of these files that has been made, by file, qualified name and line."""
    found: dict[tuple[str, str, int], list[FunctionType]] = {}
    # The handlers freeze what is there once they are imported, and the collector hides it then.
    gc.unfreeze()
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename in paths:
            found.setdefault(_key(function.__code__), []).append(function)
    return found


def patch(functions: Mapping[tuple[str, str, int], Sequence[FunctionType]], code: CodeType) -> None:
    """Give functions that live the code of a changed module; raises `UnpatchableError`."""
    new: dict[tuple[str, str, int], list[CodeType]] = {}
    for part in code_objects(code):
        new.setdefault(_key(part), []).append(part)
    changes = [
        (function, parts)
        for key, parts in new.items()
        for function in functions.get(key, ())
        if function.__code__ not in parts
    ]
    if not changes:
        raise UnpatchableError
    for function, parts in changes:
        if len(parts) > 1:
            raise UnpatchableError
        try:
            function.__code__ = parts[0]
        except ValueError:
            # Other variables of the enclosing function are used.
            raise UnpatchableError from None


def _key(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


# Forking


def in_child(work: Callable[[Callable[[str], None]], None], request: Request) -> Verdict:
    """Run something in a fork and follow what it reports: `start N`, then `killed N` or `survived`.

    A child that says nothing for too long is killed with all that it started. One that ends
    without a word during a test counts as a mutant that was killed; before its first test, it is
    broken.
    """
    began = time.monotonic()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setpgid(0, 0)
        try:
            work(lambda text: _write(writer, text))
        except BaseException:  # noqa: BLE001 - the worker's log is where anybody looks for it
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)
    os.close(writer)
    with contextlib.suppress(OSError):
        os.setpgid(child, child)
    try:
        verdict = _follow(reader, request)
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    verdict.seconds = time.monotonic() - began
    return verdict


def _follow(reader: int, request: Request) -> Verdict:
    limit, test = _START_SECONDS, None
    text = b""
    while True:
        if not select.select([reader], [], [], limit)[0]:
            return Verdict(TIMED_OUT, test)
        if not (read := os.read(reader, 4096)):
            return Verdict(BROKEN if test is None else KILLED, test)
        text += read
        while b"\n" in text:
            line, text = text.split(b"\n", 1)
            word, *rest = line.decode().split()
            if word == "start":
                test, limit = request.tests[int(rest[0])], request.limit(int(rest[0]))
            elif word == KILLED:
                return Verdict(KILLED, request.tests[int(rest[0])] if rest else None)
            else:
                return Verdict(word)


def _write(writer: int, text: str) -> None:
    os.write(writer, f"{text}\n".encode())


# Plugins of pytest, which keeps them in sets: so each is equal to itself alone


@dataclass(eq=False)
class Only:
    """Leaves a ring's excluded tests out, and all but the wanted ones."""

    ring: Ring
    wanted: frozenset[str] | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what is not wanted."""
        items[:] = [
            item
            for item in items
            if not self.ring.is_excluded(item.nodeid)
            and (self.wanted is None or item.nodeid in self.wanted)
        ]


@dataclass(eq=False)
class Failures:
    """Whether anything has failed."""

    failed: bool = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure of any phase."""
        self.failed = self.failed or report.failed


@dataclass(eq=False)
class Running:
    """Runs the wanted tests in their order, and stops at the first failure."""

    request: Request
    tell: Callable[[str], None]
    failures: Failures

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of the loop."""
        found = {item.nodeid: item for item in session.items}
        if session.testsfailed:
            self.tell(KILLED)
            os._exit(0)
        run([found[test] for test in self.request.tests], self.failures, self.tell)
        os._exit(0)


def run(items: Sequence[pytest.Item], failures: Failures, tell: Callable[[str], None]) -> None:
    """Run tests until one fails."""
    for index, item in enumerate(items):
        tell(f"start {index}")
        following = items[index + 1] if index + 1 < len(items) else None
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
        if failures.failed:
            tell(f"{KILLED} {index}")
            return
    tell(SURVIVED)


@dataclass(eq=False)
class Collected:
    """Serves requests when everything is collected, in place of running the tests.

    Before the first mutant it can be told to run some tests itself: what libraries load at their
    first use is not loaded again in each child then.
    """

    ring: Ring
    code: Code
    channel: Channel
    failures: Failures

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Take the place of the loop."""
        items = {item.nodeid: item for item in session.items}
        functions = live_functions(
            frozenset(str(self.code.root / path) for path in self.code.sources)
        )
        caches = self._caches()
        _freeze()
        self.channel.tell({"ready": len(items)})
        for message in self.channel:
            if "warm_up" in message:
                threads = set(threading.enumerate())
                run([items[test] for test in message["warm_up"]], self.failures, lambda _: None)
                # No mutant may meet what the code has answered without it.
                for cache in (*caches, *self._caches()):
                    cache.cache_clear()
                _freeze()
                self.channel.tell(self._warmed_up(set(threading.enumerate()) - threads))
                continue
            request = request_of(message)

            def work(tell: Callable[[str], None], request: Request = request) -> None:
                if request.number >= 0:
                    tree = mutated(self.code.sources[request.path], self.code.facts, request.number)
                    code = compile(
                        tree, str(self.code.root / request.path), "exec", dont_inherit=True
                    )
                    try:
                        patch(functions, code)
                    except UnpatchableError:
                        tell(UNPATCHABLE)
                        return
                run([items[test] for test in request.tests], self.failures, tell)

            self.channel.answer(in_child(work, request))
        return True

    def _caches(self) -> list[Any]:
        tests = (name.replace("/", ".") for name in self.ring.tests)
        return caches_of((Path(self.ring.source).name, *tests))

    def _warmed_up(self, threads: Collection[threading.Thread]) -> dict[str, Any]:
        """The answer after the tests of a warm-up, which must leave nothing behind."""
        if self.failures.failed:
            return {"error": "a test fails while the worker warms up, without any mutant"}
        if threads:
            # A child does not have them, and would wait for them.
            return {"error": f"tests leave threads behind: {threads}"}
        return {"warm": True}


def _freeze() -> None:
    """Keep what lives now from the collector: a child would copy all that it looks at."""
    gc.collect()
    gc.freeze()


class Channel:
    """The requests and answers, whatever pytest does with the standard streams."""

    def __init__(self) -> None:
        self._requests = os.fdopen(os.dup(0), "r")
        self._answers = os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every request until the input ends."""
        while line := self._requests.readline():
            yield json.loads(line)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send one message."""
        data = f"{json.dumps(message)}\n".encode()
        while data:
            data = data[os.write(self._answers, data) :]

    def answer(self, verdict: Verdict) -> None:
        """Send what became of a mutant."""
        self.tell({"outcome": verdict.outcome, "test": verdict.test, "seconds": verdict.seconds})


def request_of(message: Mapping[str, Any]) -> Request:
    """The request in a message."""
    return Request(
        message["path"], message["number"], tuple(message["tests"]), tuple(message["seconds"])
    )


def serve_collected(ring: Ring, code: Code, channel: Channel, options: Sequence[str]) -> None:
    """Collect all tests of a ring and serve."""
    failures = Failures()
    plugins = [Only(ring), failures, Collected(ring, code, channel, failures)]
    pytest.main([*_OPTIONS, *options, *ring.tests], plugins=plugins)


def serve_fresh(ring: Ring, code: Code, channel: Channel, options: Sequence[str]) -> None:
    """Import what takes long, and serve."""
    for name in ring.preload:
        importlib.import_module(name)
    _freeze()
    channel.tell({"ready": 0})
    for message in channel:
        request = request_of(message)

        def work(tell: Callable[[str], None], request: Request = request) -> None:
            if request.number >= 0:
                tree = mutated(code.sources[request.path], code.facts, request.number)
                load_with({code.root / request.path: lambda: tree})
            failures = Failures()
            wanted = frozenset(request.tests)
            files = sorted({test.split("::", 1)[0] for test in wanted})
            plugins = [Only(ring, wanted), failures, Running(request, tell, failures)]
            pytest.main([*_OPTIONS, *options, *files], plugins=plugins)
            # The loop was never reached: what is mutated cannot even be imported.
            tell(KILLED)

        channel.answer(in_child(work, request))


def record(ring: Ring, code: Code, channel: Channel, options: Sequence[str]) -> None:
    """Run the tests of some files and tell what they ran."""
    channel.tell({"ready": 0})
    for message in channel:
        sources = {
            path: source for path, source in code.sources.items() if path.startswith(ring.source)
        }
        probes = Probes(sources)
        trees = {path: probes.instrumented(path, ast.parse(text)) for path, text in sources.items()}
        load_with({code.root / path: partial(trees.__getitem__, path) for path in trees})
        recorder = Recorder(probes, (Path(ring.source).name,))
        pytest.main([*_OPTIONS, *options, *message["files"]], plugins=[Only(ring), recorder])
        channel.tell(recorder.as_json())


KINDS: Final = {"collected": serve_collected, "fresh": serve_fresh, "record": record}


def main(arguments: Sequence[str]) -> None:
    """Serve until standard input ends.

    The arguments are the kind, the name of the ring, a digest of the code as the caller knows it, a
    folder for the tests, the root of the repository, and the path of the settings.
    """
    kind, name, digest, basetemp, root, path = arguments
    channel = Channel()
    settings = read_settings(Path(path))
    code = Code.read(Path(root), settings.rings)
    if code.digest != digest:
        channel.tell({"error": "the code changed while the check was running: start it again"})
        return
    sys.dont_write_bytecode = True
    ring = next(ring for ring in settings.rings if ring.name == name)
    KINDS[kind](ring, code, channel, (f"--basetemp={basetemp}",))


if __name__ == "__main__":
    main(sys.argv[1:])
