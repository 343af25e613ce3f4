"""Many active jobs: what lists spare, what they may hide, and what a poll costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.sweep import SweepBookmark
from bedrock_batch_monitor.poll import CONCURRENCY
from bedrock_batch_monitor.services import bedrock, items
from local.bedrock import Phase, Script
from local.bedrock.jobs import Scope
from tests.support.monitor import RULES, SETTINGS

from .conftest import ACCOUNT, REGION, START, Cloud

MINUTE = 60
HOUR = 3600
LIST = "ListModelInvocationJobs"
GET = "GetModelInvocationJob"


@pytest.fixture
def sweeping(cloud: Cloud) -> Cloud:
    """A monitor that makes a sweep for four jobs and more, and whose turns are taken up to now."""
    return sweep_from(cloud, 3)


def sweep_from(cloud: Cloud, get_each_up_to: int) -> Cloud:
    """The cloud with a sweep for so many jobs and one more."""
    cloud.monitor.state.set_sweep(SETTINGS.scope, SweepBookmark(START, {}, START))
    sweeper = replace(cloud.monitor.sweeper, get_each_up_to=get_each_up_to)
    return replace(cloud, monitor=replace(cloud.monitor, sweeper=sweeper))


@contextmanager
def asking(cloud: Cloud) -> Iterator[Counter[str]]:
    """Count the calls to Bedrock by operation, whatever their outcome."""
    before, made = cloud.bedrock.calls, Counter[str]()
    yield made
    for (operation, _), times in (cloud.bedrock.calls - before).items():
        made[operation] += times


def recorded(cloud: Cloud, count: int, *, ending: int = 0) -> list[TrackedJob]:
    """So many jobs as the index has them, in all non-terminal statuses; some are about to end.

    Only those that end have an item, for nothing is written of the others.
    """
    jobs = []
    for number in range(count):
        status = statuses.NON_TERMINAL[number % 5]
        phases = (
            (Phase(status, HOUR), Phase("Completed", None))
            if number < ending
            else (Phase(status, None),)
        )
        arn = cloud.bedrock.add_job(script=Script(phases), account=ACCOUNT, region=REGION)
        job = cloud.bedrock.store.get(Scope(ACCOUNT, REGION), arn, START)
        seen = bedrock.observation(arn, job.attributes(START))
        tracked = TrackedJob(
            arn,
            sequence=1,
            status=seen.status,
            last_modified_time=seen.last_modified_time,
            counts=seen.counts,
            progress_at=START,
            submit_time=seen.submit_time,
        )
        jobs.append(tracked)
        if number < ending:
            cloud.dynamodb.put_item(
                TableName="jobs",
                Item={
                    "jobArn": items.text(arn),
                    "tracking": items.text("ACTIVE"),
                    "sequence": items.number(1),
                    **items.observed_attributes(seen),
                },
            )
    return sorted(jobs, key=lambda job: job.job_arn)


def with_active(cloud: Cloud, jobs: list[TrackedJob]) -> Cloud:
    """The cloud with these jobs in the index."""

    def active(*_: object) -> Iterator[TrackedJob]:
        return iter(jobs)

    cloud.monitor.jobs.active = active  # type: ignore[method-assign]
    return cloud


def test_ten_thousand_jobs(cloud: Cloud) -> None:
    """Unchanged they cost ten lists, the share of the day, and no write; of changes each one Get.

    Discovery is on, and costs no call besides.
    """
    cloud = cloud.with_settings(discovery_prefix="")
    cloud.poll()
    cloud = sweep_from(cloud, CONCURRENCY)
    jobs = recorded(cloud, 10_000, ending=100)
    with_active(cloud, jobs)
    # The jobs are news to discovery, whose bookmark goes on to the last of them.
    cloud.poll()
    for _ in range(3):
        cloud.bedrock.clock.advance(MINUTE)
        with asking(cloud) as asked, cloud.counting() as made:
            summary = cloud.poll()
        assert asked[LIST] <= 11
        assert asked[GET] <= 7
        assert made["UpdateItem"] == made["TransactWriteItems"] == made["PutItem"] == 0
        assert (summary.jobs_active, summary.jobs_read, summary.errors) == (10_000, 10_000, {})
        assert summary.jobs_listed == 10_000 - asked[GET]

    cloud.bedrock.clock.advance(HOUR - 3 * MINUTE - 1)
    cloud.poll()
    cloud.bedrock.clock.advance(1)
    with asking(cloud) as asked:
        summary = cloud.poll()
    assert (summary.jobs_changed, summary.jobs_ended, summary.events_sent) == (100, 100, 100)
    assert asked[LIST] <= 11
    # Turns have waited in the hour without a poll.
    assert 100 <= asked[GET] <= 100 + 8
    assert len(cloud.items("history")) == 100


def test_few_jobs_are_got_each(cloud: Cloud) -> None:
    """Ten jobs are read without a list, and nothing is noted for a sweep."""
    for _ in range(10):
        cloud.add_job("InProgress")
    cloud.poll()
    with asking(cloud) as asked, cloud.counting() as made:
        assert cloud.poll().jobs_read == 10
    assert asked == {GET: 10}
    assert made["UpdateItem"] == 0


def test_from_the_first_sight_to_the_end(sweeping: Cloud) -> None:
    """Lists spare the unchanged their Get, and every transition is recorded from one."""
    changing = [
        sweeping.add_job(Script.ending("Failed", running=10 * MINUTE, submitted=0, validating=0))
        for _ in range(2)
    ]
    still = [sweeping.add_job("Scheduled") for _ in range(10)]
    assert sweeping.poll().jobs_changed == 12
    listed = []
    for _ in range(40):
        sweeping.bedrock.clock.advance(MINUTE)
        listed.append(sweeping.poll().jobs_listed)
    assert all(number >= 9 for number in listed)
    for arn in changing:
        assert [item["status"] for item in sweeping.history(arn)][-2:] == ["InProgress", "Failed"]
    assert all([item["status"] for item in sweeping.history(arn)] == ["Scheduled"] for arn in still)
    assert len(sweeping.new_events()) == 2


def test_a_list_that_lags_delays_and_hides_nothing(sweeping: Cloud) -> None:
    """An ending that lists do not show yet is recorded once they do."""
    ending = sweeping.add_job(Script((Phase("InProgress", MINUTE), Phase("Completed", None))))
    others = [sweeping.add_job("InProgress") for _ in range(9)]
    sweeping.poll()
    sweeping.bedrock.faults.stale_lists(10 * MINUTE)
    ended = []
    for _ in range(15):
        sweeping.bedrock.clock.advance(MINUTE)
        ended.append(sweeping.poll().jobs_ended)
    assert sum(ended) == 1
    assert len(sweeping.history(ending)) == 2
    assert all(len(sweeping.history(arn)) == 1 for arn in others)


def test_a_list_that_stands_still_hides_nothing_for_long(cloud: Cloud) -> None:
    """Within the time set each job is got, though the list never shows that it has ended."""
    cloud = cloud.with_rules(full_read=timedelta(hours=1))
    cloud = sweep_from(cloud, 3)
    for _ in range(20):
        cloud.add_job(Script((Phase("InProgress", MINUTE), Phase("Completed", None))))
    cloud.poll()
    ended = []
    for minute in range(61):
        cloud.bedrock.clock.advance(MINUTE)
        cloud.bedrock.faults.clear()
        cloud.bedrock.faults.stale_lists((minute + 1) * MINUTE)
        ended.append(cloud.poll().jobs_ended)
    assert sum(ended) == 20
    # Spread over the hour, as far as twenty jobs can be.
    assert max(ended) <= 5


def test_the_full_read_goes_on_in_a_new_environment(cloud: Cloud) -> None:
    """How far it has come is written once an hour; what was done since is done again."""
    cloud = cloud.with_rules(full_read=timedelta(hours=24))
    for _ in range(40):
        cloud.add_job("InProgress")
    cloud.poll()
    writes = []
    for _ in range(70):
        cloud.bedrock.clock.advance(MINUTE)
        with cloud.counting() as made:
            cloud.poll()
        writes.append(made["UpdateItem"])
    assert sum(writes) == 1
    fresh = cloud.with_rules()
    with asking(fresh) as asked:
        fresh.poll()
    assert asked[LIST] == 1
    assert asked[GET] <= 5


@pytest.mark.parametrize("fault", ["denied", "throttled", "unusable"])
def test_without_lists_each_job_is_got(sweeping: Cloud, fault: str) -> None:
    """A list that is denied, throttled or unusable is counted, and costs no job its reading."""
    arns = [
        sweeping.add_job(Script((Phase(status, MINUTE), Phase("Completed", None))))
        for status in ["Scheduled", "InProgress"] * 5
    ]
    sweeping.poll()
    sweeping.bedrock.clock.advance(MINUTE)
    faults, code, tried = sweeping.bedrock.faults, "Bedrock.AccessDeniedException", 1
    if fault == "denied":
        faults.deny(operation=LIST)
    elif fault == "throttled":
        # It may pass, so it is tried once more.
        faults.throttle(operation=LIST)
        code, tried = "Bedrock.ThrottlingException", 2
    else:
        faults.override(arns[0], {"submitTime": "the day before yesterday"}, operation=LIST)
        code, tried = "Bedrock.UnusableAnswer", 2
    with asking(sweeping) as asked:
        summary = sweeping.poll()
    assert summary.errors == {code: tried}
    assert asked == {LIST: tried, GET: 10}
    assert (summary.jobs_ended, summary.jobs_listed) == (10, 0)


def test_a_list_that_is_throttled_midway(sweeping: Cloud) -> None:
    """What the first pages told stands; the rest is got, within the budget."""
    for _ in range(30):
        sweeping.add_job("InProgress")
    sweeping.poll()
    sweeping.bedrock.clock.advance(MINUTE)
    sweeping.bedrock.faults.short_pages(10)
    page, pages = sweeping.monitor.observer.bedrock.page, [0]

    def failing(*request: Any) -> Any:
        pages[0] += 1
        if pages[0] > 1:
            sweeping.bedrock.faults.throttle(operation=LIST)
        return page(*request)

    sweeping.monitor.observer.bedrock.page = failing  # type: ignore[method-assign]
    with asking(sweeping) as asked:
        summary = sweeping.poll()
    assert summary.errors == {"Bedrock.ThrottlingException": 2}
    assert (summary.jobs_listed, summary.jobs_read) == (30 - asked[GET], 30)
    assert asked[GET] in {20, 21}


def test_summaries_without_what_they_need_not_have(sweeping: Cloud) -> None:
    """Without a status nothing is spared; without a time of change the status is enough."""
    for _ in range(10):
        sweeping.add_job("Scheduled")
    sweeping.poll()
    for without, got in ((["status"], 10), (["lastModifiedTime"], 0)):
        sweeping.bedrock.faults.clear()
        sweeping.bedrock.faults.stale_lists(without=without)
        with asking(sweeping) as asked:
            assert sweeping.poll().jobs_read == 10
        assert asked[GET] == got


def test_a_job_that_is_on_no_page_is_got(sweeping: Cloud) -> None:
    """A job that is missing from the list is asked for, whatever that means."""
    arns = [sweeping.add_job("InProgress") for _ in range(10)]
    sweeping.poll()
    sweeping.bedrock.faults.stale_lists(leave_out=arns[:2])
    with asking(sweeping) as asked:
        summary = sweeping.poll()
    assert asked == {LIST: 1, GET: 2}
    assert (summary.jobs_read, summary.jobs_listed) == (10, 8)
    sweeping.bedrock.faults.hide(arns[0])
    assert sweeping.poll().errors == {"Bedrock.ResourceNotFoundException": 1}


def test_a_list_that_ended_jobs_swell_is_given_up_and_avoided(sweeping: Cloud) -> None:
    """One that is too long costs a few pages once; then statuses are listed one by one."""
    for number in range(20):
        sweeping.add_job(("InProgress", "Scheduled")[number % 2])
    sweeping.poll()
    for number in range(300):
        sweeping.bedrock.add_job(
            script=Script((Phase("Completed", None),)),
            account=ACCOUNT,
            region=REGION,
            submitted_at=START - timedelta(milliseconds=number),
        )
    # As if a page had ten summaries at the most.
    sweeping.bedrock.faults.short_pages(10)
    sweeping.monitor.state.set_sweep(SETTINGS.scope, SweepBookmark(START, {}, START))
    lists, gets = [], []
    for _ in range(6):
        sweeping.bedrock.clock.advance(1)
        with asking(sweeping) as asked:
            assert sweeping.poll().jobs_read == 20
        lists.append(asked[LIST])
        gets.append(asked[GET])
    # No list takes many more calls than to get each job, and to that it comes for the next hour.
    assert max(lists) <= 21
    assert lists[3:] == [0, 0, 0]
    assert gets[3:] == [20, 20, 20]


def test_discovery_takes_up_jobs_from_the_same_pages(cloud: Cloud) -> None:
    """One list serves sweep and discovery, and the bookmark goes on as with a list of its own."""
    cloud = sweep_from(cloud.with_settings(discovery_prefix="nightly-"), 3)
    for _ in range(10):
        cloud.add_job("Scheduled")
    cloud.poll()
    [before] = cloud.items("state")
    cloud.bedrock.clock.advance(10 * MINUTE)
    new = [
        cloud.bedrock.add_job(account=ACCOUNT, region=REGION, job_name=name)
        for name in ("nightly-1", "weekly-1")
    ]
    with asking(cloud) as asked:
        assert cloud.poll().jobs_discovered == 1
    assert asked == {LIST: 1, GET: 1}
    assert len(cloud.history(new[0])) == 1
    assert cloud.history(new[1]) == []
    [after] = cloud.items("state")
    assert before["discoveredUntil"] < after["discoveredUntil"] == "2026-11-24T20:10:00.000Z"


def test_a_stall_is_found_and_counted(cloud: Cloud) -> None:
    """A job that does not move is told of once, and counts as stalled though lists spare it."""
    cloud = sweep_from(cloud.with_rules(stalled_after=timedelta(minutes=30)), 3)
    for _ in range(10):
        cloud.add_job("Scheduled")
    stalled = []
    for _ in range(40):
        stalled.append(cloud.poll().jobs_stalled)
        cloud.bedrock.clock.advance(MINUTE)
    assert stalled == [0] * 30 + [10] * 10
    assert len(cloud.new_events()) == 10


def test_an_unknown_status_is_counted_at_each_poll(sweeping: Cloud) -> None:
    """A status that this version does not know is no reason to look away."""
    arns = [sweeping.add_job("InProgress") for _ in range(10)]
    sweeping.bedrock.faults.override(arns[0], {"status": "Paused"})
    for _ in range(3):
        assert sweeping.poll().unknown_statuses == 1


def test_counts_are_written_as_without_a_sweep(sweeping: Cloud) -> None:
    """Record counts that move every minute are written every five, from a Get each time."""
    arns = [
        sweeping.add_job(Script((Phase("InProgress", 25 * MINUTE), Phase("Completed", None))))
        for _ in range(10)
    ]
    sweeping.poll()
    written = []
    with asking(sweeping) as asked:
        for _ in range(20):
            sweeping.bedrock.clock.advance(MINUTE)
            with sweeping.counting() as made:
                sweeping.poll()
            written.append(made["UpdateItem"])
    assert sum(written) == 4 * len(arns)
    assert asked[GET] < 6 * len(arns)


def test_slow_lists_leave_time_for_the_jobs(sweeping: Cloud) -> None:
    """Lists take half of the time at the most; then each job is got."""
    for _ in range(20):
        sweeping.add_job("InProgress")
    sweeping.poll()
    sweeping.bedrock.faults.short_pages(1)
    left = [55.0]
    page = sweeping.monitor.observer.bedrock.page

    def slow(*request: Any) -> Any:
        left[0] -= 8
        return page(*request)

    sweeping.monitor.observer.bedrock.page = slow  # type: ignore[method-assign]
    summary = sweeping.monitor.poll(lambda: left[0])
    assert (summary.jobs_read, summary.complete) == (20, True)
    assert 0 < summary.jobs_listed < 5
    assert left[0] > 25


def test_the_first_to_be_read_is_where_the_last_poll_stopped(sweeping: Cloud) -> None:
    """The order of the round holds in a sweep: who was not reached comes first next time."""
    arns = sorted(sweeping.add_job("InProgress") for _ in range(10))
    sweeping.bedrock.faults.stale_lists(leave_out=arns)
    sweeping.poll()
    left, asked_for = [900.0], list[str]()
    get = sweeping.monitor.observer.bedrock.get

    def slow(job_arn: str) -> Any:
        asked_for.append(job_arn)
        left[0] = 10.0 if len(asked_for) % 4 == 0 else left[0]
        return get(job_arn)

    sweeping.monitor.observer.bedrock.get = slow  # type: ignore[method-assign]
    for _ in range(2):
        left[0] = 900.0
        assert not sweeping.monitor.poll(lambda: left[0]).complete
    assert asked_for == arns[:8]


def test_the_default_rules_have_a_day() -> None:
    """Each active job is got once in a day unless another time is set."""
    assert RULES.full_read == timedelta(hours=24)
