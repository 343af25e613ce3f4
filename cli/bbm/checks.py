"""The checks of `bbm doctor`: each makes a few calls and returns findings.

A check that AWS refuses is a finding too: what cannot be checked is not known to be well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from bbm import stack_parts
from bbm.log_lines import LogLine, lines_since
from bbm.read_age import oldest_read
from bbm.record_checks import Records, Tables, by_code, named
from bedrock_batch_monitor import __version__, contract
from bedrock_batch_monitor.domain.arns import JobArn, Scope, is_job_arn
from bedrock_batch_monitor.domain.summary import is_of_service
from bedrock_batch_monitor.domain.times import from_iso

if TYPE_CHECKING:
    from bbm.aws import Clients
    from bbm.stack_parts import Resource, StackParts

_INTERVALS: Final = 3
_SHORTEST_WINDOW: Final = timedelta(minutes=5)
_LONGEST_PENDING: Final = timedelta(minutes=15)
_INBOX_STOPPED: Final = timedelta(minutes=10)
_CLOCK: Final = timedelta(minutes=1)
_OF_POLLS: Final = ("poll finished", "poll failed", "invocation failed")
_NEWEST: Final = 2
# How many jobs a command names.
_MOST_TRACKED: Final = 10
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
class CheckContext:
    """What each check reads: the clients, the parts of the stack, and the time."""

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


def stack_status(context: CheckContext) -> Iterator[Finding]:
    """The stack, its version, and the difference between the clocks."""
    answer = context.clients.cloudformation.describe_stacks(StackName=context.stack)
    status = answer["Stacks"][0]["StackStatus"]
    ok = status in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}
    yield context.finding(
        "stack",
        f"stack {context.stack} is {status}",
        ok=ok,
        command=f"aws cloudformation describe-stack-events --stack-name {context.stack}",
        section="when-a-deployment-failed",
    )
    version = context.parts.version
    chosen = ", ".join(f"{key}={value}" for key, value in sorted(context.parts.settings.items()))
    yield context.finding(
        "version",
        f"deployed {version or 'version is not known'}, bbm is {__version__}; settings: "
        f"{chosen or 'defaults'}",
        ok=version == __version__,
        command="make deploy",
        section="when-a-deployment-failed",
    )
    header = answer["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
    if header is not None:
        difference = abs(context.now - parsedate_to_datetime(header).astimezone(UTC))
        yield context.finding(
            "clock",
            f"this machine's clock differs from AWS by {difference.total_seconds():.0f} s",
            ok=difference <= _CLOCK,
            command="date -u",
            section="troubleshooting-by-symptom",
        )


def polls(context: CheckContext) -> Iterator[Finding]:
    """When a poll of each scope last succeeded, and how old its oldest read of an active job is."""
    window = max(_SHORTEST_WINDOW, _INTERVALS * context.interval)
    # Lines arrive late; an older poll says when polls stopped.
    start = context.now - 4 * window
    found = lines_since(context.clients, context.parts.log_groups("Monitor"), start, _OF_POLLS)
    home = context.parts.deployment.scope
    for scope in _polled_scopes(context):
        of_scope = [
            line
            for line in found
            if line.fields.get("account") == scope.account
            and line.fields.get("region") == scope.region
        ]
        where = Where() if scope == home else Where(f"{scope}: ", f" --scope {scope}")
        yield _last_poll(context, of_scope, where, window)
        yield _service_errors(context, of_scope, where)
        finished = [line for line in of_scope if line.message == "poll finished"]
        if finished:
            yield _oldest_read(context, finished, where)


@dataclass(frozen=True, slots=True)
class Where:
    """How a finding names its scope, and the option of `bbm poll`; empty for the deployment's."""

    prefix: str = ""
    option: str = ""


def _polled_scopes(context: CheckContext) -> list[Scope]:
    """The scope of each schedule, the deployment's own first; its payload is `{}`."""
    home = context.parts.deployment.scope
    payloads = (
        json.loads(context.parts.properties(each).get("Target", {}).get("Input", "{}"))
        for each in context.parts.of_type(stack_parts.SCHEDULE)
    )
    scopes = {
        Scope(each.get("account", home.account), each.get("region", home.region))
        for each in payloads
    }
    return [home, *sorted(scopes - {home}, key=str)]


