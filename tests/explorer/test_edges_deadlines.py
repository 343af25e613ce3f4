"""Deadlines of polls and of the inbox: the next one does the rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.requests import Hint, Request, Untrack
from tests.explorer import simulation
from tests.explorer.edges import HOUR, Story, Watched
from tests.explorer.simulation import SLOW, World
from tests.support.monitor import SETTINGS

DISCOVERING = replace(SETTINGS, discovery_prefix="nightly-")
BACKFILLING = replace(SETTINGS, discovery_prefix="nightly-", backfill=timedelta(days=30))
WITHIN = 55.0


def test_slow_hints_send_no_command_to_the_dead_letter_queue() -> None:
    """99 hints while Bedrock does not respond, and one Untrack that runs in the first batch."""
    story = Story(replace(SETTINGS, discovery_prefix=""))
    arns = story.jobs(99)
    mine = story.job()
    story.poll()
    slow = Watched(
        story.world,
        {"GetModelInvocationJob": "throttled"},
        seconds={"GetModelInvocationJob": 5, "GetItem": 0.01, "UpdateItem": 0.01},
    )
    story.inbox.seat.oversight = slow
    began = story.world.now
    requests: list[Request] = [*(Hint(arn) for arn in arns), Untrack(mine, began)]
    left = story.inbox.process_all(requests, lambda: 30 - (story.world.now - began).total_seconds())
    assert (story.world.now - began).total_seconds() < 30
    assert not story.is_tracked(mine)
    assert Untrack(mine, began) not in left
    assert len(left) == 99


@pytest.mark.parametrize("settings", [DISCOVERING, BACKFILLING], ids=["discovery", "backfill"])
def test_list_of_empty_pages_ends_in_time_and_is_completed_later(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 pages of 0.4 s each: every poll ends in time, and a job on the last page is found."""
    story = Story(settings)
    story.poll()
    arn = story.job(statuses.IN_PROGRESS, statuses.COMPLETED, tracked=False)
    story.answer(arn, jobName="nightly-1")
    listed = World.list_model_invocation_jobs

    def page_by_page(self: World, **request: Any) -> dict[str, Any]:
        number = int(request.pop("nextToken", 0))
        if number < 400:
            return {"invocationJobSummaries": [], "nextToken": str(number + 1)}
        return listed(self, **request)

    monkeypatch.setitem(
        simulation._SERVICES,  # type: ignore[arg-type]
        "ListModelInvocationJobs",
        page_by_page,
    )
    for _ in range(12):
        watched = Watched(story.world, seconds={"ListModelInvocationJobs": 0.4})
        began = story.world.now + timedelta(seconds=60)
        story.poll(watched=watched, within=WITHIN)
        assert (story.world.now - began).total_seconds() < WITHIN
    assert story.is_tracked(arn)


def test_jobs_of_earlier_pages_are_tracked_although_a_later_page_fails() -> None:
    """Three jobs on a page each; the second page is throttled."""
    story = Story(replace(SETTINGS, discovery_prefix=""))
    story.world.list_page_size = 1
    story.poll()
    arns = [story.job(tracked=False) for _ in range(3) if story.world.tick() is None]

    class Second(Watched):
        def before(self, actor: str, operation: str, request: Any) -> str | None:
            super().before(actor, operation, request)
            is_second = self.made.get("ListModelInvocationJobs") == 2
            return "denied" if is_second and operation == "ListModelInvocationJobs" else None

    story.poll(watched=Second(story.world))
    assert [story.is_tracked(arn) for arn in arns] == [True, False, False]
    story.poll()
    assert all(story.is_tracked(arn) for arn in arns)


def test_slow_reads_leave_the_rest_to_the_next_poll() -> None:
    """Each read takes 7 s, so that a poll of 55 s reads six of ten jobs; the next begins there."""
    story = Story()
    arns = story.jobs(10)
    story.end(*arns)
    slow = Watched(story.world, seconds={"GetModelInvocationJob": SLOW})
    began = story.world.now + timedelta(seconds=60)
    summary = story.poll(watched=slow, within=WITHIN)
    assert (story.world.now - began).total_seconds() < WITHIN
    assert not summary.complete
    done = [arn for arn in arns if story.has_ended(arn)]
    assert 3 < len(done) < 10
    story.poll(watched=slow, within=WITHIN)
    assert all(story.has_ended(arn) for arn in arns)


def test_discovery_records_ends_while_it_was_off_without_events() -> None:
    """Switched off for a month and on again: no flood of events, and running jobs are tracked."""
    on = replace(SETTINGS, discovery_prefix="")
    story = Story(on)
    story.poll()
    before = story.job(tracked=False)
    story.poll()
    story.deploy(SETTINGS)
    story.end(before)
    story.poll()
    assert story.has_ended(before)
    meanwhile = []
    for _ in range(3):
        arn = story.job(tracked=False)
        meanwhile.append(arn)
        story.end(arn)
        story.poll(after=24 * HOUR)
    running = story.job(tracked=False)
    story.poll()
    story.deploy(on)
    received = len(story.world.received)
    story.poll(3)
    assert len(story.world.received) == received
    assert all(story.history(arn) == [(1, statuses.COMPLETED)] for arn in meanwhile)
    story.end(running)
    story.poll()
    assert story.has_ended(running)
    assert story.events(running, event_kinds.ENDED.detail_type)


def test_discovery_does_not_begin_after_the_deadline() -> None:
    """A read near the deadline was slow; Lambda could end a list that begins after it."""
    story = Story(replace(SETTINGS, discovery_prefix=""))
    arn = story.job(statuses.IN_PROGRESS, statuses.COMPLETED)
    story.poll()
    story.world.advance(arn)
    slow = {
        "GetModelInvocationJob": 5,
        "TransactWriteItems": 6,
        "ListModelInvocationJobs": 5,
        "DescribeTable": 5,
    }
    quick = dict.fromkeys(("Query", "GetItem", "UpdateItem", "PutEvents", "DescribeEventBus"), 0.01)
    watched = Watched(story.world, seconds=slow | quick)
    began = story.world.now
    story.poll(watched=watched, within=15.3, after=0)
    assert (story.world.now - began).total_seconds() < 15.3
    assert not {"ListModelInvocationJobs", "DescribeTable"} & set(watched.made)
