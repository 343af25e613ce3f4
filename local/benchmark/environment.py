"""The local cloud that the benchmark runs in: the deployed app, and Bedrock in another process.

The stand-in runs in another process, so that its CPU time does not count as that of a poll.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import boto3
from aws_lambda_powertools import Logger

from bedrock_batch_monitor.app.composition import compose
from bedrock_batch_monitor.settings import Settings
from local.bedrock import Phase, Script
from local.bedrock.control import Control
from local.deployment import Deployment, deploy
from local.emulator import ROOT_SECRET, Emulator

ENDING_SECONDS: Final = 60.0
_ITEMS_PER_WRITE: Final = 25
_PLAIN_TABLE: Final = "baseline"
_CHECKED_AT: Final = "2026-11-24T20:30:16.123456+00:00"


@dataclass(frozen=True, slots=True)
class Environment:
    """The same tables, bus and Bedrock for the monitor and the baselines."""

    bedrock: Control
    emulator: Emulator
    monitor: Deployment
    settings: Settings
    plain_table: str = _PLAIN_TABLE

    def session(self) -> boto3.Session:
        """A new session, which uses the local cloud through the SDK's own settings."""
        return boto3.Session(
            aws_access_key_id=self.emulator.account,
            aws_secret_access_key=ROOT_SECRET,
            region_name=self.emulator.region,
        )

    def poll_of_monitor(self, session: boto3.Session) -> Any:  # noqa: ANN401 - a function
        """The poll of the deployed function, run in this process with this session."""
        quiet = Logger(service="bench", stream=io.StringIO())
        monitor = compose(self.settings, session, quiet)
        return lambda: monitor.poll(lambda: 900.0)

    def fill(self, jobs: int, *, ending: int) -> list[str]:
        """Empty everything, then submit and track jobs; `ending` of them end next."""
        self.empty()
        running = Script((Phase("InProgress", None),))
        ends = Script((Phase("InProgress", ENDING_SECONDS), Phase("Completed", None)))
        arns = self.bedrock.add_jobs(
            {"script": script.to_json(), "count": count}
            for script, count in ((ends, ending), (running, jobs - ending))
            if count
        )
        for table, known in (
            (self.monitor.outputs.jobs_table_name, {"tracking": {"S": "ACTIVE"}}),
            # The state after an earlier poll of a baseline.
            (self.plain_table, {"status": {"S": "InProgress"}, "checkedAt": {"S": _CHECKED_AT}}),
        ):
            items = [{"jobArn": {"S": arn}, **known} for arn in arns]
            self.write(table, [{"PutRequest": {"Item": item}} for item in items])
        return arns

    def end_jobs(self) -> None:
        """Advance the clock until the jobs have ended that were submitted to end."""
        self.bedrock.advance(2 * ENDING_SECONDS)

    def empty(self) -> None:
        """Remove the jobs and items of an earlier measurement."""
        client = self.monitor.client("dynamodb")
        outputs = self.monitor.outputs
        keys = {
            outputs.jobs_table_name: ("jobArn",),
            outputs.history_table_name: ("jobArn", "sequence"),
            self.settings.state_table_name: ("scope",),
            self.plain_table: ("jobArn",),
        }
        for table, names in keys.items():
            for page in client.get_paginator("scan").paginate(TableName=table):
                found = [{name: item[name] for name in names} for item in page["Items"]]
                self.write(table, [{"DeleteRequest": {"Key": key}} for key in found])
        self.bedrock.reset()

    def write(self, table: str, requests: Sequence[Mapping[str, Any]]) -> None:
        """Put or delete many items."""
        client = self.monitor.client("dynamodb")
        for first in range(0, len(requests), _ITEMS_PER_WRITE):
            some: Any = list(requests[first : first + _ITEMS_PER_WRITE])
            client.batch_write_item(RequestItems={table: some})


@contextlib.contextmanager
def benchmark_environment() -> Iterator[Environment]:
    """Start everything (about fifteen seconds); everything is removed at the end."""
    with (
        _bedrock() as bedrock,
        Emulator(environment={"AWS_ENDPOINT_URL_BEDROCK": bedrock.endpoint_url}) as emulator,
    ):
        # An hour, so that no scheduled poll runs between the measured ones.
        monitor = deploy(
            emulator, context={"removalPolicy": "destroy", "pollIntervalMinutes": "60"}
        )
        variables = function_variables(monitor) | {"POLL_INTERVAL_MINUTES": "1"}
        monitor.client("dynamodb").create_table(
            TableName=_PLAIN_TABLE,
            AttributeDefinitions=[{"AttributeName": "jobArn", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "jobArn", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        # The SDK's own settings, so that everything here uses the local cloud as the functions do.
        os.environ |= emulator.caller_environment()
        os.environ["AWS_ENDPOINT_URL_BEDROCK"] = bedrock.endpoint_url
        yield Environment(bedrock, emulator, monitor, Settings.from_environment(variables))


def function_variables(monitor: Deployment) -> dict[str, str]:
    """The environment variables of the deployed monitor function."""
    name = monitor.outputs.monitor_function_name
    configuration = monitor.client("lambda").get_function_configuration(FunctionName=name)
    return dict(configuration["Environment"]["Variables"])


@contextlib.contextmanager
def _bedrock() -> Iterator[Control]:
    with subprocess.Popen(
        [sys.executable, "-m", "local.bedrock", "--manual", "--seed", "3"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            if process.stdout is None:
                message = "the stand-in has no output"
                raise RuntimeError(message)
            yield Control(process.stdout.readline().strip())
        finally:
            process.terminate()
