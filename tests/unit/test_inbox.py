from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.inbox import (
    LookAt,
    MalformedEventError,
    Track,
    Untrack,
    request_of,
)
from bedrock_batch_monitor.domain.scopes import Scopes
from tests.support.strategies import ARN

HERE = Scopes(Scope("123456789012", "us-east-1"))
EVENTS = Path(__file__).parents[1] / "events"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def native(**detail: Any) -> dict[str, Any]:
    return {
        "source": "aws.bedrock",
        "detail-type": "Batch Inference Job State Change",
        "detail": {"batchJobArn": ARN, **detail},
    }


@pytest.mark.parametrize("name", ["native-failed", "native-without-message", "native-bare"])
def test_native_events_are_hints(name: str) -> None:
    """Bedrock's event, whole or with fields missing and odd times, names one job to look at."""
    assert request_of(json.loads((EVENTS / f"{name}.json").read_text()), HERE) == LookAt(ARN)


@pytest.mark.parametrize(
    ("detail_type", "request_type"),
    [("Track Batch Inference Job", Track), ("Untrack Batch Inference Job", Untrack)],
)
@pytest.mark.parametrize("source", ["my.app", "aws.bedrock", None])
def test_commands_come_from_any_source(
    detail_type: str, request_type: type, source: str | None
) -> None:
    """Whoever may put events on the bus may have a job tracked or untracked."""
    event = {"source": source, "detail-type": detail_type, "detail": {"jobArn": ARN}}
    assert request_of(event, HERE) == request_type(ARN)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (None, "no JSON object"),
        ([], "no JSON object"),
        ({}, "detail is no JSON object"),
        (native() | {"detail": "text"}, "detail is no JSON object"),
        (native() | {"source": "somebody"}, "asks for nothing"),
        (native() | {"detail-type": "Model Customization Job State Change"}, "asks for nothing"),
        (native(batchJobArn=None), "batchJobArn is no text"),
        (native(batchJobArn="job"), "is not the ARN of a batch inference job"),
        (
            native(batchJobArn=ARN.replace("us-east-1", "eu-west-1")),
            "names 123456789012/eu-west-1, and 123456789012/us-east-1 is monitored",
        ),
        (
            {"detail-type": "Track Batch Inference Job", "detail": {"jobArn": "x" * 10_000}},
            "is not the ARN of a batch inference job",
        ),
        ({"detail-type": "Track Batch Inference Job", "detail": {}}, "jobArn is no text"),
    ],
)
def test_what_cannot_be_followed_says_why(event: object, reason: str) -> None:
    """An event that asks for nothing, or for a job of somebody else, is refused with the reason."""
    with pytest.raises(MalformedEventError) as caught:
        request_of(event, HERE)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 500


@settings(max_examples=1000)
@given(
    json_values
    | st.fixed_dictionaries(
        {},
        optional={
            "source": json_values | st.just("aws.bedrock"),
            "detail-type": json_values
            | st.sampled_from(
                [
                    "Batch Inference Job State Change",
                    "Track Batch Inference Job",
                    "Untrack Batch Inference Job",
                ]
            ),
            "detail": json_values
            | st.fixed_dictionaries(
                {},
                optional={
                    "jobArn": json_values,
                    "batchJobArn": json_values,
                    "taskToken": json_values,
                    "partiallyCompletedIsSuccess": json_values,
                },
            ),
        },
    )
)
def test_any_json_is_followed_or_refused(event: object) -> None:
    """No event, however odd, raises anything but the one documented error."""
    with pytest.raises(MalformedEventError):
        request_of(event, HERE)
