"""Every command, pattern and piece of Python on the pages works."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aws_cdk
import pytest
from moto.events.models import EventPattern

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.requests import Track, Untrack, request_of
from bedrock_batch_monitor_cdk import BedrockBatchMonitor
from local.bedrock import Script
from tests.component.conftest import ACCOUNT, SETTINGS, START, Cloud
from tests.docs.pages import ROOT, Block, blocks, code, rows, section
from tests.docs.shell import bash
from tests.support.contracts import FILES, assert_keeps_to_schema
from tests.support.patterns import CHANGED, ENDED, SAMPLES, TROUBLE, matched_by

Run = Callable[[str, Mapping[str, str]], "subprocess.CompletedProcess[str]"]

OUTPUTS = {
    "JobsTableName": "jobs",
    "HistoryTableName": "history",
    "EventBusName": "monitor",
    "MonitorFunctionName": "function",
    "DeadLetterQueueUrl": "http://dead-letters",
    "SchemaRegistryName": "registry",
    "AlarmTopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:alarms",
}
BACKUP = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/history/backup/01732480000000-a1b2c3d4"
# Logical ids, types and names of resources of the stack.
RESOURCES = (
    ("InboxFunctionAE52CE5A", "AWS::Lambda::Function", "inbox-function"),
    ("TablesJobs313634AE", "AWS::DynamoDB::GlobalTable", "jobs"),
    ("TablesHistory40CCE7D9", "AWS::DynamoDB::GlobalTable", "history"),
    ("TablesState705891C2", "AWS::DynamoDB::GlobalTable", "state"),
    ("TablesOutboxD51CD487", "AWS::DynamoDB::GlobalTable", "outbox"),
    ("MonitorLogEC78DC2E", "AWS::Logs::LogGroup", "monitor-log"),
    ("CustomerKey5E6F1D2C", "AWS::KMS::Key", "1234abcd-12ab-34cd-56ef-1234567890ab"),
)
QUEUE_ARN = f"arn:aws:sqs:us-east-1:{ACCOUNT}:subscriber"


def snippet(page: str, words: str) -> Block:
    """The one block of a page that contains these words."""
    (block,) = [block for block in blocks() if block.page == page and words in block.text]
    return block


@pytest.fixture
def run(cloud: Cloud, tmp_path: Path) -> Iterator[Run]:  # noqa: ARG001 - moto has to be on
    """Bash with an `aws` that talks to the test's cloud, and to a stack's outputs."""
    stack = {"OutputKey": "", "OutputValue": ""}
    outputs = [{**stack, "OutputKey": key, "OutputValue": OUTPUTS[key]} for key in OUTPUTS]
    canned = {
        "cloudformation describe-stacks": lambda asked: {
            "Stacks": [{"Outputs": outputs}] if asked["StackName"] == "BedrockBatchMonitor" else []
        },
        "lambda invoke": lambda asked: (tmp_path / "summary.json").write_text(asked["Payload"]),
        "sqs receive-message": lambda asked: asked,
        "sqs purge-queue": lambda asked: asked,
        "sqs list-dead-letter-source-queues": lambda asked: {
            "queueUrls": [
                asked["QueueUrl"].replace("dead-letters", name)
                for name in ("RecordErrorsQueue", "InboxQueue")
            ]
        },
        "sqs get-queue-attributes": lambda asked: {
            "Attributes": {"QueueArn": asked["QueueUrl"].replace("http://", "arn:")}
        },
        "sqs start-message-move-task": lambda asked: asked,
        "cloudformation describe-stack-events": lambda _: {"StackEvents": []},
        "cloudformation continue-update-rollback": lambda asked: asked,
        "cloudformation list-stack-resources": lambda _: {
            "StackResourceSummaries": [
                {"LogicalResourceId": name, "ResourceType": kind, "PhysicalResourceId": physical_id}
                for name, kind, physical_id in RESOURCES
            ]
        },
        "cloudformation deploy": lambda asked: asked,
        "cloudformation delete-stack": lambda asked: asked,
        "wait": lambda asked: asked,
        # `tests/deployed/drills.py` runs these on the local cloud.
        "dynamodb list-backups": lambda _: {
            "BackupSummaries": [{"BackupArn": BACKUP, "BackupCreationDateTime": START}]
        },
        "dynamodb create-backup": lambda _: {"BackupDetails": {"BackupArn": BACKUP}},
        "dynamodb scan": lambda _: {"Items": [{"jobArn": {"S": "1"}, "sequence": {"N": "1"}}]},
        **{
            f"dynamodb {command}": lambda asked: asked
            for command in (
                *("create-table", "update-table", "delete-table", "update-time-to-live"),
                *("update-continuous-backups", "restore-table-from-backup"),
                "restore-table-to-point-in-time",
            )
        },
        "kms enable-key": lambda asked: asked,
        "sns subscribe": lambda asked: asked,
        "logs put-query-definition": lambda asked: asked,
        "lambda list-event-source-mappings": lambda _: {
            "EventSourceMappings": [{"UUID": "91eaeb7e-c976-1234-9451-8709db01f137"}]
        },
        "lambda update-event-source-mapping": lambda asked: asked,
        "schemas describe-schema": lambda asked: {
            "Content": f"{asked['RegistryName']}/{asked['SchemaName']}"
        },
        "stepfunctions start-execution": lambda asked: json.loads(asked["input"]),
    }
    with bash(tmp_path, canned) as run_script:
        yield run_script


@pytest.fixture
def variables(cloud: Cloud) -> dict[str, str]:
    """What the pages take from the environment."""
    return {
        "JOBS_TABLE": "jobs",
        "HISTORY_TABLE": "history",
        "EVENT_BUS": "monitor",
        "JOB_ARN": cloud.bedrock.add_job(
            script=Script.ending("Completed"), account=ACCOUNT, region="us-east-1"
        ),
        "QUEUE_ARN": QUEUE_ARN,
        "LOGICAL_ID": "TablesJobs313634AE",
        "RESTORE_TO": "2026-11-24T02:00:00Z",
        "STATE_MACHINE_ARN": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:wait",
        "QUEUE_URL": cloud.queue_url,
        "RULE_ARN": f"arn:aws:events:us-east-1:{ACCOUNT}:rule/monitor/batch-jobs-in-trouble",
    }


def succeeds(
    run: Run, variables: Mapping[str, str], script: str
) -> subprocess.CompletedProcess[str]:
    result = run(script, variables)
    assert result.returncode == 0, result.stderr
    return result


def put_failures(cloud: Cloud) -> tuple[str, str]:
    """Two failures in the history, one of an hour ago and one of three days ago."""
    arns = []
    for hours in (1, 72):
        arn = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:model-invocation-job/failed{hours:06d}"
        moment = datetime.now(UTC) - timedelta(hours=hours)
        cloud.dynamodb.put_item(
            TableName="history",
            Item={
                "jobArn": {"S": arn},
                "sequence": {"N": "1"},
                "status": {"S": "Failed"},
                "observedAt": {"S": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")},
            },
        )
        arns.append(arn)
    return arns[0], arns[1]


def test_every_block_is_tested_or_marked(any_block: Block) -> None:
    """A block is in a language whose blocks are tested, or is marked as sample output."""
    tested = any_block.language in {"bash", "python", "mermaid"} or any_block.mark.startswith(
        ("matches:", "sample event:", "part of:", "layout")
    )

    assert tested or any_block.mark == "sample output"


def test_parts_of_files_exist_in_their_files() -> None:
    """A block that is marked as part of a file contains only text of the file."""
    quoted = [block for block in blocks() if block.mark.startswith("part of:")]

    assert quoted
    for block in quoted:
        whole = json.loads((ROOT / block.mark.removeprefix("part of: ")).read_text())
        assert is_part(json.loads(block.text), whole), block


def is_part(part: Any, whole: Any) -> bool:
    """Whether a value is within another one: itself, or fewer members of an object at any depth."""
    if not isinstance(part, dict) or not isinstance(whole, dict):
        return bool(part == whole)
    if all(name in whole and is_part(value, whole[name]) for name, value in part.items()):
        return True
    return any(is_part(part, inner) for inner in whole.values() if isinstance(inner, dict))


def test_shell_blocks_are_valid(bash_block: Block) -> None:
    """Bash parses every shell block."""
    result = subprocess.run(
        ["/bin/bash", "-n"], input=bash_block.text, text=True, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_aws_commands_on_pages_succeed(
    aws_block: Block, run: Run, variables: dict[str, str]
) -> None:
    """Every block of AWS CLI commands, against tables like the stack's."""
    preface = snippet("README.md", "output()").text if "$(output" in aws_block.text else ""
    if "$(table_of" in aws_block.text:
        preface += snippet("docs/operating.md", "table_of()").text
    succeeds(run, variables, preface + aws_block.text)


