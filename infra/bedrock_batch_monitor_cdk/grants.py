"""What the construct grants to others: tracking jobs, sending commands, querying the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_iam as iam

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import requests
from bedrock_batch_monitor_cdk.statements import (
    KEY_TO_READ_TABLES,
    KEY_TO_WRITE_TABLES,
    index_arn,
    only_events,
    only_through,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_cdk import aws_events as eventbridge
    from aws_cdk import aws_kms as kms

    from bedrock_batch_monitor_cdk.tables import Tables


def grant_track(grantee: iam.IGrantable, tables: Tables, key: kms.IKey | None) -> iam.Grant:
    """Allow tracking and untracking jobs by hand in the jobs table, and nothing more.

    The conditions are those of DynamoDB's fine-grained access control: only the two attributes that
    track a job can be written, and no write returns what the item contained before. A put over an
    existing item replaces it; the monitor restores it from the history.
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
    return _with_key(grant, grantee, key, KEY_TO_WRITE_TABLES)


def grant_query(grantee: iam.IGrantable, tables: Tables, key: kms.IKey | None) -> iam.Grant:
    """Allow reading jobs and history by key and by index, also in PartiQL, without any scan."""
    items = [tables.jobs.table_arn, tables.history.table_arn]
    queried = [
        *items,
        index_arn(tables.jobs, contract.ACTIVE_JOBS_INDEX),
        index_arn(tables.jobs, contract.PENDING_EVENTS_INDEX),
        index_arn(tables.history, contract.BY_STATUS_INDEX),
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
    return _with_key(grant, grantee, key, KEY_TO_READ_TABLES)


def grant_send_commands(grantee: iam.IGrantable, bus: eventbridge.IEventBus) -> iam.Grant:
    """Allow sending the commands that track and untrack jobs, and no other event."""
    return iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["events:PutEvents"],
        resource_arns=[bus.event_bus_arn],
        conditions=only_events(
            {"events:detail-type": [requests.TRACK_DETAIL_TYPE, requests.UNTRACK_DETAIL_TYPE]}
        ),
    )


def _with_key(
    grant: iam.Grant, grantee: iam.IGrantable, key: kms.IKey | None, actions: Sequence[str]
) -> iam.Grant:
    if key is None:
        return grant
    return grant.combine(
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=list(actions),
            resource_arns=[key.key_arn],
            conditions=only_through("dynamodb", key),
        )
    )
