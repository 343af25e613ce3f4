"""What `bbm doctor` finds by comparing the tables with each other."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from bbm.doctor.compare_tables import Records, Tables
from bbm.doctor.context import CheckContext
from bbm.doctor.records import records
from bbm.stack_parts import StackParts
from bedrock_batch_monitor.domain.arns import Scope
from local.bedrock import Phase, Script
from tests.component.conftest import Cloud

HOUR = 3600
TWO_STEPS = Script((Phase("Scheduled", HOUR), Phase("InProgress", HOUR), Phase("Completed", None)))


@pytest.fixture
def running(cloud: Cloud) -> str:
    """A job with two recorded transitions, next to one that has ended."""
    cloud.add_job("Failed")
    arn = cloud.add_job(TWO_STEPS)
    cloud.poll()
    cloud.bedrock.clock.advance(HOUR)
    cloud.poll()
    return arn


def compared(cloud: Cloud, retention: timedelta | None = None) -> Records:
    """The comparison as of now."""
    tables = Tables(cloud.dynamodb, "jobs", "history")
    return tables.compare(cloud.bedrock.clock.now(), retention)


@pytest.mark.usefixtures("running")
def test_consistent_tables_have_no_finding(cloud: Cloud) -> None:
    """Also if a person deleted the item of an ended job."""
    ended = [item for item in cloud.dynamodb.scan(TableName="jobs")["Items"] if "eventId" in item]
    for item in ended:
        cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": item["jobArn"]})

    assert len(ended) == 1
    assert compared(cloud) == Records()


def test_deleted_item_of_a_running_job_is_found(cloud: Cloud, running: str) -> None:
    """The history of the job has not ended, and it has no item."""
    cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": running}})

    assert compared(cloud) == Records(without_item=(running,))


def test_item_that_is_older_than_its_history_is_found(cloud: Cloud, running: str) -> None:
    """For example after a restore of the jobs table to an earlier point."""
    cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": running}},
        UpdateExpression="SET #sequence = :first",
        ExpressionAttributeNames={"#sequence": "sequence"},
        ExpressionAttributeValues={":first": {"N": "1"}},
    )

    assert compared(cloud) == Records(older=(running,))


def test_lost_history_is_found_unless_it_expired(cloud: Cloud, running: str) -> None:
    """The last transition of an active job is in the history until its retention ends."""
    key = {"jobArn": {"S": running}, "sequence": {"N": "2"}}
    cloud.dynamodb.delete_item(TableName="history", Key=key)

    assert compared(cloud) == Records(without_history=(running,))
    cloud.bedrock.clock.advance(2 * 24 * HOUR)
    assert compared(cloud, timedelta(days=1)) == Records()


def test_jobs_that_cannot_be_read_have_an_error_code(cloud: Cloud, running: str) -> None:
    """An invalid item, and a job that Bedrock refuses; not a job that can be read."""
    gone = cloud.add_job("InProgress")
    cloud.bedrock.faults.hide(gone)
    wrong = cloud.track("not-an-arn")
    cloud.poll()
    found = dict(Tables(cloud.dynamodb, "jobs", "history").unread())

    assert running not in found
    assert found == {gone: "ResourceNotFoundException", wrong: "InvalidJobArn"}


@pytest.mark.parametrize("scope", [Scope("123456789012", "us-east-1"), Scope("2", "eu-west-1")])
def test_finding_names_the_jobs_and_the_command(cloud: Cloud, running: str, scope: Scope) -> None:
    """Jobs of another scope are discovered again with its name."""
    cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": running}})
    deployment = SimpleNamespace(jobs_table="jobs", history_table="history", scope=scope)
    settings = {"historyRetentionDays": "30"}
    parts = StackParts({}, deployment, settings, None)  # type: ignore[arg-type]
    clients = SimpleNamespace(dynamodb=cloud.dynamodb)
    now = cloud.bedrock.clock.now()
    [finding] = records(CheckContext(clients, "stack", parts, now))  # type: ignore[arg-type]

    assert finding.detail == f"1 running jobs have a history and no item: {running}"
    own = "bbm rediscover --since 8d"
    there = f"{own} --scope 123456789012/us-east-1"
    assert finding.command == (own if scope == Scope("123456789012", "us-east-1") else there)


def test_jobs_without_an_item_are_tracked_by_hand_without_discovery(
    cloud: Cloud, running: str
) -> None:
    """`bbm rediscover` finds nothing then."""
    cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": running}})
    scope = Scope("123456789012", "us-east-1")
    deployment = SimpleNamespace(jobs_table="jobs", history_table="history", scope=scope)
    parts = StackParts({}, deployment, {"discovery": "false"}, None)  # type: ignore[arg-type]
    clients = SimpleNamespace(dynamodb=cloud.dynamodb)
    now = cloud.bedrock.clock.now()
    [finding] = records(CheckContext(clients, "stack", parts, now))  # type: ignore[arg-type]

    assert finding.command == f"bbm track {running}"