def test_other_commands_are_covered_by_tests(other_bash_block: Block) -> None:
    """Other blocks begin with a command that another test covers."""
    known = {"make", "git", "cd", "bbm", ".venv/bin/bbm", ".venv/bin/pytest", ".venv/bin/python"}
    # Of the examples and the construct, which have tests of their own.
    known |= {"cdk", "terraform", "pip", "python"}
    words = shlex.split(other_bash_block.text, comments=True)

    assert next(word for word in words if re.match("[A-Z]+=", word) is None) in known


def test_programs_of_the_repository_exist() -> None:
    """Commands other than the AWS CLI name existing files and folders."""
    text = "\n".join(block.text for block in blocks() if block.language == "bash")
    for folder in re.findall(r"pytest (?:-m \S+)?(\S*)", text):
        assert (ROOT / folder).is_dir()
    for module in re.findall(r"python -m (\S+)", text):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    assert '"aws-cdk"' in (ROOT / "package.json").read_text()


def test_stack_outputs_become_variables(run: Run) -> None:
    """The README's function finds a stack output by its name."""
    script = snippet("README.md", "output()").text + 'echo "$JOBS_TABLE $HISTORY_TABLE $EVENT_BUS"'

    assert succeeds(run, {}, script).stdout == "jobs history monitor\n"


