from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from local.bedrock import Phase, Script
from tests.component.conftest import Cloud

from .conftest import MONITOR_LOG, Bbm, refusal

ROOT = Path(__file__).parents[2]
RUNS = Script((Phase("InProgress", 1000), Phase("Completed", None)), steps=10)


def polled_while_asleep(bbm: Bbm, times: int = 400) -> None:
    """The schedule polls between two reads."""
    bbm.when_asleep += [bbm.cloud.poll] * times  # type: ignore[list-item]


class Failing:
    """A DynamoDB client whose next reads fail."""

    def __init__(self, real: Any, *errors: Exception) -> None:
        self.real = real
        self.errors = list(errors)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def batch_get_item(self, **call: Any) -> Any:
        """Fail as often as there are errors left."""
        if self.errors:
            raise self.errors.pop(0)
        return self.real.batch_get_item(**call)


def test_watch_follows_a_job_to_its_end(bbm: Bbm) -> None:
    """In a pipe every change is a line, with the rate and the time left once they are known."""
    bbm.cloud = bbm.cloud.with_rules(progress_interval=timedelta(0))
    arn = bbm.cloud.add_job(RUNS, job_name="nightly", total_records=1000)
    bbm.cloud.poll()
    polled_while_asleep(bbm)
    answer = bbm("watch", arn, "--interval", "100")
    assert (answer.code, answer.err) == (0, "")
    first, second, *_, last, result = answer.lines
    assert first == "20:00:00  nightly  InProgress  0%  0 / 1,000 records"
    assert second.startswith("20:01:40  nightly  InProgress  10%  100 / 1,000 records")
    assert "60/min, 15 min left" in second
    assert "nightly  Completed  100%" in last
    assert "left" not in last
    assert result == "1 Completed"
    assert set(bbm.slept) == {100}


def test_watch_shows_the_monitors_estimate(bbm: Bbm) -> None:
    """Records, rate and time left fit into 80 columns, and a job at risk has its badge."""
    slow = Script((Phase("InProgress", 40 * 3600), Phase("Completed", None)), steps=800)
    arn = bbm.cloud.add_job(slow, job_name="slow", total_records=12_000)
    bbm.cloud.poll()
    bbm.cloud.bedrock.clock.advance(3600)
    bbm.cloud.poll()
    bbm.when_asleep.append(lambda: bbm("untrack", arn))  # type: ignore[arg-type]
    [line, *_] = bbm("watch", arn).lines
    assert line.endswith("InProgress (at risk)  2%  300 / 12,000 records  5/min, 1 d 15 h left")
    bbm("track", arn)
    bbm.when_asleep.append(lambda: bbm("untrack", arn))  # type: ignore[arg-type]
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", bbm("watch", arn, terminal=80).out)
    expected = r"slow +\w{12} +InProgress \(at risk\) +─{6} +2% +300 / 12,000 +5/min +1 d 14 h"
    assert re.search(expected, drawn)
    assert max(map(len, drawn.splitlines())) <= 80


def test_watch_without_arns_watches_the_jobs_active_at_its_start(bbm: Bbm) -> None:
    """Later jobs are not watched. An item with an invalid ARN is omitted, with a note."""
    first = bbm.cloud.add_job(Script((Phase("InProgress", 10), Phase("Completed", None))))
    bbm.cloud.track("i-am-no-arn")
    bbm.cloud.poll()

    def another() -> None:
        bbm.cloud.add_job(RUNS)
        bbm.cloud.poll()

    bbm.when_asleep += [another] * 3
    answer = bbm("watch", "--json")
    assert answer.code == 0
    assert [job["jobArn"] for job in answer.document["jobs"]] == [first]
    assert "i-am-no-arn is not watched" in answer.err


