"""Whole polls of many active jobs: the calls that the list scan saves, and its delays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.adapters import bedrock
from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.app.worker_pool import CONCURRENCY
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import TrackedJob
from local.bedrock import Phase, Script
from local.bedrock.jobs import Scope
from tests.support.monitor import RULES, SETTINGS

from .conftest import ACCOUNT, REGION, START, Cloud

MINUTE = 60
HOUR = 3600
LIST = "ListModelInvocationJobs"
GET = "GetModelInvocationJob"


@pytest.fixture
def scanning(cloud: Cloud) -> Cloud:
    """A monitor that scans lists for four jobs and more, and whose resync cursor is at now."""
    return scanning_from(cloud, 3)


def scanning_from(cloud: Cloud, fetch_each_up_to: int) -> Cloud:
    """The cloud with a list scan for so many jobs and one more."""
    cloud.monitor.state.set_resynced(SETTINGS.scope, START)
    scan = replace(cloud.monitor.scan, fetch_each_up_to=fetch_each_up_to)
    return replace(cloud, monitor=replace(cloud.monitor, scan=scan))


@contextmanager
def asking(cloud: Cloud) -> Iterator[Counter[str]]:
    """Count the calls to Bedrock by operation, whatever their outcome."""
    before, made = cloud.bedrock.calls, Counter[str]()
    yield made
    for (operation, _), times in (cloud.bedrock.calls - before).items():
        made[operation] += times


def recorded(cloud: Cloud, count: int, *, ending: int = 0) -> list[TrackedJob]:
    """So many jobs with an item, in all non-terminal statuses; some are about to end."""
    jobs = []
    with_item = []
    for number in range(count):
        status = statuses.NON_TERMINAL[number % 5]
        phases = (
            (Phase(status, HOUR), Phase("Completed", None))
            if number < ending
            else (Phase(status, None),)
        )
        # Submitted over two days. If all were submitted at once, discovery would list them again
        # until their submission is two hours ago.
        earlier = timedelta(0) if number < ending else timedelta(hours=48) * number / count
        arn = cloud.bedrock.add_job(
            script=Script(phases), account=ACCOUNT, region=REGION, submitted_at=START - earlier
        )
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
        with_item.append(
            {
                "jobArn": items.text(arn),
                "tracking": items.text("ACTIVE"),
                "sequence": items.number(1),
                **items.observed_attributes(seen),
            }
        )
    cloud.put_all(with_item)
    return sorted(jobs, key=lambda job: job.job_arn)


def with_active(cloud: Cloud, jobs: list[TrackedJob]) -> Cloud:
    """The cloud with these jobs in the index."""

    def active(*_: object) -> Iterator[TrackedJob]:
        return iter(jobs)

    cloud.monitor.jobs.active = active  # type: ignore[method-assign]
    return cloud


@pytest.mark.parametrize(
    ("number", "pages"), [(1_000, 5), pytest.param(10_000, 15, marks=pytest.mark.scale)]
)
def test_many_unchanged_jobs_cost_few_calls_and_no_write(
    cloud: Cloud, number: int, pages: int
) -> None:
    """Lists by status, the resync's part of the day, discovery's list; one Get for each change."""
    ending = number // 100
    cloud = cloud.with_settings(discovery_prefix="")
    cloud.poll()
    cloud = scanning_from(cloud, CONCURRENCY)
    with_active(cloud, recorded(cloud, number, ending=ending))
    # The jobs are new to discovery, whose bookmark advances to the last of them.
    cloud.poll()
    calls = []
    for _ in range(3):
        cloud.bedrock.clock.advance(MINUTE)
        with asking(cloud) as asked, cloud.counting() as made:
            summary = cloud.poll()
        assert asked[LIST] <= pages + 1
        assert made["UpdateItem"] == made["TransactWriteItems"] == made["PutItem"] == 0
        assert (summary.jobs_active, summary.jobs_read, summary.errors) == (number, number, {})
        assert summary.jobs_listed == number - asked[GET]
        calls.append(asked.total())
    assert sum(calls) / len(calls) <= 26

    cloud.bedrock.clock.advance(HOUR - 3 * MINUTE - 1)
    cloud.poll()
    cloud.bedrock.clock.advance(1)
    with asking(cloud) as asked:
        summary = cloud.poll()
    assert (summary.jobs_changed, summary.jobs_ended, summary.events_sent) == (ending,) * 3
    assert asked[LIST] <= pages + 1
    assert ending <= asked[GET] <= ending + 2 + number // 1000
    assert len(cloud.items("history")) == ending


def test_few_jobs_are_each_fetched(cloud: Cloud) -> None:
    """Ten jobs are read without a list, and no resync state is stored."""
    for _ in range(10):
        cloud.add_job("InProgress")
    cloud.poll()
    with asking(cloud) as asked, cloud.counting() as made:
        assert cloud.poll().jobs_read == 10
    assert asked == {GET: 10}
    assert made["UpdateItem"] == 0


def test_scanned_job_is_recorded_from_discovery_to_its_end(scanning: Cloud) -> None:
    """Lists save the Get of unchanged jobs, and every transition is recorded from a Get."""
    changing = [
        scanning.add_job(Script.ending("Failed", running=10 * MINUTE, submitted=0, validating=0))
        for _ in range(2)
    ]
    still = [scanning.add_job("Scheduled") for _ in range(10)]
    assert scanning.poll().jobs_changed == 12
    listed = []
    for _ in range(40):
        scanning.bedrock.clock.advance(MINUTE)
        listed.append(scanning.poll().jobs_listed)
    assert all(number >= 9 for number in listed)
    for arn in changing:
        assert [item["status"] for item in scanning.history(arn)][-2:] == ["InProgress", "Failed"]
    assert all([item["status"] for item in scanning.history(arn)] == ["Scheduled"] for arn in still)
    assert len(scanning.new_events()) == 2


def test_stale_list_delays_an_end_and_hides_none(scanning: Cloud) -> None:
    """An end that lists do not show yet is recorded once they do."""
    ending = scanning.add_job(Script((Phase("InProgress", MINUTE), Phase("Completed", None))))
    others = [scanning.add_job("InProgress") for _ in range(9)]
    scanning.poll()
    scanning.bedrock.faults.stale_lists(10 * MINUTE)
    ended = []
    for _ in range(15):
        scanning.bedrock.clock.advance(MINUTE)
        ended.append(scanning.poll().jobs_ended)
    assert sum(ended) == 1
    assert len(scanning.history(ending)) == 2
    assert all(len(scanning.history(arn)) == 1 for arn in others)


def test_resync_finds_ends_that_a_stale_list_hides(cloud: Cloud) -> None:
    """Within the resync period each job is fetched, though the list never shows its end."""
    cloud = cloud.with_rules(full_read=timedelta(hours=1))
    cloud = scanning_from(cloud, 3)
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


def test_resync_continues_in_a_new_environment(cloud: Cloud) -> None:
    """Its cursor is stored once an hour; reads since then are repeated."""
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


@pytest.mark.parametrize(("fault", "tried"), [("denied", 1), ("throttled", 4)])
def test_each_job_is_fetched_without_lists(scanning: Cloud, fault: str, tried: int) -> None:
    """Lists that are refused or throttled are counted, and delay no read."""
    for status in ["Scheduled", "InProgress"] * 5:
        scanning.add_job(Script((Phase(status, MINUTE), Phase("Completed", None))))
    scanning.poll()
    scanning.bedrock.clock.advance(MINUTE)
    faults, code = scanning.bedrock.faults, "Bedrock.AccessDeniedException"
    if fault == "denied":
        faults.deny(operation=LIST)
    else:
        # It may pass, so each of the two lists is tried once more.
        faults.throttle(operation=LIST)
        code = "Bedrock.ThrottlingException"
    with asking(scanning) as asked:
        summary = scanning.poll()
    assert summary.errors == {code: tried}
    assert asked == {LIST: tried, GET: 10}
    assert (summary.jobs_ended, summary.jobs_listed) == (10, 0)


def test_job_on_no_page_is_fetched(scanning: Cloud) -> None:
    """Whatever the reason is for which a list omits it."""
    arns = [scanning.add_job("InProgress") for _ in range(10)]
    scanning.poll()
    scanning.bedrock.faults.stale_lists(leave_out=arns[:2])
    with asking(scanning) as asked:
        summary = scanning.poll()
    assert asked == {LIST: 1, GET: 2}
    assert (summary.jobs_read, summary.jobs_listed) == (10, 8)
    scanning.bedrock.faults.hide(arns[0])
    assert scanning.poll().errors == {"Bedrock.ResourceNotFoundException": 1}


def test_stall_is_found_and_counted_with_a_list_scan(cloud: Cloud) -> None:
    """A job that does not change has one event, and counts as stalled though lists confirm it."""
    cloud = scanning_from(cloud.with_rules(stalled_after=timedelta(minutes=30)), 3)
    for _ in range(10):
        cloud.add_job("Scheduled")
    stalled = []
    for _ in range(40):
        stalled.append(cloud.poll().conditions["Stalled"])
        cloud.bedrock.clock.advance(MINUTE)
    assert stalled == [0] * 30 + [10] * 10
    assert len(cloud.new_events()) == 10


def test_unknown_status_is_counted_at_each_poll(scanning: Cloud) -> None:
    """A job with a status that this version does not know is read in each poll."""
    arns = [scanning.add_job("InProgress") for _ in range(10)]
    scanning.bedrock.faults.override(arns[0], {"status": "Paused"})
    for _ in range(3):
        assert scanning.poll().unknown_statuses == 1


def test_counts_are_written_as_without_a_list_scan(scanning: Cloud) -> None:
    """Record counts that change every minute are written every five, from a Get each time."""
    arns = [
        scanning.add_job(Script((Phase("InProgress", 25 * MINUTE), Phase("Completed", None))))
        for _ in range(10)
    ]
    scanning.poll()
    written = []
    with asking(scanning) as asked:
        for _ in range(20):
            scanning.bedrock.clock.advance(MINUTE)
            with scanning.counting() as made:
                scanning.poll()
            written.append(made["UpdateItem"])
    assert sum(written) == 4 * len(arns)
    assert asked[GET] < 6 * len(arns)


def test_slow_lists_leave_time_for_the_jobs(scanning: Cloud) -> None:
    """Lists take at most half of the time; then each job is fetched."""
    for _ in range(20):
        scanning.add_job("InProgress")
    scanning.poll()
    scanning.bedrock.faults.short_pages(1)
    left = [55.0]
    states = scanning.monitor.reconciler.bedrock.states

    def slow(*request: Any) -> Any:
        left[0] -= 8
        return states(*request)

    scanning.monitor.reconciler.bedrock.states = slow  # type: ignore[method-assign]
    summary = scanning.monitor.poll(lambda: left[0])
    assert (summary.jobs_read, summary.complete) == (20, True)
    assert 0 < summary.jobs_listed < 5
    assert left[0] > 25


def test_poll_continues_where_the_last_one_stopped(scanning: Cloud) -> None:
    """The order applies in a list scan: the first job that was not reached is first next time."""
    arns = sorted(scanning.add_job("InProgress") for _ in range(10))
    scanning.bedrock.faults.stale_lists(leave_out=arns)
    scanning.poll()
    left, asked_for = [900.0], list[str]()
    get = scanning.monitor.reconciler.bedrock.get

    def slow(job_arn: str) -> Any:
        asked_for.append(job_arn)
        left[0] = 10.0 if len(asked_for) % 4 == 0 else left[0]
        return get(job_arn)

    scanning.monitor.reconciler.bedrock.get = slow  # type: ignore[method-assign]
    for _ in range(2):
        left[0] = 900.0
        assert not scanning.monitor.poll(lambda: left[0]).complete
    assert asked_for == arns[:8]


def test_default_resync_period_is_one_day() -> None:
    """Each active job is fetched once a day unless another period is set."""
    assert RULES.full_read == timedelta(hours=24)
