"""No permission is there without need: without any one of them a poll says so."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from bedrock_batch_monitor.domain.events import pending_callbacks
from bedrock_batch_monitor.domain.tasks import WaitingTask
from local.bedrock import Phase, Script
from local.clients import Clients
from local.cloud import Cloud
from local.deployment import PollError
from local.emulator import ACCOUNT, REGION
from local.waiting import wait_for

from .test_contract import denied, job_in, outbox_of, poll_until_recorded, role_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the emulator does not see, or the code only notices when something else is wrong as well:
# that these are used, and how, is tested elsewhere; here it is asked that the role has them.
NOT_SEEN = {
    # Calls to Bedrock go to its stand-in.
    "bedrock:GetModelInvocationJob",
    "bedrock:ListModelInvocationJobs",
    "bedrock:ListTagsForResource",
    # A refusal is only logged.
    "servicequotas:ListServiceQuotas",
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
    # Only for ARNs that were never readable: see the tests of direct calls below.
    "sns:Publish",
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
    # An event of an earlier transition that is still pending: read from jobs and history.
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
    # A job that was put again over what had been recorded: its whole history is queried.
    put_again = job_in(cloud, "Failed")
    poll_until_recorded(cloud, put_again)
    cloud.monitor.track(put_again)
    # Tasks whose callbacks are pending: of a job that ended well, and of one that failed.
    unwell = job_in(cloud, "Failed")
    poll_until_recorded(cloud, unwell)
    for arn, sequence in ((behind, 2), (unwell, 1)):
        register_task(cloud, arn, sequence)
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


def register_task(cloud: Cloud, arn: str, sequence: int) -> None:
    """Have a task wait for a job that has ended, as the inbox notes it."""
    client, task = cloud.monitor.client("dynamodb"), WaitingTask(arn)
    client.put_item(
        TableName=outbox_of(cloud),
        Item={
            "jobArn": {"S": arn},
            "entry": {"S": f"task#{task.id}"},
            "token": {"S": task.token},
        },
    )
    client.update_item(
        TableName=cloud.monitor.outputs.jobs_table_name,
        Key={"jobArn": {"S": arn}},
        UpdateExpression=(
            "SET eventPending = :p, pendingSince = :s ADD pendingEvents :m, taskRevision :one"
        ),
        ExpressionAttributeValues={
            ":p": {"S": "PENDING"},
            ":s": {"S": "2026-01-01T00:00:00.000Z"},
            ":m": {"SS": [str(pending_callbacks(sequence))]},
            ":one": {"N": "1"},
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


def test_every_permission_of_the_monitor_is_needed(cloud: Cloud) -> None:
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
    [mapping] = [
        each
        for each in client.list_event_source_mappings()["EventSourceMappings"]
        if "Inbox" in each["FunctionArn"]
    ]
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
        # A job put again over what had been recorded, and two that nobody knows yet.
        put_again = job_in(cloud, "InProgress")
        poll_until_recorded(cloud, put_again)
        unknown = cloud.bedrock.add_job(script=Script((Phase("Failed", None),)))
        well = cloud.bedrock.add_job(script=Script((Phase("Completed", None),)))
        hidden = cloud.bedrock.faults.stale_lists(leave_out=[unknown, well])
        try:
            with denied(cloud, action, role=role):
                # Each message that fails is tried again in minutes, and may be logged then, too.
                before = log_of(cloud, function).count("AccessDenied")
                cloud.monitor.track(put_again)
                for arn in (put_again, unknown, well):
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
            Key={"jobArn": {"S": put_again}},
            UpdateExpression="REMOVE tracking",
        )


def functions_of(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """The configurations of the stack's functions by the module of their handler."""
    pages = cloud.monitor.client("lambda").get_paginator("list_functions").paginate()
    return {
        function["Handler"].split(".")[-2]: dict(function)
        for page in pages
        for function in page["Functions"]
    }


@contextmanager
def acting_as(cloud: Cloud, function: dict[str, Any]) -> Iterator[Clients]:
    """Clients with the permissions of a function's role, which trusts this account meanwhile."""
    iam = cloud.monitor.client("iam")
    role = function["Role"].rsplit("/", 1)[-1]
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    ours = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": ACCOUNT}}
    document = {"Version": "2012-10-17", "Statement": [*trust["Statement"], ours]}
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(document))
    try:
        session = cloud.monitor.client("sts").assume_role(
            RoleArn=function["Role"], RoleSessionName="test"
        )
        credentials = session["Credentials"]
        with Clients(
            cloud.emulator.url,
            access_key=credentials["AccessKeyId"],
            secret_key=credentials["SecretAccessKey"],
            session_token=credentials["SessionToken"],
            region=REGION,
        ) as client:
            yield client
    finally:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))


@contextmanager
def refused() -> Iterator[None]:
    """What is called here is refused for want of a permission."""
    with pytest.raises(ClientError) as caught:
        yield
    # SNS has a code of its own.
    assert caught.value.response["Error"]["Code"] in {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
    }


