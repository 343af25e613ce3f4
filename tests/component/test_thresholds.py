"""What changes when a number is exceeded: entries of a call, jobs of a poll, keys of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_batch_monitor.adapters.dynamodb.state_table import StateTable
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.worker_pool import CONCURRENCY
from bedrock_batch_monitor.domain.events import ENTRIES_PER_CALL
from bedrock_batch_monitor.domain.list_summaries import FETCH_EACH_UP_TO
from local.bedrock import Phase, Script

from .conftest import ACCOUNT, REGION, Cloud
from .test_delivery import denied, faulty

MINUTE = 60


def unprocessed(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, leave_out: Callable[[str], bool]
) -> None:
    """Have BatchGetItem leave these keys unprocessed, as DynamoDB does when it throttles."""
    client = cloud.monitor.jobs._client
    real = client.batch_get_item

    def some(*, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 - boto3's name
        [(table, request)] = RequestItems.items()
        keys = request["Keys"]
        left = [key for key in keys if leave_out(key["jobArn"]["S"])]
        done = [key for key in keys if key not in left]
        responses = (
            real(RequestItems={table: {**request, "Keys": done}})["Responses"] if done else {}
        )
        answer: dict[str, Any] = {"Responses": responses, "UnprocessedKeys": {}}
        if left:
            answer["UnprocessedKeys"] = {table: {**request, "Keys": left}}
        return answer

    monkeypatch.setattr(client, "batch_get_item", some)


def test_events_beyond_one_call_are_sent_while_jobs_are_read(cloud: Cloud) -> None:
    """Ten entries per call, and the first call does not wait for the last job to be read."""
    cloud, client = faulty(cloud, lambda _call, _entries: ())
    asked_at_call: list[int] = []
    put = client.put_events

    def noting(**request: Any) -> Any:
        asked_at_call.append(cloud.asked())
        return put(**request)

    client.put_events = noting  # type: ignore[method-assign]
    number = CONCURRENCY + 13
    for _ in range(number):
        cloud.add_job("Completed")
    summary = cloud.poll()
    assert (summary.events_sent, summary.events_pending) == (number, 0)
    assert [len(entries) for entries in client.calls] == [ENTRIES_PER_CALL] * 4 + [5]
    assert asked_at_call[0] == CONCURRENCY
    assert asked_at_call[-1] == number
    assert len(cloud.new_events()) == number
    assert all("pendingEvents" not in item for item in cloud.items("jobs"))


def test_unreadable_state_does_not_stop_a_poll_of_many_jobs(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its bookmarks a poll fetches every job, whatever a list could have confirmed."""
    number = FETCH_EACH_UP_TO + 2
    for _ in range(number):
        cloud.add_job("InProgress")

    def throttled(*_: object) -> None:
        slow = ServiceError("DynamoDB", "ThrottlingException", "slow down")
        raise slow

    with monkeypatch.context() as patch:
        patch.setattr(StateTable, "load", throttled)
        summary = cloud.poll()
    assert (summary.jobs_read, summary.jobs_changed) == (number, number)
    assert (summary.errors, summary.complete) == ({"DynamoDB.ThrottlingException": 1}, True)
    assert cloud.poll().errors == {}


def test_pending_events_that_a_batch_does_not_return_stay_pending(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unprocessed keys are counted as an error, sent by the next poll, and delay no other."""
    arns = [cloud.add_job("Failed") for _ in range(3)]
    refusing, _ = faulty(cloud, denied)
    assert refusing.poll().events_pending == 3
    with monkeypatch.context() as patch:
        unprocessed(cloud, patch, lambda arn: arn == arns[1])
        summary = cloud.poll()
    assert summary.events_sent == 2
    assert summary.errors == {"DynamoDB.UnprocessedKeys": 1}
    assert "pendingEvents" in (cloud.job(arns[1]) or {})
    assert cloud.poll().events_sent == 1
    assert len(cloud.new_events()) == 3


def test_known_jobs_that_a_batch_does_not_return_keep_their_items(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Discovery treats them as unknown; its put overwrites no existing item."""
    cloud = cloud.with_settings(discovery_prefix="")
    arn = cloud.add_job(Script((Phase("Scheduled", MINUTE), Phase("InProgress", None))))
    cloud.poll()
    cloud.bedrock.clock.advance(2 * MINUTE)
    cloud.poll()
    # Untracked, so that only the list shows it.
    cloud.monitor.jobs.untrack(arn, at=cloud.bedrock.clock.now())
    before = cloud.job(arn)
    new = cloud.bedrock.add_job(
        script=Script((Phase("InProgress", None),)), account=ACCOUNT, region=REGION
    )
    unprocessed(cloud, monkeypatch, lambda _: True)
    summary = cloud.poll()
    assert cloud.job(arn) == before
    assert (summary.jobs_discovered, len(cloud.history(new))) == (1, 1)


def test_second_discovery_of_the_same_jobs_writes_nothing(cloud: Cloud) -> None:
    """Known jobs are read in one batch, and are not put again."""
    cloud = cloud.with_settings(discovery_prefix="")
    for _ in range(5):
        cloud.bedrock.add_job(
            script=Script((Phase("Completed", None),)), account=ACCOUNT, region=REGION
        )
    assert cloud.poll().jobs_discovered == 5
    cloud.bedrock.clock.advance(MINUTE)
    with cloud.counting() as made:
        assert cloud.poll().jobs_discovered == 0
    assert made["PutItem"] == made["UpdateItem"] == 0
    assert made["BatchGetItem"] == 1


@pytest.mark.parametrize(
    "operation", ["UpdateItem", "TransactWriteItems"], ids=["one by one", "together"]
)
def test_sent_event_without_acknowledgement_is_sent_again(cloud: Cloud, operation: str) -> None:
    """Delivery is at least once: the repeat has the same id, and the error is counted."""
    number = 1 if operation == "UpdateItem" else 3
    for _ in range(number):
        cloud.add_job("Completed")
    refusing, _ = faulty(cloud, denied)
    refusing.poll()
    left = [1]

    def refuse(**_: Any) -> None:
        if left[0]:
            left[0] -= 1
            error = {"Error": {"Code": "InternalServerError", "Message": "oops"}}
            raise ClientError(error, operation)  # type: ignore[arg-type]

    cloud.monitor.jobs._client.meta.events.register(f"before-call.dynamodb.{operation}", refuse)
    summary = cloud.poll()
    assert summary.events_sent == number
    assert summary.errors == {"DynamoDB.InternalServerError": 1}
    assert cloud.poll().events_sent == number
    ids = [event["detail"]["metadata"]["eventId"] for event in cloud.new_events()]
    assert len(ids) == 2 * number
    assert len(set(ids)) == number
