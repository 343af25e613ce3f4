from __future__ import annotations

import re
from contextlib import suppress

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn, Scope


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov", "aws-iso-b"])
def test_parts_and_scope(partition: str) -> None:
    """An ARN of any partition comes apart into what it names and goes together again."""
    text = f"arn:{partition}:bedrock:eu-west-1:123456789012:model-invocation-job/abc123def456"
    arn = JobArn.parse(text)
    assert arn == JobArn(partition, "eu-west-1", "123456789012", "abc123def456")
    assert arn.scope == Scope("123456789012", "eu-west-1")
    assert str(arn.scope) == "123456789012/eu-west-1"
    assert str(arn) == text


@given(
    st.from_regex(
        re.compile(
            botocore.session.get_session()
            .get_service_model("bedrock")
            .shape_for("ModelInvocationJobArn")
            .metadata["pattern"],
            re.ASCII,
        ),
        fullmatch=True,
    )
)
def test_every_arn_of_the_service_model_is_accepted(text: str) -> None:
    """Whatever matches the API's own pattern of a job ARN parses, and reads back the same."""
    assert str(JobArn.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not-an-arn",
        "abcdef123456",
        "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/ABCDEF123456",
        "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdef12345",
        "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdef123456\n",
        "arn:aws:bedrock:us-east-1:12345678901:model-invocation-job/abcdef123456",
        "arn:aws:bedrock:us-east-1:١٢٣٤٥٦٧٨٩٠١٢:model-invocation-job/abcdef123456",
        "arn:aws:sagemaker:us-east-1:123456789012:model-invocation-job/abcdef123456",
        "arn:aws:bedrock:us-east-1:123456789012:model-customization-job/abcdef123456",
        "arn:gcp:bedrock:us-east-1:123456789012:model-invocation-job/abcdef123456",
    ],
)
def test_other_texts_are_refused_by_name(text: str) -> None:
    """What is no job ARN is refused with the text and the form that is expected."""
    with pytest.raises(InvalidJobArnError) as caught:
        JobArn.parse(text)
    assert repr(text) in str(caught.value)
    assert "model-invocation-job/<12 characters a-z0-9>" in str(caught.value)


def test_a_huge_text_is_shown_cut() -> None:
    """An error message stays readable whatever was put into the table."""
    with pytest.raises(InvalidJobArnError) as caught:
        JobArn.parse("x" * 100_000)
    assert len(str(caught.value)) < 400


@given(st.text())
def test_parsing_raises_nothing_else(text: str) -> None:
    """Any text at all either is an ARN or raises the one documented error."""
    with suppress(InvalidJobArnError):
        assert str(JobArn.parse(text)) == text
