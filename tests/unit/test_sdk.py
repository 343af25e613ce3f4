"""No request is sent after the end of an invocation: real clients of boto3 without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import boto3
import botocore.endpoint
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws

from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.adapters.dynamodb.connection import connect
from bedrock_batch_monitor.adapters.errors import ServiceError, calling
from bedrock_batch_monitor.adapters.sdk import (
    Invocation,
    InvocationOverError,
    bounded_config,
    guard,
    pages_of,
    run_in,
)
from bedrock_batch_monitor.adapters.service_quotas import BatchQuotas
from bedrock_batch_monitor.adapters.stepfunctions import TaskClient
from tests.support.network import Network, session
from tests.support.tables import create_tables

from .test_step_functions import SUCCESS

WAIT_SECONDS = 20
WRITES: dict[str, Callable[[Any], object]] = {
    "dynamodb": lambda client: client.delete_item(TableName="jobs", Key={"jobArn": {"S": "a"}}),
    "events": lambda client: client.put_events(Entries=[]),
    "stepfunctions": lambda client: client.send_task_success(taskToken="t", output="{}"),
}


def client_on(network: Network, service: str = "dynamodb", attempts: int = 3) -> Any:
    """A client that the monitor guards, over this network."""
    config = bounded_config(concurrency=1, attempts=attempts)
    client: Any = guard(session().client(service, config=config))  # type: ignore[call-overload]
    client._endpoint.http_session = network
    return client


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens in the pauses between two attempts of the SDK, which take no time here."""
    found: list[Callable[[], object]] = []

    def sleep(_: float) -> None:
        for happens in found:
            happens()

    monkeypatch.setattr(botocore.endpoint.time, "sleep", sleep)
    return found


@pytest.mark.parametrize("service", WRITES)
def test_call_begun_after_the_end_sends_nothing(service: str) -> None:
    network, invocation = Network(), Invocation()
    client = client_on(network, service)
    run_in(invocation, WRITES[service], client)
    assert len(network.sent) == 1
    invocation.end()
    with pytest.raises(InvocationOverError):
        run_in(invocation, WRITES[service], client)
    assert len(network.sent) == 1
    run_in(Invocation(), WRITES[service], client)
    assert len(network.sent) == 2


@pytest.mark.parametrize("service", WRITES)
@pytest.mark.parametrize(
    "failure", [500, 503, ReadTimeoutError(endpoint_url="https://dynamodb")], ids=str
)
@pytest.mark.usefixtures("pauses")
def test_call_in_flight_at_the_end_is_not_retried(service: str, failure: int | Exception) -> None:
    """The first attempt was sent before the end; the SDK's own retry is not sent."""
    network, invocation = Network(failure), Invocation()
    network.meanwhile = invocation.end
    with pytest.raises(InvocationOverError):
        run_in(invocation, WRITES[service], client_on(network, service))
    assert len(network.sent) == 1


def test_end_between_two_attempts_prevents_the_second(
    pauses: list[Callable[[], object]],
) -> None:
    """The environment is frozen there most often: the pause is the longest part of a retry."""
    network, invocation = Network(500, 500), Invocation()
    pauses.append(invocation.end)
    with pytest.raises(InvocationOverError):
        run_in(invocation, WRITES["dynamodb"], client_on(network))
    assert len(network.sent) == 1


@pytest.mark.usefixtures("pauses")
def test_refusal_to_send_is_not_retried_by_the_sdk() -> None:
    """The error leaves the client at once, as it is, with attempts left."""
    network, invocation = Network(), Invocation()
    client = client_on(network, attempts=3)
    checks: list[object] = []
    client.meta.events.register("needs-retry", lambda **event: checks.append(event["attempts"]))
    invocation.end()
    with pytest.raises(InvocationOverError):
        run_in(invocation, WRITES["dynamodb"], client)
    assert (checks, network.sent) == ([1], [])


@pytest.mark.usefixtures("pauses")
def test_retries_continue_in_a_running_invocation() -> None:
    """Without a guard, and with one in an invocation that runs, the SDK retries as usual."""
    network = Network(500, 503)
    run_in(Invocation(), WRITES["dynamodb"], client_on(network))
    assert len(network.sent) == 3
    network = Network(500, 500, 500)
    with pytest.raises(ClientError):
        run_in(Invocation(), WRITES["dynamodb"], client_on(network))
    assert len(network.sent) == 3


def test_thread_of_an_earlier_invocation_sends_nothing_in_the_next() -> None:
    """A thread is frozen between two writes, and thawed while the next invocation works."""
    network = Network()
    client = client_on(network)
    frozen, thaw = Event(), Event()

    def two_writes() -> None:
        WRITES["dynamodb"](client)
        frozen.set()
        assert thaw.wait(WAIT_SECONDS)
        WRITES["dynamodb"](client)

    first, second = Invocation(), Invocation()
    with ThreadPoolExecutor(1) as of_first, ThreadPoolExecutor(1) as of_second:
        late = of_first.submit(run_in, first, two_writes)
        assert frozen.wait(WAIT_SECONDS)
        first.end()
        of_second.submit(run_in, second, WRITES["dynamodb"], client).result()
        assert len(network.sent) == 2
        thaw.set()
        with pytest.raises(InvocationOverError):
            late.result()
        of_second.submit(run_in, second, WRITES["dynamodb"], client).result()
    assert len(network.sent) == 3


