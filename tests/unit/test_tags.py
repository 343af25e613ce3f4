"""Tags: what is kept of them, whatever they contain."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.tags import MOST_TAGS, tags_in, tags_in_answer, tags_of


def test_hostile_tags_are_cleaned_and_bounded() -> None:
    """Controls and hidden characters are removed, and long texts are cut."""
    found = tags_of([("team\u202e", "a\x1b[2Jb\nc"), ("\u200b", "no key"), ("x" * 999, "y" * 999)])
    assert found == {"team": "a[2Jb c", "x" * 127 + "…": "y" * 255 + "…"}


def test_malformed_response_has_no_tags() -> None:
    """Entries that are not tags are skipped."""
    assert tags_in_answer({}) == tags_in_answer({"tags": "no"}) == {}
    assert tags_in_answer(
        {"tags": [None, {"key": 1, "value": "a"}, {"key": "a", "value": "b"}]}
    ) == {"a": "b"}


@given(st.dictionaries(st.text(), st.text(), max_size=80))
def test_cleaning_tags_is_idempotent_and_independent_of_order(tags: dict[str, str]) -> None:
    """There are at most 50 tags, below 16 KB."""
    found = tags_in(tags)
    assert found == tags_of(reversed([*tags.items()])) == tags_in(found)
    assert len(found) <= MOST_TAGS
    assert sum(len(name.encode()) + len(text.encode()) for name, text in found.items()) <= 16 * 1024
    json.dumps(found, ensure_ascii=False).encode()


def test_fifty_tags_are_kept_in_the_order_of_their_keys() -> None:
    """AWS allows no more of a resource."""
    found = tags_of((f"{place:02}", "") for place in reversed(range(51)))
    assert list(found) == [f"{place:02}" for place in range(50)]


def test_tags_of_16_kb_are_kept() -> None:
    """In bytes; one byte more leaves the last one out."""
    most = {f"{place:02}".ljust(100, "k"): "ü" * 120 + "x" for place in range(48)}
    assert tags_in(most | {"z": "x" * 15}) == most | {"z": "x" * 15}
    assert tags_in(most | {"z": "x" * 16}) == most


def test_first_value_in_order_is_kept_of_keys_that_are_equal_once_cleaned() -> None:
    """So the result does not depend on the order of the response."""
    pairs = [("team", "b"), ("team ", "a"), ("tea\u200bm", "c")]
    assert tags_of(pairs) == tags_of(reversed(pairs)) == {"team": "a"}
