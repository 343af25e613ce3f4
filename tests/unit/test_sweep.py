from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import JobError, JobObservation, RecordCounts, TrackedJob
from bedrock_batch_monitor.domain.lists import ListedJob
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.summary import PollSummary
from bedrock_batch_monitor.domain.sweep import (
    ANY_STATUS,
    FullRead,
    LastRead,
    Outlook,
    Progress,
    SweepBookmark,
    choose,
    must_be_got,
    needs_get,
)
from bedrock_batch_monitor.domain.transitions import Unchanged, decide
from tests.support.monitor import RULES
from tests.support.strategies import (
    ARN,
    NOW,
    all_rules,
    any_status,
    counts,
    optional_times,
    times,
    tracked_jobs,
)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

by_status = st.dictionaries(
    st.sampled_from(statuses.NON_TERMINAL), st.integers(min_value=1, max_value=20_000)
)
sizes = st.dictionaries(
    st.sampled_from([ANY_STATUS, *statuses.NON_TERMINAL]), st.integers(min_value=1, max_value=500)
)
outlooks = st.builds(
    Outlook,
    by_status=by_status,
    submitted_from=times,
    sizes=sizes,
    changing=st.floats(min_value=0, max_value=1),
    discovery_from=optional_times,
)
summaries = st.builds(
    ListedJob,
    job_arn=st.just(ARN),
    job_name=st.just("nightly"),
    status=st.none() | any_status,
    submit_time=times,
    end_time=optional_times,
    last_modified_time=optional_times,
    counts=counts,
)
JOB = TrackedJob(
    ARN,
    sequence=2,
    status="InProgress",
    last_modified_time=NOW - HOUR,
    counts=RecordCounts(100, 10, 10, 0),
    progress_at=NOW - HOUR,
    submit_time=NOW - DAY,
)
SUMMARY = ListedJob(
    ARN, "nightly", "InProgress", NOW - DAY, None, NOW - HOUR, RecordCounts(100, 10, 10, 0)
)


# Which costs fewer calls


def outlook(jobs: Mapping[str, int], *, discovers: bool = False, **known: object) -> Outlook:
    """What is known of so many jobs in each status."""
    since = NOW - HOUR if discovers else None
    return Outlook(jobs, NOW - DAY, discovery_from=since, **known)  # type: ignore[arg-type]


@given(outlooks)
def test_no_plan_costs_more_than_to_get_each(known: Outlook) -> None:
    """Whatever is known, no plan has more calls to expect than one that gets each job."""
    of_discovery = 0 if known.discovery_from is None else 1
    assert choose(known).calls <= known.jobs + of_discovery


@given(outlooks)
def test_every_list_of_a_plan_is_worth_its_pages(known: Outlook) -> None:
    """A list is given up after a number of pages that is bounded by what was expected of it."""
    plan = choose(known)
    for planned in plan.lists:
        expected = known.pages(planned.listing.status or ANY_STATUS, known.jobs)
        assert 1 < planned.most_pages <= 2 * expected + 5
        assert planned.listing.submitted_after < known.submitted_from


@given(
    st.lists(st.integers(min_value=0, max_value=10_000), min_size=5, max_size=5).filter(
        lambda jobs: sum(jobs) == 10_000
    )
    | st.permutations([9996, 1, 1, 1, 1])
    | st.permutations([2001, 1999, 2001, 1999, 2000])
    | st.permutations([10_000, 0, 0, 0, 0])
)
def test_ten_thousand_jobs_take_ten_pages(jobs: list[int]) -> None:
    """In whatever statuses they are, one list tells of all of them, and serves discovery."""
    held = {
        status: count for status, count in zip(statuses.NON_TERMINAL, jobs, strict=True) if count
    }
    plan = choose(outlook(held, discovers=True))
    assert plan.calls == 10
    assert plan.serves_discovery


