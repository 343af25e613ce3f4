"""What the bus does with a call that EventBridge rejects because of one of its entries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.eventbridge import Delivery, EventBus
from bedrock_batch_monitor.domain.event_kinds import ENDED
from bedrock_batch_monitor.domain.events import MonitorEvent
from tests.support.strategies import ARN, NOW

GOOD = MonitorEvent(ARN, "Ended#2", ENDED.detail_type, "{}", NOW)
BAD = MonitorEvent(ARN, "Ended#3", ENDED.detail_type, "malformed", NOW)
REFUSED = "EventBridge.ValidationException"


@dataclass
class Client:
    """EventBridge: rejects a whole call with this code if an entry is malformed."""

    code: str = "ValidationException"
    sizes: list[int] = field(default_factory=list)

    def put_events(self, *, Entries: Any) -> dict[str, Any]:  # noqa: N803 - as in the API
        """The id of each entry."""
        self.sizes.append(len(Entries))
        if any(entry["Detail"] == "malformed" for entry in Entries):
            response: Any = {
                "Error": {"Code": self.code, "Message": "no"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
            raise ClientError(response, "PutEvents")
        return {"Entries": [{"EventId": "id"} for _ in Entries]}


@pytest.mark.parametrize("count", [1, 2])
def test_malformed_event_does_not_delay_the_others_of_its_call(count: int) -> None:
    """Each is sent alone then."""
    client: Any = Client()
    sent = EventBus(client, "bus").put([GOOD] * count + [BAD])
    assert sent == (Delivery(GOOD, None, "id"),) * count + (Delivery(BAD, REFUSED),)
    assert client.sizes == [count + 1] + [1] * (count + 1)


def test_malformed_event_alone_is_not_sent_twice() -> None:
    client: Any = Client()
    with pytest.raises(ServiceError, match="no"):
        EventBus(client, "bus").put([BAD])
    assert client.sizes == [1]


def test_call_that_is_refused_otherwise_is_not_repeated_for_each_event() -> None:
    """The bus or the permission is wrong, not an event."""
    client: Any = Client("AccessDeniedException")
    with pytest.raises(ServiceError, match="no"):
        EventBus(client, "bus").put([GOOD, BAD])
    assert client.sizes == [2]
