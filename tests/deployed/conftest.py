from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.cloud import Cloud, local_cloud

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
