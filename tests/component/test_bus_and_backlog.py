"""Proof that the bus accepted an event, and the cost of a backlog of pending events per poll."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from bedrock_batch_monitor.adapters.eventbridge import EventBus
from bedrock_batch_monitor.adapters.stepfunctions import TaskClient
from bedrock_batch_monitor.domain.summary import PollSummary
from bedrock_batch_monitor.outbox.task_callbacks import TaskCallbacks
from local.bedrock import Phase, Script

from .conftest import START, Cloud
from .test_delivery import Faulty, denied, faulty
from .test_tasks import RUNNING, Waiting, dying_at, inbox, submit, waiting

__all__ = ["inbox", "waiting"]

MINUTE = 60


class Watched(Faulty):
    """An EventBridge client whose DescribeEventBus can fail, or return another bus."""

    def __init__(self, client: Any, *looks: Any) -> None:
        super().__init__(client, lambda _call, _entries: ())
        self.looks = list(looks)

    def describe_event_bus(self, **_: Any) -> Any:
        """Answer with the next look, the last one over and over."""
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return look


def refusal(code: str) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "not now"}}
    return ClientError(answer, "DescribeEventBus")  # type: ignore[arg-type]


THERE = {"Name": "monitor", "CreationTime": START}
REPLACED = {"Name": "monitor", "CreationTime": START + timedelta(hours=1)}


def watched(cloud: Cloud, *looks: Any) -> tuple[Cloud, Watched]:
    client = Watched(cloud.events, *looks)
    return cloud.with_bus(EventBus(client, "monitor")), client  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("look", "code"),
    [
        (refusal("ResourceNotFoundException"), "EventBridge.BusMissing"),
        (refusal("AccessDeniedException"), "EventBridge.AccessDeniedException"),
        (refusal("ThrottlingException"), "EventBridge.ThrottlingException"),
        (refusal("InternalException"), "EventBridge.InternalException"),
        (ReadTimeoutError(endpoint_url="https://events"), "EventBridge.ReadTimeoutError"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_events_are_sent_only_to_a_bus_that_exists(
    cloud: Cloud, look: Exception, code: str
) -> None:
    """PutEvents reports success for a bus that is gone: without a check the events stay pending."""
    for _ in range(3):
        cloud.add_job("Failed")
    unknown, client = watched(cloud, look)
    summary = unknown.poll()
    assert client.calls == []
    assert (summary.jobs_ended, summary.events_sent, summary.events_pending) == (3, 0, 3)
    assert summary.errors == {code: 1}
    assert cloud.poll().events_sent == 3
    assert len(cloud.new_events()) == 3


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (refusal("ResourceNotFoundException"), "EventBridge.BusMissing"),
        (refusal("AccessDeniedException"), "EventBridge.AccessDeniedException"),
        (REPLACED, "EventBridge.BusReplaced"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_events_are_acknowledged_only_if_the_bus_exists_after_the_call(
    cloud: Cloud, second: Any, code: str
) -> None:
    """A bus that is deleted while a poll runs loses no event permanently."""
    cloud.add_job("Failed")
    changing, client = watched(cloud, THERE, second)
    summary = changing.poll()
    assert len(client.calls) == 1
    assert (summary.events_sent, summary.events_pending) == (0, 1)
    assert summary.errors == {code: 1}
    assert cloud.poll().events_sent == 1


def test_entry_has_the_time_of_the_observation(cloud: Cloud) -> None:
    """An event that was pending does not look as if it happened when it was sent."""
    arn = cloud.add_job("Failed")
    refusing, _ = faulty(cloud, denied)
    refusing.poll()
    cloud.bedrock.clock.advance(10 * MINUTE)
    recorded, client = faulty(cloud, lambda _call, _entries: ())
    recorded.poll()
    [[entry]] = client.calls
    assert entry["Time"] == START
    assert entry["Resources"] == [arn]
    assert entry["EventBusName"] == "monitor"


@pytest.mark.parametrize(
    "answer",
    [
        {"FailedEntryCount": 0, "Entries": []},
        {"FailedEntryCount": 0, "Entries": [{"EventId": "a"}]},
        {"FailedEntryCount": 0, "Entries": [{}, {}]},
        {"FailedEntryCount": 0, "Entries": [{"EventId": ""}, {"EventId": ""}]},
    ],
    ids=str,
)
def test_response_without_an_id_per_entry_acknowledges_none(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]
) -> None:
    """Only an EventId for each entry proves that an event was accepted."""
    for _ in range(2):
        cloud.add_job("Failed")
    odd, client = faulty(cloud, lambda _call, _entries: ())
    monkeypatch.setattr(client, "put_events", lambda **_: answer)
    summary = odd.poll()
    assert (summary.events_sent, summary.events_pending) == (0, 2)
    assert summary.errors == {"EventBridge.UnusableAnswer": 2}
    assert cloud.poll().events_sent == 2


def refusing_all(_call: int, entries: list[Any]) -> Iterable[int]:
    """A bus that refuses entry by entry, while each call succeeds."""
    return range(len(entries))


def test_bus_that_refuses_every_entry_delays_no_read(cloud: Cloud) -> None:
    """After a call in which nothing was accepted, the backlog makes no other call."""
    for _ in range(35):
        cloud.add_job("Failed")
    refusing, client = faulty(cloud, refusing_all)
    refusing.poll()
    new = [cloud.add_job("InProgress") for _ in range(3)]
    client.calls.clear()
    summary = refusing.poll()
    assert len(client.calls) == 1
    assert (summary.events_pending, summary.jobs_read) == (35, 3)
    assert all(len(cloud.history(arn)) == 1 for arn in new)
    assert cloud.poll().events_sent == 35


def test_refused_events_do_not_block_later_events(cloud: Cloud) -> None:
    """The ten oldest are refused permanently; the next polls send the events after them."""
    for _ in range(10):
        cloud.add_job("Failed")
    bad: set[str] = {item["jobArn"] for item in cloud.items("jobs")}

    def refuse_bad(_call: int, entries: list[Any]) -> Iterable[int]:
        return [position for position, entry in enumerate(entries) if entry["Resources"][0] in bad]

    refusing, _ = faulty(cloud, refuse_bad)
    refusing.poll()
    down, _ = faulty(cloud, denied)
    for _ in range(5):
        cloud.bedrock.clock.advance(MINUTE)
        cloud.add_job("Completed")
        down.poll()
    summaries: list[PollSummary] = []
    for _ in range(3):
        cloud.bedrock.clock.advance(MINUTE)
        summaries.append(refusing.poll())
    assert sum(summary.events_sent for summary in summaries) == 5
    assert {item["jobArn"] for item in cloud.items("jobs") if "pendingEvents" in item} == bad


def test_backlog_uses_only_a_part_of_the_time(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow bus with many pending events leaves time for every job."""
    for _ in range(40):
        cloud.add_job("Failed")
    down, _ = faulty(cloud, denied)
    down.poll()
    monkeypatch.setattr("bedrock_batch_monitor.app.backlog.BATCH", 10)
    new = [cloud.add_job("InProgress") for _ in range(3)]
    left = [55.0]

    def slow(_call: int, _entries: list[Any]) -> Iterable[int]:
        left[0] -= 6
        return ()

    cloud, client = faulty(cloud, slow)
    read_after: list[int] = []
    get = cloud.monitor.reconciler.bedrock.get

    def noting(job_arn: str) -> Any:
        read_after.append(len(client.calls))
        return get(job_arn)

    monkeypatch.setattr(cloud.monitor.reconciler.bedrock, "get", noting)
    summary = cloud.monitor.poll(lambda: left[0])
    assert (summary.jobs_read, summary.complete) == (3, True)
    assert set(read_after) == {2}
    assert all(len(cloud.history(arn)) == 1 for arn in new)
    # What time is left goes to the backlog again.
    assert summary.events_sent == 40


