"""Lines of results and inputs at their edges: what is parsed, what is skipped, what is bounded."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from bedrock_batch_monitor.record_errors import lines
from bedrock_batch_monitor.record_errors.lines import (
    Block,
    Failure,
    InputRecord,
    LineProblem,
    LineSplitter,
    Results,
    digest_of,
    input_record,
    inputs_in,
    result_in_last,
    results_in,
)

MIB = 2**20
AS_BEDROCK_WRITES = b'{"modelInput":{"p":"x"},"modelOutput":{"t":"y"},"recordId":"plain"}'
ID_FIRST = b'{ "recordId" : "first", "modelInput": {}, "modelOutput":{"t":"y"}}'
ID_ONLY = b'{"modelOutput":{},\t"recordId" : "last" } '
# Each with the outcome that a parser finds.
LINES = [
    b"",
    b"  ",
    b"\r",
    b"null",
    b"{}",
    b"7",
    AS_BEDROCK_WRITES,
    AS_BEDROCK_WRITES + b"\r",
    AS_BEDROCK_WRITES + b"  ",
    AS_BEDROCK_WRITES[:-1] + b" }",
    AS_BEDROCK_WRITES[:-1],
    AS_BEDROCK_WRITES + b"}",
    AS_BEDROCK_WRITES.replace(b'"plain"', b'""'),
    AS_BEDROCK_WRITES.replace(b'"plain"', b'"pl\\u0061in"'),
    AS_BEDROCK_WRITES.replace(b'"plain"', b'"with \\"quotes\\""'),
    AS_BEDROCK_WRITES.replace(b'"plain"', b'"' + b"i" * 500 + b'"'),
    AS_BEDROCK_WRITES.replace(b'"plain"', b"5"),
    AS_BEDROCK_WRITES.replace(b'"plain"', b"null"),
    AS_BEDROCK_WRITES.replace(b'"recordId"', b'"recordKey"'),
    AS_BEDROCK_WRITES.replace(b',"recordId"', b', "recordId"'),
    AS_BEDROCK_WRITES.replace(b',"recordId"', b',\t"recordId"'),
    AS_BEDROCK_WRITES.replace(b'"recordId":', b'"recordId" : '),
    ID_FIRST,
    ID_FIRST + b"\r",
    ID_FIRST[:-2],
    ID_FIRST.replace(b'"first"', b'"f\\u0069rst"'),
    ID_FIRST.replace(b'"first"', b'""'),
    ID_ONLY,
    b'{"recordId":"a"}',
    b'"recordId":"a"} ',
    b'{"recordId":"a","modelOutput":null}',
    b'{"modelOutput":{"modelOutput":{}},"error":{"errorCode":1},"recordId":"a"}',
    b'{"modelOutput":{"recordId":"b"}}',
    b'{"error":{"errorCode":1},"modelInput":{"modelOutput":{}},"recordId":"a"}',
    b'{"modelInput":{"modelOutput":{}},"error":{"errorCode":1},"recordId":"a"}',
    b'{"modelInput":{"error":1},"modelOutput":{"error":2},"recordId":"a"}',
    b'{"modelInput":{"error":1},"modelOutput":{},"recordId":"a"}',
    b'{"modelInput":{},"error":null,"modelOutput":{},"recordId":"a"}',
    b'{"modelInput":{},"modelOutput":{},"error":"too bad"}',
    b'{"modelInput":{},"modelOutput":{}}',
    b'{"modelInput":{},"modelOutput":"text","recordId":"a"}',
]

# What is before and after such a line.
EDGES = (
    (b"", b""),
    (b"", ID_ONLY),
    (AS_BEDROCK_WRITES, b""),
    (ID_FIRST, ID_ONLY),
    (b"{", b"x"),
)


def outcome(*found: Results) -> tuple[Any, ...]:
    """What results say, in any order; a last line that cannot be read is called truncated."""
    names = {LineProblem.TRUNCATED: LineProblem.INVALID}
    problems = sorted(
        names.get(problem, problem) for each in found for problem in each.problems.elements()
    )
    return (
        sorted(digest for each in found for digest in each.successes),
        [failure for each in found for failure in each.failures],
        sum(each.successes_without_id for each in found),
        problems,
        sum(each.records for each in found),
    )


@pytest.mark.parametrize("line", LINES, ids=repr)
def test_result_line_between_others_is_what_a_parser_finds(line: bytes) -> None:
    """At any place of a block, and without a line end after it."""
    for before, after in EDGES:
        parsed = outcome(*(result_in_last(each) for each in (before, line, after)))
        for end in (b"\n", b""):
            content = b"\n".join([before, line, after]) + end
            assert outcome(results_in(Block.of(content))) == parsed
            padded = AS_BEDROCK_WRITES + b"\n" + content + b"\n" + AS_BEDROCK_WRITES
            start = len(AS_BEDROCK_WRITES) + 1
            block = Block(padded, start, start + len(content))
            assert outcome(results_in(block)) == parsed


@pytest.mark.parametrize(
    ("line", "record_id"),
    [
        (AS_BEDROCK_WRITES, b"plain"),
        (AS_BEDROCK_WRITES + b"\r", b"plain"),
        (AS_BEDROCK_WRITES[:-1] + b" }", b"plain"),
        (ID_FIRST, b"first"),
        (ID_FIRST + b"\r", b"first"),
        (ID_ONLY, b"last"),
        (b'{"recordId":"a","modelOutput":{}}', b"a"),
        (b'{"modelInput":{"error":1},"modelOutput":{},"recordId":"a"}', b"a"),
    ],
    ids=repr,
)
def test_line_with_an_output_and_a_plain_id_is_not_parsed(
    line: bytes, record_id: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most lines are like this, and are long."""

    def parsed(text: str) -> object:
        raise AssertionError(text)

    monkeypatch.setattr(lines.json, "loads", parsed)
    content = b"\n".join([line, line, line]) + b"\n"
    assert results_in(Block.of(content)) == Results([digest_of(record_id)] * 3)
    assert input_record(line) == InputRecord(digest_of(record_id), line)
    assert inputs_in(Block.of(content)).digests == [digest_of(record_id)] * 3


