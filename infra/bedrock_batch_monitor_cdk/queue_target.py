"""A queue as the target of rules, which admits only these rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jsii
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam

if TYPE_CHECKING:
    from aws_cdk import aws_sqs as sqs
    from aws_cdk.interfaces.aws_events import IRuleRef


@jsii.implements(events.IRuleTarget)
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
        message: events.RuleTargetInput | None = None,
    ) -> None:
        self._queue = queue
        self._dead_letters = dead_letter_queue
        self._message = message

    def bind(
        self,
        rule: IRuleRef,
        id: str | None = None,  # noqa: A002, ARG002 - the CDK's interface
    ) -> events.RuleTargetConfig:
        """Called by the CDK for each rule that has the target."""
        rule_arn = events.CfnRule.arn_for_rule(rule)
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
        return events.RuleTargetConfig(
            arn=self._queue.queue_arn,
            dead_letter_config=events.CfnRule.DeadLetterConfigProperty(
                arn=self._dead_letters.queue_arn
            ),
            input=self._message,
            target_resource=self._queue,
        )