def test_thread_belongs_to_an_invocation_for_one_call_only() -> None:
    """A pool can serve the next invocation, and calls outside an invocation."""
    network, invocation = Network(), Invocation()
    client = client_on(network)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run_in, invocation, WRITES["dynamodb"], client).result()
        invocation.end()
        pool.submit(run_in, Invocation(), WRITES["dynamodb"], client).result()
        pool.submit(WRITES["dynamodb"], client).result()
    WRITES["dynamodb"](client)
    assert len(network.sent) == 4


def test_innermost_invocation_takes_precedence() -> None:
    """A call within a call of `run_in` belongs to the innermost invocation."""
    network, outer, inner = Network(), Invocation(), Invocation()
    client = client_on(network)
    outer.end()
    run_in(outer, run_in, inner, WRITES["dynamodb"], client)
    inner.end()
    with pytest.raises(InvocationOverError):
        run_in(Invocation(), run_in, inner, WRITES["dynamodb"], client)
    assert len(network.sent) == 1


def test_refusal_to_send_is_not_a_service_error() -> None:
    """No handler of service errors counts or retries it."""
    invocation = Invocation()
    invocation.end()
    with pytest.raises(InvocationOverError) as caught, calling("DynamoDB"):
        run_in(invocation, WRITES["dynamodb"], client_on(Network()))
    assert not isinstance(caught.value, ServiceError)


def test_run_in_passes_arguments_and_result() -> None:
    def joined(first: str, *, second: str) -> str:
        return first + second

    assert run_in(Invocation(), joined, "a", second="b") == "ab"


def test_end_of_an_invocation_is_idempotent() -> None:
    invocation = Invocation()
    assert not invocation.is_over
    invocation.end()
    invocation.end()
    assert invocation.is_over


def test_guard_of_a_client_is_idempotent() -> None:
    client = client_on(Network())
    assert guard(client) is client
    network, invocation = Network(), Invocation()
    client._endpoint.http_session = network
    invocation.end()
    with pytest.raises(InvocationOverError):
        run_in(invocation, WRITES["dynamodb"], client)


def test_check_comes_before_other_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto, a handler of the same event that does the write, is not reached."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with mock_aws():
        client = guard(boto3.client("dynamodb", region_name="us-east-1"))
        create_tables(client)
        invocation = Invocation()

        def put(arn: str) -> None:
            client.put_item(TableName="jobs", Item={"jobArn": {"S": arn}})

        run_in(invocation, put, "before")
        invocation.end()
        with pytest.raises(InvocationOverError):
            run_in(invocation, put, "after")
        run_in(Invocation(), put, "next")
        items = client.scan(TableName="jobs")["Items"]
    assert sorted(item["jobArn"]["S"] for item in items) == ["before", "next"]


def test_client_of_step_functions_is_guarded() -> None:
    """A task callback is a write, too; the guard is there from the first call on."""
    tasks = TaskClient.connect(session(), concurrency=1)
    network, invocation = Network(), Invocation()
    client: Any = tasks._client
    client._endpoint.http_session = network
    assert run_in(invocation, tasks.answer, SUCCESS) is None
    invocation.end()
    with pytest.raises(InvocationOverError):
        run_in(invocation, tasks.answer, SUCCESS)
    assert len(network.sent) == 1


@pytest.mark.usefixtures("pauses")
def test_task_callback_has_two_attempts_and_the_given_concurrency() -> None:
    """A poll can have many callbacks to send; the next poll retries those that failed."""
    tasks = TaskClient.connect(session(), concurrency=7)
    network = Network(500, 500, 500)
    client: Any = tasks._client
    client._endpoint.http_session = network
    with pytest.raises(ServiceError):
        tasks.answer(SUCCESS)
    assert len(network.sent) == 2
    assert client.meta.config.max_pool_connections == 7


@pytest.mark.parametrize(
    "client_of",
    [
        lambda of: connect(of, 1),
        lambda of: TaskClient.connect(of, 1)._client,
        lambda of: BatchInferenceJobs.connect(of, "us-east-1", 1)._client,
        lambda of: BatchQuotas(of, "us-east-1")._client,
    ],
    ids=["dynamodb", "stepfunctions", "bedrock", "service-quotas"],
)
def test_call_waits_two_seconds_for_a_connection_and_five_for_an_answer(
    client_of: Callable[[Any], Any],
) -> None:
    """Unless the adapter of the service says otherwise: a thread of the poll waits for it."""
    config = client_of(session()).meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 5)


def test_pages_end_with_the_last_or_with_an_error_of_the_service() -> None:
    """Each is requested when the caller takes it, and those before an error are valid."""

    def pages() -> Iterator[int]:
        yield 1
        yield 2
        raise ReadTimeoutError(endpoint_url="https://service")

    assert [*pages_of("Service", [1, 2])] == [1, 2]
    assert [*pages_of("Service", [])] == []
    taken = pages_of("Service", pages())
    assert [next(taken), next(taken)] == [1, 2]
    with pytest.raises(ServiceError, match=r"Service\.ReadTimeoutError"):
        next(taken)
