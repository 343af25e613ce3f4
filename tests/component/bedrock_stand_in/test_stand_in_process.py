from __future__ import annotations

import os
import selectors
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.bedrock import Control, ControlError, Phase, Script

from .conftest import ACCOUNT, REQUEST, START, Connect

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
BOUND_SECONDS = 30


@contextmanager
def process(*options: str) -> Iterator[str]:
    """Run `python -m local.bedrock` and give its endpoint URL; it must end well when asked to."""
    command = [sys.executable, "-m", "local.bedrock", "--account", ACCOUNT, *options]
    with (
        subprocess.Popen(  # noqa: S603 - our own module with our own options
            command, cwd=ROOT, env=os.environ.copy(), stdout=subprocess.PIPE, text=True
        ) as running,
        selectors.DefaultSelector() as selector,
    ):
        try:
            assert running.stdout is not None
            selector.register(running.stdout, selectors.EVENT_READ)
            assert selector.select(BOUND_SECONDS)
            yield running.stdout.readline().strip()
            running.terminate()
            assert running.wait(BOUND_SECONDS) == 0
        finally:
            running.kill()


@pytest.fixture(scope="module")
def endpoint_url() -> Iterator[str]:
    """Run one process for all tests that are content with a clock that stands still."""
    with process("--manual", "--start", START.isoformat(), "--seed", "7") as url:
        yield url


@pytest.fixture
def control(endpoint_url: str) -> Iterator[Control]:
    """Steer the shared process, and leave it empty."""
    control = Control(endpoint_url)
    yield control
    control.reset()


def test_job_is_controlled_from_another_process(control: Control, connect: Connect) -> None:
    """The process adds a job with a script and advances the time, and a client sees the effect."""
    client = connect(control.endpoint_url)
    start = control.now()
    script = Script((Phase("Submitted", 60), Phase("InProgress", 600), Phase("Completed", None)))
    arn = control.add_job(script=script, total_records=50, job_name="steered")
    assert client.get_model_invocation_job(jobIdentifier=arn)["submitTime"] == start
    control.advance(60)
    assert client.get_model_invocation_job(jobIdentifier=arn)["status"] == "InProgress"
    control.set_time(start + timedelta(seconds=660))
    assert control.job(arn)["status"] == "Completed"
    assert control.calls() == {("GetModelInvocationJob", "OK"): 2}
    control.reset_calls()
    assert control.calls() == {}


def test_one_call_adds_ten_thousand_jobs(control: Control, connect: Connect) -> None:
    """In any account and Region and at any time."""
    early = (START - timedelta(hours=1)).isoformat()
    arns = control.add_jobs(
        [
            {"count": 9_000, "script": "random"},
            {
                "count": 1_000,
                "account": "210987654321",
                "region": "eu-west-1",
                "script": {"ending": "Failed", "running": 0, "message": "no records"},
                "submitted_at": early,
            },
        ]
    )
    assert len(set(arns)) == len(control.job_arns()) == 10_000
    client = connect(control.endpoint_url, key="210987654321", region="eu-west-1")
    page = client.list_model_invocation_jobs(maxResults=1000, statusEquals="Failed")
    assert len(page["invocationJobSummaries"]) == 1000
    assert {s["message"] for s in page["invocationJobSummaries"]} == {"no records"}


def test_created_job_follows_the_script_planned_for_its_name(
    control: Control, connect: Connect
) -> None:
    client = connect(control.endpoint_url)
    control.plan(REQUEST["jobName"], Script.ending("Failed", "as planned"), total_records=10)
    arn = client.create_model_invocation_job(**REQUEST)["jobArn"]
    control.advance(7200)
    job = client.get_model_invocation_job(jobIdentifier=arn)
    assert (job["status"], job["message"]) == ("Failed", "as planned")
    assert job["totalRecordCount"] == 10


def test_faults_are_controlled_from_another_process(control: Control, connect: Connect) -> None:
    """It sets, reads and removes them."""
    client = connect(control.endpoint_url)
    arn = control.add_job()
    throttle = control.set_fault("throttle", operation="GetModelInvocationJob")
    control.set_fault("override", job_arn=arn, values={"status": "Paused"})
    with pytest.raises(client.exceptions.ThrottlingException):
        client.get_model_invocation_job(jobIdentifier=arn)
    assert control.faults()[throttle]["kind"] == "throttle"
    control.remove_fault(throttle)
    assert client.get_model_invocation_job(jobIdentifier=arn)["status"] == "Paused"
    control.clear_faults()
    assert control.faults() == {}


def test_invalid_command_is_refused_with_the_reason(control: Control) -> None:
    """It is a ControlError, and the server continues."""
    with pytest.raises(ControlError, match="a fault's kind"):
        control.set_fault("nothing")
    with pytest.raises(ControlError, match="ModelMismatchError"):
        control.add_job(job_name="no spaces")
    with pytest.raises(ControlError, match="not a script"):
        control.add_job(script={"phases": "none"})
    with pytest.raises(ControlError, match="a manual clock has no speed"):
        control.set_speed(60)
    with pytest.raises(ControlError, match="KeyError"):
        control.remove_fault("99")
    with pytest.raises(ControlError, match="commands: add-jobs"):
        control._run("no-such-command")
    assert control.job_arns() == []


def test_time_runs_at_its_speed() -> None:
    """Simulated time passes by itself then; it can be accelerated and advanced, not set."""
    with process("--speed", "100000", "--start", START.isoformat()) as url:
        control = Control(url)
        before = control.now()
        assert before >= START
        control.set_speed(1)
        control.advance(3600)
        assert control.now() >= before + timedelta(hours=1)
        with pytest.raises(ControlError, match="only a manual clock can be set"):
            control.set_time(START)
