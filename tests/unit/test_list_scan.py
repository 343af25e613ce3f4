from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from unittest.mock import Mock, call

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import (
    JobError,
    JobObservation,
    ListedState,
    RecordCounts,
    TrackedJob,
)
from bedrock_batch_monitor.domain.list_pages import SUMMARIES_PER_PAGE, Listing, ListPage
from bedrock_batch_monitor.domain.list_summaries import (
    is_confirmable,
    plan_lists,
    requires_fetch,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.throttling import AdaptiveConcurrency
from bedrock_batch_monitor.domain.transitions import Unchanged, decide
from bedrock_batch_monitor.listing.list_scan import ListScan, ScanLimits
from bedrock_batch_monitor.listing.resync import ResyncLane
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


def agrees(found: RecordCounts, known: RecordCounts) -> bool:
    """Whether each count that was found is the known one."""
    return all(count in {None, before} for count, before in zip(found, known, strict=True))


summaries = st.builds(
    ListedState,
    job_arn=st.just(ARN),
    status=st.just("") | any_status,
    last_modified_time=optional_times,
    counts=counts,
    job_expiration_time=optional_times,
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
SUMMARY = ListedState(ARN, "InProgress", NOW - HOUR, None, RecordCounts(100, 10, 10, 0))


# Which jobs a summary confirms


def test_fetch_not_required_when_the_summary_agrees() -> None:
    """A summary that agrees with the recorded state saves the Get."""
    assert not requires_fetch(JOB, SUMMARY, now=NOW, rules=RULES)
    # A count that is missing is unknown, and not another one.
    without = SUMMARY._replace(counts=RecordCounts())
    assert not requires_fetch(JOB, without, now=NOW, rules=RULES)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": ""},
        {"status": "Completed"},
        {"status": "Scheduled"},
        {"status": "Paused"},
        {"last_modified_time": NOW - 2 * HOUR},
        {"counts": RecordCounts(100, 11, 11, 0)},
    ],
    ids=str,
)
def test_fetch_required_when_the_summary_differs(changes: dict[str, object]) -> None:
    """No status, another one, an older time, changed counts: only a Get can decide."""
    assert requires_fetch(JOB, SUMMARY._replace(**changes), now=NOW, rules=RULES)  # type: ignore[arg-type]


@pytest.mark.parametrize("modified", [None, NOW - MINUTE, NOW + DAY], ids=str)
def test_fetch_not_required_when_only_the_time_is_newer(modified: datetime | None) -> None:
    """Nothing that is recorded depends on a newer lastModifiedTime with the same content."""
    newer = SUMMARY._replace(last_modified_time=modified)
    assert not requires_fetch(JOB, newer, now=NOW, rules=RULES)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 0, "status": None},
        {"status": "Paused"},
        {"status": "Completed"},
        {"submit_time": None},
        {"submit_time": datetime(1, 1, 1, tzinfo=UTC)},
        {"submit_time": NOW - timedelta(days=8, milliseconds=1)},
        {"submit_time": NOW + timedelta(hours=2, milliseconds=1)},
        {"submit_time": datetime.max.replace(tzinfo=UTC)},
        {"last_error": JobError("AccessDeniedException", "no")},
        {"unreadable_polls": 1},
    ],
    ids=str,
)
def test_job_is_not_confirmable_without_a_status_and_plausible_times(
    changes: dict[str, object],
) -> None:
    """Never read, unknown or terminal status, implausible submit time, or failed reads."""
    job = replace(JOB, **changes)  # type: ignore[arg-type]
    assert not is_confirmable(job, NOW)


@pytest.mark.parametrize("submitted", [NOW - timedelta(days=8), NOW, NOW + timedelta(hours=2)])
def test_job_is_confirmable_within_the_longest_run_and_clock_tolerance(
    submitted: datetime,
) -> None:
    """Clocks may differ by two hours, and a job may run for a week after it was submitted."""
    assert is_confirmable(replace(JOB, submit_time=submitted), NOW)


def test_fetch_required_when_the_job_has_stalled() -> None:
    """A stall that is not recorded yet is recorded from a Get, and once."""
    rules = replace(RULES, stalled_after=HOUR)
    assert requires_fetch(JOB, SUMMARY, now=NOW, rules=rules)
    assert not requires_fetch(JOB, SUMMARY, now=NOW - MINUTE, rules=rules)
    stalled = replace(JOB, conditions={"Stalled": NOW - HOUR})
    assert not requires_fetch(stalled, SUMMARY, now=NOW, rules=rules)


