"""Reads the results and the inputs of a job, several files at a time, and says why records failed.

The command line and the function use it with readers and sinks of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Final, Protocol

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain.error_analysis import Code, ErrorGroup, RecordTotals
from bedrock_batch_monitor.domain.stored_files import JobFiles, StoredFile
from bedrock_batch_monitor.record_errors.lines import (
    Block,
    InputRecord,
    LineProblem,
    LineSplitter,
    input_record,
    inputs_in,
    result_in_last,
    results_in,
)
from bedrock_batch_monitor.record_errors.retry_records import NoRetryLineError, retry_line
from bedrock_batch_monitor.record_errors.tally import Tally, Wanted

CONCURRENT_FILES: Final = 8
NOT_JSON_LINES: Final = "NotJsonLines"
_SNIFFED_BYTES: Final = 512
# gzip, bzip2, xz, zstandard and zip.
_COMPRESSED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")


class Reader(Protocol):
    """Reads files; safe to use from several threads."""

    def chunks(self, file: StoredFile) -> Iterator[bytes]:
        """The content of a file in pieces; raises `ServiceError`."""


class Sink(Protocol):
    """Where the records of a retry file go."""

    def write(self, data: bytes, /) -> object:
        """Append some lines."""


@dataclass(frozen=True, slots=True)
class Retry:
    """What a retry file gets: failed records, of these codes if given, and missing ones."""

    sink: Sink
    codes: frozenset[Code] | None = None
    missing: bool = True


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that could not be read, or only in part: the error's code."""

    file: StoredFile
    code: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How much was read so far."""

    bytes_read: int
    records: int


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a job's records.

    Not `is_complete` if the reading ended early or a file could not be read: the numbers are those
    of the records that were read. `retry_records` is the number of records in the retry file, None
    without one. `unmatched` counts results whose id is in no input, and `unmatched_failures` the
    failures among them, which cannot be in a retry file.
    """

    totals: RecordTotals
    groups: tuple[ErrorGroup, ...]
    is_complete: bool
    was_stopped: bool
    failures: tuple[FileFailure, ...]
    problems: Counter[LineProblem]
    duplicates: int
    duplicate_inputs: int
    inputs_without_id: int
    unmatched: int
    files_without_results: int
    ignored_files: int
    retry_records: int | None
    unmatched_failures: int


