"""The function behind the inbox queue: Bedrock's own events, and commands to track and untrack."""

from __future__ import annotations

import os
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Any

from bedrock_batch_monitor.handlers.startup import no_garbage_collected

with no_garbage_collected():
    import boto3

    from bedrock_batch_monitor.app.clock import utc_now
    from bedrock_batch_monitor.app.composition import compose_inbox
    from bedrock_batch_monitor.app.reconcile import loggable
    from bedrock_batch_monitor.app.telemetry import logger, publish_inbox
    from bedrock_batch_monitor.domain.arns import JobArn
    from bedrock_batch_monitor.domain.requests import MalformedEventError, event_in, request_of
    from bedrock_batch_monitor.domain.summary import PollSummary
    from bedrock_batch_monitor.settings import Settings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from bedrock_batch_monitor.app.commands import Inbox, RequestResult
    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor.domain.requests import Request
    from bedrock_batch_monitor.outbox.relay import BusWatch


@cache
def inbox() -> Inbox:
    """The inbox of this execution environment; its clients serve every invocation in it."""
    with no_garbage_collected():
        return compose_inbox(Settings.from_environment(os.environ), boto3.Session())


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Follow the requests in a batch of queue messages, each of which holds one event.

    Returns the messages that failed or for which there was no time (`batchItemFailures`), and the
    queue delivers them again. A malformed one is dropped, logged and counted. No message is ever
    logged: it may hold a task token.
    """
    this, watch = inbox(), inbox().relay.watch()
    summaries: dict[Scope, PollSummary] = defaultdict(PollSummary)
    requests: dict[str, Request] = {}
    for record in event["Records"]:
        try:
            requests[record["messageId"]] = request_of(
                event_in(record["body"]), this.monitored, utc_now(), takes_tasks=this.takes_tasks
            )
        except MalformedEventError as error:
            summaries[this.monitored.home].events_malformed += 1
            logger.warning("event dropped", extra={"reason": str(error)})

    def remaining_seconds() -> float:
        return context.get_remaining_time_in_millis() / 1000

    failed = []
    try:
        for message_id, followed in this.follow(requests, remaining_seconds):
            scope = JobArn.parse(followed.request.job_arn).scope
            _finish(this, followed, summaries[scope], watch)
            called_back = this.call_back(followed.seen, remaining_seconds)
            if called_back is not None:
                called_back.record(summaries[scope], logger)
            if not followed.is_done:
                failed.append(message_id)
    finally:
        for scope, summary in summaries.items():
            publish_inbox(summary, None if scope == this.monitored.home else scope)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _finish(this: Inbox, followed: RequestResult, summary: PollSummary, watch: BusWatch) -> None:
    """Count and log what came of a request, and send what is pending now."""
    seen = followed.seen
    summary.count(seen)
    if seen.record is not None:
        logger.info("job changed", extra=loggable(seen.record))
    for delivered in this.deliver(seen, watch):
        summary.count_events(
            sent=delivered.sent, pending=delivered.pending, errors=delivered.errors
        )
        summary.conflicts += delivered.conflicts
    if followed.error is not None:
        if followed.error not in seen.errors:
            summary.errors[followed.error] += 1
        logger.warning(
            "event not followed",
            extra={"error": followed.error, "jobArn": followed.request.job_arn},
        )
