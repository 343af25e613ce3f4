"""One deployment that monitors two accounts in two Regions, on moto and the stand-in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from bedrock_batch_monitor.app.composition import Container
from bedrock_batch_monitor.app.telemetry import logger, metrics
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.scopes import PayloadError, Scopes
from bedrock_batch_monitor.domain.summary import PollSummary
from bedrock_batch_monitor.handlers import inbox as inbox_module
from bedrock_batch_monitor.handlers import monitor as monitor_module
from bedrock_batch_monitor.settings import MemberRoles
from local.bedrock import Phase, Script

from .conftest import REGION, SETTINGS, Cloud, InlineExecutor
from .test_handler import Context
from .test_inbox import command, native
from .test_usage import BUCKET, TOKENS, write_manifest
from .test_usage import RULES as USAGE

MEMBER, THERE = "222222222222", "eu-west-1"
SCOPES = Scopes.named(SETTINGS.scope, regions=[REGION, THERE], accounts=[MEMBER])
HOME, HOME_THERE, MEMBER_THERE, MEMBER_HERE = SCOPES
DEPLOYED = replace(
    SETTINGS,
    others=SCOPES,
    members=MemberRoles("BedrockBatchMonitorMember", "the-external-id", "aws"),
    discovery_prefix="",
)


class Session:
    """The session of the function, with an STS that knows the roles of some accounts."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.session = boto3.Session(region_name=REGION)
        self.assumed: list[str] = []
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        """Be that session in all else."""
        return getattr(self.session, name)

    def client(self, service: str, **options: Any) -> Any:
        """Stand in for STS alone."""
        return self if service == "sts" else self.session.client(service, **options)  # type: ignore[call-overload]

    def assume_role(self, **request: str) -> dict[str, Any]:
        """Hand out a key, or refuse."""
        self.assumed.append(request["RoleArn"])
        if self.closed or request["ExternalId"] != "the-external-id":
            refusal = {"Code": "AccessDenied", "Message": f"not {request['RoleArn']}"}
            raise ClientError({"Error": refusal}, "AssumeRole")  # type: ignore[typeddict-item]
        return {
            "Credentials": {
                # The stand-in takes the account from the key.
                "AccessKeyId": request["RoleArn"].split(":")[4],
                "SecretAccessKey": "secret",
                "SessionToken": "token",
                "Expiration": self.cloud.bedrock.clock.now() + timedelta(hours=1),
            }
        }


@pytest.fixture
def session(cloud: Cloud) -> Session:
    return Session(cloud)


@pytest.fixture
def parts(cloud: Cloud, session: Session) -> Container:
    """The parts of the functions as they are deployed."""
    return Container(
        DEPLOYED,
        session,  # type: ignore[arg-type]
        clock=lambda: cloud.bedrock.clock.now(),  # noqa: PLW0108 - as in conftest
        concurrency=1,
    )


def poll(parts: Container, scope: Scope) -> PollSummary:
    """Run one poll of a scope."""
    monitor = replace(parts.monitor(scope, Logger(service="test")), new_executor=InlineExecutor)
    return monitor.poll(lambda: 900)


def job_in(cloud: Cloud, scope: Scope, status: str = "InProgress") -> str:
    """A job of a scope that is not tracked yet."""
    script = Script((Phase(status, None),))
    return cloud.bedrock.add_job(script=script, account=scope.account, region=scope.region)


def test_poll_reads_only_the_jobs_of_its_scope(cloud: Cloud, parts: Container) -> None:
    """Each poll discovers, reads and ends the jobs of its scope."""
    tracked = {scope: cloud.track(job_in(cloud, scope, "Failed")) for scope in SCOPES}
    discovered = {scope: job_in(cloud, scope, "Completed") for scope in SCOPES}
    for scope in reversed(list(SCOPES)):
        summary = poll(parts, scope)
        assert (summary.errors, summary.jobs_active) == ({}, 1)
        assert (summary.jobs_discovered, summary.jobs_ended) == (1, 2)
        ended = {event["resources"][0] for event in cloud.new_events()}
        assert ended == {tracked[scope], discovered[scope]}
    assert {item["scope"] for item in cloud.items("state")} == {str(scope) for scope in SCOPES}


def test_role_is_assumed_once_for_each_scope(
    cloud: Cloud, parts: Container, session: Session
) -> None:
    """The own account needs none; the session of another account serves polls until it expires."""
    for scope in SCOPES:
        cloud.track(job_in(cloud, scope))
    for _ in range(3):
        for scope in SCOPES:
            assert poll(parts, scope).errors == {}
    role = f"arn:aws:iam::{MEMBER}:role/BedrockBatchMonitorMember-"
    assert sorted(session.assumed) == [f"{role}{THERE}", f"{role}{REGION}"]
    cloud.bedrock.clock.advance(3600)
    assert poll(parts, MEMBER_HERE).errors == {}
    assert len(session.assumed) == 3


