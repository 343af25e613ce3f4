"""Results and inputs, line by line: counts, groups, missing records and the retry file."""

import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain.locations import InvalidS3UriError, S3Uri
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.stored_files import (
    FilePair,
    JobFiles,
    StoredFile,
    inputs_among,
    job_files,
)
from bedrock_batch_monitor.record_errors.analysis import (
    Analysis,
    FileFailure,
    Progress,
    Report,
    Retry,
)
from bedrock_batch_monitor.record_errors.grouping import MOST_GROUPS, Groups
from bedrock_batch_monitor.record_errors.lines import (
    Block,
    LineProblem,
    LineSplitter,
    inputs_in,
    result_in_last,
    results_in,
)
from bedrock_batch_monitor.record_errors.patterns import pattern_of
from bedrock_batch_monitor.record_errors.retry_records import NoRetryLineError, retry_line
from bedrock_batch_monitor.record_errors.tally import Tally
from local.results import write_results

UUID = "0b9e3c52-6f0e-4e55-9c1c-0d5d7a2f1b11"


class Files:
    """Files in memory, in chunks of some bytes; a `ServiceError` in place of content is raised."""

    def __init__(self, chunk: int = 7, **contents: bytes | ServiceError) -> None:
        self._chunk = chunk
        self._contents = {name.replace("_", "."): content for name, content in contents.items()}
        self.job = JobFiles(
            tuple(
                FilePair(self._file(f"{name}.jsonl"), self._file(f"{name}.jsonl.out"))
                for name in sorted({name.partition(".")[0] for name in self._contents})
            ),
            has_inputs=True,
        )

    def _file(self, name: str) -> StoredFile | None:
        return StoredFile("bucket", name, 1) if name in self._contents else None

    def chunks(self, file: StoredFile) -> Iterator[bytes]:
        """The content of a file."""
        content = self._contents[file.key]
        if isinstance(content, ServiceError):
            raise content
        for start in range(0, len(content), self._chunk):
            yield content[start : start + self._chunk]


def report_of(files: Files, **options: Any) -> Report:
    return Analysis(files.job, files, **options).run()


def result(
    record_id: object, *, error: object = None, form: str = "last", prompt: object = "x"
) -> bytes:
    """A line of results: the id first or last as Bedrock writes it, or with blanks."""
    outcome = {"modelOutput": {"text": "y"}} if error is None else {"error": error}
    own = {} if record_id is None else {"recordId": record_id}
    record = {"modelInput": {"prompt": prompt}} | outcome
    record = own | record if form in {"first", "blanks"} else record | own
    separators = (", ", " : ") if form == "blanks" else (",", ":")
    return json.dumps(record, separators=separators).encode()


def failed(message: str = "broken", code: object = 400) -> dict[str, object]:
    return {"errorCode": code, "errorMessage": message}


def lines(*given: bytes) -> bytes:
    return b"".join(line + b"\n" for line in given)


def inputs(*record_ids: str) -> bytes:
    return lines(
        *(json.dumps({"recordId": i, "modelInput": {"p": i}}).encode() for i in record_ids)
    )


FORMS = st.sampled_from(["first", "last", "blanks"])
# Values that look like what the scan searches for.
TRICKY = st.sampled_from(
    [
        '"error"',
        '"error":{"errorCode":1}',
        '","error":"',
        '"recordId":"z"}',
        '"modelOutput":',
        "\\",
        "\n",
        {"error": "x"},
        {"recordId": "z"},
        {"modelOutput": {"error": None}},
        ["error", {"level": "error"}],
    ]
)
IDS = st.text(min_size=1, max_size=6)


@st.composite
def jobs(draw: st.DrawFn) -> tuple[dict[str, str], list[bytes]]:
    """What happens to each record of a job, by id, and the lines of its results in any order."""
    fates = draw(
        st.dictionaries(IDS, st.sampled_from(["success", "missing", "400", "429"]), max_size=12)
    )
    found = [
        result(
            record_id,
            error=None if fate == "success" else failed(f"no {record_id}", int(fate)),
            form=draw(FORMS),
            prompt=draw(TRICKY),
        )
        for record_id, fate in fates.items()
        if fate != "missing"
    ]
    return fates, draw(st.permutations(found))