@pytest.mark.parametrize("page", ["docs/tracking.md", "docs/tables.md"])
def test_track_command_puts_an_item_that_is_polled(
    cloud: Cloud, run: Run, variables: dict[str, str], page: str
) -> None:
    """The command puts exactly two attributes, and the next poll reads the job."""
    succeeds(run, variables, snippet(page, "put-item --table-name").text)

    assert cloud.job(variables["JOB_ARN"]) == {
        "jobArn": variables["JOB_ARN"],
        "tracking": "ACTIVE",
    }
    assert cloud.poll().jobs_changed == 1


def test_untrack_command_keeps_the_item(cloud: Cloud, run: Run, variables: dict[str, str]) -> None:
    """Polls no longer read the job."""
    cloud.track(variables["JOB_ARN"])
    succeeds(run, variables, snippet("docs/tables.md", "REMOVE tracking").text)

    assert cloud.job(variables["JOB_ARN"]) == {"jobArn": variables["JOB_ARN"]}
    assert cloud.poll().jobs_active == 0


def test_tracking_an_ended_job_again_repeats_its_event(
    cloud: Cloud, run: Run, variables: dict[str, str]
) -> None:
    """The same put-item sends the end event of a job again, with the same ID."""
    put = snippet("docs/tables.md", "put-item --table-name").text
    succeeds(run, variables, put)
    cloud.bedrock.clock.advance(10 * 86400)
    cloud.poll()
    succeeds(run, variables, put)
    cloud.poll()

    first, second = (event["detail"]["metadata"]["eventId"] for event in cloud.new_events())
    assert first == second


@pytest.mark.parametrize(
    ("page", "request_"), [("docs/tracking.md", Track), ("docs/events.md", Untrack)]
)
def test_command_on_the_bus_is_read_by_the_inbox(
    cloud: Cloud, run: Run, variables: dict[str, str], page: str, request_: type
) -> None:
    """The inbox reads it as the page says."""
    cloud.events.put_rule(
        Name="all", EventBusName="monitor", EventPattern=json.dumps({"source": ["my-pipeline"]})
    )
    result = succeeds(run, variables, snippet(page, "put-events").text)
    assert json.loads(result.stdout)["FailedEntryCount"] == 0
    [message] = cloud.sqs.receive_message(QueueUrl=cloud.queue_url)["Messages"]

    request = request_of(json.loads(message["Body"]), SETTINGS.scopes, START)
    assert isinstance(request, request_)
    assert request.job_arn == variables["JOB_ARN"]


def test_dead_letters_return_to_their_queue(run: Run) -> None:
    """The commands move the messages from the dead-letter queue to the inbox queue."""
    script = snippet("README.md", "output()").text
    script += snippet("docs/operating.md", "start-message-move-task").text
    result = succeeds(run, {}, script)

    assert json.loads(result.stdout) == {
        "SourceArn": "arn:dead-letters",
        "DestinationArn": "arn:InboxQueue",
    }


@pytest.mark.parametrize("ending", statuses.TERMINAL)
def test_rule_of_the_readme_delivers_jobs_in_trouble(
    cloud: Cloud, run: Run, variables: dict[str, str], ending: str
) -> None:
    """It delivers every end that needs attention, and not Completed."""
    cloud.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    succeeds(run, variables, snippet("README.md", "put-rule").text)
    cloud.add_job(ending)
    cloud.poll()

    received = [event["detail"]["data"]["status"] for event in cloud.new_events()]
    assert received == ([ending] if ending in TROUBLE else [])


