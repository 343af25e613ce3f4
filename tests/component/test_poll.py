from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.app.poll import PollError
from bedrock_batch_monitor.domain import statuses
from local.bedrock import Phase, Script

from .conftest import ACCOUNT, START, Cloud

LIFECYCLE = Script(
    (
        Phase("Submitted", 60),
        Phase("Validating", 60),
        Phase("Scheduled", 60),
        Phase("InProgress", 3600),
        Phase("Completed", None),
    )
)
MINUTE = 60
HOUR = 3600


@dataclass
class Ticking:
    """Time that runs out: so many seconds less with each look at it."""

    left: float
    step: float

    def __call__(self) -> float:
        """Look at the time that is left."""
        self.left -= self.step
        return self.left


def test_job_is_recorded_from_its_first_read_to_its_end(cloud: Cloud) -> None:
    """Each observed status is one history item; the last one ends tracking and sends one event."""
    arn = cloud.add_job(LIFECYCLE)
    for _ in range(5):
        cloud.poll()
        cloud.bedrock.clock.advance(MINUTE)
    cloud.bedrock.clock.advance(HOUR)
    assert cloud.new_events() == []
    assert cloud.poll().jobs_ended == 1

    history = cloud.history(arn)
    assert [(item["sequence"], item["status"]) for item in history] == [
        (1, "Submitted"),
        (2, "Validating"),
        (3, "Scheduled"),
        (4, "InProgress"),
        (5, "Completed"),
    ]
    assert [item.get("secondsInPreviousStatus") for item in history] == [None, 60, 60, 60, 3600]
    job = cloud.job(arn)
    assert job is not None
    assert "tracking" not in job
    assert "eventPending" not in job
    assert "pendingEvents" not in job
    assert job["trackedBy"] == "user"
    assert job["trackedAt"] == history[0]["observedAt"]
    [event] = cloud.new_events()
    assert event["detail"]["metadata"]["eventId"] == history[-1]["eventId"] == job["eventId"]
    assert event["detail"]["data"]["durations"] == {
        "queuedSeconds": 180,
        "runningSeconds": 3600,
        "totalSeconds": 3780,
    }
    assert cloud.poll().jobs_active == 0
    assert cloud.new_events() == []


@pytest.mark.parametrize("ending", statuses.TERMINAL)
def test_every_terminal_status_is_recorded_and_published(cloud: Cloud, ending: str) -> None:
    """Each of the five ends the job, PartiallyCompleted and Expired among them."""
    arn = cloud.add_job(ending)
    summary = cloud.poll()
    assert (summary.jobs_changed, summary.jobs_ended, summary.events_sent) == (1, 1, 1)
    [item] = cloud.history(arn)
    assert (item["sequence"], item["status"]) == (1, ending)
    [event] = cloud.new_events()
    assert event["detail"]["data"]["status"] == ending
    assert "previousStatus" not in event["detail"]["data"]


def test_job_item_repeats_its_last_history_item(cloud: Cloud) -> None:
    """Every attribute of the history item is in the job's item."""
    arn = cloud.add_job(Script.ending("Failed", message="model access was revoked"))
    for _ in range(3):
        cloud.poll()
        cloud.bedrock.clock.advance(24 * HOUR)
    job, last = cloud.job(arn), cloud.history(arn)[-1]
    assert job is not None
    assert last["message"] == "model access was revoked"
    assert {key: job.get(key) for key in last} == last


def test_skipped_statuses_leave_no_gap_in_the_history(cloud: Cloud) -> None:
    """Only observed statuses are recorded: a slow poller has fewer entries, without gaps."""
    arn = cloud.add_job(LIFECYCLE)
    cloud.poll()
    cloud.bedrock.clock.advance(2 * HOUR)
    cloud.poll()
    assert [(item["sequence"], item["status"]) for item in cloud.history(arn)] == [
        (1, "Submitted"),
        (2, "Completed"),
    ]
    [event] = cloud.new_events()
    assert event["detail"]["data"]["durations"] == {"totalSeconds": 3780}


