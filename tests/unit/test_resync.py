from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.times import from_iso, to_iso, to_milliseconds
from bedrock_batch_monitor.listing.resync import (
    UNREACHABLE_LANE,
    Lane,
    ResyncLane,
    reachable_lane,
    remember,
)
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, times

MILLISECOND = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

lanes = st.builds(
    ResyncLane,
    st.integers(min_value=1, max_value=168).map(lambda hours: timedelta(hours=hours))
    | st.just(15 * MINUTE)
    | st.timedeltas(min_value=MILLISECOND, max_value=2 * DAY),
)
# Times between polls: mostly a minute, sometimes an outage.
gaps = st.lists(
    st.integers(min_value=1, max_value=90).map(lambda minutes: timedelta(minutes=minutes))
    | st.timedeltas(min_value=MILLISECOND, max_value=3 * DAY),
    min_size=1,
    max_size=60,
)


class Poll(NamedTuple):
    """The time since the poll before, and what is due at its end."""

    begin: datetime
    until: datetime
    due: frozenset[str]


def arns(count: int) -> list[str]:
    """The ARNs of so many jobs, whose ids follow each other."""
    return [f"{ARN[:-6]}{number:06}" for number in range(count)]


def random_arns(count: int) -> list[str]:
    """The ARNs of so many jobs, whose ids are as Bedrock's."""
    source = random.Random(count)  # noqa: S311 - the same each time
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    return [ARN[:-12] + "".join(source.choices(alphabet, k=12)) for _ in range(count)]


# Every job, once per period


@given(lanes, times, gaps)
def test_every_job_is_due_within_each_period_while_polls_conclude(
    lane: ResyncLane, now: datetime, gaps: list[timedelta]
) -> None:
    """Polls that together cover a period read every job, however they are spaced."""
    jobs, cursor = arns(20), now
    polls: list[Poll] = []
    for gap in gaps:
        begin, now = now, now + gap
        due = lane.due(jobs, cursor, now)
        cursor = lane.advance(jobs, cursor, due, now)
        assert cursor == to_milliseconds(now)
        polls.append(Poll(begin, now, due))
        # The polls of the last period, and the one whose time it cuts.
        covered = [poll for poll in polls if poll.until > now - lane.period]
        if covered[0].begin <= now - lane.period:
            assert set().union(*(poll.due for poll in covered)) == set(jobs)


@given(lanes, times, st.lists(st.floats(min_value=0, max_value=1), min_size=2, max_size=60))
def test_concluded_job_is_read_once_per_period_while_others_conclude(
    lane: ResyncLane, start: datetime, moments: list[float]
) -> None:
    """Polls within one period never read a job twice."""
    jobs, cursor, taken = arns(20), start, list[str]()
    for moment in sorted(moments):
        now = start + moment * lane.period
        due = lane.due(jobs, cursor, now)
        cursor = lane.advance(jobs, cursor, due, now)
        taken += due
    assert len(taken) == len(set(taken))


@given(lanes, times, gaps)
def test_job_without_conclusion_is_due_in_every_poll(
    lane: ResyncLane, now: datetime, gaps: list[timedelta]
) -> None:
    """A job stays due from its resync time until its read is concluded, whatever else is read."""
    jobs, cursor, is_due = arns(20), now, False
    failing = jobs[7]
    for gap in gaps:
        now += gap
        due = lane.due(jobs, cursor, now)
        assert failing in due or not is_due
        is_due = failing in due
        cursor = lane.advance(jobs, cursor, due - {failing}, now)
    assert failing not in lane.due(jobs, lane.advance(jobs, cursor, jobs, now), now)


def test_read_whose_write_failed_is_repeated_in_the_next_poll() -> None:
    """A read that reached no conclusion does not count as the resync: no change is a day late."""
    lane, jobs = ResyncLane(6 * HOUR), arns(8)
    for which in jobs:
        now, cursor = NOW, NOW
        while which not in lane.due(jobs, cursor, now):
            cursor = lane.advance(jobs, cursor, jobs, now)
            now += MINUTE
        cursor = lane.advance(jobs, cursor, set(jobs) - {which}, now)
        assert lane.due(jobs, cursor, now + MINUTE) >= {which}
        cursor = lane.advance(jobs, cursor, jobs, now + MINUTE)
        assert which not in lane.due(jobs, cursor, now + 2 * MINUTE)