def test_queue_policy_admits_only_the_rule(
    cloud: Cloud, run: Run, variables: dict[str, str]
) -> None:
    """EventBridge can send to this queue only for this rule."""
    succeeds(run, variables, snippet("docs/events.md", "set-queue-attributes").text)
    answer = cloud.sqs.get_queue_attributes(QueueUrl=cloud.queue_url, AttributeNames=["Policy"])

    (statement,) = json.loads(answer["Attributes"]["Policy"])["Statement"]
    assert statement["Resource"] == QUEUE_ARN
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": variables["RULE_ARN"]}}


def test_history_command_returns_transitions_in_order(
    cloud: Cloud, run: Run, variables: dict[str, str]
) -> None:
    cloud.track(variables["JOB_ARN"])
    cloud.poll()
    cloud.bedrock.clock.advance(10 * 86400)
    cloud.poll()
    result = succeeds(run, variables, snippet("docs/history-queries.md", "'jobArn = :job'").text)

    items = json.loads(result.stdout)["Items"]
    assert [item["sequence"]["N"] for item in items] == ["1", "2"]
    assert items[-1]["status"]["S"] == "Completed"


def test_failures_command_returns_recent_failures(
    cloud: Cloud, run: Run, variables: dict[str, str]
) -> None:
    """Those since yesterday, and none before."""
    recent, _ = put_failures(cloud)
    result = succeeds(run, variables, snippet("docs/history-queries.md", "'#status = :failed").text)

    assert [item["jobArn"]["S"] for item in json.loads(result.stdout)["Items"]] == [recent]


def test_partiql_statement_returns_only_failures(
    cloud: Cloud, run: Run, variables: dict[str, str]
) -> None:
    failures = put_failures(cloud)
    cloud.add_job("Completed")
    cloud.poll()
    result = succeeds(run, variables, snippet("docs/history-queries.md", "execute-statement").text)

    assert {item["jobArn"]["S"] for item in json.loads(result.stdout)["Items"]} == set(failures)


def test_unreadable_jobs_command_returns_jobs_with_an_error(
    cloud: Cloud, run: Run, variables: dict[str, str]
) -> None:
    """It queries the active jobs."""
    cloud.add_job("InProgress")
    mistaken = cloud.track("arn:aws:bedrock:us-east-1:123456789012:guardrail/gr4zkq1xq9ab")
    cloud.poll()
    result = succeeds(run, variables, snippet("docs/tables.md", "attribute_exists(lastError)").text)

    assert [item["jobArn"]["S"] for item in json.loads(result.stdout)["Items"]] == [mistaken]


def test_pending_events_command_returns_the_unsent_event(
    cloud: Cloud, run: Run, variables: dict[str, str]
) -> None:
    """It finds the job whose event the bus did not accept."""
    arn = cloud.add_job("Failed")
    cloud.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    cloud.events.delete_rule(Name="all", EventBusName="monitor")
    cloud.events.delete_event_bus(Name="monitor")
    assert cloud.poll().events_pending == 1
    result = succeeds(run, variables, snippet("docs/operating.md", "pending-events \\").text)

    assert [item["jobArn"]["S"] for item in json.loads(result.stdout)["Items"]] == [arn]


def test_python_blocks_compile(python_block: Block) -> None:
    """Every block of Python is valid."""
    compile(python_block.text, str(python_block), "exec")


def run_python(block: Block, directory: Path) -> dict[str, Any]:
    """Run a block as a program; returns its names."""
    program = directory / "snippet.py"
    program.write_text(block.text)
    return runpy.run_path(str(program))


