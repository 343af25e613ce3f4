"""The monitor's parts on moto's tables and bus, with the Bedrock stand-in answering over HTTP."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any, TextIO

import boto3
import pytest
from aws_lambda_powertools import Logger
from boto3.dynamodb.types import TypeDeserializer
from botocore.handlers import BUILTIN_HANDLERS
from botocore.model import OperationModel
from botocore.validate import ParamValidator
from moto import mock_aws
from moto.dynamodb.models import dynamodb_backends

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.sdk import USER_AGENT
from bedrock_batch_monitor.app.composition import compose
from bedrock_batch_monitor.app.poll import Monitor
from bedrock_batch_monitor.domain.summary import PollSummary
from bedrock_batch_monitor.settings import Settings
from local.bedrock import ManualClock, Phase, Script, StandIn
from tests.support import quick_moto
from tests.support.contracts import assert_keeps_to_schema
from tests.support.monitor import ACCOUNT, REGION, SETTINGS, InlineExecutor
from tests.support.tables import create_tables

quick_moto.use()

START = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
# Powertools keeps one logger per service name, and with it the stream of its first user.
_loggers = itertools.count()
_plain = TypeDeserializer().deserialize


@dataclass
class Cloud:
    """Tables, bus and a subscriber's queue on moto, a Bedrock stand-in, and a monitor on them."""

    bedrock: StandIn
    monitor: Monitor
    dynamodb: Any
    events: Any
    sqs: Any
    queue_url: str
    log: StringIO
    received: list[dict[str, Any]] = field(default_factory=list)

    def poll(self, seconds_left: float = 900) -> PollSummary:
        """Run one poll with this time left, which does not decrease."""
        return self.monitor.poll(lambda: seconds_left)

    def poll_after(self, seconds: float = 60) -> PollSummary:
        """Run one poll after so many seconds."""
        self.bedrock.clock.advance(seconds)
        return self.poll()

    def with_rules(self, **changes: Any) -> Cloud:
        """The same cloud with a monitor that is deployed with other rules."""
        return self.with_settings(rules=replace(SETTINGS.rules, **changes))

    def with_settings(self, **changes: Any) -> Cloud:
        """The same cloud with a monitor that is deployed with other settings."""
        return replace(
            self, monitor=monitor_on(self.bedrock, replace(SETTINGS, **changes), self.log)
        )

    def add_job(self, script: Script | str = "InProgress", **attributes: Any) -> str:
        """A job in Bedrock that the monitor tracks, by its script or in one lasting status."""
        arn = self.bedrock.add_job(
            script=Script((Phase(script, None),)) if isinstance(script, str) else script,
            account=attributes.pop("account", ACCOUNT),
            region=attributes.pop("region", REGION),
            **attributes,
        )
        return self.track(arn)

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Count the calls that the monitor makes to DynamoDB and EventBridge, by operation."""
        made: Counter[str] = Counter()

        def count(model: Any, **_: Any) -> None:
            made[model.name] += 1

        clients = (self.monitor.jobs._client, self.monitor.relay.bus._client)
        for client in clients:
            client.meta.events.register("before-call", count)
        yield made
        for client in clients:
            client.meta.events.unregister("before-call", count)

    def asked(self) -> int:
        """How often GetModelInvocationJob was called so far, whatever the answer."""
        return sum(
            times
            for (operation, _), times in self.bedrock.calls.items()
            if operation == "GetModelInvocationJob"
        )

    def with_bus(self, bus: Any) -> Cloud:
        """The same cloud with another bus under the monitor."""
        relay = replace(self.monitor.relay, bus=bus)
        return replace(self, monitor=replace(self.monitor, relay=relay))

    def track(self, job_arn: str) -> str:
        """Track a job manually, as in the contract: with two attributes."""
        self.dynamodb.put_item(
            TableName="jobs",
            Item={"jobArn": {"S": job_arn}, "tracking": {"S": "ACTIVE"}},
        )
        return job_arn

    def put_all(self, items: Sequence[dict[str, Any]], table: str = "jobs") -> None:
        """Put items into a table, 25 a call."""
        for start in range(0, len(items), 25):
            puts = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
            answer = self.dynamodb.batch_write_item(RequestItems={table: puts})
            assert not answer["UnprocessedItems"]

    def job(self, job_arn: str) -> dict[str, Any] | None:
        """A job's item as plain values."""
        answer = self.dynamodb.get_item(TableName="jobs", Key={"jobArn": {"S": job_arn}})
        return plain(answer["Item"]) if "Item" in answer else None

    def history(self, job_arn: str) -> list[dict[str, Any]]:
        """A job's history as plain values, oldest first."""
        answer = self.dynamodb.query(
            TableName="history",
            KeyConditionExpression="jobArn = :jobArn",
            ExpressionAttributeValues={":jobArn": {"S": job_arn}},
        )
        return [plain(item) for item in answer["Items"]]

    def new_events(self) -> list[dict[str, Any]]:
        """The events that reached the subscriber since the last call; each keeps to its schema."""
        events = []
        while messages := self.sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10
        ).get("Messages"):
            for message in messages:
                event = json.loads(message["Body"])
                assert_keeps_to_schema(event)
                events.append(event)
                self.sqs.delete_message(
                    QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"]
                )
        self.received.extend(events)
        return events

    def items(self, table: str) -> list[dict[str, Any]]:
        """All items of a table as plain values."""
        return [plain(item) for item in self.dynamodb.scan(TableName=table)["Items"]]