def test_fetch_required_when_counts_are_due_to_be_saved() -> None:
    """Counts that would not be saved yet need no Get either."""
    recently = replace(JOB, progress_at=NOW - MINUTE)
    moved = SUMMARY._replace(
        counts=RecordCounts(100, 50, 50, 0), last_modified_time=NOW - timedelta(seconds=1)
    )
    assert not requires_fetch(recently, moved, now=NOW, rules=RULES)
    assert requires_fetch(recently, moved, now=NOW + 5 * MINUTE, rules=RULES)


@given(
    job=tracked_jobs,
    status=st.sampled_from(statuses.NON_TERMINAL),
    summary=summaries,
    now=times,
    rules=all_rules,
    has_same_status=st.booleans(),
)
def test_fetch_required_for_every_summary_that_would_change_something(  # noqa: PLR0913 - drawn
    job: TrackedJob,
    status: str,
    summary: ListedState,
    now: datetime,
    rules: Rules,
    *,
    has_same_status: bool,
) -> None:
    """A job is confirmed only where the summary, applied as an observation, changes nothing."""
    if has_same_status:
        summary = summary._replace(status=status)
    job = replace(
        job,
        status=status,
        submit_time=now,
        last_error=None,
        unreadable_polls=0,
        failing_since=None,
    )
    assert is_confirmable(job, now)
    answer = JobObservation(
        ARN,
        summary.status,
        last_modified_time=summary.last_modified_time,
        counts=summary.counts,
        job_expiration_time=summary.job_expiration_time,
    )
    applied = decide(job, answer, now=now, observed_by="poll", rules=rules)
    assert requires_fetch(job, summary, now=now, rules=rules) is (applied != Unchanged())


# Which lists


def jobs_in(held: Mapping[str, int], **changes: object) -> dict[str, TrackedJob]:
    """So many unchanged jobs in each status."""
    jobs = (
        replace(JOB, job_arn=f"{ARN}{status}{number}", status=status, **changes)  # type: ignore[arg-type]
        for status, count in held.items()
        for number in range(count)
    )
    return {job.job_arn: job for job in jobs}


def test_one_list_per_status_with_most_jobs_first() -> None:
    """Of equally many jobs the order of the statuses decides, whatever order the jobs have."""
    jobs = jobs_in(
        {"Stopping": 3, "InProgress": 2, "Submitted": 5, "Scheduled": 3, "Validating": 1}
    )
    expected = [("Submitted", 5), ("Scheduled", 3), ("Stopping", 3), ("InProgress", 2)]
    for order in (jobs.values(), reversed(jobs.values())):
        planned = plan_lists(order)
        assert [(each.listing.status, each.most_pages) for each in planned] == expected


def test_list_begins_just_before_the_oldest_of_its_jobs() -> None:
    """`submitTimeAfter` excludes its own moment; other statuses do not make a list longer."""
    jobs = [
        *jobs_in({"Scheduled": 2}).values(),
        *jobs_in({"InProgress": 2}, submit_time=NOW - HOUR).values(),
        replace(JOB, job_arn="oldest", submit_time=NOW - 3 * DAY),
    ]
    assert [each.listing for each in plan_lists(jobs)] == [
        Listing(NOW - 3 * DAY - timedelta(seconds=1), "InProgress"),
        Listing(NOW - DAY - timedelta(seconds=1), "Scheduled"),
    ]


@given(st.lists(tracked_jobs, max_size=30), times)
def test_planned_list_never_costs_more_calls_than_fetching_each_job(
    jobs: list[TrackedJob], submitted: datetime
) -> None:
    """For any jobs: each list has a status in which jobs can be active."""
    planned = plan_lists([replace(job, submit_time=submitted) for job in jobs])
    held = Counter(job.status for job in jobs)
    for each in planned:
        assert each.listing.status in statuses.NON_TERMINAL
        assert 1 < each.most_pages == held[each.listing.status]
    assert len({each.listing.status for each in planned}) == len(planned)


# Reading the lists

Answer = ListPage[ListedState] | ServiceError
THROTTLED = ServiceError("Bedrock", "ThrottlingException", "too many")
DENIED = ServiceError("Bedrock", "AccessDeniedException", "no")