def test_unchanged_job_costs_no_write(cloud: Cloud) -> None:
    """A poll without changes reads the index once, fetches each job, and writes nothing."""
    for _ in range(20):
        cloud.add_job("Scheduled")
    cloud.poll()
    asked = cloud.asked()
    with cloud.counting() as made:
        summary = cloud.poll()
    assert (summary.jobs_active, summary.jobs_read, summary.jobs_changed) == (20, 20, 0)
    # One Query for pending events, one for the active jobs, and one read of the cursor.
    assert made == {"Query": 2, "GetItem": 1}
    assert cloud.asked() - asked == 20


def test_counts_are_written_once_per_interval(cloud: Cloud) -> None:
    """Record counts that change every minute are written every five, with no history item."""
    cloud.poll()  # the first poll of a deployment notes that discovery is off
    arn = cloud.add_job(Script((Phase("InProgress", 25 * MINUTE), Phase("Completed", None))))
    written = []
    for _ in range(20):
        with cloud.counting() as made:
            cloud.poll()
        written.append(made["UpdateItem"])
        cloud.bedrock.clock.advance(MINUTE)
    assert sum(written) == 3
    assert len(cloud.history(arn)) == 1
    job = cloud.job(arn)
    assert job is not None
    assert 0 < job["processedRecordCount"] < job["totalRecordCount"]


def test_every_page_of_the_index_is_read(cloud: Cloud) -> None:
    """A job on the second page of the index is polled like one on the first."""
    cloud.poll()  # the first poll of a deployment notes that discovery is off
    message = "no ARN" + "x" * 20_000  # a page has 1 MB
    for number in range(60):
        cloud.dynamodb.put_item(
            TableName="jobs",
            Item={
                "jobArn": {"S": f"a{number:04}"},
                "tracking": {"S": "ACTIVE"},
                "lastError": {"M": {"code": {"S": "InvalidJobArn"}, "message": {"S": message}}},
            },
        )
    arn = cloud.add_job("Completed")
    with cloud.counting() as made:
        summary = cloud.poll()
    assert made["Query"] == 5  # one more than for a single page
    assert made["UpdateItem"] == 1  # the mark of the event, cleared
    assert summary.jobs_active == 61
    assert [item["status"] for item in cloud.history(arn)] == ["Completed"]


def test_failing_job_does_not_affect_others(cloud: Cloud) -> None:
    """Denied, hidden, failing and garbled jobs are counted by code; the others are recorded."""
    denied, hidden, failing, reset, truncated, garbage = (
        cloud.add_job("InProgress") for _ in range(6)
    )
    good = [cloud.add_job("Completed") for _ in range(5)]
    faults = cloud.bedrock.faults
    faults.deny(job_arn=denied)
    faults.hide(hidden)
    faults.fail(job_arn=failing)
    faults.fail("reset", job_arn=reset)
    faults.fail("truncated", job_arn=truncated)
    faults.fail("garbage", job_arn=garbage)
    summary = cloud.poll()
    assert summary.errors == {
        "Bedrock.AccessDeniedException": 1,
        "Bedrock.ResourceNotFoundException": 1,
        # What may pass is tried a second time in the same poll.
        "Bedrock.InternalServerException": 2,
        "Bedrock.ConnectionClosedError": 2,
        "Bedrock.UnusableAnswer": 4,
    }
    assert (summary.jobs_active, summary.jobs_read, summary.jobs_ended) == (11, 5, 5)
    assert all(cloud.history(arn) for arn in good)
    for arn, code in (
        (denied, "AccessDeniedException"),
        (hidden, "ResourceNotFoundException"),
    ):
        job = cloud.job(arn)
        assert job is not None
        assert job["lastError"]["code"] == code
        assert job["lastError"]["message"]
        assert job["lastErrorAt"] == "2026-11-24T20:00:00.000Z"
    # What passes by itself is not worth a write for each job and poll.
    assert "lastError" not in (cloud.job(failing) or {})

    faults.clear()
    assert cloud.poll().jobs_changed == 6
    for arn in (denied, hidden, failing, reset, truncated, garbage):
        assert [item["status"] for item in cloud.history(arn)] == ["InProgress"]
        assert "lastError" not in (cloud.job(arn) or {})


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        ("not-an-arn", "InvalidJobArn"),
        ("arn:aws:bedrock:us-east-1:123456789012:model-customization-job/a", "InvalidJobArn"),
        (
            "arn:aws:bedrock:us-east-1:210987654321:model-invocation-job/abcdef123456",
            "NotMonitored",
        ),
        (
            "arn:aws:bedrock:eu-west-1:123456789012:model-invocation-job/abcdef123456",
            "NotMonitored",
        ),
    ],
)
def test_arn_outside_the_monitored_scopes_has_an_error_and_costs_no_call(
    cloud: Cloud, arn: str, code: str
) -> None:
    """The item stays, with `lastError`, and is never requested from Bedrock."""
    cloud.poll()  # the first poll of a deployment notes that discovery is off
    cloud.track(arn)
    good = cloud.add_job("Completed")
    with cloud.counting() as made:
        for _ in range(3):
            assert cloud.poll().errors == {f"Item.{code}": 1}
    job = cloud.job(arn)
    assert job is not None
    assert job["tracking"] == "ACTIVE"
    assert job["lastError"]["code"] == code
    assert cloud.history(good)
    assert cloud.asked() == 1
    assert made["UpdateItem"] == 2  # the error noted once, the good job's mark cleared


