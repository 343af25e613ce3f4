"""The quotas of batch inference in the answers of Service Quotas, without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import botocore.endpoint
import pytest

from bedrock_batch_monitor.adapters.errors import UNUSABLE_ANSWER, ServiceError
from bedrock_batch_monitor.adapters.service_quotas import NO_TIME, BatchQuotas
from tests.support.network import Network, session
from tests.support.service_quotas import ACTIVE_JOBS


def quotas_on(network: Network, region: str = "eu-west-1") -> BatchQuotas:
    quotas = BatchQuotas(session(), region)
    quotas._client._endpoint.http_session = network
    return quotas


def page(*quotas: Any, following: str | None = None) -> bytes:
    answer = {"Quotas": list(quotas)} | ({} if following is None else {"NextToken": following})
    return json.dumps(answer).encode()


def quota(name: object, value: object) -> dict[str, Any]:
    return {"QuotaName": ACTIVE_JOBS + str(name), "Value": value}


def always() -> bool:
    return True


def limits(*answers: Any, has_time: Callable[[], bool] = always) -> dict[str, int]:
    return quotas_on(Network(*answers)).limits(has_time)


def test_limits_are_read_from_all_pages() -> None:
    network = Network(page(quota("Nova Pro", 5.0), following="2"), page(quota("Nova Lite", 20)))
    assert quotas_on(network).limits(always) == {"Nova Lite": 20, "Nova Pro": 5}
    assert network.sent == ["https://servicequotas.eu-west-1.amazonaws.com/"] * 2
    first, second = map(json.loads, network.bodies)
    assert first["ServiceCode"] == "bedrock"
    assert second == first | {"NextToken": "2"}


def test_pages_are_as_large_as_service_quotas_allows() -> None:
    """There are more than a thousand quotas."""
    network = Network(page())
    quotas = quotas_on(network)
    assert quotas.limits(always) == {}
    shape = quotas._client.meta.service_model.operation_model("ListServiceQuotas").input_shape
    (request,) = map(json.loads, network.bodies)
    assert request["MaxResults"] == shape.members["MaxResults"].metadata["max"]


def test_quota_without_a_name_or_a_value_is_ignored() -> None:
    odd: list[Any] = [{}, {"QuotaName": ACTIVE_JOBS + "A"}, {"Value": 1.0}]
    assert limits(page(*odd, quota("Nova Pro", 5.0))) == {"Nova Pro": 5}


def test_endless_pages_are_read_up_to_a_limit() -> None:
    network = Network(*(page(quota(f"M {n}", 1), following=str(n)) for n in range(99)))
    assert len(quotas_on(network).limits(always)) == len(network.sent) == 50


def test_time_that_is_up_before_the_last_page_is_an_error() -> None:
    """A part of the limits would look like models without a quota."""
    left = iter([True, False])
    with pytest.raises(ServiceError) as caught:
        limits(
            page(quota("A", 1), following="2"),
            page(quota("B", 1), following="3"),
            has_time=lambda: next(left),
        )
    assert caught.value.code == f"ServiceQuotas.{NO_TIME}"


@pytest.mark.parametrize(
    "answer", [b"{}", b'{"Quotas": null}', b'{"Quotas": 5}', b'{"Quotas": [5]}']
)
def test_answer_without_quotas_is_an_error(answer: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        limits(answer)
    assert caught.value.code == f"ServiceQuotas.{UNUSABLE_ANSWER}"
    assert caught.value.message


def test_answer_without_a_list_of_quotas_is_called_so() -> None:
    with pytest.raises(ServiceError, match="the answer is not a list of quotas"):
        limits(b"{}")


def test_call_has_two_attempts_over_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next poll reads the quotas again."""
    monkeypatch.setattr(botocore.endpoint.time, "sleep", lambda _: None)
    network = Network(500, page(quota("A", 1)), 500, 500, 500)
    quotas = quotas_on(network)
    assert quotas.limits(always) == {"A": 1}
    with pytest.raises(ServiceError):
        quotas.limits(always)
    assert len(network.sent) == 4
    assert quotas._client.meta.config.max_pool_connections == 1
