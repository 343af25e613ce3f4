from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.discovery import (
    LONGEST_JOB,
    OVERLAP,
    Bookmark,
    JobFilter,
    TableInfo,
    Tracking,
    advanced,
    everything,
    is_worth_storing,
    list_from,
    resume,
    tracking_of,
)
from bedrock_batch_monitor.domain.list_pages import ListedJob
from bedrock_batch_monitor.domain.times import CLOCK_TOLERANCE
from tests.support.strategies import ARN, NOW, any_status, times

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
BOOKMARK = Bookmark(began_at=NOW - HOUR, seen_until=NOW - MINUTE)
STORED = replace(BOOKMARK, full_list_at=NOW - HOUR, table_id="table-1")
TABLE = TableInfo("table-1", NOW - HOUR, is_restored=False)


@pytest.mark.parametrize(
    ("status", "end_time", "expected"),
    [
        ("InProgress", None, Tracking.LIVE),
        (None, None, Tracking.LIVE),
        ("Paused", None, Tracking.LIVE),
        ("Completed", NOW - 2 * HOUR, None),
        ("Completed", NOW - HOUR - timedelta(milliseconds=1), None),
        ("Completed", NOW - HOUR, Tracking.LIVE),
        ("Expired", NOW - timedelta(minutes=2), Tracking.LIVE),
        # Without a plausible end the submission decides.
        ("Completed", None, None),
        ("Completed", NOW + timedelta(days=1), None),
        ("Completed", NOW.replace(year=1), None),
    ],
)
def test_discovery_tracks_jobs_that_run_or_ended_since_it_began(
    status: str | None, end_time: datetime | None, expected: Tracking | None
) -> None:
    """A job that had ended before discovery began is not tracked."""
    job = ListedJob(ARN, "nightly", status, NOW - 3 * HOUR, end_time)
    assert tracking_of(job, bookmark=BOOKMARK, now=NOW, wanted=JobFilter()) == expected


def test_job_with_implausible_times_is_tracked() -> None:
    """An end without a plausible time is recorded rather than lost."""
    for submitted in (NOW.replace(year=1), NOW + timedelta(days=1)):
        job = ListedJob(ARN, "nightly", "Failed", submitted)
        assert tracking_of(job, bookmark=BOOKMARK, now=NOW, wanted=JobFilter()) is Tracking.LIVE


@pytest.mark.parametrize(
    ("end_time", "expected"),
    [
        (NOW - 31 * MINUTE, Tracking.LIVE),
        (NOW - 30 * MINUTE, Tracking.HISTORY_ONLY),
        (NOW - 11 * MINUTE, Tracking.HISTORY_ONLY),
        (NOW - 10 * MINUTE, Tracking.LIVE),
    ],
)
def test_end_while_discovery_was_off_is_recorded_in_the_history_only(
    end_time: datetime, expected: Tracking
) -> None:
    """No notification is sent for ends while discovery was switched off."""
    bookmark = replace(BOOKMARK, off_since=NOW - 30 * MINUTE, on_again_at=NOW - 10 * MINUTE)
    job = ListedJob(ARN, "nightly", "Failed", NOW - 3 * HOUR, end_time)
    assert tracking_of(job, bookmark=bookmark, now=NOW, wanted=JobFilter()) is expected
    running = job._replace(status="InProgress", end_time=None)
    assert tracking_of(running, bookmark=bookmark, now=NOW, wanted=JobFilter()) is Tracking.LIVE


@given(any_status, st.text(min_size=1), st.text(min_size=1))
def test_prefix_excludes_jobs_with_another_name(status: str, name: str, prefix: str) -> None:
    """With a prefix, only jobs whose name starts with it are tracked."""
    job = ListedJob(ARN, name, status, NOW)
    tracking = tracking_of(job, bookmark=BOOKMARK, now=NOW, wanted=JobFilter(prefix))
    assert (tracking is not None) == name.startswith(prefix)


NOVA = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"
PROVISIONED = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdef123456"


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("", "anything", True),
        ("nightly-*-prod", "nightly-2026-prod", True),
        ("nightly-*-prod", "nightly-prod", False),
        ("nightly-*-prod", "nightly-2026-prod2", False),
        ("nightly-*", "Nightly-1", False),
        ("job-?", "job-1", True),
        ("job-?", "job-12", False),
        ("a.b+c", "a.b+c", True),
        ("a.b", "a-b", False),
    ],
)
def test_pattern_is_a_glob_of_the_whole_name(pattern: str, name: str, *, expected: bool) -> None:
    """`*` and `?` are wildcards; every other character matches itself, case-sensitive."""
    assert JobFilter(name_pattern=pattern).wants(name, None) == expected


