"""Which test detected which mutant, in earlier runs as well: a hint for the order of the tests.

A verdict never comes from here: it always comes from tests that ran on the mutant.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.mutation.operators import Mutant

# So many tests that detected other mutants of the same function, and of the same module.
_OF_FUNCTION: Final = 4
_OF_MODULE: Final = 3


@dataclass
class Kills:
    """The last test that detected each mutant."""

    path: Path
    tests: dict[tuple[str, str], str] = field(default_factory=dict)
    """Node id by the mutant's key."""

    @classmethod
    def read(cls, path: Path, keys: Collection[tuple[str, str]]) -> Kills:
        """What earlier runs have found about the mutants with these keys."""
        try:
            stored = json.loads(path.read_text())
            tests = {(name, mutation): test for name, mutation, test in stored}
        except (FileNotFoundError, ValueError):
            # It is only a hint: without it, the same verdicts take longer.
            tests = {}
        return cls(path, tests).of(keys)

    def of(self, keys: Collection[tuple[str, str]]) -> Kills:
        """The same without mutants that do not exist."""
        known = set(keys)
        return Kills(self.path, {key: test for key, test in self.tests.items() if key in known})

    def write(self) -> None:
        """Keep it for the next run."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps([[*key, test] for key, test in sorted(self.tests.items())]))
        new.replace(self.path)

    def note(self, mutant: Mutant, test: str) -> None:
        """A test detected a mutant."""
        self.tests[mutant.key] = test

    def hints(self, mutant: Mutant, seconds: Mapping[str, float]) -> tuple[str, ...]:
        """The tests to try first; tests without seconds do not exist any more.

        First the test that detected the mutant before. Then those that detected others of the same
        function, and of the same module: those with the most mutants per second first.
        """
        own = self.tests.get(mutant.key)
        function = (test for (name, _), test in self.tests.items() if name == mutant.name)
        module = (
            test
            for (name, _), test in self.tests.items()
            if name.partition(":")[0] == mutant.module and name != mutant.name
        )
        hints = (
            *(() if own is None else (own,)),
            *_most_useful(function, seconds)[:_OF_FUNCTION],
            *_most_useful(module, seconds)[:_OF_MODULE],
        )
        return tuple(dict.fromkeys(hint for hint in hints if hint in seconds))


def _most_useful(tests: Iterable[str], seconds: Mapping[str, float]) -> list[str]:
    counts = Counter(test for test in tests if test in seconds)
    return sorted(counts, key=lambda test: (seconds[test] / counts[test], test))