def test_ended_jobs_make_lists_by_status_the_cheaper_ones() -> None:
    """Where the list of all is known to be long, the statuses are listed one by one."""
    held = {"InProgress": 9_000, "Scheduled": 998, "Stopping": 1, "Validating": 1}
    plan = choose(outlook(held, discovers=True, sizes={ANY_STATUS: 120}))
    # One job alone in its status costs a Get, which is as cheap and does not lag.
    assert [(p.listing.status, p.most_pages) for p in plan.lists] == [
        ("InProgress", 10),
        ("Scheduled", 2),
    ]
    assert plan.calls == 9 + 1 + 2 + 1
    assert not plan.serves_discovery


def test_a_list_of_all_may_be_ruled_out() -> None:
    """After one that was too long, what is left is listed by status."""
    plan = choose(outlook({"InProgress": 100}), may_list_all=False)
    assert [planned.listing.status for planned in plan.lists] == ["InProgress"]


def test_many_changes_make_lists_useless() -> None:
    """If every job has to be got after all, a list only adds to it."""
    assert choose(outlook({"InProgress": 5_000}, changing=1.0)).lists == ()
    assert choose(outlook({"InProgress": 5_000}, changing=0.5)).lists != ()


def test_the_list_for_discovery_reaches_back_far_enough() -> None:
    """One list serves both: it begins with whatever is earlier."""
    early = replace(outlook({"InProgress": 100}), discovery_from=NOW - 3 * DAY)
    [planned] = choose(early).lists
    assert planned.listing.submitted_after == NOW - 3 * DAY


# What a summary may spare


def test_an_unchanged_job_is_spared() -> None:
    """A summary that agrees with what is recorded spares the Get."""
    assert not needs_get(JOB, SUMMARY, now=NOW, rules=RULES)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": None},
        {"status": "Completed"},
        {"status": "Scheduled"},
        {"status": "Paused"},
        {"last_modified_time": NOW - 2 * HOUR},
        {"last_modified_time": NOW - MINUTE},
        {"counts": RecordCounts(100, 11, 11, 0)},
        {"counts": RecordCounts()},
    ],
)
def test_what_asks_for_a_get(changes: dict[str, object]) -> None:
    """No status, another one, an older or newer time, counts that moved: Get must tell."""
    assert needs_get(JOB, replace(SUMMARY, **changes), now=NOW, rules=RULES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 0, "status": None},
        {"status": "Paused"},
        {"submit_time": None},
        {"last_error": JobError("AccessDeniedException", "no")},
        {"unreadable_polls": 1},
    ],
)
def test_whom_no_summary_spares(changes: dict[str, object]) -> None:
    """Never seen, in an unknown status, not to be listed, or in trouble: the job is got."""
    job = replace(JOB, **changes)  # type: ignore[arg-type]
    summary = replace(SUMMARY, status=job.status)
    assert must_be_got(job)
    assert needs_get(job, summary, now=NOW, rules=RULES)


def test_a_stall_is_found_by_a_get() -> None:
    """A job that has stood still for long enough is got, for without it nobody would be told."""
    rules = replace(RULES, stalled_after=HOUR)
    assert needs_get(JOB, SUMMARY, now=NOW, rules=rules)
    assert not needs_get(JOB, SUMMARY, now=NOW - MINUTE, rules=rules)
    stalled = replace(JOB, stalled_since=NOW - HOUR)
    assert not needs_get(stalled, SUMMARY, now=NOW, rules=rules)


def test_counts_that_moved_wait_for_their_time() -> None:
    """What would not be written yet is not asked for either."""
    recently = replace(JOB, progress_at=NOW - MINUTE)
    moved = replace(
        SUMMARY, counts=RecordCounts(100, 50, 50, 0), last_modified_time=NOW - timedelta(seconds=1)
    )
    assert not needs_get(recently, moved, now=NOW, rules=RULES)
    assert needs_get(recently, moved, now=NOW + 5 * MINUTE, rules=RULES)


