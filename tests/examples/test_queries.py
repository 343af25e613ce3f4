"""The queries of the examples with boto3 and the AWS CLI, on moto's tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local.bedrock import Script
from tests.component.conftest import ACCOUNT, Cloud
from tests.docs.shell import bash
from tests.examples.conftest import EXAMPLES, names_of

NO_JOB = "arn:aws:bedrock:us-east-1:123456789012:guardrail/gr4zkq1xq9ab"


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """What the programs take from the environment."""
    names = {"JOBS_TABLE": "jobs", "HISTORY_TABLE": "history"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    return names


@pytest.fixture
def jobs(cloud: Cloud) -> dict[str, str]:
    """A job that runs, one that cannot be read, one that completed, and two failures."""
    cloud.bedrock.clock.advance((datetime.now(UTC) - cloud.bedrock.clock.now()).total_seconds())
    running = cloud.add_job("InProgress")
    completed = cloud.add_job(Script.ending("Completed"))
    cloud.poll()
    cloud.track(NO_JOB)
    cloud.bedrock.clock.advance(60)
    cloud.poll()
    cloud.bedrock.clock.advance(1800)
    cloud.poll()
    failures = {}
    for name, hours in (("failed", 1), ("long ago", 72)):
        failures[name] = (
            f"arn:aws:bedrock:us-east-1:{ACCOUNT}:model-invocation-job/failed{hours:06d}"
        )
        moment = datetime.now(UTC) - timedelta(hours=hours)
        cloud.dynamodb.put_item(
            TableName="history",
            Item={
                "jobArn": {"S": failures[name]},
                "sequence": {"N": "1"},
                "status": {"S": "Failed"},
                "observedAt": {"S": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")},
            },
        )
    return {"running": running, "no job": NO_JOB, "completed": completed, **failures}


@pytest.mark.usefixtures("variables")
def test_boto3_queries_return_their_jobs(jobs: dict[str, str]) -> None:
    ask = SimpleNamespace(**names_of("queries/with_boto3.py"))
    yesterday = datetime.now(UTC) - timedelta(days=1)

    def arns(items: list[dict[str, Any]]) -> list[str]:
        return [item["jobArn"] for item in items]

    assert sorted(arns(ask.active_jobs())) == sorted([jobs["running"], jobs["no job"]])
    [unreadable] = ask.jobs_that_cannot_be_read()
    assert (unreadable["jobArn"], unreadable["lastError"]["code"]) == (NO_JOB, "InvalidJobArn")
    assert ask.job(jobs["completed"])["status"] == "Completed"
    assert ask.job(jobs["completed"] + "0") is None
    statuses = [item["status"] for item in ask.transitions(jobs["completed"])]
    assert (statuses[0], statuses[-1], len(statuses)) == ("Submitted", "Completed", 3)
    assert arns(ask.changed_to("Failed", yesterday)) == [jobs["failed"]]
    assert arns(ask.changed_to("Failed", yesterday - timedelta(days=9))) == [
        jobs["failed"],
        jobs["long ago"],
    ]


@pytest.mark.usefixtures("variables")
def test_boto3_queries_read_every_page(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = SimpleNamespace(**names_of("queries/with_boto3.py"))
    arns = {cloud.track(f"{NO_JOB}{number}") for number in range(5)}
    query = ask.jobs.query
    monkeypatch.setattr(ask.jobs, "query", lambda **arguments: query(Limit=2, **arguments))

    assert {item["jobArn"] for item in ask.active_jobs()} == arns


@pytest.fixture
def answers(
    jobs: dict[str, str], variables: Mapping[str, str], tmp_path: Path
) -> dict[str, list[str]]:
    """What the script of AWS CLI commands prints: by its questions, the words of the answers."""
    script = (EXAMPLES / "queries" / "with_aws_cli.sh").read_text()
    with bash(tmp_path, {}) as run:
        result = run(f"set -- {jobs['completed']}\n{script}", variables)
    assert result.returncode == 0, result.stderr
    found: dict[str, list[str]] = {}
    for line in result.stdout.splitlines():
        if " " in line:
            question = line
            found[question] = []
        else:
            found[question] += line.split("\t")
    return found


def test_aws_cli_script_returns_the_same_jobs(
    jobs: dict[str, str], answers: dict[str, list[str]]
) -> None:
    active, unreadable, failed, status, history = answers.values()

    assert sorted(active) == sorted([jobs["running"], jobs["no job"]])
    assert unreadable == [NO_JOB]
    assert failed == [jobs["failed"]]
    assert status == ["Completed"]
    assert (history[0], history[-1]) == ("Submitted", "Completed")
