"""`python -m local.benchmark.record_errors`: how fast the errors of a job's records are found.

It writes the results of a job to a local file, and reads them in a process of its own, so that the
peak of its memory is that of the reading.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bedrock_batch_monitor.domain.stored_files import FilePair, JobFiles, StoredFile
from bedrock_batch_monitor.record_errors.analysis import Analysis, Progress, Report

_CHUNK_BYTES: Final = 2**19
# As in the texts of people and models: line ends, quotes and characters beyond ASCII.
_TEXT: Final = (
    'The summary of the "error" in the customer\u2019s message:\n\n- **Total**: \u20ac 1,234.50 '
    "\u2013 see the list of items;\n- next steps such as {a} and [b] follow \u2705 below."
)
_RECORDS: Final = 1_000_000
_SPEED_RECORDS: Final = 50_000
_MEGABYTE: Final = 1_000_000
# Other programs on the machine slow a run down; none speeds it up.
_RUNS: Final = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a file: bytes, CPU seconds, and the peak of the process in bytes."""

    size: int
    cpu_seconds: float
    peak_bytes: int = 0

    @property
    def megabytes_per_second(self) -> float:
        """Megabytes (10**6 bytes) per second of CPU time, which is per core."""
        return self.size / _MEGABYTE / self.cpu_seconds


@dataclass(frozen=True, slots=True)
class Measured:
    """The speed of the scan and of parsing every line, and the memory for many records."""

    scan: Reading
    parse: Reading
    many: Reading
    records: int

    @property
    def ratio(self) -> float:
        """The time of the scan divided by that of parsing every line."""
        return self.scan.cpu_seconds / self.parse.cpu_seconds


class LocalFiles:
    """Reads files of this machine in place of objects in S3."""

    def chunks(self, file: StoredFile) -> Iterator[bytes]:
        """The content of the file whose path is the key."""
        with Path(file.key).open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk


def write_job(folder: Path, records: int, *, words: int, failed: int = 50) -> JobFiles:
    """Write an input and its results in another order; one of so many records `failed`.

    The prompt of a record is as long as so many words, and its output as in `local/results.py`: 120
    tokens for 700.
    """
    rng = random.Random(7)  # noqa: S311 - no secret
    inputs, results = folder / "part.jsonl", folder / "part.jsonl.out"
    order = list(range(records))
    rng.shuffle(order)
    texts = [" ".join(rng.choices(_TEXT.split(" "), k=words)) for _ in range(100)]
    outputs = [text[: len(text) * 120 // 700] for text in texts]
    with inputs.open("w") as stream:
        stream.writelines(
            f'{{"recordId": "{_id(number)}", "modelInput": {{"inputText": "x"}}}}\n'
            for number in range(records)
        )
    with results.open("w") as stream:
        stream.writelines(
            _line(_result(number, texts, outputs, is_failed=number % failed == 0))
            for number in order
        )
    return JobFiles((FilePair(_file(inputs), _file(results)),), has_inputs=True)


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"


def _id(number: int) -> str:
    return f"CALL{number:07}"


def _result(
    number: int, texts: list[str], outputs: list[str], *, is_failed: bool
) -> dict[str, Any]:
    prompt = texts[number % len(texts)]
    message = {"role": "user", "content": [{"type": "text", "text": prompt}]}
    record: dict[str, Any] = {
        "modelInput": {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 1024,
            "messages": [message],
        }
    }
    if is_failed:
        record["error"] = {
            "errorCode": 400,
            "errorMessage": f"messages.{number % 9}.content: expected a list, not {number}",
        }
    else:
        output = {"type": "text", "text": outputs[(number + 1) % len(outputs)]}
        record["modelOutput"] = {
            "id": f"msg_{number:024}",
            "role": "assistant",
            "content": [output],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 312, "output_tokens": 280},
        }
    return record | {"recordId": _id(number)}


def _file(path: Path) -> StoredFile:
    return StoredFile("local", str(path), path.stat().st_size)


def _analyze(files: JobFiles) -> Report:
    def ignore(_: Progress) -> None:
        pass

    return Analysis(files, LocalFiles(), on_progress=ignore).run()


def _parse_all(files: JobFiles) -> int:
    """Parse every line, and keep the digests of the ids: the least that a simple program does."""
    succeeded: set[int] = set()
    failed: set[int] = set()
    for pair in files.pairs:
        if pair.results is not None:
            with Path(pair.results.key).open("rb") as stream:
                for line in stream:
                    record = json.loads(line)
                    (failed if "error" in record else succeeded).add(hash(record["recordId"]))
    return len(failed)


def _results_only(files: JobFiles) -> JobFiles:
    return JobFiles(tuple(FilePair(None, pair.results) for pair in files.pairs), has_inputs=False)


def _in_child(call: Callable[[JobFiles], object], files: JobFiles, runs: int = _RUNS) -> Reading:
    """Call a function in new processes, which have read nothing before: the quickest of some."""
    context = multiprocessing.get_context("spawn")
    results = []
    for _ in range(runs):
        with context.Pool(1) as pool:
            results.append(pool.apply(_timed, (call, files)))
    return Reading(files.size, min(one[0] for one in results), max(one[1] for one in results))


def _timed(call: Callable[[JobFiles], object], files: JobFiles) -> tuple[float, int]:
    begun = time.process_time()
    call(files)
    seconds = time.process_time() - begun
    return seconds, _peak_bytes()


def _peak_bytes() -> int:
    """The peak of this program's memory; on Linux `ru_maxrss` can be that of the parent process."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) * 1024
    # In bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(records: int = _RECORDS, speed_records: int = _SPEED_RECORDS) -> Measured:
    """Read results of about 4 KB per record both ways, and many small records with their input."""
    with tempfile.TemporaryDirectory() as name:
        files = _results_only(write_job(Path(name), speed_records, words=500))
        scan, parse = _in_child(_analyze, files), _in_child(_parse_all, files)
    with tempfile.TemporaryDirectory() as name:
        many = _in_child(_analyze, write_job(Path(name), records, words=4), runs=1)
    return Measured(scan, parse, many, records)


def text_of(measured: Measured) -> str:
    """The figures in two lines."""
    return (
        f"results of {measured.scan.size / _MEGABYTE:,.0f} MB: "
        f"{measured.scan.megabytes_per_second:,.0f} MB/s per core, parsing every line "
        f"{measured.parse.megabytes_per_second:,.0f} MB/s, ratio of time {measured.ratio:.2f}\n"
        f"{measured.records:,} records with their input ({measured.many.size / _MEGABYTE:,.0f} "
        f"MB): {measured.many.cpu_seconds:.1f} s of CPU, peak memory "
        f"{measured.many.peak_bytes / _MEGABYTE:,.0f} MB"
    )


def main(
    records: Annotated[int, typer.Option(help="Records for the measurement of memory.")] = _RECORDS,
    speed_records: Annotated[
        int, typer.Option(help="Records for the measurement of speed.")
    ] = _SPEED_RECORDS,
) -> None:
    """Print the speed, the ratio to parsing every line, and the peak of memory."""
    typer.echo(text_of(measure(records, speed_records)))


if __name__ == "__main__":
    typer.run(main)
