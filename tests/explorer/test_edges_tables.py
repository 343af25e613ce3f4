"""Lost or restored tables, one at a time, and deleted items."""

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
def test_loss_of_one_table_loses_no_end(table: str, how: str, *, is_known: bool) -> None:
    """Each table is restored to an earlier point, or lost: every end is published once."""
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
def test_restore_of_several_tables_loses_no_end(tables: tuple[str, ...]) -> None:
    """They are restored to the same point: jobs that were discovered since are discovered again."""
    story, arns = three_jobs()
    story.world.restore(*tables)
    story.poll(3)
    story.end(*arns)
    story.poll(5)
    assert all(len(story.ids(arn)) == 1 for arn in arns)


@pytest.mark.parametrize("operation", ["GetModelInvocationJob", "DescribeTable", "PutItem"])
def test_jobs_table_replaced_during_a_poll_loses_no_job(operation: str) -> None:
    """The poll has read the items of the old table, and discovery lists for the new one."""
    story, arns = three_jobs()
    lose = Watched(story.world, at=(operation, 1, lambda: story.world.lose("jobs", "history")))
    story.poll(watched=lose)
    story.poll(2)
    story.end(*arns)
    story.poll(3)
    assert all(story.has_ended(arn) for arn in arns)


@pytest.mark.parametrize("is_ended", [False, True])
def test_deleted_item_of_a_discovered_job_is_restored_within_a_day(*, is_ended: bool) -> None:
    """No command is sent, and no table is replaced: the daily full list finds the job."""
    story, arns = three_jobs()
    story.world.delete(arns[0])
    if is_ended:
        story.end(arns[0])
    story.poll(26, after=HOUR)
    story.end(*arns)
    story.poll(2, after=MINUTE)
    assert all(story.has_ended(arn) for arn in arns)


def test_task_missing_in_a_restored_item_is_called_back() -> None:
    """The backup is older than the task, the outbox is not."""
    story, arns = three_jobs()
    story.world.waiting["token"] = arns[0]
    assert story.process(Track(arns[0], story.world.now, WaitingTask("token"))) == []
    story.world.restore("jobs")
    story.end(arns[0])
    story.poll(3)
    assert story.world.answered == {"token": statuses.COMPLETED}


def test_ended_job_of_a_restored_table_is_restored_from_the_history() -> None:
    """Bedrock no longer returns it."""
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


def test_bookmark_of_a_newer_state_table_loses_no_job() -> None:
    """The state table was restored to a point that is after the other tables."""
    story, arns = three_jobs()
    story.world.lose("jobs", "history", "outbox")
    story.poll()
    story.end(*arns)
    story.poll(3)
    assert all(story.has_ended(arn) for arn in arns)


@pytest.mark.parametrize("had_error", [False, True])
def test_end_is_restored_if_bedrock_no_longer_returns_the_job(*, had_error: bool) -> None:
    """The backup of the jobs table may have the error of an earlier refused read."""
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
