"""Drills on the local cloud: `python -m tests.deployed.drills` runs them and writes their times.

Each drill injects a fault. Then it runs the diagnosing commands, one after another, until one names
the cause, and the commands of the runbook, as they are there. It ends when `bbm doctor` finds
nothing wrong in the checks of the drill and the end of another job is recorded and published.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Final

import boto3

from local.bedrock import Phase, Script
from local.cloud import Cloud, local_cloud
from local.deployment import MEMBER_STACK
from local.waiting import wait_for
from tests.docs.pages import ROOT, blocks, read, rows
from tests.docs.shell import bash

PAGE: Final = "docs/operating.md"
GOAL_SECONDS: Final = 120.0
_RECOVERY_SECONDS: Final = 120.0
_MEMBER: Final = "222222222222"
_REGION: Final = "us-east-1"
_HEADING: Final = (
    "| Fault | Named by | After | Repaired with | Well after |",
    "|---|---|---|---|---|",
)
_BAD_ITEM: Final = "not-an-arn"
_COMMAND: Final = """#!{python}
import sys
sys.path[:0] = {path!r}
from bbm.main import app
app(prog_name="bbm")
"""
_LONG: Final = Script((Phase("InProgress", 3600), Phase("Completed", None)))
_ENDED: Final = Script((Phase("Completed", None),))


@dataclass(frozen=True, slots=True)
class Block:
    """A block of commands in the runbook: words that only this block has, and its section."""

    words: str
    section: str

    @property
    def text(self) -> str:
        """The commands as the page has them."""
        (block,) = [each for each in blocks() if each.page == PAGE and self.words in each.text]
        return block.text


@dataclass
class Field:
    """Where a drill takes place: the cloud, a shell, and a job that runs."""

    cloud: Cloud
    shell: Callable[[str, Mapping[str, str]], CompletedProcess[str]]
    directory: Path
    job: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A client of the monitor's account."""
        return self.cloud.monitor.client(service)

    def run(self, command: str) -> CompletedProcess[str]:
        """Run commands as a person would paste them."""
        script = command.replace("bbm trace JOB", f"bbm trace {self.job}")
        script = script.replace("bbm replay JOB", f"bbm replay {self.job}")
        script = script.replace("ACCOUNT/REGION", f"{_MEMBER}/{_REGION}")
        preface = _readme_outputs() + Block("table_of()", "").text
        return self.shell(preface + script, self.variables)

    def must(self, command: str) -> str:
        """Run commands that have to succeed; `bbm doctor` may find something else."""
        result = self.run(command)
        allowed = {0, 1} if "bbm doctor" in command else {0}
        assert result.returncode in allowed, (command, result.stdout, result.stderr)
        return result.stdout

    def add_job(self, script: Script, name: str, **place: str) -> str:
        """Add a job that the monitor tracks and has read."""
        arn = self.cloud.bedrock.add_job(script=script, job_name=name, **place)
        self.cloud.monitor.track(arn)
        return arn

    def track_job(self) -> str:
        """Add a job that runs for an hour, and have its first transition recorded."""
        arn = self.add_job(_LONG, "tracked")
        wait_for(
            lambda: self.must("bbm poll") and self.cloud.monitor.history(arn),
            30,
            what="the tracked job",
        )
        return arn

    def findings(self) -> list[dict[str, Any]]:
        """What `bbm doctor` finds."""
        found: list[dict[str, Any]] = json.loads(self.must("bbm doctor --json"))["findings"]
        return found

    def table(self, name: str) -> str:
        """The name of a table of the stack."""
        return self.must(f"table_of {name}").strip()


