from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.backfill import is_backfill, open_window
from bedrock_batch_monitor.domain.discovery import LONGEST_JOB, Bookmark, JobFilter, is_wanted
from bedrock_batch_monitor.domain.events import marks_for
from bedrock_batch_monitor.domain.jobs import HistoryEntry
from bedrock_batch_monitor.domain.lists import ListedJob
from tests.support.strategies import ARN, NOW, any_status, optional_times, times

DAY = timedelta(days=1)
BOOKMARK = Bookmark(began_at=NOW, seen_until=NOW)
EVERY = JobFilter()
days = st.integers(min_value=0, max_value=365).map(lambda number: number * DAY)


@given(any_status, times, optional_times)
def test_a_job_is_discovered_or_backfilled_never_both(
    status: str, submitted: datetime, ended: datetime | None
) -> None:
    """What has ended before discovery began goes into the history, and all else is followed."""
    job = ListedJob(ARN, "nightly", status, submitted, ended)
    followed = is_wanted(job, bookmark=BOOKMARK, now=NOW, wanted=EVERY)
    assert followed != is_backfill(job, bookmark=BOOKMARK, wanted=EVERY)
    assert followed or statuses.is_terminal(status)


@pytest.mark.parametrize(
    ("submitted", "ended", "expected"),
    [
        (NOW - 9 * DAY, None, True),
        (NOW - 7 * DAY, None, False),
        (NOW - DAY, NOW - timedelta(hours=1), True),
        (NOW - DAY, NOW + timedelta(hours=1), False),
    ],
)
def test_without_a_status_the_end_or_the_age_tells(
    submitted: datetime, ended: datetime | None, *, expected: bool
) -> None:
    """A list may lack statuses; a job cannot run for longer than eight days."""
    assert timedelta(days=8) == LONGEST_JOB
    job = ListedJob(ARN, "nightly", None, submitted, ended)
    assert is_backfill(job, bookmark=BOOKMARK, wanted=EVERY) == expected


def test_the_filter_holds() -> None:
    """A job that discovery would not take up is not backfilled either."""
    job = ListedJob(ARN, "nightly", "Failed", NOW - DAY)
    assert is_backfill(job, bookmark=BOOKMARK, wanted=JobFilter("night"))
    assert not is_backfill(job, bookmark=BOOKMARK, wanted=JobFilter("day"))


@given(times, st.none() | times, days)
def test_the_window_goes_back_from_where_it_came(
    now: datetime, since: datetime | None, reach: timedelta
) -> None:
    """It ends where the last one had come to, or where discovery began, and begins at the reach."""
    bookmark = Bookmark(began_at=now, seen_until=now)
    window = open_window(bookmark, since, now=now, reach=reach)
    reached = now if since is None else since
    assert (window is None) == (reached <= now - reach)
    if window is not None:
        assert window.after == now - reach
        assert reached < window.before <= reached + timedelta(seconds=1)
        # Once it has come there, nothing is left, now or later.
        later = now + DAY
        assert open_window(bookmark, window.after, now=later, reach=reach) is None
        assert open_window(bookmark, window.after, now=now, reach=reach + DAY) is not None


@given(st.sampled_from(statuses.KNOWN), st.integers(min_value=1, max_value=5), st.booleans())
def test_only_an_end_at_first_sight_is_quiet(
    status: str,
    sequence: int,
    emits: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    """A job that was taken for finished, and runs, owes what any other does."""
    entry = HistoryEntry(ARN, sequence, status, NOW, "poll")
    usual = marks_for(entry, emit_status_changes=emits)
    quiet = marks_for(entry, emit_status_changes=emits, backfilled=True)
    is_quiet = sequence == 1 and statuses.is_terminal(status)
    assert quiet == (frozenset() if is_quiet else usual)
