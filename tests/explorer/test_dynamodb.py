from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from tests.explorer.dynamodb import DynamoDB

SCHEMA: dict[str, Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": "id", "AttributeType": "S"},
        {"AttributeName": "n", "AttributeType": "N"},
        {"AttributeName": "flag", "AttributeType": "S"},
    ],
    "KeySchema": [
        {"AttributeName": "id", "KeyType": "HASH"},
        {"AttributeName": "n", "KeyType": "RANGE"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "flagged",
            "KeySchema": [
                {"AttributeName": "flag", "KeyType": "HASH"},
                {"AttributeName": "n", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a", "marks"]},
        }
    ],
}
NAMES = {"#a": "a", "#b": "b", "#marks": "marks", "#flag": "flag"}
_tables = itertools.count()

Operation = tuple[str, dict[str, Any]]

keys = st.builds(
    lambda identity, number: {"id": {"S": identity}, "n": {"N": str(number)}},
    st.sampled_from("xy"),
    st.sampled_from([1, 2, 10]),
)
strings = st.sampled_from(["", "u", "uv", "é"]).map(lambda text: {"S": text})
numbers = st.sampled_from(["0", "1", "2", "10", "-3"]).map(lambda digits: {"N": digits})
pending_events = st.sets(st.sampled_from("pqr"), min_size=1).map(
    lambda members: {"SS": sorted(members)}
)
maps = st.builds(lambda inner: {"M": {"c": inner}}, numbers)
# One type an attribute: moto fails where values of two types are compared.
bodies = st.fixed_dictionaries(
    {},
    optional={
        "a": numbers,
        "b": strings,
        "c": maps,
        "marks": pending_events,
        "flag": st.just({"S": "yes"}),
    },
)
# Each clause or test with the values that it uses.
updates = st.lists(
    st.one_of(
        numbers.map(lambda value: ("SET", "#a = {}", value)),
        numbers.map(lambda value: ("SET", "#a = #a + {}", value)),
        numbers.map(lambda value: ("SET", "#a = if_not_exists(#a, {})", value)),
        strings.map(lambda value: ("SET", "#b = if_not_exists(#b, {})", value)),
        maps.map(lambda value: ("SET", "c = {}", value)),
        numbers.map(lambda value: ("ADD", "#a {}", value)),
        pending_events.map(lambda value: ("ADD", "#marks {}", value)),
        pending_events.map(lambda value: ("DELETE", "#marks {}", value)),
        st.just(("SET", "#flag = {}", {"S": "yes"})),
        st.just(("REMOVE", "#flag", None)),
        st.just(("REMOVE", "#a", None)),
        st.just(("REMOVE", "#marks", None)),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda clause: clause[1].split()[0],
)
comparators = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
comparisons = st.builds(
    lambda comparator, value: (f"{'#a' if 'N' in value else '#b'} {comparator} {{}}", value),
    comparators,
    numbers | strings,
)
predicates = st.one_of(
    comparisons,
    st.sampled_from(["#a", "#flag", "#marks"]).map(
        lambda name: (f"attribute_exists({name})", None)
    ),
    st.sampled_from(["#a", "id"]).map(lambda name: (f"attribute_not_exists({name})", None)),
    st.sampled_from("pq").map(lambda member: ("contains(#marks, {})", {"S": member})),
    pending_events.map(lambda value: ("#marks = {}", value)),
    st.just(("begins_with(#b, {})", {"S": "u"})),
)
conditions = st.lists(
    st.tuples(st.sampled_from(["AND", "OR"]), st.booleans(), predicates), min_size=1, max_size=3
)


def with_condition(request: dict[str, Any], parts: Any) -> dict[str, Any]:
    """The request with a ConditionExpression and what it stands for."""
    if parts is None:
        return request
    text = ""
    given_values = dict(request.get("ExpressionAttributeValues", {}))
    for joint, negated, (test, value) in parts:
        placeholder = f":c{len(given_values)}"
        if value is not None:
            given_values[placeholder] = value
        test_text = test.format(placeholder)
        text += (f" {joint} " if text else "") + (f"NOT ({test_text})" if negated else test_text)
    return placed({**request, "ConditionExpression": text}, given_values)


def placed(request: dict[str, Any], given_values: dict[str, Any]) -> dict[str, Any]:
    """The request with its values and just those names that it uses."""
    texts = " ".join(value for name, value in request.items() if name.endswith("Expression"))
    used = {name: NAMES[name] for name in NAMES if name in texts}
    request = {name: value for name, value in request.items() if "ExpressionAttribute" not in name}
    if used:
        request["ExpressionAttributeNames"] = used
    if given_values:
        request["ExpressionAttributeValues"] = given_values
    return request


def update_of(key: dict[str, Any], clauses: Any, parts: Any) -> dict[str, Any]:
    """An update request."""
    given_values: dict[str, Any] = {}
    grouped: dict[str, list[str]] = {}
    for keyword, clause, value in clauses:
        placeholder = f":u{len(given_values)}"
        if value is not None:
            given_values[placeholder] = value
        grouped.setdefault(keyword, []).append(clause.format(placeholder))
    expression = " ".join(f"{keyword} {', '.join(found)}" for keyword, found in grouped.items())
    return with_condition(placed({"Key": key, "UpdateExpression": expression}, given_values), parts)


puts = st.builds(
    lambda key, body, parts: with_condition({"Item": {**key, **body}}, parts),
    keys,
    bodies,
    st.none() | conditions,
)
deletes = st.builds(
    lambda key, parts: with_condition({"Key": key}, parts), keys, st.none() | conditions
)
changes = st.builds(update_of, keys, updates, st.none() | conditions)
shown_old = st.sampled_from([{}, {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}])
transactions = st.lists(
    st.one_of(
        puts.map(lambda request: ("Put", request)),
        changes.map(lambda request: ("Update", request)),
        deletes.map(lambda request: ("Delete", request)),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda part: str(key_in(part[1])),
)
operations = st.one_of(
    st.builds(lambda request, more: ("put_item", request | more), puts, shown_old),
    st.builds(lambda request, more: ("update_item", request | more), changes, shown_old),
    deletes.map(lambda request: ("delete_item", request)),
    transactions.map(lambda parts: ("transact_write_items", {"parts": parts})),
)


def key_in(request: dict[str, Any]) -> dict[str, Any]:
    """The key that a request is about."""
    found = request.get("Key") or request["Item"]
    return {"id": found["id"], "n": found["n"]}


@pytest.fixture(scope="module")
def moto_client() -> Iterator[Any]:
    """A DynamoDB client on moto."""
    with pytest.MonkeyPatch.context() as environment, mock_aws():
        environment.setenv("AWS_ACCESS_KEY_ID", "testing")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
            environment.delenv(name, raising=False)
        yield boto3.client("dynamodb", region_name="us-east-1")


def outcome(call: Callable[..., Any], request: dict[str, Any]) -> Any:
    """What a call comes to, in the parts that callers look at."""
    try:
        call(**request)
    except ClientError as error:
        response: Any = error.response
        reasons = [
            (reason["Code"], reason.get("Item"))
            for reason in response.get("CancellationReasons", ())
        ]
        return response["Error"]["Code"], normal(response.get("Item")), reasons
    return None


def normal(item: Any) -> Any:
    """An item in which sets have an order."""
    if item is None:
        return None
    return {
        name: {"SS": sorted(value["SS"])} if "SS" in value else value
        for name, value in item.items()
    }


def contents(client: Any, table: str) -> list[Any]:
    """All that queries find: each partition, and the index in pages of one, backwards too."""
    found: list[Any] = []
    for identity in "xy":
        answer = client.query(
            TableName=table,
            KeyConditionExpression="id = :id AND n > :n",
            ExpressionAttributeValues={":id": {"S": identity}, ":n": {"N": "0"}},
            ConsistentRead=True,
        )
        found.append([normal(item) for item in answer["Items"]])
    for forward in (True, False):
        pages = client.get_paginator("query").paginate(
            TableName=table,
            IndexName="flagged",
            KeyConditionExpression="flag = :flag AND n BETWEEN :low AND :high",
            ExpressionAttributeValues={
                ":flag": {"S": "yes"},
                ":low": {"N": "1"},
                ":high": {"N": "9"},
            },
            ScanIndexForward=forward,
        )
        items = [normal(item) for page in pages for item in page["Items"]]
        # Entries of an index with the same sort key come in no order that is promised.
        assert [item["n"]["N"] for item in items] == sorted(
            (item["n"]["N"] for item in items), reverse=not forward
        )
        found.append(sorted(items, key=str))
    return found


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(operations, min_size=1, max_size=12))
def test_fake_dynamodb_responds_like_moto(moto_client: Any, steps: list[Operation]) -> None:
    """Any sequence of writes has the same results, errors and contents on both."""
    table = f"table-{next(_tables)}"
    ours = DynamoDB()
    for client in (moto_client, ours):
        client.create_table(TableName=table, **SCHEMA)
    for name, request in steps:
        if name == "transact_write_items":
            parts = [{kind: {"TableName": table, **part}} for kind, part in request["parts"]]
            asked: dict[str, Any] = {"TransactItems": parts}
        else:
            asked = {"TableName": table, **request}
        assert outcome(getattr(ours, name), asked) == outcome(getattr(moto_client, name), asked)
    assert contents(ours, table) == contents(moto_client, table)
    moto_client.delete_table(TableName=table)


def test_query_of_an_index_can_return_an_earlier_version() -> None:
    """The query names the number of versions to go back; the table itself is always current."""
    client = DynamoDB()
    client.create_table(TableName="table", **SCHEMA)
    item = {"id": {"S": "x"}, "n": {"N": "1"}, "flag": {"S": "yes"}}
    client.put_item(TableName="table", Item=item)
    client.put_item(TableName="table", Item={**item, "b": {"S": "not in the index"}})
    client.delete_item(TableName="table", Key={"id": {"S": "x"}, "n": {"N": "1"}})
    question: dict[str, Any] = {
        "TableName": "table",
        "IndexName": "flagged",
        "KeyConditionExpression": "flag = :flag",
        "ExpressionAttributeValues": {":flag": {"S": "yes"}},
    }
    counts = [client.query(versions_ago=ago, **question)["Count"] for ago in range(4)]
    assert counts == [0, 1, 0, 0]


@pytest.mark.parametrize(
    "request_",
    [
        {"UpdateExpression": "SET a = :v"},
        {"UpdateExpression": "SET a = :v", "ExpressionAttributeValues": {":v": {"SS": []}}},
        {"UpdateExpression": "SET #a = a", "ExpressionAttributeNames": {"#b": "b"}},
        {
            "UpdateExpression": "REMOVE a",
            "ExpressionAttributeNames": {"#unused": "b"},
        },
        {"UpdateExpression": "SET n = :v", "ExpressionAttributeValues": {":v": {"N": "1"}}},
        {
            "UpdateExpression": "SET a = :v REMOVE a",
            "ExpressionAttributeValues": {":v": {"N": "1"}},
        },
        {"UpdateExpression": "SET flag = :v", "ExpressionAttributeValues": {":v": {"N": "1"}}},
        {"UpdateExpression": "SET a ="},
        {"UpdateExpression": ""},
    ],
)
def test_malformed_request_is_refused(request_: dict[str, Any]) -> None:
    """A mistake that DynamoDB finds in a request is found here too, and nothing is written."""
    client = DynamoDB()
    client.create_table(TableName="table", **SCHEMA)
    key = {"id": {"S": "x"}, "n": {"N": "1"}}
    with pytest.raises(ClientError, match="ValidationException"):
        client.update_item(TableName="table", Key=key, **request_)
    assert client.tables["table"].items == {}