def plain(item: dict[str, Any]) -> dict[str, Any]:
    """A DynamoDB item without its type tags."""
    return {name: _plain(value) for name, value in item.items()}


def monitor_on(bedrock: StandIn, settings: Settings, log: TextIO) -> Monitor:
    """A monitor as the function composes it, on the stand-in's clock and without threads."""
    monitor = compose(
        settings,
        boto3.Session(region_name=REGION),
        Logger(service=f"test-{next(_loggers)}", stream=log),
        clock=lambda: bedrock.clock.now(),  # noqa: PLW0108 - the clock may be exchanged later
    )
    return replace(monitor, new_executor=InlineExecutor)


# Reads of the monitor that may be stale, by operation and table, and why. Every other read of a
# table must be consistent; what an index says is never consistent, and conditions decide.
MAY_BE_STALE = {
    ("GetItem", "state"): "a bookmark that lags repeats work; writes about slots have conditions",
    ("BatchGetItem", "jobs", "jobArn"): "discovery asks what is known: the put's condition decides",
}


def stale_read(params: dict[str, Any], operation: str) -> str | None:
    """What is wrong with a read of a base table that is not consistent, if it should be."""
    if operation == "BatchGetItem":
        for table, request in params["RequestItems"].items():
            projection = request.get("ProjectionExpression", "")
            if not request.get("ConsistentRead") and (
                (operation, table, projection) not in MAY_BE_STALE
            ):
                return f"{operation} of {table} may be stale"
        return None
    is_read = operation in {"GetItem", "Query", "Scan"} and "IndexName" not in params
    if not is_read or params.get("ConsistentRead"):
        return None
    table = params["TableName"]
    return None if (operation, table) in MAY_BE_STALE else f"{operation} of {table} may be stale"


@pytest.fixture(autouse=True)
def malformed_requests() -> Iterator[list[str]]:
    """Check every request against the API's model, as the monitor's clients do not; none may fail.

    The monitor's reads of base tables must be consistent, unless `MAY_BE_STALE` says why not. What
    fails is in the list as well, for the test that means it to take out again.
    """
    found: list[str] = []

    def check(
        params: dict[str, Any], model: OperationModel, context: dict[str, Any], **_: Any
    ) -> None:
        config = context.get("client_config")
        is_monitor = config is not None and config.user_agent == USER_AGENT
        if is_monitor and model.service_model.service_name == "dynamodb":
            stale = stale_read(params, model.name)
            if stale is not None:
                found.append(stale)
        problems = ParamValidator().validate(params, model.input_shape)
        if problems.has_errors():
            found.append(f"{model.name}: {problems.generate_report()}")

    handler = ("provide-client-params", check)
    BUILTIN_HANDLERS.append(handler)
    yield found
    BUILTIN_HANDLERS.remove(handler)
    assert found == []


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud of its own for each test."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with StandIn(clock=ManualClock(START), seed=7) as bedrock, mock_aws():
        # The stand-in takes the account from the key; moto has set one of its own just now.
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", bedrock.endpoint_url)
        log = StringIO()
        session = boto3.Session(region_name=REGION)
        dynamodb, events, sqs = (session.client(name) for name in ("dynamodb", "events", "sqs"))
        create_tables(dynamodb)
        # By the stand-in's clock, as the monitor's: it says since when the deployment exists.
        dynamodb_backends[ACCOUNT][REGION].tables["jobs"].created_at = START
        events.create_event_bus(Name="monitor")
        queue_url = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
        queue_arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
        events.put_rule(
            Name="all",
            EventBusName="monitor",
            EventPattern=json.dumps({"source": [contract.EVENT_SOURCE]}),
        )
        events.put_targets(
            Rule="all",
            EventBusName="monitor",
            Targets=[{"Id": "queue", "Arn": queue_arn["Attributes"]["QueueArn"]}],
        )
        yield Cloud(
            bedrock=bedrock,
            monitor=monitor_on(bedrock, SETTINGS, log),
            log=log,
            dynamodb=dynamodb,
            events=events,
            sqs=sqs,
            queue_url=queue_url,
        )
