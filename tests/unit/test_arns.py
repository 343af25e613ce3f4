from __future__ import annotations

import re
from contextlib import suppress

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain.arns import (
    PARTITIONS,
    InvalidJobArnError,
    JobArn,
    Scope,
    is_job_arn,
    is_job_arn_in,
    scope_of,
)
from bedrock_batch_monitor.domain.event_kinds import KINDS
from tests.support.contracts import schema_of
from tests.support.hostile import HOSTILE_TEXTS, hostile_characters_in
from tests.support.strategies import ARN

TAIL = ":bedrock:us-east-1:123456789012:model-invocation-job/abcdef123456"
SESSION = botocore.session.get_session()


def test_partitions_are_equal_to_those_of_botocore() -> None:
    """Both lists that botocore has name the same partitions, and so does the code."""
    endpoints = {one["partition"] for one in SESSION.get_data("endpoints")["partitions"]}
    assert {one["id"] for one in SESSION.get_data("partitions")["partitions"]} == endpoints
    assert set(PARTITIONS) == endpoints


@pytest.mark.parametrize("partition", PARTITIONS)
def test_parsed_arn_has_its_parts_and_its_scope(partition: str) -> None:
    """An ARN of any partition is split into its parts, and the parts make the same ARN."""
    text = f"arn:{partition}:bedrock:eu-west-1:123456789012:model-invocation-job/abc123def456"
    arn = JobArn.parse(text)
    assert arn == JobArn(partition, "eu-west-1", "123456789012", "abc123def456")
    assert arn.scope == Scope("123456789012", "eu-west-1")
    assert str(arn.scope) == "123456789012/eu-west-1"
    assert str(arn) == text


@given(
    st.from_regex(
        re.compile(
            SESSION.get_service_model("bedrock")
            .shape_for("ModelInvocationJobArn")
            .metadata["pattern"],
            re.ASCII,
        ),
        fullmatch=True,
    ),
    st.sampled_from(PARTITIONS),
)
def test_every_arn_that_the_service_model_allows_is_accepted(text: str, partition: str) -> None:
    """Every text that matches the API's own pattern of a job ARN is parsed, in every partition."""
    _, _, rest = text.partition(":bedrock:")
    arn = f"arn:{partition}:bedrock:{rest}"
    assert str(JobArn.parse(arn)) == arn


@pytest.mark.parametrize(
    "partition",
    [
        "",
        "aws-",
        "aws-x",
        "aws-iso-c",
        "aws-cn-",
        "AWS",
        "gcp",
        "aws-x\n\nACTION REQUIRED  sign in at www.example.com/verify\n<!channel>",
        *(f"aws-{text}" for text in HOSTILE_TEXTS),
        "aws-" + "a" * 400_000,
    ],
)
def test_partition_that_does_not_exist_is_refused(partition: str) -> None:
    """The partition is not free text: it cannot contain lines, markup or escape sequences."""
    with pytest.raises(InvalidJobArnError) as caught:
        JobArn.parse(f"arn:{partition}{TAIL}")
    assert len(str(caught.value)) < 400
    assert hostile_characters_in(str(caught.value)) == set()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("detail_type", [kind.detail_type for kind in KINDS if kind.is_about_job])
def test_schemas_accept_the_arns_that_parse(detail_type: str) -> None:
    """`jobArn` and `resources` have one pattern, and it has the partitions of the code."""
    schema = schema_of(detail_type)["properties"]
    data = schema["detail"]["properties"]["data"]["properties"]
    pattern = data["jobArn"]["pattern"]
    assert schema["resources"]["items"]["pattern"] == pattern
    for partition in PARTITIONS:
        assert re.search(pattern, f"arn:{partition}{TAIL}")
    for arn in (f"arn:aws-x{TAIL}", f"arn:aws-x\n{TAIL}", f" {ARN}", f"{ARN}4"):
        assert not re.search(pattern, arn)


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
def test_invalid_arn_is_quoted_in_the_error(text: str) -> None:
    """The error quotes the text and shows the expected form."""
    with pytest.raises(InvalidJobArnError) as caught:
        JobArn.parse(text)
    assert repr(text) in str(caught.value)
    assert "model-invocation-job/<12 characters a-z0-9>" in str(caught.value)


def test_huge_invalid_arn_is_truncated_in_the_error() -> None:
    """The error message stays readable, whatever was put into the table."""
    with pytest.raises(InvalidJobArnError) as caught:
        JobArn.parse("x" * 100_000)
    assert len(str(caught.value)) < 400


@given(st.text())
def test_parsing_raises_only_the_documented_error(text: str) -> None:
    """Any text at all either is an ARN or raises the one documented error."""
    with suppress(InvalidJobArnError):
        assert str(JobArn.parse(text)) == text


@given(
    st.sampled_from(["aws", "aws-cn"]),
    st.sampled_from(["us-east-1", "us-east-10", "eu-west-1"]),
    st.sampled_from(["123456789012", "000000000000"]),
    st.from_regex("(model-invocation-job|model)/[a-z0-9]{11,13}(/x|\n|A|\u0131)?", fullmatch=True),
    st.sampled_from(["", " ", "x"]),
)
def test_arn_is_in_a_scope_exactly_if_its_parts_say_so(
    partition: str, region: str, account: str, resource: str, before: str
) -> None:
    """The quick check of a poll agrees with the parser."""
    text = f"{before}arn:{partition}:bedrock:{region}:{account}:{resource}"
    try:
        arn = JobArn.parse(text)
    except InvalidJobArnError:
        parsed = None
    else:
        parsed = (arn.partition, arn.scope)
    scope = Scope("123456789012", "us-east-1")
    assert is_job_arn_in(text, "aws", scope) is (parsed == ("aws", scope))


def test_tracked_arn_is_in_its_own_scope() -> None:
    """The property above meets it rarely."""
    assert is_job_arn_in(ARN, "aws", Scope("123456789012", "us-east-1"))


def test_longest_arn_is_an_arn() -> None:
    """The longest partition, and a Region of twenty characters."""
    longest = f"arn:aws-us-gov:bedrock:{'r' * 20}:123456789012:model-invocation-job/abcdef123456"
    assert is_job_arn(longest)
    assert scope_of(longest) == Scope("123456789012", "r" * 20)
    assert str(JobArn.parse(longest)) == longest
    for text in (longest.replace("r" * 20, "r" * 21), longest + "x", "x" + longest, ""):
        assert not is_job_arn(text)
        assert scope_of(text) is None


def test_text_that_is_no_arn_is_quoted_up_to_120_characters() -> None:
    """That is longer than any ARN of a job."""
    for text, shown in (("x" * 120, "'" + "x" * 120 + "'"), ("x" * 121, "'" + "x" * 120 + "…")):
        with pytest.raises(InvalidJobArnError) as caught:
            JobArn.parse(text)
        assert str(caught.value).startswith(f"{shown} is not the ARN of a batch inference job")
