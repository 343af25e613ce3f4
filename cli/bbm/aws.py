"""The AWS clients of a command. Tests replace them."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client

_SHORT_CALLS: Final = Config(
    connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 4}
)
# The call returns when the poll is done, which can take as long as a Lambda function can run. A
# retry would start a second poll.
_POLL_CALL: Final = Config(
    connect_timeout=5, read_timeout=910, retries={"mode": "standard", "total_max_attempts": 1}
)
# Several files are read at the same time, each by one call that can take minutes.
_READS: Final = Config(
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=16,
    retries={"mode": "standard", "total_max_attempts": 4},
)
_QUICK_CALLS: Final = Config(
    connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1}
)


class Clients(Protocol):
    """The clients of one profile and Region."""

    @property
    def region(self) -> str | None:
        """The Region of the clients; None if no Region is set."""

    @property
    def cloudformation(self) -> CloudFormationClient:
        """The client that reads the outputs of the stack."""

    @property
    def dynamodb(self) -> DynamoDBClient:
        """The client of the tables."""

    @property
    def events(self) -> EventBridgeClient:
        """The client of the event bus."""

    @property
    def functions(self) -> LambdaClient:
        """The client of the monitor function."""

    @property
    def s3(self) -> S3Client:
        """The client that reads results and inputs of jobs."""

    def client(self, service: str) -> Any:  # noqa: ANN401 - of any service
        """The client of another service, by boto3's name for it."""


class Connect(Protocol):
    """Creates clients; raises the errors of botocore, as do the clients."""

    def __call__(self, profile: str | None, region: str | None) -> Clients:
        """Clients of a profile and Region; None means the default of the environment."""


def region_of_environment() -> str | None:
    """The Region that `AWS_REGION` names, which boto3 does not read; None if it is not set.

    The SDKs for other languages, and with them the CDK, read it before `AWS_DEFAULT_REGION`.
    """
    return os.environ.get("AWS_REGION") or None


class SessionClients:
    """Clients of a boto3 session, with its profile, Region, endpoints and credentials.

    Each client is created on first use, so a command creates only the clients that it needs.
    """

    config: ClassVar = _SHORT_CALLS

    def __init__(self, profile: str | None, region: str | None) -> None:
        self._session = boto3.Session(
            profile_name=profile, region_name=region or region_of_environment()
        )

    @property
    def region(self) -> str | None:
        """The Region of the clients; None if no Region is set."""
        return self._session.region_name

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        """The client that reads the outputs of the stack."""
        return self._session.client("cloudformation", config=self.config)

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        """The client of the tables."""
        return self._session.client("dynamodb", config=self.config)

    @cached_property
    def events(self) -> EventBridgeClient:
        """The client of the event bus."""
        return self._session.client("events", config=self.config)

    @cached_property
    def functions(self) -> LambdaClient:
        """The client of the monitor function."""
        return self._session.client("lambda", config=_POLL_CALL)

    @cached_property
    def s3(self) -> S3Client:
        """The client that reads results and inputs of jobs."""
        return self._session.client("s3", config=_READS)

    def client(self, service: str) -> Any:  # noqa: ANN401 - of any service
        """The client of another service, by boto3's name for it."""
        # The name is not a literal, which the type stubs need.
        connect: Any = self._session.client
        return connect(service, config=self.config)


class QuickClients(SessionClients):
    """Clients that give up after a moment, for completion."""

    config: ClassVar = _QUICK_CALLS
