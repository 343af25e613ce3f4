"""The client of Amazon DynamoDB, and queries of which every page is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.parsers import quick_parsers
from bedrock_batch_monitor.adapters.sdk import bounded_config, guard, pages_of

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputPaginateTypeDef

    from bedrock_batch_monitor.adapters.dynamodb.items import Item

SERVICE: Final = "DynamoDB"


def connect(session: boto3.Session, concurrency: int) -> DynamoDBClient:
    """A client whose connection pool serves `concurrency` threads, with bounded time-outs."""
    config = bounded_config(concurrency=concurrency, attempts=3)
    with quick_parsers(session):
        return guard(session.client("dynamodb", config=config))


def query(client: DynamoDBClient, request: QueryInputPaginateTypeDef) -> Iterator[Item]:
    """The items of every page of a query; raises `ServiceError`."""
    for page in pages_of(SERVICE, client.get_paginator("query").paginate(**request)):
        yield from page["Items"]
