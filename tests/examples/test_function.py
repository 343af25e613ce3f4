"""The function of the Lambda example, run with events as EventBridge delivers them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyKeyError
from botocore.exceptions import ClientError

from local.bedrock import Script
from tests.component.conftest import Cloud
from tests.examples.conftest import names_of
from tests.support.patterns import ENDED

CONTEXT = SimpleNamespace(
    function_name="totals",
    memory_limit_in_mb=128,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:totals",
    aws_request_id="request",
    get_remaining_time_in_millis=lambda: 30_000,
)

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


@pytest.fixture
def handler(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Handler:
    """The handler, with its two tables on moto."""
    for table, key in (("totals", "modelId"), ("handled", "id")):
        cloud.dynamodb.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        )
    monkeypatch.setenv("TOTALS_TABLE", "totals")
    monkeypatch.setenv("HANDLED_TABLE", "handled")
    return names_of("rule-to-lambda/function/job_ended.py")["handler"]


def totals() -> list[dict[str, Any]]:
    """What has been counted, by model."""
    items: list[dict[str, Any]] = boto3.resource("dynamodb").Table("totals").scan()["Items"]
    return items


def test_published_event_is_counted_once(cloud: Cloud, handler: Handler) -> None:
    """An event adds the job to its model; a duplicate adds nothing."""
    arn = cloud.add_job(
        Script.ending("Completed", error_share=0.002), total_records=1000, model_id="amazon.nova-v1"
    )
    cloud.bedrock.clock.advance(10 * 86400)
    cloud.poll()
    [event] = cloud.new_events()

    answers = [handler(event, CONTEXT), handler(event, CONTEXT)]

    assert answers == [{"jobArn": arn, "status": "Completed"}] * 2
    [total] = totals()
    assert total["jobs"] == 1
    assert (total["recordsRead"], total["recordsFailed"]) == (998, 2)
    assert "amazon.nova-v1" in total["modelId"]


def test_jobs_of_one_model_are_added(handler: Handler) -> None:
    """Two jobs are two events; counts that Bedrock did not report add nothing."""
    other = copy.deepcopy(ENDED)
    other["detail"]["metadata"]["eventId"] = "11111111-1111-5111-8111-111111111111"
    del other["detail"]["data"]["records"]
    handler(ENDED, CONTEXT)
    handler(other, CONTEXT)

    assert totals() == [
        {
            "modelId": ENDED["detail"]["data"]["modelId"],
            "jobs": Decimal(2),
            "recordsRead": Decimal(998),
            "recordsFailed": Decimal(2),
        }
    ]


def test_failed_event_is_processed_again(cloud: Cloud, handler: Handler) -> None:
    """An event whose processing failed is not handled: Lambda's retry counts the job."""
    table = cloud.dynamodb.describe_table(TableName="totals")["Table"]
    cloud.dynamodb.delete_table(TableName="totals")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        handler(ENDED, CONTEXT)
    cloud.dynamodb.create_table(
        TableName="totals",
        BillingMode="PAY_PER_REQUEST",
        **{name: table[name] for name in ("AttributeDefinitions", "KeySchema")},
    )
    handler(ENDED, CONTEXT)

    assert [total["jobs"] for total in totals()] == [1]


def test_event_without_an_id_is_refused(handler: Handler) -> None:
    """An event that is not the monitor's raises an error, and counts nothing."""
    with pytest.raises(IdempotencyKeyError):
        handler({"detail": {"metadata": {}, "data": {}}}, CONTEXT)

    assert totals() == []
