"""The Bedrock adapter parses Bedrock's responses: a real client without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.session
import pytest
from botocore import exceptions as sdk
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.adapters.bedrock import (
    BatchInferenceJobs,
    listed_job,
    listed_state,
    observation,
)
from bedrock_batch_monitor.adapters.errors import UNUSABLE_ANSWER, ServiceError
from bedrock_batch_monitor.domain.jobs import CUT, JobObservation, ListedState, RecordCounts
from bedrock_batch_monitor.domain.list_pages import ListedJob, Listing, ListPage
from bedrock_batch_monitor.domain.times import plausible
from tests.support.network import Network, session
from tests.support.strategies import ARN

LISTING = Listing(datetime(2026, 11, 24, tzinfo=UTC))
SUBMITTED = "2026-11-24T20:00:00Z"
MEMBERS = [
    *botocore.session.get_session()
    .get_service_model("bedrock")
    .operation_model("GetModelInvocationJob")
    .output_shape.members
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text()
    | st.sampled_from([SUBMITTED, "9999-12-31T23:59:59-14:00", 1e300]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["s3InputDataConfig", "s3Uri", "subnetIds", "other"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(st.sampled_from(MEMBERS), VALUES)


@pytest.fixture(scope="module")
def reader() -> BatchInferenceJobs:
    return BatchInferenceJobs.connect(session(), "us-east-1", 1)


@pytest.fixture
def jobs(reader: BatchInferenceJobs) -> tuple[BatchInferenceJobs, Network]:
    """The adapter over a network of its own."""
    return reader, on(reader)


def on(reader: BatchInferenceJobs, *answers: Any) -> Network:
    network = Network(*answers)
    client: Any = reader._client
    client._endpoint.http_session = network
    return network


def summary(name: str, **members: Any) -> dict[str, Any]:
    return {"jobArn": f"arn-{name}", "jobName": name, "submitTime": SUBMITTED, **members}


def page(*names: str, token: object = None) -> bytes:
    """The body of a page, without `nextToken` if there is no token."""
    document: dict[str, Any] = {"invocationJobSummaries": [summary(name) for name in names]}
    if token is not None:
        document["nextToken"] = token
    return json.dumps(document).encode()


def names(found: ListPage[ListedJob]) -> list[str]:
    return [job.job_name for job in found.jobs]


# Counts


COUNTS = ("totalRecordCount", "processedRecordCount", "successRecordCount", "errorRecordCount")


@pytest.mark.parametrize(
    ("reported", "known"),
    [
        ((0, 0, 0, 0), RecordCounts()),
        ((0, None, None, None), RecordCounts()),
        ((0, 5, 4, 1), RecordCounts()),
        ((10, 0, 0, 0), RecordCounts(10, 0, 0, 0)),
        ((10, 5, 4, 1), RecordCounts(10, 5, 4, 1)),
        ((None, 0, 0, 0), RecordCounts(None, 0, 0, 0)),
        ((None, None, None, None), RecordCounts()),
        ((False, 5, 4, 1), RecordCounts(None, 5, 4, 1)),
        ((-1, 5, 4, 1), RecordCounts(None, 5, 4, 1)),
    ],
)
def test_counts_are_unknown_while_the_total_is_zero(
    reported: tuple[int | None, ...], known: RecordCounts
) -> None:
    """Bedrock returns 0 until a job has been validated; later counts of 0 are known."""
    counts = {
        name: count for name, count in zip(COUNTS, reported, strict=True) if count is not None
    }
    answer = {"jobArn": ARN, "status": "Validating", **counts}
    assert observation(ARN, answer).counts == known
    submitted = {"submitTime": datetime(2026, 11, 24, tzinfo=UTC)}
    for read in (listed_job, listed_state):
        listed = read(summary("a", **counts) | submitted)
        assert listed is not None
        assert listed.counts == known


# Pages of a list


@pytest.mark.parametrize("token", [None, ""])
def test_empty_token_ends_a_list(
    jobs: tuple[BatchInferenceJobs, Network], token: str | None
) -> None:
    """The SDK's own paginator handles it this way, and some services send it."""
    reader, network = jobs
    network.answers = [page("a", token="next"), page("b", token=token)]  # noqa: S106 - no secret
    assert [names(found) for found in reader.pages(LISTING)] == [["a"], ["b"]]
    assert ["nextToken=next" in url for url in network.sent] == [False, True]


