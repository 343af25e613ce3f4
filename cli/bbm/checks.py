"""The checks of `bbm doctor`: each makes a few calls and returns findings.

A check that AWS refuses is a finding too: what cannot be checked is not known to be well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from bbm import stack_parts
from bbm.log_lines import lines_since
from bedrock_batch_monitor import __version__, contract
from bedrock_batch_monitor.domain.times import from_iso

if TYPE_CHECKING:
    from bbm.aws import Clients
    from bbm.stack_parts import Resource, StackParts

_INTERVALS: Final = 3
_SHORTEST_WINDOW: Final = timedelta(minutes=5)
_LONGEST_PENDING: Final = timedelta(minutes=15)
_INBOX_STOPPED: Final = timedelta(minutes=10)
_CLOCK: Final = timedelta(minutes=1)
_INDEXES: Final = {
    "jobs": (contract.ACTIVE_JOBS_INDEX, contract.PENDING_EVENTS_INDEX),
    "history": (contract.BY_STATUS_INDEX,),
}
_RATE: Final = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_MINUTES: Final = {"minute": 1, "hour": 60, "day": 1440}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: whether it is well, in one line, and what to run if it is not."""

    check: str
    ok: bool
    detail: str
    command: str
    link: str

    def as_json(self) -> dict[str, Any]:
        """The finding in the form of the contract."""
        return {
            "check": self.check,
            "ok": self.ok,
            "detail": self.detail,
            "command": self.command,
            "link": self.link,
        }


@dataclass(frozen=True, slots=True)
class Ward:
    """What the checks look at."""

    clients: Clients
    stack: str
    parts: StackParts
    now: datetime

    @property
    def interval(self) -> timedelta:
        """The time between two polls, as deployed."""
        for schedule in self.parts.of_type(stack_parts.SCHEDULE):
            text = str(schedule.template.get("Properties", {}).get("ScheduleExpression", ""))
            if (match := _RATE.fullmatch(text)) is not None:
                return timedelta(minutes=int(match[1]) * _MINUTES[match[2]])
        return timedelta(minutes=1)

    def finding(
        self, check: str, detail: str, *, ok: bool, command: str = "", section: str
    ) -> Finding:
        """A finding with its section of the runbook."""
        return Finding(check, ok, detail, command, self.parts.runbook(section))


def stack_status(ward: Ward) -> Iterator[Finding]:
    """The stack, its version, and the difference between the clocks."""
    answer = ward.clients.cloudformation.describe_stacks(StackName=ward.stack)
    status = answer["Stacks"][0]["StackStatus"]
    ok = status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}
    yield ward.finding(
        "stack",
        f"stack {ward.stack} is {status}",
        ok=ok,
        command=f"aws cloudformation describe-stack-events --stack-name {ward.stack}",
        section="when-a-deployment-failed",
    )
    version = ward.parts.version
    chosen = ", ".join(f"{key}={value}" for key, value in sorted(ward.parts.settings.items()))
    yield ward.finding(
        "version",
        f"deployed {version or 'version is not known'}, bbm is {__version__}; settings: "
        f"{chosen or 'defaults'}",
        ok=version == __version__,
        command="make deploy",
        section="when-a-deployment-failed",
    )
    header = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
    if header is not None:
        difference = abs(ward.now - parsedate_to_datetime(header).astimezone(UTC))
        yield ward.finding(
            "clock",
            f"this machine's clock differs from AWS by {difference.total_seconds():.0f} s",
            ok=difference <= _CLOCK,
            command="date -u",
            section="troubleshooting-by-symptom",
        )


