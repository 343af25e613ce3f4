"""The same queries in PartiQL, with ExecuteStatement: `python with_partiql.py [JOB_ARN]`.

A statement needs a WHERE with `=` on the partition key of the table or index. Otherwise it reads
the whole table.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

JOBS = os.environ["JOBS_TABLE"]
HISTORY = os.environ["HISTORY_TABLE"]

ACTIVE = f"""
    SELECT * FROM "{JOBS}"."active-jobs" WHERE tracking = 'ACTIVE'
"""
CANNOT_BE_READ = f"""
    SELECT * FROM "{JOBS}"."active-jobs" WHERE tracking = 'ACTIVE' AND lastError IS NOT MISSING
"""
JOB = f"""
    SELECT * FROM "{JOBS}" WHERE jobArn = ?
"""
TRANSITIONS = f"""
    SELECT * FROM "{HISTORY}" WHERE jobArn = ?
"""
CHANGED_TO = f"""
    SELECT * FROM "{HISTORY}"."by-status" WHERE "status" = ? AND observedAt >= ?
"""

_dynamodb = boto3.client("dynamodb")


def execute(statement: str, *parameters: str) -> list[dict[str, Any]]:
    """Every item, page by page, with DynamoDB's types: `{"jobArn": {"S": "…"}}`."""
    arguments: dict[str, Any] = {"Statement": statement.strip()}
    if parameters:
        arguments["Parameters"] = [{"S": parameter} for parameter in parameters]
    items: list[dict[str, Any]] = []
    while True:
        answer = _dynamodb.execute_statement(**arguments)
        items += answer["Items"]
        if "NextToken" not in answer:
            return items
        arguments["NextToken"] = answer["NextToken"]


def main() -> None:
    """Print the answers as one JSON document."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    since = yesterday.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    answers = {
        "active": execute(ACTIVE),
        "cannotBeRead": execute(CANNOT_BE_READ),
        "failed": execute(CHANGED_TO, "Failed", since),
    }
    for job_arn in sys.argv[1:2]:
        answers |= {"job": execute(JOB, job_arn), "transitions": execute(TRANSITIONS, job_arn)}
    print(json.dumps(answers, indent=2))  # noqa: T201 - it is a program


if __name__ == "__main__":
    main()
