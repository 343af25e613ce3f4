"""Amazon S3: reads the manifest that Bedrock writes next to the results of a job."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from bedrock_batch_monitor.adapters.errors import calling
from bedrock_batch_monitor.adapters.sdk import bounded_config
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.token_usage import MANIFEST_BYTES

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client

SERVICE: Final = "S3"
# The end of a job is recorded after this call.
CONNECT_SECONDS: Final = 1
ANSWER_SECONDS: Final = 2


class Manifests:
    """The manifests in the buckets that the role may read; safe to use from many threads."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    @classmethod
    def connect(cls, session: boto3.Session, concurrency: int) -> Manifests:
        """A reader that tries once: a later poll is the retry.

        The SDK repeats a call by itself where the bucket is in another Region, once.
        """
        config = bounded_config(
            concurrency=concurrency,
            attempts=1,
            connect_seconds=CONNECT_SECONDS,
            answer_seconds=ANSWER_SECONDS,
        )
        return cls(session.client("s3", config=config))

    def read(self, place: S3Uri) -> bytes:
        """An object, cut one byte above `MANIFEST_BYTES`; raises `ServiceError`.

        Without `s3:ListBucket`, S3 answers `AccessDenied` for an object that does not exist.
        """
        with calling(SERVICE):
            answer = self._client.get_object(Bucket=place.bucket, Key=place.key)
            with closing(answer["Body"]) as body:
                return body.read(MANIFEST_BYTES + 1)
