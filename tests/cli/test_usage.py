from __future__ import annotations

from typing import Any

import boto3
import pytest

from local.bedrock import Phase, Script
from tests.component.conftest import REGION
from tests.component.test_usage import BUCKET, MODEL, RULES, TOKENS, add_job, write_manifest

from .conftest import Bbm

DAY = 86400


@pytest.fixture
def used(bbm: Bbm) -> Bbm:
    """The command line of a deployment that can read manifests."""
    boto3.client("s3", region_name=REGION).create_bucket(Bucket=BUCKET)
    bbm.cloud = bbm.cloud.with_settings(usage=RULES)
    return bbm


def completed(bbm: Bbm, *, manifest: Any = None, **attributes: Any) -> str:
    """A job of ten records that has just completed and is recorded."""
    script = Script((Phase("InProgress", 1), Phase("Completed", None)))
    arn = add_job(bbm.cloud, script, total_records=10, **attributes)
    if manifest is not None:
        write_manifest(arn, manifest)
    bbm.cloud.bedrock.clock.advance(1)
    bbm.cloud.poll()
    return arn


def test_usage_has_totals_by_model_and_day(used: Bbm) -> None:
    """Jobs, records, tokens and cost for each day and model, the newest day first."""
    counts = {"inputTokenCount": 1_000_000, "outputTokenCount": 100_000}
    completed(used, manifest=counts)
    completed(used, manifest=counts, model_id=f"arn:aws:bedrock:{REGION}::foundation-model/{MODEL}")
    used.cloud.bedrock.clock.advance(DAY)
    completed(used, manifest={"inputTokenCount": 5}, model_id="amazon.nova-lite-v1:0")
    assert used.json("usage", "--since", "7d") == {
        "since": "2026-11-18T20:00:03.000Z",
        "usage": [
            {
                "day": "2026-11-25",
                "modelId": "amazon.nova-lite-v1:0",
                "jobs": 1,
                "records": 10,
                "tokens": {"input": 5},
                "jobsWithoutTokens": 0,
                "jobsWithoutCost": 1,
            },
            {
                "day": "2026-11-24",
                "modelId": MODEL,
                "jobs": 2,
                "records": 20,
                "tokens": {"input": 2_000_000, "output": 200_000},
                "estimatedCostUsd": 0.75,
                "jobsWithoutTokens": 0,
                "jobsWithoutCost": 0,
            },
        ],
        "total": {
            "jobs": 3,
            "records": 30,
            "tokens": {"input": 2_000_005, "output": 200_000},
            "estimatedCostUsd": 0.75,
            "jobsWithoutTokens": 0,
            "jobsWithoutCost": 1,
        },
    }


def test_usage_includes_tokens_that_became_known_later(used: Bbm) -> None:
    """They are only in the job's item."""
    arn = completed(used)
    assert used.json("usage")["total"]["jobsWithoutTokens"] == 1
    write_manifest(arn)
    used.cloud.bedrock.clock.advance(60)
    used.cloud.poll()
    assert used.json("usage")["total"]["tokens"] == TOKENS


def test_unknown_usage_is_counted_and_is_not_zero(used: Bbm) -> None:
    """Without known counts there are no sums. The usage of a deleted item is unknown."""
    arn = completed(used)
    used.cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": arn}})
    [line] = used.json("usage")["usage"]
    assert line == {
        "day": "2026-11-24",
        "modelId": MODEL,
        "jobs": 1,
        "records": 10,
        "jobsWithoutTokens": 1,
        "jobsWithoutCost": 1,
    }


def test_usage_omits_jobs_that_ended_before_the_period(used: Bbm) -> None:
    """No job ended in the period."""
    completed(used)
    used.cloud.bedrock.clock.advance(8 * DAY)
    document = used.json("usage", "--since", "7d")
    assert document["usage"] == []
    assert document["total"] == {"jobs": 0, "jobsWithoutTokens": 0, "jobsWithoutCost": 0}
    assert used("usage").out.startswith("No job ended since 2026-11-25")


def test_usage_includes_jobs_that_failed_or_were_stopped(used: Bbm) -> None:
    """A job that ended is counted however it ended. Its tokens are unknown."""
    add_job(used.cloud, "Failed")
    add_job(used.cloud, Script((Phase("Stopped", None),)), total_records=10)
    used.cloud.poll()
    total = used.json("usage", "--since", "7d")["total"]
    assert (total["jobs"], total["jobsWithoutTokens"]) == (2, 2)


def test_usage_table_has_a_row_for_each_day_and_model(used: Bbm) -> None:
    """The last row is the total. Amounts have four decimals."""
    completed(used, manifest={"inputTokenCount": 1_000_000, "outputTokenCount": 100_000})
    completed(used)
    heading, line, total = used("usage").lines
    assert heading.split() == [
        *("DAY", "(UTC)", "MODEL", "JOBS", "RECORDS", "INPUT", "OUTPUT", "USD", "UNKNOWN"),
    ]
    assert line.split() == ["2026-11-24", MODEL, "2", "20", "1,000,000", "100,000", "0.3750", "1"]
    assert total.split() == ["total", "2", "20", "1,000,000", "100,000", "0.3750", "1"]


def test_usage_in_a_narrow_terminal_always_shows_model_and_cost(used: Bbm) -> None:
    """Numbers are never truncated, and the version at the end of the model is kept."""
    completed(used, manifest={"inputTokenCount": 1_000_000, "outputTokenCount": 100_000})
    lines = used("usage", terminal=70).lines
    assert all("1.00 M" in line and "0.3750" in line for line in lines[1:])
    assert "…" in lines[1]
    narrow = used("usage", terminal=50).lines
    assert "-v1:0" in narrow[1]
    assert "0.3750" in narrow[1]


def test_usage_since_an_invalid_time_is_a_usage_error(used: Bbm) -> None:
    """As with every command that accepts a time."""
    answer = used("usage", "--since", "last week")
    assert answer.code == 2
    assert "--since 'last week' is not a time" in answer.err