def _last_poll(
    context: CheckContext, found: list[LogLine], where: Where, window: timedelta
) -> Finding:
    """When a poll last succeeded; if the newest one did not, what it ran into."""
    last = max(
        (line.at for line in found if _has_succeeded(line)),
        default=None,
    )
    if last is None:
        age, detail = None, f"no successful poll in the last {_shown(4 * window)}"
    else:
        age = max(context.now - last, timedelta(0))
        detail = f"the last successful poll was {_shown(age)} ago"
    if found and not _has_succeeded(found[-1]):
        detail += f"; {_why_not(found[-1])}"
    elif not found:
        detail += "; no poll has written a log line"
    return context.finding(
        "poll",
        where.prefix + detail,
        ok=age is not None and age <= window and _has_succeeded(found[-1]),
        command=f"bbm poll{where.option}",
        section="nopoll",
    )


def _why_not(line: LogLine) -> str:
    """Why a poll was not a success."""
    if (exception := line.fields.get("exceptionType")) is not None:
        return f"the newest poll failed: {exception}"
    summary = line.fields.get("summary", {})
    codes = ", ".join(sorted(summary.get("errors", {}))) or "no job was read in the slow lane"
    if line.message == "poll failed":
        return f"the newest poll failed: {codes}"
    return f"the newest poll read none of {summary.get('jobsActive', 0)} jobs: {codes}"


def _service_errors(context: CheckContext, found: list[LogLine], where: Where) -> Finding:
    """The errors of services that each of the newest polls had; a single one can pass."""
    newest = [set(line.fields.get("summary", {}).get("errors", {})) for line in found[-_NEWEST:]]
    in_common = set.intersection(*newest) if len(newest) == _NEWEST else set()
    lasting = sorted(filter(is_of_service, in_common))
    return context.finding(
        "errors",
        f"{where.prefix}the newest polls had errors: {', '.join(lasting)}"
        if lasting
        else f"{where.prefix}the newest polls have no error of a service in common",
        ok=not lasting,
        command=f"bbm poll{where.option}",
        section="error-codes",
    )


def _has_succeeded(line: LogLine) -> bool:
    followed: bool = line.fields.get("summary", {}).get("followed", True)
    return line.message == "poll finished" and followed


def _oldest_read(context: CheckContext, polls_: list[LogLine], where: Where) -> Finding:
    age = oldest_read(polls_)
    if age is None:
        detail = "it is not known how old the oldest read of an active job is: the function has "
        detail += "started again, and has not read every job since"
    else:
        detail = f"the oldest read of an active job was {_shown(age)} old at the last poll"
    errors = polls_[-1].fields.get("summary", {}).get("errors", {})
    is_late = age is None or age > _INTERVALS * context.interval
    if is_late and errors:
        detail += f"; errors: {', '.join(sorted(errors))}"
    return context.finding(
        "reads", where.prefix + detail, ok=not is_late, command="bbm jobs", section="jobslate"
    )


