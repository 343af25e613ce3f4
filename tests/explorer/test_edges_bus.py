"""A bus at its edges: it accepts events when it does not exist, and refuses some entries."""

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


def test_events_stay_pending_while_it_is_unknown_whether_the_bus_exists() -> None:
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


def test_events_are_sent_once_the_bus_can_be_looked_at_again() -> None:
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


def test_bus_that_is_deleted_between_look_and_send_loses_no_event() -> None:
    """EventBridge accepts what is sent to the bus that is gone."""
    story = Story()
    arn = story.job()
    story.end(arn)
    story.poll(watched=Watched(story.world, at=("PutEvents", 1, story.world.delete_bus)))
    assert story.pending(arn)
    story.world.create_bus()
    story.poll()
    assert story.has_ended(arn)


def test_bus_that_is_deleted_and_created_again_around_a_call_loses_no_event() -> None:
    """Both looks find a bus, but not the same one."""
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


def test_look_that_fails_after_the_call_leaves_events_pending() -> None:
    """Sent, but nobody knows to which bus: they are sent again, with the same id."""
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


def test_entries_that_are_refused_one_by_one_stay_pending_and_the_others_do_not() -> None:
    """An answer of 200 with FailedEntryCount: only an entry's own EventId counts."""
    story = Story()
    arns = story.jobs(3)
    story.end(*arns)
    story.poll(watched=Watched(story.world, {"PutEvents": "refused-last"}, first=1))
    assert sorted(len(story.pending(arn)) for arn in arns) == [0, 0, 1]
    story.poll()
    assert all(story.has_ended(arn) for arn in arns)


def test_status_changes_and_conditions_wait_for_the_bus_too() -> None:
    """Every kind of event is kept while the bus is missing."""
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
