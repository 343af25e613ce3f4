from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.sts import REFUSAL_HOLDS, RENEWED_AT_MOST_EVERY, RoleSessions

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


def test_a_role_is_assumed_once_and_again_before_it_expires(sts: Sts) -> None:
    """The first call asks for the role with its external id; the key is new before its end."""
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


def test_a_refusal_is_an_error_of_sts(sts: Sts) -> None:
    """It says so at every call, asks STS once in half a minute, and ends when the role is there."""
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
    sts.now += REFUSAL_HOLDS
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
def test_a_repeated_refusal_is_of_the_same_kind(
    sts: Sts, answer: tuple[str, int], *, is_refusal: bool
) -> None:
    """The jobs after the first are told what STS answered the first one, with its HTTP status."""
    sts.refuses, sts.answer = True, answer
    credentials = RoleSessions(sts, "111/us-east-1", lambda: sts.now).of(ROLE).get_credentials()  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(ServiceError) as caught:
            key(credentials)
        assert caught.value.status == answer[1]
        assert caught.value.is_refusal is is_refusal
    assert len(sts.asked) == 1


def test_a_refusal_does_not_end_what_is_still_good(sts: Sts) -> None:
    """Credentials that have minutes left are used while new ones are refused."""
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
    """The session of a role that was created again is dropped; a lasting refusal asks rarely."""
    session = RoleSessions(sts, "111/us-east-1", lambda: sts.now).of(ROLE)  # type: ignore[arg-type]
    credentials = session.get_credentials()

    def call(status: int) -> str:
        used = key(credentials)
        answer = SimpleNamespace(status_code=status)
        session.events.emit("after-call.bedrock.GetModelInvocationJob", http_response=answer)
        return used

    assert call(200) == "key-1"
    sts.now += RENEWED_AT_MOST_EVERY
    assert [call(403), call(403), call(403)] == ["key-1", "key-2", "key-2"]
    sts.now += RENEWED_AT_MOST_EVERY
    assert [call(403), call(429), call(429)] == ["key-2", "key-3", "key-3"]
