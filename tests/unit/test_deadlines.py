"""Deadlines: their forms, the time that each one means, and the error texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bedrock_batch_monitor.domain.deadlines import (
    DeadlineError,
    DeadlineRule,
    SetBy,
    checked_deadline,
    chosen_deadline,
    deadline_rules_of,
    deadline_rules_text,
    moment_of,
    parse_deadline,
    stored_text,
)

SUBMITTED = datetime(2026, 11, 24, 20, 30, tzinfo=UTC)
BEFORE_AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC)
BETWEEN = datetime(2026, 10, 25, 1, tzinfo=UTC)
BEFORE_SPRING = datetime(2026, 3, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "submitted", "expected"),
    [
        ("2026-11-27T06:00:00Z", SUBMITTED, "2026-11-27T06:00:00+00:00"),
        ("2026-11-27T06:00+01:00", SUBMITTED, "2026-11-27T05:00:00+00:00"),
        ("4h", SUBMITTED, "2026-11-25T00:30:00+00:00"),
        ("1d 2h30m", SUBMITTED, "2026-11-25T23:00:00+00:00"),
        ("06:00 Europe/Berlin", SUBMITTED, "2026-11-25T05:00:00+00:00"),
        ("22:00 Europe/Berlin", SUBMITTED, "2026-11-24T21:00:00+00:00"),
        # The next one: never the moment of the submission itself.
        ("21:30 Europe/Berlin", SUBMITTED, "2026-11-25T20:30:00+00:00"),
        ("20:30 UTC", SUBMITTED, "2026-11-25T20:30:00+00:00"),
        # The clock is put back on 25 October: 02:30 occurs twice, and the first counts.
        (
            "02:30 Europe/Berlin",
            datetime(2026, 10, 24, 12, tzinfo=UTC),
            "2026-10-25T00:30:00+00:00",
        ),
        ("02:30 Europe/Berlin", BETWEEN, "2026-10-26T01:30:00+00:00"),
        # It is put forward on 29 March: 02:30 does not occur, and becomes 03:30.
        ("02:30 Europe/Berlin", BEFORE_SPRING, "2026-03-29T01:30:00+00:00"),
        # Newfoundland put the clock back at 00:01: 00:00 on the 7th had passed at 23:30 on the 6th.
        (
            "00:00 America/St_Johns",
            datetime(2010, 11, 7, 3, tzinfo=UTC),
            "2010-11-08T03:30:00+00:00",
        ),
        # A part of a millisecond is cut off.
        ("2026-11-27T06:00:00.123999Z", SUBMITTED, "2026-11-27T06:00:00.123+00:00"),
        ("1m", SUBMITTED.replace(microsecond=1999), "2026-11-24T20:31:00.001+00:00"),
        ("30d", SUBMITTED, "2026-12-24T20:30:00+00:00"),
        ("29d24h", SUBMITTED, "2026-12-24T20:30:00+00:00"),
        ("720h", SUBMITTED, "2026-12-24T20:30:00+00:00"),
        ("43200m", SUBMITTED, "2026-12-24T20:30:00+00:00"),
        (" 4h ".ljust(256), SUBMITTED, "2026-11-25T00:30:00+00:00"),
        # Samoa had no 30 December 2011.
        ("12:00 Pacific/Apia", datetime(2011, 12, 29, 23, tzinfo=UTC), "2011-12-30T22:00:00+00:00"),
    ],
)
def test_deadline_means_the_next_moment_after_the_submission(
    text: str, submitted: datetime, expected: str
) -> None:
    """In each of its forms, also at a change of the clock."""
    assert parse_deadline(text).after(submitted) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("06:00", "has no time zone"),
        ("06:00 Europe/Berlni", "is not a time zone"),
        ("06:00 Europe", "is not a time zone"),
        ("06:00 ../../etc/passwd", "is not a time zone"),
        ("25:00 UTC", "is not a deadline"),
        ("2026-11-27", "is not a deadline"),
        ("2026-11-27T06:00:00", "is not a moment with a time zone"),
        ("2026-13-27T06:00:00Z", "is not a moment with a time zone"),
        ("0h", "is not a duration from 1m to 30d"),
        ("31d", "is not a duration from 1m to 30d"),
        ("30d1m", "is not a duration from 1m to 30d"),
        ("4h".ljust(257), "is not a deadline"),
        ("06:00 UTC".ljust(257), "is not a deadline"),
        ("", "is not a deadline"),
        ("soon\x1b[2J", "is not a deadline"),
        ("4h" * 200, "is not a deadline"),
    ],
)
def test_invalid_deadline_is_refused_with_the_reason(text: str, problem: str) -> None:
    """The message quotes the text without its control characters."""
    with pytest.raises(DeadlineError, match=problem) as refused:
        parse_deadline(text)
    assert str(refused.value).isprintable()
    assert moment_of(text, SUBMITTED) is None


def test_deadline_in_the_past_is_refused() -> None:
    """A time before now, and a duration that had passed once the submission time is known."""
    now = SUBMITTED + timedelta(hours=5)
    with pytest.raises(DeadlineError, match="is in the past"):
        checked_deadline("2026-11-24T21:00:00Z", submitted=None, now=now)
    with pytest.raises(DeadlineError, match="is in the past"):
        checked_deadline("4h", submitted=SUBMITTED, now=now)
    assert checked_deadline("4h", submitted=None, now=now).duration == timedelta(hours=4)
    at = datetime(2026, 11, 25, 0, 30, tzinfo=UTC)
    with pytest.raises(DeadlineError) as refused:
        checked_deadline("4h", submitted=SUBMITTED, now=at)
    assert str(refused.value) == (
        "'4h' is in the past: it means 2026-11-25T00:30:00.000Z, and now it is "
        "2026-11-25T00:30:00.000Z"
    )
    assert checked_deadline("4h", submitted=SUBMITTED, now=at - timedelta(milliseconds=1))


@pytest.mark.parametrize(
    ("submitted", "note"),
    [
        (BEFORE_AUTUMN, "occurs twice on 2026-10-25"),
        (BEFORE_SPRING, "does not occur on 2026-03-29"),
        (SUBMITTED, None),
    ],
)
def test_note_names_the_rule_at_a_clock_change(submitted: datetime, note: str | None) -> None:
    """Only where the local time occurs twice or not at all."""
    found = parse_deadline("02:30 Europe/Berlin").note(submitted)
    assert (found is None) if note is None else (found is not None and note in found)


def test_note_says_which_moment_is_the_deadline() -> None:
    """A moment and a duration need no note, and neither does a time before the change."""
    deadline = parse_deadline("02:30 Europe/Berlin")
    assert deadline.note(BEFORE_AUTUMN) == (
        "02:30 Europe/Berlin occurs twice on 2026-10-25, because the clock is put back: the "
        "deadline is the first occurrence"
    )
    assert deadline.note(BEFORE_SPRING) == (
        "02:30 Europe/Berlin does not occur on 2026-03-29, because the clock is put forward: the "
        "deadline is 03:30"
    )
    for text in ("01:30 Europe/Berlin", "03:00 Europe/Berlin", "1d", "2026-10-25T00:30:00Z"):
        assert parse_deadline(text).note(BEFORE_AUTUMN) is None


def test_stored_text_means_a_moment_where_its_parts_are_known() -> None:
    """A text that nobody could have written means nothing."""
    assert moment_of("2026-11-27T06:00:00Z", None) == datetime(2026, 11, 27, 6, tzinfo=UTC)
    assert moment_of("4h", SUBMITTED) == SUBMITTED + timedelta(hours=4)
    for text in (None, "4h", "06:00 UTC", "soon"):
        assert moment_of(text, None) is None


def test_deadline_of_tag_or_setting_is_after_the_submission() -> None:
    """One at that very moment counts as absent, and so does every one without a submission."""

    def chosen(tag: str, submitted: datetime | None) -> tuple[str, SetBy] | None:
        return chosen_deadline(
            tags={"due": tag}, tag="due", rules=(), job_name="a", submitted=submitted
        )

    assert chosen("2026-11-24T20:30:00Z", SUBMITTED) is None
    assert chosen("2026-11-24T20:30:00.001Z", SUBMITTED) == (
        "2026-11-24T20:30:00.001Z",
        SetBy.TAG,
    )
    assert chosen("2026-11-27T06:00:00Z", None) is None
    assert chosen_deadline(
        tags={"due": "4h"}, tag="other", rules=(), job_name="a", submitted=SUBMITTED
    ) is (None)


def test_only_the_first_matching_pattern_counts() -> None:
    """Also if its deadline is before the submission."""
    rules = (DeadlineRule("a*", "2026-11-01T00:00:00Z"), DeadlineRule("*", "1d"))
    for name, source in (("abc", None), ("b", SetBy.SETTING)):
        found = chosen_deadline(tags={}, tag="due", rules=rules, job_name=name, submitted=SUBMITTED)
        assert (None if found is None else found[1]) == source


@pytest.mark.parametrize(
    ("tags", "name", "expected"),
    [
        ({"bbm:deadline": "4h"}, "nightly-1", ("2026-11-25T00:30:00.000Z", SetBy.TAG)),
        ({}, "nightly-1", ("2026-11-25T05:00:00.000Z", SetBy.SETTING)),
        # A tag that is not a deadline, or one before the submission, counts as absent.
        ({"bbm:deadline": "soon"}, "nightly-1", ("2026-11-25T05:00:00.000Z", SetBy.SETTING)),
        (
            {"bbm:deadline": "2026-11-01T00:00:00Z"},
            "nightly-1",
            ("2026-11-25T05:00:00.000Z", SetBy.SETTING),
        ),
        ({}, "daily", ("2026-11-25T20:30:00.000Z", SetBy.SETTING)),
        ({}, None, None),
    ],
)
def test_tag_takes_precedence_over_the_first_matching_pattern(
    tags: dict[str, str], name: str | None, expected: tuple[str, SetBy] | None
) -> None:
    """Applies to a job without a deadline of its own."""
    rules = (DeadlineRule("nightly-*", "06:00 Europe/Berlin"), DeadlineRule("*", "1d"))
    found = chosen_deadline(
        tags=tags, tag="bbm:deadline", rules=rules, job_name=name, submitted=SUBMITTED
    )
    assert found == expected


def test_deadlines_by_pattern_survive_a_round_trip() -> None:
    """From a JSON object and from its text."""
    rules = deadline_rules_of({"nightly-*": "06:00 Europe/Berlin", "*": "1d"})
    assert deadline_rules_of(deadline_rules_text(rules)) == rules
    assert [rule.pattern for rule in rules] == ["nightly-*", "*"]


@pytest.mark.parametrize(
    "value",
    ["{", "[]", {}, {"[": "4h"}, {"a": 4}, {"a": "soon"}, dict.fromkeys(map(str, range(21)), "4h")],
)
def test_deadlines_that_are_not_allowed_are_refused(value: object) -> None:
    """Not JSON, no object, no pattern, no deadline, or too many."""
    with pytest.raises(ValueError, match=r".+"):
        deadline_rules_of(value)


def test_stored_deadline_is_a_moment_once_that_is_known() -> None:
    """A time of day or a duration has none until the submission is known."""
    moment, duration = parse_deadline("2026-11-27T06:00:00Z"), parse_deadline("4h")
    assert stored_text(moment, None) == "2026-11-27T06:00:00.000Z"
    assert stored_text(duration, None) is None
    assert stored_text(duration, SUBMITTED) == "2026-11-25T00:30:00.000Z"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("{", "it is not JSON"),
        ([], "it must have 1 to 20 patterns"),
        ({}, "it must have 1 to 20 patterns"),
        ({"a" * 64: "4h"}, "is not 1 to 63 letters, digits, '+', '-', '.', '*' or '?'"),
        ({"": "4h"}, "the pattern '' is not 1 to 63 letters"),
        ({"a": 4}, "the deadline of a is not a text"),
        ({"a": "soon"}, "'soon' is not a deadline"),
    ],
)
def test_refused_deadlines_say_what_is_allowed(value: object, problem: str) -> None:
    """In words for the person who wrote the setting."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is looked at below
        deadline_rules_of(value)
    assert problem in str(refused.value)


def test_twenty_patterns_of_63_characters_are_allowed() -> None:
    """Blanks around a deadline do not count."""
    rules = deadline_rules_of({f"{place:02}" + "a" * 61: " 4h " for place in range(20)})
    assert len(rules) == 20
    assert {rule.deadline for rule in rules} == {"4h"}
