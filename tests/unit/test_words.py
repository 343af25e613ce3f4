from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.plain_text import (
    CUT,
    IMPLAUSIBLE,
    clean,
    duration,
    plausible_count,
    quoted,
)
from tests.support.hostile import ALL_KEYS, CONTROLS, HOSTILE_TEXTS, hostile_characters_in, texts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(texts, inner, max_size=9),
    max_leaves=20,
)


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_cleaned_text_is_one_line_without_hostile_characters(text: str) -> None:
    """Controls, escapes, characters that reorder or hide text and lone surrogates are gone."""
    cleaned = clean(text)
    assert hostile_characters_in(cleaned) == set()
    assert len(cleaned.splitlines()) <= 1
    cleaned.encode()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Übersicht שלום العربية 入力 \U0001f468", "Übersicht שלום العربية 入力 \U0001f468"),
        ("a\x1b[31mb\r\nc\u202e [bold]", "a[31mb  c [bold]"),
        ("a\x1bb", "ab"),
        # The last two code points of a plane are no characters, those before them are.
        ("a\ufffdb\ufffec\uffffd", "a\ufffdbcd"),
        ("\U0010ffff\U0001fffe\U0001f6fd", "\U0001f6fd"),
        ("a\tb\xa0c\u2028d", "a b c d"),
        ("", ""),
        (7, "7"),
        ({"a": "\x1b"}, "{'a': '\\x1b'}"),
    ],
)
def test_cleaned_text_keeps_letters_of_every_script(text: object, cleaned: str) -> None:
    """White space becomes a blank."""
    assert clean(text) == cleaned


@given(texts, st.integers(min_value=1, max_value=300))
def test_cleaned_text_is_bounded(text: str, characters: int) -> None:
    """A truncated text ends with a note, and one that fits is the same as without a limit."""
    whole, bounded = clean(text), clean(text, characters)
    assert len(bounded) <= characters
    assert hostile_characters_in(bounded) == set()
    if bounded == whole:
        return
    assert bounded.endswith(CUT)
    assert whole.startswith(bounded.removesuffix(CUT))


def test_text_that_fits_exactly_is_not_cut() -> None:
    """Also after hidden characters, if no more than three quarters are hidden."""
    assert clean("x" * 10, 10) == "x" * 10
    assert clean("x" * 11, 10) == "x" * 9 + CUT
    assert clean("\u202e" * 30 + "x" * 10, 10) == "x" * 10
    assert clean("\u202e" * 31 + "x" * 9, 10) == "x" * 9
    assert clean("\u202e" * 40 + "x", 10) == CUT


def test_huge_text_is_not_read_to_its_end() -> None:
    """A megabyte costs no more than the part that is shown, also if all of it is removed."""
    assert clean("\u202e" * 1_000_000 + "x", 10) == CUT
    assert clean("x" * 1_000_000, 10) == "x" * 9 + CUT


@given(JSON)
def test_quoted_value_is_short_and_printable(value: Any) -> None:
    """An error can quote any JSON value: one line, bounded, every odd character as an escape."""
    text = quoted(value)
    assert len(text) <= 83
    assert text.isprintable()
    assert hostile_characters_in(text) == set()


def test_quoted_text_names_invisible_characters() -> None:
    """It helps the person who pasted them."""
    assert quoted("arn:\u200baws") == "'arn:\\u200baws'"
    assert quoted("x" * 200) == "'" + "x" * 80 + CUT
    assert quoted("x" * 80) == "'" + "x" * 80 + "'"
    assert quoted("x" * 81) == quoted("x" * 81 + "'") == "'" + "x" * 80 + CUT
    assert quoted("abcdef", 3) == "'abc" + CUT
    assert quoted(None) == "None"
    assert quoted(["x" * 200], 20) == "['xxxxxxx...xxxxxxxx']"
    assert quoted(["x" * 9] * 9, 20) == "['xxxxxxxxx', 'xxxxxx" + CUT


@pytest.mark.parametrize("value", [-1, IMPLAUSIBLE, 10**38, 1.0, True, None, "7", [7]])
def test_implausible_count_is_unknown(value: object) -> None:
    """Negative, absurd and other values are no count."""
    assert plausible_count(value) is None


def test_plausible_count_has_at_most_15_digits() -> None:
    """A sum of such counts loses no digit."""
    assert plausible_count(10**15 - 1) == 10**15 - 1
    assert plausible_count(10**15) is None
    assert plausible_count(0) == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 00 s"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (3599, "59 min"),
        (3600, "1 h 00 min"),
        (3 * 3600 + 5 * 60 + 59, "3 h 05 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 0 h"),
        (2 * 86_400 + 4 * 3600 + 3599, "2 d 4 h"),
    ],
)
def test_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    """What is below the smaller unit is cut off."""
    assert duration(seconds) == text


@given(st.integers(min_value=0, max_value=IMPLAUSIBLE - 1))
def test_plausible_count_is_kept(count: int) -> None:
    """A count that Bedrock could report is the same after the check."""
    assert plausible_count(count) == count


def test_check_for_hostile_characters_finds_them() -> None:
    """Other tests rely on the check."""
    assert hostile_characters_in("harmless: שלום 入力") == set()
    assert hostile_characters_in(CONTROLS) == set(CONTROLS)
    assert set("\x1b\x9b\u202e\u2066\x00\n\ud800\u200b\x7f") <= hostile_characters_in(ALL_KEYS)
