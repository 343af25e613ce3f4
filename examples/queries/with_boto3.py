"""Queries of both tables, with boto3: `python with_boto3.py [JOB_ARN]`.

`JOBS_TABLE` and `HISTORY_TABLE` are the stack's outputs `JobsTableName` and `HistoryTableName`.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from boto3.dynamodb.conditions import Attr, Key

_dynamodb = boto3.resource("dynamodb")
jobs = _dynamodb.Table(os.environ["JOBS_TABLE"])
history = _dynamodb.Table(os.environ["HISTORY_TABLE"])


def query(table: Any, **arguments: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any table's
    """Every item, page by page: one answer has at most 1 MB."""
    items = []
    while True:
        answer = table.query(**arguments)
        items += answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return items
        arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def active_jobs() -> list[dict[str, Any]]:
    """The active jobs, with their progress."""
    return query(jobs, IndexName="active-jobs", KeyConditionExpression=Key("tracking").eq("ACTIVE"))


def jobs_that_cannot_be_read() -> list[dict[str, Any]]:
    """The active jobs that cannot be read; `lastError` has the reason."""
    return query(
        jobs,
        IndexName="active-jobs",
        KeyConditionExpression=Key("tracking").eq("ACTIVE"),
        FilterExpression=Attr("lastError").exists(),
    )


def job(job_arn: str) -> dict[str, Any] | None:
    """The item of one job; None if it was never tracked."""
    return jobs.get_item(Key={"jobArn": job_arn}, ConsistentRead=True).get("Item")


def transitions(job_arn: str) -> list[dict[str, Any]]:
    """The transitions of one job, the oldest first."""
    return query(history, KeyConditionExpression=Key("jobArn").eq(job_arn))


def changed_to(status: str, since: datetime) -> list[dict[str, Any]]:
    """The transitions to a status since a time, the newest first."""
    moment = since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return query(
        history,
        IndexName="by-status",
        KeyConditionExpression=Key("status").eq(status) & Key("observedAt").gte(moment),
        ScanIndexForward=False,
    )


def main() -> None:
    """Print the answers as one JSON document."""
    answers: dict[str, Any] = {
        "active": active_jobs(),
        "cannotBeRead": jobs_that_cannot_be_read(),
        "failed": changed_to("Failed", datetime.now(UTC) - timedelta(days=1)),
    }
    for job_arn in sys.argv[1:2]:
        answers |= {"job": job(job_arn), "transitions": transitions(job_arn)}
    print(json.dumps(answers, indent=2, default=str))  # noqa: T201 - it is a program


if __name__ == "__main__":
    main()