@given(line=st.builds(result, IDS, form=FORMS, prompt=TRICKY))
def test_text_that_looks_like_an_error_is_not_one(line: bytes) -> None:
    found = results_in(Block.of(line + b"\n"))
    assert (len(found.successes), found.failures) == (1, [])


@given(
    record_id=IDS,
    error=st.none() | st.builds(failed, st.text(), st.integers(400, 599)),
    form=FORMS,
    prompt=TRICKY,
)
def test_quick_scan_agrees_with_parsing(
    record_id: str, error: object, form: str, prompt: object
) -> None:
    line = result(record_id, error=error, form=form, prompt=prompt)
    assert results_in(Block.of(line + b"\n")) == result_in_last(line)


@pytest.mark.parametrize("order", ["error first", "error last"])
def test_error_is_found_at_any_position(order: str) -> None:
    error = {"error": failed()}
    record = {"recordId": "a", "modelInput": {"modelOutput": {"recordId": "b"}}}
    record = error | record if order == "error first" else record | error
    line = json.dumps(record, separators=(",", ":")).encode()
    found = results_in(Block.of(line + b"\n"))
    assert [failure.record_id for failure in found.failures] == ["a"]


def test_id_with_escapes_is_the_same_id() -> None:
    escaped = rb'{"modelInput":{},"modelOutput":{},"recordId":"\u0061\/b"}'
    plain = b'{"modelInput":{},"modelOutput":{},"recordId":"a/b"}'
    assert results_in(Block.of(escaped)).successes == results_in(Block.of(plain)).successes


def test_id_of_an_inner_object_is_not_the_id_of_the_record() -> None:
    line = b'{"recordId":"a","modelInput":{},"modelOutput":{"recordId":"b"}}'
    assert results_in(Block.of(line)).successes == [hash(b"a")]
    line = b'{"modelInput":{},"modelOutput":{"recordId":"b"}}'
    found = results_in(Block.of(line))
    assert (found.successes, found.successes_without_id) == ([], 1)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"recordId":"a","modelInput":{}}', LineProblem.WITHOUT_RESULT),
        (b'{"recordId":"a","modelOutput":null}', LineProblem.WITHOUT_RESULT),
        (b"null", LineProblem.INVALID),
        (b"{", LineProblem.INVALID),
        (b'{"recordId":"a","modelOutput":{"x', LineProblem.INVALID),
        (b"\xff\xfe", LineProblem.INVALID),
        (b"[" * 100_000, LineProblem.INVALID),
        (b'{"x":' + b"9" * 5000 + b"}", LineProblem.INVALID),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_unusable_line_is_counted(line: bytes, problem: LineProblem) -> None:
    found = results_in(Block.of(line + b"\n"))
    assert (found.records, dict(found.problems)) == (0, {problem: 1})


def test_line_without_its_end_is_truncated() -> None:
    found = result_in_last(b'{"recordId":"a","modelOutput":{"recordId":"b"}')
    assert dict(found.problems) == {LineProblem.TRUNCATED: 1}


@given(content=st.binary(max_size=40).map(lambda b: b.replace(b"x", b"\n")), size=st.integers(1, 9))
def test_splitter_returns_the_lines_of_the_file(content: bytes, size: int) -> None:
    splitter = LineSplitter()
    found = []
    for start in range(0, len(content), size):
        for block in splitter.feed(content[start : start + size]):
            found += block.lines()
    *complete, last = content.split(b"\n")
    assert ([line for line in found if line], splitter.end()) == (
        [line for line in complete if line],
        last,
    )


