"""One deployment that monitors two accounts in two Regions, and an account that does not let it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.bedrock import Phase, Script
from local.cloud import Cloud, local_cloud
from local.deployment import PollError
from local.emulator import ACCOUNT
from local.waiting import wait_for

from .test_contract import EVENTS, once

MEMBER = "222222222222"
CLOSED = "333333333333"
HERE, THERE = "us-east-1", "eu-west-1"
MONITORED = [(ACCOUNT, HERE), (ACCOUNT, THERE), (MEMBER, HERE), (MEMBER, THERE)]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """A monitor of three accounts in two Regions, two of the accounts with the member stack."""
    context = {"regions": f"{HERE},{THERE}", "accounts": f"{MEMBER},{CLOSED}"}
    with local_cloud(context=context, members=MONITORED[1:]) as running:
        yield running


def job_in(cloud: Cloud, scope: tuple[str, str], status: str) -> str:
    """A job of an account in a Region that is in this status for good."""
    account, region = scope
    script = Script((Phase(status, None),))
    return cloud.bedrock.add_job(script=script, account=account, region=region)


def poll(cloud: Cloud, scope: tuple[str, str]) -> dict[str, Any]:
    """Run one poll of an account and Region."""
    summary: dict[str, Any] = cloud.monitor.poll(*scope)
    return summary


def test_jobs_of_four_scopes_are_published_on_one_bus(cloud: Cloud) -> None:
    """Jobs of all four, discovered or tracked, end with an event on the one bus."""
    # Discovery takes up what was submitted since it began, which it does with the first poll.
    for scope in MONITORED:
        assert poll(cloud, scope)["errors"] == {}
    discovered = {scope: job_in(cloud, scope, "Completed") for scope in MONITORED}
    tracked = {scope: job_in(cloud, scope, "Failed") for scope in MONITORED}
    arns = {*discovered.values(), *tracked.values()}
    cloud.monitor.track(*tracked.values())
    events: list[dict[str, Any]] = []
    with cloud.monitor.subscribe() as subscription:

        def enough() -> bool:
            # The schedules poll too, and may be the ones to record.
            for scope in MONITORED:
                assert poll(cloud, scope)["errors"] == {}
            events.extend(subscription.receive(0))
            return {event["resources"][0] for event in events} >= arns

        wait_for(enough, 60, what="eight endings")
    ended = {event["resources"][0]: event["detail"]["data"] for event in once(events)}
    for scope in MONITORED:
        for arn in (discovered[scope], tracked[scope]):
            assert (ended[arn]["account"], ended[arn]["region"]) == scope
            assert [item["sequence"] for item in cloud.monitor.history(arn)] == [1]


def test_account_without_the_role_delays_no_other_scope(cloud: Cloud) -> None:
    """Its job says why it is not read, and is unreachable; the others' polls know nothing of it."""
    closed = job_in(cloud, (CLOSED, THERE), "InProgress")
    cloud.monitor.track(closed)
    pattern = {"detail-type": ["Batch Inference Job Unreachable"]}
    with cloud.monitor.subscribe(pattern) as subscription:

        def is_unreachable() -> bool:
            summary = poll(cloud, (CLOSED, THERE))
            assert summary["errors"].keys() <= {"STS.AccessDenied"}
            assert summary["complete"]
            return bool(summary["jobsUnreachable"])

        wait_for(is_unreachable, 30, what="the job to be unreachable")
        [event] = once(subscription.receive())
    assert event["resources"] == [closed]
    job = cloud.monitor.job(closed)
    assert job is not None
    assert job["lastError"]["code"] == "AccessDenied"
    assert f"role/BedrockBatchMonitorMember-{THERE}" in job["lastError"]["message"]
    assert CLOSED in job["lastError"]["message"]
    for scope in MONITORED:
        assert poll(cloud, scope)["errors"] == {}


