"""Hostile texts from tables, responses and arguments never reach a terminal, pipe or log."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbm.output import plain_text, showable
from bbm.usage import Totals, usage_by
from bbm.views import amounts, job_rows, lines, recorded
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation.job_view import job_of
from tests.component.conftest import ACCOUNT, REGION
from tests.support.hostile import ALL_KEYS, STORABLE, hostile_characters_in, texts

from .conftest import Answer, Bbm, Functions

ROOT: Final = Path(__file__).parents[2]
JOB_ID: Final = "abcdefghijkl"
ARN: Final = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/{JOB_ID}"
NOW: Final = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
# Every attribute that an item or a history entry can have, in any version.
ATTRIBUTES: Final = (
    "changedAt",
    "clientRequestToken",
    "conditions",
    "deadline",
    "endTime",
    "estimatedCostUsd",
    "estimatedEndTime",
    "eventId",
    "firstInProgressAt",
    "jobExpirationTime",
    "jobName",
    "lastErrorAt",
    "lastModifiedTime",
    "message",
    "modelId",
    "modelInvocationType",
    "observedBy",
    "outcome",
    "previousStatus",
    "progressAt",
    "recordsPerMinute",
    "roleArn",
    "status",
    "submitTime",
    "totalRecordCount",
    "processedRecordCount",
    "successRecordCount",
    "errorRecordCount",
    "timeoutDurationInHours",
    "trackedAt",
    "trackedBy",
    "unreachableSince",
    "usageError",
)
KEYS: Final = {"jobArn", "sequence", "observedAt"}
LONG: Final = STORABLE * 100
# What Rich itself writes to a terminal: colors, and in the live view the cursor.
OWN_CODES: Final = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A|\d*[GH])")
MODES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"terminal": 60},
    {"terminal": 80},
    {"terminal": 160},
    {"charset": "ascii"},
    {"charset": "cp1252", "terminal": 120},
)


def assert_harmless(answer: Answer, *, terminal: bool = False) -> None:
    """Lines of text, and in a terminal Rich's own codes."""
    for stream in (answer.out, answer.err):
        text = OWN_CODES.sub("", stream) if terminal else stream
        assert hostile_characters_in(text, allowed="\n\r" if terminal else "\n") == set()


def hostile_item(text: str, **attributes: Any) -> dict[str, Any]:
    """An item that has this text wherever it can."""
    return {
        **{name: {"S": text} for name in ATTRIBUTES},
        "jobArn": {"S": ARN},
        "lastError": {"M": {"code": {"S": text}, "message": {"S": text}}},
        "tags": {"M": {text[:100]: {"S": text}}},
        "tokens": {"M": {"input": {"S": text}, "output": {"S": text}}},
        "outputDataConfig": {"M": {"s3OutputDataConfig": {"M": {"s3Uri": {"S": text}}}}},
        **attributes,
    }


def put(bbm: Bbm, table: str, item: dict[str, Any]) -> None:
    bbm.cloud.dynamodb.put_item(TableName=table, Item=item)


def put_hostile(bbm: Bbm, text: str) -> None:
    """Items and entries of active jobs, ended jobs, and keys that are not jobs."""
    active = {"tracking": {"S": "ACTIVE"}}
    put(bbm, "jobs", hostile_item(text, **active))
    put(bbm, "jobs", hostile_item(text, jobArn={"S": f"{text[:500]}:{JOB_ID}"}, **active))
    # A partition that does not exist, with the id that the victim types.
    for number in (1, 2):
        arn = f"arn:aws-{number}{text[:500]}{ARN.removeprefix('arn:aws')}"
        put(bbm, "jobs", hostile_item(text, jobArn={"S": arn}, **active))
    running = {**active, "status": {"S": "InProgress"}}
    put(bbm, "jobs", hostile_item(text, jobArn={"S": ARN[:-1] + "r"}, **running))
    for number, status in enumerate(statuses.TERMINAL):
        arn = {"jobArn": {"S": f"{ARN[:-1]}{number}"}, "status": {"S": status}}
        put(bbm, "jobs", hostile_item(text, **arn))
        times = {"observedAt": {"S": "2026-11-24T19:00:00.000Z"}, "sequence": {"N": "1"}}
        put(bbm, "history", hostile_item(text, **arn, **times))
    # Two jobs of one hostile name, and a history with an absurd number and time.
    key = {"sequence": {"N": "-1" + "0" * 37}, "observedAt": {"S": text[:900]}}
    put(bbm, "history", hostile_item(text, **key))


