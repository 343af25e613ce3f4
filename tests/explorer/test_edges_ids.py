"""IDs and histories that start again: expired entries, new tables, items that were put again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.requests import Track
from bedrock_batch_monitor.domain.tasks import WaitingTask
from tests.explorer.edges import HOUR, Story, Watched
from tests.support.monitor import RULES, SETTINGS

TALKATIVE = replace(SETTINGS, discovery_prefix="", rules=replace(RULES, emit_status_changes=True))
KEPT_FOR_A_DAY = replace(SETTINGS, history_retention=timedelta(days=1))
LIFE = (statuses.SUBMITTED, statuses.SCHEDULED, statuses.IN_PROGRESS, statuses.COMPLETED)


def lived(story: Story, *, steps: int) -> str:
    """A job that was seen in so many statuses, an hour each."""
    arn = story.job(*LIFE)
    story.poll()
    for _ in range(steps - 1):
        story.world.tick(HOUR)
        story.world.advance(arn)
        story.poll()
    return arn


def test_end_after_a_new_deployment_has_a_new_event_id() -> None:
    """A receiver that drops known IDs still gets it. Each status has its own ID, too."""
    story = Story(TALKATIVE)
    arn = lived(story, steps=3)
    story.world.lose("jobs", "history", "state", "outbox")
    story.deploy(TALKATIVE)
    story.poll()
    story.world.advance(arn)
    story.poll(2)
    before = story.ids(arn, event_kinds.STATUS_CHANGED.detail_type)
    assert len(story.ids(arn)) == 1
    assert before.isdisjoint(story.ids(arn))
    # Nor for another status of the job.
    told = {
        (detail["metadata"]["eventId"], detail["data"]["status"])
        for detail in story.events(arn, event_kinds.STATUS_CHANGED.detail_type)
    }
    assert len({identity for identity, _ in told}) == len(told)


def test_two_deployments_publish_the_end_of_a_job_with_one_id() -> None:
    """The second one, with its own tables, saw the job later."""
    story, other = Story(), Story()
    arn = lived(story, steps=4)
    other.world.jobs, other.world.now = story.world.jobs, story.world.now
    other.world.put(arn)
    other.poll()
    assert story.history(arn) != other.history(arn)
    assert story.ids(arn) == other.ids(arn)


@pytest.mark.parametrize("expired", [1, 2, 3, 4])
def test_item_that_is_put_again_after_entries_expired_does_not_fork_the_history(
    expired: int,
) -> None:
    """An ended job, whose first, second, third or all entries have expired."""
    story = Story(KEPT_FOR_A_DAY)
    arn = lived(story, steps=4)
    ids = story.ids(arn)
    for sequence in range(1, expired + 1):
        story.world.expire(arn, sequence)
    story.world.put(arn)
    story.poll(3)
    assert story.ids(arn) == ids
    assert story.has_ended(arn)
    assert story.number(arn, "sequence") == (4 if expired < 4 else 1)


@pytest.mark.parametrize("expired", [0, 1, 2])
def test_running_job_that_is_put_again_continues_its_history(expired: int) -> None:
    """Its first entries expired while it ran."""
    story = Story(KEPT_FOR_A_DAY)
    arn = lived(story, steps=3)
    for sequence in range(1, expired + 1):
        story.world.expire(arn, sequence)
    story.world.put(arn)
    story.poll()
    assert story.number(arn, "sequence") == 3
    story.end(arn)
    story.poll()
    assert story.history(arn)[-1] == (4, statuses.COMPLETED)
    assert story.has_ended(arn)


@pytest.mark.parametrize("kind", ["gone", "denied"])
def test_ended_job_that_bedrock_no_longer_returns_is_restored(kind: str) -> None:
    """It is put again manually: the complete item and its end, without an Unreachable event."""
    story = Story()
    arn = lived(story, steps=4)
    before = story.item(arn)
    if kind == "gone":
        del story.world.jobs[arn]
    story.world.put(arn)
    faults = {"GetModelInvocationJob": "denied"} if kind == "denied" else {}
    story.poll(30, watched=Watched(story.world, faults))
    # The end is published again.
    volatile = {"trackedAt", "trackedBy", "progressAt", "eventPublishedAt"}
    restored = story.item(arn)
    assert {name: restored.get(name) for name in before.keys() - volatile} == {
        name: before[name] for name in before.keys() - volatile
    }
    assert story.events(arn, event_kinds.UNREACHABLE.detail_type) == []
    assert len(story.events(arn)) == 2
    assert len(story.ids(arn)) == 1


def test_refused_job_that_is_put_again_keeps_its_sequence() -> None:
    """The item continues from the history, with the error; a successful read completes it."""
    story = Story()
    arn = lived(story, steps=2)
    before = story.item(arn)
    story.world.put(arn)
    story.poll(4, watched=Watched(story.world, {"GetModelInvocationJob": "denied"}))
    assert story.number(arn, "sequence") == 2
    assert story.item(arn)["lastError"]["M"]["code"] == {"S": "AccessDeniedException"}
    story.poll(2, after=20 * 60)
    assert "lastError" not in story.item(arn)
    for name in ("submitTime", "inputDataConfig", "roleArn", "jobExpirationTime"):
        assert story.item(arn)[name] == before[name]


def test_item_that_is_put_again_keeps_its_pending_events() -> None:
    """Status changes and conditions that the bus had not accepted are still sent."""
    rules = replace(
        RULES, emit_status_changes=True, stalled_after=timedelta(minutes=5), emit_at_risk=True
    )
    story = Story(replace(SETTINGS, rules=rules))
    arn = story.job(*LIFE)
    story.world.refuses = True
    story.poll()
    story.poll(after=600)
    story.world.advance(arn)
    story.poll()
    pending = story.pending(arn)
    assert len(pending) == 3
    story.world.put(arn)
    story.poll()
    story.world.put(arn)
    story.world.refuses = False
    story.poll(3)
    assert len(story.ids(arn, event_kinds.STATUS_CHANGED.detail_type)) == 2
    assert len(story.ids(arn, event_kinds.STALLED.detail_type)) == 1


def test_unreachable_event_that_is_pending_survives_an_item_that_is_put_again() -> None:
    """The job cannot be read before and after, and the bus refuses."""
    story = Story()
    arn = lived(story, steps=2)
    job = story.world.jobs.pop(arn)
    story.world.refuses = True
    story.poll(4)
    assert len(story.pending(arn)) == 1
    story.world.put(arn)
    story.poll(after=20 * 60)
    story.world.refuses = False
    story.poll(3, after=20 * 60)
    assert story.ids(arn, event_kinds.UNREACHABLE.detail_type)
    story.world.jobs[arn] = job


def test_status_that_becomes_known_as_terminal_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier version recorded it as unknown; the event and the task's callback follow."""
    for is_put_again in (False, True):
        story = Story()
        arn = story.job(statuses.IN_PROGRESS, "Cancelled")
        story.poll()
        story.world.waiting["token"] = arn
        assert story.process(Track(arn, story.world.now, WaitingTask("token"))) == []
        story.end(arn)
        story.poll(2)
        assert story.is_tracked(arn)
        assert story.events(arn) == []
        with monkeypatch.context() as patched:
            patched.setattr(statuses, "TERMINAL", (*statuses.TERMINAL, "Cancelled"))
            patched.setattr(statuses, "KNOWN", (*statuses.KNOWN, "Cancelled"))
            if is_put_again:
                story.world.put(arn)
            # Bedrock may no longer return it.
            del story.world.jobs[arn]
            story.poll(3)
            assert len(story.ids(arn)) == 1
            assert len({str(detail) for detail in story.events(arn)}) == 1
            assert story.world.answered == {"token": "Cancelled"}
            assert not story.is_tracked(arn)
            assert "eventId" in story.item(arn)
