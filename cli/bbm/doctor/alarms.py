"""Which alarms are in ALARM, and whether their topic reaches a person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bbm import stack_parts

if TYPE_CHECKING:
    from bbm.doctor.context import CheckContext, Finding


def alarms(context: CheckContext) -> Iterator[Finding]:
    """The alarms of the stack that are on."""
    own = {each.physical_id: each.logical_id for each in context.parts.of_type(stack_parts.ALARM)}
    client = context.clients.client("cloudwatch")
    triggered = [
        own[alarm["AlarmName"]]
        for page in client.get_paginator("describe_alarms").paginate(StateValue="ALARM")
        for alarm in page.get("MetricAlarms", ())
        if alarm["AlarmName"] in own
    ]
    names = sorted(re.sub(r"[0-9A-F]{8}$", "", name.removeprefix("Alarms")) for name in triggered)
    yield context.finding(
        "alarms",
        f"in ALARM: {', '.join(names)}" if names else f"none of {len(own)} is in ALARM",
        ok=not names,
        command="aws cloudwatch describe-alarms --state-value ALARM",
        section=re.sub(r"\d.*", "", names[0]).lower() if names else "alarms",
    )


def alarm_topic(context: CheckContext) -> Iterator[Finding]:
    """Whether the alarms reach anyone: a subscription that is not confirmed does not count.

    Without `alarmEmail`, people may have chosen to leave the topic without subscribers.
    """
    (topic,) = context.parts.of_type("AWS::SNS::Topic", "AlarmsTopic")
    answer = context.clients.client("sns").list_subscriptions_by_topic(TopicArn=topic.physical_id)
    arns = [each["SubscriptionArn"] for each in answer["Subscriptions"]]
    confirmed = [arn for arn in arns if arn.startswith("arn:")]
    expected = bool(arns) or "alarmEmail" in context.parts.settings
    if confirmed:
        detail = f"{len(confirmed)} confirmed subscriptions of {len(arns)}"
    elif arns:
        detail = f"The alarm topic has no subscribers: none of {len(arns)} is confirmed"
    else:
        detail = "The alarm topic has no subscribers"
    yield context.finding(
        "alarmTopic",
        detail,
        ok=bool(confirmed) or not expected,
        command=f"aws sns list-subscriptions-by-topic --topic-arn {topic.physical_id}",
        section="alarms",
    )
