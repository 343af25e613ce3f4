from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.adapters.bedrock import observation
from bedrock_batch_monitor.adapters.dynamodb.attributes import OBSERVED
from bedrock_batch_monitor.adapters.dynamodb.items import observed_attributes
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain.jobs import TEXT_CHARACTERS, bounded
from tests.support.strategies import ARN

FIELDS = [
    member
    for member in botocore.session.get_session()
    .get_service_model("bedrock")
    .operation_model("GetModelInvocationJob")
    .output_shape.members
    if member != "jobArn"
]


def test_every_field_of_the_api_is_kept() -> None:
    """The item has every member of the Get response in the service model of the pinned SDK."""
    assert set(OBSERVED) == set(FIELDS)


def test_full_response_is_kept_completely() -> None:
    """Each field is in the item under its own name."""
    moment = datetime(2026, 11, 24, 20, 30, 16, 123456, tzinfo=UTC)
    answer: dict[str, Any] = dict.fromkeys(FIELDS, "text") | {
        "jobArn": ARN,
        "submitTime": moment,
        "lastModifiedTime": moment,
        "endTime": moment,
        "jobExpirationTime": moment,
        "timeoutDurationInHours": 24,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://in/"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://out/"}},
        "vpcConfig": {"subnetIds": ["s"]},
        **{name: 7 for name in FIELDS if name.endswith("RecordCount")},
    }
    assert set(observed_attributes(observation(ARN, answer))) == set(FIELDS)


@pytest.mark.parametrize("missing", FIELDS)
def test_response_requires_only_a_status(missing: str) -> None:
    """Any other field may be missing; a missing count is unknown, not 0."""
    answer: dict[str, Any] = {"jobArn": ARN, "status": "InProgress"}
    if missing == "status":
        with pytest.raises(ServiceError, match="the answer has no status"):
            observation(ARN, {"jobArn": ARN})
    else:
        assert set(observed_attributes(observation(ARN, answer))) == {"status"}


@pytest.mark.parametrize("answer", [{}, {"jobArn": "another"}, {"message": '{"jobArn": "arn:'}])
def test_response_of_another_job_is_refused(answer: dict[str, Any]) -> None:
    """A truncated body, or one that belongs to another job, is a retryable error, not a state."""
    with pytest.raises(ServiceError) as caught:
        observation(ARN, answer)
    assert caught.value.code == "Bedrock.UnusableAnswer"
    assert not caught.value.is_refusal


@given(
    st.dictionaries(st.sampled_from(FIELDS), st.none() | st.booleans() | st.text() | st.floats())
)
def test_values_of_other_types_are_ignored(answer: dict[str, Any]) -> None:
    """A response without a valid status is refused."""
    answer = {"jobArn": ARN, **answer}
    if not isinstance(answer.get("status"), str) or not answer["status"]:
        with pytest.raises(ServiceError, match="the answer has no status"):
            observation(ARN, answer)
        return
    item = observed_attributes(observation(ARN, answer))
    assert set(item) <= set(answer)
    assert all(value["N"].isdigit() for value in item.values() if "N" in value)


def test_texts_with_surrogates_can_be_stored() -> None:
    """A lone surrogate, which JSON can carry, does not keep a job from being recorded."""
    answer = {
        "jobArn": ARN,
        "status": "Failed",
        "message": "bad \ud800 text",
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://in/\udfff"}},
    }
    seen = observation(ARN, answer)
    assert seen.message == "bad ? text"
    assert seen.input_data_config == {"s3InputDataConfig": {"s3Uri": "s3://in/?"}}


@given(st.text(max_size=3000))
def test_long_texts_are_truncated_with_a_note(text: str) -> None:
    """A text within the API's limit is kept; a longer one is truncated, with a note at its end."""
    kept = bounded(text)
    if len(text) <= TEXT_CHARACTERS:
        assert kept == text
    else:
        assert len(kept) == TEXT_CHARACTERS
        assert kept.endswith("(cut by the monitor)")


def test_response_beyond_every_limit_fits_an_item() -> None:
    """Whatever size its texts and lists have, a response becomes an item below 400 KB."""
    huge = "\U0001f40d" * 10_000
    answer: dict[str, Any] = dict.fromkeys(FIELDS, huge) | {
        "jobArn": ARN,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": huge, "s3BucketOwner": huge}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": huge}},
        "vpcConfig": {"subnetIds": ["s" * 3000] * 1000, "securityGroupIds": ["g" * 3000] * 1000},
    }
    item = observed_attributes(observation(ARN, answer))
    assert len(str(item).encode()) < 400 * 1024
    assert item["vpcConfig"]["M"]["subnetIds"]["L"][-1] == {"S": "… (cut by the monitor)"}


def test_empty_message_is_read_as_absent() -> None:
    """Bedrock sends an empty message when there is none."""
    assert observation(ARN, {"jobArn": ARN, "status": "InProgress", "message": ""}).message is None
