"""Health, traces and repair on the deployed stack: drills with the commands of the runbook."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from bbm.main import app
from local.bedrock import Phase, Script
from local.cloud import Cloud
from local.waiting import wait_for

Run = Callable[..., tuple[int, Any]]
CHECKS = {
    "stack",
    "version",
    "poll",
    "errors",
    "reads",
    "schedule",
    "alarms",
    "alarmTopic",
    "deadLetters",
    "inbox",
    "bus",
    "tables",
    "records",
    "unread",
    "pendingEvents",
    "permissions",
}


@pytest.fixture
def run(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with the environment of a user of the local cloud: exit code and document."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in cloud.emulator.caller_environment().items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> tuple[int, Any]:
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.stdout, result.stderr
        return result.exit_code, json.loads(result.stdout)

    return call


def findings(run: Run, check: str) -> list[Any]:
    """What `bbm doctor` says about one check."""
    _, document = run("doctor")
    return [each for each in document["findings"] if each["check"] == check]


def is_well(run: Run, check: str) -> bool:
    """Whether every finding of a check is well."""
    found = findings(run, check)
    assert found
    return all(finding["ok"] for finding in found)


def test_doctor_has_a_result_for_every_check(run: Run) -> None:
    """Each check has a result of its own, in the form of the contract."""
    run("poll")
    code, document = run("doctor")

    assert {each["check"] for each in document["findings"]} - {"clock"} == CHECKS
    assert all(
        set(each) == {"check", "ok", "detail", "command", "link"} for each in document["findings"]
    )
    assert document["healthy"] == all(each["ok"] for each in document["findings"])
    assert code == (0 if document["healthy"] else 1)
    unknown = [each for each in document["findings"] if "cannot be checked" in each["detail"]]
    assert unknown == [], unknown


def test_schedule_that_lost_its_payload_is_found_and_restored(cloud: Cloud, run: Run) -> None:
    """An update with the least options disables nothing and breaks nothing, and is restored."""
    client = cloud.monitor.client("scheduler")
    [name] = [each["Name"] for each in client.list_schedules()["Schedules"]]
    deployed = client.get_schedule(Name=name)
    target = {key: deployed["Target"][key] for key in ("Arn", "RoleArn")}
    client.update_schedule(
        Name=name,
        ScheduleExpression=deployed["ScheduleExpression"],
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={**target, "Input": '"not a payload"'},
        State="DISABLED",
    )

    [finding] = findings(run, "schedule")
    assert not finding["ok"]
    assert finding["command"] == "bbm doctor --fix schedule"
    run("doctor", "--fix", "schedule")
    restored = client.get_schedule(Name=name)
    assert is_well(run, "schedule")
    for key in ("State", "ScheduleExpression", "Target"):
        assert restored[key] == deployed[key]


def test_trace_proves_the_publication_of_an_event(cloud: Cloud, run: Run) -> None:
    """The timeline of a job has its transitions, and its event with both ids."""
    script = Script((Phase("InProgress", 60), Phase("Failed", None, "for a reason")))
    arn = cloud.bedrock.add_job(script=script, job_name="traced")
    run("track", arn)
    run("poll")
    cloud.bedrock.clock.advance(120)

    def published() -> Any:
        run("poll")
        _, document = run("trace", arn, "--since", "1h")
        return [each for each in document["timeline"] if each["what"] == "event published"]

    [event, *_] = wait_for(published, 30, what="the event in the timeline")
    assert event["eventBridgeId"]
    _, document = run("trace", arn)
    [end] = [each for each in document["timeline"] if each.get("status") == "Failed"]
    assert end["eventId"] == event["eventId"]
    assert "event of the end published" in {each["what"] for each in document["timeline"]}
    _, history = run("history", arn)
    assert history["history"][-1]["event"] == "published"


def test_deleted_bus_is_found_and_created_again(cloud: Cloud, run: Run) -> None:
    """Nothing is published or lost while the bus is missing; afterwards events can be repeated."""
    events, bus = cloud.monitor.client("events"), cloud.monitor.outputs.event_bus_name
    rules = events.list_rules(EventBusName=bus)["Rules"]
    for rule in rules:
        targets = events.list_targets_by_rule(Rule=rule["Name"], EventBusName=bus)["Targets"]
        ids = [target["Id"] for target in targets]
        events.remove_targets(Rule=rule["Name"], EventBusName=bus, Ids=ids)
        events.delete_rule(Name=rule["Name"], EventBusName=bus)
    events.delete_event_bus(Name=bus)
    with pytest.raises(ClientError):
        events.describe_event_bus(Name=bus)

    arn = cloud.bedrock.add_job(script=Script((Phase("Completed", None),)), job_name="while-gone")
    run("track", arn)
    _, summary = run("poll")
    assert summary["errors"]["EventBridge.BusMissing"] >= 1
    _, history = run("history", arn)
    assert history["history"][-1]["event"] == "pending"
    [finding] = findings(run, "bus")
    assert (finding["ok"], finding["command"]) == (False, "bbm doctor --fix bus")

    run("doctor", "--fix", "bus")
    assert is_well(run, "bus")
    assert {rule["Name"] for rule in events.list_rules(EventBusName=bus)["Rules"]} == {
        rule["Name"] for rule in rules
    }
    run("poll")
    _, history = run("history", arn)
    assert history["history"][-1]["event"] == "published"
    _, again = run("replay", "--since", "1h")
    assert arn in {each["jobArn"] for each in again["sent"]}


def test_deleted_items_are_discovered_again(cloud: Cloud, run: Run) -> None:
    """Items that somebody deleted come back, with the end of a job that ended meanwhile."""
    script = Script((Phase("InProgress", 60), Phase("Stopped", None)))
    arn = cloud.bedrock.add_job(script=script, job_name="lost")
    run("track", arn)
    run("poll")
    cloud.monitor.client("dynamodb").delete_item(
        TableName=cloud.monitor.outputs.jobs_table_name, Key={"jobArn": {"S": arn}}
    )
    cloud.bedrock.clock.advance(120)

    _, summary = run("rediscover", "--since", "1h")
    assert summary["jobsDiscovered"] >= 1
    _, history = run("history", arn)
    assert history["history"][-1]["status"] == "Stopped"


def test_dead_letters_are_listed_by_kind(cloud: Cloud, run: Run) -> None:
    """Each letter says what to do; after they are dropped, there are none."""
    client = cloud.monitor.client("sqs")
    queue = cloud.monitor.outputs.dead_letter_queue_url
    client.send_message(QueueUrl=queue, MessageBody="not an event")

    [finding] = findings(run, "deadLetters")
    assert (finding["ok"], finding["command"]) == (False, "bbm letters")
    _, document = run("letters")
    assert "bbm letters --drop" in document["letters"][-1]["advice"]
    run("letters", "--drop", "--yes")
    assert is_well(run, "deadLetters")


def test_dead_letters_are_moved_back_and_processed(cloud: Cloud, run: Run) -> None:
    """The command in a letter is processed after all, and no letter is left."""
    arn = cloud.bedrock.add_job(script=Script((Phase("InProgress", None),)), job_name="late")
    body = {
        "source": "test",
        "detail-type": "Track Batch Inference Job",
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "detail": {"jobArn": arn},
    }
    cloud.monitor.client("sqs").send_message(
        QueueUrl=cloud.monitor.outputs.dead_letter_queue_url,
        MessageBody=json.dumps(body),
        MessageAttributes={"RULE_ARN": {"DataType": "String", "StringValue": "arn:aws:events"}},
    )
    [finding] = findings(run, "deadLetters")
    assert not finding["ok"]
    assert run("letters", "--redrive") == (0, {"moved": True})

    wait_for(lambda: cloud.monitor.job(arn), 30, what="the job of the command")
    assert is_well(run, "deadLetters")