COMMANDS: Final = (
    ("track", ARN),
    ("track", f"{ARN[:-1]}0", f"{ARN[:-1]}z"),
    ("track", f"arn:aws-{STORABLE}:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/{JOB_ID}"),
    ("untrack", ARN),
    ("untrack", f"{ARN[:-1]}z", STORABLE),
    ("untrack", LONG),
    ("jobs",),
    ("jobs", "--all"),
    ("jobs", "--since", STORABLE),
    *(("jobs", "--status", status) for status in ("Failed", "InProgress", STORABLE)),
    ("history", JOB_ID),
    ("history", ARN),
    ("history", f"{ARN[:-1]}1"),
    ("history", STORABLE, "--all"),
    ("find", "--since", "9d"),
    *(("find", "--status", status, "--since", "9d") for status in (*statuses.TERMINAL, STORABLE)),
    ("find", "--status", "Failed", "--since", STORABLE),
    ("usage", "--since", "9d"),
    ("usage", "--since", LONG),
    ("watch",),
    ("watch", ARN, f"{ARN[:-1]}0"),
    ("watch", STORABLE),
    ("replay", ARN),
    *(("replay", f"{ARN[:-1]}{number}") for number in range(len(statuses.TERMINAL))),
    ("replay", STORABLE),
    ("poll",),
    ("poll", "--scope", STORABLE),
    ("report", "--output", "-", "--since", "9d"),
    ("report", "--output", STORABLE.replace("\x00", "").replace("/", ""), "--since", "9d"),
    ("cost",),
    ("jobs", "--stack", STORABLE),
    ("jobs", "--debug", "--stack", STORABLE),
)


