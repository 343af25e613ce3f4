"""Edge cases of commands: races with polls, wrong order, redelivery, and jobs without an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.requests import Hint, Request, Track, Untrack
from bedrock_batch_monitor.domain.tasks import WaitingTask
from bedrock_batch_monitor.settings import Settings
from tests.explorer.edges import DAY, MINUTE, Story, Watched
from tests.explorer.simulation import START, job_arn
from tests.support.monitor import SETTINGS

ONE = job_arn(1)
DISCOVERING = replace(SETTINGS, discovery_prefix="")


def sent(minute: int, kind: type[Track | Untrack]) -> Request:
    return kind(ONE, START + timedelta(minutes=minute))


@pytest.mark.parametrize("operation", ["GetItem", "UpdateItem"])
def test_track_command_that_races_with_a_poll_leaves_the_job_tracked(operation: str) -> None:
    """A poll records a transition before each of the calls of the command."""
    story = Story()
    arn = story.job(statuses.SCHEDULED, statuses.IN_PROGRESS, statuses.COMPLETED)
    story.poll()
    story.world.advance(arn)
    story.world.put(arn)
    story.poll()
    story.world.untrack(arn)

    def another_poll_commits() -> None:
        # It had read the index before the job was untracked.
        story.world.track_again(arn)
        story.poll(after=0)
        story.world.untrack(arn)

    left = story.process(
        sent(5, Track), watched=Watched(story.world, at=(operation, 1, another_poll_commits))
    )

    assert left == []
    assert story.is_tracked(arn)
    story.end(arn)
    story.poll()
    assert story.has_ended(arn)


@pytest.mark.parametrize("order", list(permutations([1, 2, 3])))
@pytest.mark.parametrize("last", [Track, Untrack])
@pytest.mark.parametrize("settings", [SETTINGS, DISCOVERING], ids=["by hand", "discovery"])
def test_last_command_wins_in_any_order_of_arrival(
    order: Sequence[int], last: type[Track | Untrack], settings: object
) -> None:
    """Of three commands, the last one sent decides; each is delivered twice."""
    other = Untrack if last is Track else Track
    commands = {1: sent(1, last), 2: sent(2, other), 3: sent(3, last)}
    story = Story(settings)  # type: ignore[arg-type]
    story.job(tracked=False)

    for number in (*order, *order):
        assert story.process(commands[number]) == []
        story.poll()

    assert story.is_tracked(ONE) is (last is Track)
    story.end(ONE)
    story.poll(3)
    assert bool(story.events(ONE)) is (last is Track)


@pytest.mark.parametrize("first", [Track, Untrack])
def test_commands_of_one_batch_run_in_the_order_of_sending(
    first: type[Track | Untrack],
) -> None:
    """The queue does not keep the order within a batch either."""
    story = Story()
    story.job()
    story.poll()
    last = Untrack if first is Track else Track
    assert story.process(sent(9, last), Hint(ONE), sent(5, first)) == []
    assert story.is_tracked(ONE) is (last is Track)


def test_untrack_command_before_the_item_prevents_discovery() -> None:
    """Neither the next poll's list, nor Bedrock's event, nor the daily full list tracks the job."""
    story = Story(DISCOVERING)
    story.job(tracked=False)
    assert story.process(sent(1, Untrack)) == []
    story.poll(3)
    assert story.process(Hint(ONE)) == []
    story.poll(after=2 * DAY)
    assert not story.is_tracked(ONE)


def test_untrack_command_that_races_with_discovery_wins() -> None:
    """Discovery puts the item between the read and the put of the command."""
    story = Story(DISCOVERING)
    story.job(tracked=False)

    def discovered() -> None:
        story.poll(after=0)

    watched = Watched(story.world, at=("PutItem", 1, discovered))
    assert story.process(sent(1, Untrack), watched=watched) == []
    assert not story.is_tracked(ONE)


def test_track_command_restarts_the_seven_days_of_an_unreadable_job() -> None:
    """The earlier error is removed, so that the next poll does not untrack the job."""
    story = Story()
    story.job()
    job = story.world.jobs.pop(ONE)
    story.poll(4)
    story.poll(2, after=8 * DAY)
    assert not story.is_tracked(ONE)

    assert story.process(Track(ONE, story.world.now)) == []
    story.poll(2)
    assert story.is_tracked(ONE)
    story.world.jobs[ONE] = job
    story.end(ONE)
    story.poll(2, after=20 * MINUTE)
    assert story.has_ended(ONE)


def test_track_command_for_an_ended_job_changes_nothing() -> None:
    """The end stays recorded, and the job is not polled again."""
    story = Story()
    story.job()
    story.end(ONE)
    story.poll()
    before = story.item(ONE)
    assert story.process(Track(ONE, story.world.now)) == []
    story.poll()
    assert story.item(ONE) == before


@pytest.mark.parametrize("commanded", ["9999-12-31T00:00:00.000Z", "0001-01-01T00:00:00.000Z"])
def test_implausible_command_time_in_an_item_blocks_no_later_command(
    commanded: str,
) -> None:
    """`commandAt` can come from a wrong clock: it must not take precedence over every command."""
    story = Story()
    story.job()
    story.poll()
    story.write(ONE, commandAt={"S": commanded})
    assert story.process(Untrack(ONE, story.world.now)) == []
    assert not story.is_tracked(ONE)


def test_task_of_a_job_untracked_and_tracked_again_is_called_back() -> None:
    """Untrack, then Track with a token, in one batch with a hint."""
    story = Story()
    story.job()
    story.poll()
    story.world.waiting["token"] = ONE
    track = Track(ONE, START + timedelta(minutes=8), WaitingTask("token"))
    assert story.process(track, sent(7, Untrack), Hint(ONE)) == []
    story.end(ONE)
    story.poll(2)
    assert story.world.answered == {"token": statuses.COMPLETED}


def test_task_of_a_superseded_track_command_is_called_back() -> None:
    """A later Untrack stops polling, and the task gets the end once it is recorded."""
    story = Story()
    story.job()
    story.poll()
    assert story.process(sent(9, Untrack)) == []
    story.world.waiting["token"] = ONE
    track = Track(ONE, START + timedelta(minutes=8), WaitingTask("token"))
    assert story.process(track) == []
    assert not story.is_tracked(ONE)
    story.end(ONE)
    assert story.process(sent(10, Track)) == []
    story.poll()
    assert story.world.answered == {"token": statuses.COMPLETED}


@pytest.mark.parametrize("settings", [SETTINGS, DISCOVERING], ids=["by hand", "discovery"])
@pytest.mark.parametrize("fault", ["throttled", "denied", "put by hand"])
def test_job_that_is_tracked_while_a_poll_untracks_it_stays_tracked(
    fault: str, settings: Settings
) -> None:
    """The poll was refused after a week of errors; the Track command comes before its write."""
    story = Story(settings)
    arn = story.job(statuses.IN_PROGRESS, statuses.COMPLETED)
    job = story.world.jobs.pop(arn)
    story.poll(4)
    story.world.tick(7 * DAY + 3600)

    def track() -> None:
        story.world.jobs[arn] = job
        if fault == "put by hand":
            story.world.put(arn)
        else:
            unread = Watched(story.world, {"GetModelInvocationJob": fault})
            story.process(Track(arn, story.world.now), watched=unread)

    assert story.poll(watched=Watched(story.world, at=("UpdateItem", 1, track))).jobs_given_up == 0
    assert story.is_tracked(arn)
    story.end(arn)
    story.poll(5)
    assert story.has_ended(arn)
