"""Access between accounts: the role that a monitor assumes, and who may forward events to it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, cast

from aws_cdk import Stack
from aws_cdk import aws_iam as iam

from bedrock_batch_monitor.domain import requests
from bedrock_batch_monitor_cdk.findings import acknowledge_wildcard
from bedrock_batch_monitor_cdk.statements import (
    READ_QUOTAS,
    every_batch_job,
    only_events,
    reads_of_jobs,
)

if TYPE_CHECKING:
    from aws_cdk import aws_events as eventbridge
    from constructs import Construct

    from bedrock_batch_monitor_cdk.multi_scope import MultiScope


# The bus of the stack `BedrockBatchMonitor` without `eventBusName`, as the CDK names it.
DEFAULT_BUS_NAME: Final = "BedrockBatchMonitorEventsBusC6C557B6"


def function_role_name(module: str, region: str, bus_name: str) -> str:
    """The name of a function's role that roles of other accounts trust.

    A member knows only the ARN of the monitor's bus. So the name of the bus distinguishes the roles
    of several monitors in one account and Region.
    """
    name = f"BedrockBatchMonitor-{module}-{region}"
    if bus_name == DEFAULT_BUS_NAME:
        return name
    return f"{name}-{hashlib.sha256(bus_name.encode()).hexdigest()[:8]}"


def member_role(  # noqa: PLR0913 - what it trusts and allows, all named
    scope: Construct,
    *,
    name: str,
    trusted_account: str,
    trusted_roles: list[str],
    external_id: str,
    reads_tags: bool,
    reads_quotas: bool,
) -> iam.Role:
    """The role with which a monitor of another account reads the jobs here, and nothing else.

    It trusts roles by name and not by identity: a role that is created again in that account is
    trusted like the one before, and a role can be named before it exists.
    """
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
                statements=_reading_jobs(scope, reads_tags=reads_tags, reads_quotas=reads_quotas)
            )
        },
    )
    acknowledge_wildcard(
        role,
        every_batch_job(scope),
        "Jobs are created after the deployment, under ids that Bedrock chooses.",
    )
    acknowledge_wildcard(
        role, "*", "Listing jobs and quotas has no resource type to restrict it by."
    )
    return role


def _reading_jobs(
    scope: Construct, *, reads_tags: bool, reads_quotas: bool
) -> list[iam.PolicyStatement]:
    return [
        iam.PolicyStatement(
            sid="ReadBatchJobs",
            actions=list(reads_of_jobs(with_tags=reads_tags)),
            resources=[every_batch_job(scope)],
        ),
        # The operations have no resource type; the Region is the only way to restrict them.
        iam.PolicyStatement(
            sid="ListBatchJobs",
            actions=[
                "bedrock:ListModelInvocationJobs",
                *(READ_QUOTAS if reads_quotas else ()),
            ],
            resources=["*"],
            conditions={"StringEquals": {"aws:RequestedRegion": Stack.of(scope).region}},
        ),
    ]


def forward_role(scope: Construct, bus_arn: str) -> iam.IRole:
    """The role with which EventBridge forwards a member's events to the monitor's bus."""
    role = iam.Role(
        scope,
        "ForwardRole",
        description="Forwards Bedrock's events on batch inference jobs to their monitor",
        assumed_by=iam.ServicePrincipal(
            "events.amazonaws.com",
            conditions={"StringEquals": {"aws:SourceAccount": Stack.of(scope).account}},
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


def admit_members(bus: eventbridge.EventBus, multi_scope: MultiScope) -> None:
    """Let other accounts forward Bedrock's events to the monitor's bus, and send nothing else.

    Only AWS can send an event with the source `aws.bedrock`. The policy is a property of the bus,
    which contains the ARN of the bus: the name is known, because the CDK generates it, not AWS.
    """
    resource = cast("eventbridge.CfnEventBus", bus.node.default_child)
    stack = Stack.of(bus)
    conditions = only_events(
        {
            "events:source": [requests.NATIVE_SOURCE],
            "events:detail-type": [requests.NATIVE_DETAIL_TYPE],
        }
    )
    principal: object = {
        "AWS": [f"arn:{stack.partition}:iam::{account}:root" for account in multi_scope.accounts]
    }
    if multi_scope.organization_id is not None:
        # The condition restricts it to the accounts of the organization.
        principal = "*"
        conditions["StringEquals"] = {"aws:PrincipalOrgID": multi_scope.organization_id}
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