@pytest.mark.parametrize(
    ("listing", "query"),
    [
        (LISTING, {"sortOrder": "Ascending"}),
        (Listing(LISTING.submitted_after, status="Failed"), {"statusEquals": "Failed"}),
        (Listing(LISTING.submitted_after, name_contains="daily"), {"nameContains": "daily"}),
        (
            Listing(
                LISTING.submitted_after,
                submitted_before=datetime(2026, 11, 25, tzinfo=UTC),
                newest_first=True,
            ),
            {"submitTimeBefore": "2026-11-25T00:00:00Z", "sortOrder": "Descending"},
        ),
    ],
)
def test_request_has_what_limits_and_orders_the_list(
    jobs: tuple[BatchInferenceJobs, Network], listing: Listing, query: dict[str, str]
) -> None:
    """And nothing else: a limit that is not set hides no job."""
    reader, network = jobs
    network.answers = [page("a")]
    reader.page(listing, None)
    [url] = network.sent
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "submitTimeAfter": "2026-11-24T00:00:00Z",
        "sortBy": "CreationTime",
        "sortOrder": "Ascending",
        "maxResults": "1000",
        **query,
    }


def test_empty_page_with_a_token_does_not_end_a_list(
    jobs: tuple[BatchInferenceJobs, Network],
) -> None:
    reader, network = jobs
    network.answers = [page(token="1"), page("a", token="2"), page(token="3"), page("b")]  # noqa: S106
    assert [names(found) for found in reader.pages(LISTING)] == [[], ["a"], [], ["b"]]
    network.answers = [page(token="1"), page("a", token="2"), page(token="3"), page("b")]  # noqa: S106
    assert [job.job_name for page in reader.pages(LISTING) for job in page.jobs] == ["a", "b"]


def test_list_is_requested_with_as_many_jobs_per_page_as_the_api_gives(
    jobs: tuple[BatchInferenceJobs, Network],
) -> None:
    """Oldest first, or newest first."""
    reader, network = jobs
    operation = reader._client.meta.service_model.operation_model("ListModelInvocationJobs")
    most = operation.input_shape.members["maxResults"].metadata["max"]
    for listing, order in (
        (LISTING, "Ascending"),
        (replace(LISTING, newest_first=True), "Descending"),
    ):
        network.answers = [page()]
        assert [*reader.pages(listing)]
        assert f"maxResults={most}&" in f"{network.sent[-1]}&"
        assert f"sortOrder={order}" in network.sent[-1]


def test_page_is_requested_only_when_the_caller_reads_it(
    jobs: tuple[BatchInferenceJobs, Network],
) -> None:
    """Between two pages the caller checks the time, and can stop."""
    reader, network = jobs
    network.answers = [page("a", token="1"), page("b", token="2"), page("c")]  # noqa: S106
    pages = reader.pages(LISTING)
    assert network.sent == []
    assert names(next(pages)) == ["a"]
    assert len(network.sent) == 1
    second = next(pages)
    assert (names(second), second.next_token) == (["b"], "2")
    assert [names(found) for found in reader.pages(LISTING, second.next_token)] == [["c"]]
    assert "nextToken=2" in network.sent[-1]
    assert len(network.sent) == 3