def test_restored_end_keeps_the_task_that_waits_for_it(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The item was put again, and the process ends right after the restore: the token is kept."""
    cloud = waiting.cloud
    arn = submit(cloud, RUNNING)
    waiting.track(arn)
    cloud.bedrock.clock.advance(2 * MINUTE)
    with monkeypatch.context() as patch:
        dying_at(patch, TaskCallbacks, "send")
        with pytest.raises(SystemExit):
            cloud.poll()
        # By hand, with two attributes alone.
        cloud.track(arn)
        with pytest.raises(SystemExit):
            cloud.poll()
    assert len(cloud.history(arn)) == 2
    assert cloud.poll().tasks_answered == 1
    assert waiting.nothing_left(arn)


def test_clients_have_two_attempts_and_a_connection_per_thread() -> None:
    """The poll has its own budget: an SDK that retries for long starves the other jobs."""
    session = boto3.Session("key", "secret", region_name="us-east-1")
    config = TaskClient.connect(session, 7)._client.meta.config  # type: ignore[attr-defined]
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    assert config.max_pool_connections == 7
    events = EventBus.connect(session, "monitor", 7)._client.meta.config
    assert events.retries == {"mode": "standard", "total_max_attempts": 2}


def test_events_of_an_item_that_was_put_again_are_not_lost(cloud: Cloud) -> None:
    """A pending Stalled event is in the outbox too, and is sent with its first id."""
    cloud = cloud.with_rules(stalled_after=timedelta(minutes=30))
    down, _ = faulty(cloud, denied)
    arn = cloud.add_job(Script((Phase("Scheduled", None),)))
    down.poll()
    cloud.bedrock.clock.advance(31 * MINUTE)
    down.poll()
    [pending_event] = (cloud.job(arn) or {})["pendingEvents"]
    assert pending_event.startswith("Stalled#1#")
    cloud.track(arn)
    down.poll()
    assert (cloud.job(arn) or {})["pendingEvents"] == {pending_event}
    cloud.poll()
    # The item that was put again says nothing of the stall, which may be found once more: as the
    # same fact, with the same id.
    events = cloud.new_events()
    assert {event["detail-type"] for event in events} == {"Batch Inference Job Stalled"}
    assert len({event["detail"]["metadata"]["eventId"] for event in events}) == 1
    assert cloud.items("outbox") == []
