from __future__ import annotations

import email.utils
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.utils import parse_timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from bedrock_batch_monitor.adapters.timestamps import parse

moments = st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001 - the zone is drawn by itself
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - the zone is drawn by itself
    timezones=st.integers(min_value=-14 * 60, max_value=14 * 60).map(
        lambda minutes: timezone(timedelta(minutes=minutes))
    ),
)
FORMS = (
    lambda at: at.isoformat(),
    lambda at: at.isoformat(sep=" "),
    lambda at: at.isoformat(timespec="milliseconds"),
    lambda at: at.isoformat(timespec="minutes"),
    lambda at: at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    lambda at: at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f987Z"),
    lambda at: at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    lambda at: at.replace(tzinfo=None).isoformat(),
    lambda at: at.strftime("%Y%m%dT%H%M%S%z"),
    lambda at: at.strftime("%Y-%m-%d"),
    email.utils.format_datetime,
    lambda at: at.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
    lambda at: at.timestamp(),
    lambda at: int(at.timestamp()),
    lambda at: str(at.timestamp()),
    lambda at: str(int(at.timestamp())),
)
digits = st.integers(min_value=0, max_value=99).map("{:02}".format)
nearly = st.builds(
    "{}{}-{}-{}T{}:{}:{}{}{}".format,
    *(digits for _ in range(7)),
    st.sampled_from(["", ".1", ".123", ".123456", ".123456789", ",5", "."]),
    st.sampled_from(
        ["Z", "z", "+00:00", "-00:00", "+05:30", "-23:59", "+24:00", "+0530", "", " Z"]
    ),
)


def outcome(read: Any, value: object) -> tuple[object, ...]:
    """What comes of reading a value: the time and its offset, or the exception and its text.

    dateutil makes a time of an offset of 24 hours, and then cannot say the offset.
    """
    try:
        moment = read(value)
        return moment.replace(tzinfo=None), moment.utcoffset()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        return type(error), str(error)


@given(moments, st.sampled_from(FORMS))
def test_every_form_of_a_time_is_read_as_botocore_reads_it(at: datetime, form: Any) -> None:
    """ISO 8601 with fractions and offsets, naive times, RFC 822, epoch numbers and texts."""
    value = form(at)
    assert outcome(parse, value) == outcome(parse_timestamp, value)


@given(nearly)
@example("2026-02-30T00:00:00Z")
@example("2026-11-24T24:00:00Z")
@example("2026-11-24T23:59:60Z")
@example("0000-01-01T00:00:00Z")
@example("0001-01-01T00:00:00+24:00")
def test_invalid_time_is_refused_as_botocore_refuses_it(value: str) -> None:
    """Days, hours and offsets that do not exist: the same error, or the same value."""
    assert outcome(parse, value) == outcome(parse_timestamp, value)


@given(
    st.text(max_size=30)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)
def test_any_other_value_is_left_to_botocore(value: object) -> None:
    """No JSON value is read differently, or refused with another error."""
    # Some of these are times without a date, which botocore reads as of today.
    assert outcome(parse, value) == outcome(parse_timestamp, value)


@pytest.mark.parametrize("value", ["2026-11-24T20:30:16.123Z", "2026-11-24T20:30:16+01:00"])
def test_time_in_the_form_of_bedrock_bypasses_the_parser_of_botocore(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An aware ISO 8601 time does not reach botocore's parser at all."""

    def fail(_: object) -> datetime:
        raise AssertionError

    monkeypatch.setattr("bedrock_batch_monitor.adapters.timestamps.parse_timestamp", fail)
    assert parse(value) == datetime.fromisoformat(value)
