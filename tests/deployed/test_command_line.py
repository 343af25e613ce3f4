"""The command line on the deployed stack: its real outputs, tables, function and bus."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from bbm.main import app
from local.bedrock import Phase, Script
from local.cloud import Cloud
from local.waiting import wait_for

Json = Callable[..., Any]


@pytest.fixture
def json_of(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Json:
    """Run a command with the environment of a user of the local cloud; its document."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in cloud.emulator.caller_environment().items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run


def test_every_command_works_on_the_deployed_stack(cloud: Cloud, json_of: Json) -> None:
    """Every command against what `cdk deploy` made; the event comes again with its eventId."""
    script = Script((Phase("InProgress", 3600), Phase("Failed", None, "for a reason")))
    arn = cloud.bedrock.add_job(script=script, job_name="cli-nightly", total_records=1000)

    def polled(status: str) -> Any:
        json_of("poll")
        jobs = {job["jobArn"]: job for job in json_of("jobs", "--status", status)["jobs"]}
        return jobs.get(arn)

    with cloud.monitor.subscribe() as subscription:
        assert json_of("track", arn) == {"jobs": [{"jobArn": arn, "result": "added"}]}
        job = wait_for(lambda: polled("InProgress"), 30, what="the job to be recorded")
        assert (job["jobName"], job["tracking"]) == ("cli-nightly", "ACTIVE")
        assert json_of("history", "cli-nightly")["history"][-1]["status"] == "InProgress"

        # A refusal, for what ends one is written without waiting for the interval between counts.
        denied = cloud.bedrock.faults.deny(job_arn=arn)
        wait_for(
            lambda: "lastError" in (polled("InProgress") or {}), 30, what="the refusal to be noted"
        )
        cloud.bedrock.faults.remove(denied)
        cloud.bedrock.clock.advance(1800)
        job = wait_for(
            lambda: (job := polled("InProgress")) and "estimatedEndTime" in job and job,
            30,
            what="the end to be estimated",
        )
        assert job["recordsPerMinute"] > 0
        assert job["progressAt"] < job["estimatedEndTime"] < job["jobExpirationTime"]

        cloud.bedrock.clock.advance(1800)
        job = wait_for(lambda: polled("Failed"), 30, what="the end to be recorded")
        assert not {"recordsPerMinute", "estimatedEndTime"} & set(job)
        [event] = [event for event in subscription.receive() if event["resources"] == [arn]]

        # An index may lag behind its table, on AWS and so here.
        [found] = wait_for(
            lambda: [
                item
                for item in json_of("find", "--status", "Failed", "--since", "1h")["transitions"]
                if item["jobArn"] == arn
            ],
            10,
            what="the ending to be found",
        )
        assert found["message"] == "for a reason"
        history = json_of("history", arn.rsplit("/", 1)[-1])["history"]
        assert [item["status"] for item in history] == ["InProgress", "Failed"]

        sent = json_of("replay", arn)
        [again] = [event for event in subscription.receive() if event["resources"] == [arn]]
    assert sent["eventId"] == again["detail"]["metadata"]["eventId"] == history[-1]["eventId"]
    assert again["detail"] == event["detail"] == sent["detail"]
    assert json_of("track", arn)["jobs"][0]["result"] == "ended"