@given(
    st.integers(min_value=1, max_value=48).map(lambda hours: ResyncLane(timedelta(hours=hours))),
    st.lists(
        st.tuples(
            st.integers(min_value=1, max_value=90),
            st.sampled_from(["whole", "whole", "whole", "nothing", "half", "cold"]),
        ),
        min_size=50,
        max_size=150,
    ),
    st.sampled_from(["remembers", "forgets"]),
)
def test_job_waits_at_most_a_period_and_the_time_without_conclusions(
    lane: ResyncLane, polls: list[tuple[int, str]], process: str
) -> None:
    """Whatever polls are missed, fail, stop halfway or start from a stored cursor."""
    jobs = arns(20)
    now, cursor, stored = NOW, NOW, NOW
    memory: dict[str, datetime] = {}
    last_read = dict.fromkeys(jobs, now)
    lost = timedelta(0)
    for minutes, kind in polls:
        gap = minutes * MINUTE
        now += gap
        if kind == "cold":
            cursor, memory = from_iso(to_iso(stored)), {}
        due = lane.due(jobs, cursor, now, memory)
        concluded = {"nothing": frozenset[str](), "half": frozenset(sorted(due)[::2])}.get(
            kind, due
        )
        last_read |= dict.fromkeys(concluded, now)
        cursor = lane.advance(jobs, cursor, concluded, now, memory)
        if process == "remembers":
            memory = remember(memory, concluded, cursor=cursor, now=now)
        if lane.is_worth_saving(cursor, stored):
            stored = cursor
        lost = lost + gap if kind in {"nothing", "half"} else timedelta(0)
        assert all(now - at <= lane.period + lost + gap for at in last_read.values())


@given(lanes, times)
def test_cursor_is_just_before_the_first_job_without_conclusion(
    lane: ResyncLane, now: datetime
) -> None:
    """So that no job with an earlier resync time is read again."""
    jobs = arns(20)
    due = lane.due(jobs, None, now)
    cursor = lane.advance(jobs, None, due - {jobs[7]}, now)
    assert jobs[7] in lane.due(jobs, cursor, now)
    assert jobs[7] not in lane.due(jobs, cursor + MILLISECOND, now)


def test_job_that_was_read_for_another_reason_is_concluded() -> None:
    """A poll that fetched every job leaves no job to resync, in any lane."""
    lane, jobs = ResyncLane(HOUR), arns(50)
    assert lane.advance(jobs, NOW - HOUR, jobs, NOW) == NOW


# The cursor


@pytest.mark.parametrize(
    "cursor", [None, datetime(1, 1, 1, tzinfo=UTC), NOW - 3 * DAY, NOW - HOUR], ids=str
)
def test_every_job_is_due_when_the_cursor_is_unknown_or_a_period_old(
    cursor: datetime | None,
) -> None:
    """After the first deployment, a lost cursor or a long outage, each job is read once."""
    lane, jobs = ResyncLane(HOUR), arns(500)
    assert lane.due(jobs, cursor, NOW) == set(jobs)
    assert lane.advance(jobs, cursor, jobs, NOW) == NOW
    # Nothing was read: all stay due, and the cursor has not moved further back than a period.
    held = lane.advance(jobs, cursor, [], NOW)
    assert NOW - HOUR <= held < NOW - HOUR + MINUTE
    assert lane.due(jobs, held, NOW) == set(jobs)


def test_cursor_in_the_future_counts_as_now() -> None:
    """It neither makes jobs due nor keeps them from their next resync times."""
    lane, jobs = ResyncLane(HOUR), arns(50)
    for future in (NOW + MILLISECOND, NOW + 400 * DAY, datetime.max.replace(tzinfo=UTC)):
        assert lane.due(jobs, future, NOW) == frozenset()
        assert lane.advance(jobs, future, [], NOW) == NOW
        assert lane.is_worth_saving(NOW, future)


@given(
    lanes,
    times,
    st.timedeltas(min_value=-400 * DAY, max_value=400 * DAY)
    | st.timedeltas(min_value=-HOUR, max_value=HOUR),
    st.integers(min_value=0, max_value=3),
)
def test_every_job_is_due_within_a_period_after_the_clock_was_set(
    lane: ResyncLane, now: datetime, step: timedelta, failing: int
) -> None:
    """Forwards or back, also if a read holds the cursor back: within a period and one poll."""
    jobs = arns(20)
    concluded = frozenset(jobs[failing:])
    cursor = lane.advance(jobs, None, concluded, now)
    memory = remember({}, concluded, cursor=cursor, now=now)
    now, interval, taken = now + step, lane.period / 10 + MILLISECOND, set[str]()
    for _ in range(11):
        now += interval
        due = lane.due(jobs, cursor, now, memory)
        taken |= due
        cursor = lane.advance(jobs, cursor, due, now, memory)
        memory = remember(memory, due, cursor=cursor, now=now)
    assert taken == set(jobs)