@pytest.mark.parametrize(
    ("reported", "given", "expected"),
    [
        ("amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0", True),
        (NOVA, "amazon.nova-lite-v1:0", True),
        (NOVA, NOVA, True),
        (PROFILE, "us.amazon.nova-lite-v1:0", True),
        (PROFILE, "amazon.nova-lite-v1:0", False),
        (PROVISIONED, "abcdef123456", True),
        (PROVISIONED, PROVISIONED, True),
        ("amazon.nova-lite-v1:0", NOVA, False),
        (None, "amazon.nova-lite-v1:0", False),
    ],
)
def test_model_matches_by_its_arn_or_its_id(
    reported: str | None, given: str, *, expected: bool
) -> None:
    """What Bedrock reports is compared as a whole, and by the part after the last slash."""
    assert JobFilter(model_ids=frozenset({given})).wants("job", reported) == expected


@given(
    st.text("ab-", max_size=4), st.text("ab-*?", max_size=6), st.text("ab-", min_size=1, max_size=8)
)
def test_job_matches_when_prefix_and_pattern_match(prefix: str, pattern: str, name: str) -> None:
    """The text by which the list is filtered on the server is part of every wanted name."""
    both = JobFilter(prefix, pattern)
    apart = JobFilter(prefix).wants(name, None) and JobFilter("", pattern).wants(name, None)
    assert both.wants(name, None) == apart
    assert not apart or both.name_contains in name
    assert both.is_limited == bool(prefix or pattern)


@pytest.mark.parametrize(
    ("prefix", "pattern", "text"),
    [
        ("", "", ""),
        ("nightly-", "", "nightly-"),
        ("a", "*-prod-?-eu", "prod-"),
        ("nightly-", "*-prod", "nightly-"),
        ("", "+-.a*b", "a"),
        ("", "*?*", ""),
    ],
)
def test_list_is_shortened_by_the_longest_text_of_all_names(
    prefix: str, pattern: str, text: str
) -> None:
    """It begins with a letter or digit, as Bedrock requires."""
    assert JobFilter(prefix, pattern).name_contains == text


def test_list_of_everything_loses_no_job_that_can_still_run() -> None:
    """It also tracks jobs that ended since then."""
    bookmark = everything(NOW)
    assert list_from(bookmark) == NOW - timedelta(days=8, minutes=15)
    job = ListedJob(ARN, "nightly", "Failed", NOW - 9 * DAY, NOW - 8 * DAY)
    assert tracking_of(job, bookmark=bookmark, now=NOW, wanted=JobFilter()) is Tracking.LIVE
    earlier = job._replace(end_time=NOW - 8 * DAY - SECOND)
    assert tracking_of(earlier, bookmark=bookmark, now=NOW, wanted=JobFilter()) is None


def test_list_that_was_cut_short_continues_at_its_last_job() -> None:
    """At most now, and never before the bookmark."""
    for last, expected in (
        (NOW, NOW),
        (NOW + HOUR, NOW),
        (NOW - 2 * MINUTE, BOOKMARK.seen_until),
        (NOW - SECOND, NOW - SECOND),
        (None, BOOKMARK.seen_until),
    ):
        after = advanced(BOOKMARK, now=NOW, last=last, whole=False)
        assert after == replace(BOOKMARK, seen_until=expected)


@pytest.mark.parametrize("moment", [NOW + timedelta(days=1), NOW.replace(year=1)])
def test_implausible_times_without_discovery_are_forgotten(moment: datetime) -> None:
    """Then no end is recorded in the history only."""
    bookmark = resumed(replace(STORED, off_since=moment, on_again_at=moment))
    assert (bookmark.off_since, bookmark.on_again_at) == (None, None)
    bookmark = resumed(replace(STORED, off_since=NOW - HOUR, on_again_at=NOW - MINUTE))
    assert (bookmark.off_since, bookmark.on_again_at) == (NOW - HOUR, NOW - MINUTE)


def resumed(
    stored: Bookmark | None, *, state_exists: bool = True, table: TableInfo = TABLE
) -> Bookmark:
    return resume(stored, state_exists=state_exists, table=table, now=NOW)


def test_first_list_contains_every_job_that_can_still_run() -> None:
    """A job may run for seven days, so the first list of a new deployment begins even earlier."""
    bookmark = resumed(None)
    assert list_from(bookmark) == NOW - LONGEST_JOB - OVERLAP
    assert bookmark.began_at == NOW
    assert timedelta(hours=168) < LONGEST_JOB


@pytest.mark.parametrize(
    ("table", "began_at"),
    [
        (TABLE, NOW - HOUR),
        (replace(TABLE, is_restored=True), NOW - LONGEST_JOB),
        (replace(TABLE, created_at=None), NOW - LONGEST_JOB),
        # The clocks differ: a new deployment does not announce jobs of last week.
        (replace(TABLE, created_at=NOW + HOUR), NOW),
        (replace(TABLE, created_at=NOW + 3 * HOUR), NOW - LONGEST_JOB),
        (replace(TABLE, created_at=NOW.replace(year=1)), NOW - LONGEST_JOB),
    ],
)
def test_lost_state_is_replaced_by_the_age_of_the_table(
    table: TableInfo, began_at: datetime
) -> None:
    """Jobs that ended since are recorded. The age of a restored table proves nothing."""
    bookmark = resumed(None, state_exists=False, table=table)
    assert (bookmark.began_at, bookmark.seen_until) == (began_at, NOW - LONGEST_JOB)


