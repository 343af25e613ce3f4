"""These tests validate the monitor's requests, which the clients do not do at each call."""

from __future__ import annotations

import pytest

from bedrock_batch_monitor.adapters.errors import ServiceError

from .conftest import Cloud


def test_invalid_request_is_reported(cloud: Cloud, malformed_requests: list[str]) -> None:
    """What the API's model forbids is in the list; what only the service checks is its error."""
    with pytest.raises(ServiceError):
        cloud.monitor.jobs.get("")
    assert malformed_requests == []
    with pytest.raises(Exception, match="TableName"):
        cloud.monitor.jobs._client.get_item(Key={})  # type: ignore[call-arg]
    [problem] = malformed_requests
    assert problem.startswith("GetItem: Missing required parameter")
    malformed_requests.clear()