@dataclass(frozen=True, slots=True)
class Drill:
    """A fault, how it is found, and how it is repaired.

    `names` is what a diagnosing command says about the cause. `passes` is what happens elsewhere
    before the recovery, such as Bedrock that answers again. `checks` are the checks of `bbm doctor`
    that must be well at the end.
    """

    fault: str
    inject: Callable[[Field], None]
    names: str
    recover: tuple[str | Block, ...]
    checks: tuple[str, ...]
    diagnose: tuple[str, ...] = ("bbm doctor",)
    passes: Callable[[Field], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Result:
    """How long a drill took, in seconds, and which command named the cause."""

    drill: Drill
    command: str
    diagnosed: float
    recovered: float


def _readme_outputs() -> str:
    (block,) = [each for each in blocks() if each.page == "README.md" and "output()" in each.text]
    return block.text


def _clear(place: Field) -> None:
    place.cloud.bedrock.faults.clear()


# Faults


def _delete_item(place: Field) -> None:
    place.client("dynamodb").delete_item(
        TableName=place.cloud.monitor.outputs.jobs_table_name, Key={"jobArn": {"S": place.job}}
    )


def _backup(place: Field, table: str) -> str:
    answer = place.client("dynamodb").create_backup(TableName=table, BackupName="drill")
    return str(answer["BackupDetails"]["BackupArn"])


def _delete_table(place: Field, table: str) -> None:
    client = place.client("dynamodb")
    client.update_table(TableName=table, DeletionProtectionEnabled=False)
    client.delete_table(TableName=table)
    client.get_waiter("table_not_exists").wait(TableName=table)


def _restore_earlier(place: Field) -> None:
    """Somebody restores the jobs table as it was before the newest transitions."""
    table = place.cloud.monitor.outputs.jobs_table_name
    backup = _backup(place, table)
    started = place.add_job(_LONG, "started-after-the-backup")
    place.must("bbm poll")
    assert place.cloud.monitor.history(started)
    _delete_table(place, table)
    client = place.client("dynamodb")
    client.restore_table_from_backup(TargetTableName=table, BackupArn=backup)
    client.get_waiter("table_exists").wait(TableName=table)


def _delete_history(place: Field) -> None:
    """DynamoDB makes a system backup of a deleted table; the emulator does not, so we make it."""
    table = place.cloud.monitor.outputs.history_table_name
    _backup(place, table)
    _delete_table(place, table)


def _delete_state(place: Field) -> None:
    _delete_table(place, place.table("State"))


def _bedrock_fails(place: Field) -> None:
    place.cloud.bedrock.faults.fail()


def _bedrock_resets(place: Field) -> None:
    place.cloud.bedrock.faults.fail("reset")


def _throttle_job(place: Field) -> None:
    place.cloud.bedrock.faults.throttle()
    place.must("bbm poll")


def _end_job(place: Field) -> None:
    place.cloud.bedrock.clock.advance(3600)
    place.must("bbm poll")


def _change_schedule(place: Field) -> None:
    client = place.client("scheduler")
    name = next(
        each["Name"] for each in client.list_schedules()["Schedules"] if _MEMBER not in each["Name"]
    )
    deployed = client.get_schedule(Name=name)
    client.update_schedule(
        Name=name,
        ScheduleExpression=deployed["ScheduleExpression"],
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={key: deployed["Target"][key] for key in ("Arn", "RoleArn")},
        State="DISABLED",
    )


def _delete_bus(place: Field) -> None:
    events, bus = place.client("events"), place.cloud.monitor.outputs.event_bus_name
    for rule in events.list_rules(EventBusName=bus)["Rules"]:
        targets = events.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]
        ids = [target["Id"] for target in targets]
        events.remove_targets(Rule=rule["Name"], EventBusName=bus, Ids=ids)
        events.delete_rule(Name=rule["Name"], EventBusName=bus)
    events.delete_event_bus(Name=bus)


def _disable_mapping(place: Field) -> None:
    client = place.client("lambda")
    for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
        if "InboxFunction" in mapping["FunctionArn"]:
            client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)


