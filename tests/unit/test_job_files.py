"""Files of jobs in S3: listings, content that is read on, retry files in parts, and manifests."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import botocore.endpoint
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.job_files_s3 import JobFilesInS3
from bedrock_batch_monitor.adapters.s3 import Manifests
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.stored_files import StoredFile
from bedrock_batch_monitor.domain.token_usage import MANIFEST_BYTES
from tests.support.network import Network, session

HALF_MIB = 2**19
PART = 32 * HALF_MIB
PLACE = S3Uri("bucket", "folder/file")
FILE = StoredFile("bucket", "folder/file", 10, '"tag"')
REFUSED = ClientError(
    {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"HTTPStatusCode": 412}},  # type: ignore[typeddict-item]
    "GetObject",
)


class Body(BytesIO):
    """A body that breaks off after so many bytes, if any."""

    def __init__(self, content: bytes, breaks_at: int | None, made: list[Body]) -> None:
        super().__init__(content if breaks_at is None else content[:breaks_at])
        self._breaks = breaks_at is not None
        made.append(self)

    def iter_chunks(self, size: int) -> Any:
        """The content in pieces, and then the error."""
        while chunk := self.read(size):
            yield chunk
        if self._breaks:
            raise ReadTimeoutError(endpoint_url="https://s3")


@dataclass
class S3:
    """A client of S3: one object, whose reads break off, and the writes in their order."""

    content: bytes = b""
    breaks_at: list[int | None] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    refused: bool = False
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    pages_read: int = 0

    def get_object(self, **call: Any) -> dict[str, Any]:
        """The object, or what is left of it from a range on."""
        self.calls.append(("get", call))
        if self.refused:
            raise REFUSED
        start = int(call.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        breaks_at = self.breaks_at.pop(0) if self.breaks_at else None
        return {"Body": Body(self.content[start:], breaks_at, self.bodies)}

    def get_paginator(self, operation: str) -> S3:
        """The paginator is the client."""
        assert operation == "list_objects_v2"
        return self

    def paginate(self, **call: Any) -> Any:
        """The pages, counted."""
        self.calls.append(("list", call))
        for page in self.pages:
            self.pages_read += 1
            yield page

    def __getattr__(self, name: str) -> Any:
        def write(**call: Any) -> dict[str, Any]:
            self.calls.append((name, call))
            return {"UploadId": "u", "ETag": f'"{call.get("PartNumber")}"'}

        return write


def files_on(client: Any) -> JobFilesInS3:
    return JobFilesInS3(client)


def test_listing_has_size_and_etag_of_all_pages() -> None:
    client = S3(
        pages=[
            {"Contents": [{"Key": "folder/a", "Size": 5, "ETag": '"x"'}]},
            {},
            {"Contents": [{"Key": "folder/b"}]},
        ]
    )
    found = files_on(client).list(S3Uri("bucket", "folder/"))
    assert found == (
        StoredFile("bucket", "folder/a", 5, '"x"'),
        StoredFile("bucket", "folder/b", 0, ""),
    )
    assert client.calls == [("list", {"Bucket": "bucket", "Prefix": "folder/"})]
    assert [str(file) for file in found] == ["s3://bucket/folder/a", "s3://bucket/folder/b"]


def test_listing_ends_after_a_hundred_thousand_files() -> None:
    page = {"Contents": [{"Key": "k"}] * 40_000}
    client = S3(pages=[page] * 9)
    assert len(files_on(client).list(PLACE)) == 100_000
    assert client.pages_read == 3
    client = S3(pages=[{"Contents": [{"Key": "k"}] * 50_000}] * 9)
    assert len(files_on(client).list(PLACE)) == 100_000
    assert client.pages_read == 2


def test_content_has_pieces_of_a_bounded_size() -> None:
    client = S3(b"x" * (HALF_MIB + 1))
    assert [len(chunk) for chunk in files_on(client).chunks(FILE)] == [HALF_MIB, 1]
    (call,) = client.calls
    assert call == ("get", {"Bucket": "bucket", "Key": "folder/file", "IfMatch": '"tag"'})
    assert all(body.closed for body in client.bodies)


def test_content_is_read_on_where_the_connection_broke() -> None:
    """Three times at most, and only if the object is still the same."""
    client = S3(b"0123456789", breaks_at=[4, 0, 3])
    assert b"".join(files_on(client).chunks(FILE)) == b"0123456789"
    assert [call.get("Range") for _, call in client.calls] == [
        *(None, "bytes=4-", "bytes=4-", "bytes=7-"),
    ]
    assert all(call["IfMatch"] == '"tag"' for _, call in client.calls)
    assert all(body.closed for body in client.bodies)


def test_content_that_breaks_off_four_times_is_an_error() -> None:
    client = S3(b"0123456789", breaks_at=[1, 1, 1, 1, None])
    found = []
    with pytest.raises(ServiceError) as caught:
        found.extend(files_on(client).chunks(FILE))
    assert caught.value.code == "S3.ReadTimeoutError"
    assert "https://s3" in caught.value.message
    assert b"".join(found) == b"0123"
    assert len(client.calls) == 4


def test_object_that_changed_is_refused_and_not_read_again() -> None:
    client = S3(b"0123", refused=True)
    with pytest.raises(ServiceError) as caught:
        list(files_on(client).chunks(FILE))
    assert (caught.value.code, caught.value.status) == ("S3.PreconditionFailed", 412)
    assert len(client.calls) == 1


def test_object_whose_etag_is_not_known_is_read_without_a_condition() -> None:
    client = S3(b"0123")
    assert list(files_on(client).chunks(StoredFile("bucket", "k", 4))) == [b"0123"]
    assert client.calls == [("get", {"Bucket": "bucket", "Key": "k"})]


def test_small_retry_file_is_one_object() -> None:
    client = S3()
    with files_on(client).upload(PLACE) as upload:
        assert (upload.write(b"ab\n"), upload.write(b"c\n")) == (3, 2)
        assert client.calls == []
        upload.complete()
    (call,) = client.calls
    assert call == (
        "put_object",
        {
            "Bucket": "bucket",
            "Key": "folder/file",
            "Body": b"ab\nc\n",
            "ContentType": "application/jsonl",
        },
    )


def test_retry_file_that_is_not_completed_is_not_stored() -> None:
    client = S3()
    with files_on(client).upload(PLACE) as upload:
        upload.write(b"ab\n")
    assert client.calls == []


@pytest.mark.parametrize("rest", [b"", b"rest"])
def test_large_retry_file_is_stored_in_numbered_parts(rest: bytes) -> None:
    """S3 takes 10,000 parts, each of at least 5 MiB but for the last one."""
    client = S3()
    half = b"x" * (PART // 2)
    with files_on(client).upload(PLACE) as upload:
        for piece in (half, half[:-1], b"yz", half, half, rest):
            upload.write(piece)
        upload.complete()
    place = {"Bucket": "bucket", "Key": "folder/file"}
    sizes = [len(call["Body"]) for name, call in client.calls if name == "upload_part"]
    assert sizes == [PART + 1, PART, *([len(rest)] if rest else [])]
    names = [name for name, _ in client.calls]
    assert names == [
        "create_multipart_upload",
        *["upload_part"] * len(sizes),
        "complete_multipart_upload",
    ]
    assert client.calls[0][1] == place | {"ContentType": "application/jsonl"}
    numbers = range(1, len(sizes) + 1)
    parts = [call for name, call in client.calls if name == "upload_part"]
    assert [part["PartNumber"] for part in parts] == [*numbers]
    assert all(part["UploadId"] == "u" and place.items() <= part.items() for part in parts)
    etags = [{"PartNumber": number, "ETag": f'"{number}"'} for number in numbers]
    assert client.calls[-1][1] == place | {"UploadId": "u", "MultipartUpload": {"Parts": etags}}


def test_parts_of_a_retry_file_that_is_not_completed_are_removed() -> None:
    client = S3()
    with files_on(client).upload(PLACE) as upload:
        upload.write(b"x" * PART)
    assert client.calls[-1] == (
        "abort_multipart_upload",
        {"Bucket": "bucket", "Key": "folder/file", "UploadId": "u"},
    )


def test_manifest_is_cut_one_byte_above_its_limit() -> None:
    """So that one that is too large is not taken for a whole one."""
    client: Any = S3(b"x" * (MANIFEST_BYTES + 9))
    assert len(Manifests(client).read(PLACE)) == MANIFEST_BYTES + 1
    assert client.calls == [("get", {"Bucket": "bucket", "Key": "folder/file"})]
    assert all(body.closed for body in client.bodies)
    client = S3(b"x", refused=True)
    with pytest.raises(ServiceError, match=r"S3\.PreconditionFailed"):
        Manifests(client).read(PLACE)


@pytest.mark.parametrize(
    ("connect", "attempts", "seconds"),
    [(JobFilesInS3.connect, 3, (2, 20)), (Manifests.connect, 1, (1, 2))],
)
def test_call_has_its_attempts_and_seconds_and_the_given_concurrency(
    connect: Any, attempts: int, seconds: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is worth waiting for. The end of a job waits for its manifest, which is read again."""
    monkeypatch.setattr(botocore.endpoint.time, "sleep", lambda _: None)
    reader = connect(session(), 7)
    answer = b"<Error><Code>InternalError</Code><Message>x</Message></Error>"
    network = Network(*[(500, answer, {})] * 9)
    reader._client._endpoint.http_session = network
    with pytest.raises(ServiceError, match=r"S3\.InternalError"):
        reader.read(PLACE) if attempts == 1 else list(reader.chunks(FILE))
    assert len(network.sent) == attempts
    config = reader._client.meta.config
    assert (config.connect_timeout, config.read_timeout) == seconds
    assert config.max_pool_connections == 7