@given(lanes, times, st.timedeltas(min_value=MILLISECOND, max_value=3 * DAY))
def test_cursor_is_unchanged_after_storage(lane: ResyncLane, now: datetime, gap: timedelta) -> None:
    """Times are stored in milliseconds and UTC; neither skips a resync time nor repeats one."""
    jobs = arns(20)
    due = lane.due(jobs, now, now + gap)
    for concluded in (due, frozenset(sorted(due)[1:])):
        cursor = lane.advance(jobs, now, concluded, now + gap)
        stored = from_iso(to_iso(cursor))
        assert stored == cursor
        local = stored.astimezone(timezone(timedelta(hours=-7)))
        later = now + gap + HOUR
        assert lane.due(jobs, local, later) == lane.due(jobs, cursor, later)


def test_cursor_is_saved_when_it_lags_by_an_hour() -> None:
    """A stored cursor lags by at most a part of the period."""
    lane = ResyncLane(DAY)
    assert lane.is_worth_saving(NOW, None)
    assert not lane.is_worth_saving(NOW, NOW)
    assert not lane.is_worth_saving(NOW, NOW - HOUR + MILLISECOND)
    assert lane.is_worth_saving(NOW, NOW - HOUR)


@pytest.mark.parametrize("period", [timedelta(0), -HOUR, timedelta(microseconds=999)])
def test_period_without_a_slot_is_refused(period: timedelta) -> None:
    """The error contains the value and what is allowed."""
    with pytest.raises(ValueError, match=r"resync period of .* too short: use one millisecond"):
        ResyncLane(period)


def test_empty_lane_moves_the_cursor_to_now() -> None:
    """A lane that was empty for long has nothing to catch up when a job is added."""
    assert ResyncLane(HOUR).advance([], None, [], NOW) == NOW


# What it costs


@pytest.mark.parametrize("named", [arns, random_arns])
@pytest.mark.parametrize(("period", "jobs"), [(3 * HOUR, 1_800), (15 * MINUTE, 600)])
def test_reads_are_spread_over_the_polls(named: object, period: timedelta, jobs: int) -> None:
    """N jobs and P polls per period: N/P per poll on average, and never more than 3 N/P."""
    names = named(jobs)  # type: ignore[operator]
    lane, polls = ResyncLane(period), period // MINUTE
    taken = [
        len(lane.due(names, NOW + poll * MINUTE, NOW + (poll + 1) * MINUTE))
        for poll in range(polls)
    ]
    assert sum(taken) == jobs
    assert max(taken) <= 3 * jobs / polls


def test_failing_job_does_not_repeat_the_remembered_reads_of_others() -> None:
    """For two periods in which a job is never concluded, the others are read once in each."""
    lane, jobs = ResyncLane(HOUR), arns(300)
    cursor, memory, taken, failing = NOW, dict[str, datetime](), list[str](), jobs[150]
    for poll in range(1, 121):
        now = NOW + poll * MINUTE
        due = lane.due(jobs, cursor, now, memory)
        concluded = due - {failing}
        taken += concluded
        cursor = lane.advance(jobs, cursor, concluded, now, memory)
        memory = remember(memory, concluded, cursor=cursor, now=now)
    assert failing in due
    assert Counter(taken) == Counter({arn: 2 for arn in jobs if arn != failing})


def test_memory_of_reads_is_empty_once_the_cursor_is_at_now() -> None:
    """The memory lasts as long as a read holds the cursor back."""
    held = remember({}, ["a"], cursor=NOW - MINUTE, now=NOW)
    assert held == {"a": NOW}
    later = NOW + MINUTE
    assert remember(held, ["b"], cursor=NOW - MILLISECOND, now=later) == {"a": NOW, "b": later}
    assert remember(held, ["b"], cursor=NOW, now=later) == {"b": later}
    assert remember(held, ["b"], cursor=later, now=later) == {}
    # A clock that was set back: reads in the future say nothing about the resync times to come.
    assert remember(held, [], cursor=NOW - HOUR, now=NOW - MINUTE) == {}


@given(lanes, times)
def test_read_counts_from_the_resync_time_of_the_job_on(lane: ResyncLane, now: datetime) -> None:
    """A read of the future says nothing, because the clock was set back since."""
    job = ARN
    slot = lane.advance([job], None, [], now) + MILLISECOND
    before, after = slot - MILLISECOND, to_milliseconds(now) + MILLISECOND
    assert lane.due([job], None, now, {job: before}) == {job}
    assert lane.due([job], None, now, {job: slot}) == frozenset()
    assert lane.due([job], None, now, {job: now}) == frozenset()
    assert lane.due([job], None, now, {job: after}) == {job}