@pytest.mark.parametrize("ending", ["Failed", "PartiallyCompleted", "Stopped", "Expired"])
def test_watch_exits_with_one_unless_all_jobs_completed(bbm: Bbm, ending: str) -> None:
    """One failed job is enough. The document has every job."""
    arns = [
        bbm.cloud.add_job(Script((Phase("InProgress", 5), Phase(last, None))))
        for last in ("Completed", ending)
    ]
    polled_while_asleep(bbm)
    answer = bbm("watch", *arns, "--json")
    assert answer.code == 1
    assert answer.document == {
        "jobs": [bbm.cloud.job(arn) for arn in arns],
        "allCompleted": False,
    }


def test_watch_without_active_jobs_succeeds_at_once(bbm: Bbm) -> None:
    """The exit code is 0."""
    assert bbm("watch").out == "There is no active job to watch.\n"
    assert bbm.json("watch") == {"jobs": [], "allCompleted": True}
    assert bbm.slept == []


def test_watch_of_an_unknown_job_is_an_error(bbm: Bbm) -> None:
    """Otherwise the command would never end."""
    assert bbm("watch", "zzzzzzzzzzzz").code == 1


@pytest.mark.parametrize("how", ["untrack", "delete"])
def test_watch_ends_when_the_job_is_no_longer_polled(bbm: Bbm, how: str) -> None:
    """An untracked or deleted job no longer changes, and did not complete."""
    arn = bbm.cloud.add_job(RUNS)
    bbm.cloud.poll()

    def remove() -> None:
        if how == "untrack":
            bbm("untrack", arn)
        else:
            bbm.cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": arn}})

    bbm.when_asleep.append(remove)
    answer = bbm("watch", arn)
    assert (answer.code, len(bbm.slept)) == (1, 1)
    assert "InProgress (untracked)  0%" in answer.lines[-2]
    assert answer.lines[-1] == "1 InProgress (untracked)"


def test_watch_shows_why_a_job_failed(bbm: Bbm) -> None:
    """The first line of the reason: in a pipe at the end of the line, in a terminal below it."""
    message = "The input has no recordId.\nSee the documentation."
    for width in (None, 60):
        script = Script((Phase("InProgress", 5), Phase("Failed", None, message)))
        arn = bbm.cloud.add_job(script, job_name="nightly")
        bbm.cloud.poll()
        bbm.when_asleep.append(bbm.cloud.poll)  # type: ignore[arg-type]
        shown = bbm("watch", arn, terminal=width).out
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
        between = r"\n  " if width else r"  "
        assert re.search(rf"nightly .*Failed[^\n]*{between}The input has no recordId\.\n", text)


def test_watch_shows_ids_of_jobs_that_share_a_name(bbm: Bbm) -> None:
    """In a pipe and in a terminal; the job that changed last is first, as in `bbm jobs`."""
    arns = []
    for _ in range(3):
        arns.append(bbm.cloud.add_job(RUNS, job_name="nightly"))
        bbm.cloud.poll()
        bbm.cloud.bedrock.clock.advance(60)
    ids = [arn[-12:] for arn in reversed(arns)]
    listed = [line.split()[1] for line in bbm("jobs").lines[1:]]
    bbm.when_asleep.append(lambda: bbm("untrack", *arns))  # type: ignore[arg-type]
    lines = bbm("watch", *arns).lines[:3]
    assert listed == [line.split()[2].strip("()") for line in lines] == ids
    bbm("track", *arns)
    bbm.when_asleep.append(lambda: bbm("untrack", *arns))  # type: ignore[arg-type]
    drawn = bbm("watch", *arns, terminal=60).out
    assert all(job_id in drawn for job_id in ids)


def test_watch_shows_the_times_of_its_read_and_of_the_last_write(bbm: Bbm) -> None:
    """The output shows if no poll runs."""
    arn = bbm.cloud.add_job(Script((Phase("InProgress", 100), Phase("Completed", None))))
    bbm.cloud.poll()
    bbm.cloud.bedrock.clock.advance(90)
    polled_while_asleep(bbm)
    drawn = bbm("watch", arn, terminal=60).out
    assert "Read 20:01:30 UTC, last change from a poll 20:00:00" in drawn