@pytest.mark.parametrize("module", ["monitor", "inbox"])
def test_functions_describe_only_their_own_bus(cloud: Cloud, module: str) -> None:
    """A bus that exists is seen as existing by the function's role, and only that one."""
    name = cloud.monitor.outputs.event_bus_name
    with acting_as(cloud, functions_of(cloud)[module]) as client:
        found = client("events").describe_event_bus(Name=name)

        assert found["Name"] == name
        # When a bus was made tells it from another of the same name.
        assert found["CreationTime"] <= datetime.now(UTC)
        with refused():
            client("events").describe_event_bus(Name="default")
        with refused():
            client("events").delete_event_bus(Name=name)


def test_missing_bus_is_distinguished_from_a_refusal(cloud: Cloud) -> None:
    """The look-up of a bus that was deleted answers that there is none."""
    events = cloud.monitor.client("events")
    role = role_of(cloud)
    arn = events.create_event_bus(Name="to-be-deleted")["EventBusArn"]
    allow = {"Effect": "Allow", "Action": "events:DescribeEventBus", "Resource": arn}
    cloud.monitor.client("iam").put_role_policy(
        RoleName=role,
        PolicyName="bus",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]}),
    )
    try:
        with acting_as(cloud, functions_of(cloud)["monitor"]) as client:
            assert client("events").describe_event_bus(Name="to-be-deleted")["Arn"] == arn
            events.delete_event_bus(Name="to-be-deleted")
            with pytest.raises(client("events").exceptions.ResourceNotFoundException):
                client("events").describe_event_bus(Name="to-be-deleted")
    finally:
        cloud.monitor.client("iam").delete_role_policy(RoleName=role, PolicyName="bus")


@pytest.mark.parametrize("module", ["monitor", "inbox"])
def test_functions_only_query_put_and_delete_in_the_outbox(cloud: Cloud, module: str) -> None:
    """The three actions that deliver and acknowledge are permitted, and no other."""
    function = functions_of(cloud)[module]
    table = function["Environment"]["Variables"]["OUTBOX_TABLE_NAME"]
    key = {"jobArn": {"S": module}, "entry": {"S": "test"}}
    with acting_as(cloud, function) as client:
        dynamodb = client("dynamodb")
        dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": table, "Item": key}}])
        found = dynamodb.query(
            TableName=table,
            KeyConditionExpression="jobArn = :job",
            ExpressionAttributeValues={":job": key["jobArn"]},
        )
        assert found["Items"] == [key]
        dynamodb.delete_item(TableName=table, Key=key)
        with refused():
            dynamodb.get_item(TableName=table, Key=key)
        with refused():
            dynamodb.scan(TableName=table)
        with refused():
            dynamodb.update_item(TableName=table, Key=key)


@pytest.mark.parametrize("module", ["widget", "notify"])
def test_other_functions_cannot_read_the_outbox(cloud: Cloud, module: str) -> None:
    """The table holds task tokens, which neither the dashboard nor notifications need."""
    functions = functions_of(cloud)
    table = functions["monitor"]["Environment"]["Variables"]["OUTBOX_TABLE_NAME"]
    with acting_as(cloud, functions[module]) as client, refused():
        client("dynamodb").query(
            TableName=table,
            KeyConditionExpression="jobArn = :job",
            ExpressionAttributeValues={":job": {"S": "any"}},
        )


def test_monitor_identifies_the_jobs_table(cloud: Cloud) -> None:
    """DescribeTable tells the monitor which table it is, by an id that stays the same."""
    table = cloud.monitor.outputs.jobs_table_name
    functions = functions_of(cloud)
    with acting_as(cloud, functions["monitor"]) as client:
        ids = {client("dynamodb").describe_table(TableName=table)["Table"]["TableId"] for _ in "12"}
        assert len(ids) == 1
        with refused():
            client("dynamodb").describe_table(TableName=cloud.monitor.outputs.history_table_name)
    with acting_as(cloud, functions["inbox"]) as client, refused():
        client("dynamodb").describe_table(TableName=table)


def test_monitor_publishes_only_to_the_topics_of_notifications(cloud: Cloud) -> None:
    """Its summary of ARNs that were never readable goes to these topics, and nowhere else."""
    function = functions_of(cloud)["monitor"]
    variables = function["Environment"]["Variables"]
    own = {variables["EMAIL_TOPIC_ARN"], variables["CHAT_TOPIC_ARN"]}
    topics = {
        topic["TopicArn"]
        for page in cloud.monitor.client("sns").get_paginator("list_topics").paginate()
        for topic in page["Topics"]
    }
    assert len(own) == 2
    assert topics > own
    with acting_as(cloud, function) as client:
        for arn in own:
            assert client("sns").publish(TopicArn=arn, Message="test")["MessageId"]
        for arn in topics - own:
            with refused():
                client("sns").publish(TopicArn=arn, Message="test")
