"""Locations in S3, and those of a job's input and output from its configuration in the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_SCHEME: Final = "s3://"


class InvalidS3UriError(ValueError):
    """A text that is not `s3://bucket/key`."""


@dataclass(frozen=True, slots=True)
class S3Uri:
    """A place in S3; `key` can be empty, and is a folder if it ends in `/`."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> S3Uri:
        """Read `s3://bucket/key`; raises `InvalidS3UriError`."""
        bucket, _, key = text.removeprefix(_SCHEME).partition("/")
        if not text.startswith(_SCHEME) or not bucket:
            message = f"{text[:200]!r} is not an S3 URI such as s3://bucket/folder/"
            raise InvalidS3UriError(message)
        return cls(bucket, key)

    @property
    def folder(self) -> S3Uri:
        """The same place as a folder: its key is empty or ends in `/`."""
        return S3Uri(self.bucket, f"{self.key.rstrip('/')}/" if self.key else "")

    def __str__(self) -> str:
        """`s3://bucket/key`."""
        return f"{_SCHEME}{self.bucket}/{self.key}"


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
