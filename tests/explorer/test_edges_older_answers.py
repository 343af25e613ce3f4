"""Older responses change nothing: counts and times never go backwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.domain import event_kinds, statuses
from tests.explorer.edges import HOUR, Story, Watched
from tests.support.monitor import RULES, SETTINGS

OFTEN = replace(SETTINGS, rules=replace(RULES, progress_interval=timedelta(0)))
STALLING = replace(
    SETTINGS,
    rules=replace(RULES, progress_interval=timedelta(0), stalled_after=timedelta(minutes=10)),
)


def overlapped(story: Story, between: Callable[[], object]) -> None:
    """A poll has its answer; before it writes, something else happens."""
    operations = ("UpdateItem", "TransactWriteItems")
    done: list[str] = []

    def once() -> None:
        if not done:
            done.append("")
            between()

    watched = Watched(story.world)

    def before(actor: str, operation: str, request: Any) -> str | None:
        is_of_job = operation == operations[1] or request.get("TableName") == "jobs"
        if operation in operations and is_of_job:
            once()
        return Watched.before(watched, actor, operation, request)

    watched.before = before  # type: ignore[method-assign]
    story.poll(watched=watched)
    assert done


def test_counts_do_not_fall_when_an_older_response_is_written_last() -> None:
    """Poll B has recorded 31 records when poll A writes its response with 1."""
    story = Story(OFTEN)
    arn = story.job()
    story.poll()
    story.world.progress(arn)

    def others() -> None:
        for _ in range(30):
            story.world.progress(arn)
        story.poll(monitor=story.other(OFTEN))

    overlapped(story, others)
    assert story.number(arn, "processedRecordCount") == 31
    assert story.world.backwards == ()


def test_stall_is_not_published_for_a_job_that_has_just_progressed() -> None:
    """Poll A found it stalled, but poll B recorded its progress first."""
    story = Story(STALLING)
    arn = story.job()
    story.poll()
    story.world.tick(700)

    def others() -> None:
        story.world.progress(arn)
        story.poll(monitor=story.other(STALLING))

    overlapped(story, others)
    story.poll(2)
    assert story.events(arn, event_kinds.STALLED.detail_type) == []
    assert "conditions" not in story.item(arn)


def test_last_modified_time_does_not_go_back_within_a_status() -> None:
    """The counts are the same; only Bedrock's time is older."""
    story = Story(OFTEN)
    arn = story.job()
    story.poll()
    story.answer(arn, lastModifiedTime=story.world.now, processedRecordCount=5)

    def others() -> None:
        story.world.tick(HOUR)
        story.answer(arn, lastModifiedTime=story.world.now, processedRecordCount=90)
        story.poll(monitor=story.other(OFTEN))

    overlapped(story, others)
    assert story.number(arn, "processedRecordCount") == 90
    assert story.world.backwards == ()


@pytest.mark.parametrize("count", ["totalRecordCount", "processedRecordCount"])
@pytest.mark.parametrize("modified", ["newer", "equal", "missing", "older"])
@pytest.mark.parametrize("moves", [False, True], ids=["same status", "next status"])
def test_lower_count_of_a_replica_does_not_replace_a_higher_one(
    count: str, modified: str, *, moves: bool
) -> None:
    """Responses come from replicas: the next one can be behind, whatever its time is."""
    story = Story(OFTEN)
    arn = story.job(statuses.SCHEDULED, statuses.IN_PROGRESS, statuses.COMPLETED)
    story.answer(arn, processedRecordCount=50)
    story.poll()
    known = story.world.jobs[arn].answers[-1]["lastModifiedTime"]
    if moves:
        story.world.advance(arn)
    times = {"newer": story.world.now, "equal": known, "missing": None, "older": story.ago(HOUR)}
    story.answer(arn, lastModifiedTime=times[modified], **{count: 40})
    story.poll(3)
    assert story.number(arn, count) == {"totalRecordCount": 100, "processedRecordCount": 50}[count]
    assert story.world.backwards == ()
    story.end(arn)
    story.poll()
    assert story.has_ended(arn)


@pytest.mark.parametrize("name", ["submitTime", "jobExpirationTime"])
def test_time_is_kept_if_a_later_response_omits_it(name: str) -> None:
    """A field that is missing once does not remove its known value."""
    story = Story(OFTEN)
    arn = story.job()
    story.poll()
    before = story.item(arn)[name]
    story.world.progress(arn)
    story.answer(arn, **{name: None})
    story.poll()
    assert story.item(arn)[name] == before


@pytest.mark.parametrize(
    ("first", "second"),
    [(statuses.IN_PROGRESS, statuses.SCHEDULED), (statuses.STOPPING, statuses.IN_PROGRESS)],
)
def test_order_of_statuses_decides_between_equal_times(first: str, second: str) -> None:
    """Two responses have the same second; the one with the older status arrives later."""
    story = Story()
    arn = story.job(first, statuses.STOPPED)
    story.poll()
    story.answer(arn, status=second)
    story.poll(2)
    assert story.history(arn) == [(1, first)]


def test_thread_of_an_earlier_invocation_writes_nothing() -> None:
    """Lambda freezes it before its write, and resumes it when the next poll has recorded more."""
    story = Story(OFTEN)
    arn = story.job()
    story.poll()
    frozen, thawed, advanced = threading.Event(), threading.Event(), threading.Event()

    class Threads(ThreadPoolExecutor):
        """The poll goes on once the call has ended, or is frozen."""

        def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
            advanced.clear()
            future = super().submit(call, *arguments, **named)
            future.add_done_callback(lambda _: advanced.set())
            assert advanced.wait(10)
            return future

    monitor = replace(story.monitor.monitor, new_executor=lambda: Threads(2))

    class Frozen(Watched):
        def before(self, actor: str, operation: str, request: Any) -> str | None:
            is_write = request.get("TableName") == "jobs" and operation == "UpdateItem"
            if is_write and not frozen.is_set():
                frozen.set()
                advanced.set()
                assert thawed.wait(20)
            return super().before(actor, operation, request)

    story.monitor.seat.oversight = Frozen(story.world)
    story.world.progress(arn)
    monitor.poll(lambda: 3.2 if frozen.is_set() else 900.0)
    assert frozen.is_set()
    for _ in range(49):
        story.world.progress(arn)
    monitor.poll(lambda: 900.0)
    assert story.number(arn, "processedRecordCount") == 50
    thawed.set()
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(5)
    assert story.number(arn, "processedRecordCount") == 50
    assert story.world.backwards == ()