def _leave_letter(place: Field) -> None:
    """A command that EventBridge could not deliver to the inbox."""
    arn = place.cloud.bedrock.add_job(script=_LONG, job_name="in-the-letter")
    body = {
        "source": "test",
        "detail-type": "Track Batch Inference Job",
        "detail": {"jobArn": arn},
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    place.client("sqs").send_message(
        QueueUrl=place.cloud.monitor.outputs.dead_letter_queue_url,
        MessageBody=json.dumps(body),
        MessageAttributes={"RULE_ARN": {"DataType": "String", "StringValue": "arn:aws:events"}},
    )


def _put_bad_item(place: Field) -> None:
    place.cloud.monitor.track(_BAD_ITEM)
    place.variables["JOB_ARN"] = _BAD_ITEM


def _deny_jobs(place: Field) -> None:
    place.cloud.bedrock.faults.deny()


def _allow_unreachable(place: Field) -> None:
    """The jobs become unreachable before somebody allows the calls again."""
    for _ in range(3):
        place.must("bbm poll")
    job = place.cloud.monitor.job(place.job)
    assert job is not None
    assert "unreachableSince" in job
    _clear(place)


def _delete_role(place: Field) -> None:
    arn = place.cloud.bedrock.add_job(
        script=_LONG, job_name="of-the-member", account=_MEMBER, region=_REGION
    )
    place.cloud.monitor.track(arn)
    emulator = place.cloud.emulator
    template = emulator.clients(_MEMBER, _REGION)("cloudformation").get_template(
        StackName=MEMBER_STACK
    )["TemplateBody"]
    folder = place.directory / "cdk.out"
    folder.mkdir(exist_ok=True)
    text = template if isinstance(template, str) else json.dumps(template)
    (folder / f"{MEMBER_STACK}.template.json").write_text(text)
    iam = emulator.clients(_MEMBER, _REGION)("iam")
    for role in iam.list_roles()["Roles"]:
        name = role["RoleName"]
        if name.startswith(MEMBER_STACK):
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
            iam.delete_role(RoleName=name)
    # AWS refuses the session of a deleted role, which the stand-in for Bedrock does not know. After
    # a start of the functions, there is no session.
    emulator.restart()


def _disable_key(place: Field) -> None:
    client = place.client("kms")
    for resource in place.client("cloudformation").describe_stack_resources(
        StackName="BedrockBatchMonitor"
    )["StackResources"]:
        if resource["ResourceType"] == "AWS::KMS::Key":
            client.disable_key(KeyId=resource["PhysicalResourceId"])


def _delete_index(place: Field) -> None:
    table = place.cloud.monitor.outputs.jobs_table_name
    client = place.client("dynamodb")
    change = [{"Delete": {"IndexName": "active-jobs"}}]
    client.update_table(TableName=table, GlobalSecondaryIndexUpdates=change)
    client.get_waiter("table_exists").wait(TableName=table)


_POLL: Final = ("bbm doctor", "bbm poll")
_TRACE: Final = ("bbm trace JOB --since 24h",)
DRILLS: Final = (
    Drill(
        "Items of the jobs table are deleted",
        _delete_item,
        "running jobs have a history and no item",
        ("bbm rediscover --since 8d",),
        ("records", "tables"),
    ),
    Drill(
        "The jobs table is restored to an earlier point",
        _restore_earlier,
        "have a history and no item|are older than their history",
        ("bbm rediscover --since 8d",),
        ("records", "tables"),
    ),
    Drill(
        "The history table is deleted",
        _delete_history,
        r"\(TablesHistory\) does not exist",
        (
            Block("list-backups", "A table was deleted"),
            Block("update-continuous-backups", "A table was deleted"),
            "bbm poll",
        ),
        ("records", "tables", "poll"),
    ),
    Drill(
        "The state table is deleted",
        _delete_state,
        r"\(TablesState\) does not exist",
        (Block("create-table", "A table was deleted"), "bbm poll"),
        ("tables", "poll"),
    ),
    Drill(
        "Bedrock answers with errors (5xx)",
        _bedrock_fails,
        r"the newest poll read none of \d+ jobs: .*Bedrock\.InternalServerException",
        ("bbm poll",),
        ("poll", "reads"),
        _POLL,
        _clear,
    ),
    Drill(
        "Bedrock cannot be reached",
        _bedrock_resets,
        r"the newest poll read none of \d+ jobs: .*Bedrock\.\w+",
        ("bbm poll",),
        ("poll", "reads"),
        _POLL,
        _clear,
    ),
    Drill(
        "One job was not polled for some time (throttled)",
        _throttle_job,
        r"read refused +error=Bedrock\.ThrottlingException",
        ("bbm poll",),
        ("poll", "reads"),
        _TRACE,
        _clear,
    ),
    Drill(
        "A subscriber says that it never received an event",
        _end_job,
        "event published .*eventBridgeId=",
        ("bbm replay JOB",),
        ("bus", "pendingEvents"),
        _TRACE,
    ),
    Drill(
        "The schedule is disabled, without payload and retries",
        _change_schedule,
        "is DISABLED",
        ("bbm doctor --fix schedule",),
        ("schedule", "poll"),
    ),
    Drill(
        "The event bus is deleted",
        _delete_bus,
        "event bus .* does not exist",
        ("bbm doctor --fix bus", "bbm replay --since 24h"),
        ("bus", "pendingEvents"),
    ),
    Drill(
        "The inbox is stopped",
        _disable_mapping,
        "event source mapping: Disabled",
        (Block("update-event-source-mapping", "InboxStopped"),),
        ("inbox",),
    ),
    Drill(
        "A message is in the dead-letter queue",
        _leave_letter,
        "1 dead letters",
        ("bbm letters", "bbm letters --redrive"),
        ("deadLetters", "inbox"),
    ),
    Drill(
        "One item is wrong",
        _put_bad_item,
        "cannot be read .*InvalidJobArn",
        (Block("delete-item", "JobsNeedAttention"),),
        ("unread",),
        _POLL,
    ),
    Drill(
        "Jobs are refused, and allowed again",
        _deny_jobs,
        "AccessDeniedException",
        ("bbm poll --all",),
        ("unread", "poll", "reads"),
        _POLL,
        _allow_unreachable,
    ),
    Drill(
        "The role in another account is deleted",
        _delete_role,
        f"{_MEMBER}/{_REGION}: .*STS.AccessDenied",
        (
            Block("delete-stack", "RoleRefused"),
            "bbm poll --all --scope ACCOUNT/REGION",
        ),
        ("poll", "errors"),
        ("bbm doctor", "bbm poll --all --scope ACCOUNT/REGION"),
    ),
    Drill(
        "The customer key is disabled",
        _disable_key,
        "is Disabled",
        (Block("enable-key", "The key was disabled"), "bbm poll"),
        ("key",),
    ),
    Drill(
        "The index of active jobs is missing",
        _delete_index,
        "index active-jobs is missing",
        (Block('"IndexName": "active-jobs"', "An index is missing"), "bbm poll"),
        ("tables", "poll"),
    ),
)


def perform(place: Field, drill: Drill) -> Result:
    """Run one drill; raises AssertionError or TimeoutError if a step does not succeed."""
    place.job = place.track_job()
    try:
        return _performed(place, drill)
    finally:
        _clear(place)


def _performed(place: Field, drill: Drill) -> Result:
    drill.inject(place)
    started = time.monotonic()
    command = _diagnose(place, drill, started)
    diagnosed = time.monotonic() - started
    drill.passes(place)
    started = time.monotonic()
    for each in drill.recover:
        if isinstance(each, Block) and "delete-stack" in each.words:
            with _as_account(_MEMBER):
                place.must(each.text)
        else:
            place.must(each.text if isinstance(each, Block) else each)
    last = drill.recover[-1]
    while wrong := _problems(place, drill):
        assert time.monotonic() - started < _RECOVERY_SECONDS, wrong
        # A poll can be repeated until it is well, as the schedule does.
        if isinstance(last, str) and last.startswith("bbm poll"):
            place.must(last)
    return Result(drill, command, diagnosed, time.monotonic() - started)


def _diagnose(place: Field, drill: Drill, started: float) -> str:
    shown = []
    for command in cycle(drill.diagnose):
        output = place.run(command).stdout
        shown.append(f"$ {command}\n{output}")
        # `bbm poll` in between is what the runbook says; only these two have to name the cause.
        names_it = command.startswith(("bbm doctor", "bbm trace"))
        if names_it and any(_names(line, drill) for line in output.splitlines()):
            return command
        assert time.monotonic() - started < GOAL_SECONDS, "\n".join(shown[-2:])
    raise AssertionError(drill)


def _names(line: str, drill: Drill) -> bool:
    is_finding = not line.startswith(("ok ", " "))
    return is_finding and re.search(drill.names, line) is not None


def _problems(place: Field, drill: Drill) -> list[object]:
    """What is not well yet: the checks, and the end of another job, recorded and published."""
    found = place.findings()
    wrong: list[object] = [
        each for each in found if each["check"] in drill.checks and not each["ok"]
    ]
    if wrong:
        return wrong
    arn = place.add_job(_ENDED, "probe")
    summary = place.must("bbm poll --json")
    history = json.loads(place.must(f"bbm history {arn} --json"))["history"]
    is_published = bool(history) and history[-1].get("event") == "published"
    return [] if is_published else [summary, history]


@contextmanager
def _as_account(account: str) -> Iterator[None]:
    """Let `aws` use the credentials of another account."""
    before = os.environ["AWS_ACCESS_KEY_ID"]
    os.environ["AWS_ACCESS_KEY_ID"] = account
    # The session that `aws` uses here keeps the credentials that it began with.
    boto3.setup_default_session()
    try:
        yield
    finally:
        os.environ["AWS_ACCESS_KEY_ID"] = before
        boto3.setup_default_session()


@contextmanager
def field_of_drills() -> Iterator[Field]:
    """A deployment with a customer key and a member account, and a shell for its operator.

    The schedule polls every five minutes, so that a drill sees the polls that it runs itself.
    """
    context = {"kms": "customer", "accounts": _MEMBER, "pollIntervalMinutes": "5"}
    environment = dict(os.environ)
    with (
        local_cloud(context=context, members=[(_MEMBER, _REGION)]) as cloud,
        tempfile.TemporaryDirectory() as name,
    ):
        directory = Path(name)
        program = directory / "bbm"
        path = [str(ROOT / folder) for folder in ("functions", "cli", "")]
        program.write_text(_COMMAND.format(python=sys.executable, path=path))
        program.chmod(0o755)
        caller = cloud.emulator.caller_environment()
        variables = {
            **caller,
            "HOME": name,
            "COLUMNS": "2000",
            "NO_PROXY": "127.0.0.1,localhost",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        for variable in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            os.environ.pop(variable, None)
        os.environ.update(variables)
        boto3.setup_default_session()
        try:
            with bash(directory, {}) as shell:
                place = Field(cloud, shell, directory, variables=variables)
                place.must("bbm poll --scope ACCOUNT/REGION")
                yield place
        finally:
            os.environ.clear()
            os.environ.update(environment)
            boto3.DEFAULT_SESSION = None


def row(result: Result) -> str:
    """A result as the runbook has it."""
    repaired = ", ".join(dict.fromkeys(map(_shown, result.drill.recover)))
    return (
        f"| {result.drill.fault} | `{result.command}` | {result.diagnosed:.0f} s "
        f"| {repaired} | {result.recovered:.0f} s |"
    )


def _shown(step: str | Block) -> str:
    if isinstance(step, str):
        return f"`{step}`"
    return f"[{step.section}](#{step.section.lower().replace(' ', '-')})"


def is_in_runbook(step: str | Block) -> bool:
    """Whether the runbook has these commands, to be pasted."""
    if isinstance(step, Block):
        return bool(step.text)
    text = read(PAGE)
    return f"`{step}`" in text or f"\n{step}\n" in text


def main() -> None:
    """Run the drills, print their rows, and write those into the runbook.

    Arguments are parts of the names of faults. Without any, every drill runs.
    """
    chosen = [
        drill
        for drill in DRILLS
        if not sys.argv[1:] or any(part in drill.fault for part in sys.argv[1:])
    ]
    measured: dict[str, str] = {}
    with field_of_drills() as place:
        for drill in chosen:
            measured[drill.fault] = row(perform(place, drill))
            print(measured[drill.fault], flush=True)  # noqa: T201 - the program's output
    page = ROOT / PAGE
    before, begin, rest = page.read_text().partition("<!-- measured: drills -->\n")
    old, end, after = rest.partition("<!-- end of measured -->")
    assert end, f"{PAGE} has no place for the table"
    known = {cells[0]: f"| {' | '.join(cells)} |" for cells in rows(old)} | measured
    lines = [*_HEADING, *(known[drill.fault] for drill in DRILLS if drill.fault in known)]
    page.write_text(before + begin + "\n".join(lines) + "\n" + end + after)


if __name__ == "__main__":
    main()
