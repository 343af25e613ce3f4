"""Which mutants are tried, in which order, and with which tests."""

from __future__ import annotations

import random
import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from tests.mutation.operators import Mutant
from tests.mutation.settings import CHANGED, FIXED, SAMPLE

_HUNK: Final = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@")
_OF_CONDITIONS: Final = frozenset({"clause", "existence", "argument", "enum member"})
_BRANCHES: Final = ("origin/main", "main")
# What pytest itself takes for a test, in seconds.
_LEAST: Final = 0.005

Lines = Mapping[str, Collection[int]]


@dataclass(frozen=True)
class Touched:
    """Which tests run which lines, and how long each takes: what a recording says."""

    seconds: Mapping[str, float]
    """By node id: only tests that pass while nothing is mutated."""
    tests: Mapping[tuple[str, int], frozenset[str]]
    """Node ids by path and first line of a statement."""
    uses: Mapping[str, frozenset[tuple[str, int]]] = field(default_factory=dict)
    """The statements in which a name is used, by name."""
    imported: frozenset[tuple[str, int]] = frozenset()
    """The statements of functions that run while the code is imported, as path and first line."""
    made_with: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The names that are defined with a name while a module is imported, by that name."""
    mentions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The tests whose own code has a name, by name."""
    importers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The files of tests that import a module, by the module's name."""

    @cached_property
    def statements(self) -> Mapping[str, int]:
        """How many statements of the code each test runs."""
        return Counter(test for tests in self.tests.values() for test in tests)

    def runs_at_import(self, mutant: Mutant) -> bool:
        """Whether what a mutant changes runs while a module is imported, and in no test."""
        place = (mutant.path, mutant.statement)
        return mutant.at_definition or (place in self.imported and not self.tests.get(place))

    def tests_of(self, mutant: Mutant) -> tuple[str, ...]:
        """The tests that run what a mutant changes, in the order in which to try them.

        Those of what runs at import are the tests that have the name of what is changed, and those
        that run a statement with this name, or with a name that is defined with it. The tests of
        files that import the module come first: they are about it.
        """
        direct = self.tests.get((mutant.path, mutant.statement), frozenset())
        if not self.runs_at_import(mutant):
            return in_order(direct, self.seconds, self.statements)
        names = mutant.uses or {mutant.qualname.rpartition(".")[2]}
        named = {test for name in names for test in self.mentions.get(name, ())}
        found = set(direct)
        for name in self._defined_with(names):
            for statement in self.uses.get(name, ()):
                found |= self.tests.get(statement, frozenset())
        found |= named
        if not found:
            for (path, _), tests in self.tests.items():
                if path == mutant.path:
                    found |= tests
        importers = self.importers.get(mutant.module, frozenset())
        about = {test for test in found if test.partition("::")[0] in importers}
        groups = (about & named, about - named, named - about, found - about - named)
        return tuple(
            test for group in groups for test in in_order(group, self.seconds, self.statements)
        )

    def _defined_with(self, names: Iterable[str]) -> set[str]:
        """These names, and all that are defined with one of them."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            if (name := waiting.pop()) not in found:
                found.add(name)
                waiting += self.made_with.get(name, ())
        return found


def in_order(
    tests: Iterable[str], seconds: Mapping[str, float], statements: Mapping[str, int]
) -> tuple[str, ...]:
    """Tests in the order that is likely to detect a mutant soonest.

    A test that runs few statements is about those that it runs, so the weight of a test is its
    seconds times its statements: unit tests come before those of a whole poll. Each further test of
    a file, and each further case of a test, weighs more. So a few hundred cases of one test do not
    take all the time.
    """
    weights = {test: max(seconds[test], _LEAST) * statements[test] for test in tests}
    files: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    found = []
    for test in sorted(weights, key=lambda test: (weights[test], test)):
        function = test.partition("[")[0]
        file = test.partition("::")[0]
        found.append((weights[test] * (1 + files[file]) * (1 + functions[function]), test))
        files[file] += 1
        functions[function] += 1
    return tuple(test for _, test in sorted(found))


def quickest_of_each_file(seconds: Mapping[str, float]) -> tuple[str, ...]:
    """One test of each file: the quickest one, quickest first."""
    found: dict[str, str] = {}
    for test in sorted(seconds, key=lambda test: (seconds[test], test)):
        found.setdefault(test.partition("::")[0], test)
    return tuple(found.values())


def hints_first(tests: Sequence[str], hints: Sequence[str]) -> tuple[str, ...]:
    """The same tests, those of the hints first; a hint that is no test of these is ignored."""
    of_these = set(tests)
    known = [hint for hint in dict.fromkeys(hints) if hint in of_these]
    return (*known, *(test for test in tests if test not in known))


def in_budget(
    tests: Sequence[str],
    seconds: Mapping[str, float],
    budget: float,
    *,
    seconds_per_file: float = 0.0,
) -> tuple[str, ...]:
    """The first tests that together take no longer than the budget, and at least one.

    Each file that they are in takes `seconds_per_file` to import.
    """
    chosen: list[str] = []
    files: set[str] = set()
    for test in tests:
        budget -= seconds[test]
        if (file := test.partition("::")[0]) not in files:
            files.add(file)
            budget -= seconds_per_file
        if budget < 0 and chosen:
            break
        chosen.append(test)
    return tuple(chosen)


def base_revision(root: Path) -> str:
    """Where this branch left the main one; on the main one itself, the commit before."""
    head = _git(root, "rev-parse", "HEAD")
    for branch in _BRANCHES:
        found = _git(root, "merge-base", "HEAD", branch, check=False)
        if found and found != head:
            return found
    return _git(root, "rev-parse", "HEAD~1")


def changed_lines(root: Path, base: str) -> dict[str, set[int]]:
    """The lines of Python files that differ from a revision, committed or not; by path.

    Raises `subprocess.CalledProcessError` for a revision that does not exist.
    """
    lines = parse_diff(_git(root, "diff", "--unified=0", "--no-color", base, "--", "*.py"))
    new = _git(root, "ls-files", "--others", "--exclude-standard", "--", "*.py")
    for path in new.splitlines():
        lines[path] = set(range(1, len((root / path).read_text().splitlines()) + 1))
    return lines


def parse_diff(text: str) -> dict[str, set[int]]:
    """The changed lines of a unified diff without context, by path."""
    found: dict[str, set[int]] = {}
    path = ""
    for line in text.splitlines():
        if line.startswith("+++ "):
            path = line.removeprefix("+++ ").removeprefix("b/")
        elif path != "/dev/null" and (hunk := _HUNK.match(line)):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            found.setdefault(path, set()).update(range(first, first + count))
    return found


def plan(  # noqa: PLR0913 - all named
    mutants: Iterable[Mutant],
    *,
    fixed: frozenset[str],
    changed: Lines,
    sampled: Collection[str],
    size: int,
    seed: str,
) -> list[tuple[str, Mutant]]:
    """The mutants to try, each with its part; a shorter run tries the first ones of the same list.

    The conditions of the fixed set come first; then the rest of it, changed lines and sample by
    turns, in an order of the seed. `sampled` are the folders that the sample is taken from, `size`
    is how many it has.
    """
    parts: dict[str, list[Mutant]] = {FIXED: [], CHANGED: [], SAMPLE: []}
    for mutant in mutants:
        if is_fixed(mutant, fixed):
            parts[FIXED].append(mutant)
        elif _is_changed(mutant, changed):
            parts[CHANGED].append(mutant)
        elif any(mutant.path.startswith(f"{folder}/") for folder in sampled):
            parts[SAMPLE].append(mutant)
    # The same choice in each run of a seed, and no secret.
    chance = random.Random(seed)  # noqa: S311
    for part in parts.values():
        chance.shuffle(part)
    # The conditions themselves are the heart of the fixed set.
    parts[FIXED].sort(key=lambda mutant: mutant.operator not in _OF_CONDITIONS)
    del parts[SAMPLE][size:]
    conditions = sum(mutant.operator in _OF_CONDITIONS for mutant in parts[FIXED])
    fixed_set = [(FIXED, mutant) for mutant in parts[FIXED]]
    return fixed_set[:conditions] + by_turns(
        fixed_set[conditions:],
        [(CHANGED, mutant) for mutant in parts[CHANGED]],
        [(SAMPLE, mutant) for mutant in parts[SAMPLE]],
    )


def is_fixed(mutant: Mutant, fixed: frozenset[str]) -> bool:
    """Whether a mutant is in one of these functions, or in a part of one."""
    parts = mutant.qualname.split(".")
    return any(
        f"{mutant.module}:{'.'.join(parts[:count])}" in fixed for count in range(1, len(parts) + 1)
    )


def _is_changed(mutant: Mutant, changed: Lines) -> bool:
    lines = changed.get(mutant.path, ())
    return any(line in lines for line in range(mutant.line, mutant.last_line + 1))


def by_turns(*lists: Sequence[tuple[str, Mutant]]) -> list[tuple[str, Mutant]]:
    """The lists as one, in which each is spread over the whole."""
    places = [
        ((index + 0.5) / len(items), number, item)
        for number, items in enumerate(lists)
        for index, item in enumerate(items)
    ]
    return [item for _, _, item in sorted(places, key=lambda place: place[:2])]


def _git(root: Path, *arguments: str, check: bool = True) -> str:
    done = subprocess.run(  # noqa: S603 - fixed arguments, and a revision that git checks
        ["git", "-C", str(root), *arguments],  # noqa: S607 - the git of the path
        check=check,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() if done.returncode == 0 else ""
