from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.cdk import ROOT, DeployError, cdk_deploy
from local.clients import Clients
from local.emulator import ACCOUNT, ROOT_SECRET, Emulator, EmulatorError
from local.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.cloud import Cloud

# Answers with its environment, or with what DynamoDB says to a write to the table that is named.
FUNCTION = """
import os
import pathlib
import tempfile
import time

import boto3
from botocore.exceptions import ClientError

def handler(event, context):
    if "sleep" in event:
        pathlib.Path(tempfile.gettempdir(), "started").touch()
        time.sleep(event["sleep"])
    if "table" not in event:
        return dict(os.environ)
    try:
        boto3.client("dynamodb").put_item(TableName=event["table"], Item={"key": {"S": "x"}})
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "written"
"""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator of the test's own, empty, without IAM enforcement yet."""
    with Emulator(environment={"AWS_ENDPOINT_URL_BEDROCK": "http://127.0.0.1:9"}) as running:
        yield running


def group_exists(group: int) -> bool:
    """Whether any process is left in a process group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def create_table(emulator: Emulator, name: str) -> None:
    """Make a table with the key attribute `key`."""
    emulator.client("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def create_role(emulator: Emulator, name: str, trusted: dict[str, str], *tables: str) -> str:
    """Make a role that may put items into `tables`, and nothing else; return its ARN."""
    iam = emulator.client("iam")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trusted}
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_policy(trust)))[
        "Role"
    ]["Arn"]
    write = {
        "Effect": "Allow",
        "Action": "dynamodb:PutItem",
        "Resource": [f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{table}" for table in tables],
    }
    iam.put_role_policy(
        RoleName=name, PolicyName="write", PolicyDocument=json.dumps(_policy(write))
    )
    return arn


def create_function(emulator: Emulator, role: str) -> None:
    """Make `FUNCTION` a function that runs with this role."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("main.py", FUNCTION)
    emulator.client("lambda").create_function(
        FunctionName="writer",
        Runtime="python3.14",
        Handler="main.handler",
        Role=role,
        Code={"ZipFile": code.getvalue()},
        Timeout=20,
    )


def invoke(emulator: Emulator, **event: str) -> Any:
    """Run the function and return its answer."""
    answer = emulator.client("lambda").invoke(
        FunctionName="writer", Payload=json.dumps(event).encode()
    )
    assert "FunctionError" not in answer
    return json.loads(answer["Payload"].read())


def _policy(statement: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [statement]}


def test_stop_leaves_no_process_and_no_file(emulator: Emulator) -> None:
    """After `stop`, neither the server nor a function that it ran nor its directory is there."""
    create_function(emulator, create_role(emulator, "role", {"Service": "lambda.amazonaws.com"}))
    invoke(emulator)
    group, directory = emulator.process_id, emulator.directory
    assert group_exists(group)

    emulator.stop()

    wait_for(lambda: not group_exists(group), what="the processes to end")
    assert not directory.exists()


def test_stop_does_not_wait_for_a_running_function(emulator: Emulator) -> None:
    """A function in the middle of an invocation is ended with the server."""
    create_function(emulator, create_role(emulator, "role", {"Service": "lambda.amazonaws.com"}))
    emulator.client("lambda").invoke(
        FunctionName="writer", InvocationType="Event", Payload=json.dumps({"sleep": 15}).encode()
    )
    started = emulator.directory / "tmp" / "started"
    wait_for(started.exists, what="the function to run")
    group = emulator.process_id
    before = time.monotonic()

    emulator.stop()

    wait_for(lambda: not group_exists(group), what="the processes to end")
    assert time.monotonic() - before < 10