@pytest.mark.parametrize(
    ("changes", "is_full"),
    [
        ({}, False),
        ({"full_list_at": NOW - DAY + SECOND}, False),
        ({"full_list_at": NOW - DAY}, True),
        ({"full_list_at": None}, True),
        ({"full_list_at": NOW + SECOND}, True),
        ({"full_list_at": NOW.replace(year=1)}, True),
        ({"table_id": "another"}, True),
        ({"table_id": None}, False),
    ],
)
def test_full_list_is_due_once_a_day_and_for_a_new_table(
    changes: dict[str, Any],
    is_full: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """It tracks items again that were deleted, or lost with a table."""
    bookmark = resumed(replace(STORED, **changes))
    assert bookmark.seen_until == (NOW - LONGEST_JOB if is_full else STORED.seen_until)
    assert bookmark.full_list_at == (NOW if is_full else replace(STORED, **changes).full_list_at)
    assert bookmark.table_id == "table-1"


def test_full_list_never_begins_later_than_the_bookmark() -> None:
    """A discovery that is behind for longer than a job can run continues at its bookmark."""
    stored = replace(STORED, full_list_at=None, seen_until=NOW - 2 * LONGEST_JOB)
    assert resumed(stored).seen_until == stored.seen_until


@pytest.mark.parametrize("moment", [NOW + SECOND, NOW.replace(year=2090), NOW.replace(year=1)])
def test_implausible_bookmark_hides_no_job(moment: datetime) -> None:
    """A time in the future would end discovery; it is replaced by one that skips no job."""
    bookmark = resumed(replace(STORED, seen_until=moment))
    assert bookmark.seen_until == NOW - LONGEST_JOB
    began = resumed(replace(STORED, began_at=moment)).began_at
    assert began <= NOW


def test_resumed_discovery_remembers_when_it_was_off() -> None:
    """Only ends within the time without discovery are recorded in the history only."""
    bookmark = resumed(replace(STORED, off_since=NOW - HOUR))
    assert (bookmark.off_since, bookmark.on_again_at) == (NOW - HOUR, NOW)
    later = resume(bookmark, state_exists=True, table=TABLE, now=NOW + HOUR)
    assert later.on_again_at == NOW


@given(
    st.builds(Bookmark, began_at=times, seen_until=times),
    st.none() | times,
    times,
    st.booleans(),
)
def test_bookmark_overlaps_the_last_list_and_never_goes_back(
    bookmark: Bookmark,
    last: datetime | None,
    now: datetime,
    whole: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    """The next list begins before the last job of this one, whatever the clock says."""
    after = advanced(bookmark, now=now, last=last, whole=whole)
    assert list_from(after) == after.seen_until - OVERLAP
    assert after.seen_until >= bookmark.seen_until
    assert after.began_at == bookmark.began_at
    # One summary with a submission in the future must not end discovery.
    assert after.seen_until <= max(now, bookmark.seen_until)
    if not whole:
        assert after.seen_until in {last, now, bookmark.seen_until}


@given(times, st.timedeltas(min_value=timedelta(0), max_value=timedelta(minutes=119)))
def test_clock_that_is_ahead_skips_no_job(now: datetime, ahead: timedelta) -> None:
    """A job that is submitted now is in the next list, also with a clock almost two hours ahead."""
    after = advanced(BOOKMARK, now=now + ahead, last=None, whole=True)
    assert list_from(after) < max(now, BOOKMARK.seen_until)


def test_bookmark_advances_while_no_job_is_submitted() -> None:
    """When no job was submitted for long, lists do not reach back to the last one indefinitely."""
    later = NOW + timedelta(days=3)
    after = advanced(BOOKMARK, now=later, last=None, whole=True)
    assert after.seen_until == later - CLOCK_TOLERANCE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"seen_until": STORED.seen_until + 5 * MINUTE - SECOND}, False),
        ({"seen_until": STORED.seen_until + 5 * MINUTE}, True),
        ({"seen_until": STORED.seen_until - SECOND}, True),
        ({"full_list_at": NOW}, True),
        ({"table_id": "another"}, True),
        ({"on_again_at": NOW}, True),
    ],
)
def test_bookmark_is_stored_only_after_a_relevant_change(
    changes: dict[str, Any],
    expected: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """A poll that found nothing new writes nothing; a small advance is not stored."""
    assert is_worth_storing(replace(STORED, **changes), STORED) == expected
    assert is_worth_storing(STORED, None)
