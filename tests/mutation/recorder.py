"""A plugin of pytest that notes which statements each test runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.probes import Probes, caches_of


@dataclass(eq=False)
class Recorder:
    """Notes which statements each test runs, and how long it takes.

    A fixture that serves several tests is set up for one of them, but counts for each. So does a
    call of a function that such a fixture returns: it may answer from a cache the next time.
    """

    probes: Probes
    packages: tuple[str, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, list[int]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    imported: frozenset[int] = frozenset()
    """What has run before the first test: while modules are imported and tests are collected."""
    _of_fixture: dict[Any, tuple[frozenset[int], float]] = field(default_factory=dict)
    _caches: list[Any] | None = None
    _extra: float = 0.0
    _is_failed: bool = False

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, None]:
        """Start with nothing noted, and keep what was by the end."""
        # Each test runs what it uses, whatever an earlier one has left in a cache.
        if self._caches is None:
            self.imported = frozenset(self.probes.hits)
            self._caches = caches_of(self.packages)
        for cache in self._caches:
            cache.cache_clear()
        self.probes.hits.clear()
        self._extra, self._is_failed = 0.0, False
        began = _seconds()
        yield
        seconds = _seconds() - began + self._extra
        lines = set(self.probes.hits)
        for name in getattr(item, "fixturenames", ()):
            for definition in item._fixtureinfo.name2fixturedefs.get(name, ()):  # type: ignore[attr-defined]
                used = self._of_fixture.get(definition, (frozenset(), 0.0))
                lines |= used[0]
        if self._is_failed:
            self.failed.append(item.nodeid)
            return
        self.seconds[item.nodeid] = round(seconds, 4)
        self.lines[item.nodeid] = sorted(lines)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, None]:
        """Keep apart what a fixture of several tests runs."""
        if fixturedef.scope == "function":
            yield
            return
        before = set(self.probes.hits)
        self.probes.hits.clear()
        began = _seconds()
        outcome = yield
        self._of_fixture[fixturedef] = (
            frozenset(self.probes.hits),
            _seconds() - began,
        )
        self.probes.hits.update(before)
        if (
            outcome.excinfo is None
            and callable(value := outcome.get_result())
            and not isinstance(value, type)
        ):
            value = self._crediting(value)
            outcome.force_result(value)
            fixturedef.cached_result = (value, *fixturedef.cached_result[1:])

    def _crediting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        known: dict[Any, tuple[frozenset[int], float]] = {}

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                key = hash((arguments, tuple(sorted(named.items()))))
            except TypeError:
                return function(*arguments, **named)
            if key in known:
                lines, seconds = known[key]
                self.probes.hits.update(lines)
                self._extra += seconds
                return function(*arguments, **named)
            before = set(self.probes.hits)
            self.probes.hits.clear()
            began = _seconds()
            try:
                return function(*arguments, **named)
            finally:
                known[key] = frozenset(self.probes.hits), _seconds() - began
                self.probes.hits.update(before)

        return call

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure of any phase."""
        self._is_failed = self._is_failed or report.failed

    def as_json(self) -> dict[str, Any]:
        """What was recorded: statements as `[path, line]`, tests by their index."""
        names = list(self.seconds)
        statements: dict[int, list[int]] = {}
        for index, name in enumerate(names):
            for number in self.lines[name]:
                statements.setdefault(number, []).append(index)
        return {
            "tests": [[name, self.seconds[name]] for name in names],
            "statements": [
                [*self.probes.place(number), tests] for number, tests in statements.items()
            ],
            "failed": self.failed,
            "imported": [self.probes.place(number) for number in sorted(self.imported)],
        }


def _seconds() -> float:
    """A clock that stands still while this thread waits for a core that others use."""
    waited = 0
    with suppress(OSError):
        waited = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
    return time.perf_counter() - waited / 1e9