def log_of_polls(bbm: Bbm) -> Any:
    """A function that writes the log line of a poll that finished now."""
    logs = bbm.clients.client("logs")
    logs.create_log_group(logGroupName=MONITOR_LOG)
    logs.create_log_stream(logGroupName=MONITOR_LOG, logStreamName="a")

    def write() -> None:
        at = int(bbm.now().timestamp() * 1000)
        line = {"timestamp": at, "message": json.dumps({"message": "poll finished"})}
        logs.put_log_events(logGroupName=MONITOR_LOG, logStreamName="a", logEvents=[line])

    return write


def test_watch_shows_the_time_of_the_last_poll(bbm: Bbm) -> None:
    """It comes from the log of the monitor function, which is read at most once a minute."""
    arn = bbm.cloud.add_job(RUNS)
    bbm.cloud.poll()
    write = log_of_polls(bbm)
    write()
    reads: list[datetime] = []
    real = bbm.clients.client("logs")

    class Logs:
        def filter_log_events(self, **request: Any) -> Any:
            reads.append(bbm.now())
            return real.filter_log_events(**request)

    bbm.clients.client = lambda _: Logs()  # type: ignore[method-assign]
    bbm.when_asleep += [write] * 24 + [lambda: bbm("untrack", arn)]  # type: ignore[list-item]
    drawn = bbm("watch", arn, terminal=60).out
    assert "Read 20:00:05 UTC, last poll 20:00:00" in drawn
    assert "Read 20:01:00 UTC, last poll 20:01:00" in drawn
    assert [at.strftime("%H:%M:%S") for at in reads] == ["20:00:00", "20:01:00", "20:02:00"]


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_watch_needs_no_permission_for_the_log(bbm: Bbm, code: str) -> None:
    """Without it, the time of the last change replaces the time of the last poll."""
    arn = bbm.cloud.add_job(RUNS)
    bbm.cloud.poll()

    class Logs:
        def filter_log_events(self, **_: Any) -> Any:
            raise refusal(code, "FilterLogEvents")

    bbm.clients.client = lambda _: Logs()  # type: ignore[method-assign]
    bbm.when_asleep.append(lambda: bbm("untrack", arn))  # type: ignore[arg-type]
    answer = bbm("watch", arn, terminal=60)
    assert "last change from a poll 20:00:00" in answer.out
    assert answer.err == ""


def test_watch_continues_after_transient_errors(bbm: Bbm) -> None:
    """A lost connection and throttling are reported and retried."""
    arn = bbm.cloud.add_job(Script((Phase("InProgress", 5), Phase("Completed", None))))
    bbm.cloud.poll()
    failing = Failing(bbm.clients.dynamodb)
    bbm.clients.dynamodb = failing
    errors = (
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        refusal("ThrottlingException", "BatchGetItem"),
    )
    bbm.when_asleep += [lambda: failing.errors.extend(errors), bbm.cloud.poll]  # type: ignore[list-item]
    answer = bbm("watch", arn)
    assert answer.code == 0
    assert answer.err.count("trying again") == 2


def test_watch_fails_when_the_session_expires(bbm: Bbm) -> None:
    """An expired token is not a transient error."""
    arn = bbm.cloud.add_job(RUNS)
    failing = Failing(bbm.clients.dynamodb)
    bbm.clients.dynamodb = failing
    bbm.when_asleep.append(
        lambda: failing.errors.append(refusal("ExpiredTokenException", "BatchGetItem"))
    )
    answer = bbm("watch", arn)
    assert answer.code == 1
    assert "the AWS session has expired" in answer.err


def test_watch_reads_consistently_and_never_calls_bedrock(bbm: Bbm) -> None:
    """It needs reads of the table, and no calls that Bedrock limits."""
    arn = bbm.cloud.add_job(Script((Phase("Completed", None),)))
    bbm.cloud.poll()
    asked = bbm.cloud.asked()
    calls: list[Any] = []
    bbm.clients.dynamodb.meta.events.register(
        "provide-client-params.dynamodb.BatchGetItem",
        lambda params, **_: calls.append(params),
    )
    assert bbm("watch", arn).code == 0
    assert [call["RequestItems"]["jobs"]["ConsistentRead"] for call in calls] == [True]
    assert bbm.cloud.asked() == asked