def test_a_time_that_a_get_has_told_is_no_news() -> None:
    """Of a newer lastModifiedTime with nothing behind it, one Get is enough."""
    newer = replace(SUMMARY, last_modified_time=NOW - MINUTE)
    known = LastRead(at=NOW - 10 * MINUTE, last_modified_time=NOW - MINUTE)
    assert not needs_get(JOB, newer, now=NOW, rules=RULES, last_read=known)
    older = replace(known, last_modified_time=NOW - 2 * MINUTE)
    assert needs_get(JOB, newer, now=NOW, rules=RULES, last_read=older)
    just_now = replace(older, at=NOW - MINUTE)
    assert not needs_get(JOB, newer, now=NOW, rules=RULES, last_read=just_now)


@given(tracked_jobs, st.none() | summaries, times, all_rules)
def test_nothing_that_would_change_is_spared(
    job: TrackedJob, summary: ListedJob | None, now: datetime, rules: Rules
) -> None:
    """Only a job is spared of which the summary, were it an answer, would change nothing."""
    job = replace(job, submit_time=NOW)
    if needs_get(job, summary, now=now, rules=rules):
        return
    assert summary is not None
    assert summary.status == job.status
    assert statuses.is_known(summary.status or "")
    answer = JobObservation(
        ARN,
        summary.status or "",
        last_modified_time=summary.last_modified_time,
        counts=summary.counts,
    )
    assert decide(job, answer, now=now, observed_by="poll", rules=rules) == Unchanged()


def test_a_listed_job_counts_like_one_that_was_got() -> None:
    """It was read, and it is stalled or at risk as long as its item says so."""
    summary = PollSummary()
    summary.count_listed(JOB, RULES)
    stalled = replace(JOB, stalled_since=NOW, at_risk_since=NOW)
    summary.count_listed(stalled, RULES)
    summary.count_listed(stalled, replace(RULES, emit_at_risk=True))
    assert (summary.jobs_read, summary.jobs_listed) == (3, 3)
    assert (summary.jobs_stalled, summary.jobs_at_risk) == (2, 1)


# Whose turn comes anyway
full_reads = st.builds(
    FullRead,
    period=st.integers(min_value=1, max_value=168).map(lambda hours: timedelta(hours=hours)),
    poll_interval=st.integers(min_value=1, max_value=60).map(
        lambda minutes: timedelta(minutes=minutes)
    ),
)


def arns(count: int) -> list[str]:
    """The ARNs of so many jobs."""
    return [f"{ARN[:-6]}{number:06}" for number in range(count)]


def taken_by_each_poll(full_read: FullRead, *, jobs: int, polls: int) -> list[int]:
    """How many of so many jobs each poll of a series gets because it is their turn."""
    names, progress, taken = arns(jobs), Progress(NOW), []
    for poll in range(1, polls + 1):
        now = NOW + poll * full_read.poll_interval
        due = full_read.due(names, progress, now)
        progress = full_read.after(names, progress, due, now)
        taken.append(len(due))
    return taken


def test_ten_thousand_jobs_take_seven_calls_a_poll() -> None:
    """The share is even: never more than that of the day."""
    taken = taken_by_each_poll(FullRead(DAY, MINUTE), jobs=10_000, polls=240)
    assert max(taken) == 7
    assert sum(taken) / len(taken) == pytest.approx(7, abs=0.1)


def test_turns_that_wait_for_long_take_one_call_more() -> None:
    """A round is shorter than the period, so turns pile up slowly, and then there are eight."""
    taken = taken_by_each_poll(FullRead(DAY / 8, MINUTE), jobs=1250, polls=1440)
    assert max(taken[:20]) <= 7
    assert max(taken[20:]) == 8
    assert sum(taken) / len(taken) == pytest.approx(7.25, abs=0.1)


def test_a_day_takes_every_turn_once() -> None:
    """Polls once a minute take each job once in a round of 23 hours, in equal parts."""
    full_read, jobs = FullRead(DAY, MINUTE), arns(500)
    progress, taken = Progress(NOW), list[str]()
    for poll in range(1, 24 * 60 + 1):
        due = full_read.due(jobs, progress, NOW + poll * MINUTE)
        progress = full_read.after(jobs, progress, due, NOW + poll * MINUTE)
        assert len(due) <= 1
        taken += due
    assert set(taken) == set(jobs)
    assert 500 <= len(taken) <= 525


