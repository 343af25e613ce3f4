"""Forecasts of polls: jobs that wait are at risk when few like them would be done in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from bedrock_batch_monitor.adapters.dynamodb.completed_jobs import CompletedJobs
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.forecasts import Forecasts, QueueRisks
from bedrock_batch_monitor.app.models import Models
from bedrock_batch_monitor.domain.forecast import Forecaster, QueueRisk
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.times import to_iso
from local.bedrock import Phase, Script
from tests.support.monitor import native_event

from .conftest import START, Cloud
from .test_owners import process

HOUR = 3600
HOURS = timedelta(hours=1)
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
AT_RISK = "Batch Inference Job At Risk"
# In the queue for an hour, and then two hours of work.
USUAL = Script((Phase("Scheduled", HOUR), Phase("InProgress", 2 * HOUR), Phase("Completed", None)))
WAITS = Script((Phase("Scheduled", 20 * HOUR), Phase("InProgress", None)))


@pytest.fixture
def experienced(cloud: Cloud) -> Cloud:
    """A monitor that has tracked six usual jobs to their end, four hours after the start."""
    cloud = cloud.with_rules(read_tags=True)
    for _ in range(6):
        cloud.add_job(USUAL, model_id=HAIKU, total_records=1000)
    cloud.poll()
    for _ in range(4):
        cloud.poll_after(HOUR)
    assert [each["detail-type"] for each in cloud.new_events()] == ["Batch Inference Job Ended"] * 6
    return cloud


def add_waiting(cloud: Cloud, deadline: str, script: Script = WAITS) -> str:
    """A job that waits, with a deadline."""
    tags = {"bbm:deadline": deadline}
    return cloud.add_job(script, model_id=HAIKU, total_records=1000, tags=tags)


def add_at_risk(cloud: Cloud) -> str:
    """A job that waits, and that the second poll finds at risk."""
    arn = add_waiting(cloud, "2h")
    cloud.poll()
    cloud.poll_after(60)
    assert len(warnings(cloud)) == 1
    return arn


def warnings(cloud: Cloud) -> list[dict[str, Any]]:
    """The data of the new events about jobs at risk."""
    return [each["detail"]["data"] for each in cloud.new_events() if each["detail-type"] == AT_RISK]


def test_waiting_job_is_at_risk_as_soon_as_its_history_says_so(experienced: Cloud) -> None:
    """Its run alone takes two hours, so with a deadline of two hours it is late from the start.

    Without the history, it would be at risk only twelve minutes before.
    """
    cloud = experienced
    arn = add_waiting(cloud, "2h")
    cloud.poll()
    assert warnings(cloud) == []
    submitted = cloud.bedrock.clock.now()
    cloud.poll_after(60)
    (warning,) = warnings(cloud)
    assert warning["risk"] == {
        "reason": "deadline",
        "at": to_iso(submitted + timedelta(hours=2)),
        "estimatedEndTime": to_iso(submitted + timedelta(hours=3)),
    }
    cloud.poll_after(600)
    assert warnings(cloud) == []
    assert (cloud.job(arn) or {})["conditions"].keys() == {"AtRisk"}


def test_job_with_enough_time_is_not_at_risk(experienced: Cloud) -> None:
    """Usual jobs take three hours. Jobs that wait longer than all known ones say nothing."""
    cloud = experienced
    add_waiting(cloud, "4h")
    cloud.poll()
    for _ in range(3):
        cloud.poll_after(HOUR)
    assert warnings(cloud) == []
    cloud.poll_after(HOUR - 600)
    assert [each["risk"]["reason"] for each in warnings(cloud)] == ["deadline"]


def test_new_deadline_ends_the_risk(experienced: Cloud) -> None:
    """The next poll forecasts for the new one."""
    cloud = experienced
    arn = add_at_risk(cloud)
    cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET deadline = :later",
        ExpressionAttributeValues={":later": {"S": to_iso(START + timedelta(days=2))}},
    )
    cloud.poll_after(60)
    assert "conditions" not in (cloud.job(arn) or {})


def test_native_event_keeps_the_risk_that_a_poll_found(experienced: Cloud) -> None:
    """The inbox reads no history, so it neither begins nor ends the risk."""
    cloud = experienced
    arn = add_at_risk(cloud)
    process(cloud, native_event(arn))
    cloud.poll_after(60)
    assert (cloud.job(arn) or {})["conditions"].keys() == {"AtRisk"}
    assert warnings(cloud) == []


def test_forecast_reads_once_an_hour_and_only_for_jobs_that_wait(experienced: Cloud) -> None:
    """Four reads in an hour: the list, the ended jobs, and the model of each job once."""
    cloud = experienced
    with cloud.counting() as nothing_waits:
        cloud.poll_after(60)
    add_waiting(cloud, "9h", Script((Phase("Scheduled", None),)))
    cloud.poll()
    with cloud.counting() as first:
        cloud.poll_after(60)
    with cloud.counting() as second:
        cloud.poll_after(60)
    assert second == nothing_waits
    assert first - second == {"BatchGetItem": 2, "Query": 1}
    with cloud.counting() as in_the_next_hour:
        cloud.poll_after(HOUR)
    assert in_the_next_hour - nothing_waits == {"BatchGetItem": 1, "Query": 1}


def test_job_of_another_model_has_no_forecast(experienced: Cloud) -> None:
    """Fewer than five jobs of its model are known."""
    cloud = experienced
    cloud.add_job(WAITS, model_id="mistral.mistral-small-2402-v1:0", tags={"bbm:deadline": "2h"})
    cloud.poll()
    cloud.poll_after(60)
    assert warnings(cloud) == []


def test_list_scan_gets_a_job_that_comes_at_risk(experienced: Cloud) -> None:
    """With more than 32 jobs, a list confirms the others."""
    cloud = experienced
    for _ in range(40):
        add_waiting(cloud, "9h")
    add_waiting(cloud, "2h")
    cloud.poll()
    asked = cloud.asked()
    cloud.poll_after(60)
    assert len(warnings(cloud)) == 1
    assert cloud.asked() - asked <= 2


def test_failed_read_of_the_history_is_counted_and_changes_nothing(experienced: Cloud) -> None:
    """The job is tracked as without a forecast, and the next poll tries again."""
    cloud = experienced
    arn = add_waiting(cloud, "2h")
    cloud.poll()
    failure = ServiceError("DynamoDB", "ProvisionedThroughputExceededException", "test")
    with patch.object(CompletedJobs, "newest", side_effect=failure):
        summary = cloud.poll_after(60)
    assert dict(summary.errors) == {failure.code: 1}
    assert warnings(cloud) == []
    assert "conditions" not in (cloud.job(arn) or {})
    cloud.poll_after(60)
    assert len(warnings(cloud)) == 1


def test_without_time_nothing_is_read(experienced: Cloud) -> None:
    """A poll that has no time left reads no history."""
    forecasts = experienced.monitor.forecasts
    assert forecasts is not None
    now = experienced.bedrock.clock.now()
    job = TrackedJob(
        add_waiting(experienced, "9h"),
        status="Scheduled",
        submit_time=now,
        deadline=to_iso(now + timedelta(hours=2)),
    )
    with experienced.counting() as counted:
        assert forecasts.queue_risks({job.job_arn: job}, lambda: False).by_job == {}
    assert not counted
    experienced.poll()
    assert forecasts.queue_risks({job.job_arn: job}, lambda: True).by_job.keys() == {job.job_arn}
    late = {job.job_arn: replace(job, deadline=to_iso(now))}
    assert forecasts.queue_risks(late, lambda: True).by_job == {}


def test_forecast_that_ran_out_of_time_is_made_by_the_next_poll(experienced: Cloud) -> None:
    """At whatever point the time is up: nothing that was read in part counts as known."""
    arn = add_waiting(experienced, "9h")
    experienced.poll()
    now = experienced.bedrock.clock.now()
    deadline = to_iso(now + 2 * HOURS)
    job = TrackedJob(arn, status="Scheduled", submit_time=now, deadline=deadline)
    used = experienced.monitor.forecasts
    assert used is not None
    cut_off = []
    for calls in range(1, 12):
        forecasts = Forecasts(used.scope, Models(used.models.jobs), used.completed, used.clock)
        asked = iter(range(calls))
        found = forecasts.queue_risks({arn: job}, lambda asked=asked: next(asked, None) is not None)
        cut_off.append(len(found.by_job))
        assert forecasts.queue_risks({arn: job}, lambda: True).by_job[arn].begins == now
    # At the start, for the model, six entries, their jobs, and the result.
    assert cut_off == [0] * 9 + [1] * 2


def test_job_whose_end_is_recorded_twice_counts_once(experienced: Cloud) -> None:
    """DynamoDB refuses to read the same key twice in one call."""
    cloud = experienced
    entries = cloud.dynamodb.scan(TableName="history")["Items"]
    ends = [each for each in entries if each["status"]["S"] == "Completed"]
    for end in ends:
        cloud.dynamodb.put_item(TableName="history", Item=end | {"sequence": {"N": "99"}})
    add_waiting(cloud, "2h")
    cloud.poll()
    summary = cloud.poll_after(60)
    assert not summary.errors
    assert len(warnings(cloud)) == 1


def test_risk_of_a_job_without_a_model_ends_with_a_new_deadline(experienced: Cloud) -> None:
    """Otherwise it would last until the job runs, because nothing forecasts for the job."""
    cloud = experienced
    arn = add_at_risk(cloud)
    cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET deadline = :later REMOVE modelId",
        ExpressionAttributeValues={":later": {"S": to_iso(START + timedelta(days=2))}},
    )
    cloud.with_rules(read_tags=True).poll_after(60)
    assert "conditions" not in (cloud.job(arn) or {})


def test_defect_of_the_forecast_does_not_stop_the_poll(cloud: Cloud) -> None:
    """It is counted, and the jobs are tracked as without a forecast."""
    add_waiting(cloud, "2h")
    cloud.poll()
    running = cloud.add_job("InProgress")
    with patch.object(Forecasts, "queue_risks", side_effect=OverflowError):
        summary = cloud.poll_after(60)
    assert dict(summary.errors) == {"Monitor.OverflowError": 1}
    assert (cloud.job(running) or {})["status"] == "InProgress"


def test_forecasts_of_many_jobs_are_calculated_over_several_polls(cloud: Cloud) -> None:
    """Each poll calculates a bounded number; a result counts until there is a newer one."""
    arns = {add_waiting(cloud, "9h"): None for _ in range(5)}
    cloud.poll()
    forecasts = cloud.monitor.forecasts
    assert forecasts is not None
    now = cloud.bedrock.clock.now()
    job = TrackedJob("", status="Scheduled", submit_time=now, deadline=to_iso(now + 9 * HOURS))
    active = {arn: replace(job, job_arn=arn) for arn in arns}

    def known() -> int:
        return len(forecasts.queue_risks(active, lambda: True).by_job)

    with (
        patch("bedrock_batch_monitor.app.forecasts.MOST_CALCULATED", 2),
        patch.object(Forecaster, "queue_risk", return_value=QueueRisk()) as calculated,
    ):
        assert [known() for _ in range(4)] == [2, 4, 5, 5]
        assert calculated.call_count == 5
        cloud.bedrock.clock.advance(HOUR)
        assert [known() for _ in range(4)] == [5, 5, 5, 5]
        assert calculated.call_count == 10
        deadline = to_iso(now + 8 * HOURS)
        active = {arn: replace(each, deadline=deadline) for arn, each in active.items()}
        assert known() == 2


def test_forecast_takes_a_tenth_of_the_time_of_a_poll(cloud: Cloud) -> None:
    """The rest is for the jobs themselves."""
    seconds = [115.0]
    with patch.object(Forecasts, "queue_risks", return_value=QueueRisks()) as asked:
        cloud.monitor.poll(lambda: seconds[0])
    has_time = asked.call_args.args[1]
    assert has_time()
    seconds[0] = 104.9
    assert not has_time()


def test_risk_outlasts_a_burst_of_other_jobs(experienced: Cloud) -> None:
    """More jobs than the list has completed, so that those of its model are no longer in it."""
    cloud = experienced
    arn = add_at_risk(cloud)
    with patch.object(CompletedJobs, "newest", return_value=iter([])):
        cloud.poll_after(HOUR)
    assert (cloud.job(arn) or {})["conditions"].keys() == {"AtRisk"}


def test_jobs_with_odd_times_are_no_basis(experienced: Cloud) -> None:
    """Jobs that end in the future would count as the newest, whatever became of others."""
    cloud = experienced
    arn = add_waiting(cloud, "2h")
    cloud.poll()
    ended = [each["jobArn"] for each in cloud.items("jobs") if each["jobArn"] != arn]
    for odd in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        for each in ended:
            cloud.dynamodb.update_item(
                TableName="jobs",
                Key={"jobArn": {"S": each}},
                UpdateExpression="SET submitTime = :odd, firstInProgressAt = :odd, endTime = :odd",
                ExpressionAttributeValues={":odd": {"S": odd}},
            )
        forecasts = cloud.with_rules(read_tags=True).monitor.forecasts
        assert forecasts is not None
        now = cloud.bedrock.clock.now()
        deadline = to_iso(now + timedelta(milliseconds=1))
        job = TrackedJob(arn, status="Scheduled", submit_time=now, deadline=deadline)
        with patch.object(Forecaster, "keep") as kept:
            assert forecasts.queue_risks({arn: job}, lambda: True).by_job == {arn: QueueRisk()}
        kept.assert_not_called()
