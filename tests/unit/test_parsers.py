"""The quick parsers of responses, compared with botocore's own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.parsers import JSONParser, RestJSONParser
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs, listed_job, listed_state
from bedrock_batch_monitor.adapters.dynamodb.connection import connect
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.parsers import (
    BedrockParser,
    DynamoDBParser,
    QuickParsers,
    quick_parsers,
)
from bedrock_batch_monitor.domain.list_pages import Listing
from tests.support.network import Network, session

TEXTS = st.text(max_size=8)
NUMBERS = st.integers().map(str) | st.decimals(allow_nan=False, allow_infinity=False).map(str)
SIMPLE = st.one_of(
    st.fixed_dictionaries({"S": TEXTS}),
    st.fixed_dictionaries({"N": NUMBERS}),
    st.fixed_dictionaries({"BOOL": st.booleans()}),
    st.fixed_dictionaries({"NULL": st.just(value=True)}),
    st.fixed_dictionaries({"SS": st.lists(TEXTS, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"NS": st.lists(NUMBERS, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"B": st.just("AAEC")}),
    st.fixed_dictionaries({"BS": st.just(["AAEC", "/w=="])}),
)
ATTRIBUTES = st.recursive(
    SIMPLE,
    lambda inner: (
        st.fixed_dictionaries({"M": st.dictionaries(TEXTS, inner, max_size=3)})
        | st.fixed_dictionaries({"L": st.lists(inner, max_size=3)})
    ),
    max_leaves=6,
)
# What DynamoDB never sends: several types, none, no object, a type that the SDK does not know.
ODD = st.sampled_from(
    [
        *({}, {"S": "a", "N": "1"}, {"S": None}, {"X": "a"}, {"M": {"a": {"S": "b"}}}),
        *({"SS": "abc"}, {"NS": {"a": 1}}, {"SS": 5}, "S", None),
    ]
)
# JSON has one type for numbers, so a count can be written as 1000, 1000.0 or 1e3.
COUNTS = st.integers(0, 10**6) | st.integers(0, 10**6).map(float)
TIMES = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)).map(  # noqa: DTZ001 - UTC, below
    lambda at: at.replace(tzinfo=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
)


def shape_of(service: str, operation: str) -> Any:
    """The shape of an operation's answer."""
    return (
        session().client(service).meta.service_model.operation_model(operation).output_shape  # type: ignore[call-overload]
    )


QUERY = shape_of("dynamodb", "Query")
LIST = shape_of("bedrock", "ListModelInvocationJobs")


def parsed(parser: Any, shape: Any, document: object) -> Any:
    """What a parser makes of a document, or the type of the exception."""
    response = {"status_code": 200, "headers": {}, "body": json.dumps(document).encode()}
    try:
        return parser.parse(response, shape)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        return type(error), str(error)


@given(st.lists(st.dictionaries(TEXTS, ATTRIBUTES, max_size=5), max_size=3))
def test_parsed_items_equal_those_of_botocore(items: list[Any]) -> None:
    """Attributes of every type, also within maps and lists."""
    document = {"Items": items, "Count": len(items), "LastEvaluatedKey": {"a": {"S": "b"}}}

    assert parsed(DynamoDBParser(), QUERY, document) == parsed(JSONParser(), QUERY, document)


@given(st.dictionaries(TEXTS, ODD | ATTRIBUTES, max_size=3))
def test_malformed_items_are_parsed_as_by_botocore(item: Any) -> None:
    """An invalid attribute has the same result, or the same error."""
    document = {"Items": [item]}

    assert parsed(DynamoDBParser(), QUERY, document) == parsed(JSONParser(), QUERY, document)


