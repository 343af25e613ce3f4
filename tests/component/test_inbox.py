from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from bedrock_batch_monitor.app.composition import compose_inbox
from bedrock_batch_monitor.app.telemetry import metrics
from bedrock_batch_monitor.handlers import inbox as module
from local.bedrock import Phase, Script

from .conftest import ACCOUNT, REGION, SETTINGS, Cloud
from .test_handler import Context

EVENTS = Path(__file__).parents[1] / "events"
MINUTE = 60
LIFECYCLE = Script((Phase("InProgress", MINUTE), Phase("Failed", None, "no capacity")))


class Inbox:
    """The function behind the queue, with the settings of a deployment."""

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud = cloud
        self._patch = monkeypatch
        self.deployed(discovery_prefix="")

    def deployed(self, **changes: Any) -> None:
        """Deploy with other settings."""
        composed = compose_inbox(
            replace(SETTINGS, **changes),
            boto3.Session(region_name=REGION),
            clock=lambda: self.cloud.bedrock.clock.now(),  # noqa: PLW0108 - as in conftest
        )
        self._patch.setattr(module, "inbox", lambda: composed)

    def receives(self, *events: Any) -> list[str]:
        """Have the queue deliver these events in one batch; returns the messages that failed."""
        records = [
            {
                "messageId": f"message-{number}",
                "body": event if isinstance(event, str) else json.dumps(event),
                "eventSource": "aws:sqs",
            }
            for number, event in enumerate(events)
        ]
        answer = module.handler({"Records": records}, Context())  # type: ignore[arg-type]
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


