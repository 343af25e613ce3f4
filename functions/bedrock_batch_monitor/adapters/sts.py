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
# A session whose calls are refused is renewed at most so often.
RENEWED_AT_MOST_EVERY: Final = timedelta(minutes=5)
_REFUSED: Final = (401, 403)

# botocore logs a warning with a traceback for every call without credentials: one for each job. The
# refusal is counted, and is in the job's item.
logging.getLogger("botocore.credentials").setLevel(logging.ERROR)


@dataclass(slots=True)
class RoleSessions:
    """Creates boto3 sessions with the credentials of an assumed role.

    botocore requests the credentials at the first call of a session's clients, and again some
    minutes before they expire. If Bedrock refuses a call, they are requested again, at most every
    five minutes: the session of a role that was deleted and created again is refused until it
    expires. A call for which there are none raises `ServiceError` of STS.
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
        core.register("after-call.bedrock", assumption.after_call)
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
        return _Credentials(self._assumption, method=self.METHOD, time_fetcher=self._clock)


class _Credentials(DeferredRefreshableCredentials):
    """Credentials that are also refreshed after they were dropped."""

    def __init__(self, assumption: _Assumption, **options: Any) -> None:  # noqa: ANN401 - botocore's
        super().__init__(assumption, **options)
        self._assumption = assumption

    def refresh_needed(self, refresh_in: int | None = None) -> bool:
        """Whether to request credentials before the next call."""
        return self._assumption.is_dropped or bool(super().refresh_needed(refresh_in))


@dataclass(slots=True)
class _Assumption:
    """AssumeRole, in the form in which botocore refreshes credentials."""

    session: boto3.Session
    role_arn: str
    external_id: str
    clock: Callable[[], datetime]
    _refused_at: datetime | None = None
    _refusal: ServiceError | None = None
    _renewed_at: datetime | None = None
    is_dropped: bool = False

    def after_call(self, **event: Any) -> None:  # noqa: ANN401 - botocore's event
        """Drop the credentials if a call with them was refused, unless they are new."""
        now = self.clock()
        is_new = self._renewed_at is not None and now - self._renewed_at < RENEWED_AT_MOST_EVERY
        if event["http_response"].status_code in _REFUSED and not is_new:
            self.is_dropped = True

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
        self._renewed_at, self.is_dropped = now, False
        return {
            "access_key": credentials["AccessKeyId"],
            "secret_key": credentials["SecretAccessKey"],
            "token": credentials["SessionToken"],
            "expiry_time": credentials["Expiration"].isoformat(),
        }