def test_malformed_item_gets_an_error_with_the_remedy(cloud: Cloud) -> None:
    """An item with attributes of other types is kept; the error says which one and what to do."""
    arn = cloud.bedrock.add_job(account=ACCOUNT, region="us-east-1")
    cloud.dynamodb.put_item(
        TableName="jobs",
        Item={
            "jobArn": {"S": arn},
            "tracking": {"S": "ACTIVE"},
            "sequence": {"S": "three"},
            "status": {"S": "InProgress"},
        },
    )
    assert cloud.poll().errors == {"Item.InvalidItem": 1}
    job = cloud.job(arn)
    assert job is not None
    assert "attribute sequence is {'S': 'three'}" in job["lastError"]["message"]
    assert "put it again with jobArn and tracking alone" in job["lastError"]["message"]
    cloud.track(arn)
    assert cloud.poll().jobs_changed == 1


def test_untracked_job_stays_untracked(cloud: Cloud) -> None:
    """Removing `tracking` ends polling of the job, even between the read and the write."""
    arn = cloud.add_job(LIFECYCLE)
    cloud.poll()
    cloud.bedrock.clock.advance(MINUTE)
    between_read_and_write(
        cloud,
        lambda: cloud.dynamodb.update_item(
            TableName="jobs", Key={"jobArn": {"S": arn}}, UpdateExpression="REMOVE tracking"
        ),
    )
    cloud.poll()
    job = cloud.job(arn)
    assert job is not None
    assert "tracking" not in job
    assert job["sequence"] == len(cloud.history(arn)) == 2
    assert cloud.poll().jobs_active == 0


def test_deleted_job_is_not_written_again(cloud: Cloud) -> None:
    """Also if a person deletes the item while it is polled."""
    first, second = cloud.add_job("InProgress"), cloud.add_job("InProgress")
    between_read_and_write(
        cloud,
        lambda: [
            cloud.dynamodb.delete_item(TableName="jobs", Key={"jobArn": {"S": arn}})
            for arn in (first, second)
        ],
    )
    cloud.bedrock.faults.deny(job_arn=max(first, second))
    summary = cloud.poll()
    assert summary.jobs_changed == 0
    assert cloud.items("jobs") == []
    assert cloud.items("history") == []


def test_conflict_of_two_polls_is_not_an_error(cloud: Cloud) -> None:
    """Two polls that see the same transition record it once and count a conflict."""
    arn = cloud.add_job("Completed")
    other = cloud.with_settings()
    between_read_and_write(cloud, other.poll)
    summary = cloud.poll()
    assert (summary.conflicts, summary.jobs_changed, summary.errors) == (1, 0, {})
    assert len(cloud.history(arn)) == 1
    assert len(cloud.new_events()) == 1
    assert "pendingEvents" not in (cloud.job(arn) or {})


