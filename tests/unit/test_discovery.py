from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.discovery import (
    LONGEST_JOB,
    OVERLAP,
    Bookmark,
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
    assert is_wanted(job, bookmark=bookmark, now=NOW, prefix="") == expected


@given(any_status, st.text(min_size=1), st.text(min_size=1))
def test_the_prefix_limits(status: str, name: str, prefix: str) -> None:
    """With a prefix no job is taken up whose name begins otherwise."""
    job = ListedJob(ARN, name, status, NOW)
    wanted = is_wanted(job, bookmark=BOOKMARK, now=NOW, prefix=prefix)
    assert not wanted or name.startswith(prefix)


def test_the_first_list_has_every_job_that_may_still_run() -> None:
    """A job may run for seven days, so a new deployment looks back further than that."""
    assert list_from(None, NOW) == NOW - LONGEST_JOB
    assert timedelta(hours=168) < LONGEST_JOB


@given(st.none() | st.builds(Bookmark, began_at=times, seen_until=times), times)
def test_lists_overlap_and_never_go_back(bookmark: Bookmark | None, until: object) -> None:
    """The next list begins before the end of the last one, whatever the clock did."""
    after = advanced(bookmark, now=NOW, until=until)  # type: ignore[arg-type]
    assert list_from(after, NOW) == after.seen_until - OVERLAP
    if bookmark is not None:
        assert after.seen_until >= bookmark.seen_until
        assert after.began_at == bookmark.began_at
