"""Every permission: what the functions and the schedule may do, and what others are granted.

Each statement names exactly the actions that the code calls and the resources that it calls them
on. The roles start empty, without AWS managed policies. One permission is not written here: the
inbox function's event source lets its role take messages, and decrypt them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import requests
from bedrock_batch_monitor.domain.token_usage import MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_events as eventbridge
    from aws_cdk import aws_kms as kms
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_logs as logs
    from aws_cdk import aws_sns as sns
    from constructs import Construct

    from bedrock_batch_monitor.domain.token_usage import OutputBucket
    from bedrock_batch_monitor_cdk.events import Events
    from bedrock_batch_monitor_cdk.reach import Reach
    from bedrock_batch_monitor_cdk.tables import Tables

_KEY_TO_READ_TABLES: Final = ("kms:Decrypt", "kms:DescribeKey")
# What the CDK would grant to whoever reads and writes such a table, without its wildcards. Grants
# are not among it: DynamoDB has its own since it made the table.
_KEY_TO_WRITE_TABLES: Final = (
    *_KEY_TO_READ_TABLES,
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)


def monitor_role(  # noqa: PLR0913 - what it may use, and the settings that add to it
    scope: Construct,
    tables: Tables,
    events: Events,
    log_group: logs.ILogGroup,
    *,
    discovers: bool,
    output_buckets: Sequence[OutputBucket],
    answers_tasks: bool,
    topics: Sequence[sns.ITopic],
) -> iam.IRole:
    """The role that the monitor function runs with; `topics` are those it publishes to.

    It is closed to further statements: the failure destination of asynchronous invocations would
    add the right to look the dead-letter queue up, and to use a key of its own without condition.
    """
    role = _function_role(
        scope,
        log_group,
        "Polls Bedrock batch inference jobs and records them",
        name=_name_for_members(scope, "monitor", events.reach),
    )
    _allow(
        role,
        "QueryActiveJobsAndPendingEvents",
        ["dynamodb:Query"],
        [
            _index(tables.jobs, contract.ACTIVE_JOBS_INDEX),
            _index(tables.jobs, contract.PENDING_EVENTS_INDEX),
        ],
    )
    if output_buckets:
        _allow(
            role,
            "QueryPendingUsage",
            ["dynamodb:Query"],
            [_index(tables.jobs, contract.USAGE_PENDING_INDEX)],
        )
    _allow_reading_manifests(role, output_buckets)
    _allow(
        role,
        "ReadAndUpdateJobs",
        ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:UpdateItem"],
        [tables.jobs.table_arn],
    )
    # The table's id tells a table that was restored or replaced from the one of the last poll.
    _allow(role, "IdentifyJobsTable", ["dynamodb:DescribeTable"], [tables.jobs.table_arn])
    # No UpdateItem, no DeleteItem: the history is append-only.
    _allow(
        role,
        "ReadAndAppendHistory",
        ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"],
        [tables.history.table_arn],
    )
    _allow(
        role,
        "KeepBookmarks",
        ["dynamodb:GetItem", "dynamodb:UpdateItem"],
        [tables.state.table_arn],
    )
    _allow_outbox(role, tables)
    _allow_events(role, events.bus)
    _allow_reading_jobs(scope, role, events.reach)
    # Discovery needs it, and so do many active jobs, which a list spares most of their calls. The
    # operation has no resource type (Service Authorization Reference, Amazon Bedrock).
    _allow(role, "ListBatchJobs", ["bedrock:ListModelInvocationJobs"], ["*"])
    Validations.of(role).acknowledge(
        Acknowledgment(
            id="AwsSolutions-IAM5[Resource::*]",
            reason="Neither listing jobs nor answering tasks has a resource type to narrow it by.",
        )
    )
    _allow(role, "SendDeadLetters", ["sqs:SendMessage"], [events.dead_letters.queue_arn])
    _allow_key_of_tables(role, events.key)
    _allow_key_of_queues(role, events.key)
    if discovers:
        _allow(role, "DiscoverJobs", ["dynamodb:PutItem"], [tables.jobs.table_arn])
    if answers_tasks:
        _allow_answering_tasks(role)
    if topics:
        _allow_publishing(role, topics, events.key)
    return role.without_policy_updates()


def inbox_role(  # noqa: PLR0913 - as above
    scope: Construct,
    tables: Tables,
    events: Events,
    log_group: logs.ILogGroup,
    *,
    output_buckets: Sequence[OutputBucket],
    answers_tasks: bool,
) -> iam.Role:
    """The role that the inbox function runs with; its event source lets it take messages too."""
    role = _function_role(
        scope,
        log_group,
        "Follows events and commands on batch inference jobs",
        name=_name_for_members(scope, "inbox", events.reach),
    )
    _allow(
        role,
        "ReadTrackAndUpdateJobs",
        ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
        [tables.jobs.table_arn],
    )
    _allow(
        role,
        "ReadAndAppendHistory",
        ["dynamodb:PutItem", "dynamodb:Query"],
        [tables.history.table_arn],
    )
    _allow_outbox(role, tables)
    _allow_events(role, events.bus)
    _allow_reading_jobs(scope, role, events.reach)
    _allow_reading_manifests(role, output_buckets)
    _allow_key_of_tables(role, events.key)
    if answers_tasks:
        _allow_answering_tasks(role)
        Validations.of(role).acknowledge(
            Acknowledgment(
                id="AwsSolutions-IAM5[Resource::*]",
                reason="Answering tasks has no resource type to narrow it down by.",
            )
        )
    return role


def notification_role(
    scope: Construct,
    topics: Sequence[sns.ITopic],
    events: Events,
    log_group: logs.ILogGroup,
) -> iam.IRole:
    """The role that the notification function runs with; closed as that of the monitor function."""
    role = _function_role(
        scope, log_group, "Tells people what became of batch inference jobs", name=None
    )
    _allow_publishing(role, topics, events.key)
    _allow(role, "SendDeadLetters", ["sqs:SendMessage"], [events.dead_letters.queue_arn])
    _allow_key_of_queues(role, events.key)
    return role.without_policy_updates()


def widget_role(
    scope: Construct, tables: Tables, events: Events, log_group: logs.ILogGroup
) -> iam.IRole:
    """The role of the function behind the dashboard's widget: it reads, and writes nothing.

    Of the history it may query the one index alone, and so not what the table keeps beside it.
    """
    role = _function_role(
        scope, log_group, "Shows batch inference jobs on the dashboard", name=None
    )
    _allow(
        role,
        "QueryActiveJobsAndEndings",
        ["dynamodb:Query"],
        [
            _index(tables.jobs, contract.ACTIVE_JOBS_INDEX),
            _index(tables.history, contract.BY_STATUS_INDEX),
        ],
    )
    _allow(role, "ReadJobs", ["dynamodb:BatchGetItem"], [tables.jobs.table_arn])
    _allow_key(role, "UseKeyOfTables", ["kms:Decrypt"], events.key, through="dynamodb")
    return role.without_policy_updates()


def member_role(
    scope: Construct,
    *,
    name: str,
    trusted_account: str,
    trusted_roles: list[str],
    external_id: str,
) -> iam.Role:
    """The role by which a monitor of another account reads the jobs here, and does nothing else.

    It trusts roles by name, of which that account decides, and not by their identity: a role that
    is made anew there is trusted as the one before, and one that is not there yet can be named.
    """
    jobs = _every_batch_job(scope)
    role = iam.Role(
        scope,
        "Role",
        role_name=name,
        description="Lets the Bedrock Batch Monitor of another account read jobs",
        assumed_by=iam.AccountPrincipal(trusted_account).with_conditions(
            {
                "StringEquals": {"sts:ExternalId": external_id},
                "ArnEquals": {"aws:PrincipalArn": trusted_roles},
            }
        ),
        inline_policies={
            "ReadBatchJobs": iam.PolicyDocument(
                statements=[
                    iam.PolicyStatement(
                        sid="ReadBatchJobs",
                        actions=["bedrock:GetModelInvocationJob"],
                        resources=[jobs],
                    ),
                    # The operation has no resource type; the Region is the one way to narrow it.
                    iam.PolicyStatement(
                        sid="ListBatchJobs",
                        actions=["bedrock:ListModelInvocationJobs"],
                        resources=["*"],
                        conditions={
                            "StringEquals": {"aws:RequestedRegion": Stack.of(scope).region}
                        },
                    ),
                ]
            )
        },
    )
    _acknowledge_wildcards(scope, role)
    Validations.of(role).acknowledge(
        Acknowledgment(
            id="AwsSolutions-IAM5[Resource::*]",
            reason="ListModelInvocationJobs has no resource type to narrow it down by.",
        )
    )
    return role


def forward_role(scope: Construct, bus_arn: str) -> iam.IRole:
    """The role with which EventBridge forwards a member's events to the monitor's bus."""
    stack = Stack.of(scope)
    role = iam.Role(
        scope,
        "ForwardRole",
        description="Forwards Bedrock's events on batch inference jobs to their monitor",
        assumed_by=iam.ServicePrincipal(
            "events.amazonaws.com",
            conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
        ),
        inline_policies={
            "Forward": iam.PolicyDocument(
                statements=[
                    iam.PolicyStatement(
                        sid="Forward", actions=["events:PutEvents"], resources=[bus_arn]
                    )
                ]
            )
        },
    )
    return role.without_policy_updates()


def admit_members(bus: eventbridge.EventBus, reach: Reach) -> None:
    """Let other accounts forward Bedrock's events to the monitor's bus, and send nothing else.

    Nobody but AWS can send an event with the source `aws.bedrock`. The policy is a property of the
    bus, which names itself by its ARN: the name is known, because the CDK generates it, not AWS.
    """
    resource = cast("eventbridge.CfnEventBus", bus.node.default_child)
    stack = Stack.of(bus)
    conditions = _only_events(
        {
            "events:source": [requests.NATIVE_SOURCE],
            "events:detail-type": [requests.NATIVE_DETAIL_TYPE],
        }
    )
    principal: object = {
        "AWS": [f"arn:{stack.partition}:iam::{account}:root" for account in reach.accounts]
    }
    if reach.organization_id is not None:
        # The condition limits it to the accounts of the organization.
        principal = "*"
        conditions["StringEquals"] = {"aws:PrincipalOrgID": reach.organization_id}
    resource.policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ForwardNativeEvents",
                "Effect": "Allow",
                "Principal": principal,
                "Action": "events:PutEvents",
                "Resource": stack.format_arn(
                    service="events", resource="event-bus", resource_name=resource.name
                ),
                "Condition": conditions,
            }
        ],
    }


def _name_for_members(scope: Construct, module: str, reach: Reach | None) -> str | None:
    """A name that roles of other accounts can trust; None to have one generated."""
    if reach is None or not reach.accounts:
        return None
    return contract.function_role_name(module, Stack.of(scope).region)


def _function_role(
    scope: Construct, log_group: logs.ILogGroup, description: str, *, name: str | None
) -> iam.Role:
    role = iam.Role(
        scope,
        "Role",
        role_name=name,
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        description=description,
    )
    log_group.grant_write(role)
    return role


def _allow_outbox(role: iam.Role, tables: Tables) -> None:
    # These two functions alone: the table holds task tokens. No grant, index or output names it.
    _allow(
        role,
        "UseOutbox",
        ["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query"],
        [tables.outbox.table_arn],
    )


def _allow_publishing(role: iam.Role, topics: Sequence[sns.ITopic], key: kms.IKey | None) -> None:
    _allow(role, "Notify", ["sns:Publish"], [topic.topic_arn for topic in topics])
    _allow_key(role, "UseKeyOfTopics", ["kms:Decrypt", "kms:GenerateDataKey"], key, through="sns")


def _allow_events(role: iam.Role, bus: eventbridge.IEventBus) -> None:
    # PutEvents to a bus that does not exist answers as if all were well: it is looked for first.
    _allow(role, "SendEvents", ["events:DescribeEventBus", "events:PutEvents"], [bus.event_bus_arn])


def _allow_answering_tasks(role: iam.Role) -> None:
    # The operations have no resource type (Service Authorization Reference, AWS Step Functions).
    # Their token names one task, and only who put it into a command had it.
    _allow(role, "AnswerTasks", ["states:SendTaskFailure", "states:SendTaskSuccess"], ["*"])


def _allow_reading_jobs(scope: Construct, role: iam.Role, reach: Reach | None) -> None:
    # Every job of this account and region: which jobs there will be is not known at deployment.
    regions = [None, *(reach.regions_at_home if reach is not None else ())]
    jobs = [_every_batch_job(scope, region) for region in regions]
    _allow(role, "ReadBatchJobs", ["bedrock:GetModelInvocationJob"], jobs)
    for region in regions:
        _acknowledge_wildcards(scope, role, region)
    if reach is not None and reach.accounts:
        _allow(role, "AssumeMemberRoles", ["sts:AssumeRole"], reach.member_roles(scope))


def _acknowledge_wildcards(scope: Construct, role: iam.Role, region: str | None = None) -> None:
    jobs = _every_batch_job(scope, region)
    Validations.of(role).acknowledge(
        Acknowledgment(
            id=f"AwsSolutions-IAM5[Resource::{_as_reported(scope, jobs)}]",
            reason="Jobs are created after the deployment, under ids that Bedrock chooses.",
        )
    )


def _allow_reading_manifests(role: iam.Role, buckets: Sequence[OutputBucket]) -> None:
    if not buckets:
        return
    # Where Bedrock puts a manifest depends on the job: `<prefix>/<job id>/manifest.json.out`. The
    # wildcard stands for that, in the buckets and folders that the setting names. There is no
    # ListBucket: S3 answers for a manifest that is not there as for one that is forbidden.
    partition = Stack.of(role).partition
    resources = [f"arn:{partition}:s3:::{bucket}*/{MANIFEST_NAME}" for bucket in buckets]
    _allow(role, "ReadManifests", ["s3:GetObject"], resources)
    for resource in resources:
        Validations.of(role).acknowledge(
            Acknowledgment(
                id=f"AwsSolutions-IAM5[Resource::{_as_reported(role, resource)}]",
                reason="Folders are named by the jobs, and of each only its manifest is read.",
            )
        )


def schedule_role(scope: Construct, function: lambda_.IFunction, events: Events) -> iam.IRole:
    """The role with which EventBridge Scheduler invokes the monitor function.

    It is closed to further statements: the scheduler's target would add the right to invoke every
    version and alias of the function, of which there are none.
    """
    stack = Stack.of(scope)
    default_group = stack.format_arn(
        service="scheduler", resource="schedule-group", resource_name="default"
    )
    role = iam.Role(
        scope,
        "Role",
        assumed_by=iam.ServicePrincipal(
            "scheduler.amazonaws.com",
            conditions={
                "StringEquals": {
                    "aws:SourceAccount": stack.account,
                    "aws:SourceArn": default_group,
                }
            },
        ),
        description="Invokes the monitor function on schedule",
    )
    _allow(role, "InvokeMonitor", ["lambda:InvokeFunction"], [function.function_arn])
    _allow(role, "SendDeadLetters", ["sqs:SendMessage"], [events.dead_letters.queue_arn])
    _allow_key_of_queues(role, events.key)
    return role.without_policy_updates()


def grant_track(grantee: iam.IGrantable, tables: Tables, key: kms.IKey | None) -> iam.Grant:
    """Let somebody put jobs into polling by hand and take them out, and nothing more.

    The conditions are those of DynamoDB's fine-grained access control: of an item only the two
    attributes that track a job can be written, and no write answers with what was there before.
    Whoever puts an item that exists writes over it, which the monitor mends from the history.
    """
    grant = iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["dynamodb:PutItem", "dynamodb:UpdateItem"],
        resource_arns=[tables.jobs.table_arn],
        conditions={
            "ForAllValues:StringEquals": {"dynamodb:Attributes": ["jobArn", contract.TRACKING]},
            "StringEqualsIfExists": {
                "dynamodb:ReturnValues": ["NONE", "UPDATED_OLD", "UPDATED_NEW"]
            },
        },
    )
    return _with_key_of_tables(grant, grantee, key, _KEY_TO_WRITE_TABLES)


def grant_query(grantee: iam.IGrantable, tables: Tables, key: kms.IKey | None) -> iam.Grant:
    """Let somebody read jobs and history by key and by index, in PartiQL too, without any scan."""
    items = [tables.jobs.table_arn, tables.history.table_arn]
    queried = [
        *items,
        _index(tables.jobs, contract.ACTIVE_JOBS_INDEX),
        _index(tables.jobs, contract.PENDING_EVENTS_INDEX),
        _index(tables.history, contract.BY_STATUS_INDEX),
    ]
    by_key = iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["dynamodb:BatchGetItem", "dynamodb:GetItem"],
        resource_arns=items,
    )
    by_index = iam.Grant.add_to_principal(
        grantee=grantee, actions=["dynamodb:Query"], resource_arns=queried
    )
    in_partiql = iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["dynamodb:PartiQLSelect"],
        resource_arns=queried,
        conditions={"BoolIfExists": {"dynamodb:FullTableScan": "false"}},
    )
    grant = by_key.combine(by_index).combine(in_partiql)
    return _with_key_of_tables(grant, grantee, key, _KEY_TO_READ_TABLES)


def grant_send_commands(grantee: iam.IGrantable, bus: eventbridge.IEventBus) -> iam.Grant:
    """Let somebody send the commands to track and untrack jobs, and no other event."""
    return iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["events:PutEvents"],
        resource_arns=[bus.event_bus_arn],
        conditions=_only_events(
            {"events:detail-type": [requests.TRACK_DETAIL_TYPE, requests.UNTRACK_DETAIL_TYPE]}
        ),
    )


def _only_events(allowed: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The conditions of PutEvents by which every event of a call has one of the allowed values.

    A call has up to ten events, and so the keys have several values: `StringEquals` alone would
    also accept a call of which one event matches. `ForAllValues` is true where the key is missing,
    which the second condition rules out.
    """
    return {
        "ForAllValues:StringEquals": {key: list(values) for key, values in allowed.items()},
        "Null": dict.fromkeys(allowed, "false"),
    }


