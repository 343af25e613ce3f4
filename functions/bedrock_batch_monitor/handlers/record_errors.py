"""The function behind the queue of ended jobs: it reads the errors of their records."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from bedrock_batch_monitor.app.record_errors import Handled, compose_record_errors
from bedrock_batch_monitor.app.telemetry import logger
from bedrock_batch_monitor.settings import RecordErrorSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from bedrock_batch_monitor.app.record_errors import RecordErrors


@cache
def record_errors() -> RecordErrors:
    """The use case of this execution environment; its clients serve every invocation in it."""
    settings = RecordErrorSettings.from_environment(os.environ)
    return compose_record_errors(settings, boto3.Session(), logger)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Analyze the job of one message; what is raised lets the queue deliver it again."""
    for record in event["Records"]:
        handled = record_errors().handle(
            record["body"], lambda: context.get_remaining_time_in_millis() / 1000
        )
        if handled is Handled.MALFORMED:
            logger.warning("event dropped", extra={"reason": str(handled)})
        else:
            logger.info("errors of records", extra={"result": str(handled)})
