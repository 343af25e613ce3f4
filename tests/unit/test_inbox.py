from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.requests import (
    Hint,
    MalformedEventError,
    Track,
    Untrack,
    event_in,
    request_of,
)
from bedrock_batch_monitor.domain.scopes import Scopes
from bedrock_batch_monitor.domain.tasks import WaitingTask
from tests.support.monitor import native_event
from tests.support.strategies import ARN, NOW

HERE = Scopes(Scope("123456789012", "us-east-1"))
EVENTS = Path(__file__).parents[1] / "events"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def native(**detail: Any) -> dict[str, Any]:
    return native_event(ARN, **detail)


@pytest.mark.parametrize("name", ["native-failed", "native-without-message", "native-bare"])
def test_native_event_is_a_hint_for_its_job(name: str) -> None:
    """It requests the read of one job, also with missing fields and implausible times."""
    assert request_of(json.loads((EVENTS / f"{name}.json").read_text()), HERE, NOW) == Hint(ARN)


@pytest.mark.parametrize(
    ("detail_type", "request_type"),
    [("Track Batch Inference Job", Track), ("Untrack Batch Inference Job", Untrack)],
)
@pytest.mark.parametrize("source", ["my.app", "aws.bedrock", None])
def test_command_is_accepted_from_any_source(
    detail_type: str, request_type: type, source: str | None
) -> None:
    """A caller that may put events on the bus may track or untrack a job."""
    event = {"source": source, "detail-type": detail_type, "detail": {"jobArn": ARN}}
    assert request_of(event, HERE, NOW) == request_type(ARN, NOW)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (None, "must be a JSON object"),
        ([], "must be a JSON object"),
        ({}, "detail must be a JSON object"),
        (native() | {"detail": "text"}, "detail must be a JSON object"),
        (native() | {"source": "somebody"}, "asks for nothing"),
        (native() | {"detail-type": "Model Customization Job State Change"}, "asks for nothing"),
        (native(batchJobArn=None), "batchJobArn must be a text"),
        (native(batchJobArn="job"), "is not the ARN of a batch inference job"),
        (
            native(batchJobArn=ARN.replace("us-east-1", "eu-west-1")),
            "names 123456789012/eu-west-1, which is not monitored (monitored: 123456789012/us-",
        ),
        (
            {"detail-type": "Track Batch Inference Job", "detail": {"jobArn": "x" * 10_000}},
            "is not the ARN of a batch inference job",
        ),
        ({"detail-type": "Track Batch Inference Job", "detail": {}}, "jobArn must be a text"),
    ],
)
def test_unusable_event_is_refused_with_the_reason(event: object, reason: str) -> None:
    """An event without a known request, or for a job outside the monitored scopes, is refused."""
    with pytest.raises(MalformedEventError) as caught:
        request_of(event, HERE, NOW)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 500


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
def test_any_json_is_a_request_or_a_malformed_event(event: object) -> None:
    """No event raises anything but the one documented error."""
    with pytest.raises(MalformedEventError) as caught:
        request_of(event, HERE, NOW)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("sent", "at"),
    [
        ("2026-11-24T20:30:15.999Z", NOW - timedelta(milliseconds=124)),
        ("2026-11-24T20:29:16Z", NOW - timedelta(minutes=1, milliseconds=123)),
        # A command from the future would win over all that follow.
        ("2026-11-24T20:31:16Z", NOW),
        ("2090-11-24T20:31:16Z", NOW),
        ("0001-01-01T00:00:00Z", NOW),
        ("0001-01-01T00:00:00+14:00", NOW),
        ("2026-11-24T20:30:15", NOW),
        ("soon", NOW),
        (7, NOW),
        (None, NOW),
    ],
)
def test_implausible_time_of_a_command_is_replaced_by_now(sent: object, at: datetime) -> None:
    """The last command wins by the time at which it was sent, if that time is plausible."""
    event = {
        "time": sent,
        "detail-type": "Untrack Batch Inference Job",
        "detail": {"jobArn": ARN},
    }
    assert request_of(event, HERE, NOW) == Untrack(ARN, at)


@pytest.mark.parametrize("body", ["", "no json", "[" * 100_000, '{"a":' * 100_000, "\x00"])
def test_message_that_is_not_json_is_malformed(body: str) -> None:
    """Also one that is nested too deeply: it is dropped, and does not fail its batch."""
    with pytest.raises(MalformedEventError, match="the message is not JSON that can be read"):
        event_in(body)


TOKEN = "AQCkAAAAKgAAAAMAAAAAAAAAAd-secret-token"  # noqa: S105 - no real one


