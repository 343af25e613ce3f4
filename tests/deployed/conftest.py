from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.cloud import Cloud, local_cloud
from local.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent
# Where the stand-in's jobs have their output.
OUTPUT_BUCKET = "batch-output-000000000000"
INPUT_BUCKET = "batch-input-000000000000"
RETRY_BUCKET = "batch-retries"
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
TOKEN_PRICES = {MODEL: {"input": 0.001, "output": 0.002}}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this directory in one worker: they share one deployment."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("deployed"))


@contextmanager
def example_stack(cloud: Cloud, name: str, template: dict[str, Any]) -> Iterator[str]:
    """Deploy the synthesized template of an example that has one output, which is returned."""
    # Both are checks of the cdk command, which uploads assets: the stack has no assets.
    template["Parameters"].pop("BootstrapVersion")
    template.pop("Rules")
    client = cloud.monitor.client("cloudformation")
    client.create_stack(
        StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"]
    )

    def outputs() -> list[Any]:
        [stack] = client.describe_stacks(StackName=name)["Stacks"]
        assert "FAILED" not in stack["StackStatus"], stack
        assert "ROLLBACK" not in stack["StackStatus"], stack
        return list(stack.get("Outputs", ()))

    [output] = wait_for(outputs, 30, what="the example's stack")
    yield output["OutputValue"]
    client.delete_stack(StackName=name)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """The local cloud with the app deployed, IAM enforced, and the files of jobs readable.

    Both topics of notifications are there too. All other settings are at their defaults.
    Its scheduler polls every minute of its own accord, next to the polls of a test.
    """
    context = {
        "outputBuckets": f"{OUTPUT_BUCKET},{INPUT_BUCKET}",
        "recordErrors": "on",
        "retryFilePrefix": f"s3://{RETRY_BUCKET}/batch",
        "tokenPrices": json.dumps(TOKEN_PRICES),
        "notifyEmail": "team@example.com",
        "notifyChat": "true",
    }
    with local_cloud(context=context) as running:
        for bucket in (OUTPUT_BUCKET, INPUT_BUCKET, RETRY_BUCKET):
            running.monitor.client("s3").create_bucket(Bucket=bucket)
        yield running
