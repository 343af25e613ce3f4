"""Timelines, dead letters, and the options of the repair commands."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from bbm import dead_letters
from bbm.doctor import polls as poll_checks
from bbm.doctor.alarms import alarm_topic
from bbm.doctor.context import CheckContext
from bbm.doctor.deployment import stack_status
from bbm.doctor.event_bus import pending_events
from bbm.doctor.oldest_read import oldest_read
from bbm.doctor.tables import tables
from bbm.log_lines import LogLine
from bbm.stack_parts import Resource, StackParts
from bbm.timeline import moments
from bedrock_batch_monitor.domain.arns import Scope
from tests.component.conftest import Cloud

from .conftest import Bbm

ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/4o8nzboo9xsk"
MINUTE = timedelta(minutes=1)
AT = datetime(2026, 11, 26, 2, 5, tzinfo=UTC)


def line(message: str, **fields: Any) -> LogLine:
    return LogLine(AT, message, fields)


def test_timeline_has_refused_reads_and_failed_polls() -> None:
    """A line of a poll counts if it names the job, or if no job was read."""
    errors = {
        "Bedrock.AccessDeniedException": {"count": 2, "jobArns": [ARN, "other"]},
        "Bedrock.InternalServerException": {"count": 1, "jobArns": ["another"]},
    }
    found = moments(
        ARN,
        [{"observedAt": "2026-11-26T02:00:00.000Z", "sequence": 1, "status": "InProgress"}],
        {"lastUnreachable": {"began": "2026-11-26T02:01:00.000Z", "ended": "not a time"}},
        [
            line("jobs not read", errors=errors),
            line("poll failed", summary={"errors": {"DynamoDB.AccessDeniedException": 1}}),
            line("job changed", jobArn=ARN),
            line("event published", jobArn="other"),
            line("event published", jobArn=ARN, eventId="e", eventBridgeId="b"),
        ],
    )

    assert [(each.what, dict(each.fields)) for each in found] == [
        ("transition", {"sequence": 1, "status": "InProgress"}),
        ("last episode began", {"condition": "Unreachable"}),
        ("read refused", {"error": "Bedrock.AccessDeniedException"}),
        ("poll failed", {"errors": {"DynamoDB.AccessDeniedException": 1}}),
        ("event published", {"eventId": "e", "eventBridgeId": "b"}),
    ]


def poll_line(minute: int, stream: str = "a", *, cold: bool = False, **summary: int) -> LogLine:
    """The line of a poll of five jobs, all read unless `summary` says otherwise."""
    fields = {"cold_start": cold, "summary": {"jobsActive": 5, "jobsRead": 5, **summary}}
    return LogLine(AT + minute * MINUTE, "poll finished", fields, stream)


@pytest.mark.parametrize(
    ("polls", "expected"),
    [
        ([], None),
        # Every job was read: a cold start does not matter.
        ([poll_line(9, cold=True)], 0),
        # One job is not read; the environment is older than that.
        ([poll_line(0, cold=True), poll_line(9, jobsRead=4, oldestReadSeconds=240)], 240),
        # After a cold start, the function counts from its first poll.
        ([poll_line(9, cold=True, jobsRead=4, oldestReadSeconds=0)], None),
        ([poll_line(3, "b"), poll_line(9, cold=True, jobsRead=4, oldestReadSeconds=0)], 360),
        # `bbm poll` in a second environment read every job in between.
        (
            [
                poll_line(0, cold=True, jobsRead=4),
                poll_line(8, "b", cold=True),
                poll_line(9, jobsRead=4, oldestReadSeconds=540),
            ],
            60,
        ),
        # The first line of an environment that polled another account before: it remembers nothing.
        ([poll_line(3, "b"), poll_line(9, jobsRead=0, oldestReadSeconds=0)], 360),
        ([poll_line(9, jobsRead=0, oldestReadSeconds=0)], None),
        # Unreachable jobs wait for their turn, and do not count.
        ([poll_line(9, cold=True, jobsRead=3, jobsUnreachable=2)], 0),
    ],
)
def test_oldest_read_is_known_across_environments(
    polls: list[LogLine], expected: int | None
) -> None:
    """As long as one environment has read every job, or remembers it."""
    age = oldest_read(polls)

    assert (None if age is None else age.total_seconds()) == expected


def with_errors(minute: int, *codes: str) -> LogLine:
    """The line of a poll that had these errors."""
    fields = {"summary": {"errors": dict.fromkeys(codes, 1), "answered": True}}
    account = {"account": "123456789012", "region": "us-east-1"}
    return LogLine(AT + minute * MINUTE, "poll finished", {**fields, **account})


@pytest.mark.parametrize(
    ("polls", "lasting"),
    [
        ([with_errors(8, "DynamoDB.InternalServerError")], False),
        ([with_errors(7, "DynamoDB.InternalServerError"), with_errors(8)], False),
        ([with_errors(7, "DynamoDB.A", "DynamoDB.B"), with_errors(8, "DynamoDB.B")], True),
        ([with_errors(7, "Item.InvalidItem"), with_errors(8, "Item.InvalidItem")], False),
    ],
)
def test_errors_last_if_the_two_newest_polls_had_them(
    polls: list[LogLine], monkeypatch: pytest.MonkeyPatch, *, lasting: bool
) -> None:
    """A single one can pass, also if there was only one poll yet."""
    deployment = SimpleNamespace(scope=Scope("123456789012", "us-east-1"))
    parts = StackParts({}, deployment, {}, None)  # type: ignore[arg-type]
    monkeypatch.setattr(poll_checks, "lines_since", lambda *_: polls)
    context = CheckContext(None, "stack", parts, AT + 9 * MINUTE)  # type: ignore[arg-type]
    found = {each.check: each.ok for each in poll_checks.polls(context)}

    assert found["errors"] is not lasting


def test_dead_letters_have_a_kind_and_no_body() -> None:
    """The kind follows from the attributes of AWS; a task token in a body is not shown."""

    class Queue:
        calls = 0

        def receive_message(self, **_: Any) -> Any:
            self.calls += 1
            if self.calls > 1:
                return {}
            command = {"detail": {"jobArn": ARN, "taskToken": "secret"}}
            own = {"source": "bedrock-batch-monitor", "detail": {"data": {"jobArn": ARN}}}
            rule = {"RULE_ARN": {"StringValue": "arn"}, "ERROR_CODE": {"StringValue": "NO_PERM"}}
            queue = {"DeadLetterQueueSourceArn": "arn"}
            return {
                "Messages": [
                    {"MessageId": "1", "Body": json.dumps(command), "Attributes": queue},
                    {"MessageId": "2", "Body": json.dumps(command), "MessageAttributes": rule},
                    {"MessageId": "3", "Body": json.dumps(own), "MessageAttributes": rule},
                    {"MessageId": "4", "Body": json.dumps({"requestPayload": own})},
                    {"MessageId": "5", "Body": "not JSON"},
                    {"MessageId": "6", "Body": json.dumps(own), "Attributes": queue},
                ]
            }

    found = dead_letters.read(Queue(), "url")  # type: ignore[arg-type]

    assert [each.kind for each in found] == [
        dead_letters.FROM_INBOX,
        dead_letters.NOT_DELIVERED,
        dead_letters.NOTIFICATION,
        dead_letters.NOTIFICATION,
        dead_letters.OTHER,
        dead_letters.NOT_ANALYZED,
    ]
    assert [each.job_arn for each in found] == [ARN, ARN, ARN, ARN, None, ARN]
    assert found[1].reason == "NO_PERM"
    assert "secret" not in repr(found)


def test_references_of_the_template_are_resolved() -> None:
    """Names, ARNs and joins become those of the deployed resources."""

    class Deployed:
        partition, scope = "aws", Scope("123456789012", "us-east-1")

    function = Resource("Function", "AWS::Lambda::Function", "monitor-1", {})
    queue = Resource("Queue", "AWS::SQS::Queue", "https://sqs/123456789012/letters-1", {})
    parts = StackParts({"Function": function, "Queue": queue}, Deployed(), {}, None)  # type: ignore[arg-type]

    assert parts.resolve(
        {
            "Name": {"Ref": "Function"},
            "Arns": [{"Fn::GetAtt": ["Function", "Arn"]}, {"Fn::GetAtt": ["Queue", "Arn"]}],
            "Text": {"Fn::Join": ["-", ["in", {"Ref": "AWS::Region"}]]},
        }
    ) == {
        "Name": "monitor-1",
        "Arns": [
            "arn:aws:lambda:us-east-1:123456789012:function:monitor-1",
            "arn:aws:sqs:us-east-1:123456789012:letters-1",
        ],
        "Text": "in-us-east-1",
    }


def test_replay_since_sends_every_end_with_its_id(cloud: Cloud, bbm: Bbm) -> None:
    """All jobs that ended since then, or those with a status; a running job has no end event."""
    failed, completed = cloud.add_job("Failed"), cloud.add_job("Completed")
    cloud.add_job("InProgress")
    cloud.poll()
    ids = {event["resources"][0]: event["detail"]["metadata"] for event in cloud.new_events()}

    sent = bbm.json("replay", "--since", "1h")["sent"]
    assert {each["jobArn"]: each["eventId"] for each in sent} == {
        arn: ids[arn]["eventId"] for arn in (failed, completed)
    }
    assert len(cloud.new_events()) == 2
    assert [
        e["jobArn"] for e in bbm.json("replay", "--since", "1h", "--status", "failed")["sent"]
    ] == [failed]
    assert bbm("replay").code == bbm("replay", failed, "--since", "1h").code == 2
    assert bbm("replay", "--since", "1h", "--status", "InProgress").code == 2


def test_poll_sends_all_and_rediscover_to_the_function(bbm: Bbm) -> None:
    """The options are in the payload of the invocation."""
    bbm.clients.functions.payload = {"all": True}
    assert bbm.json("poll", "--all")["jobsActive"] == 0
    bbm.clients.functions.payload = {"rediscoverSince": "2026-11-24T19:00:00.000Z"}
    assert bbm.json("rediscover", "--since", "1h")["jobsActive"] == 0
    bbm.clients.functions.payload |= {"account": "222222222222", "region": "eu-west-1"}
    there = ("--scope", "222222222222/eu-west-1")
    assert bbm.json("rediscover", "--since", "1h", *there)["jobsActive"] == 0


def test_history_shows_whether_the_event_is_pending(cloud: Cloud, bbm: Bbm) -> None:
    """Once the event of the end is published, it shows the time."""
    arn = cloud.add_job("Completed")
    cloud.poll()

    [entry] = bbm.json("history", arn)["history"]
    assert (entry["event"], entry["eventPublishedAt"]) == ("published", "2026-11-24T20:00:00.000Z")
    assert "published" in bbm("history", arn).out


def context(*resources: Resource, **clients: Any) -> CheckContext:
    """What the checks look at: these resources, and clients that answer from memory."""
    deployment = SimpleNamespace(scope=Scope("123456789012", "us-east-1"))
    parts = StackParts({each.logical_id: each for each in resources}, deployment, {}, None)  # type: ignore[arg-type]
    known = SimpleNamespace(**clients, client=lambda service: clients[service])
    return CheckContext(known, "BedrockBatchMonitor", parts, AT)  # type: ignore[arg-type]


def test_failed_rollback_is_found_with_its_command() -> None:
    """It is the first command of its section of the runbook."""
    answer = {"Stacks": [{"StackStatus": "UPDATE_ROLLBACK_FAILED"}], "ResponseMetadata": {}}
    stack = SimpleNamespace(describe_stacks=lambda **_: answer)
    [finding, _] = stack_status(context(cloudformation=stack))

    assert (finding.ok, finding.detail) == (
        False,
        "stack BedrockBatchMonitor is UPDATE_ROLLBACK_FAILED",
    )
    assert finding.command.startswith("aws cloudformation describe-stack-events")
    assert finding.link.endswith("#when-a-deployment-failed")


@pytest.mark.parametrize(
    ("arns", "detail", "ok"),
    [
        ([], "The alarm topic has no subscribers", True),
        (
            ["PendingConfirmation"],
            "The alarm topic has no subscribers: none of 1 is confirmed",
            False,
        ),
        (["arn:aws:sns:1", "PendingConfirmation"], "1 confirmed subscriptions of 2", True),
    ],
)
def test_alarm_topic_without_subscribers_is_named(
    arns: list[str], detail: str, *, ok: bool
) -> None:
    """Without a setting or subscription, it may be intended."""
    topic = Resource("AlarmsTopic3A2DFEBA", "AWS::SNS::Topic", "arn:aws:sns:topic", {})
    answer = {"Subscriptions": [{"SubscriptionArn": arn} for arn in arns]}
    sns = SimpleNamespace(list_subscriptions_by_topic=lambda **_: answer)
    [finding] = alarm_topic(context(topic, sns=sns))

    assert (finding.detail, finding.ok) == (detail, ok)


def test_missing_or_backfilling_index_is_named() -> None:
    """An index of the template that the table does not have, or that is not ready."""
    indexes = [{"IndexName": name} for name in ("active-jobs", "pending-events", "usage-pending")]
    resource = Resource(
        "TablesJobs313634AE",
        "AWS::DynamoDB::GlobalTable",
        "jobs",
        {"Properties": {"GlobalSecondaryIndexes": indexes}},
    )
    table = {
        "TableStatus": "ACTIVE",
        "GlobalSecondaryIndexes": [
            {"IndexName": "pending-events", "IndexStatus": "CREATING", "Backfilling": True},
            {"IndexName": "usage-pending", "IndexStatus": "ACTIVE"},
        ],
    }
    dynamodb = SimpleNamespace(
        describe_table=lambda **_: {"Table": table},
        exceptions=SimpleNamespace(ResourceNotFoundException=KeyError),
    )
    [finding] = tables(context(resource, dynamodb=dynamodb))

    assert finding.detail == (
        "table jobs (TablesJobs) index active-jobs is missing, index pending-events is BACKFILLING"
    )
    assert finding.link.endswith("#an-index-is-missing")


@pytest.mark.parametrize(
    ("key", "since", "ok", "command"),
    [
        (ARN, "2026-11-26T02:00:00.000Z", True, f"bbm trace {ARN}"),
        (ARN, "2026-11-26T01:00:00.000Z", False, f"bbm trace {ARN}"),
        ("x; rm -rf ~\n", "soon", False, "bbm jobs"),
    ],
    ids=["new", "old", "written by a person"],
)
def test_oldest_pending_event_is_found_with_a_command_to_paste(
    key: str,
    since: str,
    ok: bool,  # noqa: FBT001 - a row of the table
    command: str,
) -> None:
    """The key of an item that a person wrote is no part of a command."""
    item = {"jobArn": {"S": key}, "pendingSince": {"S": since}}
    found = context(dynamodb=SimpleNamespace(query=lambda **_: {"Items": [item]}))
    found.parts.deployment.jobs_table = "jobs"  # type: ignore[misc]
    [finding] = pending_events(found)

    assert (finding.ok, finding.command) == (ok, command)