def test_reads_are_remembered_from_the_cursor_to_now() -> None:
    """Others are done for good, or of a clock that was set back."""
    earlier = {
        "at the cursor": NOW - HOUR,
        "after it": NOW - HOUR + MILLISECOND,
        "now": NOW,
        "later": NOW + MILLISECOND,
    }
    kept = remember(earlier, ["read"], cursor=NOW - HOUR, now=NOW)
    assert kept == {"after it": NOW - HOUR + MILLISECOND, "now": NOW, "read": NOW}


@pytest.mark.parametrize(
    ("full_read", "poll_interval", "period"),
    [
        (24 * HOUR, MINUTE, 23 * HOUR),
        (48 * HOUR, MINUTE, 46 * HOUR),
        (HOUR, MINUTE, 57.5 * MINUTE),
        (HOUR, 10 * MINUTE, 50 * MINUTE),
        (HOUR, HOUR, HOUR),
    ],
)
def test_period_leaves_time_for_a_read_that_has_to_wait(
    full_read: timedelta, poll_interval: timedelta, period: timedelta
) -> None:
    """At least a poll, and never less than the time from one poll to the next."""
    rules = replace(RULES, full_read=full_read, poll_interval=poll_interval)
    assert reachable_lane(rules).period == period


EARLIER, LATER = NOW - 20 * MINUTE, NOW - 10 * MINUTE


@pytest.mark.parametrize(
    ("known", "stored", "cursor"),
    [
        (None, None, None),
        (None, LATER, LATER),
        (LATER, None, LATER),
        (EARLIER, LATER, LATER),
        (LATER, EARLIER, LATER),
        (EARLIER, NOW, NOW),
        (LATER, NOW + HOUR, LATER),
        (NOW + HOUR, LATER, LATER),
        (NOW + HOUR, NOW + 2 * HOUR, NOW + HOUR),
        (NOW + 2 * HOUR, NOW + HOUR, NOW + HOUR),
    ],
)
def test_lane_continues_from_the_later_of_two_cursors(
    known: datetime | None, stored: datetime | None, cursor: datetime | None
) -> None:
    """The known one and the stored one; one of the future only if there is no other."""
    lane, jobs = ResyncLane(HOUR), arns(60)
    remembered = Lane(known)
    assert remembered.due(lane, jobs, stored, NOW) == lane.due(jobs, cursor, NOW)
    assert remembered.cursor == cursor


def test_lane_remembers_what_was_read_while_a_job_holds_it_back() -> None:
    """The next poll is due only for that job, and for those whose resync time came since."""
    lane, jobs, remembered = ResyncLane(HOUR), arns(60), Lane()
    failing = min(jobs, key=lambda job: lane.advance([job], None, [], NOW))
    assert remembered.due(lane, jobs, None, NOW) == set(jobs)
    cursor = remembered.advance(lane, jobs, set(jobs) - {failing}, NOW)
    assert cursor == remembered.cursor == lane.advance([failing], None, [], NOW)
    assert remembered.due(lane, jobs, None, NOW) == {failing}
    assert remembered.advance(lane, jobs, {failing}, NOW) == to_milliseconds(NOW)
    assert remembered.due(lane, jobs, None, NOW) == frozenset()


def test_unreachable_job_is_read_four_times_an_hour() -> None:
    """By polls that are a minute apart, each job in its own one."""
    begin, minute = datetime(2026, 11, 24, tzinfo=UTC), timedelta(minutes=1)
    reads = Counter(
        arn
        for poll in range(240)
        for arn in UNREACHABLE_LANE.due(arns(8), begin + poll * minute, begin + (poll + 1) * minute)
    )
    assert reads == dict.fromkeys(arns(8), 16)


def test_shortest_period_has_one_resync_time() -> None:
    """Each job is due in each poll then."""
    lane = ResyncLane(MILLISECOND)
    assert lane.due(arns(3), NOW - MINUTE, NOW) == set(arns(3))


def test_job_is_due_from_its_resync_time_until_it_is_read() -> None:
    """An hour has one such time for each job, to the millisecond."""
    lane = ResyncLane(HOUR)
    for job in arns(5):
        slot = lane.advance([job], None, [], NOW) + MILLISECOND
        assert lane.due([job], slot - MILLISECOND, NOW) == {job}
        assert lane.due([job], slot, NOW) == frozenset()
        assert lane.due([job], None, NOW, {job: slot - MILLISECOND}) == {job}
        assert lane.due([job], None, NOW, {job: slot}) == frozenset()
