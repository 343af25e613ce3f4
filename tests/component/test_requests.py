"""The requests that the monitor makes are checked in these tests, and not at each call."""

from __future__ import annotations

import pytest

from bedrock_batch_monitor.adapters.errors import ServiceError

from .conftest import Cloud


def test_a_request_that_the_api_would_refuse_is_noticed(
    cloud: Cloud, malformed_requests: list[str]
) -> None:
    """What the API's model rules out is in the list; what only the service knows is its error."""
    with pytest.raises(ServiceError):
        cloud.monitor.jobs.get("")
    assert malformed_requests == []
    with pytest.raises(Exception, match="TableName"):
        cloud.monitor.jobs._client.get_item(Key={})  # type: ignore[call-arg]
    [problem] = malformed_requests
    assert problem.startswith("GetItem: Missing required parameter")
    malformed_requests.clear()