def test_pages_before_a_failed_page_are_returned(jobs: tuple[BatchInferenceJobs, Network]) -> None:
    """The error follows them, and the list continues from the last token."""
    reader, network = jobs
    network.answers = [page("a", token="1"), 500]  # noqa: S106
    pages = reader.pages(LISTING)
    first = next(pages)
    assert names(first) == ["a"]
    with pytest.raises(ServiceError) as caught:
        next(pages)
    assert (caught.value.status, caught.value.is_retryable) == (500, True)
    network.answers = [page("b")]
    assert [names(found) for found in reader.pages(LISTING, first.next_token)] == [["b"]]


@pytest.mark.parametrize(
    ("tokens", "begin", "asked"),
    [
        (["1", "1"], None, 2),
        (["1"], "1", 1),
        (["1", "2", "1"], None, 3),
        (["1", "2", "3", "2"], None, 4),
        (["2", "1"], "1", 2),
    ],
)
def test_list_with_repeated_tokens_ends_with_an_error(
    jobs: tuple[BatchInferenceJobs, Network], tokens: list[str], begin: str | None, asked: int
) -> None:
    """The response is unusable, however many pages pass before a token repeats."""
    reader, network = jobs
    network.answers = [page(token, token=token) for token in tokens]
    with pytest.raises(ServiceError, match=r"itself|circle") as caught:
        list(reader.pages(LISTING, begin))
    assert caught.value.reason == UNUSABLE_ANSWER
    assert caught.value.is_retryable
    assert len(network.sent) == asked


@pytest.mark.parametrize("token", [5, 0.5, True])
def test_token_that_is_not_a_string_is_refused(
    jobs: tuple[BatchInferenceJobs, Network], token: object
) -> None:
    reader, network = jobs
    network.answers = [page("a", token=token)]
    with pytest.raises(ServiceError, match="the token of the next page is not a text"):
        reader.page(LISTING, None)


@pytest.mark.parametrize("token", [None, "next"])
@pytest.mark.parametrize(
    "body",
    [page("a")[:20], b"<html><body>It works!</body></html>", b'"text"', b"[[]]"],
    ids=["cut off", "html", "text", "list"],
)
def test_response_without_a_list_is_not_an_empty_list(
    jobs: tuple[BatchInferenceJobs, Network], body: bytes, token: str | None
) -> None:
    """An empty list would move the discovery bookmark past jobs that were never read."""
    reader, network = jobs
    network.answers = [body]
    with pytest.raises(ServiceError) as caught:
        reader.page(LISTING, token)
    assert caught.value.reason == UNUSABLE_ANSWER


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "2026-11-24T20:00:00+24:00"])
def test_time_out_of_range_hides_no_job_of_its_page(text: str) -> None:
    """Botocore reads times that have no equivalent in UTC; one of them must not spoil its page."""
    odd = parse_timestamp(text)

    found = listed_job(summary("a") | {"submitTime": odd, "endTime": odd})

    assert found is not None
    assert plausible(found.submit_time, datetime(2026, 11, 24, tzinfo=UTC)) is None
    assert found.end_time is None
    assert (
        observation(
            found.job_arn, {"jobArn": found.job_arn, "status": "Failed", "endTime": odd}
        ).end_time
        is None
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"{}",
        b'{"invocationJobSummaries": []}',
        b'{"invocationJobSummaries": null, "nextToken": ""}',
        (200, b"", {}),
        (200, b'{ "other": 1 }', {"content-length": "unknown"}),
        (200, b"{}", {"content-length": "22", "content-encoding": "identity"}),
    ],
    ids=str,
)
def test_list_without_jobs_is_valid(
    jobs: tuple[BatchInferenceJobs, Network], answer: bytes | tuple[int, bytes, dict[str, str]]
) -> None:
    """Whether an empty page has the member `invocationJobSummaries` is not documented."""
    reader, network = jobs
    network.answers = [answer]
    assert list(reader.pages(LISTING)) == [ListPage((), None)]