@dataclass
class Lists:
    """Bedrock's lists: what each answers by its status, call by call."""

    answers: Mapping[str | None, Sequence[Answer]]
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)

    def states(self, listing: Listing, token: str | None) -> ListPage[ListedState]:
        """The next answer of this list."""
        number = sum(status == listing.status for status, _ in self.asked)
        self.asked.append((listing.status, token))
        answer = self.answers[listing.status][number]
        if isinstance(answer, ServiceError):
            raise answer
        return answer


def page(
    jobs: Iterable[TrackedJob], next_token: str | None = None, **changes: object
) -> ListPage[ListedState]:
    """A page that shows these jobs as they are recorded, but for the changes."""
    shown = (
        ListedState(job.job_arn, job.status or "", job.last_modified_time, counts=job.counts)
        for job in jobs
    )
    return ListPage(tuple(each._replace(**changes) for each in shown), next_token)  # type: ignore[arg-type]


@dataclass
class Scanned:
    """The result of a scan: the confirmed jobs, the calls, and the errors."""

    unchanged: frozenset[str]
    asked: list[tuple[str | None, str | None]]
    errors: Counter[str]


def scan(
    jobs: Mapping[str, TrackedJob],
    answers: Mapping[str | None, Sequence[Answer]],
    *,
    may_go_on: Callable[[], bool] = lambda: True,
    concurrency: AdaptiveConcurrency | None = None,
) -> Scanned:
    """Run a scan of jobs, which makes lists from one job on."""
    lists, errors = Lists(answers), Counter[str]()
    list_scan = ListScan(lists, RULES, lambda: NOW, fetch_each_up_to=0)  # type: ignore[arg-type]
    result = list_scan.run(
        jobs, ScanLimits(concurrency or AdaptiveConcurrency(32), errors, may_go_on)
    )
    return Scanned(result.unchanged, lists.asked, errors)


FOUR = jobs_in({"InProgress": 4})
FIRST, SECOND, THIRD, FOURTH = FOUR.values()


def test_list_is_planned_only_above_the_number_of_parallel_gets() -> None:
    """Thirty-two Gets run in parallel; the list begins with the thirty-third job."""
    lists = Lists({"InProgress": [page([])]})
    list_scan = ListScan(lists, RULES, lambda: NOW)  # type: ignore[arg-type]
    for jobs, calls in ((32, 0), (33, 1)):
        limits = ScanLimits(AdaptiveConcurrency(32), Counter(), lambda: True)
        list_scan.run(jobs_in({"InProgress": jobs}), limits)
        assert len(lists.asked) == calls


def test_scan_confirms_exactly_the_jobs_on_its_pages() -> None:
    """Pages are read to the last; jobs that are not tracked are skipped."""
    stranger = replace(JOB, job_arn="somebody else's")
    pages = [page([FIRST, stranger], "2"), page([], "3"), page([THIRD])]
    scanned = scan(FOUR, {"InProgress": pages})
    assert scanned.unchanged == {FIRST.job_arn, THIRD.job_arn}
    assert [token for _, token in scanned.asked] == [None, "2", "3"]


def test_empty_next_token_ends_a_list() -> None:
    """As botocore's paginator reads it, so that no call is made with an empty token."""
    scanned = scan(FOUR, {"InProgress": [page(FOUR.values(), "")]})
    assert scanned.unchanged == set(FOUR)
    assert scanned.asked == [("InProgress", None)]


def test_list_stops_after_as_many_pages_as_it_has_jobs() -> None:
    """What the pages confirmed stays confirmed; an endless list costs no more than the Gets."""
    endless = [page([[FIRST], []][number > 0], str(number)) for number in range(100)]
    scanned = scan(FOUR, {"InProgress": endless})
    assert scanned.unchanged == {FIRST.job_arn}
    assert len(scanned.asked) == 4


