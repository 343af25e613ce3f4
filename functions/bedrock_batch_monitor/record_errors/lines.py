"""Lines of a file in JSON Lines, and what a line of results or of an input says.

Most lines of a job's results are outputs of the model, which nobody needs here. So a line is parsed
only if it can contain an `error`, or if its record id cannot be found without parsing. A text that
contains `"error"` has its quotes escaped in JSON, so such a line is not mistaken for an error.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

# Bedrock accepts records of less. A line that is longer is skipped, so that it fills no memory.
MOST_LINE_BYTES: Final = 64 * 2**20
# As much of a message is read.
_MESSAGE_CHARACTERS: Final = 2000
_CODE_CHARACTERS: Final = 40
_LARGEST_CODE: Final = 99_999

_ERROR: Final = b'"error"'
_OUTPUT: Final = b'"modelOutput":{'
_ID: Final = b'"recordId"'
_INPUT_FIRST: Final = b'{"modelInput":'
_INPUT_BYTES: Final = len(_INPUT_FIRST)
_LAST_KEY: Final = b',"recordId":'
_KEY_BYTES: Final = len(_LAST_KEY)
_LAST_ENDS: Final = b'"}'
_QUOTE: Final = b'"'
_BACKSLASH: Final = b"\\"
_ENDS: Final = (b"}", b"}\r")
_LINE_END: Final = b"\n"
# An id is at the start or at the end of a line. Both are safe: an unescaped quote right before the
# id cannot be inside of a text, so the member is one of the outermost object.
_FIRST: Final = re.compile(rb'\s*\{\s*"recordId"\s*:\s*"([^"\\]+)"\s*,').match
_LAST: Final = re.compile(rb'"recordId"\s*:\s*"([^"\\]+)"\s*\}\s*\Z').match
_BEFORE_LAST: Final = b", \t{"
# An id has less; an end that is longer is parsed.
_TAIL_BYTES: Final = 400


class LineProblem(StrEnum):
    """What is wrong with a line. The line does not count as the result of a record."""

    TRUNCATED = "truncated"
    INVALID = "invalid"
    TOO_LONG = "too long"
    WITHOUT_RESULT = "without result"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed record: the digest of its id and the id, None without one, and the error."""

    digest: int | None
    record_id: str | None
    code: int | str | None
    message: str


@dataclass(slots=True)
class Results:
    """What some lines of results say. `successes` are digests of ids."""

    successes: list[int] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    successes_without_id: int = 0
    problems: Counter[LineProblem] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        """The number of records with a result."""
        return len(self.successes) + len(self.failures) + self.successes_without_id


# 64 bits in place of an id, the same within one process.
digest_of: Final[Callable[[bytes], int]] = hash


def id_bytes(record_id: str) -> bytes:
    """The bytes of an id of which the digest is made; JSON can have lone surrogates."""
    return record_id.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Block:
    """Complete lines: the bytes from `start` to `end` of `data`, which are not copied."""

    data: bytes
    start: int
    end: int

    @classmethod
    def of(cls, data: bytes) -> Block:
        """All of these bytes."""
        return cls(data, 0, len(data))

    def lines(self) -> Iterator[bytes]:
        """Each line without its line end."""
        start = self.start
        while start < self.end:
            stop = self.data.find(_LINE_END, start, self.end)
            stop = self.end if stop < 0 else stop
            yield self.data[start:stop]
            start = stop + 1


