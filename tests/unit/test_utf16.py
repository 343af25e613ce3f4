"""Lengths in UTF-16 code units."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.utf16 import cut_utf16, utf16_length

PAIR = "\U0001f600"
# Any character, lone surrogates and characters of two units among them, these often.
CHARACTERS = st.characters() | st.sampled_from([PAIR, "\U0010ffff", "\ud800", "\udc00", "\uffff"])
TEXTS = st.text(CHARACTERS, max_size=40)


def units(text: str) -> list[int]:
    """The code units of a text, counted without an encoder: what JSON escapes are."""
    found: list[int] = []
    for character in text:
        if (point := ord(character)) > 0xFFFF:
            high, low = divmod(point - 0x10000, 0x400)
            found += [0xD800 + high, 0xDC00 + low]
        else:
            found.append(point)
    return found


@pytest.mark.parametrize(
    ("text", "length"),
    [("", 0), ("a", 1), ("é", 1), ("\uffff", 1), (PAIR, 2), ("\ud800", 1), (f"a{PAIR}b", 4)],
)
def test_utf16_length_counts_code_units(text: str, length: int) -> None:
    assert utf16_length(text) == length


@given(TEXTS)
def test_utf16_length_of_any_text_is_its_number_of_units(text: str) -> None:
    """It equals the number of escapes that an ASCII-only JSON document needs for the text."""
    assert utf16_length(text) == len(units(text))
    escaped = "".join(f"\\u{unit:04x}" for unit in units(text))
    assert utf16_length(json.loads(f'"{escaped}"')) == len(units(text))


@given(TEXTS, st.integers(0, 90))
def test_truncated_text_is_the_longest_beginning_that_fits(text: str, most: int) -> None:
    """At most so many units, from the beginning; one less only where a pair would be split."""
    kept, whole = units(cut_utf16(text, most)), units(text)
    assert kept == whole[: len(kept)]
    assert len(kept) <= most
    if len(kept) < min(most, len(whole)):
        assert len(kept) == most - 1
        assert 0xD800 <= whole[most - 1] <= 0xDBFF
        assert 0xDC00 <= whole[most] <= 0xDFFF


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.integers(0, 90))
def test_truncated_text_can_always_be_encoded(text: str, most: int) -> None:
    """No surrogate of a pair remains alone."""
    assert text.startswith(cut_utf16(text, most).encode().decode())


@pytest.mark.parametrize(
    ("most", "kept"), [(0, ""), (1, "a"), (2, "a"), (3, f"a{PAIR}"), (4, f"a{PAIR}b")]
)
def test_surrogate_pair_is_kept_complete_or_removed(most: int, kept: str) -> None:
    assert cut_utf16(f"a{PAIR}b", most) == kept


def test_text_that_fits_is_unchanged() -> None:
    """Two surrogates that are separate characters to Python stay so."""
    separate = "\ud83d" + "\ude00"
    assert cut_utf16(separate, 2) == separate
    assert cut_utf16(separate, 1) == ""
    assert cut_utf16("\ud83d" * 2, 1) == "\ud83d"


def test_negative_number_of_units_is_refused() -> None:
    with pytest.raises(ValueError, match="not -1"):
        cut_utf16("text", -1)


@pytest.mark.parametrize(
    ("points", "units", "kept"),
    [
        # Pairs of the first and last halves.
        ((0x10000,), 1, 0),
        ((0x10FFFF,), 1, 0),
        ((0x10FC00,), 1, 0),
        ((0x103FF,), 1, 0),
        # Halves that are not a pair, and their neighbors.
        ((0xD7FF, 0xDC00), 1, 1),
        ((0xDC00, 0xDC00), 1, 1),
        ((0xDBFF, 0xDBFF), 1, 1),
        ((0xD800, 0xE000), 1, 1),
        ((0xDC00, 0x78, 0xD800), 0, 0),
        ((0xDC00,), 0, 0),
    ],
)
def test_only_pairs_are_kept_whole(points: tuple[int, ...], units: int, kept: int) -> None:
    """U+D800 to U+DBFF before U+DC00 to U+DFFF."""
    text = "".join(map(chr, points))
    assert cut_utf16(text, units) == text[:kept]
