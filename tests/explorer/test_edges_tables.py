"""Tables that are lost or restored, one at a time, and items that are deleted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.requests import Track
from bedrock_batch_monitor.domain.tasks import WaitingTask
from tests.explorer.edges import HOUR, MINUTE, Story, Watched
from tests.support.monitor import SETTINGS

DISCOVERING = replace(SETTINGS, discovery_prefix="")


def three_jobs() -> tuple[Story, list[str]]:
    """The second and third job were submitted after the backup, half an hour apart."""
    story = Story(DISCOVERING)
    arns = []
    for _ in range(3):
        arns.append(story.job(statuses.SUBMITTED, *("InProgress", "Completed"), tracked=False))
        story.poll(2)
        if len(arns) == 1:
            story.world.back_up()
        story.world.advance(arns[0])
        story.world.tick(HOUR / 2)
    story.poll()
    return story, arns


@pytest.mark.parametrize("table", ["jobs", "history", "state", "outbox"])
@pytest.mark.parametrize("how", ["restore", "lose"])
@pytest.mark.parametrize("is_known", [False, True], ids=["new environment", "same environment"])
def test_no_end_is_lost_with_one_table(table: str, how: str, *, is_known: bool) -> None:
    """Whichever table is restored to an earlier point, or is lost: every end is published once."""
    story, arns = three_jobs()
    getattr(story.world, how)(table)
    if not is_known:
        story.deploy(DISCOVERING)
    story.poll(3)
    story.end(*arns)
    story.poll(5)
    for arn in arns:
        assert len(story.ids(arn)) == 1
        assert not story.is_tracked(arn)
        assert story.item(arn)["status"] == {"S": statuses.COMPLETED}


@pytest.mark.parametrize("tables", [("jobs", "state"), ("jobs", "history", "state", "outbox")])
def test_no_end_is_lost_with_several_tables(tables: tuple[str, ...]) -> None:
    """Restored together, to the same point: what was discovered since is discovered again."""
    story, arns = three_jobs()
    story.world.restore(*tables)
    story.poll(3)
    story.end(*arns)
    story.poll(5)
    assert all(len(story.ids(arn)) == 1 for arn in arns)


@pytest.mark.parametrize("operation", ["GetModelInvocationJob", "DescribeTable", "PutItem"])
def test_jobs_table_that_is_replaced_in_the_middle_of_a_poll_loses_no_job(operation: str) -> None:
    """The poll has read the items of the old table, and discovery lists for the new one."""
    story, arns = three_jobs()
    lose = Watched(story.world, at=(operation, 1, lambda: story.world.lose("jobs", "history")))
    story.poll(watched=lose)
    story.poll(2)
    story.end(*arns)
    story.poll(3)
    assert all(story.has_ended(arn) for arn in arns)


@pytest.mark.parametrize("is_ended", [False, True])
def test_deleted_item_of_a_discovered_job_comes_back_within_a_day(*, is_ended: bool) -> None:
    """Nobody says so, and no table was replaced: the daily full list finds the job."""
    story, arns = three_jobs()
    story.world.delete(arns[0])
    if is_ended:
        story.end(arns[0])
    story.poll(26, after=HOUR)
    story.end(*arns)
    story.poll(2, after=MINUTE)
    assert all(story.has_ended(arn) for arn in arns)


def test_task_whose_registration_a_restored_item_does_not_show_is_called_back() -> None:
    """The backup is older than the task, the outbox is not."""
    story, arns = three_jobs()
    story.world.waiting["token"] = arns[0]
    assert story.follow(Track(arns[0], story.world.now, WaitingTask("token"))) == []
    story.world.restore("jobs")
    story.end(arns[0])
    story.poll(3)
    assert story.world.answered == {"token": statuses.COMPLETED}


def test_ended_job_of_a_restored_table_is_restored_although_bedrock_no_longer_has_it() -> None:
    """Its end is in the history alone."""
    story, arns = three_jobs()
    story.end(*arns)
    story.poll()
    story.world.restore("jobs")
    for arn in arns:
        del story.world.jobs[arn]
    story.poll(10)
    assert story.item(arns[0])["status"] == {"S": statuses.COMPLETED}
    assert not story.is_tracked(arns[0])
    assert len(story.ids(arns[0])) == 1


def test_bookmark_in_the_state_table_of_another_life_loses_no_job() -> None:
    """The state table was restored to a point that is after the other tables."""
    story, arns = three_jobs()
    story.world.lose("jobs", "history", "outbox")
    story.poll()
    story.end(*arns)
    story.poll(3)
    assert all(story.has_ended(arn) for arn in arns)


@pytest.mark.parametrize("had_error", [False, True])
def test_end_is_restored_where_bedrock_no_longer_returns_the_job(*, had_error: bool) -> None:
    """The backup of the jobs table may have an error of a read that was refused before."""
    story = Story()
    arn = story.job(statuses.IN_PROGRESS, statuses.COMPLETED)
    story.poll()
    job = story.world.jobs[arn]
    if had_error:
        del story.world.jobs[arn]
        story.poll()
        story.world.jobs[arn] = job
    story.world.back_up()
    story.end(arn)
    story.world.delete_bus()
    story.poll(2)
    assert story.pending(arn) == ["Ended#2"]
    story.world.create_bus()
    story.world.restore("jobs")
    del story.world.jobs[arn]
    story.poll(3)
    assert story.has_ended(arn)
    assert not story.is_tracked(arn)
    assert len(story.events(arn)) == 1
