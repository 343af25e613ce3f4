"""The locations of a job's input and output in S3, from its configuration in the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def input_s3_uri(config: Mapping[str, Any] | None) -> str | None:
    """The location of the input, from `inputDataConfig`; None if unknown."""
    return _text_at(config, "s3InputDataConfig", "s3Uri")


def output_s3_uri(config: Mapping[str, Any] | None, job_id: str) -> str | None:
    """Where Bedrock writes: `<s3Uri>/<job id>/`, whether or not the prefix ends in a slash."""
    prefix = _text_at(config, "s3OutputDataConfig", "s3Uri")
    return f"{prefix.rstrip('/')}/{job_id}/" if prefix else None


def _text_at(config: Mapping[str, Any] | None, *path: str) -> str | None:
    value: Any = config
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value else None