@pytest.fixture
def in_environment(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of the pages, in this process."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("in_environment")
def test_python_snippet_creates_and_tracks_a_job(cloud: Cloud, tmp_path: Path) -> None:
    """The next poll reads the job."""
    arn = run_python(snippet("docs/tracking.md", "create_model_invocation_job"), tmp_path)[
        "job_arn"
    ]

    assert cloud.job(arn) == {"jobArn": arn, "tracking": "ACTIVE"}
    assert cloud.poll().jobs_changed == 1


@pytest.mark.usefixtures("in_environment")
def test_python_snippet_returns_recent_failures(cloud: Cloud, tmp_path: Path) -> None:
    """Those since yesterday, and none before."""
    recent, _ = put_failures(cloud)
    failed = run_python(snippet("docs/history-queries.md", "get_paginator"), tmp_path)["failed"]

    assert [item["jobArn"]["S"] for item in failed] == [recent]


def test_python_snippet_recognizes_a_duplicate_event(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver's Python reports an event as new the first time, and its duplicate not."""
    cloud.dynamodb.create_table(
        TableName="handled",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "eventId", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "eventId", "KeyType": "HASH"}],
    )
    monkeypatch.setenv("HANDLED_TABLE", "handled")
    is_new = run_python(snippet("docs/events.md", "def is_new"), tmp_path)["is_new"]

    assert [is_new(ENDED), is_new(ENDED), is_new(CHANGED)] == [True, False, True]


def test_app_of_the_page_synthesizes_a_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its grant and its rule."""
    app = partial(
        aws_cdk.App,
        context={"aws:cdk:bundling-stacks": []},
        outdir=str(tmp_path / "cdk.out"),
    )
    monkeypatch.setattr(aws_cdk, "App", app)
    names_of = run_python(snippet("docs/construct.md", "import BedrockBatchMonitor"), tmp_path)
    made = names_of["app"].synth().get_stack_by_name("Pipeline").template["Resources"]
    rules = [
        matched_by(resource["Properties"]["EventPattern"])
        for resource in made.values()
        if resource["Type"] == "AWS::Events::Rule"
    ]

    assert TROUBLE in rules
    assert any(name.startswith("SubmitterDefaultPolicy") for name in made)
    assert any(name.startswith("BatchesAlarmsJobsStalled") for name in made)


def test_page_lists_attributes_and_methods_of_the_construct() -> None:
    """And no others."""
    members = {
        name: member
        for name, member in vars(BedrockBatchMonitor).items()
        if not name.startswith("_")
    }
    attributes, methods = (
        {word for cells in rows(section("docs/construct.md", heading)) for word in code(cells[0])}
        for heading in ("## Attributes", "## Methods")
    )

    assert attributes == {name for name, member in members.items() if isinstance(member, property)}
    assert methods == set(members) - attributes


def test_page_lists_every_example() -> None:
    """Each folder, and no other."""
    folders = {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    listed = re.findall(
        r"^\| \[([\w-]+)\]\(", (ROOT / "examples/README.md").read_text(), re.MULTILINE
    )

    assert sorted(listed) == sorted(folders)


def test_each_pattern_matches_the_events_that_the_page_names(pattern_block: Block) -> None:
    """And no others."""
    expected = pattern_block.mark.removeprefix("matches: ").split(", ")

    assert matched_by(json.loads(pattern_block.text)) == set(expected)


def test_patterns_are_accepted_for_a_rule(cloud: Cloud) -> None:
    """PutRule accepts each pattern for a rule on the monitor's bus."""
    patterns = [block.text for block in blocks() if block.mark.startswith("matches: ")]

    assert patterns
    for pattern in patterns:
        cloud.events.put_rule(Name="rule", EventBusName="monitor", EventPattern=pattern)


def test_no_pattern_matches_events_of_another_source() -> None:
    foreign = {**ENDED, "source": "somebody-else"}
    for block in blocks():
        if block.mark.startswith("matches:"):
            pattern = EventPattern(None, json.loads(block.text))
            assert not pattern.matches_event(foreign), str(block)


def test_sample_events_equal_the_published_ones(event_block: Block) -> None:
    """They are valid under their schema."""
    file = event_block.mark.removeprefix("sample event: ")
    event = json.loads(event_block.text)

    assert event == json.loads((SAMPLES / file).read_text())
    assert_keeps_to_schema(event)


def test_sample_summary_equals_a_real_one(cloud: Cloud) -> None:
    """It is the result of a poll with one ended and one running job."""
    cloud.add_job("Completed")
    cloud.add_job("InProgress")
    answer = cloud.poll().as_json()
    sample = json.loads(snippet("docs/operating.md", '"jobsActive"').text)

    assert sample == {**answer, "seconds": sample["seconds"]}


def test_page_lists_each_detail_type() -> None:
    """Under its exact name."""
    text = (ROOT / "docs" / "events.md").read_text()
    listed = re.findall(r"^\| \[`(Batch Inference[^`]+)`\]\(", text, re.MULTILINE)

    assert sorted(listed) == sorted(FILES)
    assert f"`source` is `{contract.EVENT_SOURCE}`" in text
