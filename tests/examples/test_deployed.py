"""The examples deployed with a monitor: what each of them does when jobs end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.bedrock import Script
from local.clients import Clients
from local.waiting import wait_for
from tests.examples.conftest import EXAMPLES, Deployed
from tests.examples.test_terraform import rule_pattern
from tests.support.contracts import assert_keeps_to_schema
from tests.support.patterns import TROUBLE

ENDINGS = ("Completed", "PartiallyCompleted", "Failed")
MODEL = "amazon.nova-lite-v1:0"


@dataclass(frozen=True)
class Caller:
    """Somebody with the permissions of a role of the examples, and nothing else."""

    client: Clients
    environment: Mapping[str, str]


@pytest.fixture(scope="session")
def as_role(deployed: Deployed) -> Callable[[str], Caller]:
    """Gives the policies of a role to a user: the roles themselves trust Lambda alone."""
    iam = deployed.emulator.client("iam")

    def make(role: str) -> Caller:
        iam.create_user(UserName=role)
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            iam.put_user_policy(UserName=role, PolicyName=name, PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName=role)["AccessKey"]
        return Caller(
            Clients(
                deployed.emulator.url,
                access_key=key["AccessKeyId"],
                secret_key=key["SecretAccessKey"],
                region=deployed.emulator.region,
            ),
            {
                **deployed.emulator.caller_environment(),
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            },
        )

    return make


@pytest.fixture(scope="session")
def submitter(deployed: Deployed, as_role: Callable[[str], Caller]) -> Caller:
    """Somebody who was granted to track jobs."""
    return as_role(deployed.outputs["Pipeline"]["SubmitterRoleName"])


@pytest.fixture(scope="session")
def reader(deployed: Deployed, as_role: Callable[[str], Caller]) -> Caller:
    """Somebody who was granted to query."""
    return as_role(deployed.outputs["Pipeline"]["ReaderRoleName"])


@pytest.fixture(scope="session")
def jobs(deployed: Deployed, submitter: Caller) -> dict[str, str]:
    """Jobs that ended, each in its way, tracked by who was granted to; by their ending."""
    long_ago = deployed.bedrock.clock.now() - timedelta(hours=6)
    arns = {
        ending: deployed.bedrock.add_job(
            script=Script.ending(ending),
            total_records=100,
            model_id=MODEL,
            submitted_at=long_ago,
        )
        for ending in ENDINGS
    }
    for arn in arns.values():
        submitter.client("dynamodb").put_item(
            TableName=deployed.monitor.outputs.jobs_table_name,
            Item={"jobArn": {"S": arn}, "tracking": {"S": "ACTIVE"}},
        )
    wait_for(
        lambda: deployed.monitor.poll() and all(map(deployed.monitor.history, arns.values())),
        30,
        what="the endings to be recorded",
    )
    return arns


def received(deployed: Deployed, queue_url: str, count: int) -> dict[str, Any]:
    """The events in a queue by status, at least so many; copies of one event are one."""
    sqs = deployed.emulator.client("sqs")
    found: dict[str, Any] = {}

    def enough() -> bool:
        messages = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
        for message in messages.get("Messages", []):
            event = json.loads(message["Body"])
            assert_keeps_to_schema(event)
            found[event["detail"]["data"]["status"]] = event
        return len(found) >= count

    wait_for(enough, 30, what=f"{count} endings in {queue_url}")
    return found


@pytest.mark.parametrize(
    ("stack", "output"),
    [
        ("Pipeline", "TroubleQueueUrl"),
        ("RuleToSqs", "QueueUrl"),
    ],
)
def test_queue_of_the_example_gets_only_jobs_in_trouble(
    deployed: Deployed, jobs: dict[str, str], stack: str, output: str
) -> None:
    expected = {status: [jobs[status]] for status in set(ENDINGS) & TROUBLE}
    events = received(deployed, deployed.outputs[stack][output], len(expected))

    assert {status: event["resources"] for status, event in events.items()} == expected


@pytest.fixture(scope="session")
def consumed(deployed: Deployed, jobs: dict[str, str]) -> dict[str, Any]:
    """What came to the consumer's queue, by ending."""
    return received(deployed, deployed.outputs["ConsumerBus"]["QueueUrl"], len(jobs))


def test_consumer_in_another_account_gets_every_end(
    jobs: dict[str, str], consumed: dict[str, Any]
) -> None:
    """Every end is forwarded from the monitor's bus to the consumer's, and to the queue there.

    Both are in one account here, because the emulator delivers to no other: test_rules.py checks
    the accounts in the template.
    """
    assert {status: event["resources"] for status, event in consumed.items()} == {
        status: [arn] for status, arn in jobs.items()
    }


