"""The retry file on this machine, and the call that submits it."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from bbm.problems import Problem
from bedrock_batch_monitor.domain.arns import JobArn
from bedrock_batch_monitor.domain.locations import InvalidS3UriError, S3Uri

_NAME_CHARACTERS: Final = 63
_SUFFIX: Final = "-retry"


@dataclass(slots=True)
class RetryFile:
    """A file that exists under its name only once it is complete."""

    stream: IO[bytes]
    path: Path
    force: bool
    temporary: Path

    def complete(self) -> None:
        """Give the file its name; raises `Problem` if another one has it, and without force."""
        try:
            self.stream.close()
            if self.force:
                self.temporary.replace(self.path)
            else:
                # Unlike a rename, a link never replaces a file.
                os.link(self.temporary, self.path)
        except FileExistsError as error:
            raise exists(self.path) from error
        except OSError as error:
            raise _unwritable(self.path, error) from error


@contextmanager
def retry_file(path: Path, *, force: bool) -> Iterator[RetryFile]:
    """Write a retry file in the folder of `path`; what is not completed is removed.

    Raises `Problem` if the file exists, without `force`, or if it cannot be written.
    """
    if path.exists() and not force:
        raise exists(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield RetryFile(stream, path, force, temporary)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def exists(path: Path) -> Problem:
    """The problem that the retry file would replace another file."""
    return Problem(f"{path} exists: name another file, or replace it with --force")


def _unwritable(path: Path, error: OSError) -> Problem:
    return Problem(f"cannot write {path}: {error.strerror or error}")


def commands(path: Path, job_arn: str, item: Mapping[str, Any]) -> tuple[str, str]:
    """The commands that copy a retry file to S3 and submit it; `bbm` runs neither of them.

    What is not known of the job stays a name in angle brackets.
    """
    arn = JobArn.parse(job_arn)
    place = _place(path, item, arn.job_id)
    name = str(item.get("jobName") or arn.job_id)
    config = {
        "input": f'{{"s3InputDataConfig":{{"s3Uri":"{place}"}}}}',
        "output": f'{{"s3OutputDataConfig":{{"s3Uri":"{_output(item)}"}}}}',
    }
    options = {
        "--region": arn.region,
        "--job-name": name[: _NAME_CHARACTERS - len(_SUFFIX)] + _SUFFIX,
        "--model-id": str(item.get("modelId") or "<model id>"),
        "--role-arn": str(item.get("roleArn") or "<role ARN>"),
        "--input-data-config": config["input"],
        "--output-data-config": config["output"],
    }
    if item.get("modelInvocationType"):
        options["--model-invocation-type"] = str(item["modelInvocationType"])
    listed = " ".join(f"{option} {shlex.quote(value)}" for option, value in options.items())
    return (
        f"aws s3 cp {shlex.quote(str(path))} {shlex.quote(place)}",
        f"aws bedrock create-model-invocation-job {listed}",
    )


def _place(path: Path, item: Mapping[str, Any], job_id: str) -> str:
    """Next to the input, and not in a folder that is the input of the job."""
    config = item.get("inputDataConfig")
    uri = _uri_in(config, "s3InputDataConfig")
    try:
        place = S3Uri.parse(uri or "")
    except InvalidS3UriError:
        return f"s3://<bucket>/{job_id}{_SUFFIX}/{path.name}"
    key = place.key.rstrip("/")
    is_file = key.lower().endswith(".jsonl")
    folder = key.rpartition("/")[0] if is_file else f"{key}{_SUFFIX}" if key else ""
    return str(S3Uri(place.bucket, f"{folder}/{job_id}{_SUFFIX}/{path.name}".lstrip("/")))


def _output(item: Mapping[str, Any]) -> str:
    return _uri_in(item.get("outputDataConfig"), "s3OutputDataConfig") or "s3://<bucket>/<prefix>/"


def _uri_in(config: object, inner: str) -> str | None:
    details = config.get(inner) if isinstance(config, Mapping) else None
    uri = details.get("s3Uri") if isinstance(details, Mapping) else None
    return uri if isinstance(uri, str) else None