class LineSplitter:
    """Complete lines out of chunks of a file.

    Lines that are longer than `most_bytes` are left out, and counted in `too_long`.
    """

    def __init__(self, most_bytes: int = MOST_LINE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self.too_long = 0

    def feed(self, chunk: bytes) -> list[Block]:
        """The lines that end in this chunk."""
        end = chunk.rfind(_LINE_END) + 1
        start = 0
        blocks = []
        if end and self._size:
            start = chunk.find(_LINE_END) + 1
            self._keep(chunk[:start])
            if line := self._take():
                blocks.append(Block.of(line))
        if start < end:
            blocks.append(Block(chunk, start, end))
        self._keep(chunk[end:])
        return blocks

    def end(self) -> bytes:
        """What follows the last line end; empty after a complete file."""
        return self._take()

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._most_bytes:
            self._parts = []
        elif part:
            self._parts.append(part)

    def _take(self) -> bytes:
        is_long = self._size > self._most_bytes
        self.too_long += is_long
        line = b"" if is_long else b"".join(self._parts)
        self._parts, self._size = [], 0
        return line


def results_in(block: Block) -> Results:
    """What complete lines of results say."""
    found = Results()
    ids: list[bytes] = []
    add = ids.append
    data, start, end = block.data, block.start, block.end
    find, rfind = data.find, data.rfind
    while start < end:
        stop = find(_LINE_END, start, end)
        if stop < 0:
            stop = end
        # The last one: the input, which is most of a line, is not searched.
        output = rfind(_OUTPUT, start, stop)
        # A record has an output or an error. After a `modelInput` at the start, an error can only
        # follow: the last `modelOutput` is that of the record, or inside of it or of the input.
        is_input_first = data[start : start + _INPUT_BYTES] == _INPUT_FIRST
        if output >= 0 and rfind(_ERROR, output if is_input_first else start, stop) < 0:
            # The end of a line as Bedrock writes it; `_quick_id` finds the id of others.
            place = rfind(_QUOTE, start, stop - 2)
            if (
                data[place - _KEY_BYTES : place] == _LAST_KEY
                and data[stop - 2 : stop] == _LAST_ENDS
                and _BACKSLASH not in (record_id := data[place + 1 : stop - 2])
                and record_id
            ):
                add(record_id)
                start = stop + 1
                continue
            quick = _quick_id(data, start, stop)
            if quick is not None:
                add(quick)
                start = stop + 1
                continue
        _parse_result(data[start:stop], found, LineProblem.INVALID)
        start = stop + 1
    found.successes.extend(map(digest_of, ids))
    return found


def result_in_last(line: bytes) -> Results:
    """What a line without a line end says; it can be truncated, so it is always parsed."""
    found = Results()
    _parse_result(line, found, LineProblem.TRUNCATED)
    return found


def _parse_result(line: bytes, found: Results, if_invalid: LineProblem) -> None:
    if not line.strip():
        return
    record = _object_of(line)
    if record is None:
        found.problems[if_invalid] += 1
        return
    record_id = record.get("recordId")
    text = record_id if isinstance(record_id, str) and record_id else None
    digest = None if text is None else digest_of(id_bytes(text))
    error = record.get("error")
    if error is not None:
        found.failures.append(_failure(digest, text, error))
    elif record.get("modelOutput") is None:
        found.problems[LineProblem.WITHOUT_RESULT] += 1
    elif digest is None:
        found.successes_without_id += 1
    else:
        found.successes.append(digest)


def _failure(digest: int | None, record_id: str | None, error: object) -> Failure:
    if not isinstance(error, dict):
        return Failure(digest, record_id, None, _text(error))
    code = _code(error.get("errorCode"))
    return Failure(digest, record_id, code, _text(error.get("errorMessage")))


def _code(value: object) -> int | str | None:
    """A code as a number if it is one, also in a text; None without one."""
    if isinstance(value, bool) or value is None:
        return None
    text = str(value)[:_CODE_CHARACTERS].strip()
    if text.isascii() and text.isdecimal() and int(text) <= _LARGEST_CODE:
        return int(text)
    return text or None


def _text(value: object) -> str:
    return value[:_MESSAGE_CHARACTERS] if isinstance(value, str) else ""


@dataclass(slots=True)
class Inputs:
    """What some lines of an input say: the digests of the ids, and records without an id."""

    digests: list[int] = field(default_factory=list)
    without_id: int = 0
    problems: Counter[LineProblem] = field(default_factory=Counter)


def inputs_in(block: Block) -> Inputs:
    """What lines of an input say; the last one needs no line end."""
    found = Inputs()
    for line in block.lines():
        record = input_record(line)
        if isinstance(record, LineProblem):
            found.problems[record] += 1
        elif record is not None and record.digest is None:
            found.without_id += 1
        elif record is not None and record.digest is not None:
            found.digests.append(record.digest)
    return found


@dataclass(frozen=True, slots=True)
class InputRecord:
    """A line of an input; `digest` is that of its id, None without one."""

    digest: int | None
    line: bytes


def input_record(line: bytes) -> InputRecord | LineProblem | None:
    """The record of a line of an input; None for a blank line."""
    if (quick := _quick_id(line, 0, len(line))) is not None:
        return InputRecord(digest_of(quick), line)
    if not line.strip():
        return None
    record = _object_of(line)
    if record is None:
        return LineProblem.INVALID
    record_id = record.get("recordId")
    if not isinstance(record_id, str) or not record_id:
        return InputRecord(None, line)
    return InputRecord(digest_of(id_bytes(record_id)), line)


def _quick_id(data: bytes, start: int, stop: int) -> bytes | None:
    """The id of the outermost object of a line, if it is its first or its last member.

    None if it has an escape, or if the line does not end as an object does.
    """
    if (first := _FIRST(data, start, stop)) is not None:
        return first[1] if data.endswith(_ENDS, start, stop) else None
    place = data.rfind(_ID, max(start + 1, stop - _TAIL_BYTES), stop)
    if place < 0 or data[place - 1] not in _BEFORE_LAST:
        return None
    last = _LAST(data, place, stop)
    return None if last is None else last[1]


def _object_of(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
