"""The list scan alone against the stand-in: what its lists confirm, and how many calls it makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.throttling import AdaptiveConcurrency
from bedrock_batch_monitor.listing.list_scan import ListScan, ScanLimits
from local.bedrock import Phase, Script
from tests.support.monitor import RULES

from .conftest import ACCOUNT, REGION, START, Cloud

MINUTE = 60
HOUR = 3600
LIST = "ListModelInvocationJobs"
GET = "GetModelInvocationJob"
# Its counts do not move before the end, so nothing but the end asks for a Get.
ENDING = Script((Phase("Scheduled", HOUR), Phase("Failed", None)))


def add_jobs(cloud: Cloud, *scripts: Script | str) -> dict[str, TrackedJob]:
    """Jobs in Bedrock, and what the monitor would have recorded of each just now."""
    jobs = {}
    for script in scripts:
        arn = cloud.bedrock.add_job(
            script=Script((Phase(script, None),)) if isinstance(script, str) else script,
            account=ACCOUNT,
            region=REGION,
        )
        seen = cloud.monitor.reconciler.bedrock.get(arn)
        jobs[arn] = TrackedJob(
            arn,
            sequence=1,
            status=seen.status,
            last_modified_time=seen.last_modified_time,
            counts=seen.counts,
            progress_at=START,
            submit_time=seen.submit_time,
        )
    return jobs


@dataclass
class Scanned:
    """The result of a scan: the confirmed jobs, the errors, and the calls by operation."""

    unchanged: frozenset[str]
    errors: Counter[str]
    asked: Counter[str]


def scan(
    cloud: Cloud,
    jobs: Mapping[str, TrackedJob],
    *,
    rules: Rules = RULES,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Scanned:
    """Scan these jobs, with a list from four jobs on."""
    errors, before = Counter[str](), cloud.bedrock.calls
    list_scan = ListScan(
        cloud.monitor.reconciler.bedrock, rules, cloud.bedrock.clock.now, fetch_each_up_to=3
    )
    result = list_scan.run(jobs, ScanLimits(AdaptiveConcurrency(32), errors, may_go_on))
    asked = Counter[str]()
    for (operation, _), times in (cloud.bedrock.calls - before).items():
        asked[operation] += times
    return Scanned(result.unchanged, errors, asked)


def test_thousand_unchanged_jobs_are_confirmed_by_lists_alone(cloud: Cloud) -> None:
    """One list per status confirms them; nothing is written and nothing fetched."""
    jobs = add_jobs(cloud, *([*statuses.NON_TERMINAL] * 196), *[ENDING] * 20)
    cloud.bedrock.clock.advance(HOUR - 1)
    with cloud.counting() as made:
        assert scan(cloud, jobs) == Scanned(frozenset(jobs), Counter(), Counter({LIST: 5}))
        cloud.bedrock.clock.advance(1)
        scanned = scan(cloud, jobs)
    assert scanned.unchanged == set(list(jobs)[:-20])
    assert scanned.asked == {LIST: 5}
    assert made == {}


def test_few_jobs_are_fetched_without_a_list(cloud: Cloud) -> None:
    """Up to the limit, each job is fetched."""
    assert scan(cloud, add_jobs(cloud, *["InProgress"] * 3)).asked == {}


def test_stale_list_confirms_until_it_shows_the_end(cloud: Cloud) -> None:
    """An end is delayed by the lag of the list, and not hidden."""
    jobs = add_jobs(cloud, ENDING, *["Scheduled"] * 5)
    ending = next(iter(jobs))
    cloud.bedrock.faults.stale_lists(10 * MINUTE)
    cloud.bedrock.clock.advance(HOUR + 9 * MINUTE)
    assert scan(cloud, jobs).unchanged == set(jobs)
    cloud.bedrock.clock.advance(MINUTE)
    assert scan(cloud, jobs).unchanged == set(jobs) - {ending}


@pytest.mark.parametrize(
    ("fault", "code", "calls"),
    [
        # Refused: no further list in this poll. Otherwise each of the two, and once more.
        ("denied", "Bedrock.AccessDeniedException", 1),
        ("throttled", "Bedrock.ThrottlingException", 4),
        ("unusable", "Bedrock.UnusableAnswer", 4),
    ],
)
def test_failed_list_confirms_no_job(cloud: Cloud, fault: str, code: str, calls: int) -> None:
    """A list that is refused, throttled or unusable is counted, and its jobs are fetched."""
    jobs = add_jobs(cloud, *["Scheduled", "InProgress"] * 5)
    faults = cloud.bedrock.faults
    if fault == "denied":
        faults.deny(operation=LIST)
    elif fault == "throttled":
        faults.throttle(operation=LIST)
    else:
        for arn in jobs:
            faults.override(arn, {"lastModifiedTime": "yesterday"}, operation=LIST)
    scanned = scan(cloud, jobs)
    assert scanned == Scanned(frozenset(), Counter({code: calls}), Counter({LIST: calls}))


def test_list_throttled_midway_keeps_its_confirmed_jobs(cloud: Cloud) -> None:
    """The first page counts; the jobs of the other pages are fetched."""
    jobs = add_jobs(cloud, *["InProgress"] * 30)
    cloud.bedrock.faults.short_pages(10)

    def throttle(**_: Any) -> None:
        cloud.bedrock.faults.throttle(operation=LIST)

    events = cloud.monitor.reconciler.bedrock._client.meta.events
    events.register(f"after-call.bedrock.{LIST}", throttle)
    scanned = scan(cloud, jobs)
    assert len(scanned.unchanged) == 10
    assert scanned.errors == {"Bedrock.ThrottlingException": 2}
    assert scanned.asked == {LIST: 3}


@pytest.mark.parametrize(("without", "confirmed"), [("status", 0), ("lastModifiedTime", 10)])
def test_summary_without_optional_members_is_handled(
    cloud: Cloud, without: str, confirmed: int
) -> None:
    """Without a status no job is confirmed; without a modification time the status is enough."""
    jobs = add_jobs(cloud, *["Scheduled"] * 10)
    cloud.bedrock.faults.stale_lists(without=[without])
    scanned = scan(cloud, jobs)
    assert (len(scanned.unchanged), scanned.errors) == (confirmed, {})


def test_job_on_no_page_is_not_confirmed(cloud: Cloud) -> None:
    """Whatever the reason is for which a list omits a job."""
    jobs = add_jobs(cloud, *["InProgress"] * 10)
    left_out = list(jobs)[:2]
    cloud.bedrock.faults.stale_lists(leave_out=left_out)
    assert scan(cloud, jobs).unchanged == set(jobs) - set(left_out)


def test_ended_jobs_do_not_lengthen_a_list(cloud: Cloud) -> None:
    """The list of a status has no page of jobs that have ended since the oldest was submitted."""
    jobs = add_jobs(cloud, *["InProgress", "Scheduled"] * 10)
    for number in range(300):
        cloud.bedrock.add_job(
            script=Script((Phase("Completed", None),)),
            account=ACCOUNT,
            region=REGION,
            submitted_at=START + timedelta(milliseconds=number),
        )
    scanned = scan(cloud, jobs)
    assert (scanned.unchanged, scanned.asked) == (set(jobs), {LIST: 2})


def test_list_with_many_other_jobs_is_abandoned(cloud: Cloud) -> None:
    """It costs no more than fetching each of its jobs; jobs confirmed until then stay confirmed."""
    others = 50
    for number in range(others):
        cloud.bedrock.add_job(
            script=Script((Phase("InProgress", None),)),
            account=ACCOUNT,
            region=REGION,
            submitted_at=START + timedelta(milliseconds=number),
        )
    jobs = add_jobs(cloud, *["InProgress"] * 10)
    cloud.bedrock.faults.short_pages(1)
    scanned = scan(cloud, jobs)
    assert scanned.asked == {LIST: 10}
    assert len(scanned.unchanged) < 10


def test_empty_next_token_ends_a_list(cloud: Cloud) -> None:
    """An empty token is never sent back, and no error is counted."""
    jobs = add_jobs(cloud, *["InProgress", "Scheduled"] * 10)

    def add_token(parsed: dict[str, Any], **_: Any) -> None:
        parsed.setdefault("nextToken", "")

    events = cloud.monitor.reconciler.bedrock._client.meta.events
    events.register(f"after-call.bedrock.{LIST}", add_token)
    assert scan(cloud, jobs) == Scanned(frozenset(jobs), Counter(), Counter({LIST: 2}))


def test_stalled_job_is_not_confirmed(cloud: Cloud) -> None:
    """The stall is recorded from a Get, at its time."""
    rules = Rules(
        progress_interval=RULES.progress_interval,
        poll_interval=RULES.poll_interval,
        unreachable_after_polls=3,
        stalled_after=timedelta(minutes=30),
    )
    jobs = add_jobs(cloud, *["Scheduled"] * 10)
    cloud.bedrock.clock.advance(30 * MINUTE - 1)
    assert scan(cloud, jobs, rules=rules).unchanged == set(jobs)
    cloud.bedrock.clock.advance(1)
    assert scan(cloud, jobs, rules=rules).unchanged == frozenset()


def test_job_with_an_unknown_status_is_not_confirmed(cloud: Cloud) -> None:
    """A status that this version does not know is read in each poll, which counts it."""
    jobs = add_jobs(cloud, *["InProgress"] * 10)
    first = next(iter(jobs))
    cloud.bedrock.faults.override(first, {"status": "Paused"})
    assert scan(cloud, jobs).unchanged == set(jobs) - {first}


def test_slow_list_stops_when_the_time_is_over(cloud: Cloud) -> None:
    """The scan checks the time before each page, also if pages are short or empty."""
    jobs = add_jobs(cloud, *["InProgress"] * 20)
    cloud.bedrock.faults.short_pages(1)
    left = iter([True] * 4)
    scanned = scan(cloud, jobs, may_go_on=lambda: next(left, False))
    assert (len(scanned.unchanged), scanned.asked) == (4, {LIST: 4})