def test_splitter_skips_a_line_that_is_too_long() -> None:
    splitter = LineSplitter(most_bytes=10)
    blocks = [
        block for part in (b"ab\n" + b"c" * 8, b"d" * 8, b"e\nf\n") for block in splitter.feed(part)
    ]
    assert [line for block in blocks for line in block.lines()] == [b"ab", b"f"]
    assert (splitter.too_long, splitter.end()) == (1, b"")


def test_input_records_without_an_id_are_counted() -> None:
    found = inputs_in(Block.of(lines(b'{"modelInput":{}}', b'{"recordId":5}', b"", b"x")))
    assert (found.digests, found.without_id) == ([], 2)
    assert dict(found.problems) == {LineProblem.INVALID: 1}


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        ("messages.0.content.12: too long", "messages.<n>.content.<n>: too long"),
        ("$.messages[3] is 1,234.5 MB", "$.messages[<n>] is <n> MB"),
        (f"request {UUID} was throttled", "request <id> was throttled"),
        ("hash 9f86d081884c7d65 differs", "hash <id> differs"),
        ("at 0xDEADBEEF", "at <id>"),
        ("id req_011CSHoEeqs5C35K2UUqR7Fy", "id <id>"),
        ("unknown role 'wizard' or \"x 1\"", "unknown role <value> or <value>"),
        ("the model's limit isn't known", "the model's limit isn't known"),
        ("no arn:aws:bedrock:us-east-1::model/x, sorry", "no <arn>, sorry"),
        ("two\n  lines\x1b[31m", "two lines[<n>m"),
        ("deadbeef is a word", "deadbeef is a word"),
        ("", ""),
    ],
)
def test_values_of_one_record_are_replaced(message: str, pattern: str) -> None:
    assert pattern_of(message) == pattern


def test_pattern_is_made_of_the_first_characters_and_cut_to_300() -> None:
    assert pattern_of("x" * 300) == "x" * 300
    assert pattern_of("x" * 301) == "x" * 299 + "\u2026"
    assert pattern_of('"' + "x" * 998 + '"') == "<value>"
    assert pattern_of('"' + "x" * 999 + '"') != "<value>"


@given(st.text(max_size=3000))
def test_pattern_is_one_bounded_line(message: str) -> None:
    pattern = pattern_of(message)
    assert len(pattern) <= 300
    assert pattern == clean(pattern)


@given(job=jobs(), seed=st.integers(), size=st.integers(1, 200))
def test_every_record_is_in_exactly_one_of_three(
    job: tuple[dict[str, str], list[bytes]], seed: int, size: int
) -> None:
    fates, found = job
    report = report_of(Files(size, a_jsonl=inputs(*fates), a_jsonl_out=lines(*found)))
    counts = {fate: list(fates.values()).count(fate) for fate in ("success", "missing")}
    assert report.totals.success == counts["success"]
    assert report.totals.missing == counts["missing"]
    assert report.totals.total == len(fates)
    assert sum(group.count for group in report.groups) == report.totals.error
    random.Random(seed).shuffle(found)  # noqa: S311 - no secret
    again = report_of(Files(size + 1, a_jsonl=inputs(*fates), a_jsonl_out=lines(*found)))
    assert again == report


@given(
    found=st.lists(
        st.builds(
            result,
            st.sampled_from("abc"),
            error=st.none() | st.builds(failed, st.sampled_from("xyz"), st.integers(1, 2)),
        ),
        max_size=12,
    ),
    seed=st.integers(),
    most=st.integers(1, 4),
)
def test_order_of_duplicates_and_of_many_patterns_does_not_matter(
    found: list[bytes], seed: int, most: int
) -> None:
    def counted(given: list[bytes]) -> tuple[Any, ...]:
        tally = Tally(Groups(most_patterns=most))
        for line in given:
            tally.add_results(results_in(Block.of(line)))
        return tally.error_groups(), tally.totals(has_inputs=True), tally.duplicates

    shuffled = list(found)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - no secret
    assert counted(shuffled) == counted(found)
    distinct = len({json.loads(line)["recordId"] for line in found})
    assert counted(found)[1].total == distinct
    assert counted(found)[2] == len(found) - distinct


