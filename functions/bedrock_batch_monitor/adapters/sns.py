"""Amazon SNS: publishes messages to one topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.errors import calling
from bedrock_batch_monitor.adapters.sdk import bounded_config

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_sns import SNSClient

SERVICE: Final = "SNS"


class Topic:
    """One standard topic."""

    def __init__(self, client: SNSClient, arn: str) -> None:
        self._client = client
        self.arn = arn

    def publish(self, message: str, *, subject: str | None = None) -> None:
        """Send a message of 256 KB at most, with a subject for emails; raises `ServiceError`."""
        with calling(SERVICE):
            if subject is None:
                self._client.publish(TopicArn=self.arn, Message=message)
            else:
                self._client.publish(TopicArn=self.arn, Message=message, Subject=subject)


def topics(session: boto3.Session, *arns: str | None) -> tuple[Topic | None, ...]:
    """The topics of these ARNs, None for None, over one client; makes no call.

    The client is for one call at a time, with three attempts: a repeated message does no harm.
    """
    client = session.client("sns", config=bounded_config(concurrency=1, attempts=3))
    return tuple(None if arn is None else Topic(client, arn) for arn in arns)
