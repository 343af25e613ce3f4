from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.discovery import (
    CLOCK_TOLERANCE,
    LONGEST_JOB,
    OVERLAP,
    Bookmark,
    JobFilter,
    ListedJob,
    advanced,
    is_wanted,
    list_from,
)
from tests.support.strategies import ARN, NOW, any_status, times

HOUR = timedelta(hours=1)
BOOKMARK = Bookmark(began_at=NOW - HOUR, seen_until=NOW - timedelta(minutes=1))


@pytest.mark.parametrize(
    ("status", "end_time", "bookmark", "expected"),
    [
        ("InProgress", None, None, True),
        ("Completed", NOW - timedelta(seconds=1), None, False),
        (None, None, None, True),
        ("Paused", None, None, True),
        ("Completed", NOW - 2 * HOUR, BOOKMARK, False),
        ("Completed", NOW - HOUR, BOOKMARK, True),
        ("Expired", NOW - timedelta(minutes=2), BOOKMARK, True),
        ("InProgress", None, BOOKMARK, True),
    ],
)
def test_what_is_taken_up(
    status: str | None, end_time: object, bookmark: Bookmark | None, expected: object
) -> None:
    """What runs, and what ended since discovery began; not what had ended before."""
    job = ListedJob(ARN, "nightly", status, NOW - 3 * HOUR, end_time)  # type: ignore[arg-type]
    assert is_wanted(job, bookmark=bookmark, now=NOW, wanted=JobFilter()) == expected


@given(any_status, st.text(min_size=1), st.text(min_size=1))
def test_the_prefix_limits(status: str, name: str, prefix: str) -> None:
    """With a prefix no job is taken up whose name begins otherwise."""
    job = ListedJob(ARN, name, status, NOW)
    wanted = is_wanted(job, bookmark=BOOKMARK, now=NOW, wanted=JobFilter(prefix))
    assert wanted == name.startswith(prefix)


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
def test_a_pattern_is_a_glob_of_the_whole_name(pattern: str, name: str, *, expected: bool) -> None:
    """`*` and `?` stand for text, everything else for itself, upper and lower case apart."""
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
def test_a_model_is_known_by_its_arn_or_its_id(
    reported: str | None, given: str, *, expected: bool
) -> None:
    """What Bedrock reports is compared as a whole, and by what follows the last slash."""
    assert JobFilter(model_ids=frozenset({given})).wants("job", reported) == expected


@given(
    st.text("ab-", max_size=4), st.text("ab-*?", max_size=6), st.text("ab-", min_size=1, max_size=8)
)
def test_every_limit_holds_and_the_list_is_not_cut_short(
    prefix: str, pattern: str, name: str
) -> None:
    """A wanted name keeps to prefix and pattern, and has the text by which the list is asked."""
    both = JobFilter(prefix, pattern)
    apart = JobFilter(prefix).wants(name, None) and JobFilter("", pattern).wants(name, None)
    assert both.wants(name, None) == apart
    assert not apart or both.name_contains in name
    assert both.is_limited == bool(prefix or pattern)


def test_the_first_list_has_every_job_that_may_still_run() -> None:
    """A job may run for seven days, so a new deployment looks back further than that."""
    assert list_from(None, NOW) == NOW - LONGEST_JOB
    assert timedelta(hours=168) < LONGEST_JOB


@given(
    st.none() | st.builds(Bookmark, began_at=times, seen_until=times),
    st.none() | times,
    times,
    st.booleans(),
)
def test_lists_overlap_and_never_go_back(
    bookmark: Bookmark | None,
    last: datetime | None,
    now: datetime,
    whole: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    """The next list begins before the last job of this one, whatever the clock says."""
    after = advanced(bookmark, now=now, last=last, whole=whole)
    assert list_from(after, now) == after.seen_until - OVERLAP
    if bookmark is not None:
        assert after.seen_until >= bookmark.seen_until
        assert after.began_at == bookmark.began_at
    if not whole:
        assert after.seen_until in {last, (bookmark or after).seen_until}


@given(times, st.timedeltas(min_value=timedelta(0), max_value=timedelta(minutes=119)))
def test_a_clock_that_is_ahead_skips_nothing(now: datetime, ahead: timedelta) -> None:
    """A job that is submitted now is in the next list, though our clock runs an hour or so fast."""
    after = advanced(BOOKMARK, now=now + ahead, last=None, whole=True)
    assert list_from(after, now + ahead) < max(now, BOOKMARK.seen_until)


def test_in_quiet_times_the_bookmark_follows() -> None:
    """When no job has come for long, lists do not reach back to the last one for ever."""
    later = NOW + timedelta(days=3)
    after = advanced(BOOKMARK, now=later, last=None, whole=True)
    assert after.seen_until == later - CLOCK_TOLERANCE