def test_errors_have_at_most_a_hundred_groups_and_other() -> None:
    words = [chr(97 + n // 26) + chr(97 + n % 26) for n in range(150)]
    found = [result(f"r{n}", error=failed(f"word {word}")) for n, word in enumerate(words)]
    report = report_of(Files(1000, a_jsonl_out=lines(*found, result("r", error=failed("word aa")))))
    assert len(report.groups) == MOST_GROUPS + 1
    assert (report.groups[0].pattern, report.groups[0].count) == ("word aa", 2)
    assert (report.groups[-1].pattern, report.groups[-1].count) == ("other", 50)
    assert report.groups[0].record_ids == ("r", "r0")


def test_ids_of_a_group_are_the_first_five_in_order() -> None:
    found = [result(f"r{n:02}", error=failed(f"number {n}")) for n in range(30)]
    (group,) = report_of(Files(100, a_jsonl_out=lines(*reversed(found)))).groups
    assert (group.error_code, group.pattern, group.count) == (400, "number <n>", 30)
    assert group.record_ids == ("r00", "r01", "r02", "r03", "r04")


def test_records_without_an_id_are_counted_and_not_matched() -> None:
    # Bedrock makes ids up for records that have none.
    content = lines(*[b'{"modelInput":{}}'] * 3)
    results = lines(result("made-up-1"), result("made-up-2", error=failed()))
    report = report_of(Files(a_jsonl=content, a_jsonl_out=results))
    assert (report.totals.success, report.totals.error, report.totals.missing) == (1, 1, 1)
    assert (report.inputs_without_id, report.unmatched_failures) == (3, 1)


def test_missing_records_follow_from_the_total_without_the_input() -> None:
    files = Files(a_jsonl_out=lines(result("a"), result("b", error=failed())))
    job = replace(files.job, has_inputs=False)
    assert Analysis(job, files, expected=5).run().totals.missing == 3
    assert Analysis(job, files).run().totals.missing is None


def test_records_of_results_that_cannot_be_read_are_not_missing() -> None:
    denied = ServiceError("S3", "AccessDenied", "no", status=403)
    files = Files(
        a_jsonl=inputs("a", "b"),
        a_jsonl_out=denied,
        b_jsonl=inputs("c", "d"),
        b_jsonl_out=lines(result("c")),
    )
    sink = BytesIO()
    report = Analysis(files.job, files).run(Retry(sink))
    assert (report.totals.success, report.totals.missing) == (1, 1)
    assert not report.is_complete
    (failure,) = report.failures
    assert failure == FileFailure(StoredFile("bucket", "a.jsonl.out", 1), "S3.AccessDenied")
    # It would contain records that succeeded.
    assert (report.retry_records, sink.getvalue()) == (None, b"")


def test_file_without_results_has_missing_records() -> None:
    report = report_of(Files(a_jsonl=inputs("a", "b")))
    assert (report.totals.missing, report.files_without_results) == (2, 1)


@pytest.mark.parametrize(
    "magic", [b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\3\4"]
)
def test_compressed_file_is_not_read(magic: bytes) -> None:
    report = report_of(Files(9, a_jsonl_out=magic + b"x" * 20))
    assert [failure.code for failure in report.failures] == ["NotJsonLines"]
    assert not report.problems


@pytest.mark.parametrize(("place", "is_read"), [(0, False), (511, False), (512, True)])
def test_file_with_a_zero_byte_near_its_start_is_not_read(place: int, *, is_read: bool) -> None:
    """Text has none. Later ones are a matter of their line, as is one in a later piece."""
    content = b" " * place + b"\0\n" + lines(result("a"))
    report = report_of(Files(1000, a_jsonl_out=content))
    assert (report.totals.success, report.is_complete) == ((1, True) if is_read else (0, False))
    report = report_of(Files(50, a_jsonl_out=b" " * 50 + b"\0\n" + lines(result("a"))))
    assert (report.totals.success, report.is_complete) == (1, True)


def test_part_of_a_file_that_breaks_off_is_counted_without_its_last_line() -> None:
    """The half of a line at the end is no problem of the file."""

    class Broken(Files):
        def chunks(self, file: StoredFile) -> Iterator[bytes]:
            yield from super().chunks(file)
            service = "S3"
            raise ServiceError(service, "IncompleteReadError", "it broke off")

    broken = Broken(a_jsonl_out=lines(result("a")) + b'{"recordId"')
    report = report_of(broken)
    assert (report.totals.success, dict(report.problems)) == (1, {})
    assert [failure.code for failure in report.failures] == ["S3.IncompleteReadError"]
    assert not report.is_complete


def test_failures_are_in_the_order_of_the_files() -> None:
    denied = ServiceError("S3", "AccessDenied", "no", status=403)
    files = Files(**{f"{name}_jsonl_out": denied for name in "cabed"})
    for pairs in (files.job.pairs, files.job.pairs[::-1]):
        report = Analysis(replace(files.job, pairs=pairs), files).run()
        assert [failure.file.key[0] for failure in report.failures] == list("abcde")


def test_total_of_the_job_says_nothing_if_a_file_was_not_read() -> None:
    denied = ServiceError("S3", "AccessDenied", "no", status=403)
    for content, missing in ((denied, None), (lines(result("b")), 3)):
        files = Files(a_jsonl_out=lines(result("a")), b_jsonl_out=content)
        job = replace(files.job, has_inputs=False)
        assert Analysis(job, files, expected=5).run().totals.missing == missing


def test_results_without_the_input_are_not_unmatched() -> None:
    files = Files(a_jsonl_out=lines(result("a"), result("b", error=failed())))
    report = Analysis(replace(files.job, has_inputs=False, ignored=3), files).run()
    assert (report.unmatched, report.unmatched_failures, report.ignored_files) == (0, 0, 3)
    report = Analysis(files.job, files).run()
    assert (report.unmatched, report.unmatched_failures, report.ignored_files) == (2, 1, 0)


def test_progress_counts_bytes_and_records() -> None:
    """The input has bytes only; a record counts when its line is complete."""
    found: list[Progress] = []
    content, given = lines(result("a"), result("b", error=failed()), result(None)), inputs("a", "b")
    size = len(result("a")) + 1
    files = Files(size, a_jsonl=given, a_jsonl_out=content)
    Analysis(files.job, files, on_progress=found.append, concurrency=1).run()
    sizes = [each.bytes_read for each in found]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (size, len(content) + len(given))
    assert [each.records for each in found][:2] == [1, 1]
    assert found[-1].records == 3


def test_line_that_is_too_long_is_counted_once() -> None:
    class Long(Files):
        def chunks(self, _: StoredFile) -> Iterator[bytes]:
            yield lines(result("a"))
            yield from [b"x" * 2**20] * 65
            yield b"\n" + lines(result("b"))

    files = Long(a_jsonl_out=b"")
    report = report_of(files)
    assert dict(report.problems) == {LineProblem.TOO_LONG: 1}
    assert report.totals.success == 2
    assert LineProblem.TOO_LONG not in report_of(Files(a_jsonl_out=lines(result("a")))).problems


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_error_in_one_file_ends_the_reading_of_the_others(error: type[BaseException]) -> None:
    read: list[int] = []

    class Endless(Files):
        def chunks(self, file: StoredFile) -> Iterator[bytes]:
            if file.key.startswith("a"):
                raise error
            for number in range(1000):
                read.append(number)
                sleep(0.001)
                yield b"\n"

    files = Endless(a_jsonl_out=b"", b_jsonl_out=b"")
    with nullcontext() if error is KeyboardInterrupt else pytest.raises(error):
        assert report_of(files).was_stopped
    assert len(read) < 1000


def test_interrupt_while_the_retry_file_is_written_leaves_no_retry_file() -> None:
    class Interrupted(BytesIO):
        def write(self, _: Any) -> int:
            raise KeyboardInterrupt

    files = Files(a_jsonl=inputs("a", "b"), a_jsonl_out=lines(result("a", error=failed())))
    report = Analysis(files.job, files).run(Retry(Interrupted()))
    assert (report.retry_records, report.was_stopped, report.is_complete) == (None, True, False)
    assert (report.totals.error, report.totals.missing) == (1, None)


def test_input_that_breaks_off_leaves_no_retry_file() -> None:
    """The records that were written may not be all."""
    denied = ServiceError("S3", "AccessDenied", "no", status=403)
    files = Files(
        a_jsonl=inputs("a"), b_jsonl=denied, a_jsonl_out=lines(result("a", error=failed()))
    )
    sink = BytesIO()
    report = Analysis(files.job, files).run(Retry(sink))
    assert (report.retry_records, report.is_complete, report.was_stopped) == (None, False, False)
    assert sink.getvalue()


def test_duplicates_and_bad_lines_are_counted() -> None:
    files = Files(
        a_jsonl=inputs("a", "b", "b"),
        a_jsonl_out=lines(result("a"), result("a"), b"{") + b'{"recordId":"b","modelOut',
    )
    report = report_of(files)
    assert (report.duplicates, report.duplicate_inputs) == (1, 1)
    assert dict(report.problems) == {LineProblem.INVALID: 1, LineProblem.TRUNCATED: 1}
    assert (report.totals.success, report.totals.missing) == (1, 1)


@pytest.mark.parametrize("retry", [None, Retry(BytesIO())])
def test_bad_lines_of_an_input_are_counted(retry: Retry | None) -> None:
    content = inputs("a") + b"x\n" + inputs("b")
    files = Files(a_jsonl=content, a_jsonl_out=lines(result("a")))
    report = Analysis(files.job, files).run(retry)
    assert dict(report.problems) == {LineProblem.INVALID: 1}
    assert (report.totals.success, report.totals.missing) == (1, 1)


def test_deadline_keeps_what_was_read() -> None:
    answers = iter([False, False, True, True, True, True])
    content = lines(result("a"), result("b"), result("c"))
    size = len(result("a")) + 1
    files = Files(size, a_jsonl=inputs("a", "b", "c"), a_jsonl_out=content)
    report = Analysis(files.job, files, expected=9, is_over=lambda: next(answers, True)).run()
    assert (report.totals.success, report.totals.missing) == (2, None)
    assert (report.is_complete, report.was_stopped) == (False, True)


def test_interrupt_keeps_what_was_read() -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    content = lines(*(result(f"r{n}") for n in range(9)))
    files = Files(len(content), a_jsonl=inputs("a"), a_jsonl_out=content)
    report = Analysis(files.job, files, on_progress=interrupt).run()
    assert (report.totals.success, report.was_stopped) == (9, True)


def test_other_errors_are_raised() -> None:
    class Broken(Files):
        def chunks(self, file: StoredFile) -> Iterator[bytes]:
            raise ZeroDivisionError(file.key)

    files = Broken(a_jsonl_out=b"x")
    with pytest.raises(ZeroDivisionError):
        report_of(files)


@given(job=jobs())
def test_failed_and_missing_records_are_in_the_order_of_the_input(
    job: tuple[dict[str, str], list[bytes]],
) -> None:
    fates, found = job
    files = Files(50, a_jsonl=inputs(*fates), a_jsonl_out=lines(*found))
    sink = BytesIO()
    report = Analysis(files.job, files).run(Retry(sink))
    written = [json.loads(line) for line in sink.getvalue().splitlines()]
    wanted = [record_id for record_id, fate in fates.items() if fate != "success"]
    assert [record["recordId"] for record in written] == wanted
    assert [record["modelInput"] for record in written] == [{"p": i} for i in wanted]
    assert report.retry_records == len(wanted)


def test_only_some_codes_are_retried() -> None:
    results = lines(
        result("a", error=failed("x", 400)),
        result("b", error=failed("y", "429")),
        result("c", error=failed("z", "Weird")),
    )
    files = Files(a_jsonl=inputs("a", "b", "c", "d"), a_jsonl_out=results)
    for codes, missing, wanted in (
        ({429}, False, ["b"]),
        ({429, "Weird"}, True, ["b", "c", "d"]),
        (set(), True, ["d"]),
    ):
        sink = BytesIO()
        Analysis(files.job, files).run(Retry(sink, frozenset(codes), missing=missing))
        written = [json.loads(line)["recordId"] for line in sink.getvalue().splitlines()]
        assert written == wanted


def test_line_that_cannot_be_retried_is_counted_and_left_out() -> None:
    files = Files(
        a_jsonl=b'{"recordId":"a"}\n' + inputs("b"),
        a_jsonl_out=lines(result("a", error=failed()), result("b", error=failed())),
    )
    sink = BytesIO()
    report = Analysis(files.job, files).run(Retry(sink))
    assert dict(report.problems) == {LineProblem.INVALID: 1}
    assert [json.loads(line)["recordId"] for line in sink.getvalue().splitlines()] == ["b"]
    assert report.retry_records == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b'{"recordId": "a", "modelInput": {"n": 1.50, "x" : [ 1e3 ]}}',
            b'{"recordId":"a","modelInput":{"n": 1.50, "x" : [ 1e3 ]}}\n',
        ),
        (
            b'\xef\xbb\xbf {"other": {}, "modelInput":{"t":"\\u00e9 \xc3\xa9"} , "recordId":"b"}\r',
            b'{"recordId":"b","modelInput":{"t":"\\u00e9 \xc3\xa9"}}\n',
        ),
        (
            b'{ "recordId" : "c" , "modelInput" : {} , "other" : 1 } ',
            b'{"recordId":"c","modelInput":{}}\n',
        ),
    ],
)
def test_model_input_is_copied_byte_for_byte(line: bytes, expected: bytes) -> None:
    assert retry_line(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"{}", b"[]", b'{"recordId":"a"}', b'{"recordId":"a",}'),
        b'["recordId":"a","modelInput":{}}',
        b'{"recordId"="a","modelInput":{}}',
        b'{"recordId":"a";"modelInput":{}}',
        b'{"recordId":"a","modelInput":{}',
    ],
)
def test_line_without_a_record_is_refused(line: bytes) -> None:
    with pytest.raises(NoRetryLineError):
        retry_line(line)