def polls(ward: Ward) -> Iterator[Finding]:
    """When a poll last succeeded, and how old the oldest read of an active job is."""
    window = max(_SHORTEST_WINDOW, _INTERVALS * ward.interval)
    # Lines arrive late; an older poll says when polls stopped.
    found = lines_since(
        ward.clients, _log_groups(ward, "Monitor"), ward.now - 4 * window, ("poll finished",)
    )
    last = max(
        (line for line in found if line.fields.get("summary", {}).get("followed", True)),
        key=lambda line: line.at,
        default=None,
    )
    if last is None:
        yield ward.finding(
            "poll",
            f"no successful poll in the last {_shown(4 * window)}",
            ok=False,
            command="bbm poll",
            section="nopoll",
        )
        return
    age = max(ward.now - last.at, timedelta(0))
    yield ward.finding(
        "poll",
        f"the last successful poll was {_shown(age)} ago",
        ok=age <= window,
        command="bbm poll",
        section="nopoll",
    )
    newest = max(found, key=lambda line: line.at)
    oldest = timedelta(seconds=newest.fields.get("summary", {}).get("oldestReadSeconds", 0))
    yield ward.finding(
        "reads",
        f"the oldest read of an active job was {_shown(oldest)} old at the last poll",
        ok=oldest <= _INTERVALS * ward.interval,
        command="bbm jobs",
        section="jobslate",
    )


def schedule(ward: Ward) -> Iterator[Finding]:
    """State, payload and target of each schedule."""
    client = ward.clients.client("scheduler")
    function = ward.parts.of_type(stack_parts.FUNCTION, "MonitorFunction")
    for each in ward.parts.of_type(stack_parts.SCHEDULE):
        problems = []
        try:
            found = client.get_schedule(Name=each.physical_id.rpartition("|")[2])
        except client.exceptions.ResourceNotFoundException:
            problems.append("does not exist")
        else:
            target = found["Target"]
            if found["State"] != "ENABLED":
                problems.append(f"is {found['State']}")
            if function and not target["Arn"].endswith(f":{function[0].physical_id}"):
                problems.append(f"has the target {target['Arn']}")
            if (wrong := _wrong_payload(target.get("Input"), each)) is not None:
                problems.append(wrong)
        yield ward.finding(
            "schedule",
            f"schedule {each.physical_id} "
            + (", ".join(problems) or "is enabled, with the payload and target as deployed"),
            ok=not problems,
            command="bbm doctor --fix schedule",
            section="the-schedule-was-changed",
        )


def _wrong_payload(text: str | None, deployed: Resource) -> str | None:
    wanted = deployed.template.get("Properties", {}).get("Target", {}).get("Input", "{}")
    if text is None and wanted == "{}":
        # The monitor takes the scheduler's default payload as {}.
        return None
    try:
        if isinstance(wanted, str) and json.loads(text or "") == json.loads(wanted):
            return None
    except ValueError:
        pass
    return f"has the payload {text}"


def alarms(ward: Ward) -> Iterator[Finding]:
    """The alarms of the stack that are on."""
    own = {each.physical_id: each.logical_id for each in ward.parts.of_type(stack_parts.ALARM)}
    client = ward.clients.client("cloudwatch")
    triggered = [
        own[alarm["AlarmName"]]
        for page in client.get_paginator("describe_alarms").paginate(StateValue="ALARM")
        for alarm in page.get("MetricAlarms", ())
        if alarm["AlarmName"] in own
    ]
    names = sorted(re.sub(r"[0-9A-F]{8}$", "", name.removeprefix("Alarms")) for name in triggered)
    yield ward.finding(
        "alarms",
        f"in ALARM: {', '.join(names)}" if names else f"none of {len(own)} is in ALARM",
        ok=not names,
        command="aws cloudwatch describe-alarms --state-value ALARM",
        section=re.sub(r"\d.*", "", names[0]).lower() if names else "alarms",
    )


