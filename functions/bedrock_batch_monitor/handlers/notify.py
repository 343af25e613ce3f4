"""The function that the notification rules invoke: an event becomes an email and a chat message."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3

from bedrock_batch_monitor.adapters.sns import topics
from bedrock_batch_monitor.app.notifier import Notifier
from bedrock_batch_monitor.app.telemetry import failures_logged, logger, publish_inbox
from bedrock_batch_monitor.domain.summary import PollSummary
from bedrock_batch_monitor.presentation.messages import (
    NotANotificationError,
    is_summarized,
    notification_of,
)
from bedrock_batch_monitor.settings import NotificationSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class NotSentError(Exception):
    """A notification that a topic did not accept; Lambda invokes the function again, twice."""


@cache
def notifier() -> Notifier:
    """The notifier of this execution environment; its client serves every invocation in it."""
    settings = NotificationSettings.from_environment(os.environ)
    arns = (settings.email_topic_arn, settings.chat_topic_arn)
    return Notifier(*topics(boto3.Session(), *arns))


@logger.inject_lambda_context
@failures_logged()
def handler(event: dict[str, Any], context: LambdaContext) -> None:  # noqa: ARG001
    """Notify people of one of the monitor's events.

    An event that is not a notification is dropped, logged and counted: anyone who may put events on
    the bus can send one, and a repetition changes nothing. An event about an ARN that was never
    readable is dropped as well, because the poll sends one summary of these. Raises `NotSentError`
    if a topic does not accept the message, so that Lambda tries again and then keeps the event as
    a dead letter.
    """
    if is_summarized(event):
        logger.info("event left to the summary")
        return
    try:
        notification = notification_of(event)
    except NotANotificationError as error:
        logger.warning("event dropped", extra={"reason": str(error)})
        publish_inbox(PollSummary(events_malformed=1))
        return
    what = {"jobArn": str(notification.arn), "outcome": notification.outcome}
    failures = [failure.code for failure in notifier().publish(notification)]
    if failures:
        logger.warning("notification not sent", extra={**what, "errors": failures})
        raise NotSentError(", ".join(failures))
    logger.info("notification sent", extra=what)