FOLDER = S3Uri("out", "results/abc/")


def stored(*names: str) -> list[StoredFile]:
    return [StoredFile("out", FOLDER.key + name, 10) for name in names]


def test_results_belong_to_the_input_with_their_name() -> None:
    given = [StoredFile("in", f"batch/{name}", 5) for name in ("b.jsonl", "a.jsonl")]
    place = S3Uri("in", "batch/")
    found = stored("a.jsonl.out", "manifest.json.out", "a.jsonl.out.gz", "notes.txt")
    assert [file.name for file in found[:2]] == ["a.jsonl.out", "manifest.json.out"]
    files = job_files(found, inputs_among(given, place), FOLDER, place)
    assert [(p.input and p.input.name, p.results and p.results.name) for p in files.pairs] == [
        ("a.jsonl", "a.jsonl.out"),
        ("b.jsonl", None),
    ]
    assert (files.ignored, files.without_results, files.size) == (2, 1, 20)


def test_equal_names_are_matched_by_their_folders() -> None:
    given = [StoredFile("in", f"batch/{name}/x.jsonl", 5) for name in ("one", "two")]
    found = stored("one/x.jsonl.out", "two/x.jsonl.out")
    files = job_files(found, given, FOLDER, S3Uri("in", "batch"))
    assert [p.results and p.results.key[-18:] for p in files.pairs] == [
        "bc/one/x.jsonl.out",
        "bc/two/x.jsonl.out",
    ]


