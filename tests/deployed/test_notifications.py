"""What people are told by the deployed stack: a subscriber of its topics in their place."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from bedrock_batch_monitor.domain import statuses
from local.cloud import Cloud
from local.deployment import STACK
from local.waiting import wait_for
from tests.support.chat import assert_is_custom_notification

from .test_contract import denied, job_in, poll_until_recorded
from .test_permissions import NOT_SEEN, actions_of, log_of


def topic_of(cloud: Cloud, output: str) -> str:
    """The ARN of a topic, as the stack's outputs have it."""
    [stack] = cloud.monitor.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    [arn] = [one["OutputValue"] for one in stack["Outputs"] if one["OutputKey"] == output]
    assert isinstance(arn, str)
    return arn


@contextmanager
def subscribed(cloud: Cloud, output: str) -> Iterator[Received]:
    """A queue that subscribes to the topic of this output, removed at the end."""
    sqs, sns = cloud.monitor.client("sqs"), cloud.monitor.client("sns")
    name, topic = f"subscriber-{uuid.uuid4().hex}", topic_of(cloud, output)
    arn = f"arn:aws:sqs:{cloud.monitor.region}:{cloud.monitor.account}:{name}"
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
            }
        ],
    }
    url = sqs.create_queue(QueueName=name, Attributes={"Policy": json.dumps(policy)})["QueueUrl"]
    subscription = sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    messages = Received(sqs, url)
    try:
        yield messages
    finally:
        sns.unsubscribe(SubscriptionArn=subscription)
        sqs.delete_queue(QueueUrl=url)


class Received(list[dict[str, Any]]):
    """The messages of a topic that have come so far."""

    def __init__(self, sqs: Any, url: str) -> None:
        super().__init__()
        self._sqs, self._url = sqs, url

    def of(self, job_arn: str) -> list[dict[str, Any]]:
        """Those that name a job, the newest ones included."""
        while found := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in found:
                self.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return [message for message in self if job_arn in message["Message"]]


def test_every_end_except_completed_is_notified(cloud: Cloud) -> None:
    """By default a job that did not complete is told in email and chat, and one that did is not."""
    with subscribed(cloud, "ChatTopicArn") as chat, subscribed(cloud, "EmailTopicArn") as mails:
        # The one that is not told is the first, and would be told before the others.
        arns = {
            status: job_in(cloud, status, job_name=f"job-{status.lower()}")
            for status in sorted(statuses.TERMINAL)
        }
        poll_until_recorded(cloud, *arns.values())
        completed = arns.pop("Completed")
        for status, arn in arns.items():
            for topic in (chat, mails):
                wait_for(partial(topic.of, arn), 30, what=f"{status} to be told")
            message = json.loads(chat.of(arn)[0]["Message"])
            assert_is_custom_notification(message)
            assert message["metadata"]["additionalContext"]["outcome"] == status
            assert message["id"] == cloud.monitor.history(arn)[-1]["eventId"]
            assert f"job-{status.lower()}" in mails.of(arn)[0]["Subject"]
            assert f"\nOutcome: {status}\n" in mails.of(arn)[0]["Message"]
        assert chat.of(completed) == mails.of(completed) == []


def test_job_that_becomes_unreachable_is_notified(cloud: Cloud) -> None:
    """A job that becomes unreachable is notified like an end, which could go unnoticed."""
    arn = job_in(cloud, "InProgress")
    poll_until_recorded(cloud, arn)
    fault = cloud.bedrock.faults.deny(job_arn=arn)
    try:
        with subscribed(cloud, "ChatTopicArn") as chat:
            wait_for(lambda: cloud.monitor.poll() and chat.of(arn), 60, what="it to be told")
            [message, *_] = [json.loads(one["Message"]) for one in chat.of(arn)]
    finally:
        cloud.bedrock.faults.remove(fault)
        cloud.monitor.client("dynamodb").update_item(
            TableName=cloud.monitor.outputs.jobs_table_name,
            Key={"jobArn": {"S": arn}},
            UpdateExpression="REMOVE tracking",
        )
    assert message["metadata"]["additionalContext"]["outcome"] == "Unreachable"
    assert "*Error:* AccessDeniedException" in message["content"]["description"]


def test_every_permission_of_notifications_is_needed(cloud: Cloud) -> None:
    """Without its permission to publish the function says so; every other it has is Lambda's."""
    function = cloud.monitor.client("lambda").get_function_configuration(
        FunctionName=next(
            one["FunctionName"]
            for page in cloud.monitor.client("lambda").get_paginator("list_functions").paginate()
            for one in page["Functions"]
            if one["Handler"].endswith(".notify.handler")
        )
    )
    role = function["Role"].rsplit("/", 1)[-1]
    assert sorted(set(actions_of(cloud, role)) - NOT_SEEN | {"sns:Publish"}) == ["sns:Publish"]
    assert "sns:Publish" in actions_of(cloud, role)
    with denied(cloud, "sns:Publish", role=role):
        arn = job_in(cloud, "Failed")
        poll_until_recorded(cloud, arn)
        wait_for(
            lambda: any(
                arn in line and "notification not sent" in line
                for line in log_of(cloud, function).splitlines()
            ),
            30,
            what="the refusal to be logged",
        )
