from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.times import (
    from_iso,
    plausible,
    seconds_between,
    to_iso,
    to_milliseconds,
)
from tests.support.strategies import optional_times, times


def test_time_has_the_form_of_the_contract() -> None:
    """ISO 8601 in UTC with milliseconds and Z, whatever time zone the value has."""
    moment = datetime(2026, 11, 24, 22, 30, 16, 123999, tzinfo=timezone(timedelta(hours=2)))
    assert to_iso(moment) == "2026-11-24T20:30:16.123Z"
    assert to_iso(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"


def test_time_without_a_zone_is_refused() -> None:
    """A time without a zone is neither written nor read."""
    with pytest.raises(ValueError, match="no time zone"):
        to_iso(datetime(2026, 1, 1))  # noqa: DTZ001 - the point of the test
    with pytest.raises(ValueError, match="no time zone"):
        from_iso("2026-01-01T00:00:00")


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)))  # noqa: DTZ001 - zone added
def test_time_survives_a_round_trip(moment: datetime) -> None:
    """What is written reads back equal, in the precision of the contract."""
    assert from_iso(to_iso(moment)) == to_milliseconds(moment)


@given(times, times)
def test_order_of_texts_is_the_order_of_times(one: datetime, other: datetime) -> None:
    """Sort keys made of times are in chronological order."""
    assert (to_iso(one) < to_iso(other)) == (one < other)


@given(optional_times, optional_times)
def test_seconds_are_whole_and_never_negative(start: datetime | None, end: datetime | None) -> None:
    """A span is a whole number from 0, or unknown."""
    seconds = seconds_between(start, end)
    if start is None or end is None or end < start:
        assert seconds is None
    else:
        assert isinstance(seconds, int)
        assert seconds <= (end - start).total_seconds() < seconds + 1


NOW = datetime(2026, 11, 24, 20, 30, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
FIRST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "ahead", "is_plausible"),
    [
        (FIRST, None, True),
        (FIRST - MOMENT, None, False),
        (NOW + timedelta(hours=2), None, True),
        (NOW + timedelta(hours=2) + MOMENT, None, False),
        (NOW, timedelta(0), True),
        (NOW + MOMENT, timedelta(0), False),
        (NOW + timedelta(days=30), timedelta(days=30), True),
    ],
)
def test_plausible_time_is_between_2020_and_two_hours_from_now(
    moment: datetime, ahead: timedelta | None, *, is_plausible: bool
) -> None:
    """Clocks differ; a time that lies ahead by its nature can be later."""
    found = plausible(moment, NOW) if ahead is None else plausible(moment, NOW, ahead=ahead)
    assert found == (moment if is_plausible else None)
    assert plausible(None, NOW) is None


def test_time_out_of_range_in_utc_is_refused() -> None:
    """The first hours of the year 1 east of Greenwich were in the year 0."""
    with pytest.raises(ValueError, match=r"^'0001-01-01T00:00:00[+]01:00' is out of range in UTC$"):
        from_iso("0001-01-01T00:00:00+01:00")
    assert from_iso("2026-01-01T01:00:00+01:00") == datetime(2026, 1, 1, tzinfo=UTC)


def test_time_of_another_zone_is_cut_to_milliseconds_in_utc() -> None:
    """What is stored reads back equal."""
    moment = datetime(2026, 1, 1, 1, 0, 0, 1999, tzinfo=timezone(timedelta(hours=1)))
    assert to_milliseconds(moment) == datetime(2026, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)
    assert to_milliseconds(moment).tzinfo is UTC


def test_span_without_length_is_known() -> None:
    """It is zero, not unknown."""
    assert seconds_between(NOW, NOW) == 0
    assert seconds_between(NOW, NOW - MOMENT) is None
    assert seconds_between(NOW, NOW + timedelta(seconds=1.9)) == 1
