"""No permission is there without need: without any one of them a poll says so."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from bedrock_batch_monitor.domain.tasks import mark_of
from local.bedrock import Phase, Script
from local.cloud import Cloud
from local.deployment import PollError
from local.waiting import wait_for

from .test_contract import denied, job_in, poll_until_recorded, role_of

# What the emulator does not see, or the code only notices when something else is wrong as well:
# that these are used, and how, is tested elsewhere; here it is asked that the role has them.
NOT_SEEN = {
    # Calls to Bedrock go to its stand-in.
    "bedrock:GetModelInvocationJob",
    "bedrock:ListModelInvocationJobs",
    # Lambda itself writes logs and dead letters in the function's name.
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:SendMessage",
    # Lambda itself takes messages from the queue in the function's name.
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:ReceiveMessage",
    # Where it is refused, the bus counts as there.
    "events:DescribeEventBus",
    # Where it is refused, the manifest counts as not there: see test_usage.py.
    "s3:GetObject",
}


def actions_of(cloud: Cloud, role: str) -> dict[str, list[str]]:
    """The actions that a role allows, with their resources."""
    iam = cloud.monitor.client("iam")
    found: dict[str, list[str]] = {}
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        policy = iam.get_role_policy(RoleName=role, PolicyName=name)
        for statement in policy["PolicyDocument"]["Statement"]:
            actions, resources = statement["Action"], statement["Resource"]
            for action in [actions] if isinstance(actions, str) else actions:
                found.setdefault(action, []).extend(
                    [resources] if isinstance(resources, str) else resources
                )
    return found


def prepare(cloud: Cloud) -> ExitStack:
    """Have everything wait for the next poll that a poll can have to do."""
    client, outputs = cloud.monitor.client("dynamodb"), cloud.monitor.outputs
    # An event of an earlier transition that is still owed: read from jobs and history.
    behind = cloud.bedrock.add_job(
        script=Script((Phase("InProgress", 3600), Phase("Completed", None)))
    )
    poll_until_recorded(cloud, behind)
    cloud.bedrock.clock.advance(3600)
    wait_for(
        lambda: cloud.monitor.poll() and len(cloud.monitor.history(behind)) == 2,
        30,
        what="the job's end",
    )
    client.update_item(
        TableName=outputs.jobs_table_name,
        Key={"jobArn": {"S": behind}},
        UpdateExpression="SET eventPending = :p, pendingSince = :s, pendingEvents = :m",
        ExpressionAttributeValues={
            ":p": {"S": "PENDING"},
            ":s": {"S": "2026-01-01T00:00:00.000Z"},
            ":m": {"SS": ["StatusChanged#1"]},
        },
    )
    # A job that was put anew over what had been recorded: its whole history is queried.
    anew = job_in(cloud, "Failed")
    poll_until_recorded(cloud, anew)
    cloud.monitor.track(anew)
    # Tasks that are still to be told how their jobs ended: one well, one not.
    unwell = job_in(cloud, "Failed")
    poll_until_recorded(cloud, unwell)
    for arn, sequence in ((behind, 2), (unwell, 1)):
        owe_answer(cloud, arn, sequence)
    # A job that nobody tracks, and one that fails, so that the next poll begins with it.
    cloud.bedrock.add_job(script=Script((Phase("Completed", None),)))
    failing = job_in(cloud, "InProgress")
    stack = ExitStack()
    fault = cloud.bedrock.faults.fail(job_arn=failing)
    stack.callback(cloud.bedrock.faults.remove, fault)
    stack.callback(
        client.update_item,
        TableName=outputs.jobs_table_name,
        Key={"jobArn": {"S": failing}},
        UpdateExpression="REMOVE tracking",
    )
    return stack


def owe_answer(cloud: Cloud, arn: str, sequence: int) -> None:
    """Have a job that has ended owe a task its answer."""
    task = f"Completed#{arn}"
    cloud.monitor.client("dynamodb").update_item(
        TableName=cloud.monitor.outputs.jobs_table_name,
        Key={"jobArn": {"S": arn}},
        UpdateExpression=(
            "SET eventPending = :p, pendingSince = :s ADD pendingEvents :m, taskTokens :t"
        ),
        ExpressionAttributeValues={
            ":p": {"S": "PENDING"},
            ":s": {"S": "2026-01-01T00:00:00.000Z"},
            ":m": {"SS": [mark_of(task, sequence)]},
            ":t": {"SS": [task]},
        },
    )


def refusals(cloud: Cloud) -> list[str]:
    """The codes of the refusals that a poll reports, in its summary or by failing."""
    try:
        summary: dict[str, Any] = cloud.monitor.poll()
    except PollError as error:
        return ["AccessDenied"] if "AccessDenied" in str(error) else []
    return [code for code in summary["errors"] if "AccessDenied" in code]


def is_missed(cloud: Cloud, action: str) -> bool:
    """Whether a poll with everything to do reports that it may not do this."""
    with prepare(cloud), denied(cloud, action):
        return bool(refusals(cloud))


def test_every_permission_is_needed(cloud: Cloud) -> None:
    """Take any action from the role, and a poll that has everything to do reports the refusal."""
    actions = actions_of(cloud, role_of(cloud))
    for action in sorted(set(actions) - NOT_SEEN):
        # The schedule may poll in between and be refused in our place, though not three times.
        assert any(is_missed(cloud, action) for _ in range(3)), f"nothing misses {action}"
    for action in set(actions) & NOT_SEEN:
        assert all(cloud.monitor.may(action, resource) for resource in actions[action])
    assert refusals(cloud) == []


def inbox_of(cloud: Cloud) -> dict[str, Any]:
    """The configuration of the function behind the inbox queue."""
    client = cloud.monitor.client("lambda")
    [mapping] = client.list_event_source_mappings()["EventSourceMappings"]
    return dict(client.get_function_configuration(FunctionName=mapping["FunctionArn"]))


def log_of(cloud: Cloud, function: dict[str, Any]) -> str:
    """What a function has logged so far."""
    pages = (
        cloud.monitor.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=function["LoggingConfig"]["LogGroup"])
    )
    return "\n".join(event["message"] for page in pages for event in page["events"])


def test_every_permission_of_the_inbox_is_needed(cloud: Cloud) -> None:
    """Take any action from its role, and an inbox with everything to do logs the refusal."""
    function = inbox_of(cloud)
    role = function["Role"].rsplit("/", 1)[-1]
    actions = sorted(set(actions_of(cloud, role)) - NOT_SEEN)
    assert actions
    for action in actions:
        # A job put anew over what had been recorded, and two that nobody knows yet.
        anew = job_in(cloud, "InProgress")
        poll_until_recorded(cloud, anew)
        unknown = cloud.bedrock.add_job(script=Script((Phase("Failed", None),)))
        well = cloud.bedrock.add_job(script=Script((Phase("Completed", None),)))
        hidden = cloud.bedrock.faults.stale_lists(leave_out=[unknown, well])
        try:
            with denied(cloud, action, role=role):
                # Each message that fails is tried again in minutes, and may be logged then, too.
                before = log_of(cloud, function).count("AccessDenied")
                cloud.monitor.track(anew)
                for arn in (anew, unknown, well):
                    detail = {"jobArn": arn, "taskToken": arn}
                    cloud.monitor.send("Track Batch Inference Job", detail)
                wait_for(
                    lambda seen=before: log_of(cloud, function).count("AccessDenied") > seen,  # type: ignore[misc]
                    30,
                    what=f"the refusal of {action}",
                )
        finally:
            cloud.bedrock.faults.remove(hidden)
        cloud.monitor.client("dynamodb").update_item(
            TableName=cloud.monitor.outputs.jobs_table_name,
            Key={"jobArn": {"S": anew}},
            UpdateExpression="REMOVE tracking",
        )
