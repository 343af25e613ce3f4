"""`python -m local.bench`: what a poll costs in calls and units, against what people write today.

Both sides run in this process against the same local cloud and Bedrock stand-in, in one run; so the
counts are those of the real code, and times are only given as ratios.
"""

from __future__ import annotations

import io
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Final

import boto3
import typer
from aws_lambda_powertools import Logger
from rich import box
from rich.console import Console
from rich.table import Table

from bedrock_batch_monitor.composition import compose, utc_now
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.settings import Settings
from local.bedrock import ManualClock, Phase, Script, StandIn
from local.cloud import Cloud, local_cloud
from local.emulator import ROOT_SECRET

_ENDING_SECONDS: Final = 60.0
_SIZES: Final = (10, 100, 1000)
_SHARES: Final = (0.0, 0.01, 1.0)
_TRACKED_AT_ONCE: Final = 25


@dataclass
class Cost:
    """What one run of a poll took: calls by operation, DynamoDB units, seconds."""

    calls: Counter[str] = field(default_factory=Counter)
    read_units: float = 0.0
    write_units: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def bedrock_calls(self) -> int:
        """Calls to Amazon Bedrock."""
        return self.calls["GetModelInvocationJob"] + self.calls["ListModelInvocationJobs"]


class Meter:
    """Counts the calls of a session's clients and asks DynamoDB for the units of each."""

    _READS: Final = frozenset({"GetItem", "BatchGetItem"})

    def __init__(self, session: boto3.Session) -> None:
        self.cost = Cost()
        events = session.events
        events.register("provide-client-params.dynamodb", self._ask)
        events.register("after-call", self._count)

    def _ask(self, params: dict[str, Any], **_: object) -> None:
        params["ReturnConsumedCapacity"] = "TOTAL"

    def _count(self, model: Any, parsed: dict[str, Any], **_: object) -> None:  # noqa: ANN401 - botocore's
        self.cost.calls[model.name] += 1
        if model.name in {"Query", "Scan"}:
            # The local cloud does not weigh items; DynamoDB reads 4 KB for half a unit.
            size = sum(map(_item_bytes, parsed.get("Items", ())))
            self.cost.read_units += max(1, math.ceil(size / 4096)) / 2
            return
        consumed = parsed.get("ConsumedCapacity", [])
        for capacity in consumed if isinstance(consumed, list) else [consumed]:
            if model.name in self._READS:
                self.cost.read_units += capacity["CapacityUnits"]
            else:
                self.cost.write_units += capacity["CapacityUnits"]

    @contextmanager
    def measuring(self) -> Iterator[Cost]:
        """Measure what happens inside."""
        self.cost = Cost()
        started, cpu = time.perf_counter(), time.process_time()
        yield self.cost
        self.cost.seconds = time.perf_counter() - started
        self.cost.cpu_seconds = time.process_time() - cpu


def _item_bytes(item: dict[str, Any]) -> int:
    """The size of an item as DynamoDB reckons it, to within a few bytes: names and values."""
    return sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items())