@dataclass(slots=True)
class Analysis:
    """One reading of a job's files.

    `is_over` ends it early; so does Ctrl-C. `on_progress` is called after each piece of a file, in
    the thread that has read it.
    """

    files: JobFiles
    reader: Reader
    expected: int | None = None
    is_over: Callable[[], bool] = lambda: False
    on_progress: Callable[[Progress], None] = lambda _: None
    concurrency: int = CONCURRENT_FILES
    _tally: Tally = field(default_factory=Tally)
    _failures: list[FileFailure] = field(default_factory=list)
    _unread: set[StoredFile] = field(default_factory=set)
    _stop: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)
    _bytes_read: int = 0
    _records: int = 0
    _retry_records: int | None = None

    def run(self, retry: Retry | None = None) -> Report:
        """Read everything; raises what the sink raises, and nothing that a service can cause.

        The inputs of a retry file are read one after the other, so that its records are in their
        order. It is written only if every file was read, so that no record is submitted twice.
        """
        results = [pair.results for pair in self.files.pairs if pair.results is not None]
        self._each(self._read_results, results)
        inputs = [
            pair.input
            for pair in self.files.pairs
            if pair.input is not None and pair.results not in self._unread
        ]
        read_inputs = self.files.has_inputs and not self._has_ended
        if read_inputs and retry is not None and not self._failures:
            wanted = self._tally.wanted(retry.codes, missing=retry.missing)
            self._write_retry(inputs, wanted, retry.sink)
        elif read_inputs:
            self._each(self._read_input, inputs)
        return self._report(has_inputs=read_inputs and not self._has_ended)

    @property
    def _has_ended(self) -> bool:
        if not self._stop.is_set() and self.is_over():
            self._stop.set()
        return self._stop.is_set()

    def _each(self, read: Callable[[StoredFile], None], files: Sequence[StoredFile]) -> None:
        with ThreadPoolExecutor(self.concurrency) as pool:
            try:
                for future in [pool.submit(read, file) for file in files]:
                    future.result()
            except KeyboardInterrupt:
                self._stop.set()
            except BaseException:
                self._stop.set()
                raise

    def _read_results(self, file: StoredFile) -> None:
        for block, is_last in self._blocks(file):
            found = result_in_last(block.data) if is_last else results_in(block)
            with self._lock:
                self._tally.add_results(found)
                self._records += found.records

    def _read_input(self, file: StoredFile) -> None:
        for block, _ in self._blocks(file):
            found = inputs_in(block)
            with self._lock:
                self._tally.add_inputs(found)

    def _write_retry(self, files: Sequence[StoredFile], wanted: Wanted, sink: Sink) -> None:
        written = 0
        try:
            for file in files:
                for block, _ in self._blocks(file):
                    written += self._write_lines(block, wanted, sink)
        except KeyboardInterrupt:
            self._stop.set()
        if not self._has_ended and not self._failures:
            self._retry_records = written

    def _write_lines(self, block: Block, wanted: Wanted, sink: Sink) -> int:
        self._tally.add_inputs(inputs_in(block))
        written = 0
        for line in block.lines():
            record = input_record(line)
            if isinstance(record, InputRecord) and wanted.has(record.digest):
                try:
                    sink.write(retry_line(line))
                except NoRetryLineError:
                    self._tally.problems[LineProblem.INVALID] += 1
                else:
                    written += 1
        return written

    def _blocks(self, file: StoredFile) -> Iterator[tuple[Block, bool]]:
        """The complete lines of each piece of a file, and then what follows the last line end.

        What cannot be read is a failure of the file.
        """
        splitter = LineSplitter()
        try:
            for place, chunk in enumerate(self.reader.chunks(file)):
                if self._has_ended:
                    self._unread.add(file)
                    return
                if place == 0 and _is_foreign(chunk):
                    self._fail(file, NOT_JSON_LINES)
                    return
                for block in splitter.feed(chunk):
                    yield block, False
                self._advance(len(chunk))
        except ServiceError as error:
            self._fail(file, error.code)
            return
        finally:
            if splitter.too_long:
                with self._lock:
                    self._tally.problems[LineProblem.TOO_LONG] += splitter.too_long
        if rest := splitter.end():
            yield Block.of(rest), True

    def _fail(self, file: StoredFile, code: str) -> None:
        with self._lock:
            self._failures.append(FileFailure(file, code))
            self._unread.add(file)

    def _advance(self, size: int) -> None:
        with self._lock:
            self._bytes_read += size
            progress = Progress(self._bytes_read, self._records)
        self.on_progress(progress)

    def _report(self, *, has_inputs: bool) -> Report:
        tally = self._tally
        totals = tally.totals(
            has_inputs=has_inputs, expected=None if self._unread else self.expected
        )
        return Report(
            totals=totals,
            groups=tally.error_groups(),
            is_complete=not self._unread and not self._stop.is_set(),
            was_stopped=self._stop.is_set(),
            failures=tuple(sorted(self._failures, key=lambda failure: failure.file.key)),
            problems=tally.problems,
            duplicates=tally.duplicates,
            duplicate_inputs=tally.duplicate_inputs,
            inputs_without_id=tally.inputs_without_id,
            unmatched=tally.unmatched() if has_inputs else 0,
            files_without_results=self.files.without_results,
            ignored_files=self.files.ignored,
            retry_records=self._retry_records,
            unmatched_failures=tally.unmatched_failures() if has_inputs else 0,
        )


def _is_foreign(chunk: bytes) -> bool:
    return chunk.startswith(_COMPRESSED) or b"\0" in chunk[:_SNIFFED_BYTES]