@pytest.mark.parametrize(
    "event",
    [
        TOKEN,
        {"detail": TOKEN},
        {"detail-type": TOKEN, "detail": {}},
        {"detail-type": TOKEN, "detail": {"jobArn": ARN, "taskToken": TOKEN}},
        {"detail-type": "Track Batch Inference Job", "detail": {"jobArn": TOKEN}},
        {"detail-type": "Track Batch Inference Job", "detail": {"jobArn": {"taskToken": TOKEN}}},
        {"detail-type": "Untrack Batch Inference Job", "detail": {"jobArn": TOKEN}},
        {
            "source": "aws.bedrock",
            "detail-type": "Batch Inference Job State Change",
            "detail": {"batchJobArn": TOKEN},
        },
        {
            "detail-type": "Track Batch Inference Job",
            "detail": {"jobArn": ARN, "taskToken": [TOKEN]},
        },
        {
            "detail-type": "Track Batch Inference Job",
            "detail": {"jobArn": ARN, "taskToken": TOKEN * 100},
        },
        {
            "detail-type": "Track Batch Inference Job",
            "detail": {"jobArn": ARN, "taskToken": TOKEN + "\ud800"},
        },
        {
            "detail-type": "Track Batch Inference Job",
            "detail": {"jobArn": ARN, "taskToken": TOKEN, "partiallyCompletedIsSuccess": TOKEN},
        },
    ],
)
def test_reason_never_quotes_a_task_token(event: object) -> None:
    """Wherever the token is, the part of a value that the reason quotes is too short to be one."""
    with pytest.raises(MalformedEventError) as caught:
        request_of(event, HERE, NOW)
    assert TOKEN[:13] not in str(caught.value)


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov", "aws-\x1b[2Jx", "aws-a", "azure"])
def test_arn_of_another_partition_is_refused(partition: str) -> None:
    """One job has one ARN: with another partition it would be another item."""
    event = native(batchJobArn=ARN.replace("arn:aws:", f"arn:{partition}:"))
    with pytest.raises(MalformedEventError) as caught:
        request_of(event, HERE, NOW)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(("length", "fits"), [(2048, True), (2049, False)])
def test_token_length_is_measured_in_utf16_code_units(
    length: int,
    fits: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """As Step Functions does: a character outside the Basic Multilingual Plane counts twice."""
    token = "\U0001f40d" * (length // 2) + "x" * (length % 2)
    detail = {"jobArn": ARN, "taskToken": token}
    event = {"detail-type": "Track Batch Inference Job", "detail": detail}
    if fits:
        assert request_of(event, HERE, NOW) == Track(ARN, NOW, WaitingTask(token))
    else:
        with pytest.raises(MalformedEventError, match="1 to 2,048 characters"):
            request_of(event, HERE, NOW)


def track(**detail: Any) -> dict[str, Any]:
    """A command of half an hour ago to track the job."""
    return {
        "time": "2026-11-24T20:00:00Z",
        "detail-type": "Track Batch Inference Job",
        "detail": {"jobArn": ARN, **detail},
    }


SENT = datetime(2026, 11, 24, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ({}, Track(ARN, SENT)),
        ({"deadline": None}, Track(ARN, SENT)),
        ({"deadline": " 4h "}, Track(ARN, SENT, deadline="4h")),
        # It was in the future when the command was sent.
        (
            {"deadline": "2026-11-24T20:10:00Z"},
            Track(ARN, SENT, deadline="2026-11-24T20:10:00Z"),
        ),
        ({"taskToken": "x"}, Track(ARN, SENT, WaitingTask("x"))),
        (
            {"taskToken": "x", "deadline": "06:00 UTC"},
            Track(ARN, SENT, WaitingTask("x"), "06:00 UTC"),
        ),
        (
            {
                "taskToken": "x",
                "partiallyCompletedIsSuccess": True,
                "completedWithErrorsIsSuccess": False,
            },
            Track(
                ARN,
                SENT,
                WaitingTask(
                    "x",
                    partially_completed_is_success=True,
                    completed_with_errors_is_success=False,
                ),
            ),
        ),
    ],
)
def test_track_command_can_have_a_task_and_a_deadline(
    detail: dict[str, Any], expected: Track
) -> None:
    """What it leaves out has its default."""
    assert request_of(track(**detail), HERE, NOW) == expected


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ({"deadline": 7}, "deadline must be a text: it is a int"),
        ({"deadline": "soon"}, "deadline is not a deadline after the command was sent: write a mo"),
        ({"deadline": "2026-11-24T20:00:00Z"}, "deadline is not a deadline after the command was"),
        ({"taskToken": ""}, "taskToken must be a text of 1 to 2,048 characters"),
        ({"taskToken": None}, "taskToken must be a text of 1 to 2,048 characters"),
        ({"taskToken": "\ud800"}, "taskToken has characters that cannot be stored"),
        (
            {"taskToken": "x", "partiallyCompletedIsSuccess": 1},
            "partiallyCompletedIsSuccess must be true or false: it is a int",
        ),
        (
            {"taskToken": "x", "completedWithErrorsIsSuccess": None},
            "completedWithErrorsIsSuccess must be true or false: it is a NoneType",
        ),
    ],
)
def test_track_command_that_cannot_be_done_is_refused(detail: dict[str, Any], reason: str) -> None:
    """As a whole: nobody would notice that a deadline is missing."""
    with pytest.raises(MalformedEventError) as caught:
        request_of(track(**detail), HERE, NOW)
    assert str(caught.value).startswith(reason)


def test_task_is_refused_unless_tasks_may_wait() -> None:
    """The setting `taskTokens`; the job alone can be tracked."""
    assert request_of(track(), HERE, NOW, takes_tasks=False) == Track(ARN, SENT)
    with pytest.raises(MalformedEventError, match="deploy the monitor with taskTokens=true"):
        request_of(track(taskToken="x"), HERE, NOW, takes_tasks=False)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 12, "'" + "x" * 12 + "'"),
        ("x" * 13, "'" + "x" * 12 + "'…"),
        ("arn:" + "x" * 76, "'arn:" + "x" * 76 + "'"),
        ("arn:" + "x" * 77, "'arn:" + "x" * 76 + "'…"),
        (None, "'NoneType'"),
    ],
)
def test_reason_quotes_the_beginning_of_a_value(value: object, shown: str) -> None:
    """More of what looks like an ARN: the end is where it differs from others."""
    with pytest.raises(MalformedEventError) as caught:
        request_of({"detail-type": value, "detail": {}}, HERE, NOW)
    assert str(caught.value).endswith(f": {shown}")