def main(
    *,
    sizes: Annotated[
        str, typer.Option(help="Numbers of active jobs, with commas between them.")
    ] = ",".join(map(str, _SIZES)),
) -> None:
    """Measure polls of the monitor against a scan that updates every job."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title="One poll: the monitor | scan, get each in turn, update every item",
        caption="Write units as the local cloud counts them: one for each item here, one for each "
        "started KB of it in AWS. Time ratio: baseline / monitor, in this run.",
    )
    for heading in (
        "jobs",
        "ended",
        "Bedrock calls",
        "read units",
        "write units",
        "PutEvents calls",
        "time ratio",
    ):
        table.add_column(heading, justify="right")
    console = Console(width=110)
    clock = ManualClock(utc_now())
    with local_cloud(
        bedrock=StandIn(clock=clock, seed=3),
        context={"removalPolicy": "destroy", "pollIntervalMinutes": "60"},
        enforce_iam=False,
    ) as cloud:
        # The SDK's own settings: both sides find the local cloud as the functions do.
        os.environ |= cloud.emulator.caller_environment()
        os.environ["AWS_ENDPOINT_URL_BEDROCK"] = cloud.bedrock.endpoint_url
        for size in map(int, sizes.split(",")):
            for share in _SHARES:
                monitor, baseline = (
                    _measured(cloud, clock, size, share, poll) for poll in (_monitor, _baseline)
                )
                table.add_row(
                    f"{size:,}",
                    f"{round(size * share):,}",
                    f"{monitor.bedrock_calls:,} | {baseline.bedrock_calls:,}",
                    f"{monitor.read_units:,.1f} | {baseline.read_units:,.1f}",
                    f"{monitor.write_units:,.0f} | {baseline.write_units:,.0f}",
                    f"{monitor.calls['PutEvents']:,} | {baseline.calls['PutEvents']:,}",
                    f"{baseline.seconds / monitor.seconds:.1f}",
                )
    console.print(table)


Poll = Callable[[Cloud, boto3.Session], Callable[[], object]]


def _measured(cloud: Cloud, clock: ManualClock, size: int, share: float, poll: Poll) -> Cost:
    """Measure one poll of fresh jobs of which a share has ended since the last one."""
    _empty(cloud)
    session = boto3.Session(
        aws_access_key_id=cloud.emulator.account,
        aws_secret_access_key=ROOT_SECRET,
        region_name=cloud.emulator.region,
    )
    meter = Meter(session)
    ending = round(size * share)
    for number in range(size):
        phases = (
            (Phase("InProgress", _ENDING_SECONDS), Phase("Completed", None))
            if number < ending
            else (Phase("InProgress", None),)
        )
        cloud.monitor.track(cloud.bedrock.add_job(script=Script(phases)))
    run = poll(cloud, session)
    run()
    clock.advance(2 * _ENDING_SECONDS)
    with meter.measuring() as cost:
        run()
    return cost


def _monitor(cloud: Cloud, session: boto3.Session) -> Callable[[], object]:
    outputs = cloud.monitor.outputs
    state = next(
        name
        for name in cloud.monitor.client("dynamodb").list_tables()["TableNames"]
        if "State" in name
    )
    settings = Settings(
        jobs_table_name=outputs.jobs_table_name,
        history_table_name=outputs.history_table_name,
        state_table_name=state,
        event_bus_name=outputs.event_bus_name,
        scope=Scope(cloud.emulator.account, cloud.emulator.region),
        history_retention=None,
        discovery_prefix=None,
        rules=Rules(
            progress_interval=timedelta(minutes=5),
            poll_interval=timedelta(minutes=1),
            unreachable_after_polls=3,
        ),
    )
    quiet = Logger(service="bench", stream=io.StringIO())
    monitor = compose(settings, session, quiet)
    return lambda: monitor.poll(lambda: 900.0)


def _baseline(cloud: Cloud, session: boto3.Session) -> Callable[[], object]:
    """What the common sample does: scan, get each job in turn, update every item, emit endings."""
    dynamodb = session.client("dynamodb")
    events = session.client("events")
    bedrock = session.client("bedrock")
    table = cloud.monitor.outputs.jobs_table_name

    def poll() -> None:
        for page in dynamodb.get_paginator("scan").paginate(TableName=table):
            for item in page["Items"]:
                if item.get("status", {}).get("S") in {"Completed", "Failed", "Stopped"}:
                    continue
                job = bedrock.get_model_invocation_job(jobIdentifier=item["jobArn"]["S"])
                dynamodb.update_item(
                    TableName=table,
                    Key={"jobArn": item["jobArn"]},
                    UpdateExpression="SET #status = :status, checkedAt = :now",
                    ExpressionAttributeNames={"#status": "status"},
                    ExpressionAttributeValues={
                        ":status": {"S": job["status"]},
                        ":now": {"S": utc_now().isoformat()},
                    },
                )
                if job["status"] in {"Completed", "Failed", "Stopped"}:
                    events.put_events(
                        Entries=[
                            {
                                "EventBusName": cloud.monitor.outputs.event_bus_name,
                                "Source": "baseline",
                                "DetailType": "ended",
                                "Detail": "{}",
                            }
                        ]
                    )

    return poll


def _empty(cloud: Cloud) -> None:
    """Remove what an earlier measurement left in the tables."""
    client = cloud.monitor.client("dynamodb")
    keys = {
        cloud.monitor.outputs.jobs_table_name: ("jobArn",),
        cloud.monitor.outputs.history_table_name: ("jobArn", "sequence"),
    }
    for table, names in keys.items():
        for page in client.get_paginator("scan").paginate(TableName=table):
            items = [{name: item[name] for name in names} for item in page["Items"]]
            for first in range(0, len(items), _TRACKED_AT_ONCE):
                client.batch_write_item(
                    RequestItems={
                        table: [
                            {"DeleteRequest": {"Key": key}}
                            for key in items[first : first + _TRACKED_AT_ONCE]
                        ]
                    }
                )
    cloud.bedrock.reset()


if __name__ == "__main__":
    typer.run(main)
