from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.backfill import Window, is_backfill, open_window
from bedrock_batch_monitor.domain.discovery import LONGEST_JOB, Bookmark, JobFilter, tracking_of
from bedrock_batch_monitor.domain.events import pending_for
from bedrock_batch_monitor.domain.jobs import HistoryEntry, JobObservation, TrackedJob
from bedrock_batch_monitor.domain.list_pages import ListedJob
from bedrock_batch_monitor.domain.transitions import Transition, decide
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, any_status, optional_times, times

DAY = timedelta(days=1)
BOOKMARK = Bookmark(began_at=NOW, seen_until=NOW)
EVERY = JobFilter()
days = st.integers(min_value=0, max_value=365).map(lambda number: number * DAY)


@given(any_status, times, optional_times)
def test_job_is_either_discovered_or_backfilled(
    status: str, submitted: datetime, ended: datetime | None
) -> None:
    """A job that ended before discovery began is backfilled; discovery tracks every other job."""
    job = ListedJob(ARN, "nightly", status, submitted, ended)
    is_tracked = tracking_of(job, bookmark=BOOKMARK, now=NOW, wanted=EVERY) is not None
    assert is_tracked != is_backfill(job, bookmark=BOOKMARK, now=NOW, wanted=EVERY)
    assert is_tracked or statuses.is_terminal(status)


@pytest.mark.parametrize(
    ("submitted", "ended", "expected"),
    [
        (NOW - 9 * DAY, None, True),
        (NOW - 7 * DAY, None, False),
        (NOW - DAY, NOW - timedelta(hours=1), True),
        (NOW - DAY, NOW + timedelta(hours=1), False),
        # An implausible end is ignored: the age decides.
        (NOW - 9 * DAY, NOW + DAY, True),
        (NOW - DAY, NOW.replace(year=1), False),
        (NOW + DAY, None, False),
    ],
)
def test_job_without_a_status_is_backfilled_by_its_end_or_its_age(
    submitted: datetime, ended: datetime | None, *, expected: bool
) -> None:
    """A list may lack statuses; no job runs for longer than eight days."""
    assert timedelta(days=8) == LONGEST_JOB
    job = ListedJob(ARN, "nightly", None, submitted, ended)
    assert is_backfill(job, bookmark=BOOKMARK, now=NOW, wanted=EVERY) == expected


def test_backfill_respects_the_job_filter() -> None:
    """A job that discovery would not track is not backfilled either."""
    job = ListedJob(ARN, "nightly", "Failed", NOW - DAY)
    assert is_backfill(job, bookmark=BOOKMARK, now=NOW, wanted=JobFilter("night"))
    assert not is_backfill(job, bookmark=BOOKMARK, now=NOW, wanted=JobFilter("day"))


@given(times.filter(lambda now: now.year > 2021), st.none() | days, days)
def test_window_ends_where_the_last_one_began(
    now: datetime, back: timedelta | None, reach: timedelta
) -> None:
    """Or where discovery began, if it is the first. It begins at the limit of the backfill."""
    since = None if back is None else now - back
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


@pytest.mark.parametrize("since", [NOW + DAY, NOW.replace(year=1)])
def test_implausible_progress_restarts_the_backfill(since: datetime) -> None:
    """A stored time that is implausible must not end the backfill before its limit."""
    window = open_window(BOOKMARK, since, now=NOW, reach=DAY)
    assert window == open_window(BOOKMARK, None, now=NOW, reach=DAY)


@given(st.sampled_from(statuses.KNOWN), st.integers(min_value=1, max_value=5), st.booleans())
def test_backfilled_job_has_no_pending_event_if_first_read_as_ended(
    status: str,
    sequence: int,
    emits: bool,  # noqa: FBT001 - drawn by Hypothesis
) -> None:
    """A job that was backfilled but still runs has the pending events of any other job."""
    identity = "an-id" if statuses.is_terminal(status) else None
    entry = HistoryEntry(ARN, sequence, status, NOW, "poll", event_id=identity)
    usual = pending_for([entry], emit_status_changes=emits)
    assert pending_for([replace(entry, backfilled=True)], emit_status_changes=emits) == frozenset()
    job = TrackedJob(ARN, sequence=sequence - 1, backfilled=True)
    if sequence > 1:
        job = replace(job, status="InProgress" if status != "InProgress" else "Scheduled")
    observation = JobObservation(ARN, status)
    decision = decide(job, observation, now=NOW, observed_by="poll", rules=RULES)
    if isinstance(decision, Transition):
        is_quiet = sequence == 1 and statuses.is_terminal(status)
        found = pending_for([decision.entry], emit_status_changes=emits)
        assert found == (frozenset() if is_quiet else usual)


def test_window_is_from_the_limit_to_a_second_after_what_is_recorded() -> None:
    """Whether the list includes its last moment is not documented."""
    began = BOOKMARK.began_at
    second = timedelta(seconds=1)
    first = open_window(BOOKMARK, None, now=NOW, reach=9 * DAY)
    assert first == Window(NOW - 9 * DAY, began + second)
    assert open_window(BOOKMARK, NOW - 2 * DAY, now=NOW, reach=9 * DAY) == Window(
        NOW - 9 * DAY, NOW - 2 * DAY + second
    )
    assert open_window(BOOKMARK, NOW - 9 * DAY, now=NOW, reach=9 * DAY) is None


@pytest.mark.parametrize(
    ("status", "submitted", "ended", "expected"),
    [
        ("Failed", timedelta(0), timedelta(seconds=1), True),
        ("Failed", DAY, timedelta(0), False),
        ("Failed", timedelta(seconds=1), None, True),
        ("Failed", timedelta(0), None, False),
        ("InProgress", 9 * DAY, 9 * DAY, False),
        # Without a status, the longest time that a job can take decides.
        (None, 8 * DAY + timedelta(seconds=1), None, True),
        (None, 8 * DAY, None, False),
        (None, DAY, timedelta(seconds=1), True),
    ],
)
def test_job_that_ended_before_discovery_began_is_backfilled(
    status: str | None, submitted: timedelta, ended: timedelta | None, *, expected: bool
) -> None:
    """The times are before discovery began."""
    began = BOOKMARK.began_at
    job = ListedJob(
        ARN, "nightly", status, began - submitted, None if ended is None else began - ended
    )
    assert is_backfill(job, bookmark=BOOKMARK, now=NOW, wanted=JobFilter()) == expected