def with_surrogates(parsed: Any, **_: Any) -> None:
    """Return values that no table can have, as if a client returned them."""

    def replaced(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: replaced(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [replaced(inner) for inner in value]
        return value.replace(STORABLE, ALL_KEYS) if name == "S" else value

    for found in (parsed.get("Items", ()), parsed.get("Responses", {}).get("jobs", ())):
        for item in found:
            item.update({name: replaced(item[name]) for name in item.keys() - KEYS})
    if "Item" in parsed:
        parsed["Item"] = {
            name: value if name in KEYS else replaced(value)
            for name, value in parsed["Item"].items()
        }


@pytest.fixture
def hostile(bbm: Bbm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bbm:
    """Tables full of hostile texts, and a function that answers with them."""
    monkeypatch.chdir(tmp_path)
    put_hostile(bbm, STORABLE)
    bbm.clients.dynamodb.meta.events.register("after-call.dynamodb", with_surrogates)
    poll = {ALL_KEYS: ALL_KEYS, "jobsActive": ALL_KEYS, "errors": {ALL_KEYS: ALL_KEYS}}
    bbm.clients.functions = Functions(lambda: poll)
    return bbm


def delete_all(bbm: Bbm) -> Callable[[], None]:
    """Delete every item, which ends any watch."""

    def delete() -> None:
        for item in bbm.cloud.items("jobs"):
            bbm.cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": item["jobArn"]}})

    return delete


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_no_command_prints_hostile_characters(hostile: Bbm, mode: dict[str, Any]) -> None:
    """Every command, in terminals and pipes, with and without `--json`, in any encoding."""
    for command in COMMANDS:
        # JSON is the same in every terminal.
        for options in ((),) if mode else ((), ("--json",)):
            hostile.when_asleep[:] = [delete_all(hostile)] * 3
            answer = hostile(*command, *options, **mode)
            assert answer.code in {0, 1, 2}, (command, answer)
            assert "bbm itself failed" not in answer.err, (command, answer)
            assert_harmless(answer, terminal="terminal" in mode)
            assert len(answer.err) < 5000
            if options and answer.out:
                assert answer.out.isascii()
                assert answer.document
            if hostile.slept:
                put_hostile(hostile, STORABLE)
                hostile.slept.clear()


def test_hostile_texts_are_shown_without_hostile_characters(hostile: Bbm) -> None:
    """The text itself is shown, or the test above would prove nothing."""
    assert hostile("jobs", "--all").out.count("]52;c;cHduZWQ=") >= 8
    for command in (("history", f"{ARN[:-1]}1"), ("find", "--status", "Failed", "--since", "9d")):
        assert "]52;c;cHduZWQ=" in hostile(*command).out
    assert "]52;c;cHduZWQ=" in hostile("poll").out
    assert hostile.json("jobs", "--all")["jobs"][0]["message"] == ALL_KEYS
    assert "(last status: x]52;c;cHduZWQ=" in hostile("untrack", ARN).out


def test_error_of_the_function_is_shown_without_hostile_characters(hostile: Bbm) -> None:
    """The error that the function raised quotes its input."""
    answer = {"errorType": ALL_KEYS, "errorMessage": ALL_KEYS * 1000}
    hostile.clients.functions = Functions(lambda: answer, error="Unhandled")
    for options in ((), ("--json",), ("--debug",)):
        failed = hostile("poll", *options)
        assert (failed.code, failed.out) == (1, "")
        assert failed.err.splitlines()[-1].startswith("Error: the poll failed (x]52;c;cHduZWQ=")
        assert_harmless(failed)


def test_response_that_is_nested_too_deeply_is_an_error(hostile: Bbm) -> None:
    """The error says that no summary came back."""

    class Deep:
        """Answers with more brackets than any reader takes."""

        def invoke(self, **_: Any) -> dict[str, Any]:
            return {"Payload": io.BytesIO(b"[" * 1_000_000)}

    hostile.clients.functions = Deep()
    answer = hostile("poll")
    assert answer.code == 1
    assert "no summary came back" in answer.err


def test_note_on_a_name_of_many_jobs_lists_a_few(bbm: Bbm) -> None:
    """The note stays a readable line, whatever the name and the times are."""
    for number in range(30):
        arn = f"{ARN[:-2]}{number:02}"
        item = {"tracking": {"S": "ACTIVE"}, "jobName": {"S": STORABLE}, "jobArn": {"S": arn}}
        put(bbm, "jobs", item | {"submitTime": {"S": STORABLE}})
    answer = bbm("history", STORABLE)
    assert answer.code == 0
    assert "and 19 more. Use an id to name one of them" in answer.err
    assert answer.err.count("(time unknown)") == 10
    assert_harmless(answer)


NUMBERS: Final = ("-1", "0", "0.5", "-1E125", "1E125", "1E-130", "9" * 38, f"-{'9' * 38}")
MOMENTS: Final = (
    "0001-01-01T00:00:00.000Z",
    "9999-12-31T23:59:59.999Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
)
COUNTS: Final = (
    "totalRecordCount",
    "processedRecordCount",
    "successRecordCount",
    "errorRecordCount",
    "recordsPerMinute",
    "estimatedCostUsd",
)


@pytest.mark.parametrize("number", NUMBERS)
def test_implausible_numbers_and_times_cause_no_error(
    bbm: Bbm, number: str, tmp_path: Path
) -> None:
    """Neither as a bar, nor in a sum, nor as a year."""
    for place, moment in enumerate(MOMENTS):
        others = {"endTime", "submitTime", "estimatedEndTime", "jobExpirationTime"}
        item = {
            **{name: {"N": number} for name in COUNTS},
            **{name: {"S": moment} for name in (*others, "changedAt", "firstInProgressAt")},
            "tokens": {"M": {"input": {"N": number}, "output": {"N": number}}},
            "sequence": {"N": "1"},
            "observedAt": {"S": "2026-11-24T19:00:00.000Z"},
            "observedBy": {"S": "poll"},
            "eventId": {"S": "x"},
        }
        # One job whose total makes sense, for what is drawn next to it.
        sane = {"totalRecordCount": {"N": "10"}} if place % 2 else {}
        running = {"status": {"S": "InProgress"}, "tracking": {"S": "ACTIVE"}}
        ended = {"status": {"S": "Completed"}, "jobArn": {"S": f"{ARN[:-1]}{place}"}}
        put(bbm, "jobs", item | running | sane | {"jobArn": {"S": f"{ARN[:-2]}r{place}"}})
        put(bbm, "jobs", item | ended | sane)
        put(bbm, "history", item | ended | sane)
    for command in (
        ("jobs", "--all"),
        ("watch", "--interval", "1"),
        ("history", f"{ARN[:-1]}0"),
        ("history", f"{ARN[:-1]}1"),
        ("find", "--status", "Completed", "--since", "9d"),
        ("usage", "--since", "9d"),
        ("replay", f"{ARN[:-1]}0"),
        ("replay", f"{ARN[:-1]}2"),
        ("report", "--since", "9d", "--output", str(tmp_path / "report.html")),
    ):
        for mode in ({}, {"terminal": 120}):
            bbm.when_asleep[:] = [delete_all_tracked(bbm)]
            answer = bbm(*command, **mode)
            assert answer.code in {0, 1}
            assert "bbm itself failed" not in answer.err
            assert len(answer.out) < 50_000


def delete_all_tracked(bbm: Bbm) -> Callable[[], None]:
    """Remove `tracking` everywhere, which ends a watch, until the next command."""

    def remove() -> None:
        for item in bbm.cloud.items("jobs"):
            bbm.cloud.dynamodb.update_item(
                TableName="jobs",
                Key={"jobArn": {"S": item["jobArn"]}},
                UpdateExpression="REMOVE tracking",
            )

    return remove


@pytest.mark.parametrize("attribute", ["jobName", "message", "modelId", "status", "changedAt"])
def test_huge_text_is_truncated_in_the_output(bbm: Bbm, attribute: str) -> None:
    """An item of 390 KB takes a few lines, and little time."""
    item = {"jobArn": {"S": ARN}, "sequence": {"N": "1"}, "observedAt": {"S": "2026-11-24"}}
    item |= {"status": {"S": "Failed"}, "eventId": {"S": "x"}, attribute: {"S": "y" * 390_000}}
    put(bbm, "jobs", item)
    if attribute != "status":  # the key of an index, which DynamoDB keeps short
        put(bbm, "history", item)
    commands = (("jobs", "--all"), ("history", ARN), ("track", ARN), ("untrack", ARN))
    for command in (*commands, ("find", "--status", "Failed", "--since", "9d"), ("replay", ARN)):
        for mode in ({}, {"terminal": 100}):
            answer = bbm(*command, **mode)
            assert len(answer.out + answer.err) < 12_000
            assert "bbm itself failed" not in answer.err


@pytest.mark.parametrize("charset", ["ascii", "cp1252", "iso-8859-1", "cp437", "shift_jis"])
@pytest.mark.parametrize("terminal", [None, 140])
def test_output_survives_every_encoding(bbm: Bbm, charset: str, terminal: int | None) -> None:
    """A character that the stream lacks is replaced, in bars, messages, notes and errors."""
    message = "入力ファイル ≥ 100 😀 Größe"
    common = {"jobArn": {"S": ARN}, "jobName": {"S": message}, "message": {"S": message}}
    counts = {"totalRecordCount": {"N": "100"}, "processedRecordCount": {"N": "40"}}
    running = {"status": {"S": "InProgress"}, "tracking": {"S": "ACTIVE"}, **counts}
    failed = {"status": {"S": "Failed"}, "eventId": {"S": "x"}, "jobArn": {"S": ARN[:-1] + "0"}}
    entry = {"sequence": {"N": "1"}, "observedAt": {"S": "2026-11-24T19:00:00.000Z"}}
    put(bbm, "jobs", common | running)
    put(bbm, "jobs", common | failed)
    put(bbm, "history", common | entry | failed)
    mode = {"charset": charset, "terminal": terminal}
    for command in (
        ("jobs", "--all"),
        ("find", "--status", "Failed"),
        ("history", f"{ARN[:-1]}0"),
        ("history", message),
        ("track", message),
        ("usage",),
    ):
        answer = bbm(*command, **mode)
        assert answer.code in {0, 1, 2}
        assert "\ufffd" not in answer.out + answer.err
        assert "UnicodeEncodeError" not in answer.err
        document = bbm(*command, "--json", **mode)
        assert document.out.isascii()
        assert (document.out == "") or document.document
    shown = bbm("jobs", "--all", **mode).out
    assert ("??????" in shown) is (charset != "shift_jis")
    if terminal is not None and charset != "shift_jis":
        bar = "━━━━──────" if charset == "cp437" else "====------"
        assert bar.replace("━", "=") in OWN_CODES.sub("", shown).replace("━", "=")


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("━━──…", "ascii", "==--~"),
        ("━━──…", "utf-8", "━━──…"),
        ("入力 é", "iso-8859-1", "???? é"),
        ("a\x1b[2J\nb\u202e\r", "utf-8", "a[2J\nb "),
        ("é", "no such encoding", "?"),
    ],
)
def test_showable_text_keeps_lines_and_columns(text: str, encoding: str, shown: str) -> None:
    """A replaced character takes as many columns as before."""
    assert showable(text, encoding) == shown


@pytest.mark.parametrize("encoding", ["cp1252", "iso-8859-1", "ascii", "cp932"])
@pytest.mark.parametrize("terminal", [False, True])
def test_process_with_another_encoding_prints_every_command(
    encoding: str,
    terminal: bool,  # noqa: FBT001 - a case of the test
) -> None:
    """Standard output has the encoding of a Windows pipe or an old terminal."""
    program = (
        "import sys; from tests.cli.scene import PREFIX, scene; from bbm.environment import "
        "Environment; from bbm.main import app\n"
        "with scene() as s:\n"
        "    s.set('12pf4yjm4p1k', message=chr(0x5165) + ' \u2265 100', jobName=chr(0x1f600))\n"
        "    environment = Environment(connect=lambda *_: s, now=lambda: s.now)\n"
        "    for words in (['jobs', '--all'], ['find'], ['history', '4o8nzboo9xsk'], ['usage']):\n"
        "        app(words, obj=environment, prog_name='bbm', standalone_mode=False)\n"
        "        app([*words, '--json'], obj=environment, prog_name='bbm', standalone_mode=False)\n"
    )
    colors = {"FORCE_COLOR": "1", "COLUMNS": "120", "TERM": "xterm-256color"} if terminal else {}
    environment = {
        **os.environ,
        **colors,
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in (".", "functions", "cli")),
        "PYTHONIOENCODING": encoding,
        "PYTHONUTF8": "0",
    }
    done = subprocess.run(  # noqa: S603 - this Python
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding).count("PartiallyCompleted") >= 6


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**125), max_value=10**125)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([*MOMENTS, *statuses.KNOWN, 10**38, -1, 0])
    | texts,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["code", "message", "input"]), inner, max_size=2)
    ),
    max_leaves=4,
)
items = st.fixed_dictionaries(
    {
        "jobArn": texts.map(lambda text: text[:2048] or "x") | st.just(ARN),
        "sequence": st.integers(min_value=-(10**38), max_value=10**38),
        "observedAt": texts | st.sampled_from(MOMENTS),
    },
    optional={
        name: plain_values
        for name in (*ATTRIBUTES, "tracking", "lastError", "tokens")
        if name != "observedAt"
    },
)