def test_summary_without_a_job_is_skipped(
    jobs: tuple[BatchInferenceJobs, Network],
) -> None:
    reader, network = jobs
    odd: list[Any] = [
        {"jobName": "no ARN", "submitTime": SUBMITTED},
        {"jobArn": "no name", "submitTime": SUBMITTED},
        {"jobArn": "no time", "jobName": "no time"},
        summary("good"),
    ]
    network.answers = [json.dumps({"invocationJobSummaries": odd}).encode()]
    assert names(reader.page(LISTING, None)) == ["good"]


def test_state_of_a_summary_requires_only_its_arn(
    jobs: tuple[BatchInferenceJobs, Network],
) -> None:
    """A missing status is another one than any recorded status, so the job is fetched."""
    reader, network = jobs
    summaries = [{"status": "Failed"}, {"jobArn": "a"}, {"jobArn": "b", "status": "Failed"}]
    network.answers = [json.dumps({"invocationJobSummaries": summaries}).encode()]
    states = reader.states(LISTING, None).jobs
    assert [(state.job_arn, state.status) for state in states] == [("a", ""), ("b", "Failed")]


def test_summary_is_read_with_all_that_discovery_and_scans_use(
    jobs: tuple[BatchInferenceJobs, Network],
) -> None:
    """Its times are in UTC, whatever their offset."""
    reader, network = jobs
    members = summary(
        "a",
        status="InProgress",
        modelId="m",
        endTime="2026-11-24T23:00:00Z",
        lastModifiedTime="2026-11-24T22:30:00.5+01:00",
        jobExpirationTime="2026-11-25T20:00:00Z",
        totalRecordCount=9,
        processedRecordCount=8.0,
        successRecordCount=7,
        errorRecordCount=1e0,
    )
    body = json.dumps({"invocationJobSummaries": [members, "odd"]}).encode()
    network.answers = [body, body]
    changed = datetime(2026, 11, 24, 21, 30, 0, 500_000, tzinfo=UTC)
    expires, counts = datetime(2026, 11, 25, 20, tzinfo=UTC), RecordCounts(9, 8, 7, 1)
    assert reader.page(LISTING, None).jobs == (
        ListedJob(
            job_arn="arn-a",
            job_name="a",
            status="InProgress",
            submit_time=datetime(2026, 11, 24, 20, tzinfo=UTC),
            end_time=datetime(2026, 11, 24, 23, tzinfo=UTC),
            last_modified_time=changed,
            counts=counts,
            model_id="m",
            job_expiration_time=expires,
        ),
    )
    assert reader.states(LISTING, None).jobs == (
        ListedState("arn-a", "InProgress", changed, expires, counts),
    )


def test_page_that_points_to_itself_is_refused(
    jobs: tuple[BatchInferenceJobs, Network],
) -> None:
    """Also to a caller that asks for one page only."""
    reader, network = jobs
    network.answers = [page("a", token="1")]  # noqa: S106
    with pytest.raises(ServiceError, match="points to itself"):
        reader.page(LISTING, "1")


def test_lists_in_the_configuration_of_a_job_are_bounded() -> None:
    """An item has a maximum size; Bedrock allows far fewer subnets."""

    def subnets(number: int) -> Any:
        config = {"subnetIds": [f"subnet-{place}" for place in range(number)]}
        answer = {"jobArn": ARN, "status": "Failed", "vpcConfig": config}
        return (observation(ARN, answer).vpc_config or {})["subnetIds"]

    assert subnets(32) == [f"subnet-{place}" for place in range(32)]
    assert subnets(33) == [*subnets(32), CUT]


def test_value_of_another_type_is_unknown() -> None:
    """A time without an offset is in UTC, as the SDK's own."""
    naive = datetime(2026, 11, 24, 20)  # noqa: DTZ001 - that is what it is about
    odd = {"modelId": 7, "message": ["m"], "vpcConfig": "text", "outputDataConfig": {}}
    found = observation(
        ARN, {"jobArn": ARN, "status": "Failed", "submitTime": naive, "endTime": "soon", **odd}
    )
    assert found == JobObservation(ARN, "Failed", submit_time=naive.replace(tzinfo=UTC))


