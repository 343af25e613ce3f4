"""moto responds the same with and without the shortcuts of the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.support import quick_moto
from tests.support.tables import create_tables

# One attribute of each type that an item can have, empty ones and nested ones too.
ITEM: dict[str, Any] = {
    "jobArn": {"S": "arn"},
    "tracking": {"S": "ACTIVE"},
    "status": {"S": ""},
    "sequence": {"N": "3.14"},
    "conditions": {"M": {"Stalled": {"M": {"since": {"S": "2026"}, "is": {"BOOL": False}}}}},
    "recordCounts": {"M": {}},
    "notes": {"L": [{"S": "a"}, {"L": []}, {"M": {"b": {"NULL": True}}}, {"NS": ["1", "2"]}]},
    "labels": {"SS": ["a", "b"]},
    "bytes": {"B": b"\x00\xff"},
    "sets": {"BS": [b"\x01"]},
}


def responses() -> list[Any]:
    """What moto answers to reads of an item, of an index, and of parts of it."""
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_tables(client)
        client.put_item(TableName="jobs", Item=ITEM)
        key = {"jobArn": {"S": "arn"}}
        index = {
            "TableName": "jobs",
            "IndexName": "active-jobs",
            "KeyConditionExpression": "tracking = :tracking",
            "ExpressionAttributeValues": {":tracking": {"S": "ACTIVE"}},
        }
        return [
            client.get_item(TableName="jobs", Key=key)["Item"],
            client.query(**index)["Items"],
            client.query(**index, ProjectionExpression="jobArn, conditions.Stalled")["Items"],
            client.scan(TableName="jobs", ProjectionExpression="notes[2].b, labels")["Items"],
            client.delete_item(TableName="jobs", Key=key, ReturnValues="ALL_OLD")["Attributes"],
        ]


# Update expressions that DynamoDB refuses, and one that it accepts.
UPDATES = (
    "SET a = :v, b = :v, a = :v",
    "SET a.b = :v, c = :v, a = :v",
    "SET a = :v SET b = :v",
    "REMOVE a SET b = :v REMOVE c",
    "SET a = :v, b = :v REMOVE c, d",
)


def problems() -> list[str | None]:
    """What moto says about each of the updates."""
    found: list[str | None] = []
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        create_tables(client)
        for expression in UPDATES:
            try:
                client.update_item(
                    TableName="jobs",
                    Key={"jobArn": {"S": "arn"}},
                    UpdateExpression=expression,
                    ExpressionAttributeValues={":v": {"S": "v"}},
                )
                found.append(None)
            except ClientError as error:
                found.append(str(error))
    return found


# A put, an update, a delete and a check; then one of each that fails after them.
KEY = {"jobArn": {"S": "arn"}}
UPDATE = {"UpdateExpression": "SET a = :v", "ExpressionAttributeValues": {":v": {"S": "v"}}}
OPERATIONS = (
    {"Put": {"TableName": "jobs", "Item": {"jobArn": {"S": "put"}, "a": {"S": "new"}}}},
    {"Update": {"TableName": "jobs", "Key": KEY, **UPDATE}},
    {"Update": {"TableName": "jobs", "Key": {"jobArn": {"S": "created"}}, **UPDATE}},
    {"Delete": {"TableName": "history", "Key": KEY | {"sequence": {"N": "1"}}}},
)
FAILURES = (
    {},
    {"ConditionCheck": {"TableName": "jobs", "Key": KEY, "ConditionExpression": "a = b"}},
    {"Update": {"TableName": "jobs", "Key": KEY, **UPDATE}},
    {
        "Update": {
            "TableName": "jobs",
            "Key": {"jobArn": {"S": "x"}},
            **UPDATE,
            "UpdateExpression": "!",
        }
    },
)


def transactions() -> list[Any]:
    """What moto says to each transaction, and the items after it."""
    found: list[Any] = []
    for failure in FAILURES:
        with mock_aws():
            client = boto3.client("dynamodb", region_name="us-east-1")
            create_tables(client)
            client.put_item(TableName="jobs", Item=ITEM)
            for number in ("1", "2"):
                entry = KEY | {"sequence": {"N": number}}
                client.put_item(TableName="history", Item=entry)
            try:
                client.transact_write_items(
                    TransactItems=[*OPERATIONS, *([failure] if failure else [])]
                )
            except ClientError as error:
                found.append((str(error), error.response.get("CancellationReasons")))
            found.append([client.scan(TableName=name)["Items"] for name in ("jobs", "history")])
    return found


@pytest.fixture
def without_shortcuts() -> Iterator[Callable[[], None]]:
    """Switches to moto's own functions."""
    yield lambda: quick_moto.use(quick_moto.ORIGINALS)
    quick_moto.use()


@pytest.mark.parametrize("ask", [responses, problems, transactions])
def test_shortcuts_of_moto_change_no_answer(
    without_shortcuts: Callable[[], None], ask: Callable[[], list[Any]]
) -> None:
    """Reads of items, updates that are refused, and transactions that change all or nothing."""
    quick = ask()
    without_shortcuts()

    assert quick == ask()


def test_compared_answers_are_of_many_kinds() -> None:
    """Or the comparison would prove nothing."""
    assert responses()[0] == ITEM
    assert [problem is None for problem in problems()] == [False, False, False, False, True]
    accepted, *refused = transactions()
    assert [len(items) for items in accepted] == [3, 1]
    assert [[len(items) for items in after] for after in refused[1::2]] == [[1, 2]] * 3
