"""The customer-managed key, which `kms=customer` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs

if TYPE_CHECKING:
    from aws_cdk import CfnResource
    from aws_cdk import aws_dynamodb as dynamodb
    from constructs import Construct

    from bedrock_batch_monitor_cdk.config import MonitorConfig


# The statement that lets EventBridge use the key for the queues.
DELIVER_EVENTS: Final = "DeliverEvents"


def customer_key(scope: Construct, config: MonitorConfig) -> kms.Key | None:
    """The key of tables, queues, topics and log groups; None to use AWS's own keys.

    The roles have their own statements for it (see `function_roles.py`), which the first statement
    of the key policy permits. Services that use no role of this stack are admitted by name:
    CloudWatch Logs for this account only, and EventBridge, whose rules send to encrypted queues.
    The topic of the alarms is not under the key, because an alarm must be able to report its loss.
    """
    if config.kms != "customer":
        return None
    key = kms.Key(
        scope,
        "Key",
        description="Encrypts what the monitor of Bedrock batch inference jobs stores",
        enable_key_rotation=True,
        # Without the key all data encrypted with it is lost, including backups of the tables.
        removal_policy=config.removal_policy_of_data,
    )
    for statement in (_encrypt_logs(key), _deliver_events()):
        key.add_to_resource_policy(statement)
    return key


def _encrypt_logs(key: kms.Key) -> iam.PolicyStatement:
    stack = Stack.of(key)
    log_groups = stack.format_arn(service="logs", resource="log-group:*")
    return iam.PolicyStatement(
        sid="EncryptLogs",
        principals=[iam.ServicePrincipal(f"logs.{stack.region}.{stack.url_suffix}")],
        actions=[
            "kms:Decrypt",
            "kms:DescribeKey",
            "kms:Encrypt",
            "kms:GenerateDataKey*",
            "kms:ReEncrypt*",
        ],
        resources=["*"],
        conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": log_groups}},
    )


def _deliver_events() -> iam.PolicyStatement:
    """Let EventBridge use the key for queues.

    Without a condition, because AWS documents only this form for encrypted queues (SQS developer
    guide, "Configure KMS permissions for AWS services"): whether EventBridge sends
    `aws:SourceAccount` or `aws:SourceArn` to KMS is not documented, and a condition that it does
    not meet loses events. It opens no queue: the policy of each queue admits only the monitor's own
    rules, by their ARN.
    """
    return iam.PolicyStatement(
        sid=DELIVER_EVENTS,
        principals=[iam.ServicePrincipal("events.amazonaws.com")],
        actions=["kms:Decrypt", "kms:GenerateDataKey"],
        resources=["*"],
    )


def encrypt_table(table: dynamodb.TableV2, key: kms.IKey) -> None:
    """Encrypt a table with the key.

    The CDK's own property works only if the Region of the stack is known at synthesis: it sets a
    key per replica, and cannot identify the replica of an unknown Region.
    """
    resource = cast("CfnResource", table.node.default_child)
    resource.add_property_override("SSESpecification", {"SSEEnabled": True, "SSEType": "KMS"})
    resource.add_property_override("Replicas.0.SSESpecification.KMSMasterKeyId", key.key_arn)


def queue_encryption(key: kms.IKey | None) -> dict[str, Any]:
    """The properties that encrypt a queue, with the key or with the free one of SQS."""
    if key is None:
        return {"encryption": sqs.QueueEncryption.SQS_MANAGED}
    return {"encryption": sqs.QueueEncryption.KMS, "encryption_master_key": key}
