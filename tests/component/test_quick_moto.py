"""moto responds the same with and without the shortcuts of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.dynamo_type import Item

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


@pytest.fixture
def without_shortcuts(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Switches to moto's own functions."""

    def switch() -> None:
        monkeypatch.setattr(Item, "project", quick_moto.MOTO_PROJECT)
        monkeypatch.setattr(
            BaseJSONSerializer, "_serialize_type_structure", quick_moto.MOTO_SERIALIZE
        )
        for validator in quick_moto.WHOLE_EXPRESSION:
            monkeypatch.setattr(validator, "traverse_node_recursively", quick_moto.MOTO_TRAVERSE)

    return switch


def test_shortcuts_of_moto_change_no_response(without_shortcuts: Callable[[], None]) -> None:
    """Reads of a whole item, of an index, of nested parts, and old values of a write."""
    quick_moto.use()
    quick = responses()
    without_shortcuts()

    assert quick == responses()
    assert quick[0] == ITEM


def test_shortcuts_of_moto_change_no_refusal(without_shortcuts: Callable[[], None]) -> None:
    """Updates with a path twice, with a part of it, and with a clause twice."""
    quick_moto.use()
    quick = problems()
    without_shortcuts()

    assert quick == problems()
    assert [problem is None for problem in quick] == [False, False, False, False, True]
