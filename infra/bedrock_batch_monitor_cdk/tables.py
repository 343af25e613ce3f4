"""The tables: tracked jobs, the history of their transitions, the outbox, and the bookmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb.attributes import (
    ACTIVE_JOBS_PROJECTION,
    BY_STATUS_PROJECTION,
)
from bedrock_batch_monitor_cdk.encryption import encrypt_table
from bedrock_batch_monitor_cdk.findings import acknowledge

if TYPE_CHECKING:
    from aws_cdk import aws_kms as kms

    from bedrock_batch_monitor_cdk.config import MonitorConfig


class Tables(Construct):
    """On-demand tables with generated names, encrypted with DynamoDB's own key or a customer's.

    A table's logical id comes from its place in the construct tree: moving or renaming one of these
    constructs replaces the table and loses its items.
    """

    def __init__(
        self, scope: Construct, construct_id: str, config: MonitorConfig, key: kms.IKey | None
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self.jobs = self._build_jobs()
        self.history = self._build_history()
        self.state = self._build_state()
        self.outbox = self._build_outbox()
        if key is not None:
            for table in (self.jobs, self.history, self.state, self.outbox):
                encrypt_table(table, key)

    def _build_jobs(self) -> dynamodb.TableV2:
        return dynamodb.TableV2(
            self,
            "Jobs",
            partition_key=_text("jobArn"),
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.dynamo_owned_key(),
            point_in_time_recovery_specification=_recoverable(),
            deletion_protection=self._config.keeps_data,
            removal_policy=self._config.removal_policy_of_data,
            # All indexes are sparse: an item is in an index only while it has its partition key.
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=contract.ACTIVE_JOBS_INDEX,
                    partition_key=_text(contract.TRACKING),
                    sort_key=_text("jobArn"),
                    projection_type=dynamodb.ProjectionType.INCLUDE,
                    non_key_attributes=list(ACTIVE_JOBS_PROJECTION),
                ),
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=contract.PENDING_EVENTS_INDEX,
                    partition_key=_text(contract.EVENT_PENDING),
                    sort_key=_text(contract.PENDING_SINCE),
                    projection_type=dynamodb.ProjectionType.KEYS_ONLY,
                ),
                # Always present, because an empty index costs nothing.
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=contract.USAGE_PENDING_INDEX,
                    partition_key=_text(contract.USAGE_PENDING),
                    sort_key=_text(contract.USAGE_DUE_AT),
                    projection_type=dynamodb.ProjectionType.KEYS_ONLY,
                ),
            ],
        )

    def _build_history(self) -> dynamodb.TableV2:
        return dynamodb.TableV2(
            self,
            "History",
            partition_key=_text("jobArn"),
            sort_key=dynamodb.Attribute(name="sequence", type=dynamodb.AttributeType.NUMBER),
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.dynamo_owned_key(),
            # Enabled even if history is kept indefinitely: then no item has the attribute, and a
            # retention that is set later needs no change of the table.
            time_to_live_attribute=contract.EXPIRES_AT,
            point_in_time_recovery_specification=_recoverable(),
            deletion_protection=self._config.keeps_data,
            removal_policy=self._config.removal_policy_of_data,
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=contract.BY_STATUS_INDEX,
                    partition_key=_text("status"),
                    sort_key=_text("observedAt"),
                    projection_type=dynamodb.ProjectionType.INCLUDE,
                    non_key_attributes=list(BY_STATUS_PROJECTION),
                )
            ],
        )

    def _build_state(self) -> dynamodb.TableV2:
        table = dynamodb.TableV2(
            self,
            "State",
            partition_key=_text(contract.STATE_KEY),
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.dynamo_owned_key(),
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            table,
            "AwsSolutions-DDB3",
            "Bookmarks only: without them the next poll starts at the first job.",
        )
        return table

    def _build_outbox(self) -> dynamodb.TableV2:
        """The table of pending task callbacks and of pending events of conditions.

        It is a separate table because task tokens are secrets: a grant on the jobs table or the
        history table does not include it.
        """
        return dynamodb.TableV2(
            self,
            "Outbox",
            partition_key=_text("jobArn"),
            sort_key=_text(contract.OUTBOX_ENTRY),
            billing=dynamodb.Billing.on_demand(),
            encryption=dynamodb.TableEncryptionV2.dynamo_owned_key(),
            time_to_live_attribute=contract.EXPIRES_AT,
            point_in_time_recovery_specification=_recoverable(),
            deletion_protection=self._config.keeps_data,
            removal_policy=self._config.removal_policy_of_data,
        )


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)


def _recoverable() -> dynamodb.PointInTimeRecoverySpecification:
    return dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True)
