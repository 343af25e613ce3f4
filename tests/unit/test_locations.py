"""Locations in S3, and those of a job's input and output."""

from __future__ import annotations

from typing import Any

import pytest

from bedrock_batch_monitor.domain.locations import (
    InvalidS3UriError,
    S3Uri,
    input_s3_uri,
    output_s3_uri,
)


@pytest.mark.parametrize(
    ("text", "place", "folder"),
    [
        ("s3://bucket", S3Uri("bucket", ""), ""),
        ("s3://bucket/", S3Uri("bucket", ""), ""),
        ("s3://bucket/a", S3Uri("bucket", "a"), "a/"),
        ("s3://bucket/a/b/", S3Uri("bucket", "a/b/"), "a/b/"),
        ("s3://bucket/a//", S3Uri("bucket", "a//"), "a/"),
        ("s3://bucket//a", S3Uri("bucket", "/a"), "/a/"),
    ],
)
def test_s3_uri_has_bucket_key_and_folder(text: str, place: S3Uri, folder: str) -> None:
    assert S3Uri.parse(text) == place
    assert place.folder == S3Uri("bucket", folder)
    assert S3Uri.parse(str(place)) == place


def test_error_of_an_invalid_s3_uri_quotes_a_bounded_text() -> None:
    with pytest.raises(InvalidS3UriError, match="'https://x' is not an S3 URI"):
        S3Uri.parse("https://x")
    with pytest.raises(InvalidS3UriError) as caught:
        S3Uri.parse("x" * 5000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "inner", [None, "s3Uri", {}, {"s3Uri": ""}, {"s3Uri": 5}, {"other": "s3://a/b"}], ids=repr
)
def test_location_that_is_not_a_text_is_unknown(inner: Any) -> None:
    assert input_s3_uri({"s3InputDataConfig": inner}) is None
    assert output_s3_uri({"s3OutputDataConfig": inner}, "abc") is None


@pytest.mark.parametrize("config", [None, {}, "x", {"s3Uri": "s3://a/b"}], ids=repr)
def test_location_without_a_configuration_is_unknown(config: Any) -> None:
    assert input_s3_uri(config) is None
    assert output_s3_uri(config, "abc") is None


@pytest.mark.parametrize("prefix", ["s3://out/results", "s3://out/results/"])
def test_output_is_in_the_folder_of_the_job(prefix: str) -> None:
    config = {
        "s3InputDataConfig": {"s3Uri": "s3://in/a.jsonl"},
        "s3OutputDataConfig": {"s3Uri": prefix},
    }
    assert input_s3_uri(config) == "s3://in/a.jsonl"
    assert output_s3_uri(config, "abc") == "s3://out/results/abc/"
