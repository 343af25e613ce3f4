"""The results of a batch job and their manifest, as Bedrock writes them to S3.

Form and place as in the Bedrock user guide, "View the results of a batch inference job".
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from local.bedrock.errors import ResultsRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mypy_boto3_s3 import S3Client

_INPUT_TOKENS: Final = 700
_OUTPUT_TOKENS: Final = 120
_ERRORS: Final = (
    (429, "Too many requests, please wait {} ms before trying again."),
    (400, "messages.0.content.{}.text: text content blocks must be non-empty"),
    (500, "The system encountered an unexpected error during processing (record {})."),
    (503, "Bedrock is unable to process your request."),
)


def manifest(job: Mapping[str, Any]) -> dict[str, int]:
    """The manifest of a job, given as GetModelInvocationJob describes it at its end.

    Each record has a fixed number of tokens. A model for embeddings has no output tokens.
    """
    counts = {
        name: job.get(name, 0)
        for name in (
            "totalRecordCount",
            "processedRecordCount",
            "successRecordCount",
            "errorRecordCount",
        )
    }
    tokens = {"inputTokenCount": counts["processedRecordCount"] * _INPUT_TOKENS}
    if "embed" not in job["modelId"]:
        tokens["outputTokenCount"] = counts["successRecordCount"] * _OUTPUT_TOKENS
    return counts | tokens


def write_manifest(s3: S3Client, job: Mapping[str, Any]) -> None:
    """Write a job's manifest to its output location; raises as `write_results`."""
    bucket, folder = _output(job)
    body = json.dumps(manifest(job)).encode()
    _put(s3, bucket, f"{folder}/manifest.json.out", body, what="S3 output location")


def write_results(s3: S3Client, job: Mapping[str, Any]) -> None:
    """Write a job's input, results and manifest.

    The numbers are those of the job. Records that were not processed have no result. The lines of
    each file of results are in another order than those of its input. A folder as the input has two
    files, of which the second one is smaller. Raises `ResultsRefusedError`, with the message of the
    job, if S3 refuses to read or write there, for example because a bucket does not exist.
    """
    ids = [f"CALL{number:07}" for number in range(job.get("totalRecordCount", 0))]
    rng = random.Random(job["jobArn"])  # noqa: S311 - no secret
    outcomes = _outcomes(job, rng)
    bucket, folder = _output(job)
    for key, some in _parts(job, ids):
        inputs = [{"recordId": record_id, "modelInput": _input(record_id)} for record_id in some]
        source, name = _input_place(job)
        _put(s3, source, f"{name}{key}", _lines(inputs), what="S3 input location")
        results = [
            {"modelInput": _input(record_id), **outcome, "recordId": record_id}
            for record_id in some
            if (outcome := outcomes.pop()) is not None
        ]
        rng.shuffle(results)
        file_name = f"{name}{key}".rsplit("/", 1)[-1]
        _put(s3, bucket, f"{folder}/{file_name}.out", _lines(results), what="S3 output location")
    write_manifest(s3, job)


def _put(s3: S3Client, bucket: str, key: str, body: bytes, *, what: str) -> None:
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "Unknown")
        message = f"The {what} s3://{bucket} does not exist or access to it is denied ({code})"
        raise ResultsRefusedError(message) from error


def _outcomes(job: Mapping[str, Any], rng: random.Random) -> list[dict[str, Any] | None]:
    """What happens to each record, in any order; None for a record that was not processed."""
    failed, succeeded = job.get("errorRecordCount", 0), job.get("successRecordCount", 0)
    outcomes: list[dict[str, Any] | None] = [_error(number) for number in range(failed)]
    output = {"modelOutput": {"content": [{"text": 'It says "error" in the manual.'}]}}
    outcomes += [output] * succeeded
    outcomes += [None] * (job.get("totalRecordCount", 0) - failed - succeeded)
    rng.shuffle(outcomes)
    return outcomes


def _error(number: int) -> dict[str, Any]:
    """One of the errors that real jobs have: of ten records, six have the first one."""
    code, message = _ERRORS[max(0, number % 10 - 6)]
    return {"error": {"errorCode": code, "errorMessage": message.format(number)}}


def _parts(job: Mapping[str, Any], ids: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The files of the input below its place, with the ids of their records."""
    if _input_place(job)[1].endswith(".jsonl"):
        yield "", ids
        return
    middle = 2 * len(ids) // 3
    yield "part-1.jsonl", ids[:middle]
    yield "part-2.jsonl", ids[middle:]


def _input(record_id: str) -> dict[str, Any]:
    text = f'Summarize ticket {record_id}: {{"error": {{"errorCode": 1}}}}'
    return {"messages": [{"role": "user", "content": [{"text": text}]}]}


def _input_place(job: Mapping[str, Any]) -> tuple[str, str]:
    """The bucket, and the key: a folder ends in `/`."""
    uri: str = job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key if key.endswith(".jsonl") or not key else f"{key.rstrip('/')}/"


def _output(job: Mapping[str, Any]) -> tuple[str, str]:
    """The bucket, and the folder of the job without a `/` at its end."""
    uri: str = job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    folder = "/".join([*prefix.split("/"), job["jobArn"].rsplit("/", 1)[-1]]).replace("//", "/")
    return bucket, folder


def _lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    lines = (json.dumps(record, separators=(",", ":"), ensure_ascii=False) for record in records)
    return "".join(f"{line}\n" for line in lines).encode()
