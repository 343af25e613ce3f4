"""Amazon S3: lists and reads the results and inputs of a job, and writes retry files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Self

from botocore.exceptions import BotoCoreError

from bedrock_batch_monitor.adapters.errors import ServiceError, calling, storable
from bedrock_batch_monitor.adapters.s3 import SERVICE
from bedrock_batch_monitor.adapters.sdk import bounded_config, pages_of
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.stored_files import StoredFile

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

ANSWER_SECONDS: Final = 20
CHUNK_BYTES: Final = 2**19
# How often a file is read on after its connection broke.
ATTEMPTS: Final = 4
# S3 takes 10,000 parts, each of at least 5 MiB but for the last one: 160 GB in all.
PART_BYTES: Final = 16 * 2**20
_MOST_FILES: Final = 100_000
_JSON_LINES: Final = "application/jsonl"


class JobFilesInS3:
    """The files of jobs; safe to use from many threads. All raise `ServiceError`."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    @classmethod
    def connect(cls, session: boto3.Session, concurrency: int) -> Self:
        """Files whose connection pool serves `concurrency` threads."""
        config = bounded_config(concurrency=concurrency, attempts=3, answer_seconds=ANSWER_SECONDS)
        return cls(session.client("s3", config=config))

    def list(self, place: S3Uri) -> tuple[StoredFile, ...]:
        """The objects whose keys begin so: at most 100,000, which no job has."""
        found: list[StoredFile] = []
        paginator = self._client.get_paginator("list_objects_v2")
        for page in pages_of(SERVICE, paginator.paginate(Bucket=place.bucket, Prefix=place.key)):
            found.extend(
                StoredFile(place.bucket, each["Key"], each.get("Size", 0), each.get("ETag", ""))
                for each in page.get("Contents", ())
            )
            if len(found) >= _MOST_FILES:
                break
        return tuple(found[:_MOST_FILES])

    def chunks(self, file: StoredFile) -> Iterator[bytes]:
        """The content of an object in pieces of at most 512 KiB.

        After a broken connection it is read on, at most three times. An object that changed
        meanwhile is refused.
        """
        place = 0
        for attempt in range(ATTEMPTS):
            try:
                for chunk in self._chunks_from(file, place):
                    place += len(chunk)
                    yield chunk
            except BotoCoreError as error:
                if attempt == ATTEMPTS - 1:
                    reason = type(error).__name__
                    raise ServiceError(SERVICE, reason, storable(str(error))) from error
            else:
                return

    def _chunks_from(self, file: StoredFile, place: int) -> Iterator[bytes]:
        call: dict[str, Any] = {"Bucket": file.bucket, "Key": file.key}
        if place:
            call |= {"Range": f"bytes={place}-"}
        if file.etag:
            call |= {"IfMatch": file.etag}
        with calling(SERVICE):
            answer = self._client.get_object(**call)
        with closing(answer["Body"]) as body:
            yield from body.iter_chunks(CHUNK_BYTES)

    def upload(self, place: S3Uri) -> Upload:
        """A new object at this place, which exists once it is completed."""
        return Upload(self._client, place)


class Upload:
    """One object that is written in parts: nothing is stored unless `complete` is called."""

    def __init__(self, client: S3Client, place: S3Uri) -> None:
        self._client = client
        self._place = place
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[CompletedPartTypeDef] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._upload_id is not None:
            with calling(SERVICE):
                self._client.abort_multipart_upload(
                    Bucket=self._place.bucket, Key=self._place.key, UploadId=self._upload_id
                )

    def write(self, data: bytes) -> int:
        """Append to the object; raises `ServiceError`."""
        self._buffer += data
        if len(self._buffer) >= PART_BYTES:
            self._send_part()
        return len(data)

    def complete(self) -> None:
        """Store the object, in place of an earlier one; raises `ServiceError`."""
        if self._upload_id is None:
            with calling(SERVICE):
                self._client.put_object(
                    Bucket=self._place.bucket,
                    Key=self._place.key,
                    Body=bytes(self._buffer),
                    ContentType=_JSON_LINES,
                )
            return
        if self._buffer:
            self._send_part()
        with calling(SERVICE):
            self._client.complete_multipart_upload(
                Bucket=self._place.bucket,
                Key=self._place.key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
            )
        self._upload_id = None

    def _send_part(self) -> None:
        with calling(SERVICE):
            if self._upload_id is None:
                created = self._client.create_multipart_upload(
                    Bucket=self._place.bucket, Key=self._place.key, ContentType=_JSON_LINES
                )
                self._upload_id = created["UploadId"]
            number = len(self._parts) + 1
            answer = self._client.upload_part(
                Bucket=self._place.bucket,
                Key=self._place.key,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=bytes(self._buffer),
            )
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._buffer = bytearray()