@pytest.fixture
def inbox(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    """An inbox with discovery: it tracks every job of a native event."""
    monkeypatch.setattr(metrics, "service", "BedrockBatchMonitor")
    return Inbox(cloud, monkeypatch)


def native(arn: str, name: str = "native-failed") -> dict[str, Any]:
    """Bedrock's own event for a job."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    event["detail"]["batchJobArn"] = arn
    return event


def command(kind: str, arn: str) -> dict[str, Any]:
    """A command of a user's application."""
    return {
        "source": "my.app",
        "detail-type": f"{kind} Batch Inference Job",
        "detail": {"jobArn": arn},
    }


def submit(cloud: Cloud, script: Script | str = LIFECYCLE, **attributes: Any) -> str:
    """A job that is not tracked yet."""
    return cloud.bedrock.add_job(
        script=Script((Phase(script, None),)) if isinstance(script, str) else script,  # type: ignore[arg-type]
        account=ACCOUNT,
        region=REGION,
        **attributes,
    )


def test_native_event_is_recorded_at_once(inbox: Inbox) -> None:
    """The job is read and recorded, and its event sent, without waiting for a poll."""
    cloud = inbox.cloud
    arn = cloud.track(submit(cloud))
    cloud.poll()
    cloud.bedrock.clock.advance(2 * MINUTE)
    assert inbox.receives(native(arn)) == []
    history = cloud.history(arn)
    assert [(item["status"], item["observedBy"]) for item in history] == [
        ("InProgress", "poll"),
        ("Failed", "event"),
    ]
    [event] = cloud.new_events()
    assert event["detail"]["metadata"]["observedBy"] == "event"
    assert "pendingEvents" not in (cloud.job(arn) or {})
    assert cloud.poll().jobs_active == 0


def test_native_event_does_not_override_the_api(inbox: Inbox) -> None:
    """An event with the status Failed of a job that runs records that it runs."""
    arn = submit(inbox.cloud, "InProgress")
    assert inbox.receives(native(arn, "native-failed")) == []
    assert [item["status"] for item in inbox.cloud.history(arn)] == ["InProgress"]


def test_many_events_of_one_job_cause_one_read(inbox: Inbox) -> None:
    """A burst, late and out of order, costs one read and records each transition once."""
    arn = submit(inbox.cloud, "Completed")
    assert inbox.receives(*[native(arn)] * 10) == []
    assert inbox.cloud.asked() == 1
    assert len(inbox.cloud.history(arn)) == 1
    assert inbox.receives(native(arn)) == []
    # The end is recorded and final: no read is needed.
    assert inbox.cloud.asked() == 1
    assert len(inbox.cloud.new_events()) == 1


def test_event_of_an_unknown_job_starts_tracking(inbox: Inbox) -> None:
    arn = submit(inbox.cloud, "InProgress")
    inbox.receives(native(arn, "native-bare"))
    job = inbox.cloud.job(arn)
    assert job is not None
    assert (job["trackedBy"], job["tracking"], job["status"]) == ("event", "ACTIVE", "InProgress")


def test_event_of_an_unknown_job_is_ignored_without_discovery(inbox: Inbox) -> None:
    """Discovery is off, or limited to other names."""
    arn = submit(inbox.cloud, "InProgress", job_name="weekly")
    inbox.deployed(discovery_prefix=None)
    assert inbox.receives(native(arn)) == []
    inbox.deployed(discovery_prefix="nightly-")
    assert inbox.receives(native(arn)) == []
    assert inbox.cloud.items("jobs") == []
    wanted = submit(inbox.cloud, "InProgress", job_name="nightly-1", model_id="a.model-1")
    inbox.deployed(discovery_prefix="nightly-", discovery_models=frozenset({"a.model-2"}))
    assert inbox.receives(native(wanted)) == []
    assert inbox.cloud.items("jobs") == []
    inbox.deployed(discovery_prefix="nightly-", discovery_models=frozenset({"a.model-1"}))
    inbox.receives(native(wanted))
    assert [item["jobArn"] for item in inbox.cloud.items("jobs")] == [wanted]


def test_commands_track_and_untrack_a_job(inbox: Inbox) -> None:
    """A job is tracked, untracked and tracked again by events on the bus."""
    cloud = inbox.cloud
    arn = submit(cloud)
    assert inbox.receives(command("Track", arn)) == []
    job = cloud.job(arn)
    assert job is not None
    assert (job["trackedBy"], job["status"]) == ("event", "InProgress")
    inbox.receives(command("Untrack", arn))
    assert "tracking" not in (cloud.job(arn) or {})
    cloud.bedrock.clock.advance(2 * MINUTE)
    # A person's decision stands against Bedrock's own events ...
    inbox.receives(native(arn))
    assert len(cloud.history(arn)) == 1
    # ... until a person takes it back.
    inbox.receives(command("Track", arn))
    assert [item["status"] for item in cloud.history(arn)] == ["InProgress", "Failed"]
    assert len(cloud.new_events()) == 1
    inbox.receives(command("Track", arn))
    assert "tracking" not in (cloud.job(arn) or {})


def test_untrack_command_for_an_unknown_job_prevents_discovery(inbox: Inbox) -> None:
    """An Untrack command that arrives before the job's item is remembered."""
    arn = submit(inbox.cloud, "InProgress")
    assert inbox.receives(command("Untrack", arn)) == []
    assert "tracking" not in (inbox.cloud.job(arn) or {"tracking": None})
    assert inbox.cloud.with_settings(discovery_prefix="").poll().jobs_discovered == 0
    assert inbox.receives(native(arn)) == []
    assert inbox.cloud.history(arn) == []
    inbox.receives(command("Track", arn))
    assert len(inbox.cloud.history(arn)) == 1


def test_malformed_events_are_dropped_and_counted(
    inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """The valid event in the batch is processed, and none is delivered again."""
    arn = submit(inbox.cloud, "Completed")
    foreign = arn.replace(ACCOUNT, "210987654321")
    failed = inbox.receives(
        "no json", {}, command("Track", "x"), command("Track", foreign), native(arn)
    )
    assert failed == []
    assert len(inbox.cloud.history(arn)) == 1
    [published] = [
        json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line
    ]
    assert published["EventsMalformed"] == [4]
    assert published["JobsEnded"] == [1]
    assert [item["jobArn"] for item in inbox.cloud.items("jobs")] == [arn]


def test_throttled_read_returns_its_messages_to_the_queue(inbox: Inbox) -> None:
    """It fails only its own messages; the queue delivers those again."""
    throttled, good = submit(inbox.cloud, "Completed"), submit(inbox.cloud, "Completed")
    fault = inbox.cloud.bedrock.faults.throttle(job_arn=throttled)
    failed = inbox.receives(native(throttled), native(good), native(throttled))
    assert failed == ["message-0", "message-2"]
    assert len(inbox.cloud.history(good)) == 1
    inbox.cloud.bedrock.faults.remove(fault)
    assert inbox.receives(native(throttled)) == []
    assert len(inbox.cloud.history(throttled)) == 1


def test_refused_read_is_recorded_and_not_repeated(inbox: Inbox) -> None:
    """A retry would not help; the polls count refusals."""
    arn = submit(inbox.cloud, "InProgress")
    inbox.cloud.bedrock.faults.deny(job_arn=arn)
    assert inbox.receives(native(arn)) == []
    assert (inbox.cloud.job(arn) or {})["lastError"]["code"] == "AccessDeniedException"


def test_event_stays_pending_for_the_polls_without_a_bus(inbox: Inbox) -> None:
    """An end that is read while there is no bus is recorded and pending."""
    cloud = inbox.cloud
    cloud.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    cloud.events.delete_rule(Name="all", EventBusName="monitor")
    cloud.events.delete_event_bus(Name="monitor")
    arn = submit(cloud, "Completed")
    assert inbox.receives(native(arn)) == []
    assert (cloud.job(arn) or {})["pendingEvents"] == {"Ended#1"}
    cloud.events.create_event_bus(Name="monitor")
    assert cloud.poll().events_sent == 1


def test_job_that_was_put_again_is_recovered(inbox: Inbox) -> None:
    """As in a poll, the history decides, and no sequence is used twice."""
    cloud = inbox.cloud
    arn = submit(cloud)
    inbox.receives(native(arn))
    cloud.track(arn)
    cloud.bedrock.clock.advance(2 * MINUTE)
    inbox.receives(native(arn))
    assert [(item["sequence"], item["status"]) for item in cloud.history(arn)] == [
        (1, "InProgress"),
        (2, "Failed"),
    ]
