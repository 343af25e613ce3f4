"""moto responds the same with and without the shortcuts of the tests."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
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


def test_shortcuts_of_moto_change_no_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads of a whole item, of an index, of nested parts, and old values of a write."""
    monkeypatch.setattr(Item, "project", quick_moto.project)
    monkeypatch.setattr(BaseJSONSerializer, "_serialize_type_structure", quick_moto.serialize)
    quick = responses()
    monkeypatch.setattr(Item, "project", quick_moto.MOTO_PROJECT)
    monkeypatch.setattr(BaseJSONSerializer, "_serialize_type_structure", quick_moto.MOTO_SERIALIZE)

    assert quick == responses()
    assert quick[0] == ITEM