def _with_key_of_tables(
    grant: iam.Grant, grantee: iam.IGrantable, key: kms.IKey | None, actions: Sequence[str]
) -> iam.Grant:
    if key is None:
        return grant
    return grant.combine(
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=list(actions),
            resource_arns=[key.key_arn],
            conditions=_only_through("dynamodb", key),
        )
    )


def _allow_key_of_tables(role: iam.Role, key: kms.IKey | None) -> None:
    _allow_key(role, "UseKeyOfTables", list(_KEY_TO_WRITE_TABLES), key, through="dynamodb")


def _allow_key_of_queues(role: iam.Role, key: kms.IKey | None) -> None:
    # SQS decrypts a data key in order to use it again for the next messages.
    _allow_key(role, "UseKeyOfQueues", ["kms:Decrypt", "kms:GenerateDataKey"], key, through="sqs")


def _allow_key(
    role: iam.Role, sid: str, actions: list[str], key: kms.IKey | None, *, through: str
) -> None:
    if key is not None:
        _allow(role, sid, actions, [key.key_arn], conditions=_only_through(through, key))


def _only_through(service: str, key: kms.IKey) -> dict[str, dict[str, str]]:
    stack = Stack.of(key)
    return {"StringEquals": {"kms:ViaService": f"{service}.{stack.region}.{stack.url_suffix}"}}


def _allow(
    role: iam.Role,
    sid: str,
    actions: list[str],
    resources: list[str],
    conditions: dict[str, dict[str, str]] | None = None,
) -> None:
    role.add_to_policy(
        iam.PolicyStatement(sid=sid, actions=actions, resources=resources, conditions=conditions)
    )


def _index(table: dynamodb.TableV2, name: str) -> str:
    return f"{table.table_arn}/index/{name}"


def _as_reported(scope: Construct, arn: str) -> str:
    """An ARN as cdk-nag writes it, with `<AWS::Region>` and the like for what is not known."""
    parts = Stack.of(scope).resolve(arn)
    if isinstance(parts, str):
        return parts
    return "".join(
        part if isinstance(part, str) else f"<{part['Ref']}>" for part in parts["Fn::Join"][1]
    )


def _every_batch_job(scope: Construct, region: str | None = None) -> str:
    return Stack.of(scope).format_arn(
        service="bedrock", region=region, resource="model-invocation-job", resource_name="*"
    )