def test_member_role_requires_the_external_id(cloud: Cloud) -> None:
    """Without the external id, the member's role refuses the monitor's role."""
    iam = cloud.emulator.clients(MEMBER)("iam")
    name = f"BedrockBatchMonitorMember-{HERE}"
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    [statement] = trust["Statement"]
    assert statement["Condition"]["StringEquals"] == {"sts:ExternalId": f"{ACCOUNT}/{HERE}"}
    sts = cloud.emulator.client("sts")
    request = {"RoleArn": f"arn:aws:iam::{MEMBER}:role/{name}", "RoleSessionName": "somebody"}
    # Root of the monitor's account is trusted no more than anybody else: it is not the role.
    with pytest.raises(sts.exceptions.ClientError, match="AccessDenied"):
        sts.assume_role(**request, ExternalId=f"{ACCOUNT}/{HERE}")
    del statement["Condition"]["ArnEquals"]
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    with pytest.raises(sts.exceptions.ClientError, match="AccessDenied"):
        sts.assume_role(**request, ExternalId="another")
    assert sts.assume_role(**request, ExternalId=f"{ACCOUNT}/{HERE}")["Credentials"]


def test_scope_that_is_not_monitored_is_refused(cloud: Cloud) -> None:
    """A payload that names another scope fails with the scopes that there are."""
    with pytest.raises(PollError, match=r"asks for '222222222222/eu-central-1'"):
        poll(cloud, (MEMBER, "eu-central-1"))


@pytest.mark.parametrize("scope", MONITORED[1:])
def test_native_event_of_a_member_is_recorded(cloud: Cloud, scope: tuple[str, str]) -> None:
    """The member's rule matches it and names the monitor's bus, whose rule hands it to the inbox.

    Nobody outside of Bedrock may put an event with this source, and the emulator forwards between
    buses of one account and Region only: the patterns are tested with TestEventPattern, and the
    event is handed to the last target as EventBridge would.
    """
    arn = job_in(cloud, scope, "Failed")
    hidden = cloud.bedrock.faults.stale_lists(leave_out=[arn])
    event = json.loads((EVENTS / "native-failed.json").read_text())
    event |= {"resources": [arn], "time": "2026-11-24T20:00:00Z"}
    event |= {"account": scope[0], "region": scope[1]}
    event["detail"]["batchJobArn"] = arn
    there = cloud.emulator.clients(*scope)("events")
    target = target_for(there, event)
    assert target["Arn"] == cloud.monitor.outputs.event_bus_arn
    assert ":role/" in target["RoleArn"]
    bus = cloud.monitor.outputs.event_bus_name
    queue = target_for(cloud.monitor.client("events"), event, bus)["Arn"].rsplit(":", 1)[-1]
    sqs = cloud.monitor.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    try:
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
        wait_for(lambda: cloud.monitor.history(arn), 30, what="the event to be processed")
    finally:
        cloud.bedrock.faults.remove(hidden)
    [entry] = cloud.monitor.history(arn)
    assert (entry["status"], entry["observedBy"]) == ("Failed", "event")


def target_for(events: Any, event: dict[str, Any], bus: str = "default") -> dict[str, Any]:
    """The one target that a bus hands this event to."""
    [rule] = [
        rule
        for rule in events.list_rules(EventBusName=bus)["Rules"]
        if events.test_event_pattern(EventPattern=rule["EventPattern"], Event=json.dumps(event))[
            "Result"
        ]
    ]
    found = events.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]
    [target] = found
    return dict(target)


def test_monitor_can_assume_only_the_roles_of_the_members(cloud: Cloud) -> None:
    """The function's role allows AssumeRole on the roles of the settings alone."""
    role = f"arn:aws:iam::{MEMBER}:role/BedrockBatchMonitorMember-{THERE}"
    assert cloud.monitor.may("sts:AssumeRole", role)
    assert not cloud.monitor.may("sts:AssumeRole", f"{role}-2")
    assert not cloud.monitor.may("sts:AssumeRole", role.replace(MEMBER, "444444444444"))
    jobs = f"arn:aws:bedrock:{THERE}:{ACCOUNT}:model-invocation-job/abcdef123456"
    assert cloud.monitor.may("bedrock:GetModelInvocationJob", jobs)
    assert not cloud.monitor.may(
        "bedrock:GetModelInvocationJob", jobs.replace(THERE, "eu-central-1")
    )
