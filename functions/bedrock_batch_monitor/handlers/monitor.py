"""The function that the schedules invoke: one poll of one account and region."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from bedrock_batch_monitor.handlers.startup import no_garbage_collected

with no_garbage_collected():
    import boto3

    from bedrock_batch_monitor.app.clock import utc_now
    from bedrock_batch_monitor.app.composition import Container
    from bedrock_batch_monitor.app.poll import PollError
    from bedrock_batch_monitor.app.telemetry import failures_logged, logger, metrics, publish
    from bedrock_batch_monitor.app.worker_pool import CONCURRENCY
    from bedrock_batch_monitor.domain.poll_requests import poll_request
    from bedrock_batch_monitor.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from bedrock_batch_monitor.app.poll import Monitor
    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor.domain.poll_requests import PollRequest


@cache
def parts() -> Container:
    """The parts of this execution environment; its clients serve every invocation in it."""
    settings = Settings.from_environment(os.environ)
    with no_garbage_collected():
        return Container(settings, boto3.Session(), utc_now, CONCURRENCY)


@cache
def monitor(scope: Scope) -> Monitor:
    """The monitor of a scope in this execution environment."""
    return parts().monitor(scope, logger)


@logger.inject_lambda_context
@failures_logged()
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Run one poll; returns its summary (see `PollSummary.as_json`).

    The payload `{}` is a poll of the deployment's own account and region; with `account` and
    `region` it is one of another scope that the deployment monitors. `all` and `rediscoverSince`
    are described in `domain/poll_requests.py`. Raises `PayloadError` for any
    other, and `PollError` when the active jobs cannot be listed, so that the invocation counts as
    failed and its event reaches the dead-letter queue.
    """
    request = poll_request(event, parts().settings.scopes)
    logger.append_keys(account=request.scope.account, region=request.scope.region)
    summary: dict[str, Any] = _poll(request, context)
    return summary


@metrics.log_metrics(capture_cold_start_metric=False)
def _poll(request: PollRequest, context: LambdaContext) -> dict[str, Any]:
    scope = request.scope
    other = None if scope == parts().settings.scope else scope
    try:
        summary = monitor(scope).poll(
            lambda: context.get_remaining_time_in_millis() / 1000,
            everything=request.everything,
            rediscover_since=request.rediscover_since,
        )
    except PollError as error:
        publish(error.summary, failed=True, scope=other)
        raise
    publish(summary, scope=other)
    return summary.as_json()
