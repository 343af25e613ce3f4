"""DynamoDB's units, against examples calculated by hand from its documentation."""

from hypothesis import given
from hypothesis import strategies as st

from local.benchmark.units import Index, Table, item_bytes, read_units

TABLE = Table(keys=("id",), indexes=(Index(("group", "id"), frozenset({"kept"})),))
BARE = Table(keys=("id",), indexes=())


def item(**attributes: str) -> dict[str, dict[str, str]]:
    return {name: {"S": value} for name, value in attributes.items()}


def test_item_bytes_follow_the_rules_of_dynamodb() -> None:
    """Names count like values; numbers by their digits; sets, lists and maps by their contents."""
    assert item_bytes({"id": {"S": "häß"}}) == 2 + 5
    assert item_bytes({"n": {"N": "-1200"}}) == 1 + 2
    assert item_bytes({"s": {"SS": ["ab", "c"]}}) == 1 + 3
    assert item_bytes({"b": {"BOOL": True}}) == 2
    assert item_bytes({"l": {"L": [{"S": "ab"}]}}) == 1 + 3 + 1 + 2
    assert item_bytes({"m": {"M": {"k": {"S": "ab"}}}}) == 1 + 3 + 1 + 1 + 2
    assert item_bytes(None) == 0


def test_read_units_are_rounded_up_to_4_kb() -> None:
    """Half of it for an eventually consistent read, and never zero."""
    assert read_units(0) == 0.5
    assert read_units(4096) == 0.5
    assert read_units(4097) == 1.0
    assert read_units(4097, consistent=True) == 2.0


def test_write_units_of_an_item_follow_its_larger_size() -> None:
    """The larger of both sizes counts, rounded up to 1 KB, and twice in a transaction."""
    small, large = item(id="1"), item(id="1", text="x" * 1024)
    assert BARE.write_units(None, small) == 1
    assert BARE.write_units(large, small) == 2
    assert BARE.write_units(small, large, in_transaction=True) == 4
    assert BARE.write_units(None, None) == 1


def test_write_units_of_an_index_follow_its_changed_entries() -> None:
    """An entry that is added, removed or changed is one write; one with a changed key is two."""
    out, entry = item(id="1"), item(id="1", group="a")
    assert TABLE.write_units(None, out) == 1
    assert TABLE.write_units(out, entry) == 2
    assert TABLE.write_units(entry, out) == 2
    assert TABLE.write_units(entry, entry | item(other="x")) == 1
    assert TABLE.write_units(entry, entry | item(kept="x")) == 2
    assert TABLE.write_units(entry, entry | item(group="b")) == 3


@given(st.text(max_size=5000), st.text(max_size=5000))
def test_write_units_do_not_depend_on_the_direction(one: str, other: str) -> None:
    """An update that makes an item smaller costs the same as the reverse one."""
    before, after = item(id="1", group="a", kept=one), item(id="1", group="a", kept=other)
    assert TABLE.write_units(before, after) == TABLE.write_units(after, before)