def test_answer_about_another_job_is_unusable() -> None:
    """And so is one without a status: a body that is cut off has neither."""
    for answer in ({"jobArn": "other", "status": "Failed"}, {"jobArn": ARN}, {}):
        with pytest.raises(ServiceError) as caught:
            observation(ARN, answer)
        assert caught.value.reason == UNUSABLE_ANSWER


@pytest.mark.parametrize(
    ("count", "known"), [(7, 7), (7.0, 7), (7.5, None), (True, None), (0, 0), (-1.0, None)]
)
def test_count_is_a_whole_number_however_json_writes_it(count: object, known: int | None) -> None:
    """JSON has one type for numbers."""
    answer = {"jobArn": ARN, "status": "InProgress", "processedRecordCount": count}
    assert observation(ARN, answer).counts.processed == known


# Any answer


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (429, "is_throttling"),
        ((400, b'{"__type": "ThrottlingException"}', {}), "is_throttling"),
        ((400, b"{}", {"x-amzn-errortype": "ThrottlingException"}), "is_throttling"),
        ((403, b"{}", {"x-amzn-errortype": "UnrecognizedClientException"}), "is_refusal"),
        ((404, b"", {"x-amzn-errortype": "UnknownOperationException:http://a/"}), "is_refusal"),
        ((403, b"<html>no</html>", {}), "is_refusal"),
        (301, "is_refusal"),
        (500, "is_server_error"),
        (503, "is_server_error"),
        (sdk.ReadTimeoutError(endpoint_url="https://bedrock"), "has_no_answer"),
    ],
    ids=str,
)
def test_error_is_classified_by_its_response(
    jobs: tuple[BatchInferenceJobs, Network], answer: Any, kind: str
) -> None:
    """The SDK tries once; the poll decides what to retry."""
    reader, network = jobs
    for call in (lambda: reader.get(ARN), lambda: reader.page(LISTING, None)):
        network.answers = [answer]
        with pytest.raises(ServiceError) as caught:
            call()
        assert getattr(caught.value, kind)
        assert caught.value.is_refusal is (kind == "is_refusal")
    assert len(network.sent) == 2


@given(DOCUMENTS | VALUES, st.sampled_from([200, 302, 400, 403, 500]))
def test_any_response_becomes_a_job_or_a_service_error(
    reader: BatchInferenceJobs, document: Any, status: int
) -> None:
    """Whatever one response contains, it does not end a poll."""
    if isinstance(document, dict):
        document |= {"jobArn": ARN, "status": "InProgress"}
    on(reader, (status, json.dumps(document).encode(), {}))
    try:
        assert reader.get(ARN).job_arn == ARN
    except ServiceError as error:
        assert error.code.startswith("Bedrock.")  # noqa: PT017 - both are right


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "invocationJobSummaries": st.lists(DOCUMENTS | VALUES, max_size=2) | VALUES,
            "nextToken": VALUES,
        },
    )
    | VALUES
)
def test_any_response_becomes_a_page_or_a_service_error(
    reader: BatchInferenceJobs, document: Any
) -> None:
    on(reader, json.dumps(document).encode())
    try:
        found = reader.page(LISTING, None)
        assert found.next_token is None or found.next_token
    except ServiceError as error:
        assert error.code.startswith("Bedrock.")  # noqa: PT017 - both are right


def test_response_that_is_nested_too_deeply_is_unusable(
    jobs: tuple[BatchInferenceJobs, Network],
) -> None:
    reader, network = jobs
    network.answers = [b'{"jobArn":' + b"[" * 100_000 + b"]" * 100_000 + b"}"]
    with pytest.raises(ServiceError) as caught:
        reader.get(ARN)
    assert caught.value.reason == UNUSABLE_ANSWER