def alarm_topic(ward: Ward) -> Iterator[Finding]:
    """Whether the alarms reach anyone: a subscription that is not confirmed does not count.

    Without `alarmEmail`, people may have chosen to leave the topic without subscribers.
    """
    (topic,) = ward.parts.of_type("AWS::SNS::Topic", "AlarmsTopic")
    answer = ward.clients.client("sns").list_subscriptions_by_topic(TopicArn=topic.physical_id)
    arns = [each["SubscriptionArn"] for each in answer["Subscriptions"]]
    confirmed = [arn for arn in arns if arn.startswith("arn:")]
    expected = bool(arns) or "alarmEmail" in ward.parts.settings
    detail = f"{len(confirmed)} confirmed subscriptions of {len(arns)}"
    if not confirmed:
        detail += ": nobody is told about alarms"
    yield ward.finding(
        "alarmTopic",
        detail,
        ok=bool(confirmed) or not expected,
        command=f"aws sns list-subscriptions-by-topic --topic-arn {topic.physical_id}",
        section="alarms",
    )


def dead_letters(ward: Ward) -> Iterator[Finding]:
    """How many dead letters there are."""
    (queue,) = ward.parts.of_type(stack_parts.QUEUE, "EventsDeadLetters")
    count = _messages(ward, queue)
    yield ward.finding(
        "deadLetters",
        f"{count} dead letters",
        ok=count == 0,
        command="bbm letters",
        section="dead-letters",
    )


def inbox(ward: Ward) -> Iterator[Finding]:
    """The event source mapping of the inbox, and the age of its oldest message."""
    (function,) = ward.parts.of_type(stack_parts.FUNCTION, "InboxFunction")
    (queue,) = ward.parts.of_type(stack_parts.QUEUE, "InboxQueue")
    mappings = ward.clients.functions.list_event_source_mappings(FunctionName=function.physical_id)[
        "EventSourceMappings"
    ]
    states = [mapping.get("State", "Enabled") for mapping in mappings]
    name = queue.physical_id.rpartition("/")[2]
    points = ward.clients.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": name}],
        StartTime=ward.now - timedelta(minutes=10),
        EndTime=ward.now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    newest = max(points, key=lambda point: point["Timestamp"], default=None)
    age = timedelta(seconds=0 if newest is None else newest["Maximum"])
    is_on = bool(states) and all(state in {"Enabled", "Enabling", "Updating"} for state in states)
    yield ward.finding(
        "inbox",
        f"event source mapping: {', '.join(states) or 'missing'}; {_messages(ward, queue)} messages"
        f", the oldest {_shown(age)} old",
        ok=is_on and age <= _INBOX_STOPPED,
        command=f"aws lambda list-event-source-mappings --function-name {function.physical_id}",
        section="inboxstopped",
    )


def bus(ward: Ward) -> Iterator[Finding]:
    """The event bus and the rules of the stack on it."""
    client = ward.clients.events
    name = ward.parts.deployment.event_bus
    problems = []
    try:
        client.describe_event_bus(Name=name)
    except client.exceptions.ResourceNotFoundException:
        problems.append("does not exist")
    else:
        for rule in rules_of_bus(ward.parts):
            rule_name = rule.physical_id.rpartition("|")[2]
            try:
                state: str = client.describe_rule(Name=rule_name, EventBusName=name)["State"]
            except client.exceptions.ResourceNotFoundException:
                state = "missing"
            if state != "ENABLED":
                problems.append(f"rule {rule_name} is {state}")
    yield ward.finding(
        "bus",
        f"event bus {name} " + (", ".join(problems) or "exists, with the rules of the stack"),
        ok=not problems,
        command="bbm doctor --fix bus",
        section="the-event-bus-was-deleted",
    )


def rules_of_bus(parts: StackParts) -> tuple[Resource, ...]:
    """The rules of the stack that are on the monitor's bus."""
    return tuple(
        rule
        for rule in parts.of_type(stack_parts.RULE)
        if "EventBusName" in rule.template.get("Properties", {})
    )


