"""The roles of the functions and of the schedule.

Each statement names exactly the actions that the code calls and the resources that it calls them
on. The roles start empty, without AWS managed policies. One permission is not written here: the
inbox function's event source lets its role receive messages, and decrypt them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Stack
from aws_cdk import aws_iam as iam

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain.token_usage import MANIFEST_NAME
from bedrock_batch_monitor_cdk.config import BUCKETS_PER_STATEMENT
from bedrock_batch_monitor_cdk.findings import acknowledge_wildcard
from bedrock_batch_monitor_cdk.member_access import function_role_name
from bedrock_batch_monitor_cdk.statements import (
    KEY_TO_SEND,
    KEY_TO_WRITE_TABLES,
    READ_QUOTAS,
    allow,
    allow_key,
    every_batch_job,
    index_arn,
    reads_of_jobs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_cdk import aws_kms as kms
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_logs as logs
    from aws_cdk import aws_sns as sns
    from constructs import Construct

    from bedrock_batch_monitor.domain.token_usage import OutputBucket
    from bedrock_batch_monitor_cdk.config import MonitorConfig
    from bedrock_batch_monitor_cdk.events import Events
    from bedrock_batch_monitor_cdk.tables import Tables


# What Lambda does with a function's role if the function is in a VPC.
NETWORK_INTERFACES: Final = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


def monitor_role(  # noqa: PLR0913 - what it may use, all named
    scope: Construct,
    log_group: logs.ILogGroup,
    *,
    config: MonitorConfig,
    tables: Tables,
    events: Events,
    topics: Sequence[sns.ITopic],
) -> iam.IRole:
    """The role of the monitor function; `topics` are those it publishes to.

    It accepts no further statements: the failure destination of asynchronous invocations would add
    the right to look up the dead-letter queue, and to use a customer's key without a condition.
    """
    role = function_role(
        scope,
        log_group,
        "Polls Bedrock batch inference jobs and records them",
        config=config,
        name=_name_for_members(scope, "monitor", events),
    )
    _allow_tables_of_poll(role, tables, config)
    _allow_reading_jobs(scope, role, tables, events, config)
    # Discovery needs the list, and with many active jobs it replaces most Get calls. The operation
    # has no resource type (Service Authorization Reference, Amazon Bedrock).
    allow(role, "ListBatchJobs", ["bedrock:ListModelInvocationJobs"], ["*"])
    acknowledge_wildcard(
        role, "*", "Listing jobs, quotas and task callbacks have no resource type to restrict."
    )
    if config.read_quotas:
        # The operation has no resource type either (Service Authorization Reference).
        allow(role, "ReadQuotas", READ_QUOTAS, ["*"])
    _allow_failed_polls(role, events)
    allow_key(role, "UseKeyOfTables", KEY_TO_WRITE_TABLES, events.key, through="dynamodb")
    allow_key(role, "UseKeyOfQueues", KEY_TO_SEND, events.key, through="sqs")
    if config.discovers:
        allow(role, "DiscoverJobs", ["dynamodb:PutItem"], [tables.jobs.table_arn])
    if config.task_tokens:
        _allow_task_callbacks(role)
    if topics:
        _allow_publishing(role, topics, events.key)
    return role.without_policy_updates()


def inbox_role(
    scope: Construct,
    log_group: logs.ILogGroup,
    *,
    config: MonitorConfig,
    tables: Tables,
    events: Events,
) -> iam.Role:
    """The role of the inbox function; its event source adds the right to receive messages."""
    role = function_role(
        scope,
        log_group,
        "Processes events and commands on batch inference jobs",
        config=config,
        name=_name_for_members(scope, "inbox", events),
    )
    allow(
        role,
        "ReadTrackAndUpdateJobs",
        ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
        [tables.jobs.table_arn],
    )
    allow(
        role,
        "ReadAndAppendHistory",
        ["dynamodb:PutItem", "dynamodb:Query"],
        [tables.history.table_arn],
    )
    _allow_reading_jobs(scope, role, tables, events, config)
    _allow_reading_manifests(role, config.output_buckets or ())
    allow_key(role, "UseKeyOfTables", KEY_TO_WRITE_TABLES, events.key, through="dynamodb")
    if config.task_tokens:
        _allow_task_callbacks(role)
        acknowledge_wildcard(role, "*", "Task callbacks have no resource type to restrict.")
    return role


def notification_role(
    scope: Construct,
    log_group: logs.ILogGroup,
    *,
    config: MonitorConfig,
    events: Events,
    topics: Sequence[sns.ITopic],
) -> iam.IRole:
    """The role of the notification function; closed for the same reason as the monitor's."""
    role = function_role(
        scope, log_group, "Notifies people about batch inference jobs", config=config
    )
    _allow_publishing(role, topics, events.key)
    _allow_dead_letters(role, events)
    allow_key(role, "UseKeyOfQueues", KEY_TO_SEND, events.key, through="sqs")
    return role.without_policy_updates()