@settings(max_examples=25)
@given(
    st.lists(items, min_size=1, max_size=3),
    st.sampled_from([None, 40, 80, 160]),
    st.sampled_from(["utf-8", "ascii", "cp1252"]),
)
def test_views_accept_any_item(
    found: list[dict[str, Any]], width: int | None, encoding: str
) -> None:
    """Whatever an item contains: no error, no hostile character, and a few kilobytes at most."""
    tables = [usage_by(by, [*map(job_of, found)]) for by in (None, "model", "day", "tag:team")]
    total = Totals.of_all(row.totals for row in tables[0].rows)
    for shown in (
        job_rows.jobs_table(found, NOW, width),
        recorded.history(found, NOW, width),
        recorded.history_heading(found),
        recorded.found(found, NOW, width, ended=True),
        recorded.found(found, NOW, width, ended=False),
        *(shown for item in found for shown in recorded.never_read(item, NOW)),
        job_rows.watched(found, NOW, width or 80, rows=2, footer=lines.watch_footer(found, NOW)),
        lines.counted(found),
        *(amounts.usage(table, total, width) for table in tables),
        *(lines.watch_line(item, NOW, with_id=True) for item in found),
    ):
        text = plain_text(shown, encoding)
        assert hostile_characters_in(text, allowed="\n") == set()
        assert len(text) < 40_000 * len(found)
        text.encode(encoding)