def tables(ward: Ward) -> Iterator[Finding]:
    """The tables and their indexes."""
    deployment = ward.parts.deployment
    names = {"jobs": deployment.jobs_table, "history": deployment.history_table}
    for which, name in names.items():
        problems = []
        client = ward.clients.dynamodb
        try:
            table = client.describe_table(TableName=name)["Table"]
        except client.exceptions.ResourceNotFoundException:
            problems.append("does not exist")
        else:
            if table["TableStatus"] not in {"ACTIVE", "UPDATING"}:
                problems.append(f"is {table['TableStatus']}")
            indexes = {
                index["IndexName"]: index.get("IndexStatus", "ACTIVE")
                for index in table.get("GlobalSecondaryIndexes", ())
            }
            problems += [
                f"index {index} is {indexes.get(index, 'missing')}"
                for index in _INDEXES[which]
                if indexes.get(index) != "ACTIVE"
            ]
        yield ward.finding(
            "tables",
            f"{which} table {name} " + (", ".join(problems) or "and its indexes are active"),
            ok=not problems,
            command=f"aws dynamodb describe-table --table-name {name}",
            section="when-tables-are-lost",
        )


def pending_events(ward: Ward) -> Iterator[Finding]:
    """The age of the oldest pending event."""
    found = ward.clients.dynamodb.query(
        TableName=ward.parts.deployment.jobs_table,
        IndexName=contract.PENDING_EVENTS_INDEX,
        KeyConditionExpression=f"{contract.EVENT_PENDING} = :pending",
        ExpressionAttributeValues={":pending": {"S": contract.EVENT_PENDING_VALUE}},
        Limit=1,
    )["Items"]
    since = found[0].get(contract.PENDING_SINCE, {}).get("S") if found else None
    age = timedelta(0) if since is None else max(ward.now - from_iso(since), timedelta(0))
    yield ward.finding(
        "pendingEvents",
        f"the oldest pending event has waited {_shown(age)}" if found else "no event is pending",
        ok=age <= _LONGEST_PENDING,
        command=f"bbm trace {found[0][contract.JOB_ARN]['S']}" if found else "",
        section="eventswaiting",
    )


CHECKS: Final[tuple[tuple[str, Callable[[Ward], Iterator[Finding]]], ...]] = (
    ("stack", stack_status),
    ("poll", polls),
    ("schedule", schedule),
    ("alarms", alarms),
    ("alarmTopic", alarm_topic),
    ("deadLetters", dead_letters),
    ("inbox", inbox),
    ("bus", bus),
    ("tables", tables),
    ("pendingEvents", pending_events),
)


def findings(ward: Ward) -> list[Finding]:
    """The findings of every check, in the order of `CHECKS`."""
    found: list[Finding] = []
    denied: list[str] = []
    for name, check in CHECKS:
        try:
            found.extend(check(ward))
        except (ClientError, BotoCoreError, ValueError, KeyError) as error:
            reason = _reason(error)
            denied += [name] if "Denied" in reason else []
            detail = f"cannot be checked: {reason}"
            found.append(
                ward.finding(
                    name,
                    detail,
                    ok=False,
                    command="aws sts get-caller-identity",
                    section="troubleshooting-by-symptom",
                )
            )
    found.append(
        ward.finding(
            "permissions",
            f"you may not check: {', '.join(denied)}" if denied else "you may check everything",
            ok=not denied,
            command="aws sts get-caller-identity",
            section="troubleshooting-by-symptom",
        )
    )
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, ClientError):
        return f"{error.operation_name}: {error.response.get('Error', {}).get('Code', 'Unknown')}"
    return f"{type(error).__name__}: {error}"


def _messages(ward: Ward, queue: Resource) -> int:
    attributes = ward.clients.client("sqs").get_queue_attributes(
        QueueUrl=queue.physical_id, AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])


def _log_groups(ward: Ward, prefix: str) -> tuple[str, ...]:
    return tuple(each.physical_id for each in ward.parts.of_type(stack_parts.LOG_GROUP, prefix))


def _shown(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    minute = 60
    if seconds < 2 * minute:
        return f"{seconds} s"
    minutes = seconds // minute
    return f"{minutes} min" if minutes < 2 * minute else f"{minutes // minute} h"
