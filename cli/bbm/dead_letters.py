"""The dead letters by kind, and what to do with each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bedrock_batch_monitor.contract import EVENT_SOURCE

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# A bound on what is shown: a call returns up to ten messages.
_CALLS_AT_MOST: Final = 30
_SECONDS_HIDDEN: Final = 30


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of dead letter."""

    name: str
    advice: str


FROM_INBOX: Final = Kind(
    "message of the inbox that failed five times",
    "remove the cause, then `bbm letters --redrive`",
)
NOT_DELIVERED: Final = Kind(
    "event that EventBridge could not deliver to the inbox queue",
    "remove the cause, then `bbm letters --redrive`",
)
NOTIFICATION: Final = Kind(
    "notification that was not sent",
    "`bbm replay JOB` sends the event and the notification again",
)
NOT_ANALYZED: Final = Kind(
    "ended job whose failed records could not be analyzed",
    "remove the cause, then `bbm replay JOB`, which starts the analysis again",
)
OTHER: Final = Kind("other message", "read it, then `bbm letters --drop`")


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter; `job_arn` if its body names a job. The body can hold a task token."""

    message_id: str
    kind: Kind
    sent_at: int
    job_arn: str | None
    reason: str | None


def read(client: SQSClient, queue_url: str) -> list[Letter]:
    """The dead letters, up to 300; they are hidden from other readers for 30 seconds."""
    found: dict[str, Letter] = {}
    for _ in range(_CALLS_AT_MOST):
        messages = client.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=_SECONDS_HIDDEN,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        if not messages:
            break
        found |= {message["MessageId"]: _letter(message) for message in messages}
    return list(found.values())


def _letter(message: Mapping[str, Any]) -> Letter:
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = None
    attributes = message.get("MessageAttributes", {})
    code = attributes.get("ERROR_CODE", {}).get("StringValue")
    return Letter(
        message["MessageId"],
        _kind(body, message),
        int(message.get("Attributes", {}).get("SentTimestamp", 0)),
        next(_job_arns(body), None),
        code,
    )


def _kind(body: object, message: Mapping[str, Any]) -> Kind:
    if not isinstance(body, dict):
        return OTHER
    # The inbox never gets an event of the monitor. The queue of record errors gets nothing else.
    own = body.get("source") == EVENT_SOURCE
    if "DeadLetterQueueSourceArn" in message.get("Attributes", {}):
        return NOT_ANALYZED if own else FROM_INBOX
    if "requestPayload" in body:
        return NOTIFICATION
    if "RULE_ARN" in message.get("MessageAttributes", {}):
        return NOTIFICATION if own else NOT_DELIVERED
    return OTHER


def _job_arns(body: object) -> Iterator[str]:
    if not isinstance(body, dict):
        return
    inner = body.get("requestPayload", body)
    detail = inner.get("detail") if isinstance(inner, dict) else None
    if isinstance(detail, dict):
        data = detail.get("data")
        for value in (
            detail.get("jobArn"),
            detail.get("batchJobArn"),
            data.get("jobArn") if isinstance(data, dict) else None,
        ):
            if isinstance(value, str):
                yield value
