from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.adapters.dynamodb.state_table import StateTable
from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app import discover
from local.bedrock import Phase, Script

from .conftest import START, Cloud
from .test_discovery import submit

DAY = timedelta(days=1)
MINUTE = 60


def finished(cloud: Cloud, days_ago: float, status: str = "Failed", **attributes: Any) -> str:
    """A job that was submitted so long ago, ran for an hour, and ended."""
    script = Script((Phase("InProgress", 3600), Phase(status, None)))
    return submit(cloud, script, submitted_at=START - days_ago * DAY, **attributes)


@pytest.fixture
def backfilling(cloud: Cloud) -> Cloud:
    """The cloud with a monitor that discovers jobs, and backfills thirty days."""
    return cloud.with_settings(discovery_prefix="", backfill=30 * DAY)


def test_ended_jobs_are_recorded_without_events(backfilling: Cloud) -> None:
    """A first deployment records them with one transition each; running jobs are tracked."""
    cloud = backfilling
    arns = [finished(cloud, days) for days in (1, 10, 29)]
    older, running = finished(cloud, 31), submit(cloud, submitted_at=START - DAY)
    summary = cloud.poll()
    assert (summary.jobs_backfilled, summary.jobs_discovered) == (3, 1)
    assert (summary.jobs_changed, summary.jobs_ended, summary.events_sent) == (1, 0, 0)
    for arn in arns:
        [entry] = cloud.history(arn)
        assert (entry["sequence"], entry["status"]) == (1, "Failed")
        job = cloud.job(arn)
        assert job is not None
        assert (job["backfilled"], job["trackedBy"]) == (True, "discovery")
        assert not {"tracking", "eventPending", "pendingEvents"} & set(job)
    assert cloud.job(older) is None
    assert len(cloud.history(running)) == 1
    cloud.bedrock.clock.advance(MINUTE)
    assert cloud.poll().jobs_backfilled == 0
    assert cloud.new_events() == []


def test_job_that_ends_after_the_deployment_has_its_event(backfilling: Cloud) -> None:
    """The backfill ends where discovery began, so a later end is published in any case."""
    cloud = backfilling
    before = finished(cloud, 1)
    script = Script((Phase("InProgress", 86400), Phase("Completed", None)))
    since = submit(cloud, script, submitted_at=START - timedelta(hours=23, minutes=59))
    fault = cloud.bedrock.faults.deny(operation="ListModelInvocationJobs")
    cloud.poll()
    cloud.bedrock.clock.advance(2 * MINUTE)
    cloud.bedrock.faults.remove(fault)
    summary = cloud.poll()
    assert (summary.jobs_ended, summary.jobs_backfilled) == (1, 1)
    assert (len(cloud.history(before)), len(cloud.history(since))) == (1, 1)
    assert [event["resources"] for event in cloud.new_events()] == [[since]]


def test_backfill_runs_once(backfilling: Cloud) -> None:
    """Once it has reached its limit, it makes no more list calls."""
    cloud = backfilling
    finished(cloud, 5)
    cloud.poll()
    [state] = cloud.items("state")
    assert state["backfilledSince"] == "2026-10-25T20:00:00.000Z"
    before = cloud.bedrock.calls["ListModelInvocationJobs", "OK"]
    cloud.bedrock.clock.advance(MINUTE)
    cloud.poll()
    assert cloud.bedrock.calls["ListModelInvocationJobs", "OK"] - before == 1


def test_raised_setting_continues_the_backfill(backfilling: Cloud) -> None:
    """A later deployment with more days backfills older jobs, and with fewer days none."""
    cloud = backfilling
    near, far = finished(cloud, 20), finished(cloud, 50)
    cloud.poll()
    assert (len(cloud.history(near)), len(cloud.history(far))) == (1, 0)
    cloud.bedrock.clock.advance(MINUTE)
    settings: dict[str, Any] = {"discovery_prefix": ""}
    assert cloud.with_settings(**settings, backfill=7 * DAY).poll().jobs_backfilled == 0
    assert cloud.with_settings(**settings, backfill=60 * DAY).poll().jobs_backfilled == 1
    assert len(cloud.history(far)) == 1
    assert cloud.new_events() == []