def schedule(context: CheckContext) -> Iterator[Finding]:
    """State, payload and target of each schedule."""
    client = context.clients.client("scheduler")
    function = context.parts.of_type(stack_parts.FUNCTION, "MonitorFunction")
    for each in context.parts.of_type(stack_parts.SCHEDULE):
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
        yield context.finding(
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


def dead_letters(context: CheckContext) -> Iterator[Finding]:
    """How many dead letters there are."""
    (queue,) = context.parts.of_type(stack_parts.QUEUE, "EventsDeadLetters")
    count = _messages(context, queue)
    yield context.finding(
        "deadLetters",
        f"{count} dead letters",
        ok=count == 0,
        command="bbm letters",
        section="dead-letters",
    )


def inbox(context: CheckContext) -> Iterator[Finding]:
    """The event source mapping of the inbox, and the age of its oldest message."""
    (function,) = context.parts.of_type(stack_parts.FUNCTION, "InboxFunction")
    (queue,) = context.parts.of_type(stack_parts.QUEUE, "InboxQueue")
    mappings = context.clients.functions.list_event_source_mappings(
        FunctionName=function.physical_id
    )["EventSourceMappings"]
    states = [mapping.get("State", "Enabled") for mapping in mappings]
    name = queue.physical_id.rpartition("/")[2]
    points = context.clients.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": name}],
        StartTime=context.now - timedelta(minutes=10),
        EndTime=context.now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    newest = max(points, key=lambda point: point["Timestamp"], default=None)
    age = timedelta(seconds=0 if newest is None else newest["Maximum"])
    is_on = bool(states) and all(state in {"Enabled", "Enabling", "Updating"} for state in states)
    yield context.finding(
        "inbox",
        f"event source mapping: {', '.join(states) or 'missing'}; "
        f"{_messages(context, queue)} messages, the oldest {_shown(age)} old",
        ok=is_on and age <= _INBOX_STOPPED,
        command=f"aws lambda list-event-source-mappings --function-name {function.physical_id}",
        section="inboxstopped",
    )


def bus(context: CheckContext) -> Iterator[Finding]:
    """The event bus and the rules of the stack on it."""
    client = context.clients.events
    name = context.parts.deployment.event_bus
    problems = []
    try:
        client.describe_event_bus(Name=name)
    except client.exceptions.ResourceNotFoundException:
        problems.append("does not exist")
    else:
        for rule in rules_of_bus(context.parts):
            rule_name = rule.physical_id.rpartition("|")[2]
            try:
                state: str = client.describe_rule(Name=rule_name, EventBusName=name)["State"]
            except client.exceptions.ResourceNotFoundException:
                state = "missing"
            if state != "ENABLED":
                problems.append(f"rule {rule_name} is {state}")
    yield context.finding(
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


def tables(context: CheckContext) -> Iterator[Finding]:
    """The four tables and their indexes."""
    client = context.clients.dynamodb
    for resource in context.parts.of_type(stack_parts.TABLE):
        which, name = resource.logical_id, resource.physical_id
        problems = []
        try:
            table = client.describe_table(TableName=name)["Table"]
        except client.exceptions.ResourceNotFoundException:
            problems.append("does not exist")
        else:
            if table["TableStatus"] not in {"ACTIVE", "UPDATING"}:
                problems.append(f"is {table['TableStatus']}")
            problems += _problems_of_indexes(resource, table)
        yield context.finding(
            "tables",
            f"table {name} ({re.sub(r'[0-9A-F]{8}$', '', which)}) "
            + (", ".join(problems) or "and its indexes are active"),
            ok=not problems,
            command=f"aws dynamodb describe-table --table-name {name}",
            section="an-index-is-missing" if "index" in "".join(problems) else "restore-a-table",
        )


def _problems_of_indexes(resource: Resource, table: Mapping[str, Any]) -> Iterator[str]:
    """The indexes of the template that are not active."""
    found = {
        index["IndexName"]: "BACKFILLING"
        if index.get("Backfilling")
        else index.get("IndexStatus", "ACTIVE")
        for index in table.get("GlobalSecondaryIndexes", ())
    }
    for wanted in resource.template.get("Properties", {}).get("GlobalSecondaryIndexes", ()):
        name = wanted["IndexName"]
        if found.get(name) != "ACTIVE":
            yield f"index {name} is {found.get(name, 'missing')}"


def records(context: CheckContext) -> Iterator[Finding]:
    """Whether the items of the jobs and their history fit together."""
    # The template has the settings as text.
    days = context.parts.settings.get("historyRetentionDays")
    retention = None if days is None else timedelta(days=int(days))
    found = _tables_of(context).compare(context.now, retention)
    problems = []
    command = f"bbm rediscover --since 8d{_scope_option(context, found)}"
    if context.parts.settings.get("discovery") == "false":
        # Then there is nothing that would list them.
        arns = " ".join(filter(is_job_arn, found.without_item[:_MOST_TRACKED]))
        command = f"bbm track {arns}" if arns else "bbm poll"
    if found.without_item:
        problems.append(
            f"{len(found.without_item)} running jobs have a history and no item: "
            f"{named(found.without_item)}"
        )
    if found.older:
        problems.append(
            f"{len(found.older)} items are older than their history: {named(found.older)}"
        )
    if found.without_history:
        problems.append(
            f"the history lacks the last transition of {len(found.without_history)} active jobs: "
            f"{named(found.without_history)}"
        )
        if not found.without_item:
            table = context.parts.deployment.history_table
            command = f"aws dynamodb describe-continuous-backups --table-name {table}"
    yield context.finding(
        "records",
        "; ".join(problems) or "the items of the jobs and their history fit together",
        ok=not problems,
        command=command,
        section="when-tables-are-lost",
    )


def _scope_option(context: CheckContext, found: Records) -> str:
    """The option that names the scope of the first job, if it is not the deployment's own."""
    first = next(iter((*found.without_item, *found.older)), "")
    if (
        not is_job_arn(first)
        or (scope := JobArn.parse(first).scope) == context.parts.deployment.scope
    ):
        return ""
    return f" --scope {scope}"


def unread_jobs(context: CheckContext) -> Iterator[Finding]:
    """Active jobs that cannot be read, and items that are wrong."""
    found = _tables_of(context).unread()
    yield context.finding(
        "unread",
        f"{len(found)} active jobs cannot be read ({by_code(found)}): "
        f"{named(arn for arn, _ in found)}"
        if found
        else "every active job can be read",
        ok=not found,
        command="bbm jobs",
        section="jobsneedattention",
    )


def _tables_of(context: CheckContext) -> Tables:
    deployment = context.parts.deployment
    return Tables(context.clients.dynamodb, deployment.jobs_table, deployment.history_table)


def key(context: CheckContext) -> Iterator[Finding]:
    """The customer key, if the stack has one."""
    for resource in context.parts.of_type(stack_parts.KEY):
        key_id = resource.physical_id
        metadata = context.clients.client("kms").describe_key(KeyId=key_id)["KeyMetadata"]
        state = metadata["KeyState"]
        verb = "cancel-key-deletion" if state == "PendingDeletion" else "enable-key"
        yield context.finding(
            "key",
            f"key {key_id} is {state}",
            ok=state == "Enabled",
            command=f"aws kms {verb} --key-id {key_id}",
            section="the-key-was-disabled",
        )


def pending_events(context: CheckContext) -> Iterator[Finding]:
    """The age of the oldest pending event."""
    found = context.clients.dynamodb.query(
        TableName=context.parts.deployment.jobs_table,
        IndexName=contract.PENDING_EVENTS_INDEX,
        KeyConditionExpression=f"{contract.EVENT_PENDING} = :pending",
        ExpressionAttributeValues={":pending": {"S": contract.EVENT_PENDING_VALUE}},
        Limit=1,
    )["Items"]
    if not found:
        yield context.finding(
            "pendingEvents", "no event is pending", ok=True, section="eventswaiting"
        )
        return
    key = found[0][contract.JOB_ARN]["S"]
    try:
        since = from_iso(found[0][contract.PENDING_SINCE]["S"])
    except ValueError:
        # A person wrote the item: the key of the index can be any text.
        since = datetime.min.replace(tzinfo=UTC)
    age = max(context.now - since, timedelta(0))
    yield context.finding(
        "pendingEvents",
        f"the oldest pending event has waited {_shown(age)}",
        ok=age <= _LONGEST_PENDING,
        command=f"bbm trace {key}" if is_job_arn(key) else "bbm jobs",
        section="eventswaiting",
    )


CHECKS: Final[tuple[tuple[str, Callable[[CheckContext], Iterator[Finding]]], ...]] = (
    ("stack", stack_status),
    ("poll", polls),
    ("schedule", schedule),
    ("alarms", alarms),
    ("alarmTopic", alarm_topic),
    ("deadLetters", dead_letters),
    ("inbox", inbox),
    ("bus", bus),
    ("tables", tables),
    ("key", key),
    ("records", records),
    ("unread", unread_jobs),
    ("pendingEvents", pending_events),
)


def findings(context: CheckContext) -> list[Finding]:
    """The findings of every check, in the order of `CHECKS`."""
    found: list[Finding] = []
    denied: list[str] = []
    for name, check in CHECKS:
        try:
            found.extend(check(context))
        except (ClientError, BotoCoreError, ValueError, KeyError) as error:
            reason = _reason(error)
            denied += [name] if "Denied" in reason else []
            detail = f"cannot be checked: {reason}"
            found.append(
                context.finding(
                    name,
                    detail,
                    ok=False,
                    command="aws sts get-caller-identity",
                    section="troubleshooting-by-symptom",
                )
            )
    found.append(
        context.finding(
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


def _messages(context: CheckContext, queue: Resource) -> int:
    attributes = context.clients.client("sqs").get_queue_attributes(
        QueueUrl=queue.physical_id, AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])


def _shown(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    minute = 60
    if seconds < 2 * minute:
        return f"{seconds} s"
    minutes = seconds // minute
    return f"{minutes} min" if minutes < 2 * minute else f"{minutes // minute} h"
