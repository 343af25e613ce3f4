"""Policy statements, and the ARNs and conditions that several roles and grants need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aws_cdk import Stack
from aws_cdk import aws_iam as iam

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_kms as kms
    from constructs import Construct

KEY_TO_READ_TABLES: Final = ("kms:Decrypt", "kms:DescribeKey")
# What the CDK would grant to readers and writers of such a table, without its wildcards and without
# kms:CreateGrant: DynamoDB has its own grants since it created the table.
KEY_TO_WRITE_TABLES: Final = (
    *KEY_TO_READ_TABLES,
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
READ_QUOTAS: Final = ("servicequotas:ListServiceQuotas",)
# SNS and SQS decrypt a data key in order to use it again for the next messages.
KEY_TO_SEND: Final = ("kms:Decrypt", "kms:GenerateDataKey")


def allow(
    role: iam.Role,
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Mapping[str, Any] | None = None,
) -> None:
    """Add a statement to a role's policy."""
    role.add_to_policy(
        iam.PolicyStatement(
            sid=sid, actions=list(actions), resources=list(resources), conditions=conditions
        )
    )


def allow_key(
    role: iam.Role, sid: str, actions: Sequence[str], key: kms.IKey | None, *, through: str
) -> None:
    """Let a role use the key in calls that a service makes for it; nothing without a key."""
    if key is not None:
        allow(role, sid, actions, [key.key_arn], conditions=only_through(through, key))


def only_through(service: str, key: kms.IKey) -> dict[str, Any]:
    """The condition that a service, such as `dynamodb`, uses the key for the caller."""
    stack = Stack.of(key)
    return {"StringEquals": {"kms:ViaService": f"{service}.{stack.region}.{stack.url_suffix}"}}


def only_events(allowed: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The conditions of PutEvents that admit a call only if all its events have allowed values.

    A call has up to ten events, so the condition keys have several values: `StringEquals` alone
    would accept a call if one of its events matches. `ForAllValues` is true if the key is missing,
    which the second condition rules out.
    """
    return {
        "ForAllValues:StringEquals": {key: list(values) for key, values in allowed.items()},
        "Null": dict.fromkeys(allowed, "false"),
    }


def reads_of_jobs(*, with_tags: bool) -> tuple[str, ...]:
    """The actions with which the monitor reads one job."""
    tags = ("bedrock:ListTagsForResource",) if with_tags else ()
    return ("bedrock:GetModelInvocationJob", *tags)


def index_arn(table: dynamodb.TableV2, name: str) -> str:
    """The ARN of an index."""
    return f"{table.table_arn}/index/{name}"


def every_batch_job(scope: Construct, region: str | None = None) -> str:
    """The ARN of every batch job of the account in a Region, by default the stack's."""
    return Stack.of(scope).format_arn(
        service="bedrock", region=region, resource="model-invocation-job", resource_name="*"
    )
