"""Groups of failures by code and pattern, in memory that does not grow with the failures.

Messages are chosen by others, so there can be as many patterns as failures. When there are too many
of them, all are shortened: to their first words, then to their code, then to nothing. Which of
these steps were taken depends only on the patterns, and not on their order.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import Final

from bedrock_batch_monitor.domain.error_analysis import Code, ErrorGroup

MOST_PATTERNS: Final = 10_000
MOST_GROUPS: Final = 100
SHOWN_IDS: Final = 5
OTHER: Final = "other"
_ID_CHARACTERS: Final = 256
# How many words of a pattern are kept, from step to step.
_WORDS: Final = (None, 3, 0)


@dataclass(frozen=True, slots=True)
class GroupKey:
    """What the failures of a group have in common."""

    code: Code
    pattern: str

    @property
    def order(self) -> tuple[str, tuple[str, ...]]:
        """Sorts keys; a shortened key sorts as its original does, or equal to others."""
        code = f"{self.code:06}" if isinstance(self.code, int) else str(self.code or "")
        return (code, tuple(self.pattern.split(" ")))


@dataclass(slots=True)
class Groups:
    """Numbers for keys. A number stays valid when keys are shortened: `current` follows it."""

    most_patterns: int = MOST_PATTERNS
    _numbers: dict[GroupKey, int] = field(default_factory=dict)
    _keys: list[GroupKey] = field(default_factory=list)
    _merged_into: list[int] = field(default_factory=list)
    _ids: list[list[str]] = field(default_factory=list)
    _step: int = 0

    def number(self, code: Code, pattern: str, record_id: str | None) -> int:
        """The number of a failure's group; remembers the id if it is one of the first in order."""
        number = self._of_key(self._shortened(GroupKey(code, pattern)))
        if record_id is not None:
            self._remember(number, record_id)
        if len(self._numbers) > self.most_patterns:
            self._shorten()
        return number

    def current(self, number: int) -> int:
        """The number of the group with which this one was merged, or itself."""
        while self._merged_into[number] != number:
            number = self._merged_into[number]
        return number

    def key(self, number: int) -> GroupKey:
        """The key of a current number."""
        return self._keys[number]

    def ids(self, number: int) -> tuple[str, ...]:
        """Twice as many ids as are shown, in order, of a current number."""
        return tuple(self._ids[number])

    def numbers_with(self, codes: frozenset[Code]) -> frozenset[int]:
        """Every number, current or merged, whose group has one of these codes."""
        return frozenset(
            number
            for number in range(len(self._keys))
            if self._keys[self.current(number)].code in codes
        )

    def earlier(self, one: int, other: int) -> int:
        """That of two numbers whose key sorts first, so that the order of failures is no matter."""
        one, other = self.current(one), self.current(other)
        return one if self._keys[one].order <= self._keys[other].order else other

    def _of_key(self, key: GroupKey) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._keys)
            self._keys.append(key)
            self._merged_into.append(number)
            self._ids.append([])
        return number

    def _remember(self, number: int, record_id: str) -> None:
        if len(record_id) > _ID_CHARACTERS:
            return
        ids = self._ids[number]
        place = bisect.bisect_left(ids, record_id)
        if ids[place : place + 1] != [record_id]:
            ids.insert(place, record_id)
            del ids[2 * SHOWN_IDS :]

    def _shortened(self, key: GroupKey) -> GroupKey:
        if self._step == len(_WORDS):
            return GroupKey(None, OTHER)
        words = _WORDS[self._step]
        if words is None:
            return key
        return GroupKey(key.code, " ".join(key.pattern.split(" ")[:words]))

    def _shorten(self) -> None:
        while len(self._numbers) > self.most_patterns and self._step < len(_WORDS):
            self._step += 1
            old, self._numbers = self._numbers, {}
            for key, number in old.items():
                merged = self._of_key(self._shortened(key))
                self._merged_into[number] = merged
                for record_id in self._ids[number]:
                    self._remember(merged, record_id)
                self._ids[number] = []


def largest(groups: list[ErrorGroup], most: int = MOST_GROUPS) -> tuple[ErrorGroup, ...]:
    """The largest groups, and one group `other` for the rest if there is any."""
    ordered = sorted(
        groups,
        key=lambda group: (-group.count, GroupKey(group.error_code, group.pattern).order),
    )
    rest = sum(group.count for group in ordered[most:])
    return (*ordered[:most], *([ErrorGroup(None, OTHER, rest)] if rest else []))
