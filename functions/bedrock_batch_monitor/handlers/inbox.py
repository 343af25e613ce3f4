"""The function behind the inbox queue: Bedrock's own events, and commands to track and untrack."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from bedrock_batch_monitor.handlers.startup import no_garbage_collected

with no_garbage_collected():
    import boto3

    from bedrock_batch_monitor.app.composition import compose_inbox
    from bedrock_batch_monitor.app.telemetry import failures_logged, logger, publish_inbox
    from bedrock_batch_monitor.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from bedrock_batch_monitor.app.inbox_batch import Inbox


@cache
def inbox() -> Inbox:
    """The inbox of this execution environment; its clients serve every invocation in it."""
    with no_garbage_collected():
        return compose_inbox(Settings.from_environment(os.environ), boto3.Session())


@logger.inject_lambda_context
@failures_logged()
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process the requests in a batch of queue messages, each of which holds one event.

    Returns the messages that failed or for which there was no time (`batchItemFailures`), and the
    queue delivers them again.
    """
    batch = inbox().batch(lambda: context.get_remaining_time_in_millis() / 1000, logger)
    home = batch.inbox.monitored.home
    try:
        bodies = {record["messageId"]: record["body"] for record in event["Records"]}
        failed = batch.process_messages(bodies)
    finally:
        for scope, summary in batch.summaries():
            publish_inbox(summary, None if scope == home else scope)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}