@pytest.mark.parametrize(
    ("again", "confirmed"),
    [({}, True), ({"status": "Completed"}, False), ({"job_expiration_time": NOW}, False)],
    ids=str,
)
@pytest.mark.parametrize("agrees_first", [True, False])
def test_job_on_two_pages_is_confirmed_only_if_they_agree(
    again: dict[str, object], *, confirmed: bool, agrees_first: bool
) -> None:
    """A page that shows a job as recorded does not outweigh another one."""
    shown = [page([FIRST]), page([FIRST], **again)]
    first, second = shown if agrees_first else reversed(shown)
    pages = [first._replace(next_token="2"), second]  # noqa: S106 - of a list
    assert (FIRST.job_arn in scan(FOUR, {"InProgress": pages}).unchanged) is confirmed


def test_job_that_changed_between_two_lists_is_fetched() -> None:
    """It was read in the list of its old status, and then in that of its new one."""
    jobs = jobs_in({"InProgress": 3, "Stopping": 2})
    moved, *others = jobs.values()
    scanned = scan(
        jobs,
        {
            "InProgress": [page([moved, *others[:2]])],
            "Stopping": [page([moved], status="Stopping"), page([])],
        },
    )
    assert scanned.unchanged == {job.job_arn for job in others[:2]}


def test_jobs_that_are_not_confirmable_are_not_listed() -> None:
    """They are fetched whatever a list says, and their submit times make no list longer."""
    jobs = FOUR | jobs_in({"Scheduled": 5}, submit_time=datetime(1, 1, 1, tzinfo=UTC))
    jobs |= jobs_in({"Paused": 5}) | {"new": TrackedJob("new")}
    scanned = scan(jobs, {"InProgress": [page(jobs.values())]})
    assert scanned.unchanged == set(FOUR)
    assert scanned.asked == [("InProgress", None)]


def test_throttled_page_is_retried_once() -> None:
    """The list continues where it was; the failure is counted and slows the poll down."""
    concurrency = AdaptiveConcurrency(32)
    pages = [page([FIRST], "2"), THROTTLED, page([SECOND])]
    scanned = scan(FOUR, {"InProgress": pages}, concurrency=concurrency)
    assert scanned.unchanged == {FIRST.job_arn, SECOND.job_arn}
    assert [token for _, token in scanned.asked] == [None, "2", "2"]
    assert scanned.errors == {"Bedrock.ThrottlingException": 1}
    assert concurrency.limit < 32


def test_pages_share_the_concurrency_of_the_poll() -> None:
    """Each page but a retry raises the budget for retries; a throttled page was the only call."""
    concurrency = Mock(wraps=AdaptiveConcurrency(32))
    scan(FOUR, {"InProgress": [page([FIRST], "2"), THROTTLED, page([])]}, concurrency=concurrency)
    assert concurrency.mock_calls == [
        call.on_first_call(),
        call.on_success(),
        call.on_first_call(),
        call.on_throttle(1),
        call.may_retry(),
        call.on_success(),
    ]


def test_page_that_fails_twice_ends_only_its_own_list() -> None:
    """What earlier pages confirmed stays confirmed, and the next status is listed."""
    jobs = FOUR | jobs_in({"Stopping": 2})
    failing = {
        "InProgress": [page([FIRST], "2"), THROTTLED, THROTTLED],
        "Stopping": [page(jobs.values())],
    }
    scanned = scan(jobs, failing)
    # The other list shows the rest as well, here.
    assert scanned.unchanged == set(jobs)
    failing["Stopping"] = [page([])]
    assert scan(jobs, failing).unchanged == {FIRST.job_arn}
    assert scanned.errors == {"Bedrock.ThrottlingException": 2}


def test_failed_page_is_not_retried_without_budget() -> None:
    """The retry budget of a poll applies to lists, too."""
    concurrency = AdaptiveConcurrency(32)
    while concurrency.may_retry():
        pass
    scanned = scan(FOUR, {"InProgress": [THROTTLED]}, concurrency=concurrency)
    assert len(scanned.asked) == 1
    assert scanned.unchanged == frozenset()


