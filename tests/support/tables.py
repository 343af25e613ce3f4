"""The tables of the stack, for tests without it; tests/infra checks those of the stack."""

from __future__ import annotations

from typing import Any

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes


def create_tables(dynamodb: Any) -> None:
    """Create the tables `jobs`, `history`, `state` and `outbox` with this client of DynamoDB."""
    create = dynamodb.create_table
    create(
        TableName="jobs",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=_strings(
            *("jobArn", "tracking", "eventPending", "pendingSince", "usagePending", "usageDueAt")
        ),
        KeySchema=_key("jobArn"),
        GlobalSecondaryIndexes=[
            {
                "IndexName": contract.ACTIVE_JOBS_INDEX,
                "KeySchema": _key("tracking", "jobArn"),
                "Projection": {
                    "ProjectionType": "INCLUDE",
                    "NonKeyAttributes": list(attributes.ACTIVE_JOBS_PROJECTION),
                },
            },
            {
                "IndexName": contract.PENDING_EVENTS_INDEX,
                "KeySchema": _key("eventPending", "pendingSince"),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
            {
                "IndexName": contract.USAGE_PENDING_INDEX,
                "KeySchema": _key("usagePending", "usageDueAt"),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            },
        ],
    )
    create(
        TableName="history",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            *_strings("jobArn", "status", "observedAt"),
            {"AttributeName": "sequence", "AttributeType": "N"},
        ],
        KeySchema=_key("jobArn", "sequence"),
        GlobalSecondaryIndexes=[
            {
                "IndexName": contract.BY_STATUS_INDEX,
                "KeySchema": _key("status", "observedAt"),
                "Projection": {
                    "ProjectionType": "INCLUDE",
                    "NonKeyAttributes": list(attributes.BY_STATUS_PROJECTION),
                },
            }
        ],
    )
    create(
        TableName="state",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=_strings(contract.STATE_KEY),
        KeySchema=_key(contract.STATE_KEY),
    )
    create(
        TableName="outbox",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=_strings("jobArn", contract.OUTBOX_ENTRY),
        KeySchema=_key("jobArn", contract.OUTBOX_ENTRY),
    )


def _strings(*attributes: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "AttributeType": "S"} for name in attributes]


def _key(partition: str, sort: str | None = None) -> list[dict[str, str]]:
    key = [{"AttributeName": partition, "KeyType": "HASH"}]
    return key if sort is None else [*key, {"AttributeName": sort, "KeyType": "RANGE"}]
