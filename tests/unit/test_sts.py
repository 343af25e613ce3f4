from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.sts import RoleSessions

ROLE = "arn:aws:iam::222222222222:role/BedrockBatchMonitorMember-eu-west-1"
START = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)


class Sts:
    """A session whose STS client hands out keys, or refuses, and keeps what it was asked."""

    def __init__(self) -> None:
        self.now = START
        self.asked: list[dict[str, str]] = []
        self.refuses = False
        self.answer = ("AccessDenied", 403)

    def client(self, service: str, **_: Any) -> Sts:
        """Stand in for STS."""
        assert service == "sts"
        return self

    def assume_role(self, **request: str) -> dict[str, Any]:
        """Hand out a key, or refuse."""
        self.asked.append(request)
        if self.refuses:
            code, status = self.answer
            answer: Any = {
                "Error": {"Code": code, "Message": f"not {ROLE}"},
                "ResponseMetadata": {"HTTPStatusCode": status},
            }
            raise ClientError(answer, "AssumeRole")
        return {
            "Credentials": {
                "AccessKeyId": f"key-{len(self.asked)}",
                "SecretAccessKey": "secret",
                "SessionToken": "token",
                "Expiration": self.now + timedelta(hours=1),
            }
        }


@pytest.fixture
def sts() -> Sts:
    return Sts()


def key(credentials: Any) -> str:
    """The key that a client would sign with now."""
    return str(credentials.get_frozen_credentials().access_key)


def test_role_is_assumed_once_and_again_before_it_expires(sts: Sts) -> None:
    """The first call assumes the role with its external ID; the session is renewed in time."""
    roles = RoleSessions(sts, "111/us-east-1", lambda: sts.now)  # type: ignore[arg-type]
    credentials = roles.of(ROLE).get_credentials()
    assert sts.asked == []
    assert [key(credentials), key(credentials)] == ["key-1", "key-1"]
    assert sts.asked == [
        {
            "RoleArn": ROLE,
            "RoleSessionName": "bedrock-batch-monitor",
            "ExternalId": "111/us-east-1",
        }
    ]
    sts.now += timedelta(minutes=44)
    assert key(credentials) == "key-1"
    sts.now += timedelta(minutes=2)
    assert key(credentials) == "key-2"


def test_refusal_is_an_sts_error_until_the_role_exists(sts: Sts) -> None:
    """Every call raises it, STS is called once in 30 seconds, and it ends when the role exists."""
    sts.refuses = True
    roles = RoleSessions(sts, "111/us-east-1", lambda: sts.now)  # type: ignore[arg-type]
    credentials = roles.of(ROLE).get_credentials()
    for _ in range(3):
        with pytest.raises(ServiceError) as caught:
            key(credentials)
        assert caught.value.code == "STS.AccessDenied"
        assert caught.value.is_refusal
        assert ROLE in str(caught.value)
    assert len(sts.asked) == 1
    sts.refuses = False
    sts.now += timedelta(seconds=29)
    with pytest.raises(ServiceError):
        key(credentials)
    sts.now += timedelta(seconds=1)
    assert key(credentials) == "key-2"


@pytest.mark.parametrize(
    ("answer", "is_refusal"),
    [
        (("AccessDenied", 403), True),
        (("RegionDisabledException", 403), True),
        (("Throttling", 400), False),
        (("Unknown", 429), False),
        (("Unknown", 503), False),
    ],
)
def test_repeated_refusal_has_the_first_error_and_status(
    sts: Sts, answer: tuple[str, int], *, is_refusal: bool
) -> None:
    """Later jobs get the error that STS returned for the first one, with its HTTP status."""
    sts.refuses, sts.answer = True, answer
    credentials = RoleSessions(sts, "111/us-east-1", lambda: sts.now).of(ROLE).get_credentials()  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(ServiceError) as caught:
            key(credentials)
        assert caught.value.status == answer[1]
        assert caught.value.is_refusal is is_refusal
    assert len(sts.asked) == 1


def test_refusal_keeps_credentials_that_are_still_valid(sts: Sts) -> None:
    """Credentials that are valid for some minutes are used while new ones are refused."""
    roles = RoleSessions(sts, "111/us-east-1", lambda: sts.now)  # type: ignore[arg-type]
    credentials = roles.of(ROLE).get_credentials()
    assert key(credentials) == "key-1"
    sts.refuses = True
    sts.now += timedelta(minutes=47)
    assert key(credentials) == "key-1"
    sts.now += timedelta(minutes=13)
    with pytest.raises(ServiceError, match=r"STS\.AccessDenied"):
        key(credentials)


def test_refused_session_is_renewed_at_most_every_five_minutes(sts: Sts) -> None:
    """The session of a role that was created again is dropped; constant refusals cost few calls."""
    session = RoleSessions(sts, "111/us-east-1", lambda: sts.now).of(ROLE)  # type: ignore[arg-type]
    credentials = session.get_credentials()

    def call(status: int) -> str:
        used = key(credentials)
        answer = SimpleNamespace(status_code=status)
        session.events.emit("after-call.bedrock.GetModelInvocationJob", http_response=answer)
        return used

    assert call(200) == "key-1"
    sts.now += timedelta(minutes=4, seconds=59)
    assert [call(403), call(403)] == ["key-1", "key-1"]
    sts.now += timedelta(seconds=1)
    assert [call(403), call(403), call(403)] == ["key-1", "key-2", "key-2"]
    sts.now += timedelta(minutes=5)
    assert [call(401), call(429), call(400)] == ["key-2", "key-3", "key-3"]
    sts.now += timedelta(minutes=5)
    assert [call(429), call(400), call(402), call(404), call(500)] == ["key-3"] * 5


def test_sessions_share_the_models_of_the_services(sts: Sts) -> None:
    """A parsed model is large, and there can be many accounts."""
    roles = RoleSessions(sts, "111/us-east-1", lambda: sts.now)  # type: ignore[arg-type]
    loaders = {roles.of(role)._session.get_component("data_loader") for role in (ROLE, ROLE + "2")}
    assert len(loaders) == 1


def test_role_is_assumed_in_two_attempts_over_one_connection() -> None:
    asked: list[Any] = []

    class Session(Sts):
        def client(self, service: str, **options: Any) -> Sts:
            asked.append(options["config"])
            return super().client(service)

    found = Session()
    roles = RoleSessions(found, "111/us-east-1", lambda: START)  # type: ignore[arg-type]
    assert key(roles.of(ROLE).get_credentials()) == "key-1"
    (config,) = asked
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    assert config.max_pool_connections == 1