@pytest.mark.parametrize(("names", "ignored"), [("abc", 1), ("a", 1), ("", 1), ("abx", 2)])
def test_files_that_are_no_results_of_an_input_are_ignored(names: str, ignored: int) -> None:
    given = [StoredFile("in", f"batch/{name}.jsonl", 5) for name in "abc"]
    found = stored(*(f"{name}.jsonl.out" for name in names), "notes.txt")
    files = job_files(found, given, FOLDER, S3Uri("in", "batch/"))
    matched = len(names) + 1 - ignored
    assert (files.ignored, files.without_results) == (ignored, 3 - matched)


def test_every_result_counts_without_the_input() -> None:
    found = stored("b.jsonl.out", "a.jsonl.out", "manifest.json.out", "c.gz")
    files = job_files(found, None, FOLDER)
    assert {pair.input for pair in files.pairs} == {None}
    assert [p.results and p.results.name for p in files.pairs] == ["a.jsonl.out", "b.jsonl.out"]
    assert (files.has_inputs, files.ignored) == (False, 1)


def test_input_is_an_object_or_the_files_in_a_folder() -> None:
    found = [
        StoredFile("in", key, 5) for key in ("x", "x.jsonl", "x/b.JSONL", "x/c.txt", "xy.jsonl")
    ]
    assert [file.key for file in inputs_among(found, S3Uri("in", "x.jsonl"))] == ["x.jsonl"]
    assert [file.key for file in inputs_among(found[1:], S3Uri("in", "x"))] == ["x/b.JSONL"]