def test_line_as_bedrock_writes_it_needs_no_regular_expression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There can be many millions of them."""

    def searched(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(lines, "_FIRST", searched)
    monkeypatch.setattr(lines, "_LAST", searched)
    content = AS_BEDROCK_WRITES + b"\n" + AS_BEDROCK_WRITES
    assert results_in(Block.of(content)) == Results([digest_of(b"plain")] * 2)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (400, 400),
        ("400", 400),
        (" 429 ", 429),
        (0, 0),
        (99_999, 99_999),
        ("99999", 99_999),
        (100_000, "100000"),
        (-1, "-1"),
        (1.5, "1.5"),
        ("", None),
        ("  ", None),
        (None, None),
        (True, None),
        (False, None),
        ("Weird", "Weird"),
        ("\u0663", "\u0663"),
        ("x" * 99, "x" * 40),
        ([400], "[400]"),
    ],
)
def test_error_code_is_a_number_or_a_short_text(value: object, code: object) -> None:
    line = json.dumps({"recordId": "a", "error": {"errorCode": value}}).encode()
    (failure,) = results_in(Block.of(line)).failures
    assert failure == Failure(digest_of(b"a"), "a", code, "")  # type: ignore[arg-type]
    assert type(failure.code) is type(code)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ("too bad", None, "too bad"),
        (5, None, ""),
        ([], None, ""),
        ({}, None, ""),
        ({"errorMessage": "no", "errorCode": 1}, 1, "no"),
        ({"errorMessage": ["no"]}, None, ""),
        # The rest would be in no pattern.
        ("x" * 2000, None, "x" * 2000),
        ("x" * 2001, None, "x" * 2000),
    ],
)
def test_error_of_another_form_is_a_failure(error: object, code: object, message: str) -> None:
    line = json.dumps({"error": error}).encode()
    assert results_in(Block.of(line)).failures == [Failure(None, None, code, message)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", None),
        (b" \r", None),
        (b"x", LineProblem.INVALID),
        (b"[]", LineProblem.INVALID),
        (b'"recordId":"a"} ', LineProblem.INVALID),
        (b'{"recordId":5}', InputRecord(None, b'{"recordId":5}')),
        (b'{"recordId":""}', InputRecord(None, b'{"recordId":""}')),
        (b'{"modelInput":{}}', InputRecord(None, b'{"modelInput":{}}')),
        (b'{"recordId":"\\u0061"}', InputRecord(digest_of(b"a"), b'{"recordId":"\\u0061"}')),
        (
            b'\xef\xbb\xbf{"recordId":"a","modelInput":{}}',
            InputRecord(digest_of(b"a"), b'\xef\xbb\xbf{"recordId":"a","modelInput":{}}'),
        ),
    ],
)
def test_input_line_is_a_record_or_a_problem(line: bytes, expected: object) -> None:
    assert input_record(line) == expected


def test_lines_of_an_input_are_counted_one_by_one() -> None:
    content = b'{"recordId":"a"}\n\n5\n{"x":1}\n{"recordId":"b"}\n{"x":2}\n[]'
    found = inputs_in(Block.of(content))
    assert found.digests == [digest_of(b"a"), digest_of(b"b")]
    assert (found.without_id, dict(found.problems)) == (2, {LineProblem.INVALID: 2})


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Block.of(b""), []),
        (Block.of(b"a\n\nb\n"), [b"a", b"", b"b"]),
        (Block.of(b"\na"), [b"", b"a"]),
        (Block(b"xx\na\nb\nyy\n", 3, 7), [b"a", b"b"]),
        (Block(b"xx\na\nb\nyy\n", 3, 6), [b"a", b"b"]),
    ],
)
def test_block_has_its_own_lines_only(block: Block, expected: list[bytes]) -> None:
    assert list(block.lines()) == expected


def split(splitter: LineSplitter, *chunks: bytes) -> list[bytes]:
    """The lines in these chunks; no block is empty."""
    blocks = [block for chunk in chunks for block in splitter.feed(chunk)]
    assert all(block.start < block.end for block in blocks)
    return [line for block in blocks for line in block.lines()]


def test_line_over_several_chunks_may_have_the_most_bytes_and_not_one_more() -> None:
    """The line end counts."""
    splitter = LineSplitter(most_bytes=10)
    assert split(splitter, b"a" * 5, b"a" * 4 + b"\n") == [b"a" * 9]
    assert split(splitter, b"b" * 5, b"b" * 4 + b"\n", b"\n") == [b"b" * 9, b""]
    assert split(splitter, b"c" * 5, b"c" * 5 + b"\nd") == []
    assert split(splitter, b"d" * 8 + b"\ne", b"e" * 9) == [b"d" * 9]
    assert (splitter.too_long, splitter.end()) == (1, b"e" * 10)
    assert split(splitter, b"f" * 6, b"f" * 5) == []
    assert (splitter.end(), splitter.too_long, splitter.end()) == (b"", 2, b"")


def test_line_of_64_mebibytes_is_read_and_a_longer_one_is_not() -> None:
    chunk = b"x" * MIB
    splitter = LineSplitter()
    for _ in range(64):
        splitter.feed(chunk)
    assert (len(splitter.end()), splitter.too_long) == (64 * MIB, 0)
    for _ in range(64):
        splitter.feed(chunk)
    splitter.feed(b"x")
    assert (splitter.end(), splitter.too_long) == (b"", 1)


def test_line_that_is_too_long_takes_no_memory() -> None:
    splitter = LineSplitter(most_bytes=MIB)
    tracemalloc.start()
    for size in range(100, 120):
        splitter.feed(b"x" * (size * 1024))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < MIB / 2
    assert (splitter.end(), splitter.too_long) == (b"", 1)