def test_refused_role_affects_only_its_scope(
    cloud: Cloud, parts: Container, session: Session
) -> None:
    """Its jobs get the error and become unreachable; each poll calls STS once."""
    session.closed = True
    jobs = [cloud.track(job_in(cloud, MEMBER_HERE)) for _ in range(3)]
    mine = cloud.track(job_in(cloud, HOME, "Completed"))
    for number in range(1, 4):
        summary = poll(parts, MEMBER_HERE)
        # Every job, and the list of those that may be new.
        assert summary.errors == {"STS.AccessDenied": 4}
        assert summary.complete
        assert len(session.assumed) == number
        assert summary.conditions["Unreachable"] == (3 if number == 3 else 0)
        cloud.bedrock.clock.advance(60)
    events = cloud.new_events()
    assert {event["detail-type"] for event in events} == {"Batch Inference Job Unreachable"}
    assert sorted(event["resources"][0] for event in events) == sorted(jobs)
    error = (cloud.job(jobs[0]) or {})["lastError"]
    assert error["code"] == "AccessDenied"
    assert f"{MEMBER}:role/BedrockBatchMonitorMember-{REGION}" in error["message"]
    assert poll(parts, HOME).errors == {}
    assert len(cloud.history(mine)) == 1
    session.closed = False
    # Unreachable jobs are asked for every 15 minutes.
    for _ in range(16):
        cloud.bedrock.clock.advance(60)
        summary = poll(parts, MEMBER_HERE)
    assert (summary.jobs_read, summary.conditions["Unreachable"]) == (3, 0)
    assert "lastError" not in (cloud.job(jobs[0]) or {})


def test_home_poll_handles_items_of_no_monitored_scope(cloud: Cloud, parts: Container) -> None:
    """An item of another scope, or with an invalid ARN, gets its error from the home poll."""
    foreign = cloud.track(job_in(cloud, Scope("333333333333", THERE)))
    odd = [cloud.track(text) for text in ("a", "arn:aws:bedrock:", "zzz", "arn:aws:bedrock:zz")]
    for scope in SCOPES:
        if scope != HOME:
            assert poll(parts, scope).jobs_active == 0
    summary = poll(parts, HOME)
    assert summary.jobs_active == 5
    assert summary.errors == {"Item.NotMonitored": 1, "Item.InvalidJobArn": 4}
    assert (cloud.job(odd[0]) or {})["lastError"]["code"] == "InvalidJobArn"
    message = (cloud.job(foreign) or {})["lastError"]["message"]
    assert (
        f"belongs to aws, 333333333333/{THERE}; this deployment monitors aws, {HOME}, " in message
    )
    assert str(MEMBER_HERE) in message


def test_each_poll_sends_the_pending_events_of_its_scope(cloud: Cloud, parts: Container) -> None:
    """Events of items outside the monitored scopes are sent by the home poll."""
    arns = {scope: cloud.track(job_in(cloud, scope, "Failed")) for scope in SCOPES}
    for scope in SCOPES:
        poll(parts, scope)
    cloud.new_events()
    for arn in arns.values():
        cloud.dynamodb.update_item(
            TableName="jobs",
            Key={"jobArn": {"S": arn}},
            UpdateExpression="SET eventPending = :p, pendingSince = :s, pendingEvents = :m",
            ExpressionAttributeValues={
                ":p": {"S": "PENDING"},
                ":s": {"S": "2026-01-01T00:00:00.000Z"},
                ":m": {"SS": ["Ended#1"]},
            },
        )
    for scope in (MEMBER_THERE, HOME):
        assert poll(parts, scope).events_sent == 1
        assert [event["resources"] for event in cloud.new_events()] == [[arns[scope]]]


