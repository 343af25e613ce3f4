from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import BUS_MISSING
from bedrock_batch_monitor.app.worker_pool import CONCURRENCY, STOP_BEFORE_DEADLINE_SECONDS
from bedrock_batch_monitor.domain.jobs import RecordCounts, TrackedJob
from bedrock_batch_monitor.domain.summary import PollSummary
from local.bedrock import Phase, Script

from .conftest import START, Cloud

MINUTE = 60
HOUR = 3600
# Takes longer than the 24 hours that it has.
SLOW = Script((Phase("InProgress", 40 * HOUR), Phase("Completed", None)), steps=600)


def polls(cloud: Cloud, count: int, seconds: float = MINUTE) -> list[PollSummary]:
    """Run polls, a minute apart by default."""
    summaries = []
    for _ in range(count):
        summaries.append(cloud.poll())
        cloud.bedrock.clock.advance(seconds)
    return summaries


def fail_writes(cloud: Cloud, operation: str, error: dict[str, Any], times: int) -> None:
    """Have DynamoDB refuse so many calls of one operation before they have an effect."""
    left = [times]

    def refuse(**_: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise ClientError(error, operation)  # type: ignore[arg-type]

    cloud.monitor.jobs._client.meta.events.register(f"before-call.dynamodb.{operation}", refuse)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_throttled_calls_stay_in_budget_and_starve_no_job(cloud: Cloud, share: float) -> None:
    """With half or nine tenths of all calls refused, calls stay in budget and all is recorded."""
    arns = [cloud.add_job("Completed") for _ in range(40)]
    cloud.bedrock.faults.throttle(share=share)
    rounds = 0
    while cloud.poll().jobs_active:
        rounds += 1
        asked = cloud.asked()
        active = cloud.poll().jobs_active
        # One call for each job, and half as many repeats or ten.
        assert cloud.asked() - asked <= active + max(10, active // 2)
        assert rounds < 60
    assert all([item["status"] for item in cloud.history(arn)] == ["Completed"] for arn in arns)
    assert len(cloud.new_events()) == 40


def test_rate_limit_on_calls_starves_no_job(cloud: Cloud) -> None:
    """If only so many calls succeed per poll, different jobs get them in each poll."""
    arns = [cloud.add_job("InProgress") for _ in range(30)]
    cloud.bedrock.faults.throttle(per_second=10 / MINUTE, burst=10)
    polls(cloud, 4)
    assert all(cloud.history(arn) for arn in arns)


def test_unreachable_job_has_one_event(cloud: Cloud) -> None:
    """The third consecutive poll that cannot read it sends the event; tracking continues slowly."""
    arn, good = cloud.add_job("InProgress", job_name="gone"), cloud.add_job("InProgress")
    cloud.poll()
    cloud.bedrock.faults.hide(arn)
    cloud.bedrock.clock.advance(MINUTE)
    first, second, third = polls(cloud, 3)
    assert [summary.conditions["Unreachable"] for summary in (first, second, third)] == [0, 0, 1]
    [event] = cloud.new_events()
    assert event["detail-type"] == "Batch Inference Job Unreachable"
    data = event["detail"]["data"]
    assert data["error"]["code"] == "ResourceNotFoundException"
    assert (data["status"], data["jobName"]) == ("InProgress", "gone")
    job = cloud.job(arn)
    assert job is not None
    assert job["tracking"] == "ACTIVE"
    assert (job["unreadablePolls"], job["unreachableSince"]) == (3, data["unreachableSince"])

    asked = cloud.asked()
    with cloud.counting() as made:
        summaries = polls(cloud, 30)
    # Every poll reads the other job, one in fifteen the unreachable one; nothing is written.
    assert cloud.asked() - asked == 30 + 2
    assert made["UpdateItem"] == made["TransactWriteItems"] == 0
    assert all(summary.conditions["Unreachable"] == 1 for summary in summaries)
    assert cloud.new_events() == []
    assert len(cloud.history(good)) == 1


def test_unreachable_job_that_can_be_read_again_continues(cloud: Cloud) -> None:
    """It is recorded as usual, and may become unreachable again."""
    arn = cloud.add_job(Script((Phase("InProgress", 2 * HOUR), Phase("Completed", None))))
    cloud.poll()
    for _ in range(2):
        fault = cloud.bedrock.faults.deny(job_arn=arn)
        polls(cloud, 3)
        cloud.bedrock.faults.remove(fault)
        polls(cloud, 15)
        job = cloud.job(arn)
        assert job is not None
        assert not {"lastError", "unreadablePolls", "unreachableSince"} & set(job)
    first, second = cloud.new_events()
    assert first["detail"]["metadata"]["eventId"] != second["detail"]["metadata"]["eventId"]
    cloud.bedrock.clock.advance(2 * HOUR)
    assert cloud.poll().jobs_ended == 1
    assert [item["status"] for item in cloud.history(arn)] == ["InProgress", "Completed"]


def test_occasional_refusals_have_no_event(cloud: Cloud) -> None:
    """A job that is refused, but not in three consecutive polls, is not unreachable."""
    arn = cloud.add_job("InProgress")
    for _ in range(5):
        fault = cloud.bedrock.faults.deny(job_arn=arn)
        polls(cloud, 2)
        cloud.bedrock.faults.remove(fault)
        polls(cloud, 1)
    assert cloud.new_events() == []
    assert "lastError" not in (cloud.job(arn) or {})


def test_job_that_was_never_readable_has_an_unreachable_event(cloud: Cloud) -> None:
    """An ARN that Bedrock does not know becomes unreachable without ever having had a status."""
    arn = cloud.track("arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/doesnotexist")
    polls(cloud, 4)
    [event] = cloud.new_events()
    assert event["detail"]["metadata"]["sequence"] == 0
    assert "status" not in event["detail"]["data"]
    assert event["resources"] == [arn]
    assert cloud.history(arn) == []


def test_denied_access_to_all_jobs_is_recorded_and_loses_nothing(cloud: Cloud) -> None:
    """Every item has the error; once the permission is back, tracking continues."""
    arns = [cloud.add_job("Completed") for _ in range(5)]
    fault = cloud.bedrock.faults.deny()
    summary = cloud.poll()
    assert summary.errors == {"Bedrock.AccessDeniedException": 5}
    codes = [(cloud.job(arn) or {})["lastError"]["code"] for arn in arns]
    assert codes == ["AccessDeniedException"] * 5
    cloud.bedrock.faults.remove(fault)
    assert cloud.poll().jobs_ended == 5
    assert all("lastError" not in (cloud.job(arn) or {}) for arn in arns)


def test_stalled_job_has_one_event_per_stall(cloud: Cloud) -> None:
    """No change for the configured time sends one event; a change ends the episode."""
    cloud = cloud.with_rules(stalled_after=timedelta(minutes=30), progress_interval=timedelta(0))
    arn = cloud.add_job(
        Script(
            (
                Phase("Scheduled", HOUR),
                Phase("InProgress", 10 * MINUTE, processed=0.5),
                Phase("InProgress", 2 * HOUR, processed=0.5),
                Phase("Completed", None),
            )
        ),
        total_records=1000,
    )
    summaries = polls(cloud, 55)
    assert [summary.conditions["Stalled"] for summary in summaries] == [0] * 30 + [1] * 25
    [event] = cloud.new_events()
    assert event["detail-type"] == "Batch Inference Job Stalled"
    assert event["detail"]["data"]["stalledSince"] == "2026-11-24T20:00:00.000Z"
    assert event["detail"]["data"]["stalledSeconds"] == 30 * MINUTE
    assert event["detail"]["data"]["status"] == "Scheduled"
    polls(cloud, 10)
    assert "conditions" not in (cloud.job(arn) or {})
    polls(cloud, 60)
    [event] = cloud.new_events()
    assert event["detail"]["data"]["status"] == "InProgress"
    assert event["detail"]["data"]["records"]["processed"] > 0
    assert event["detail"]["data"]["lastProgress"] == {
        "at": event["detail"]["data"]["stalledSince"],
        "processed": 500,
        "total": 1000,
        "recordsPerMinute": pytest.approx(50, rel=0.1),
    }
    # A job without progress has no estimated end.
    assert not {"recordsPerMinute", "estimatedEndTime"} & set(cloud.job(arn) or {})
    polls(cloud, 70)
    assert [event["detail-type"] for event in cloud.new_events()] == ["Batch Inference Job Ended"]
    assert "conditions" not in (cloud.job(arn) or {})


def test_job_at_risk_has_one_event_until_it_catches_up(cloud: Cloud) -> None:
    """An estimate past the expiration sends one event; one before it ends the episode."""
    cloud = cloud.with_rules(emit_at_risk=True)
    arn = cloud.add_job(
        Script(
            (
                Phase("InProgress", 10 * HOUR, processed=0.1),
                Phase("InProgress", 10 * HOUR, processed=0.9),
                Phase("Completed", None),
            ),
            steps=100,
        ),
        total_records=1000,
    )
    summaries = polls(cloud, 30)
    assert sum(summary.conditions["AtRisk"] > 0 for summary in summaries) > 20
    item = cloud.job(arn) or {}
    [event] = cloud.new_events()
    data = event["detail"]["data"]
    assert event["detail-type"] == "Batch Inference Job At Risk"
    assert (
        data["atRiskSince"]
        == item["conditions"]["AtRisk"]
        == event["detail"]["metadata"]["observedAt"]
    )
    assert data["jobExpirationTime"] == item["jobExpirationTime"] == "2026-11-25T20:00:00.000Z"
    assert data["estimatedEndTime"] > "2026-11-28"
    assert data["recordsPerMinute"] == pytest.approx(1 / 6, rel=0.1)
    assert data["secondsPastExpiration"] > 3 * 24 * HOUR
    assert data["records"]["total"] == 1000
    polls(cloud, 80, 10 * MINUTE)
    item = cloud.job(arn) or {}
    assert "conditions" not in item
    assert "2026-11-25T16" < item["estimatedEndTime"] < "2026-11-25T19"
    assert float(item["recordsPerMinute"]) == pytest.approx(0.8 * 1000 / 600, rel=0.1)
    assert cloud.poll().conditions["AtRisk"] == 0
    assert cloud.new_events() == []
    polls(cloud, 50, 10 * MINUTE)
    assert (cloud.job(arn) or {})["status"] == "Completed"
    assert not {"recordsPerMinute", "estimatedEndTime"} & set(cloud.job(arn) or {})


def test_estimate_costs_no_additional_write(cloud: Cloud) -> None:
    """One update per five minutes in which the counts changed includes the estimate."""
    arn = cloud.add_job(SLOW)
    cloud.poll()
    with cloud.counting() as made:
        polls(cloud, 61)
    assert "estimatedEndTime" in (cloud.job(arn) or {})
    assert made["UpdateItem"] <= 12
    assert made["GetItem"] == 61  # the bookmarks, once a poll


def test_condition_ends_when_its_setting_is_turned_off(cloud: Cloud) -> None:
    """The next read removes what an earlier deployment recorded."""
    arn = cloud.add_job(SLOW)
    polls(cloud.with_rules(emit_at_risk=True), 20)
    assert "AtRisk" in (cloud.job(arn) or {})["conditions"]
    assert [summary.conditions["AtRisk"] for summary in polls(cloud, 20)] == [0] * 20
    assert "conditions" not in (cloud.job(arn) or {})


def test_condition_events_stay_pending_like_end_events(cloud: Cloud) -> None:
    """The event waits for the bus like any other, and arrives complete."""
    arn = cloud.add_job("InProgress")
    cloud.poll()
    cloud.bedrock.faults.hide(arn)
    cloud.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    cloud.events.delete_rule(Name="all", EventBusName="monitor")
    cloud.events.delete_event_bus(Name="monitor")
    polls(cloud, 4)
    pending_events = (cloud.job(arn) or {})["pendingEvents"]
    [pending_event] = pending_events
    assert pending_event.startswith("Unreachable#1#")
    cloud.events.create_event_bus(Name="monitor")
    assert cloud.poll().events_sent == 1
    assert "pendingEvents" not in (cloud.job(arn) or {})


def test_deleted_bus_loses_no_event(cloud: Cloud) -> None:
    """PutEvents to a missing bus reports success on AWS, so the monitor checks the bus first."""
    cloud.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    cloud.events.delete_rule(Name="all", EventBusName="monitor")
    cloud.events.delete_event_bus(Name="monitor")
    arn = cloud.add_job("Completed")
    summary = cloud.poll()
    assert summary.errors == {BUS_MISSING: 1}
    assert (summary.jobs_ended, summary.events_sent, summary.events_pending) == (1, 0, 1)
    cloud.bedrock.clock.advance(5 * MINUTE)
    summary = cloud.poll()
    assert summary.oldest_pending_event_seconds == 5 * MINUTE
    assert "the event bus does not exist" in cloud.log.getvalue()
    cloud.events.create_event_bus(Name="monitor")
    assert cloud.poll().events_sent == 1
    assert "pendingEvents" not in (cloud.job(arn) or {})


def test_messages_are_omitted_with_record_messages_off(cloud: Cloud) -> None:
    """Bedrock's message is neither in the tables nor in the event."""
    arn = cloud.add_job(Script((Phase("Failed", None, "a customer's text"),)))
    cloud.with_rules(record_messages=False).poll()
    [event] = cloud.new_events()
    for place in (cloud.job(arn), *cloud.history(arn), event["detail"]["data"]):
        assert place is not None
        assert "message" not in place


@pytest.mark.parametrize(
    "error",
    [
        {"Error": {"Code": "ThrottlingException", "Message": "slow down"}},
        {"Error": {"Code": "InternalServerError", "Message": "oops"}},
        {
            "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
            "CancellationReasons": [{"Code": "None"}, {"Code": "ThrottlingError"}],
        },
    ],
)
def test_refused_write_is_repeated(cloud: Cloud, error: dict[str, Any]) -> None:
    """A transaction refused by DynamoDB changed nothing; the same poll or the next repeats it."""
    arn = cloud.add_job("Completed")
    fail_writes(cloud, "TransactWriteItems", error, times=1)
    first, second = cloud.poll(), cloud.poll()
    assert first.jobs_ended + second.jobs_ended == 1
    assert first.errors.total() == 1
    assert [item["status"] for item in cloud.history(arn)] == ["Completed"]
    assert len(cloud.new_events()) == 1


def test_transaction_conflict_is_not_an_error(cloud: Cloud) -> None:
    """It met another write of the same item; the next poll sees the result."""
    cloud.add_job("Completed")
    conflict = {
        "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
        "CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}],
    }
    fail_writes(cloud, "TransactWriteItems", conflict, times=1)
    summary = cloud.poll()
    assert (summary.conflicts, summary.errors) == (1, {})
    assert cloud.poll().jobs_ended == 1


def test_read_without_a_response_is_retried(cloud: Cloud) -> None:
    """A time-out of Bedrock is retryable; the job is recorded in the same poll."""
    arn = cloud.add_job("Completed")
    left = [1]

    def time_out(**_: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise ReadTimeoutError(endpoint_url="https://bedrock")

    bedrock = cloud.monitor.reconciler.bedrock
    bedrock._client.meta.events.register("before-send", time_out)
    summary = cloud.poll()
    assert summary.errors == {"Bedrock.ReadTimeoutError": 1}
    assert [item["status"] for item in cloud.history(arn)] == ["Completed"]


def test_unknown_fields_of_the_api_are_ignored(cloud: Cloud) -> None:
    """A newer API may return more than the pinned SDK reads."""
    arn = cloud.add_job("Completed")
    cloud.bedrock.faults.override(arn, {"somethingNew": {"deep": [1, 2, 3]}})
    summary = cloud.poll()
    assert (summary.jobs_ended, summary.errors) == (1, {})
    assert "somethingNew" not in (cloud.job(arn) or {})


def test_largest_response_fits_item_and_event(cloud: Cloud) -> None:
    """A message of 2,048 characters of four bytes and long URIs make one item and one event."""
    arn = cloud.add_job(Script((Phase("Failed", None, "\U0001f40d" * 2048),)))
    cloud.bedrock.faults.override(
        arn, {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b/" + "k" * 1000}}}
    )
    assert cloud.poll().events_sent == 1
    [event] = cloud.new_events()
    assert len(event["detail"]["data"]["message"]) == 2048


class Counted:
    """Fifty thousand active jobs that come from nowhere, and a Bedrock that takes its time."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.seconds_left = 40.0
        self.asked: list[str] = []

    def active(self, start_at: str | None, _: object) -> Iterator[TrackedJob]:
        """The jobs in the order of their ARNs, one after the other, from `start_at` on."""
        arns = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/job{:09}"
        first = 0 if start_at is None else int(start_at[-9:])
        for number in (*range(first, self.jobs), *range(first)):
            yield TrackedJob(
                arns.format(number),
                sequence=1,
                status="InProgress",
                changed_at=START + timedelta(seconds=number),
                last_modified_time=START + timedelta(seconds=number),
                first_in_progress_at=START + timedelta(seconds=number),
                counts=RecordCounts(
                    10_000 + number, 5_000 + number, 4_000 + number, 1_000 + number
                ),
                progress_at=START + timedelta(seconds=number),
                submit_time=START + timedelta(seconds=number),
            )

    def states(self, *_: Any) -> Any:
        """Fail as well."""
        return self.get("list")

    def get(self, job_arn: str) -> Any:
        """Fail as a service that is overloaded does, a millisecond nearer to the deadline."""
        overloaded = ServiceError("Bedrock", "InternalServerException", "overloaded")
        self.seconds_left -= 0.001
        self.asked.append(job_arn)
        raise overloaded


@pytest.mark.parametrize("jobs", [5_000, pytest.param(50_000, marks=pytest.mark.scale)])
def test_poll_of_many_jobs_with_slow_bedrock_keeps_time_and_memory(cloud: Cloud, jobs: int) -> None:
    """The poll ends in its time and in bounded memory, and the next polls read the rest."""
    # Each answer costs a millisecond: a poll has time for half of the jobs.
    many = Counted(jobs)
    table = cloud.monitor.jobs
    reconciler = replace(cloud.monitor.reconciler, bedrock=many)  # type: ignore[arg-type]
    table.active = many.active  # type: ignore[method-assign,assignment]
    monitor = replace(cloud.monitor, reconciler=reconciler)
    reached: set[str] = set()
    for _ in range(2):
        many.asked.clear()
        many.seconds_left = STOP_BEFORE_DEADLINE_SECONDS + jobs / 2 * 0.001
        gc.collect()
        tracemalloc.start()
        monitor.poll(lambda: many.seconds_left)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert many.seconds_left > 0
        assert not reached & set(many.asked)
        reached |= set(many.asked)
        # All jobs are known at once, so that the poll can decide whether lists are worthwhile.
        assert peak < 16 * 1024 * 1024 + jobs * 1_700
    assert len(reached) > jobs - 100


def test_connection_pool_has_a_connection_per_thread(cloud: Cloud) -> None:
    """No thread waits for a connection, and the SDK leaves retries to the poll and its budget."""
    bedrock = cloud.monitor.reconciler.bedrock
    assert isinstance(bedrock, BatchInferenceJobs)
    config = bedrock._client.meta.config
    assert config.max_pool_connections == CONCURRENCY
    assert config.retries == {"mode": "standard", "total_max_attempts": 1}
