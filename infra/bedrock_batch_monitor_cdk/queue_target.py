"""Queues for events: one that a function reads, and one that is the target of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import jsii
from aws_cdk import RemovalPolicy
from aws_cdk import aws_events as events_
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs

from bedrock_batch_monitor_cdk.encryption import queue_encryption

if TYPE_CHECKING:
    from aws_cdk import Duration
    from aws_cdk.interfaces.aws_events import IRuleRef
    from constructs import Construct

    from bedrock_batch_monitor_cdk.events import Events

_RECEIVES: Final = 5


def build_queue(
    scope: Construct,
    *,
    events: Events,
    visibility_timeout: Duration,
    retention_period: Duration | None = None,
) -> sqs.Queue:
    """A queue for a function; a message that fails five times goes to the dead-letter queue.

    It is removed with the stack: what it holds is work under way, not data. SQS keeps a message for
    four days by default.
    """
    return sqs.Queue(
        scope,
        "Queue",
        **queue_encryption(events.key),
        enforce_ssl=True,
        visibility_timeout=visibility_timeout,
        retention_period=retention_period,
        dead_letter_queue=sqs.DeadLetterQueue(
            queue=events.dead_letters, max_receive_count=_RECEIVES
        ),
        removal_policy=RemovalPolicy.DESTROY,
    )


@jsii.implements(events_.IRuleTarget)
class QueueTarget:
    """A queue, and the dead-letter queue for events that it does not accept.

    It replaces `aws_events_targets.SqsQueue`, whose policies depend on a feature flag of the app:
    without `@aws-cdk/aws-events:eventsTargetQueueSameAccount` it lets EventBridge of every account
    send to an encrypted queue. Here the policies of both queues admit each rule by its ARN. A key
    of the queues must admit EventBridge itself: see `encryption.py`.

    `message` replaces the event; by default the whole event is sent.
    """

    def __init__(
        self,
        queue: sqs.IQueue,
        *,
        dead_letter_queue: sqs.IQueue,
        message: events_.RuleTargetInput | None = None,
    ) -> None:
        self._queue = queue
        self._dead_letters = dead_letter_queue
        self._message = message

    def bind(
        self,
        rule: IRuleRef,
        id: str | None = None,  # noqa: A002, ARG002 - the CDK's interface
    ) -> events_.RuleTargetConfig:
        """Called by the CDK for each rule that has the target."""
        rule_arn = events_.CfnRule.arn_for_rule(rule)
        for queue, sid in (
            (self._queue, f"Deliver{rule.node.id}"),
            (self._dead_letters, f"KeepUndelivered{rule.node.id}"),
        ):
            queue.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=sid,
                    principals=[iam.ServicePrincipal("events.amazonaws.com")],
                    actions=["sqs:SendMessage"],
                    resources=[queue.queue_arn],
                    conditions={"ArnEquals": {"aws:SourceArn": rule_arn}},
                )
            )
        return events_.RuleTargetConfig(
            arn=self._queue.queue_arn,
            dead_letter_config=events_.CfnRule.DeadLetterConfigProperty(
                arn=self._dead_letters.queue_arn
            ),
            input=self._message,
            target_resource=self._queue,
        )
