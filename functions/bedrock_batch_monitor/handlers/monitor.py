"""The function that the schedule invokes: one poll of the deployment's own account and region."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from bedrock_batch_monitor.composition import compose
from bedrock_batch_monitor.poll import PollError
from bedrock_batch_monitor.settings import Settings
from bedrock_batch_monitor.telemetry import logger, metrics, publish

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from bedrock_batch_monitor.poll import Monitor


@cache
def monitor() -> Monitor:
    """The monitor of this execution environment; its clients serve every invocation in it."""
    return compose(Settings.from_environment(os.environ), boto3.Session(), logger)


@logger.inject_lambda_context
@metrics.log_metrics(capture_cold_start_metric=False)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001
    """Run one poll; returns its summary (see `PollSummary.as_json`).

    Takes the payload `{}`. Raises `PollError` when the active jobs cannot be listed, so that the
    invocation counts as failed and its event reaches the dead-letter queue.
    """
    try:
        summary = monitor().poll(lambda: context.get_remaining_time_in_millis() / 1000)
    except PollError as error:
        publish(error.summary, failed=True)
        raise
    publish(summary)
    return summary.as_json()
