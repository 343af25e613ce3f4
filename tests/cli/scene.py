"""One morning of a deployment, for the samples of the documentation and for the pictures.

The items are as the monitor writes them. Nothing depends on the time of the day or on chance, so
the same command always prints the same text.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from unittest.mock import patch

import boto3
from boto3.dynamodb.types import TypeSerializer
from moto import mock_aws
from typer.testing import CliRunner

from bbm.environment import Environment
from bbm.main import app
from bedrock_batch_monitor.domain.jobs import RecordCounts
from bedrock_batch_monitor.domain.outcomes import outcome_of
from bedrock_batch_monitor.domain.statuses import is_terminal
from bedrock_batch_monitor.domain.times import from_iso, to_iso
from tests.support import quick_moto
from tests.support.tables import create_tables

from .morning import ENDED, FAILURES, RUNNING, Past

quick_moto.use()

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
NOW: Final = datetime(2026, 11, 25, 6, 30, tzinfo=UTC)
PREFIX: Final = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/"
WRONG_ARN: Final = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:guardrail/gr4zkq1xq9ab"
_SERIALIZE: Final = TypeSerializer().serialize
_VARIABLES: Final = ("FORCE_COLOR", "LINES", "NO_COLOR", "TTY_COMPATIBLE", "AWS_PROFILE")
_CODES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

OUTPUTS: Final = {
    "JobsTableName": "jobs",
    "HistoryTableName": "history",
    "EventBusName": "monitor",
    "MonitorFunctionName": "monitor-function",
}
SUMMARY: Final = {
    "jobsActive": 6,
    "jobsRead": 5,
    "jobsListed": 0,
    "jobsChanged": 1,
    "jobsEnded": 0,
    "eventsSent": 0,
    "eventsPending": 0,
    "errors": {"Item.InvalidJobArn": 1},
    "complete": True,
    "seconds": 0.412,
}


def complete(line: str, environment: Environment) -> str:
    """The words that completion offers bash for the last word of a line, one on each line."""
    words = line.split(" ")
    variables = {
        "_BBM_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return CliRunner(env=variables).invoke(app, [], obj=environment, prog_name="bbm").output


@dataclass
class Scene:
    """`bbm` on the tables of that morning. Each sleep of `bbm watch` makes the next of `steps`."""

    dynamodb: Any
    events: Any
    now: datetime = NOW
    steps: list[Callable[[Scene], None]] = field(default_factory=list)
    region: str | None = REGION

    def run(self, arguments: Sequence[str], width: int | None) -> str:
        """What a command prints on both streams, without color: in a terminal or in a pipe."""
        terminal = {"FORCE_COLOR": "1", "LINES": "40", "TERM": "xterm-256color"}
        env = {"COLUMNS": str(width), "TERMINAL_WIDTH": str(width)} | (terminal if width else {})
        environment = Environment(
            connect=lambda *_: self,
            now=lambda: self.now,
            sleep=self._sleep,
            connect_quickly=lambda *_: self,
        )
        with patch.dict(os.environ):
            for name in _VARIABLES:
                os.environ.pop(name, None)
            result = CliRunner(env=env if width else {}).invoke(
                app, list(arguments), obj=environment, prog_name="bbm"
            )
        if result.exception is not None and not isinstance(
            result.exception, SystemExit | KeyboardInterrupt
        ):
            raise result.exception
        # Of a live view, the last picture.
        last = result.output.rpartition("\x1b[2K")[2]
        return "".join(f"{line.rstrip()}\n" for line in _CODES.sub("", last).splitlines())

    def completion(self, line: str) -> str:
        """What the shell completes for a line."""
        environment = Environment(connect_quickly=lambda *_: self, now=lambda: self.now)
        return complete(line, environment)

    def put(self, item: dict[str, Any], table: str = "jobs") -> None:
        """Put an item with plain values."""
        typed = {name: _SERIALIZE(value) for name, value in item.items()}
        self.dynamodb.put_item(TableName=table, Item=typed)

    def set(self, job_id: str, seconds: float = 0, **values: Any) -> None:
        """Let time pass, and change attributes of a job's item, as a poll does."""
        self.now += timedelta(seconds=seconds)
        key = {"jobArn": {"S": PREFIX + job_id}}
        item = self.dynamodb.get_item(TableName="jobs", Key=key)["Item"]
        typed = {name: _SERIALIZE(value) for name, value in values.items()}
        self.dynamodb.put_item(
            TableName="jobs", Item=item | typed | {"observedAt": {"S": to_iso(self.now)}}
        )

    def _sleep(self, seconds: float) -> None:
        if not self.steps:
            raise KeyboardInterrupt
        self.now += timedelta(seconds=seconds)
        self.steps.pop(0)(self)

    # The other clients of a command.
    @property
    def cloudformation(self) -> Scene:
        """The stack is described below."""
        return self

    @property
    def functions(self) -> Scene:
        """The function is invoked below."""
        return self

    @property
    def s3(self) -> Any:
        """The bucket of one job, with its input and results."""
        client = boto3.client("s3", region_name=REGION)
        if not client.list_buckets()["Buckets"]:
            client.create_bucket(Bucket="acme")
            for key, text in _files_of(ENDED[0]):
                client.put_object(Bucket="acme", Key=key, Body=text.encode())
        return client

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - boto3's name
        """The outputs of the stack."""
        return {
            "Stacks": [
                {
                    "StackName": StackName,
                    "StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{StackName}/1",
                    "StackStatus": "CREATE_COMPLETE",
                    "Outputs": [
                        {"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()
                    ],
                }
            ]
        }

    def get_template(self, **_: Any) -> dict[str, Any]:
        """The log group of the monitor function is enough."""
        return {"TemplateBody": {"Resources": {}}}

    def list_stack_resources(self, **_: Any) -> dict[str, Any]:
        """The log group of the monitor function."""
        log_group = {
            "LogicalResourceId": "MonitorLog",
            "ResourceType": "AWS::Logs::LogGroup",
            "PhysicalResourceId": "monitor-log",
        }
        return {"StackResourceSummaries": [log_group]}

    def client(self, service: str) -> Scene:
        """The client of the logs."""
        assert service == "logs"
        return self

    def filter_log_events(self, **_: Any) -> dict[str, Any]:
        """A poll finished 12 seconds ago."""
        at = int((self.now - timedelta(seconds=12)).timestamp() * 1000)
        line = json.dumps({"message": "poll finished"})
        return {"events": [{"timestamp": at, "message": line}]}

    def invoke(self, **_: Any) -> dict[str, Any]:
        """The summary of one poll."""
        return {"Payload": io.BytesIO(json.dumps(SUMMARY).encode())}


@contextmanager
def scene(steps: Sequence[Callable[[Scene], None]] = ()) -> Iterator[Scene]:
    """The tables of that morning, on moto."""
    with mock_aws():
        session = boto3.Session(region_name=REGION)
        dynamodb, events = session.client("dynamodb"), session.client("events")
        create_tables(dynamodb)
        events.create_event_bus(Name="monitor")
        made = Scene(dynamodb, events, steps=list(steps))
        for past in (*ENDED, *RUNNING):
            _put(made, past)
        made.put(
            {
                "jobArn": WRONG_ARN,
                "tracking": "ACTIVE",
                "lastErrorAt": "2026-11-25T06:00:00.000Z",
                "lastError": {
                    "code": "InvalidJobArn",
                    "message": f"'{WRONG_ARN}' is not the ARN of a batch inference job",
                },
            }
        )
        made.put({"jobArn": f"{PREFIX}wakz15mwitoa", "tracking": "ACTIVE"})
        yield made


def _files_of(past: Past) -> Iterator[tuple[str, str]]:
    """The input and the results of a job: the first records failed, and the last one is missing."""
    total, _, _ = past.records or (0, 0, 0)
    ids = [f"doc-{number:05}" for number in range(total)]
    lines = [f'{{"recordId": "{record_id}", "modelInput": {{}}}}' for record_id in ids]
    yield "in/nightly.jsonl", "\n".join(lines)
    errors = [
        {"errorCode": code, "errorMessage": message.format(7_340_032 + number, 5_877_012)}
        for code, message, records in FAILURES
        for number in range(records)
    ]
    outcomes = [*({"error": error} for error in errors)]
    outcomes += [{"modelOutput": {}}] * (total - len(errors))
    results = [
        json.dumps({"modelInput": {}} | outcome | {"recordId": record_id}, separators=(",", ":"))
        for record_id, outcome in zip(ids, outcomes, strict=True)
    ]
    yield f"out/{past.job_id}/nightly.jsonl.out", "\n".join(reversed(results[:-1]))
    yield f"out/{past.job_id}/manifest.json.out", "{}"


def _put(scene: Scene, past: Past) -> None:
    """Put the item and the history of a job."""
    changed = from_iso(past.submitted)
    total, processed, failed = past.records or (0, 0, 0)
    common = {
        "jobArn": PREFIX + past.job_id,
        "jobName": past.name,
        "modelId": past.model,
        "observedBy": "poll",
    }
    last: dict[str, Any] = {}
    previous: str | None = None
    for sequence, (status, seconds) in enumerate(past.transitions, 1):
        is_last = sequence == len(past.transitions)
        has_begun = past.records is not None and status not in {"Submitted", "Validating"}
        counts = {
            "totalRecordCount": total,
            "processedRecordCount": processed if is_last else 0,
            "successRecordCount": processed - failed if is_last else 0,
            "errorRecordCount": failed if is_last else 0,
        }
        last = {
            **common,
            "sequence": sequence,
            "status": status,
            "changedAt": to_iso(changed),
            "observedAt": to_iso(changed + timedelta(seconds=20)),
            **(counts if has_begun and status != "Scheduled" else {}),
            **({"previousStatus": previous} if previous else {}),
        }
        if is_last and is_terminal(status):
            last |= {"eventId": f"d06d5a71-b352-5361-807f-{past.job_id}"}
            last |= {"message": past.message} if past.message else {}
            last |= {"outcome": outcome_of(status, RecordCounts(total, processed, None, failed), 0)}
        scene.put(last, "history")
        previous, changed = status, changed + timedelta(seconds=seconds)
    item = {**last, "submitTime": past.submitted, **past.more}
    if "eventId" in last:
        item["endTime"] = last["changedAt"]
    else:
        item["tracking"] = "ACTIVE"
    if past.tokens is not None:
        tokens = {"input": past.tokens[0], **({"output": past.tokens[1]} if past.tokens[1] else {})}
        item |= {"tokens": tokens, "estimatedCostUsd": Decimal(past.dollars or "0")}
    scene.put(item)
