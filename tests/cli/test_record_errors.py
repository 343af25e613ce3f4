"""`bbm errors`: why records failed, and the retry file."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from bbm.retry_file import commands
from bedrock_batch_monitor.adapters.job_files_s3 import JobFilesInS3
from bedrock_batch_monitor.domain.stored_files import StoredFile
from tests.component.conftest import REGION

from .conftest import Bbm, refusal
from .scene import PREFIX

JOB_ID = "abcdefghijkl"
ARN = PREFIX + JOB_ID
RESULTS = f"results/{JOB_ID}/"


def put(key: str, body: bytes | str, bucket: str = "batch") -> None:
    content = body.encode() if isinstance(body, str) else body
    boto3.client("s3", region_name=REGION).put_object(Bucket=bucket, Key=key, Body=content)


def input_of(*ids: str) -> str:
    return "".join(f'{{"recordId": "{i}", "modelInput": {{"prompt": "of  {i}"}}}}\n' for i in ids)


def success(record_id: str) -> str:
    return (
        f'{{"modelInput":{{}},"modelOutput":{{"text":"\\"error\\""}},"recordId":"{record_id}"}}\n'
    )


def failure(record_id: str, message: str, code: object = 400) -> str:
    error = {"errorCode": code, "errorMessage": message}
    return json.dumps({"modelInput": {}, "error": error, "recordId": record_id}) + "\n"


@pytest.fixture
def job(bbm: Bbm) -> Bbm:
    """A job with two files of input, whose item the monitor has written."""
    bbm.clients.s3 = boto3.client("s3", region_name=REGION)
    bbm.clients.s3.create_bucket(Bucket="batch")
    put("in/a.jsonl", input_of("a1", "a2", "a3", "a4"))
    put("in/b.jsonl", input_of("b1", "b2", "b3"))
    put(
        f"{RESULTS}a.jsonl.out",
        failure("a4", "Too many requests, please wait 7 s", 429)
        + success("a1")
        + failure("a2", "messages.0.content: Input should be a valid list"),
    )
    put(
        f"{RESULTS}b.jsonl.out",
        failure("b2", "messages.3.content: Input should be a valid list") + success("b3"),
    )
    put(f"{RESULTS}manifest.json.out", "{}")
    put(f"{RESULTS}a.jsonl.out.gz", b"\x1f\x8b")
    item = {
        "jobArn": {"S": ARN},
        "jobName": {"S": "nightly"},
        "modelId": {"S": "amazon.nova-lite-v1:0"},
        "roleArn": {"S": "arn:aws:iam::123456789012:role/batch"},
        "status": {"S": "Completed"},
        "eventId": {"S": "x"},
        "sequence": {"N": "1"},
        "inputDataConfig": {"M": {"s3InputDataConfig": {"M": {"s3Uri": {"S": "s3://batch/in/"}}}}},
        "outputDataConfig": {
            "M": {"s3OutputDataConfig": {"M": {"s3Uri": {"S": "s3://batch/results"}}}}
        },
    }
    bbm.cloud.dynamodb.put_item(TableName="jobs", Item=item)
    return bbm


DOCUMENT = {
    "jobArn": ARN,
    "records": {"total": 7, "success": 2, "error": 3, "missing": 2},
    "groups": [
        {
            "errorCode": 400,
            "pattern": "messages.<n>.content: Input should be a valid list",
            "count": 2,
            "recordIds": ["a2", "b2"],
        },
        {
            "errorCode": 429,
            "pattern": "Too many requests, please wait <n> s",
            "count": 1,
            "recordIds": ["a4"],
        },
    ],
}


def test_errors_document_has_the_groups(job: Bbm) -> None:
    """It is the document of the contract, by name, ID and ARN."""
    for reference in ("nightly", JOB_ID, ARN):
        assert job.json("errors", reference) == DOCUMENT


@pytest.mark.parametrize("width", [None, 60, 120])
def test_errors_output_has_counts_codes_and_patterns(job: Bbm, width: int | None) -> None:
    answer = job("errors", "nightly", terminal=width)
    assert answer.code == 0, answer.err
    assert "7 records: 2 succeeded, 3 failed, 2 missing" in answer.out
    for text in ("400", "429", "Too many"):
        assert text in answer.out


def test_errors_needs_no_table_with_an_arn_and_the_output(job: Bbm) -> None:
    """Without the input, it is not known which records are missing."""
    job.clients.cloudformation = job.clients.dynamodb = None
    known = {"total": 7, "success": 2, "error": 3, "missing": 2}
    for output in ("s3://batch/results", "s3://batch/results/", f"s3://batch/{RESULTS}"):
        document = job.json("errors", ARN, "--output", output)
        assert document["records"] == {"success": 2, "error": 3}
        document = job.json("errors", ARN, "--output", output, "--input", "s3://batch/in")
        assert document["records"] == known


def test_retry_file_has_failed_and_missing_records(job: Bbm, tmp_path: Path) -> None:
    """It is in the order of the input, with the original model input."""
    path = tmp_path / "retry.jsonl"
    document = job.json("errors", "nightly", "--retry-file", str(path))
    assert document == DOCUMENT | {"retryFile": {"path": str(path), "records": 5}}
    assert path.read_text() == "".join(
        f'{{"recordId":"{i}","modelInput":{{"prompt": "of  {i}"}}}}\n'
        for i in ("a2", "a3", "a4", "b1", "b2")
    )
    # Prompts are for nobody else.
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["retry.jsonl"]


def test_retry_file_is_submitted_by_the_printed_commands(job: Bbm, tmp_path: Path) -> None:
    """They name the model, the role and the places of the job; nothing is submitted."""
    path = tmp_path / "retry.jsonl"
    out = job("errors", "nightly", "--retry-file", str(path)).out
    assert f"aws s3 cp {path} s3://batch/in-retry/{JOB_ID}-retry/retry.jsonl" in out
    call = next(line for line in out.splitlines() if "create-model-invocation-job" in line)
    for part in ("--job-name nightly-retry", "role/batch", "nova-lite", "s3://batch/results"):
        assert part in call


@pytest.mark.parametrize(
    ("codes", "ids"),
    [("429", ["a4"]), ("400, 429", ["a2", "a4", "b2"]), ("missing,429", ["a3", "a4", "b1"])],
)
def test_only_code_selects_the_records_to_retry(
    job: Bbm, tmp_path: Path, codes: str, ids: list[str]
) -> None:
    """The groups stay the same."""
    path = tmp_path / "retry.jsonl"
    document = job.json("errors", "nightly", "--retry-file", str(path), "--only-code", codes)
    assert document["groups"] == DOCUMENT["groups"]
    assert [json.loads(line)["recordId"] for line in path.read_text().splitlines()] == ids


def test_retry_file_is_replaced_only_with_force(job: Bbm, tmp_path: Path) -> None:
    """Otherwise no record is read."""
    path = tmp_path / "retry.jsonl"
    path.write_text("mine")
    answer = job("errors", "nightly", "--retry-file", str(path))
    assert (answer.code, path.read_text()) == (1, "mine")
    assert "--force" in answer.err
    assert job("errors", "nightly", "--retry-file", str(path), "--force").code == 0
    assert path.read_text().count("\n") == 5


def test_retry_file_that_appears_meanwhile_is_not_replaced(
    job: Bbm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file gets its name in one step that never replaces a file."""
    path = tmp_path / "retry.jsonl"
    chunks = JobFilesInS3.chunks

    def chunks_while_another_writes(self: JobFilesInS3, file: StoredFile) -> Iterator[bytes]:
        path.write_text("mine")
        return chunks(self, file)

    monkeypatch.setattr(JobFilesInS3, "chunks", chunks_while_another_writes)
    answer = job("errors", "nightly", "--retry-file", str(path))
    assert (answer.code, path.read_text()) == (1, "mine")
    assert [entry.name for entry in tmp_path.iterdir()] == ["retry.jsonl"]