def test_jobs_that_were_not_reached_are_read_first_next_time(cloud: Cloud) -> None:
    """A poll that runs out of time stops in order; the next polls continue where it stopped."""
    arns = sorted(cloud.add_job("InProgress") for _ in range(10))
    reached: list[set[str]] = []
    for _ in range(3):
        # A poll starts nothing in its last fifteen seconds: there is time for four jobs.
        summary = cloud.monitor.poll(Ticking(left=16, step=0.11))
        reached.append({arn for arn in arns if cloud.history(arn)})
        assert summary.jobs_read < summary.jobs_active == 10
        assert not summary.complete
        if len(reached[-1]) == 10:
            break
    assert reached[0] == set(arns[: len(reached[0])])
    assert reached[1] == set(arns[: len(reached[1])])
    assert len(reached[0]) < len(reached[1])
    while not cloud.poll().complete:
        pass
    assert all(len(cloud.history(arn)) == 1 for arn in arns)
    assert all("startAt" not in item for item in cloud.items("state"))


def test_older_response_is_ignored_and_counted(cloud: Cloud) -> None:
    """A response that is older than the recorded state changes nothing."""
    arn = cloud.add_job(LIFECYCLE)
    cloud.bedrock.clock.advance(10 * MINUTE)
    cloud.poll()
    before = cloud.job(arn)
    cloud.bedrock.faults.override(
        arn, {"status": "Scheduled", "lastModifiedTime": "2026-11-24T20:02:00Z"}
    )
    summary = cloud.poll()
    assert (summary.observations_outdated, summary.jobs_changed) == (1, 0)
    assert cloud.job(arn) == before


def test_unknown_status_is_recorded_unchanged(cloud: Cloud) -> None:
    """A status that the SDK does not know is recorded, counted, and tracked like any other."""
    arn = cloud.add_job("InProgress")
    cloud.bedrock.faults.override(arn, {"status": "Paused"})
    summary = cloud.poll()
    assert (summary.unknown_statuses, summary.jobs_changed, summary.jobs_ended) == (1, 1, 0)
    cloud.bedrock.faults.clear()
    cloud.bedrock.clock.advance(MINUTE)
    assert cloud.poll().unknown_statuses == 0
    assert [item["status"] for item in cloud.history(arn)] == ["Paused", "InProgress"]
    assert (cloud.job(arn) or {})["tracking"] == "ACTIVE"


def test_response_without_a_time_is_recorded(cloud: Cloud) -> None:
    """Bedrock may omit lastModifiedTime; the status is recorded without the time."""
    arn = cloud.add_job("Completed")
    cloud.bedrock.faults.override(arn, {"lastModifiedTime": None})
    assert cloud.poll().jobs_ended == 1
    [item] = cloud.history(arn)
    assert "changedAt" not in item
    [event] = cloud.new_events()
    assert "changedAt" not in event["detail"]["data"]


def test_tracking_of_an_ended_job_is_removed_without_a_call(cloud: Cloud) -> None:
    """`tracking` was set on a job whose end is recorded."""
    arn = cloud.add_job("Stopped")
    cloud.poll()
    cloud.new_events()
    cloud.dynamodb.update_item(
        TableName="jobs",
        Key={"jobArn": {"S": arn}},
        UpdateExpression="SET tracking = :active",
        ExpressionAttributeValues={":active": {"S": "ACTIVE"}},
    )
    asked = cloud.asked()
    assert cloud.poll().jobs_changed == 0
    assert "tracking" not in (cloud.job(arn) or {})
    assert cloud.asked() == asked
    assert cloud.new_events() == []