def test_function_of_the_example_counts_jobs_with_output(
    deployed: Deployed, jobs: dict[str, str]
) -> None:
    """It runs with its own role."""
    table = deployed.outputs["RuleToLambda"]["TotalsTableName"]
    dynamodb = deployed.emulator.client("dynamodb")

    def items() -> list[dict[str, Any]]:
        return dynamodb.scan(TableName=table)["Items"]

    wait_for(lambda: [item["jobs"]["N"] for item in items()] == ["2"], 30, what="two jobs")
    [total] = items()
    assert MODEL in total["modelId"]["S"]
    done = [
        deployed.monitor.history(jobs[status])[-1] for status in ("Completed", "PartiallyCompleted")
    ]
    assert int(total["recordsRead"]["N"]) == sum(item["successRecordCount"] for item in done) > 0


def test_each_end_starts_an_execution(deployed: Deployed, jobs: dict[str, str]) -> None:
    """The execution succeeds if the job has output."""
    client = deployed.emulator.client("stepfunctions")
    arn = deployed.outputs["RuleToStepFunctions"]["StateMachineArn"]

    def executions() -> list[dict[str, Any]]:
        listed = client.list_executions(stateMachineArn=arn)["executions"]
        return [client.describe_execution(executionArn=one["executionArn"]) for one in listed]

    wait_for(
        lambda: (
            [e["status"] for e in executions()].count("RUNNING") == 0
            and len(executions()) >= len(ENDINGS)
        ),
        30,
        what="the executions",
    )
    results = {json.loads(one["input"])["detail"]["data"]["status"]: one for one in executions()}
    assert {status: one["status"] for status, one in results.items()} == {
        "Completed": "SUCCEEDED",
        "PartiallyCompleted": "SUCCEEDED",
        "Failed": "FAILED",
    }
    output = json.loads(results["PartiallyCompleted"]["output"])
    assert (output["jobArn"], output["complete"]) == (jobs["PartiallyCompleted"], False)
    assert output["outputS3Uri"].startswith("s3://")
    assert results["Failed"]["error"] == "Failed"
    assert results["Failed"]["cause"] == jobs["Failed"]


def test_terraform_pattern_matches_jobs_in_trouble(
    deployed: Deployed, consumed: dict[str, Any]
) -> None:
    """EventBridge evaluates it for the events that were sent."""
    matched = {
        status
        for status, event in consumed.items()
        if deployed.emulator.client("events").test_event_pattern(
            EventPattern=json.dumps(rule_pattern()), Event=json.dumps(event)
        )["Result"]
    }

    assert matched == set(ENDINGS) & TROUBLE


@pytest.mark.parametrize("program", ["with_boto3.py", "with_partiql.py"])
def test_queries_of_the_examples_return_the_failed_job(
    deployed: Deployed, jobs: dict[str, str], reader: Caller, program: str
) -> None:
    """The program reads the deployed tables, with the role of the reader for boto3.

    PartiQL runs as root: the emulator requires an action that AWS does not have, ExecuteStatement,
    where AWS requires PartiQLSelect.
    """
    outputs = deployed.monitor.outputs
    root = deployed.emulator.caller_environment()
    result = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(EXAMPLES / "queries" / program), jobs["Failed"]],
        env={
            "PATH": os.environ["PATH"],
            **(root if program == "with_partiql.py" else reader.environment),
            "JOBS_TABLE": outputs.jobs_table_name,
            "HISTORY_TABLE": outputs.history_table_name,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout)

    assert (answers["active"], answers["cannotBeRead"]) == ([], [])
    [failed] = answers["failed"]
    [transition] = answers["transitions"]
    assert jobs["Failed"] in str(failed["jobArn"])
    assert jobs["Failed"] in str(answers["job"])
    assert "Failed" in str(transition["status"])


def test_submitter_can_only_track_and_untrack(deployed: Deployed, submitter: Caller) -> None:
    """The grant allows neither deleting nor reading nor changing the history."""
    table = deployed.monitor.outputs.jobs_table_name
    dynamodb = submitter.client("dynamodb")
    key = {"jobArn": {"S": deployed.bedrock.add_job()}}
    dynamodb.put_item(TableName=table, Item={**key, "tracking": {"S": "ACTIVE"}})
    dynamodb.update_item(TableName=table, Key=key, UpdateExpression="REMOVE tracking")

    for call in (
        lambda: dynamodb.delete_item(TableName=table, Key=key),
        lambda: dynamodb.get_item(TableName=table, Key=key),
        lambda: dynamodb.scan(TableName=table),
        lambda: dynamodb.put_item(
            TableName=deployed.monitor.outputs.history_table_name,
            Item={**key, "sequence": {"N": "1"}},
        ),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()


def test_reader_can_neither_scan_nor_write(
    deployed: Deployed, jobs: dict[str, str], reader: Caller
) -> None:
    """The grant allows queries."""
    table = deployed.monitor.outputs.jobs_table_name
    dynamodb = reader.client("dynamodb")
    key = {"jobArn": {"S": jobs["Failed"]}}
    found = dynamodb.batch_get_item(RequestItems={table: {"Keys": [key]}})["Responses"][table]
    assert [item["jobArn"] for item in found] == [key["jobArn"]]

    for call in (
        lambda: dynamodb.scan(TableName=table),
        lambda: dynamodb.put_item(TableName=table, Item=key),
        lambda: dynamodb.delete_item(TableName=table, Key=key),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            call()
