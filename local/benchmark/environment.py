"""The local cloud that the benchmark runs in: the deployed app, and Bedrock in another process.

The stand-in runs in another process, so that its CPU time does not count as that of a poll.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypeAlias

import boto3
from aws_lambda_powertools import Logger

from bedrock_batch_monitor.app.clock import utc_now
from bedrock_batch_monitor.app.composition import compose
from bedrock_batch_monitor.handlers.startup import no_garbage_collected
from bedrock_batch_monitor.settings import Settings
from local.bedrock import Phase, Script
from local.bedrock.control import Control
from local.deployment import Deployment, deploy
from local.emulator import ROOT_SECRET, Emulator

_ENDING_SECONDS: Final = 60.0
# Jobs were submitted in groups, five minutes apart: in the last eight hours.
_GROUPS: Final = 96
_GROUP_SECONDS: Final = 300.0
_ITEMS_PER_WRITE: Final = 25
_BETWEEN_POLLS: Final = timedelta(minutes=1)
Item: TypeAlias = Mapping[str, Any]
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
        """The poll of the deployed function, run in this process with this session.

        By the clock of the monitor, each poll is a minute after the one before.
        """
        quiet = Logger(service="bench", stream=io.StringIO())
        polls = 0
        # As the deployed function starts: the collector of garbage is set here for all subjects.
        with no_garbage_collected():
            monitor = compose(
                self.settings, session, quiet, lambda: utc_now() + polls * _BETWEEN_POLLS
            )

        def poll() -> None:
            nonlocal polls
            monitor.poll(lambda: 900.0)
            polls += 1

        return poll

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that a poll of the monitor changes."""
        outputs = self.monitor.outputs
        return (
            outputs.jobs_table_name,
            outputs.history_table_name,
            self.settings.state_table_name,
        )

    def fill(self, jobs: int, *, ending: Sequence[int]) -> list[str]:
        """Empty everything, then submit and track jobs; some of them end.

        `ending` has the number of jobs that end in the first `end_jobs`, in the second, and so on.
        The jobs have been running for up to eight hours, as where jobs are submitted all day.
        """
        self.empty()
        arns = self.bedrock.add_jobs(
            [
                job
                for number, count in enumerate(ending)
                for job in self._running(count, ends_after=_ENDING_SECONDS * (2 * number + 1))
            ]
            + self._running(jobs - sum(ending), ends_after=None)
        )
        for table, known in (
            (self.monitor.outputs.jobs_table_name, {"tracking": {"S": "ACTIVE"}}),
            # The state after an earlier poll of a baseline.
            (self.plain_table, {"status": {"S": "InProgress"}, "checkedAt": {"S": _CHECKED_AT}}),
        ):
            items = [{"jobArn": {"S": arn}, **known} for arn in arns]
            self.write(table, [{"PutRequest": {"Item": item}} for item in items])
        return arns

    def _running(self, jobs: int, *, ends_after: float | None) -> list[dict[str, Any]]:
        """Jobs that run, and that end so many seconds from now if that is given."""
        now = self.bedrock.now()
        submitted = []
        for group in range(_GROUPS):
            count = jobs // _GROUPS + (group < jobs % _GROUPS)
            age = group * _GROUP_SECONDS
            phases = [Phase("InProgress", None)]
            if ends_after is not None:
                # Its record counts do not change before the end, so that nothing else does.
                phases = [
                    Phase("InProgress", age + ends_after, processed=0.0),
                    Phase("Completed", None),
                ]
            if count:
                submitted.append(
                    {
                        "script": Script(tuple(phases)).to_json(),
                        "submitted_at": (now - timedelta(seconds=age)).isoformat(),
                        "count": count,
                    }
                )
        return submitted

    def end_jobs(self) -> None:
        """Advance the clock until the next of the jobs have ended that were submitted to end."""
        self.bedrock.advance(2 * _ENDING_SECONDS)

    @contextlib.contextmanager
    def answering_after(self, seconds: float) -> Iterator[None]:
        """Let Bedrock answer each call so many seconds late, as over a network."""
        fault = self.bedrock.set_fault("delay", seconds=seconds)
        try:
            yield
        finally:
            self.bedrock.remove_fault(fault)

    def snapshot(self, tables: Iterable[str]) -> dict[str, list[Item]]:
        """The items of these tables."""
        return {table: self.items(table) for table in tables}

    def restore(self, snapshot: Mapping[str, Sequence[Item]]) -> None:
        """Put the tables back into the state of a snapshot."""
        for table, items in snapshot.items():
            key_of = self._key_of(table)
            wanted = {key_of(item): item for item in items}
            current = {key_of(item): item for item in self.items(table)}
            names = self._keys[table]
            self.write(
                table,
                [
                    {"DeleteRequest": {"Key": {name: item[name] for name in names}}}
                    for key, item in current.items()
                    if key not in wanted
                ],
            )
            self.write(
                table,
                [
                    {"PutRequest": {"Item": item}}
                    for key, item in wanted.items()
                    if current.get(key) != item
                ],
            )

    def items(self, table: str) -> list[Item]:
        """All items of a table."""
        pages = self.monitor.client("dynamodb").get_paginator("scan").paginate(TableName=table)
        return [item for page in pages for item in page["Items"]]

    @property
    def _keys(self) -> dict[str, tuple[str, ...]]:
        outputs = self.monitor.outputs
        return {
            outputs.jobs_table_name: ("jobArn",),
            outputs.history_table_name: ("jobArn", "sequence"),
            self.settings.state_table_name: ("scope",),
            self.plain_table: ("jobArn",),
        }

    def _key_of(self, table: str) -> Callable[[Item], str]:
        names = self._keys[table]
        return lambda item: json.dumps([item[name] for name in names])

    def empty(self) -> None:
        """Remove the jobs and items of an earlier measurement."""
        self.restore(dict.fromkeys(self._keys, ()))
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
        # Calls are counted in the first poll of an environment. Only that one reads the models of
        # the jobs, for their slots: one read unit for each job, which no later poll reads again.
        settings = replace(Settings.from_environment(variables), read_quotas=False)
        yield Environment(bedrock, emulator, monitor, settings)


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