def test_ended_job_that_is_put_again_is_restored(cloud: Cloud) -> None:
    """A put over a recorded job loses nothing: item, history and event ID are as before."""
    arn = cloud.add_job(LIFECYCLE)
    for _ in range(3):
        cloud.poll()
        cloud.bedrock.clock.advance(HOUR)
    before, history = cloud.job(arn), cloud.history(arn)
    [event] = cloud.new_events()
    cloud.track(arn)
    summary = cloud.poll()
    assert (summary.jobs_changed, summary.events_sent, summary.errors) == (0, 1, {})
    after = cloud.job(arn)
    assert after is not None
    assert before is not None
    # The put has just changed the time of tracking, and the event was sent again.
    renewed = {"trackedAt": None, "eventPublishedAt": None}
    assert {**after, **renewed} == {**before, **renewed}
    assert cloud.history(arn) == history
    # The put may have removed a pending event, so the event is sent again.
    [again] = cloud.new_events()
    assert again["detail"] == event["detail"]


def test_running_job_that_is_put_again_continues(cloud: Cloud) -> None:
    """A put over a running job continues with the next sequence, and durations stay known."""
    arn = cloud.add_job(LIFECYCLE)
    cloud.bedrock.clock.advance(10 * MINUTE)
    cloud.poll()
    cloud.track(arn)
    cloud.poll()
    assert (cloud.job(arn) or {})["sequence"] == 1
    cloud.track(arn)
    cloud.bedrock.clock.advance(2 * HOUR)
    assert cloud.poll().jobs_ended == 1
    assert [item["status"] for item in cloud.history(arn)] == ["InProgress", "Completed"]
    [event] = cloud.new_events()
    assert event["detail"]["data"]["previousStatus"] == "InProgress"
    assert set(event["detail"]["data"]["durations"]) == {
        "queuedSeconds",
        "runningSeconds",
        "totalSeconds",
    }


def test_error_of_a_running_job_that_was_put_again_is_reported(cloud: Cloud) -> None:
    """The job continues from its history, and the refused read is no less an error."""
    arn = cloud.add_job(LIFECYCLE)
    cloud.bedrock.clock.advance(10 * MINUTE)
    cloud.poll()
    cloud.track(arn)
    cloud.bedrock.faults.hide(arn)
    assert cloud.poll().errors == {"Bedrock.ResourceNotFoundException": 1}
    assert (cloud.job(arn) or {})["sequence"] == 1


def test_history_expires_if_a_retention_is_set(cloud: Cloud) -> None:
    """With a retention every history item carries its time to live, and no job item does."""
    arn = cloud.add_job("Completed")
    cloud.with_settings(history_retention=timedelta(days=30)).poll()
    [item] = cloud.history(arn)
    assert item["expiresAt"] == (START + timedelta(days=30)).timestamp()
    assert "expiresAt" not in (cloud.job(arn) or {})


def test_poll_fails_without_the_jobs_table(cloud: Cloud) -> None:
    """When the active jobs cannot be listed the poll raises, so that the invocation fails."""
    cloud.dynamodb.delete_table(TableName="jobs")
    with pytest.raises(PollError, match=r"DynamoDB\.ResourceNotFoundException"):
        cloud.poll()


def test_defect_in_one_job_does_not_affect_others(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that is not a service error is counted and logged without its text."""
    arns = sorted(cloud.add_job("Completed") for _ in range(3))
    record = type(cloud.monitor.reconciler.writes).record
    customer_text = f"for {ACCOUNT} only"

    def defective(self: Any, recorded: Any, *arguments: Any, **named: Any) -> Any:
        if recorded.last.job_arn == arns[1]:
            raise KeyError(customer_text)
        return record(self, recorded, *arguments, **named)

    monkeypatch.setattr(type(cloud.monitor.reconciler.writes), "record", defective)
    summary = cloud.poll()
    assert summary.errors == {"Monitor.KeyError": 1}
    assert summary.jobs_ended == 2
    logged = cloud.log.getvalue()
    assert "defect while handling a job" in logged
    assert customer_text not in logged


def between_read_and_write(cloud: Cloud, action: Any) -> None:
    """Have something happen once, when Bedrock has answered and nothing is written yet."""
    bedrock = cloud.monitor.reconciler.bedrock
    get, pending = bedrock.get, [action]

    def answer(job_arn: str) -> Any:
        observation = get(job_arn)
        if pending:
            pending.pop()()
        return observation

    bedrock.get = answer  # type: ignore[method-assign]
