"""`make package`, deployed as its output says: without the CDK, Node or a bootstrap stack."""

from __future__ import annotations

from pathlib import Path

import pytest

import package
from bedrock_batch_monitor_cdk.settings_file import SETTINGS_VARIABLE
from local.bedrock import Phase, Script, StandIn
from local.deployment import STACK, deployment_of
from local.emulator import Emulator
from local.waiting import wait_for
from tests.support.contracts import assert_keeps_to_schema

BUCKET = "artifacts"


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The archive and the template that `make package BUCKET=artifacts` writes."""
    monkeypatch.setattr(package, "PACKAGE", tmp_path / "package")
    monkeypatch.setenv(SETTINGS_VARIABLE, "")
    assert package.main(["--bucket", BUCKET]) == 0
    [archive] = (tmp_path / "package").glob("*.zip")
    return archive, tmp_path / "package" / package.TEMPLATE


def test_package_reports_the_end_of_a_job(packaged: tuple[Path, Path]) -> None:
    """Template and archive in a bucket are enough for a stack that follows a job to its end."""
    archive, template = packaged
    ends = Script((Phase("InProgress", 3600), Phase("Completed", None)))
    with (
        StandIn() as bedrock,
        Emulator(environment={"AWS_ENDPOINT_URL_BEDROCK": bedrock.endpoint_url}) as emulator,
    ):
        bedrock.account_of = emulator.account_of
        s3 = emulator.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        for file in (archive, template):
            s3.put_object(Bucket=BUCKET, Key=file.name, Body=file.read_bytes())
        stacks = emulator.client("cloudformation")
        stacks.create_stack(
            StackName=STACK,
            TemplateURL=f"{emulator.url}/{BUCKET}/{template.name}",
            # The bucket is the default of its parameter.
            Parameters=[{"ParameterKey": "FunctionMemoryMegabytes", "ParameterValue": "768"}],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )

        def outputs() -> dict[str, str] | None:
            [stack] = stacks.describe_stacks(StackName=STACK)["Stacks"]
            if stack["StackStatus"].endswith("IN_PROGRESS"):
                return None
            assert stack["StackStatus"] == "CREATE_COMPLETE", stack
            return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

        values = wait_for(outputs, 120, what="the stack")
        monitor = deployment_of(emulator, values)
        names = [one["StackName"] for one in stacks.describe_stacks()["Stacks"]]
        function = monitor.client("lambda").get_function_configuration(
            FunctionName=monitor.outputs.monitor_function_name
        )

        arn = bedrock.add_job(script=ends)
        with monitor.subscribe() as subscription:
            monitor.track(arn)
            monitor.poll()
            bedrock.clock.advance(3600)
            monitor.poll()
            [event, *_] = subscription.receive()

    assert names == [STACK]
    assert function["MemorySize"] == 768
    assert event["resources"] == [arn]
    assert event["detail"]["data"]["status"] == "Completed"
    assert_keeps_to_schema(event)
