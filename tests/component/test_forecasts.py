"""Forecasts of polls: jobs that wait are at risk when few like them would be done in time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from aws_lambda_powertools import Logger

from bedrock_batch_monitor.adapters.dynamodb.completed_jobs import CompletedJobs
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.composition import compose_inbox
from bedrock_batch_monitor.domain.jobs import TrackedJob
from bedrock_batch_monitor.domain.times import to_iso
from local.bedrock import Phase, Script
from tests.support.monitor import REGION, SETTINGS

from .conftest import START, Cloud

HOUR = 3600
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
AT_RISK = "Batch Inference Job At Risk"
# In the queue for an hour, and then two hours of work.
USUAL = Script((Phase("Scheduled", HOUR), Phase("InProgress", 2 * HOUR), Phase("Completed", None)))
WAITS = Script((Phase("Scheduled", 20 * HOUR), Phase("InProgress", None)))


@pytest.fixture
def experienced(cloud: Cloud) -> Cloud:
    """A monitor that has followed six usual jobs to their end, four hours after the start."""
    cloud = cloud.with_rules(read_tags=True)
    for _ in range(6):
        cloud.add_job(USUAL, model_id=HAIKU, total_records=1000)
    cloud.poll()
    for _ in range(4):
        later(cloud, HOUR)
    assert [each["detail-type"] for each in cloud.new_events()] == ["Batch Inference Job Ended"] * 6
    return cloud


def later(cloud: Cloud, seconds: float) -> Any:
    """A poll after so many seconds."""
    cloud.bedrock.clock.advance(seconds)
    return cloud.poll()


def add_waiting(cloud: Cloud, deadline: str, script: Script = WAITS) -> str:
    """A job that waits, with a deadline."""
    tags = {"bbm:deadline": deadline}
    return cloud.add_job(script, model_id=HAIKU, total_records=1000, tags=tags)


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
    later(cloud, 60)
    (warning,) = warnings(cloud)
    assert warning["risk"] == {
        "reason": "deadline",
        "at": to_iso(submitted + timedelta(hours=2)),
        "estimatedEndTime": to_iso(submitted + timedelta(hours=3)),
    }
    later(cloud, 600)
    assert warnings(cloud) == []
    assert (cloud.job(arn) or {})["conditions"].keys() == {"AtRisk"}


def test_job_with_enough_time_is_not_at_risk(experienced: Cloud) -> None:
    """Usual jobs take three hours. Jobs that wait longer than all known ones say nothing."""
    cloud = experienced
    add_waiting(cloud, "4h")
    cloud.poll()
    for _ in range(3):
        later(cloud, HOUR)
    assert warnings(cloud) == []
    later(cloud, HOUR - 600)
    assert [each["risk"]["reason"] for each in warnings(cloud)] == ["deadline"]


def test_new_deadline_ends_the_risk(experienced: Cloud) -> None:
    """The next poll forecasts for the new one."""
    cloud = experienced
    arn = add_waiting(cloud, "2h")
    cloud.poll()
    later(cloud, 60)
    assert len(warnings(cloud)) == 1
    cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET deadline = :later",
        ExpressionAttributeValues={":later": {"S": to_iso(START + timedelta(days=2))}},
    )
    later(cloud, 60)
    assert "conditions" not in (cloud.job(arn) or {})


def test_native_event_keeps_the_risk_that_a_poll_found(experienced: Cloud) -> None:
    """The inbox reads no history, so it neither begins nor ends the risk."""
    cloud = experienced
    arn = add_waiting(cloud, "2h")
    cloud.poll()
    later(cloud, 60)
    assert len(warnings(cloud)) == 1
    session = boto3.Session(region_name=REGION)
    inbox = compose_inbox(SETTINGS, session, clock=cloud.bedrock.clock.now)
    native = {
        "source": "aws.bedrock",
        "detail-type": "Batch Inference Job State Change",
        "detail": {"batchJobArn": arn},
    }
    logger = Logger(service=f"test-{id(cloud)}", stream=cloud.log)
    assert inbox.batch(lambda: 900, logger).follow_messages({"one": json.dumps(native)}) == []
    later(cloud, 60)
    assert (cloud.job(arn) or {})["conditions"].keys() == {"AtRisk"}
    assert warnings(cloud) == []


def test_forecast_reads_once_an_hour_and_only_for_jobs_that_wait(experienced: Cloud) -> None:
    """Four reads in an hour: the list, the ended jobs, and the model of each job once."""
    cloud = experienced
    with cloud.counting() as nothing_waits:
        later(cloud, 60)
    add_waiting(cloud, "9h", Script((Phase("Scheduled", None),)))
    cloud.poll()
    with cloud.counting() as first:
        later(cloud, 60)
    with cloud.counting() as second:
        later(cloud, 60)
    assert second == nothing_waits
    assert first - second == {"BatchGetItem": 2, "Query": 1}
    with cloud.counting() as in_the_next_hour:
        later(cloud, HOUR)
    assert in_the_next_hour - nothing_waits == {"BatchGetItem": 1, "Query": 1}


def test_job_of_another_model_has_no_forecast(experienced: Cloud) -> None:
    """Fewer than five jobs of its model are known."""
    cloud = experienced
    cloud.add_job(WAITS, model_id="mistral.mistral-small-2402-v1:0", tags={"bbm:deadline": "2h"})
    cloud.poll()
    later(cloud, 60)
    assert warnings(cloud) == []


def test_list_scan_gets_a_job_that_comes_at_risk(experienced: Cloud) -> None:
    """With more than 32 jobs, a list confirms the others."""
    cloud = experienced
    for _ in range(40):
        add_waiting(cloud, "9h")
    add_waiting(cloud, "2h")
    cloud.poll()
    asked = cloud.asked()
    later(cloud, 60)
    assert len(warnings(cloud)) == 1
    assert cloud.asked() - asked <= 2


def test_failed_read_of_the_history_is_counted_and_changes_nothing(experienced: Cloud) -> None:
    """The job is followed as without a forecast, and the next poll tries again."""
    cloud = experienced
    arn = add_waiting(cloud, "2h")
    cloud.poll()
    failure = ServiceError("DynamoDB", "ProvisionedThroughputExceededException", "test")
    with patch.object(CompletedJobs, "newest", side_effect=failure):
        summary = later(cloud, 60)
    assert dict(summary.errors) == {failure.code: 1}
    assert warnings(cloud) == []
    assert "conditions" not in (cloud.job(arn) or {})
    later(cloud, 60)
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
    times = iter([True, True, True, False])
    found = forecasts.queue_risks({job.job_arn: job}, lambda: next(times))
    assert found.by_job.keys() == {job.job_arn}
    late = {job.job_arn: replace(job, deadline=to_iso(now))}
    assert forecasts.queue_risks(late, lambda: True).by_job == {}