def widget_role(
    scope: Construct,
    log_group: logs.ILogGroup,
    *,
    config: MonitorConfig,
    tables: Tables,
    events: Events,
) -> iam.IRole:
    """The role of the function behind the dashboard's widget: it only reads.

    In the history it may query only the index, and so only the attributes that the index has.
    """
    role = function_role(
        scope, log_group, "Shows batch inference jobs on the dashboard", config=config
    )
    allow(
        role,
        "QueryActiveJobsAndEndings",
        ["dynamodb:Query"],
        [
            index_arn(tables.jobs, contract.ACTIVE_JOBS_INDEX),
            index_arn(tables.history, contract.BY_STATUS_INDEX),
        ],
    )
    allow(role, "ReadJobs", ["dynamodb:BatchGetItem"], [tables.jobs.table_arn])
    if config.read_quotas:
        allow(role, "ReadSlots", ["dynamodb:BatchGetItem"], [tables.state.table_arn])
    allow_key(role, "UseKeyOfTables", ["kms:Decrypt"], events.key, through="dynamodb")
    return role.without_policy_updates()


def schedule_role(scope: Construct, function: lambda_.IFunction, events: Events) -> iam.IRole:
    """The role with which EventBridge Scheduler invokes the monitor function.

    It accepts no further statements: the scheduler's target would add the right to invoke every
    version and alias of the function, and there are none.
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
    allow(role, "InvokeMonitor", ["lambda:InvokeFunction"], [function.function_arn])
    _allow_failed_polls(role, events)
    allow_key(role, "UseKeyOfQueues", KEY_TO_SEND, events.key, through="sqs")
    return role.without_policy_updates()


def function_role(
    scope: Construct,
    log_group: logs.ILogGroup,
    description: str,
    *,
    config: MonitorConfig,
    name: str | None = None,
) -> iam.Role:
    """A role that may write the log of its function, and be in a VPC if the settings say so."""
    role = iam.Role(
        scope,
        "Role",
        role_name=name,
        assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        description=description,
    )
    log_group.grant_write(role)
    if config.vpc_subnet_ids is not None:
        # Lambda, and not the code, makes the calls, with the permissions of this role. The
        # interfaces have no names that a statement could use (AWSLambdaVPCAccessExecutionRole).
        allow(role, "ManageNetworkInterfaces", NETWORK_INTERFACES, ["*"])
        acknowledge_wildcard(
            role, "*", "Lambda creates the network interfaces of a function in a VPC, unnamed."
        )
    return role


def _name_for_members(scope: Construct, module: str, events: Events) -> str | None:
    """A name that roles of other accounts can trust; None for a generated one."""
    if events.multi_scope is None or not events.multi_scope.accounts:
        return None
    return function_role_name(module, Stack.of(scope).region, events.bus_name)


def _allow_tables_of_poll(role: iam.Role, tables: Tables, config: MonitorConfig) -> None:
    jobs, history, state = (
        table.table_arn for table in (tables.jobs, tables.history, tables.state)
    )
    indexes = [
        index_arn(tables.jobs, contract.ACTIVE_JOBS_INDEX),
        index_arn(tables.jobs, contract.PENDING_EVENTS_INDEX),
    ]
    allow(role, "QueryActiveJobsAndPendingEvents", ["dynamodb:Query"], indexes)
    # The completed jobs, on which forecasts for jobs with deadlines rest.
    by_status = index_arn(tables.history, contract.BY_STATUS_INDEX)
    allow(role, "QueryCompletedJobs", ["dynamodb:Query"], [by_status])
    if config.output_buckets:
        usage = index_arn(tables.jobs, contract.USAGE_PENDING_INDEX)
        allow(role, "QueryPendingUsage", ["dynamodb:Query"], [usage])
        _allow_reading_manifests(role, config.output_buckets)
    for sid, operations, table in (
        ("ReadAndUpdateJobs", ("BatchGetItem", "GetItem", "UpdateItem"), jobs),
        # The table's id distinguishes a restored or replaced table from that of the last poll.
        ("IdentifyJobsTable", ("DescribeTable",), jobs),
        # No UpdateItem, no DeleteItem: the history is append-only.
        ("ReadAndAppendHistory", ("GetItem", "PutItem", "Query"), history),
        ("KeepBookmarks", ("GetItem", "UpdateItem"), state),
    ):
        allow(role, sid, [f"dynamodb:{operation}" for operation in operations], [table])


def _allow_reading_jobs(
    scope: Construct, role: iam.Role, tables: Tables, events: Events, config: MonitorConfig
) -> None:
    """What both functions that read jobs need: outbox, bus, and the jobs themselves."""
    # Only these two functions: the table holds task tokens. No grant, index or output names it.
    allow(
        role,
        "UseOutbox",
        ["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:Query"],
        [tables.outbox.table_arn],
    )
    # PutEvents to a bus that does not exist succeeds, so the code checks that the bus exists.
    allow(
        role,
        "SendEvents",
        ["events:DescribeEventBus", "events:PutEvents"],
        [events.bus.event_bus_arn],
    )
    multi_scope = events.multi_scope
    regions = [None, *(multi_scope.regions_at_home if multi_scope is not None else ())]
    jobs = [every_batch_job(scope, region) for region in regions]
    allow(role, "ReadBatchJobs", reads_of_jobs(with_tags=config.read_tags), jobs)
    for resource in jobs:
        acknowledge_wildcard(
            role,
            resource,
            "Jobs are created after the deployment, under ids that Bedrock chooses.",
        )
    if multi_scope is not None and multi_scope.accounts:
        allow(role, "AssumeMemberRoles", ["sts:AssumeRole"], multi_scope.member_roles(scope))


def _allow_reading_manifests(role: iam.Role, buckets: Sequence[OutputBucket]) -> None:
    # Where Bedrock puts a manifest depends on the job: `<prefix>/<job id>/manifest.json.out`. The
    # wildcard stands for that, in the buckets and folders that the setting names. There is no
    # ListBucket: S3 then answers the same for a missing and for a forbidden manifest.
    partition = Stack.of(role).partition
    resources = [f"arn:{partition}:s3:::{bucket}*/{MANIFEST_NAME}" for bucket in buckets]
    # The CDK moves statements to managed policies if all do not fit into the role, but it does not
    # split one. It counts an ARN with 150 characters, and a managed policy takes 6,144.
    for start in range(0, len(resources), BUCKETS_PER_STATEMENT):
        allow(
            role,
            f"ReadManifests{start // BUCKETS_PER_STATEMENT or ''}",
            ["s3:GetObject"],
            resources[start : start + BUCKETS_PER_STATEMENT],
        )
    for resource in resources:
        acknowledge_wildcard(
            role,
            resource,
            "The jobs name the folders, and only the manifest of each folder is read.",
        )


def _allow_dead_letters(role: iam.Role, events: Events) -> None:
    allow(role, "SendDeadLetters", ["sqs:SendMessage"], [events.dead_letters.queue_arn])


def _allow_failed_polls(role: iam.Role, events: Events) -> None:
    allow(role, "SendFailedPolls", ["sqs:SendMessage"], [events.failed_polls.queue_arn])


def _allow_publishing(role: iam.Role, topics: Sequence[sns.ITopic], key: kms.IKey | None) -> None:
    allow(role, "Notify", ["sns:Publish"], [topic.topic_arn for topic in topics])
    allow_key(role, "UseKeyOfTopics", KEY_TO_SEND, key, through="sns")


def _allow_task_callbacks(role: iam.Role) -> None:
    # The operations have no resource type (Service Authorization Reference, AWS Step Functions). A
    # task token names one task, and only the sender of the command that carries it had it.
    allow(role, "AnswerTasks", ["states:SendTaskFailure", "states:SendTaskSuccess"], ["*"])
