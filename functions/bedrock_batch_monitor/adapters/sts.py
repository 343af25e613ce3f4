"""AWS STS: sessions with the roles in other accounts that the monitor assumes to read jobs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.credentials import (
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.loaders import Loader, create_loader
from botocore.session import Session

from bedrock_batch_monitor.adapters.errors import ServiceError, calling
from bedrock_batch_monitor.adapters.sdk import bounded_config

if TYPE_CHECKING:
    from collections.abc import Callable

SERVICE: Final = "STS"
SESSION_NAME: Final = "bedrock-batch-monitor"
# For so long a refusal is not tried again: each of thousands of jobs of a poll would.
REFUSAL_HOLDS: Final = timedelta(seconds=30)

# botocore logs a warning with a traceback for every call without credentials: one for each job. The
# refusal is counted, and is in the job's item.
logging.getLogger("botocore.credentials").setLevel(logging.ERROR)


@dataclass(slots=True)
class RoleSessions:
    """Creates boto3 sessions with the credentials of an assumed role.

    botocore requests the credentials at the first call of a session's clients, and again some
    minutes before they expire. A call for which there are none raises `ServiceError` of STS.
    """

    session: boto3.Session
    external_id: str
    clock: Callable[[], datetime]
    # Service models are large when parsed; the sessions of many accounts share them.
    _loader: Loader = field(default_factory=create_loader)

    def of(self, role_arn: str) -> boto3.Session:
        """A session with a role; makes no call."""
        core = Session()
        assumption = _Assumption(self.session, role_arn, self.external_id, self.clock)
        core.register_component("data_loader", self._loader)
        core.register_component(
            "credential_provider", CredentialResolver([_OneRole(assumption, self.clock)])
        )
        return boto3.Session(botocore_session=core)


class _OneRole(CredentialProvider):
    """The credentials of a botocore session: those of the role, and no others."""

    METHOD = "assume-role"

    def __init__(self, assumption: _Assumption, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._assumption = assumption
        self._clock = clock

    def load(self) -> DeferredRefreshableCredentials:
        """Credentials that are requested when they are first used; makes no call."""
        return DeferredRefreshableCredentials(
            self._assumption, method=self.METHOD, time_fetcher=self._clock
        )


@dataclass(slots=True)
class _Assumption:
    """AssumeRole, in the form in which botocore refreshes credentials."""

    session: boto3.Session
    role_arn: str
    external_id: str
    clock: Callable[[], datetime]
    _refused_at: datetime | None = None
    _refusal: ServiceError | None = None

    def __call__(self) -> dict[str, str]:
        """New credentials; raises `ServiceError`. botocore calls it under a lock of its own."""
        now = self.clock()
        last, at = self._refusal, self._refused_at
        if last is not None and at is not None and now - at < REFUSAL_HOLDS:
            raise ServiceError(SERVICE, last.reason, last.message, status=last.status) from last
        config = bounded_config(concurrency=1, attempts=2)
        client: Any = self.session.client("sts", config=config)
        try:
            with calling(SERVICE):
                credentials = client.assume_role(
                    RoleArn=self.role_arn,
                    RoleSessionName=SESSION_NAME,
                    ExternalId=self.external_id,
                )["Credentials"]
        except ServiceError as error:
            self._refused_at, self._refusal = now, error
            raise
        self._refused_at = self._refusal = None
        return {
            "access_key": credentials["AccessKeyId"],
            "secret_key": credentials["SecretAccessKey"],
            "token": credentials["SessionToken"],
            "expiry_time": credentials["Expiration"].isoformat(),
        }