@pytest.mark.parametrize("width", [80, 120])
def test_watch_redraws_the_terminal_once_per_read(bbm: Bbm, width: int) -> None:
    """Within the height of the terminal. The cursor is shown again at the end."""
    for n in range(24):
        script = Script((Phase("InProgress", 100), Phase("Completed", None)))
        bbm.cloud.add_job(script, job_name=f"job-{n}", total_records=1000)
    bbm.cloud.poll()
    polled_while_asleep(bbm)
    answer = bbm("watch", "--interval", "50", terminal=width)
    assert answer.code == 0
    assert "... and 6 more" in answer.out
    assert answer.out.count("PROGRESS") == len(bbm.slept) + 2  # Live draws once more at its end
    assert answer.out.rindex("\x1b[?25h") > answer.out.rindex("\x1b[?25l")
    assert "24 \x1b[1;32mCompleted" in answer.out


@pytest.mark.parametrize("terminal", [False, True])
def test_ctrl_c_restores_the_terminal(cloud: Cloud, terminal: bool) -> None:  # noqa: FBT001
    """Exit code 130, no traceback, and the cursor is shown again."""
    # What is started in the background of a shell ignores the signal, and so would its children.
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from bbm.environment import Environment; from bbm.main import app; "
        "from tests.cli.test_watch import Endless; "
        "app(['watch', 'abcdefghijkl'], obj=Environment(connect=Endless), prog_name='bbm')"
    )
    del cloud  # its settings of the environment are what is needed of it
    reader, writer = pty.openpty()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "functions"), str(ROOT / "cli")]),
        "TERM": "xterm-256color",
        "COLUMNS": "80",
        "LINES": "24",
    }
    with subprocess.Popen(  # noqa: S603 - this Python
        [sys.executable, "-c", program],
        stdout=writer if terminal else subprocess.PIPE,
        stderr=writer if terminal else subprocess.STDOUT,
        env=environment,
        cwd=ROOT,
    ) as process:
        os.close(writer)
        source = reader if terminal else process.stdout.fileno()  # type: ignore[union-attr]
        output = b""
        deadline = time.monotonic() + 30
        while b"endless" not in output and time.monotonic() < deadline:
            # A read alone would wait indefinitely if nothing more came.
            if select.select([source], [], [], 1)[0]:
                output += os.read(source, 4096)
        shown = output
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert b"endless" in shown
        if terminal:
            output += os.read(reader, 65536)
    os.close(reader)
    assert b"Traceback" not in output
    if terminal:
        assert output.rindex(b"\x1b[?25h") > output.rindex(b"\x1b[?25l")


class Endless:
    """Clients of a deployment with one job that never ends."""

    region = "us-east-1"
    arn = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghijkl"

    def __init__(self, *_: Any) -> None:
        self.cloudformation = self.dynamodb = self

    def describe_stacks(self, **_: Any) -> Any:
        """One stack."""
        names = ("JobsTableName", "HistoryTableName", "EventBusName", "MonitorFunctionName")
        return {
            "Stacks": [
                {
                    "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/name/id",
                    "StackStatus": "CREATE_COMPLETE",
                    "Outputs": [{"OutputKey": name, "OutputValue": name} for name in names],
                }
            ]
        }

    def get_template(self, **_: Any) -> Any:
        """It is not allowed to read the template."""
        raise refusal(code="AccessDenied", operation="GetTemplate")

    def get_paginator(self, _: str) -> Any:
        """One paginator for all."""
        return self

    def paginate(self, **_: Any) -> Any:
        """No job has another name."""
        return [{"Items": []}]

    def batch_get_item(self, **_: Any) -> Any:
        """The job, as it always is."""
        item = {"jobArn": {"S": self.arn}, "jobName": {"S": "endless"}, "tracking": {"S": "ACTIVE"}}
        return {"Responses": {"JobsTableName": [item]}}
