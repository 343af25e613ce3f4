"""`bbm errors`: why records of a job failed, and a file to submit them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bbm.command import Invocation, JobReference
from bbm.problems import Problem, UsageProblem, unknown_job
from bbm.retry_file import RetryFile, commands, retry_file
from bbm.tables import has_ended, plain
from bbm.views import record_errors as view
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.adapters.job_files_s3 import JobFilesInS3
from bedrock_batch_monitor.domain.arns import JobArn, is_job_arn
from bedrock_batch_monitor.domain.error_analysis import Code
from bedrock_batch_monitor.domain.locations import (
    InvalidS3UriError,
    S3Uri,
    input_s3_uri,
    output_s3_uri,
)
from bedrock_batch_monitor.domain.plain_text import plausible_count, quoted
from bedrock_batch_monitor.domain.stored_files import (
    JobFiles,
    inputs_among,
    job_files,
)
from bedrock_batch_monitor.record_errors import analysis
from bedrock_batch_monitor.record_errors.analysis import Analysis, Report, Retry

_MISSING: Final = "missing"


@dataclass(frozen=True, slots=True)
class _Job:
    """A job and where its files are; `item` is empty if the tables were not read."""

    job_arn: str
    results: S3Uri
    input: S3Uri | None
    item: Mapping[str, Any]

    @property
    def expected(self) -> int | None:
        """How many records the job has, as Bedrock says."""
        return plausible_count(self.item.get("totalRecordCount")) or None


def errors(  # noqa: PLR0913 - the options of the command
    bbm: Invocation,
    job: JobReference,
    *,
    retry_file_: Annotated[
        Path | None,
        typer.Option(
            "--retry-file",
            metavar="FILE",
            help="Write the failed and the missing records as the input of a new job.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing FILE.")] = False,
    only_code: Annotated[
        str | None,
        typer.Option(
            metavar="CODES",
            help="Of the failed records, write only those with these codes into FILE, for example "
            "429,500; the word missing adds the missing records.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="S3URI",
            help="Where the job writes its results, if JOB is an ARN: the tables are not read.",
        ),
    ] = None,
    input_: Annotated[
        str | None,
        typer.Option("--input", metavar="S3URI", help="The input of the job, with --output."),
    ] = None,
) -> bool:
    """Show why records of a job failed.

    Reads the results of the job in S3 with your own credentials, and groups the failed records by
    error code and message. Numbers, ids and quoted values in messages are replaced. Records of the
    input without a result are missing. Ctrl-C shows what was found so far. Exit code 1 means that
    not everything could be read.
    """
    codes, missing = _selection(only_code, retry_file_)
    found = _job(bbm, job, output, input_)
    storage = JobFilesInS3(bbm.clients.s3)
    files = _files(bbm, storage, found)
    with ExitStack() as stack:
        target, retry = None, None
        if retry_file_ is not None:
            target = stack.enter_context(retry_file(retry_file_, force=force))
            retry = Retry(target.stream, codes, missing=missing)
        report = _read(bbm, storage, files, found, retry)
        written = _complete(bbm, target, report)
    _show(bbm, found, report, written)
    return report.is_complete and (retry_file_ is None or report.retry_records is not None)


def _selection(
    only_code: str | None, retry_file_: Path | None
) -> tuple[frozenset[Code] | None, bool]:
    """The codes of the records to write, None for all, and whether missing ones are written."""
    if only_code is None:
        return None, True
    if retry_file_ is None:
        message = "--only-code selects the records of a retry file: name one with --retry-file"
        raise UsageProblem(message)
    names = [name.strip() for name in only_code.split(",")]
    if not all(names):
        message = f"--only-code {quoted(only_code)} is not a list of codes such as 429,500"
        raise UsageProblem(message)
    wanted = {int(n) if n.isascii() and n.isdecimal() else n for n in names if n != _MISSING}
    return frozenset(wanted), _MISSING in names


def _job(bbm: Invocation, text: str, output: str | None, input_: str | None) -> _Job:
    if output is not None:
        if not is_job_arn(text):
            message = f"--output needs the ARN of a job, and {quoted(text)} is none"
            raise UsageProblem(message)
        return _Job(text, _folder(output, text), _uri("--input", input_), {})
    if input_ is not None:
        message = "--input needs --output: without it, the tables say where the files are"
        raise UsageProblem(message)
    job_arn = bbm.resolve(text)
    raw = bbm.jobs.get(job_arn)
    if raw is None:
        raise unknown_job(text)
    item = plain(raw)
    place = output_s3_uri(_config(item, "outputDataConfig"), JobArn.parse(job_arn).job_id)
    if place is None:
        message = (
            f"it is not recorded where job {quoted(text)} writes its results: name the place with "
            "its ARN and --output"
        )
        raise Problem(message)
    if not has_ended(item):
        bbm.out.note("the job has not ended: results can be missing")
    source = input_s3_uri(_config(item, "inputDataConfig"))
    return _Job(job_arn, S3Uri.parse(place), _recorded(source), item)


def _config(item: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    config = item.get(name)
    return config if isinstance(config, Mapping) else None


def _recorded(text: str | None) -> S3Uri | None:
    try:
        return None if text is None else S3Uri.parse(text)
    except InvalidS3UriError:
        return None


def _uri(option: str, text: str | None) -> S3Uri | None:
    try:
        return None if text is None else S3Uri.parse(text)
    except InvalidS3UriError as error:
        message = f"{option}: {error}"
        raise UsageProblem(message) from error


def _folder(output: str, job_arn: str) -> S3Uri:
    """The folder of the results: it, or the place in which the job makes it."""
    job_id = JobArn.parse(job_arn).job_id
    place = _uri("--output", output)
    if place is not None and place.key.rstrip("/").rpartition("/")[2] == job_id:
        return place.folder
    config = {"s3OutputDataConfig": {"s3Uri": output}}
    return S3Uri.parse(output_s3_uri(config, job_id) or output)


def _files(bbm: Invocation, storage: JobFilesInS3, job: _Job) -> JobFiles:
    results = storage.list(job.results)
    inputs = None
    if job.input is not None:
        try:
            inputs = inputs_among(storage.list(job.input), job.input)
        except ServiceError as error:
            bbm.out.note(
                f"cannot list the input {job.input} ({error.code}): missing records and records "
                "for a retry file are not known"
            )
    files = job_files(results, inputs or None, job.results, job.input)
    if not any(pair.results for pair in files.pairs):
        message = f"there are no results in {job.results}: Bedrock writes them until the job ends"
        raise Problem(message)
    return files


def _read(
    bbm: Invocation, storage: JobFilesInS3, files: JobFiles, job: _Job, retry: Retry | None
) -> Report:
    if retry is not None and not files.has_inputs:
        message = (
            "a retry file needs the input of the job, which cannot be read or is not known: name "
            "it with --output and --input"
        )
        raise Problem(message)
    with _progress(bbm, files) as advance:
        reading = Analysis(files, storage, expected=job.expected, on_progress=advance)
        return reading.run(retry)


@contextmanager
def _progress(bbm: Invocation, files: JobFiles) -> Iterator[Callable[[analysis.Progress], None]]:
    """A bar with bytes, records and the time that is left, on standard error of a terminal."""
    if not bbm.out.err.is_terminal or bbm.out.as_json:
        yield lambda _: None
        return
    columns = (
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=bbm.out.err, transient=True) as progress:
        task = progress.add_task("", total=files.size or None, records=0)
        yield lambda now: progress.update(task, completed=now.bytes_read, records=now.records)


def _complete(bbm: Invocation, target: RetryFile | None, report: Report) -> RetryFile | None:
    """The retry file if it was written; a note says why it was not."""
    if target is None:
        return None
    if report.retry_records is None:
        bbm.out.note("no retry file was written, because not everything could be read")
        return None
    if not report.retry_records:
        bbm.out.note("no retry file was written, because there is no record to submit again")
        return None
    target.complete()
    return target


def _show(bbm: Invocation, job: _Job, report: Report, written: RetryFile | None) -> None:
    for remark in view.remarks(report):
        bbm.out.note(remark)
    bbm.out.document(_document(job.job_arn, report, written))
    bbm.out.show(view.heading(report))
    if report.groups:
        bbm.out.show(Text(""), view.groups(report, bbm.out.width))
    if written is not None:
        bbm.out.show(
            Text(f"\n{report.retry_records:,} records are in {written.path}. To submit them:\n"),
            *(Text(line, no_wrap=True) for line in commands(written.path, job.job_arn, job.item)),
        )


def _document(job_arn: str, report: Report, written: RetryFile | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "jobArn": job_arn,
        "records": report.totals.as_json(),
        "groups": [
            {
                **({} if group.error_code is None else {"errorCode": group.error_code}),
                "pattern": group.pattern,
                "count": group.count,
                "recordIds": list(group.record_ids),
            }
            for group in report.groups
        ],
    }
    if written is not None:
        document["retryFile"] = {"path": str(written.path), "records": report.retry_records}
    return document
