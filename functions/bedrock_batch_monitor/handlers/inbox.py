"""The function behind the inbox queue: Bedrock's own events, and commands to track and untrack."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING, Any

from bedrock_batch_monitor.startup import no_garbage_collected

with no_garbage_collected():
    import boto3
    from aws_lambda_powertools.utilities.batch import (
        BatchProcessor,
        EventType,
        process_partial_response,
    )

    from bedrock_batch_monitor.composition import compose_inbox
    from bedrock_batch_monitor.domain.arns import JobArn
    from bedrock_batch_monitor.domain.inbox import MalformedEventError, Request, request_of
    from bedrock_batch_monitor.domain.summary import PollSummary
    from bedrock_batch_monitor.observe import loggable
    from bedrock_batch_monitor.services.errors import ServiceError
    from bedrock_batch_monitor.settings import Settings
    from bedrock_batch_monitor.telemetry import logger, publish_inbox

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor.inbox import Inbox


class NotNowError(Exception):
    """A request that could not be followed now; the queue delivers it again."""


@cache
def inbox() -> Inbox:
    """The inbox of this execution environment; its clients serve every invocation in it."""
    with no_garbage_collected():
        return compose_inbox(Settings.from_environment(os.environ), boto3.Session())


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Follow the requests in a batch of queue messages, each of which holds one event.

    Several events of one job in a batch are one look. Returns the messages that failed
    (`batchItemFailures`); one that is malformed is dropped, logged and counted.
    """
    summaries: dict[Scope, PollSummary] = defaultdict(PollSummary)
    monitored = inbox().monitored
    followed: dict[Request, Exception | None] = {}

    def follow(record: SQSRecord) -> None:
        try:
            request = request_of(_json(record.body), monitored, takes_tasks=inbox().takes_tasks)
        except MalformedEventError as error:
            _drop(error, summaries[monitored.home])
            return
        if request not in followed:
            scope = JobArn.parse(request.job_arn).scope
            followed[request] = _follow(request, summaries[scope])
        failure = followed[request]
        if failure is not None:
            raise failure

    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    try:
        return dict(process_partial_response(event, follow, processor, context))
    finally:
        for scope, summary in summaries.items():
            publish_inbox(summary, None if scope == monitored.home else scope)


def _follow(request: Request, summary: PollSummary) -> Exception | None:
    try:
        seen = inbox().handle(request)
    except MalformedEventError as error:
        _drop(error, summary)
        return None
    except ServiceError as error:
        summary.errors[error.code] += 1
        logger.warning("event not followed", extra={"error": error.code, "jobArn": request.job_arn})
        return error
    summary.count(seen)
    if seen.record is not None:
        logger.info("job changed", extra=loggable(seen.record))
    for delivered in inbox().deliver(seen):
        summary.count_events(
            sent=delivered.sent, pending=delivered.pending, errors=delivered.errors
        )
    for answered in inbox().answer(seen):
        answered.note(summary, logger)
    if not seen.try_again:
        return None
    logger.warning("event not followed", extra={"errors": seen.errors, "jobArn": request.job_arn})
    return NotNowError(", ".join(seen.errors))


def _drop(error: MalformedEventError, summary: PollSummary) -> None:
    summary.events_malformed += 1
    logger.warning("event dropped", extra={"reason": str(error)})


def _json(body: str) -> object:
    try:
        return json.loads(body)
    except ValueError as error:
        message = f"the message is no JSON: {error}"
        raise MalformedEventError(message) from error
