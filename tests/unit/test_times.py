from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.times import from_iso, seconds_between, to_iso, to_milliseconds
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