def test_without_knowledge_every_job_is_got() -> None:
    """After a first deployment, or days without a poll, every job is late."""
    full_read, jobs = FullRead(DAY, MINUTE), arns(500)
    for progress in (Progress(), Progress(NOW - 3 * DAY)):
        assert full_read.due(jobs, progress, NOW) == set(jobs)
        assert full_read.after(jobs, progress, jobs, NOW) == Progress(NOW)


def test_whoever_missed_a_round_is_late_at_once() -> None:
    """After a poll that got nothing for longer than a round, the next one gets every job."""
    full_read, jobs = FullRead(HOUR, MINUTE), arns(40)
    for minutes in range(60):
        begin = NOW + minutes * MINUTE
        failed = begin + 90 * MINUTE
        progress = full_read.after(jobs, Progress(begin), [], failed)
        assert full_read.due(jobs, progress, failed + MINUTE) == set(jobs)


def test_where_polls_are_rare_each_gets_all() -> None:
    """A period that is no longer than the interval leaves no job out of any poll."""
    full_read, jobs = FullRead(HOUR, HOUR), arns(50)
    assert full_read.due(jobs, Progress(NOW), NOW + HOUR) == set(jobs)


def test_a_job_that_fails_holds_up_no_other() -> None:
    """Its turn stays open, the others are taken and not taken again."""
    full_read, jobs = FullRead(DAY, MINUTE), arns(1_000)
    progress, failing, taken = Progress(NOW), None, list[str]()
    for poll in range(1, 300):
        now = NOW + poll * MINUTE
        due = full_read.due(jobs, progress, now)
        failing = failing or next(iter(due), None)
        got = due - {failing}
        taken += got
        progress = full_read.after(jobs, progress, got, now)
        if failing is not None:
            assert failing in full_read.due(jobs, progress, now)
    assert len(taken) == len(set(taken)) > 100


@given(
    full_reads,
    st.lists(
        st.tuples(
            st.integers(min_value=1, max_value=90),
            st.sampled_from(["whole", "whole", "whole", "nothing got", "half got", "cold"]),
        ),
        min_size=50,
        max_size=200,
    ),
    st.integers(min_value=1, max_value=40),
)
def test_every_job_is_got_within_the_period(
    full_read: FullRead, polls: list[tuple[int, str]], count: int
) -> None:
    """Whatever polls are missed, fail, stop half-way or have no memory, none is forgotten.

    A job waits no longer than the period, the time in which polls did not do what they were to do,
    and the gap between the polls.
    """
    jobs = arns(count)
    now, stored, progress = NOW, None, Progress(NOW)
    last_got = dict.fromkeys(jobs, now)
    lost = timedelta(0)
    for minutes, kind in polls:
        before, now = now, now + minutes * MINUTE
        if kind == "cold":
            progress = Progress(NOW if stored is None else stored.read_until)
        due = full_read.due(jobs, progress, now)
        got = {"nothing got": [], "half got": sorted(due)[::2]}.get(kind, due)
        for arn in got:
            last_got[arn] = now
        progress = full_read.after(jobs, progress, got, now)
        assert progress.until is not None
        bookmark = SweepBookmark(progress.until, {}, now)
        if bookmark.is_worth_writing(stored, full_read.period):
            stored = bookmark
        lost = lost + (now - before) if kind in {"nothing got", "half got"} else timedelta(0)
        longest = full_read.period + lost + minutes * MINUTE
        assert all(now - at <= longest for at in last_got.values())


@given(full_reads, times, st.timedeltas(min_value=-DAY, max_value=DAY))
def test_a_clock_that_is_set_skips_no_turn(
    full_read: FullRead, now: datetime, step: timedelta
) -> None:
    """After the clock was set, forwards or back, a round still takes every turn."""
    jobs, progress = arns(20), Progress(now)
    now, taken = now + step, set[str]()
    end = now + full_read.period
    while now < end:
        now += full_read.poll_interval
        due = full_read.due(jobs, progress, now)
        taken |= due
        progress = full_read.after(jobs, progress, due, now)
    assert taken == set(jobs)
