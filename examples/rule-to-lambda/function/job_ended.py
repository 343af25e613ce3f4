"""Counts the jobs that ended with output, and their records, by model.

EventBridge and the monitor deliver at least once. Powertools stores each `eventId`, so that a
duplicate of an event is not counted again.
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
    # A duplicate usually arrives within days: with the next poll, or after `bbm replay`.
    expires_after_seconds=14 * 24 * 3600,
)


@logger.inject_lambda_context
@idempotent(config=once_per_event, persistence_store=handled)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Add one job to the totals of its model; returns the job."""
    job = EventBridgeEvent(event).detail["data"]
    # A count that Bedrock did not report is absent: it is unknown.
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
    # Not `message`, because it can contain customer data.
    logger.info("job counted", job_arn=job["jobArn"], status=job["status"])
    return {"jobArn": job["jobArn"], "status": job["status"]}
