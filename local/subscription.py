"""A subscriber to an event bus of the local cloud: a rule and the queue that it fills."""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from local.clients import Clients

_QUEUE_BATCH = 10
_LONG_POLL_SECONDS = 1


class Subscription:
    """Events as EventBridge delivered them, with `source`, `detail-type`, `resources`, `detail`."""

    def __init__(self, client: Clients, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def receive(self, count: int = 1, *, timeout: float = 10.0) -> list[dict[str, Any]]:
        """Return the events that arrived since the last call, at least `count` of them.

        `count=0` does not wait. Raises TimeoutError if fewer arrive within `timeout` seconds; the
        message lists those that did.
        """
        deadline = time.monotonic() + timeout
        events: list[dict[str, Any]] = []
        while True:
            wait = _LONG_POLL_SECONDS if len(events) < count else 0
            events += [
                json.loads(body) for body in take(self._client, self._queue_url, wait_seconds=wait)
            ]
            if len(events) >= count:
                return events
            if time.monotonic() >= deadline:
                message = f"{len(events)} of {count} events within {timeout:g} s: {events}"
                raise TimeoutError(message)


@contextlib.contextmanager
def subscription(
    client: Clients, *, bus: str, pattern: Mapping[str, Any], queue_arn_prefix: str
) -> Iterator[Subscription]:
    """Subscribe to the events on a bus that match a pattern; rule and queue are removed at the end.

    *queue_arn_prefix* is the ARN of a queue without its name.
    """
    name = f"subscription-{uuid.uuid4().hex}"
    sqs, events = client("sqs"), client("events")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    try:
        queue_arn = queue_arn_prefix + name
        rule_arn = events.put_rule(
            Name=name, EventBusName=bus, EventPattern=json.dumps(dict(pattern))
        )["RuleArn"]
        sqs.set_queue_attributes(
            QueueUrl=url, Attributes={"Policy": _delivery_policy(queue_arn, rule_arn)}
        )
        try:
            events.put_targets(
                Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": queue_arn}]
            )
            yield Subscription(client, url)
        finally:
            with contextlib.suppress(events.exceptions.ResourceNotFoundException):
                events.remove_targets(Rule=name, EventBusName=bus, Ids=["queue"])
            events.delete_rule(Name=name, EventBusName=bus)
    finally:
        sqs.delete_queue(QueueUrl=url)


def take(client: Clients, queue_url: str, *, wait_seconds: int) -> list[str]:
    """Remove all messages from a queue and return their bodies; waits only for the first."""
    sqs = client("sqs")
    bodies: list[str] = []
    while True:
        messages = sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=_QUEUE_BATCH,
            WaitTimeSeconds=0 if bodies else wait_seconds,
        ).get("Messages", [])
        if not messages:
            return bodies
        for message in messages:
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            bodies.append(message["Body"])


def _delivery_policy(queue_arn: str, rule_arn: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": queue_arn,
                    "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
                }
            ],
        }
    )
