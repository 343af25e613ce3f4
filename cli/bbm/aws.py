"""The one seam to AWS: which clients a command works with, and how they are made."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient

_ANSWERS_SOON: Final = Config(
    connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 4}
)
# A poll answers when it is done, which may take as long as a function may run; a call that is
# repeated behind the caller's back would be a second poll.
_RUNS_A_POLL: Final = Config(
    connect_timeout=5, read_timeout=910, retries={"mode": "standard", "total_max_attempts": 1}
)


class Clients(Protocol):
    """The clients of one profile and Region; a test hands in its own."""

    @property
    def region(self) -> str | None:
        """The Region that the clients talk to, None if none is set."""

    @property
    def cloudformation(self) -> CloudFormationClient:
        """Where the stack's outputs are."""

    @property
    def dynamodb(self) -> DynamoDBClient:
        """Where the tables are."""

    @property
    def events(self) -> EventBridgeClient:
        """Where the bus is."""

    @property
    def functions(self) -> LambdaClient:
        """Where the monitor function is."""


class Connect(Protocol):
    """How clients are made; raises what botocore raises, as the clients themselves do."""

    def __call__(self, profile: str | None, region: str | None) -> Clients:
        """Clients of a profile and Region, by default those of the environment."""


class SessionClients:
    """Clients as boto3 makes them: profile, Region, endpoints and credentials as it finds them.

    Each client is made when it is first asked for, so a command needs no more than it uses.
    """

    def __init__(self, profile: str | None, region: str | None) -> None:
        self._session = boto3.Session(profile_name=profile, region_name=region)

    @property
    def region(self) -> str | None:
        """The Region that the clients talk to, None if none is set."""
        return self._session.region_name

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        """Where the stack's outputs are."""
        return self._session.client("cloudformation", config=_ANSWERS_SOON)

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        """Where the tables are."""
        return self._session.client("dynamodb", config=_ANSWERS_SOON)

    @cached_property
    def events(self) -> EventBridgeClient:
        """Where the bus is."""
        return self._session.client("events", config=_ANSWERS_SOON)

    @cached_property
    def functions(self) -> LambdaClient:
        """Where the monitor function is."""
        return self._session.client("lambda", config=_RUNS_A_POLL)
