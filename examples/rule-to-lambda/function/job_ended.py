"""Counts, for each model, how many jobs have ended with output and how many records they had.

EventBridge and the monitor deliver at least once. Powertools remembers each `eventId`, so that a
copy of an event changes nothing: a count is work that must not be done twice.
"""

from __future__ import annotations

import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()
totals = boto3.resource("dynamodb").Table(os.environ["TOTALS_TABLE"])
handled = DynamoDBPersistenceLayer(table_name=os.environ["HANDLED_TABLE"])
once_per_event = IdempotencyConfig(
    event_key_jmespath="detail.metadata.eventId",
    raise_on_no_idempotency_key=True,
    # A copy comes within days, if at all: with the monitor's next poll, or when somebody replays.
    expires_after_seconds=14 * 24 * 3600,
)


@logger.inject_lambda_context
@idempotent(config=once_per_event, persistence_store=handled)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Add one job to its model's totals; the answer says which."""
    job = EventBridgeEvent(event).detail["data"]
    # A count that Bedrock did not report is absent: unknown, and not 0.
    records = job.get("records", {})
    totals.update_item(
        Key={"modelId": job["modelId"]},
        UpdateExpression="ADD jobs :one, recordsRead :success, recordsFailed :error",
        ExpressionAttributeValues={
            ":one": 1,
            ":success": records.get("success", 0),
            ":error": records.get("error", 0),
        },
    )
    # Not `message`: it can hold customer data.
    logger.info("job counted", job_arn=job["jobArn"], status=job["status"])
    return {"jobArn": job["jobArn"], "status": job["status"]}