def test_tokens_are_counted_only_by_the_poll_of_their_scope(cloud: Cloud, session: Session) -> None:
    """A late manifest is read once, and its tokens are in the metrics of its scope."""
    boto3.client("s3", region_name=REGION).create_bucket(Bucket=BUCKET)
    parts = Container(
        replace(DEPLOYED, usage=USAGE),
        session,  # type: ignore[arg-type]
        clock=lambda: cloud.bedrock.clock.now(),  # noqa: PLW0108 - as in conftest
        concurrency=1,
    )
    poll(parts, HOME)
    arn = job_in(cloud, HOME_THERE, "Completed")
    output = {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/nightly/"}}}
    cloud.bedrock.faults.override(arn, output)
    cloud.track(arn)
    assert poll(parts, HOME_THERE).jobs_ended == 1
    write_manifest(arn)
    cloud.bedrock.clock.advance(600)

    of_home, of_its_scope = poll(parts, HOME), poll(parts, HOME_THERE)

    assert not of_home.tokens
    assert sorted(of_its_scope.tokens.values()) == sorted(TOKENS.values())


def test_interrupted_poll_of_a_scope_continues_where_it_stopped(
    cloud: Cloud, parts: Container
) -> None:
    """The next poll begins there, within the key partition of the scope."""
    arns = sorted(cloud.track(job_in(cloud, MEMBER_HERE)) for _ in range(5))
    for scope in (HOME, HOME_THERE, MEMBER_THERE):
        cloud.track(job_in(cloud, scope))
    monitor = parts.monitor(MEMBER_HERE, Logger(service="test"))
    stopped = replace(monitor, new_executor=InlineExecutor).poll(
        lambda: 900.0 if cloud.asked() < 2 else 0.0
    )
    assert not stopped.complete
    start_at = {item["scope"]: item.get("startAt") for item in cloud.items("state")}
    assert start_at[str(MEMBER_HERE)] in arns[1:]
    after = poll(parts, MEMBER_HERE)
    assert (after.complete, after.jobs_active, after.errors) == (True, 5, {})
    assert all(len(cloud.history(arn)) == 1 for arn in arns)


@pytest.fixture
def functions(cloud: Cloud, parts: Container, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Both handlers with these parts."""
    composed = parts.inbox()
    monkeypatch.setattr(metrics, "service", "BedrockBatchMonitor")
    monkeypatch.setattr(monitor_module, "parts", lambda: parts)
    monkeypatch.setattr(
        monitor_module,
        "monitor",
        lambda scope: replace(parts.monitor(scope, logger), new_executor=InlineExecutor),
    )
    monkeypatch.setattr(inbox_module, "inbox", lambda: composed)
    return cloud


def documents(output: str) -> list[dict[str, Any]]:
    """What an invocation published, as CloudWatch reads it from the log."""
    return [json.loads(line) for line in output.splitlines() if '"_aws"' in line]


def test_metrics_of_another_scope_have_its_dimension(
    functions: Cloud, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    """Metrics and errors of the home scope have none."""
    session.closed = True
    functions.track(job_in(functions, MEMBER_THERE))
    monitor_module.handler({"account": MEMBER, "region": THERE}, Context())  # type: ignore[arg-type]
    figures, refused, by_code = documents(capsys.readouterr().out)[::-1]
    scope = {"service": "BedrockBatchMonitor", "scope": f"{MEMBER}/{THERE}"}
    assert scope.items() <= figures.items()
    # A poll that read none of its jobs does not count as one, so it has no `JobsRead`.
    published = {metric["Name"] for metric in figures["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert published == {"JobsActive", "Errors"}
    assert set(figures["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]) == set(scope)
    assert (scope | {"code": "STS.AccessDenied", "Errors": [2]}).items() <= by_code.items()
    assert (scope | {"code": "Bedrock.Refused", "Errors": [2]}).items() <= refused.items()
    monitor_module.handler({}, Context())  # type: ignore[arg-type]
    [figures] = documents(capsys.readouterr().out)
    assert figures["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert "scope" not in figures


def test_log_lines_name_the_scope(functions: Cloud) -> None:
    """Each line contains the scope of its poll."""
    lines: list[dict[str, Any]] = []
    formatter = logger.registered_handler
    before, formatter.emit = (
        formatter.emit,
        lambda record: lines.append(  # type: ignore[method-assign]
            json.loads(formatter.format(record))
        ),
    )
    try:
        job_in(functions, MEMBER_HERE, "Completed")
        monitor_module.handler({"account": MEMBER, "region": REGION}, Context())  # type: ignore[arg-type]
        monitor_module.handler({}, Context())  # type: ignore[arg-type]
    finally:
        formatter.emit = before  # type: ignore[method-assign]
    assert [(line["message"], line["account"], line["region"]) for line in lines] == [
        ("job changed", MEMBER, REGION),
        ("event published", MEMBER, REGION),
        ("poll finished", MEMBER, REGION),
        ("poll finished", HOME.account, HOME.region),
    ]


def test_payload_without_a_monitored_scope_fails_the_invocation(functions: Cloud) -> None:
    """It reaches the dead-letter queue with the invalid value."""
    with pytest.raises(PayloadError, match=f"asks for '333333333333/{REGION}'"):
        monitor_module.handler({"account": "333333333333"}, Context())  # type: ignore[arg-type]
    assert functions.asked() == 0


def test_inbox_reads_a_job_in_the_scope_of_its_arn(
    functions: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events and commands of every scope are processed; one of no scope is dropped and counted."""
    heard = job_in(functions, MEMBER_THERE, "Failed")
    commanded = job_in(functions, HOME_THERE, "Completed")
    foreign = job_in(functions, Scope("333333333333", THERE))
    events = [native(heard), command("Track", commanded), command("Track", foreign)]
    records = [
        {"messageId": f"message-{number}", "body": json.dumps(event), "eventSource": "aws:sqs"}
        for number, event in enumerate(events)
    ]
    answer = inbox_module.handler({"Records": records}, Context())  # type: ignore[arg-type]
    assert answer == {"batchItemFailures": []}
    assert [item["status"] for item in functions.history(heard)] == ["Failed"]
    assert [item["status"] for item in functions.history(commanded)] == ["Completed"]
    assert functions.job(foreign) is None
    published = {
        document.get("scope"): {
            name: document[name] for name in ("JobsEnded", "EventsMalformed") if name in document
        }
        for document in documents(capsys.readouterr().out)
    }
    assert published == {
        f"{MEMBER}/{THERE}": {"JobsEnded": [1]},
        f"{HOME.account}/{THERE}": {"JobsEnded": [1]},
        None: {"EventsMalformed": [1]},
    }