def test_backfill_can_begin_after_discovery(cloud: Cloud) -> None:
    """Jobs that had ended before discovery began are backfilled then."""
    arn = finished(cloud, 3)
    discovering = cloud.with_settings(discovery_prefix="")
    discovering.poll()
    assert cloud.history(arn) == []
    cloud.bedrock.clock.advance(10 * 86400)
    ended_since = submit(cloud, "Completed")
    cloud.with_settings(discovery_prefix="", backfill=30 * DAY).poll()
    assert len(cloud.history(arn)) == 1
    assert [event["resources"] for event in cloud.new_events()] == [[ended_since]]


def test_backfill_applies_the_job_filter(cloud: Cloud) -> None:
    """An ended job that discovery would not track is not backfilled."""
    cloud = cloud.with_settings(discovery_prefix="", discovery_pattern="*-prod", backfill=30 * DAY)
    wanted = finished(cloud, 3, job_name="a-prod")
    finished(cloud, 3, job_name="a-test")
    assert cloud.poll().jobs_backfilled == 1
    assert [item["jobArn"] for item in cloud.items("jobs")] == [wanted]


def test_backfill_does_not_change_known_jobs(backfilling: Cloud) -> None:
    """A manually tracked job has its event."""
    arn = backfilling.track(finished(backfilling, 3))
    summary = backfilling.poll()
    assert (summary.jobs_backfilled, summary.jobs_ended, summary.events_sent) == (0, 1, 1)
    assert "backfilled" not in (backfilling.job(arn) or {})


