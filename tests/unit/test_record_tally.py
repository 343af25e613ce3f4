"""Numbers and groups of records whose results repeat, have no id, or are too many to keep."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bedrock_batch_monitor.domain.error_analysis import ErrorGroup, RecordTotals
from bedrock_batch_monitor.record_errors.grouping import Groups
from bedrock_batch_monitor.record_errors.lines import Block, digest_of, inputs_in, results_in
from bedrock_batch_monitor.record_errors.tally import Tally


def success(record_id: str | None) -> dict[str, Any]:
    own = {} if record_id is None else {"recordId": record_id}
    return {"modelOutput": {}} | own


def failure(record_id: str | None, message: str = "broken", code: Any = 400) -> dict[str, Any]:
    own = {} if record_id is None else {"recordId": record_id}
    return {"error": {"errorCode": code, "errorMessage": message}} | own


def content(records: list[dict[str, Any]]) -> Block:
    return Block.of("\n".join(map(json.dumps, records)).encode())


def tally_of(
    results: list[dict[str, Any]],
    inputs: list[dict[str, Any]] | None = None,
    most_patterns: int = 100,
) -> Tally:
    tally = Tally(Groups(most_patterns=most_patterns))
    tally.add_results(results_in(content(results)))
    if inputs is not None:
        tally.add_inputs(inputs_in(content(inputs)))
    return tally


def test_result_without_an_id_is_counted_and_cannot_be_matched() -> None:
    results = [success(None), success(None), failure(None), success("a"), failure("b")]
    tally = tally_of(results, [{"recordId": "a"}, {"recordId": "b"}])
    assert tally.totals(has_inputs=True) == RecordTotals(3, 2, 0)
    assert tally.error_groups() == (ErrorGroup(400, "broken", 2, ("b",)),)
    assert (tally.results_without_id, tally.duplicates) == (3, 0)
    assert (tally.unmatched(), tally.unmatched_failures()) == (0, 1)


@pytest.mark.parametrize(
    ("results", "missing"),
    [
        ([], 5),
        ([success(None)], 4),
        ([failure(None)], 4),
        ([success("made-up")], 4),
        ([failure("made-up")], 4),
        ([success(None), failure(None), success("made-up"), failure("made-up 2")], 1),
        ([success(None)] * 7, 0),
    ],
)
def test_input_without_an_id_is_missing_if_no_result_is_left_for_it(
    results: list[dict[str, Any]], missing: int
) -> None:
    inputs: list[dict[str, Any]] = [{"modelInput": {}}] * 5
    tally = tally_of(results, inputs)
    assert tally.totals(has_inputs=True).missing == missing
    assert tally.inputs_without_id == 5


@pytest.mark.parametrize(
    ("expected", "missing"), [(None, None), (5, 2), (3, 0), (2, 0), (0, 0)], ids=str
)
def test_missing_records_without_the_input_are_never_fewer_than_none(
    expected: int | None, missing: int | None
) -> None:
    tally = tally_of([success("a"), success(None), failure("b")])
    assert tally.totals(has_inputs=False, expected=expected) == RecordTotals(2, 1, missing)


def test_result_without_an_input_is_unmatched() -> None:
    results = [success("a"), success("x"), failure("b"), failure("y"), failure("z")]
    tally = tally_of(results, [{"recordId": each} for each in ("a", "b", "c")])
    assert (tally.unmatched(), tally.unmatched_failures()) == (3, 2)
    assert tally.totals(has_inputs=True) == RecordTotals(2, 3, 1)


@pytest.mark.parametrize("fate", ["success", "failure", "missing"])
def test_input_that_is_there_again_is_counted_once(fate: str) -> None:
    results = {"success": [success("a")], "failure": [failure("a")], "missing": []}[fate]
    tally = tally_of(results, [{"recordId": "a"}] * 3)
    assert tally.totals(has_inputs=True).total == 1
    assert (tally.duplicate_inputs, tally.unmatched()) == (2, 0)


def test_record_that_failed_and_then_succeeded_is_in_no_group() -> None:
    results = [failure("a"), failure("b"), success("a"), failure("a"), failure("c", "other")]
    tally = tally_of(results)
    assert tally.error_groups() == (
        ErrorGroup(400, "broken", 1, ("b",)),
        ErrorGroup(400, "other", 1, ("c",)),
    )
    assert (tally.duplicates, tally.totals(has_inputs=True)) == (2, RecordTotals(1, 2, 0))


@pytest.mark.parametrize("turn", [1, -1])
def test_record_with_two_errors_is_in_the_group_that_sorts_first(turn: int) -> None:
    """Codes sort as numbers, and one that is not known sorts first."""
    first, second = [("x", 1000), ("y", None)][::turn]
    tally = tally_of([failure("a", *first), failure("a", *second)])
    assert tally.error_groups() == (ErrorGroup(None, "y", 1, ("a",)),)
    first, second = [("x", 1000), ("y", 99)][::turn]
    tally = tally_of([failure("a", *first), failure("a", *second)])
    assert tally.error_groups() == (ErrorGroup(99, "y", 1, ("a",)),)
    first, second = [("x y", 400), ("x a z", 400)][::turn]
    tally = tally_of([failure("a", *first), failure("a", *second)])
    assert tally.error_groups() == (ErrorGroup(400, "x a z", 1, ("a",)),)


def test_groups_of_equal_size_are_in_the_order_of_code_and_pattern() -> None:
    keys = [(429, "b"), ("Weird", "a"), (1000, "a"), (None, "c"), (429, "a"), (7, "z")]
    tally = tally_of([failure(f"r{n}", text, code) for n, (code, text) in enumerate(keys)])
    assert [(group.error_code, group.pattern) for group in tally.error_groups()] == [
        (None, "c"),
        (7, "z"),
        (429, "a"),
        (429, "b"),
        (1000, "a"),
        ("Weird", "a"),
    ]


def test_groups_beyond_the_most_are_one_group_without_a_code() -> None:
    tally = tally_of([failure(f"r{n}", "x " * n) for n in range(1, 5)] + [failure("r", "x")])
    assert tally.error_groups(4) == (
        ErrorGroup(400, "x", 2, ("r", "r1")),
        *(ErrorGroup(400, " ".join("x" * n), 1, (f"r{n}",)) for n in range(2, 5)),
    )
    assert tally.error_groups(3)[3:] == (ErrorGroup(None, "other", 1),)
    assert tally.error_groups(2)[2:] == (ErrorGroup(None, "other", 2),)


WORDS = [
    failure("1", "a b c d e", 400),
    failure("2", "a b c x y", 400),
    failure("3", "a b d", 400),
    failure("4", "z", 400),
    failure("5", "z", 429),
    failure("6", "z", "Weird"),
]


@pytest.mark.parametrize(
    ("most", "groups"),
    [
        (
            6,
            [
                (400, "a b c d e", "1"),
                (400, "a b c x y", "2"),
                (400, "a b d", "3"),
                (400, "z", "4"),
                (429, "z", "5"),
                ("Weird", "z", "6"),
            ],
        ),
        (
            5,
            [
                (400, "a b c", "12"),
                (400, "a b d", "3"),
                (400, "z", "4"),
                (429, "z", "5"),
                ("Weird", "z", "6"),
            ],
        ),
        (4, [(400, "", "1234"), (429, "", "5"), ("Weird", "", "6")]),
        (3, [(400, "", "1234"), (429, "", "5"), ("Weird", "", "6")]),
        (2, [(None, "other", "12345")]),
    ],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_too_many_patterns_are_shortened_step_by_step(
    most: int, groups: list[tuple[Any, str, str]], turn: int
) -> None:
    """To their first words, to their code, and then to nothing: all of them, in any order."""
    tally = tally_of(WORDS[::turn], most_patterns=most)
    found = [(group.error_code, group.pattern, group.record_ids) for group in tally.error_groups()]
    assert found == sorted(
        ((code, pattern, tuple(ids)) for code, pattern, ids in groups),
        key=lambda group: -len(group[2]),
    )
    assert sum(group.count for group in tally.error_groups()) == len(WORDS)
    # One more pattern is one too many for the first row, and none for the others.
    tally.add_results(results_in(content([failure("9", "a b c m n", 400)])))
    after = tally.error_groups()
    assert len(after) == min(len(groups), 5)
    assert sum(group.count for group in after) == len(WORDS) + 1


@pytest.mark.parametrize("turn", [1, -1])
def test_codes_are_selected_also_after_patterns_were_shortened(turn: int) -> None:
    for most in (6, 3):
        tally = tally_of(WORDS[::turn], [{"recordId": str(n)} for n in range(1, 9)], most)
        wanted = tally.wanted(frozenset({429}), missing=False)
        found = {str(n) for n in range(1, 9) if wanted.has(digest_of(str(n).encode()))}
        assert found == {"5"}


def test_ids_that_follow_those_shown_take_the_place_of_records_that_succeeded() -> None:
    ids = [f"r{n:02}" for n in range(12)]
    for order in (ids, ids[::-1], [*ids[:9], ids[10], ids[9], ids[11]]):
        tally = tally_of([failure(each) for each in order])
        (group,) = tally.error_groups()
        assert group == ErrorGroup(400, "broken", 12, tuple(ids[:5]))
        tally.add_results(results_in(content([success(each) for each in ids[:5]])))
        (group,) = tally.error_groups()
        assert group == ErrorGroup(400, "broken", 7, tuple(ids[5:10]))


def test_number_of_ids_that_are_kept_does_not_grow() -> None:
    groups = Groups()
    numbers = {groups.number(400, "broken", f"r{n:02}") for n in range(30)}
    (number,) = numbers
    assert groups.ids(number) == tuple(f"r{n:02}" for n in range(10))


def test_group_that_was_merged_with_another_keeps_no_ids() -> None:
    groups = Groups(most_patterns=1)
    first = groups.number(400, "a b c d", "r1")
    groups.number(400, "a b c e", "r2")
    assert (groups.ids(first), groups.ids(groups.current(first))) == ((), ("r1", "r2"))


def test_id_that_is_there_again_is_shown_once() -> None:
    tally = tally_of([failure(each) for each in "cabcabc"])
    assert tally.error_groups() == (ErrorGroup(400, "broken", 3, ("a", "b", "c")),)


def test_id_of_more_than_256_characters_is_counted_and_not_shown() -> None:
    tally = tally_of([failure("a" * 257), failure("b" * 256), failure("c")])
    assert tally.error_groups() == (ErrorGroup(400, "broken", 3, ("b" * 256, "c")),)