def test_server_ends_with_a_killed_parent_process() -> None:
    """The server ends with the process that started it, even if that one could not clean up."""
    program = (
        "import sys; from local.emulator import Emulator; emulator = Emulator(); emulator.start();"
        "print(emulator.process_id, emulator.directory, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(  # noqa: S603 - this Python, a fixed program
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        group, directory = starter.stdout.readline().split()
        assert group_exists(int(group))

        starter.send_signal(signal.SIGKILL)

        wait_for(lambda: not group_exists(int(group)), what="the server to end")
    assert not Path(directory).exists()


def test_failed_start_raises_the_error_of_the_server() -> None:
    """The error of a failed start has the server's own words."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(EmulatorError, match=f"{port} is already in use"):
            Emulator(port=port).start()


def test_state_and_address_survive_a_restart(emulator: Emulator) -> None:
    """Tables with their items, queues under their old URLs and schedules are there afterwards."""
    create_table(emulator, "table")
    emulator.client("dynamodb").put_item(TableName="table", Item={"key": {"S": "kept"}})
    queue = emulator.client("sqs").create_queue(QueueName="queue")["QueueUrl"]
    emulator.client("sqs").send_message(QueueUrl=queue, MessageBody="kept")
    emulator.client("scheduler").create_schedule(
        Name="schedule",
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:queue",
            "RoleArn": "arn:aws:iam::1:role/r",
        },
    )

    emulator.enforce_iam()

    assert emulator.client("dynamodb").get_item(TableName="table", Key={"key": {"S": "kept"}})[
        "Item"
    ]
    messages = emulator.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    assert [message["Body"] for message in messages] == ["kept"]
    schedules = emulator.client("scheduler").list_schedules()["Schedules"]
    assert [schedule["Name"] for schedule in schedules] == ["schedule"]


def test_given_directory_keeps_the_state_for_the_next_emulator(tmp_path: Path) -> None:
    """A directory that was given stays, and an emulator started on it later finds its state."""
    with Emulator(directory=tmp_path) as first:
        create_table(first, "table")

    with Emulator(directory=tmp_path) as second:
        assert second.client("dynamodb").list_tables()["TableNames"] == ["table"]


def test_function_can_do_only_what_its_role_allows(emulator: Emulator) -> None:
    """With IAM enforced, a function writes to the table its role names and is denied another."""
    for table in ("allowed", "other"):
        create_table(emulator, table)
    role = create_role(emulator, "role", {"Service": "lambda.amazonaws.com"}, "allowed")
    create_function(emulator, role)
    assert invoke(emulator, table="other") == "written"

    emulator.enforce_iam()

    assert invoke(emulator, table="allowed") == "written"
    assert invoke(emulator, table="other") == "AccessDeniedException"


def test_transaction_needs_the_permission_for_each_item(emulator: Emulator) -> None:
    """With IAM enforced, one item that the caller may not put refuses the whole transaction."""
    for table in ("allowed", "other"):
        create_table(emulator, table)
    role = create_role(emulator, "role", {"AWS": ACCOUNT}, "allowed")
    emulator.enforce_iam()
    session = emulator.client("sts").assume_role(RoleArn=role, RoleSessionName="test")
    credentials = session["Credentials"]
    with Clients(
        emulator.url,
        access_key=credentials["AccessKeyId"],
        secret_key=credentials["SecretAccessKey"],
        session_token=credentials["SessionToken"],
        region="us-east-1",
    ) as client:

        def put(*tables: str) -> None:
            client("dynamodb").transact_write_items(
                TransactItems=[
                    {"Put": {"TableName": table, "Item": {"key": {"S": "x"}}}} for table in tables
                ]
            )

        put("allowed")
        with pytest.raises(ClientError, match="AccessDenied"):
            put("allowed", "other")


def test_unknown_access_key_is_refused_with_iam_enforced(emulator: Emulator) -> None:
    """With IAM enforced, an access key that was never issued opens nothing; root's does."""
    emulator.enforce_iam()
    stranger = Clients(emulator.url, access_key="AKIANOBODY", secret_key="x", region="us-east-1")  # noqa: S106 - belongs to nobody

    with stranger as client, pytest.raises(ClientError, match="security token"):
        client("sqs").list_queues()

    assert emulator.client("sqs").list_queues()["QueueUrls"] == []


def test_accounts_and_regions_are_separate(emulator: Emulator) -> None:
    """A table of one account and region is not seen from another account, nor another region."""
    create_table(emulator, "table")

    assert emulator.client("dynamodb").list_tables()["TableNames"] == ["table"]
    for account, region in (("111122223333", "us-east-1"), (ACCOUNT, "eu-west-1")):
        elsewhere = emulator.clients(account, region)("dynamodb")
        assert elsewhere.list_tables()["TableNames"] == []


def test_aws_settings_of_the_user_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile, credentials or an endpoint of the user neither break the emulator nor leak in."""
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUSER")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-user")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Emulator(environment={"AWS_ENDPOINT_URL_BEDROCK": "http://127.0.0.1:8"}) as emulator:
        role = create_role(emulator, "role", {"Service": "lambda.amazonaws.com"})
        create_function(emulator, role)

        seen = invoke(emulator)

        assert seen["AWS_ENDPOINT_URL"] == emulator.url
        assert seen["AWS_ENDPOINT_URL_BEDROCK"] == "http://127.0.0.1:8"
        assert not {"AWS_PROFILE", "HTTP_PROXY"} & seen.keys()
        assert (seen["AWS_ACCESS_KEY_ID"], seen["AWS_SECRET_ACCESS_KEY"]) == (ACCOUNT, ROOT_SECRET)
        assert seen["AWS_SESSION_TOKEN"] == ""


def test_failed_deployment_raises_the_output_of_the_command(
    emulator: Emulator, tmp_path: Path
) -> None:
    """What the app printed before it failed is in the error."""
    (tmp_path / "cdk.json").write_text(json.dumps({"app": "echo the app is broken >&2; exit 3"}))

    with pytest.raises(DeployError, match="the app is broken"):
        cdk_deploy(emulator, tmp_path, stack="Any")


def test_deployment_with_iam_enforced_is_refused(emulator: Emulator) -> None:
    """The order of deployment and enforcement cannot be got wrong without being told."""
    emulator.enforce_iam()

    with pytest.raises(DeployError, match="deploy first"):
        cdk_deploy(emulator, ROOT, stack="Any")


def test_subscription_receives_only_matching_events(cloud: Cloud) -> None:
    """Events on the deployed bus reach a subscriber in EventBridge's envelope, filtered."""
    with cloud.monitor.subscribe({"source": ["emulator-test"], "detail": {"n": [2]}}) as events:
        for n in (1, 2):
            cloud.monitor.send("Any Type", {"n": n}, source="emulator-test")

        [event] = events.receive()

        assert event["detail-type"] == "Any Type"
        assert event["detail"] == {"n": 2}
        assert event["account"] == ACCOUNT
        assert {"id", "time", "region", "resources"} <= event.keys()
        assert events.receive(0) == []


def test_dead_letters_are_read_despite_the_tls_policy(cloud: Cloud) -> None:
    """A message in the dead-letter queue, which refuses calls without TLS, is read once."""
    cloud.monitor.client("sqs").send_message(
        QueueUrl=cloud.monitor.outputs.dead_letter_queue_url, MessageBody="lost"
    )

    assert "lost" in cloud.monitor.take_dead_letters()
    assert "lost" not in cloud.monitor.take_dead_letters()


def test_deployed_function_polls_with_its_own_role(cloud: Cloud) -> None:
    """With IAM enforced the deployed function reads a job from Bedrock and records it."""
    arn = cloud.bedrock.add_job()
    cloud.monitor.track(arn)

    cloud.monitor.poll()

    job = cloud.monitor.job(arn)
    assert job is not None
    assert job["status"] == cloud.bedrock.job(arn)["status"]
    assert [entry["sequence"] for entry in cloud.monitor.history(arn)] == [1]
    assert cloud.monitor.function_log()


def test_role_policy_is_evaluated_for_calls_to_bedrock(cloud: Cloud) -> None:
    """The deployed role allows reading this region's jobs, and neither stopping nor other ones."""
    arn = cloud.bedrock.add_job()

    assert cloud.monitor.may("bedrock:GetModelInvocationJob", arn)
    assert not cloud.monitor.may("bedrock:StopModelInvocationJob", arn)
    elsewhere = arn.replace("us-east-1", "eu-west-1")
    assert not cloud.monitor.may("bedrock:GetModelInvocationJob", elsewhere)
