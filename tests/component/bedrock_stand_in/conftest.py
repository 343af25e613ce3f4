from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import boto3
import pytest
from botocore.config import Config

from local.bedrock import ManualClock, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_bedrock import BedrockClient

START = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
ACCOUNT = "123456789012"
REGION = "us-east-1"
REQUEST: dict[str, Any] = {
    "jobName": "nightly-summaries",
    "roleArn": f"arn:aws:iam::{ACCOUNT}:role/batch",
    "modelId": "anthropic.claude-3-haiku-20240307-v1:0",
    "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://in-bucket/input.jsonl"}},
    "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://out-bucket/results/"}},
}


class Connect(Protocol):
    """A function that makes a real client."""

    def __call__(
        self,
        endpoint_url: str | None,
        *,
        key: str = ACCOUNT,
        region: str = REGION,
        **config: object,
    ) -> BedrockClient:
        """Make a client whose access key id is *key*, with the settings of botocore's Config."""
        ...


@cache
def session() -> boto3.Session:
    """Load botocore's data once for all clients."""
    return boto3.Session()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make real clients with static credentials that never retry, closed after the test."""
    with ExitStack() as stack:

        def make(
            endpoint_url: str | None,
            *,
            key: str = ACCOUNT,
            region: str = REGION,
            **config: Any,
        ) -> BedrockClient:
            client = session().client(
                "bedrock",
                region_name=region,
                endpoint_url=endpoint_url,
                aws_access_key_id=key,
                aws_secret_access_key="secret",  # noqa: S106 - nothing checks it
                config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, **config),
            )
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture
def bedrock() -> Iterator[StandIn]:
    """Run a stand-in whose clock stands still, for the account that clients use."""
    with StandIn(clock=ManualClock(START), seed=7, account=ACCOUNT) as stand_in:
        yield stand_in


@pytest.fixture
def client(bedrock: StandIn, connect: Connect) -> BedrockClient:
    """Make a client of the stand-in."""
    return connect(bedrock.endpoint_url)