def test_long_list_is_resumed_by_the_next_poll(
    backfilling: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Polls that run out of time backfill the rest, newest first, and repeat nothing."""
    cloud = backfilling
    monkeypatch.setattr(discover, "BATCH", 5)
    arns = [finished(cloud, days) for days in range(1, 29)]
    done, pending_events = 0, []
    for _ in range(9):
        before = cloud.asked()

        def left(before: int = before) -> float:
            return 900 if cloud.asked() - before < 5 else 10

        done += cloud.monitor.poll(left).jobs_backfilled
        pending_events.append(cloud.items("state")[0].get("backfilledSince"))
        cloud.bedrock.clock.advance(MINUTE)
    reached = [pending_event for pending_event in pending_events if pending_event is not None]
    assert reached == sorted(reached, reverse=True)
    assert len(set(reached)) > 2
    assert done == 28
    assert all(len(cloud.history(arn)) == 1 for arn in arns)
    assert cloud.new_events() == []


def test_crash_before_the_record_of_a_backfilled_job_causes_no_event(
    backfilling: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag of the put item applies in the next poll, though the index does not have it."""
    cloud = backfilling
    arn = finished(cloud, 3)

    def dies(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(TransitionWrites, "record", dies)
        with pytest.raises(SystemExit):
            cloud.poll()
    assert (cloud.job(arn) or {})["backfilled"] is True
    assert cloud.history(arn) == []
    cloud.bedrock.clock.advance(MINUTE)
    summary = cloud.poll()
    assert (summary.jobs_backfilled, summary.jobs_ended) == (1, 0)
    assert len(cloud.history(arn)) == 1
    cloud.poll()
    assert cloud.new_events() == []


def test_crash_before_the_bookmark_repeats_no_record(
    backfilling: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next poll lists the same jobs again and finds them known."""
    arn = finished(backfilling, 3)

    def dies(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(StateTable, "set_backfilled_since", dies)
        with pytest.raises(SystemExit):
            backfilling.poll()
    backfilling.bedrock.clock.advance(MINUTE)
    assert backfilling.poll().jobs_backfilled == 0
    assert len(backfilling.history(arn)) == 1
    assert backfilling.new_events() == []


def test_unreadable_backfilled_job_has_no_event(cloud: Cloud) -> None:
    """Its item has the error, and it is recorded without an event once it can be read."""
    cloud = cloud.with_settings(
        discovery_prefix="",
        backfill=30 * DAY,
        rules=replace(cloud.monitor.reconciler.rules, unreachable_after_polls=1),
    )
    arn = finished(cloud, 3)
    fault = cloud.bedrock.faults.deny(job_arn=arn)
    assert cloud.poll().conditions["Unreachable"] == 1
    assert (cloud.job(arn) or {})["lastError"]["code"] == "AccessDeniedException"
    cloud.bedrock.faults.remove(fault)
    for _ in range(16):
        cloud.bedrock.clock.advance(MINUTE)
        cloud.poll()
    assert len(cloud.history(arn)) == 1
    assert cloud.new_events() == []


def test_unreachable_backfilled_job_after_a_crash_has_no_event(cloud: Cloud) -> None:
    """The index does not have the flag that only the history is wanted; the item has it."""
    cloud = cloud.with_settings(
        rules=replace(cloud.monitor.reconciler.rules, unreachable_after_polls=2)
    )
    arn = finished(cloud, 3)
    cloud.dynamodb.put_item(
        TableName="jobs",
        Item={"jobArn": {"S": arn}, "tracking": {"S": "ACTIVE"}, "backfilled": {"BOOL": True}},
    )
    cloud.bedrock.faults.deny(job_arn=arn)
    for _ in range(3):
        cloud.poll()
        cloud.bedrock.clock.advance(MINUTE)
    assert "unreachableSince" in (cloud.job(arn) or {})
    assert cloud.new_events() == []


def test_backfilled_job_that_still_runs_has_its_event(
    backfilling: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong end in a list loses no event: the end that is read later has its own."""
    cloud = backfilling
    arn = finished(cloud, 3)
    bedrock = type(cloud.monitor.reconciler.bedrock)
    get: Callable[..., Any] = bedrock.get

    def runs(self: Any, job_arn: str) -> Any:
        return replace(get(self, job_arn), status="InProgress")

    with monkeypatch.context() as patch:
        patch.setattr(bedrock, "get", runs)
        assert cloud.poll().jobs_backfilled == 0
    cloud.bedrock.clock.advance(MINUTE)
    assert cloud.poll().jobs_ended == 1
    assert [event["resources"] for event in cloud.new_events()] == [[arn]]


def test_failed_list_is_repeated(backfilling: Cloud) -> None:
    """Without the permission to list, the bookmark stays where it was."""
    arn = finished(backfilling, 3)
    fault = backfilling.bedrock.faults.deny(operation="ListModelInvocationJobs")
    assert backfilling.poll().errors == {"Bedrock.AccessDeniedException": 2}
    backfilling.bedrock.faults.remove(fault)
    backfilling.bedrock.clock.advance(MINUTE)
    assert backfilling.poll().jobs_backfilled == 1
    assert len(backfilling.history(arn)) == 1


def test_backfilled_end_has_no_event_while_the_item_cannot_be_read(
    backfilling: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The condition of the write decides, not the state that a poll has read."""
    cloud = backfilling
    arn = finished(cloud, 3)
    cloud.dynamodb.put_item(
        TableName="jobs",
        Item={
            "jobArn": {"S": arn},
            "tracking": {"S": "ACTIVE"},
            "backfilled": {"BOOL": True},
        },
    )

    def throttled(*_: object) -> None:
        slow = ServiceError("DynamoDB", "ThrottlingException", "slow down")
        raise slow

    with monkeypatch.context() as patch:
        patch.setattr(JobsTable, "find", throttled)
        cloud.poll()
    assert cloud.history(arn) == []
    assert cloud.poll().jobs_backfilled == 1
    assert cloud.new_events() == []