def test_no_retry_file_without_records_to_retry(job: Bbm, tmp_path: Path) -> None:
    """An empty file is not a valid input."""
    path = tmp_path / "retry.jsonl"
    answer = job("errors", "nightly", "--retry-file", str(path), "--only-code", "503")
    assert (answer.code, list(tmp_path.iterdir())) == (0, [])
    assert "no record to submit again" in answer.err


def test_file_that_cannot_be_read_is_reported(
    job: Bbm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other files count. Its records are not missing, and are not in a retry file."""
    get = job.clients.s3.get_object

    def get_object(**call: Any) -> Any:
        if call["Key"].endswith("a.jsonl.out"):
            raise refusal(code="AccessDenied", operation="GetObject")
        return get(**call)

    monkeypatch.setattr(job.clients.s3, "get_object", get_object)
    answer = job("errors", "nightly", "--json", "--retry-file", str(tmp_path / "retry.jsonl"))
    assert (answer.code, list(tmp_path.iterdir())) == (1, [])
    assert answer.document["records"] == {"total": 3, "success": 1, "error": 1, "missing": 1}
    assert f"cannot read s3://batch/{RESULTS}a.jsonl.out (S3.AccessDenied)" in answer.err
    assert "no retry file was written" in answer.err


def test_inconsistent_results_are_reported_in_notes(job: Bbm) -> None:
    """Bad lines, duplicates and records without an ID are counted."""
    put(f"{RESULTS}b.jsonl.out", success("b1") * 2 + "{\n" + '{"recordId":"b2","modelOut')
    put("in/b.jsonl", input_of("b1", "b2", "b2") + '{"modelInput":{}}\n')
    answer = job("errors", "nightly")
    assert answer.code == 0
    for text in (
        "a last line is truncated (1 times)",
        "a line is not a JSON object (1 times)",
        "1 record with an id that an earlier result has",
        "1 record of the input with an id that an earlier one has",
        "1 record of the input without recordId",
    ):
        assert text in answer.err


def test_missing_results_are_reported(job: Bbm) -> None:
    """A file of the input without results has missing records; no results at all is an error."""
    job.clients.s3.delete_object(Bucket="batch", Key=f"{RESULTS}b.jsonl.out")
    answer = job("errors", "nightly", "--json")
    assert (answer.code, answer.document["records"]["missing"]) == (0, 4)
    assert "1 file of the input without results" in answer.err
    job.clients.s3.delete_object(Bucket="batch", Key=f"{RESULTS}a.jsonl.out")
    answer = job("errors", "nightly")
    assert (answer.code, answer.out) == (1, "")
    assert "there are no results" in answer.err


def test_interrupt_shows_the_partial_result(job: Bbm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code says that it is incomplete."""
    chunks = JobFilesInS3.chunks

    def interrupted(self: JobFilesInS3, file: StoredFile) -> Iterator[bytes]:
        if file.name == "b.jsonl.out":
            raise KeyboardInterrupt
        return chunks(self, file)

    monkeypatch.setattr(JobFilesInS3, "chunks", interrupted)
    answer = job("errors", "nightly", "--json")
    assert (answer.code, answer.document["records"]) == (1, {"success": 1, "error": 2})
    assert "interrupted" in answer.err


def test_hostile_texts_do_not_reach_the_terminal(job: Bbm) -> None:
    """Messages, codes, IDs and file names come from outside."""
    evil = "\x1b[2J\u202e"
    put(f"{RESULTS}b.jsonl.out", failure(f"b{evil}", f"no {evil}", f"E{evil}"))
    answer = job("errors", "nightly")
    assert "\x1b" not in answer.out + answer.err
    assert "\u202e" not in answer.out + answer.err
    assert job("errors", "nightly", "--json").out.isascii()


@pytest.mark.parametrize(
    "arguments",
    [
        ("nightly", "--output", "s3://batch/results"),
        (ARN, "--output", "batch/results"),
        (ARN, "--input", "s3://batch/in"),
        (ARN, "--output", "s3://batch/results", "--input", "in"),
        (ARN, "--only-code", "429"),
        (ARN, "--only-code", "429,", "--retry-file", "x"),
    ],
)
def test_incompatible_options_are_usage_errors(job: Bbm, arguments: tuple[str, ...]) -> None:
    """The exit code is 2."""
    answer = job("errors", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("Error: ")


def test_retry_file_needs_the_input(job: Bbm, tmp_path: Path) -> None:
    """It copies the input."""
    path = str(tmp_path / "retry.jsonl")
    answer = job("errors", ARN, "--output", "s3://batch/results", "--retry-file", path)
    assert (answer.code, list(tmp_path.iterdir())) == (1, [])
    assert "--input" in answer.err


def test_commands_of_an_unknown_job_have_placeholders() -> None:
    """No value is invented."""
    copy, submit = commands(Path("r.jsonl"), ARN, {})
    assert copy == f"aws s3 cp r.jsonl 's3://<bucket>/{JOB_ID}-retry/r.jsonl'"
    assert "--model-id '<model id>'" in submit
    assert f"--job-name {JOB_ID}-retry" in submit
