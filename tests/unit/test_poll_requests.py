"""The payloads of the monitor function."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.poll_requests import PollRequest, poll_request
from bedrock_batch_monitor.domain.scopes import PayloadError, Scopes

HOME = Scope("123456789012", "us-east-1")
SCOPES = Scopes.named(HOME, regions=("eu-west-1",), accounts=())
OTHER = Scope("123456789012", "eu-west-1")
# What EventBridge Scheduler sends for a schedule whose target has no input.
DEFAULT_PAYLOAD = {
    "version": "0",
    "id": "d32c5446-c2a6-4a0e-8f3e-3a3a3a3a3a3a",
    "detail-type": "Scheduled Event",
    "source": "aws.scheduler",
    "account": "123456789012",
    "time": "2026-11-26T02:00:00Z",
    "region": "us-east-1",
    "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/poll"],
    "detail": "{}",
}


@pytest.mark.parametrize(
    ("payload", "request_"),
    [
        ({}, PollRequest(HOME)),
        (DEFAULT_PAYLOAD, PollRequest(HOME)),
        ({"region": "eu-west-1", "all": True}, PollRequest(OTHER, everything=True)),
        (
            {"rediscoverSince": "2026-11-24T20:30:00.000Z"},
            PollRequest(HOME, rediscover_since=datetime(2026, 11, 24, 20, 30, tzinfo=UTC)),
        ),
    ],
)
def test_payload_selects_scope_and_options(
    payload: dict[str, object], request_: PollRequest
) -> None:
    """The payload of a schedule without input is a poll of the home scope."""
    assert poll_request(payload, SCOPES) == request_


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ({"all": "yes"}, "all in the payload is 'yes'"),
        ({"rediscoverSince": 1}, "rediscoverSince in the payload"),
        ({"rediscoverSince": "yesterday"}, "rediscoverSince in the payload"),
        ({"source": "somebody"}, "the payload has 'source'"),
        ([], "the payload is"),
    ],
)
def test_invalid_payload_is_refused_with_the_reason(payload: object, named: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(PayloadError, match=named):
        poll_request(payload, SCOPES)
