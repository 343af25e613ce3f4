"""Edge cases of the bus: it accepts events while it does not exist, and refuses some entries."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bedrock_batch_monitor.domain import event_kinds, statuses
from tests.explorer.edges import Story, Watched
from tests.support.monitor import RULES, SETTINGS


def ended_without_bus(story: Story, count: int) -> list[str]:
    """Jobs that ended while there was no bus."""
    arns = story.jobs(count)
    story.poll()
    story.world.delete_bus()
    story.end(*arns)
    story.poll(3)
    assert story.world.received == []
    return arns


def test_events_stay_pending_while_the_bus_cannot_be_described() -> None:
    """DescribeEventBus fails once while the bus is missing: nothing is sent or acknowledged."""
    story = Story()
    arns = ended_without_bus(story, 40)
    for kind in ("throttled", "denied-look"):
        story.world.bus_is_hidden = kind == "denied-look"
        faults = {} if kind == "denied-look" else {"DescribeEventBus": kind}
        watched = Watched(story.world, faults, first=1)
        summary = story.poll(watched=watched)
        assert "PutEvents" not in watched.made
        assert summary.errors
        assert all(story.pending(arn) for arn in arns)
    story.world.bus_is_hidden = False
    story.world.create_bus()
    story.poll(2)
    assert all(story.has_ended(arn) for arn in arns)


def test_events_are_sent_once_the_bus_can_be_described_again() -> None:
    """DescribeEventBus fails in every poll of an hour, though the bus is there."""
    story = Story()
    arn = story.job()
    story.end(arn)
    story.world.bus_is_hidden = True
    story.poll(60)
    assert story.pending(arn)
    assert story.world.received == []
    story.world.bus_is_hidden = False
    story.poll()
    assert story.has_ended(arn)
    assert story.pending(arn) == []


def test_bus_that_is_deleted_between_check_and_call_loses_no_event() -> None:
    """EventBridge accepts what is sent to the missing bus."""
    story = Story()
    arn = story.job()
    story.end(arn)
    story.poll(watched=Watched(story.world, at=("PutEvents", 1, story.world.delete_bus)))
    assert story.pending(arn)
    story.world.create_bus()
    story.poll()
    assert story.has_ended(arn)


def test_bus_that_is_recreated_around_a_call_loses_no_event() -> None:
    """Both checks find a bus, but not the same one."""
    story = Story()
    arn = story.job()
    story.end(arn)

    def replaced_after_the_call() -> None:
        story.world.delete_bus(calls=1)

    story.poll(watched=Watched(story.world, at=("PutEvents", 1, replaced_after_the_call)))
    assert story.world.bus_created_at is not None
    assert story.pending(arn)
    story.poll()
    assert story.has_ended(arn)


def test_check_that_fails_after_the_call_leaves_events_pending() -> None:
    """The events may have gone to another bus: they are sent again, with the same ID."""
    story = Story()
    arn = story.job()
    story.end(arn)
    hide = Watched(story.world, at=("PutEvents", 1, lambda: _hide(story)))
    story.poll(watched=hide)
    assert story.pending(arn)
    story.world.bus_is_hidden = False
    story.poll()
    assert len(story.events(arn)) == 2
    assert story.has_ended(arn)


def _hide(story: Story) -> None:
    story.world.bus_is_hidden = True


def test_refused_entries_alone_stay_pending() -> None:
    """A response of 200 with FailedEntryCount: only an EventId for the entry counts."""
    story = Story()
    arns = story.jobs(3)
    story.end(*arns)
    story.poll(watched=Watched(story.world, {"PutEvents": "refused-last"}, first=1))
    assert sorted(len(story.pending(arn)) for arn in arns) == [0, 0, 1]
    story.poll()
    assert all(story.has_ended(arn) for arn in arns)


def test_every_kind_of_event_stays_pending_without_a_bus() -> None:
    rules = replace(RULES, emit_status_changes=True, stalled_after=timedelta(minutes=5))
    story = Story(replace(SETTINGS, rules=rules))
    arn = story.job(statuses.SCHEDULED, *("InProgress", "Failed"))
    story.world.delete_bus()
    story.poll()
    story.poll(after=600)
    story.end(arn)
    story.poll()
    assert len(story.pending(arn)) == 3
    story.world.create_bus()
    story.poll(2)
    for kind in (
        event_kinds.STATUS_CHANGED.detail_type,
        event_kinds.STALLED.detail_type,
        event_kinds.ENDED.detail_type,
    ):
        assert len(story.ids(arn, kind)) == 1
