"""The example's state machine on the local cloud: the job that it submits, and how it ends.

What is not proved here: that the role which the example makes is enough, for the emulator does not
check what a state machine does, and that AWS's own SDK integration calls Bedrock as the one that
`local/gateway.py` adds does.
"""

from __future__ import annotations

import json
import runpy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aws_cdk
import pytest

from local.bedrock import Phase, Script
from local.cloud import Cloud
from local.waiting import wait_for
from tests.support.contracts import assert_keeps_to_schema

from .conftest import example_stack
from .test_contract import outbox_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "step-functions"
STACK = "WaitForAJob"
ENDINGS = {
    "Completed": ("SUCCEEDED", {"complete": True}),
    "PartiallyCompleted": ("FAILED", "JobPartiallyCompleted"),
    "Failed": ("FAILED", "JobFailed"),
    "Expired": ("FAILED", "JobExpired"),
    "Stopped": ("FAILED", "JobStopped"),
}


@pytest.fixture(scope="module")
def machine(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The example's stack, deployed from the template that its app synthesizes."""
    example = runpy.run_path(str(EXAMPLE / "step_functions.py"))
    app = aws_cdk.App(outdir=str(tmp_path_factory.mktemp("cdk.out")))
    example["WaitForAJob"](
        app,
        STACK,
        event_bus_name=cloud.monitor.outputs.event_bus_name,
        batch_role_arn="arn:aws:iam::000000000000:role/batch",
    )
    template = app.synth().get_stack_by_name(STACK).template
    with example_stack(cloud, STACK, template) as machine_arn:
        yield machine_arn


class Execution:
    """One execution of the example, with a job that runs for an hour and ends as asked."""

    def __init__(self, cloud: Cloud, machine: str, ending: str, *, partially: bool) -> None:
        self._client = cloud.monitor.client("stepfunctions")
        self.cloud = cloud
        self.name = f"run-{uuid.uuid4().hex}"
        message = None if ending == "Completed" else f"why it {ending}"
        script = Script((Phase("InProgress", 3600), Phase(ending, None, message)))
        cloud.bedrock.plan(self.name, script)
        self.arn = self._client.start_execution(
            stateMachineArn=machine,
            name=self.name,
            input=json.dumps(
                {
                    "inputS3Uri": "s3://my-input/records.jsonl",
                    "outputS3Uri": "s3://my-output/",
                    "partiallyCompletedIsSuccess": partially,
                }
            ),
        )["executionArn"]

    def job(self) -> str:
        """The ARN of its job, once the monitor has its token."""

        def waiting() -> str | None:
            execution = self._client.describe_execution(executionArn=self.arn)
            assert execution["status"] == "RUNNING", execution
            pages = self.cloud.monitor.client("dynamodb").get_paginator("scan")
            for page in pages.paginate(TableName=self.cloud.monitor.outputs.jobs_table_name):
                for item in page["Items"]:
                    if "taskRevision" in item and item.get("jobName", {}).get("S") == self.name:
                        return str(item["jobArn"]["S"])
            return None

        return wait_for(waiting, 60, what="the token to reach the job")

    def ended(self) -> dict[str, Any]:
        """The execution, once it is over."""

        def over() -> dict[str, Any] | None:
            execution = dict(self._client.describe_execution(executionArn=self.arn))
            return execution if execution["status"] != "RUNNING" else None

        return wait_for(over, 60, what="the execution to end")

    def failure(self) -> str:
        """The error with which it failed."""
        history = self._client.get_execution_history(executionArn=self.arn, reverseOrder=True)
        details = [event.get("executionFailedEventDetails") for event in history["events"]]
        return str(next(filter(None, details))["error"])

    def answer(self) -> dict[str, Any]:
        """What the monitor answered the task that waited."""
        history = self._client.get_execution_history(executionArn=self.arn)
        for event in history["events"]:
            details = event.get("taskSucceededEventDetails", {})
            if "waitForTaskToken" in details.get("resource", ""):
                return dict(json.loads(details["output"]))
        raise AssertionError(history)


def test_example_branches_on_each_terminal_status(cloud: Cloud, machine: str) -> None:
    """Submitted through Step Functions, tracked by its event, answered, and on from there."""
    runs = {ending: Execution(cloud, machine, ending, partially=False) for ending in ENDINGS}
    arns = {ending: run.job() for ending, run in runs.items()}
    cloud.bedrock.clock.advance(3600)
    cloud.monitor.poll()
    for ending, run in runs.items():
        status, outcome = ENDINGS[ending]
        execution = run.ended()
        assert execution["status"] == status, (ending, execution)
        if isinstance(outcome, str):
            assert run.failure() == outcome
            continue
        output = json.loads(execution["output"])
        job_id = arns[ending].rpartition("/")[2]
        assert output == {"outputS3Uri": f"s3://my-output/{job_id}/", **outcome}
        assert_keeps_to_schema(
            {
                "source": "bedrock-batch-monitor",
                "detail-type": "Batch Inference Job Ended",
                "resources": [arns[ending]],
                "detail": run.answer(),
            }
        )
    # A task goes on before the monitor has put down that it was answered.
    wait_for(
        lambda: not any(arn in waiting_in_outbox(cloud) for arn in arns.values()),
        60,
        what="the tokens to be gone",
    )


def waiting_in_outbox(cloud: Cloud) -> set[str]:
    """The jobs for which the outbox table has a task token."""
    pages = cloud.monitor.client("dynamodb").get_paginator("scan")
    return {
        item["jobArn"]["S"]
        for page in pages.paginate(TableName=outbox_of(cloud))
        for item in page["Items"]
        if "token" in item
    }


def test_partially_completed_is_a_success_on_request(cloud: Cloud, machine: str) -> None:
    """A caller that can do without some records says so in the command."""
    run = Execution(cloud, machine, "PartiallyCompleted", partially=True)
    run.job()
    cloud.bedrock.clock.advance(3600)
    cloud.monitor.poll()
    assert json.loads(run.ended()["output"])["complete"] is False


def test_aborted_execution_is_recorded_and_delays_no_event(cloud: Cloud, machine: str) -> None:
    """The token of an execution that was aborted is refused, and the job's event sent all the same.

    The emulator keeps the token of a stopped execution open, so the token here is one that it never
    gave out, which AWS and the emulator refuse alike.
    """
    assert machine
    arn = cloud.bedrock.add_job(script=Script((Phase("Stopped", None),)))
    with cloud.monitor.subscribe() as subscription:
        cloud.monitor.send(
            "Track Batch Inference Job", {"jobArn": arn, "taskToken": uuid.uuid4().hex}
        )
        wait_for(lambda: "taskTokenError" in (cloud.monitor.job(arn) or {}), 60, what="the refusal")
        events = [e for e in subscription.receive() if e["resources"] == [arn]]
    assert events
    assert (cloud.monitor.job(arn) or {})["taskTokenError"] == "TaskDoesNotExist"