def test_refusal_ends_the_scan() -> None:
    """Another list would be refused as well; confirmed jobs stay confirmed."""
    jobs = FOUR | jobs_in({"Stopping": 2})
    scanned = scan(jobs, {"InProgress": [page([FIRST], "2"), DENIED]})
    assert scanned.asked == [("InProgress", None), ("InProgress", "2")]
    assert scanned.unchanged == {FIRST.job_arn}
    assert scanned.errors == {"Bedrock.AccessDeniedException": 1}


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_scan_checks_the_time_before_each_page(answered: int) -> None:
    """Neither many empty pages nor retries keep a poll from its jobs."""
    jobs = FOUR | jobs_in({"Stopping": 3})
    looks = iter([True] * answered)
    pages = [page([FIRST], "2"), THROTTLED, page([SECOND], "3")]
    scanned = scan(jobs, {"InProgress": pages}, may_go_on=lambda: next(looks, False))
    assert len(scanned.asked) == answered
    assert scanned.unchanged == ({FIRST.job_arn} if answered else frozenset())


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.lists(st.sampled_from(list(FOUR.values())), max_size=4),
                st.sampled_from([None, "", "1", "2"]),
                st.sampled_from(
                    [
                        {},
                        {"status": None},
                        {"status": "Failed"},
                        {"counts": RecordCounts()},
                        {"counts": RecordCounts(100, 90, 90, 0)},
                    ]
                ),
            ).map(lambda shown: page(shown[0], shown[1], **shown[2])),
            st.sampled_from([THROTTLED, DENIED]),
        ),
        min_size=16,
        max_size=16,
    ),
    st.integers(min_value=0, max_value=10),
)
def test_only_jobs_that_every_summary_shows_unchanged_are_confirmed(
    answers: list[Answer], looks: int
) -> None:
    """For any responses of Bedrock and any time limit, with a bounded number of calls."""
    left = iter([True] * looks)
    scanned = scan(FOUR, {"InProgress": answers}, may_go_on=lambda: next(left, False))
    assert len(scanned.asked) <= min(looks, 2 * len(FOUR))
    read = [each for each in answers[: len(scanned.asked)] if isinstance(each, ListPage)]
    shown = [summary for each in read for summary in each.jobs]
    # The pages must agree about a job, and with what is known of it as far as they say it.
    assert scanned.unchanged == {
        arn
        for arn, job in FOUR.items()
        if (of_job := [summary for summary in shown if summary.job_arn == arn])
        and all(summary == of_job[0] for summary in of_job)
        and of_job[0].status == job.status
        and agrees(of_job[0].counts, job.counts)
    }


# What a day costs


@pytest.mark.parametrize(
    "held",
    [
        dict.fromkeys(statuses.NON_TERMINAL, 2_000),
        {"InProgress": 9_996, "Submitted": 1, "Validating": 1, "Scheduled": 1, "Stopping": 1},
        {
            "InProgress": 2_001,
            "Submitted": 2_001,
            "Validating": 2_001,
            "Scheduled": 3_996,
            "Stopping": 1,
        },
        {
            "InProgress": 5_991,
            "Submitted": 1_001,
            "Validating": 1_001,
            "Scheduled": 1_001,
            "Stopping": 1_006,
        },
        {"Scheduled": 10_000},
    ],
    ids=str,
)
def test_ten_thousand_unchanged_jobs_cost_26_calls_per_poll_on_average(
    held: dict[str, int],
) -> None:
    """A day of one-minute polls: pages by status, single jobs, the resync, discovery's list."""
    jobs = jobs_in(held)
    assert len(jobs) == 10_000
    planned = plan_lists(jobs.values())
    listed = {each.listing.status for each in planned}
    pages = sum(ceil(each.most_pages / SUMMARIES_PER_PAGE) for each in planned)
    single = frozenset(arn for arn, job in jobs.items() if job.status not in listed)
    summary = SUMMARY._replace(last_modified_time=JOB.last_modified_time)
    for each in held:
        job = replace(JOB, status=each)
        for moment in (NOW, NOW + DAY):
            assert not requires_fetch(job, summary._replace(status=each), now=moment, rules=RULES)

    lane, cursor, calls, resynced = ResyncLane(23 * HOUR), NOW, list[int](), set[str]()
    for hour in range(24):
        # Whatever is due in one of the hour's polls is due at its end: so only these are looked at.
        end = NOW + (hour + 1) * HOUR
        candidates = lane.due(jobs, cursor, end)
        for minute in range(1, 61):
            now = NOW + hour * HOUR + minute * MINUTE
            due = lane.due(candidates, cursor, now)
            cursor = lane.advance(candidates, cursor, due | single, now)
            assert cursor == now
            resynced |= due
            calls.append(pages + len(due | single) + 1)
    assert len(calls) == 1440
    assert resynced == set(jobs)
    assert sum(calls) / len(calls) <= 26
    assert max(calls) <= 40