@pytest.mark.parametrize("text", ["", "bucket/key", "s3://", "s3:///key", "https://x/y"])
def test_invalid_s3_uri_is_refused(text: str) -> None:
    with pytest.raises(InvalidS3UriError):
        S3Uri.parse(text)


def test_benchmark_reads_what_it_has_written() -> None:
    from local.benchmark import record_errors  # noqa: PLC0415 - it is needed here alone

    with tempfile.TemporaryDirectory() as folder:
        files = record_errors.write_job(Path(folder), 200, words=20, failed=40)
        report = Analysis(files, record_errors.LocalFiles()).run()
    assert (report.totals.success, report.totals.error, report.totals.missing) == (195, 5, 0)
    assert [group.count for group in report.groups] == [5]


@pytest.mark.parametrize("place", ["s3://in/batch/x.jsonl", "s3://in/batch"])
def test_results_of_the_stand_in_have_the_numbers_of_the_job(place: str) -> None:
    stored: dict[tuple[str, str], bytes] = {}

    class Storage:
        def put_object(self, **call: Any) -> None:
            stored[call["Bucket"], call["Key"]] = call["Body"]

        def chunks(self, file: StoredFile) -> Iterator[bytes]:
            yield stored[file.bucket, file.key]

        def list(self, bucket: str) -> list[StoredFile]:
            return [
                StoredFile(*where, len(body))
                for where, body in stored.items()
                if where[0] == bucket
            ]

    job = {
        "jobArn": "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghijkl",
        "modelId": "m",
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": place}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://out/results"}},
        "totalRecordCount": 120,
        "processedRecordCount": 100,
        "successRecordCount": 80,
        "errorRecordCount": 20,
    }
    storage = Storage()
    write_results(storage, job)  # type: ignore[arg-type]
    source, folder = S3Uri.parse(place), S3Uri("out", "results/abcdefghijkl/")
    files = job_files(storage.list("out"), inputs_among(storage.list("in"), source), folder, source)
    assert len(files.pairs) == (1 if place.endswith(".jsonl") else 2)
    report = Analysis(files, storage).run()
    assert (report.totals.success, report.totals.error, report.totals.missing) == (80, 20, 20)
    assert [group.error_code for group in report.groups] == [429, 400, 500, 503]
    assert not report.unmatched
