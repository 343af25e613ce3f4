"""What happened to each record of a job: success, error or missing, by digests of the ids.

Results come first, inputs afterwards. The order of the lines is no matter: an id that has both an
output and an error counts as a success, and one with two errors as the one that sorts first.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from bedrock_batch_monitor.domain.error_analysis import Code, ErrorGroup, RecordTotals
from bedrock_batch_monitor.record_errors.grouping import MOST_GROUPS, SHOWN_IDS, Groups, largest
from bedrock_batch_monitor.record_errors.lines import (
    Failure,
    Inputs,
    LineProblem,
    Results,
    digest_of,
    id_bytes,
)
from bedrock_batch_monitor.record_errors.patterns import pattern_of

# A state is twice this, plus one once the id was in the input. From `_FAILED` on, it is the number
# of the group plus `_FAILED`. Twice `_SUCCESS` is 0 as well: a success whose id is in no input.
_SUCCESS: Final = 0
_MISSING: Final = 1
_FAILED: Final = 2


@dataclass(slots=True)
class Tally:
    """The records of one job, as far as they were read; not safe to use from several threads.

    `duplicates` counts lines of results whose id was there before, `duplicate_inputs` lines of
    inputs, and `inputs_without_id` records that cannot be matched with their results.
    """

    groups: Groups = field(default_factory=Groups)
    problems: Counter[LineProblem] = field(default_factory=Counter)
    duplicates: int = 0
    duplicate_inputs: int = 0
    inputs_without_id: int = 0
    results_without_id: int = 0
    _states: dict[int, int] = field(default_factory=dict)
    _successes_without_id: int = 0
    _failures_without_id: Counter[int] = field(default_factory=Counter)

    def add_results(self, results: Results) -> None:
        """Count what some lines of results say."""
        self.problems.update(results.problems)
        self._successes_without_id += results.successes_without_id
        self.results_without_id += results.successes_without_id
        before = len(self._states)
        self._states.update(dict.fromkeys(results.successes, _SUCCESS))
        self.duplicates += len(results.successes) - (len(self._states) - before)
        for failure in results.failures:
            self._add_failure(failure)

    def _add_failure(self, failure: Failure) -> None:
        pattern = pattern_of(failure.message)
        number = self.groups.number(failure.code, pattern, failure.record_id)
        if failure.digest is None:
            self._failures_without_id[number] += 1
            self.results_without_id += 1
            return
        state = self._states.get(failure.digest)
        if state is not None:
            self.duplicates += 1
            if state == _SUCCESS:
                return
            number = self.groups.earlier(number, state // 2 - _FAILED)
        self._states[failure.digest] = 2 * (number + _FAILED)

    def add_inputs(self, inputs: Inputs) -> None:
        """Count some records of an input; those without a result are missing."""
        self.problems.update(inputs.problems)
        self.inputs_without_id += inputs.without_id
        states = self._states
        for digest in inputs.digests:
            state = states.get(digest)
            if state is None:
                states[digest] = 2 * _MISSING + 1
            elif state % 2:
                self.duplicate_inputs += 1
            else:
                states[digest] = state + 1

    def wanted(self, codes: frozenset[Code] | None, *, missing: bool) -> Wanted:
        """Which records to submit again: failed ones, of these codes if given, and missing ones.

        Valid until more results are added.
        """
        numbers = None if codes is None else self.groups.numbers_with(codes)
        return Wanted(self._states, numbers, missing=missing)

    def totals(self, *, has_inputs: bool, expected: int | None = None) -> RecordTotals:
        """The numbers of records.

        Without the inputs, missing records follow from the `expected` total, if that is known. A
        record of an input without an id is missing if there are too few results for such records.
        """
        by_state = Counter(state // 2 for state in self._states.values())
        success = by_state.pop(_SUCCESS, 0) + self._successes_without_id
        missing = by_state.pop(_MISSING, 0)
        error = by_state.total() + self._failures_without_id.total()
        if has_inputs:
            unmatched = self.unmatched() + self.results_without_id
            missing += max(0, self.inputs_without_id - unmatched)
            return RecordTotals(success, error, missing)
        if expected is None:
            return RecordTotals(success, error)
        return RecordTotals(success, error, max(0, expected - success - error))

    def unmatched(self) -> int:
        """Results whose id is in no input."""
        return sum(1 for state in self._states.values() if not state % 2)

    def unmatched_failures(self) -> int:
        """Failed records whose id is in no input, or that have none."""
        unmatched = sum(1 for state in self._states.values() if not state % 2 and state != _SUCCESS)
        return unmatched + self._failures_without_id.total()

    def error_groups(self, most: int = MOST_GROUPS) -> tuple[ErrorGroup, ...]:
        """The groups of failed records, the largest first, with one `other` for the rest."""
        counts: Counter[int] = Counter(self._failures_without_id)
        for state, count in Counter(state // 2 for state in self._states.values()).items():
            if state >= _FAILED:
                counts[state - _FAILED] += count
        by_group: Counter[int] = Counter()
        for number, count in counts.items():
            by_group[self.groups.current(number)] += count
        return largest([self._group(number, count) for number, count in by_group.items()], most)

    def _group(self, number: int, count: int) -> ErrorGroup:
        key = self.groups.key(number)
        ids = [
            record_id
            for record_id in self.groups.ids(number)
            if self._group_of_id(record_id) == number
        ]
        return ErrorGroup(key.code, key.pattern, count, tuple(ids[:SHOWN_IDS]))

    def _group_of_id(self, record_id: str) -> int | None:
        state = self._states.get(digest_of(id_bytes(record_id)), 0) // 2
        return self.groups.current(state - _FAILED) if state >= _FAILED else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are to be submitted again, by the digest of their id."""

    states: dict[int, int]
    groups: frozenset[int] | None
    missing: bool

    def has(self, digest: int | None) -> bool:
        """Whether it is a failed or a missing record that is wanted."""
        state = None if digest is None else self.states.get(digest)
        if state is None or state // 2 == _SUCCESS:
            return False
        if state // 2 == _MISSING:
            return self.missing
        return self.groups is None or state // 2 - _FAILED in self.groups