@given(
    st.fixed_dictionaries(
        {"jobArn": TEXTS, "jobName": TEXTS, "submitTime": TIMES},
        optional={
            "status": TEXTS,
            "endTime": TIMES,
            "lastModifiedTime": TIMES,
            "jobExpirationTime": TIMES,
            "modelId": TEXTS,
            "totalRecordCount": COUNTS,
            "processedRecordCount": COUNTS,
            "inputDataConfig": st.just({"s3InputDataConfig": {"s3Uri": "s3://a/b"}}),
            "message": TEXTS,
        },
    )
)
def test_parsed_summaries_equal_those_of_botocore(summary: dict[str, Any]) -> None:
    """A summary that is not converted makes the same listed job."""
    document = {"invocationJobSummaries": [summary], "nextToken": "t"}
    quick = parsed(BedrockParser(), LIST, document)
    own = parsed(RestJSONParser(), LIST, document)

    assert quick.keys() == own.keys()
    for read in (listed_job, listed_state):
        assert [read(each) for each in quick["invocationJobSummaries"]] == [
            read(each) for each in own["invocationJobSummaries"]
        ]


def test_only_summaries_are_left_as_the_document_has_them() -> None:
    """A page has thousands of them; botocore parses every other list, without unknown members."""
    summary = {"jobArn": "a", "submitTime": "2026-11-24T20:00:00Z", "other": 1}
    summaries = parsed(BedrockParser(), LIST, {"invocationJobSummaries": [summary]})
    assert summaries["invocationJobSummaries"] == [summary]
    tags = {"tags": [{"key": "team", "value": "search", "other": 1}]}
    of_tags = shape_of("bedrock", "ListTagsForResource")
    assert parsed(BedrockParser(), of_tags, tags)["tags"] == [{"key": "team", "value": "search"}]


@pytest.mark.parametrize("odd", ["no time", "2026-13-01T00:00:00Z", [], {}, "9" * 400])
def test_page_with_an_invalid_time_is_unusable(odd: object) -> None:
    """As with botocore's parser: the jobs of such a page are fetched."""
    network = Network()
    own = session()
    jobs = BatchInferenceJobs.connect(own, "us-east-1", 1)
    jobs._client.meta.events.register_first(
        "before-send", lambda request, **_: network.send(request)
    )
    summary = {"jobArn": "a", "jobName": "b", "submitTime": odd}
    network.answers = [json.dumps({"invocationJobSummaries": [summary]}).encode()]

    with pytest.raises(ServiceError) as raised:
        jobs.page(Listing(datetime(2026, 11, 24, tzinfo=UTC)), None)
    assert raised.value.code == "Bedrock.UnusableAnswer"


@pytest.mark.parametrize("protocol", ["query", "ec2", "rest-xml", "smithy-rpc-v2-cbor"])
def test_other_protocols_are_parsed_by_botocore(protocol: str) -> None:
    """Only the protocols of Bedrock and DynamoDB have quick parsers."""
    parser = QuickParsers().create_parser(protocol)

    assert type(parser).__module__ == "botocore.parsers"


def test_clients_keep_the_parsers_of_their_session() -> None:
    """Clients that are created outside of the block have botocore's parsers."""

    def read(client: Any) -> Any:
        network = Network(b'{"Item": {"a": {"S": "b"}, "c": {"B": "AAEC"}}}')
        client.meta.events.register_first("before-send", lambda request, **_: network.send(request))
        return client.get_item(TableName="t", Key={"a": {"S": "b"}})["Item"]

    def factory_of(client: Any) -> Any:
        return client._endpoint._response_parser_factory

    own: boto3.Session = session()
    before = own.client("dynamodb")
    with quick_parsers(own):
        inside = own.client("dynamodb")
    after = own.client("dynamodb")

    assert isinstance(factory_of(inside), QuickParsers)
    assert isinstance(factory_of(connect(own, 1)), QuickParsers)
    assert not isinstance(factory_of(before), QuickParsers)
    assert not isinstance(factory_of(after), QuickParsers)
    assert read(inside) == read(after) == {"a": {"S": "b"}, "c": {"B": b"\x00\x01\x02"}}
