from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app import discover
from local.bedrock import Phase, Script

from .conftest import ACCOUNT, REGION, START, Cloud

MINUTE = 60
HOUR = 3600
DAY = 86400


@pytest.fixture
def discovering(cloud: Cloud) -> Cloud:
    """The cloud with a monitor that discovers jobs."""
    return cloud.with_settings(discovery_prefix="")


def submit(cloud: Cloud, script: Script | str = "InProgress", **attributes: object) -> str:
    """A job that is submitted to Bedrock, and not tracked."""
    return cloud.bedrock.add_job(
        script=Script((Phase(script, None),)) if isinstance(script, str) else script,  # type: ignore[arg-type]
        account=ACCOUNT,
        region=REGION,
        **attributes,  # type: ignore[arg-type]
    )


def test_first_poll_tracks_jobs_that_still_run(discovering: Cloud) -> None:
    """Jobs that had ended before the deployment are not recorded."""
    running = submit(discovering, submitted_at=START - timedelta(days=6))
    ended = submit(discovering, "Failed", submitted_at=START - timedelta(hours=1))
    summary = discovering.poll()
    assert (summary.jobs_discovered, summary.jobs_changed) == (1, 1)
    job = discovering.job(running)
    assert job is not None
    assert (job["trackedBy"], job["tracking"]) == ("discovery", "ACTIVE")
    assert discovering.job(ended) is None
    discovering.bedrock.clock.advance(MINUTE)
    assert discovering.poll().jobs_discovered == 0
    assert discovering.new_events() == []


def test_job_that_starts_and_ends_between_two_polls_is_recorded(discovering: Cloud) -> None:
    """No job submitted after the deployment goes unrecorded, however short."""
    discovering.poll()
    discovering.bedrock.clock.advance(10)
    arn = submit(discovering, Script.ending("Failed", running=0, submitted=5, validating=10))
    discovering.bedrock.clock.advance(50)
    assert discovering.poll().jobs_discovered == 1
    assert [item["status"] for item in discovering.history(arn)] == ["Failed"]
    [event] = discovering.new_events()
    assert event["resources"] == [arn]


def test_jobs_that_ran_during_an_outage_are_recorded(discovering: Cloud) -> None:
    """After an outage the list continues where it stopped, and every end has its event."""
    discovering.poll()
    arns = set()
    for _ in range(30):
        discovering.bedrock.clock.advance(HOUR)
        arns.add(submit(discovering, Script.ending("Completed", running=60)))
    discovering.bedrock.clock.advance(HOUR)
    summary = discovering.poll()
    assert (summary.jobs_discovered, summary.jobs_ended) == (30, 30)
    assert {event["resources"][0] for event in discovering.new_events()} == arns
    assert discovering.poll().jobs_discovered == 0


def test_stale_list_hides_no_job(discovering: Cloud) -> None:
    """A job that a list shows minutes late is still found: each list overlaps the last one."""
    discovering.poll()
    discovering.bedrock.clock.advance(MINUTE)
    arn = submit(discovering, "Completed")
    discovering.bedrock.faults.stale_lists(leave_out=[arn])
    for _ in range(10):
        assert discovering.poll().jobs_discovered == 0
        discovering.bedrock.clock.advance(MINUTE)
    discovering.bedrock.faults.clear()
    assert discovering.poll().jobs_discovered == 1
    assert len(discovering.new_events()) == 1


def test_list_without_statuses_is_enough(discovering: Cloud) -> None:
    """The status is an optional member of a summary; Get returns it."""
    discovering.bedrock.faults.stale_lists(without=["status", "endTime"])
    running = submit(discovering, "InProgress")
    assert discovering.poll().jobs_discovered == 1
    assert [item["status"] for item in discovering.history(running)] == ["InProgress"]


def test_short_or_empty_pages_hide_no_job(discovering: Cloud) -> None:
    """Every page is read until there is no token, whatever the pages contain."""
    arns = {submit(discovering) for _ in range(25)}
    discovering.bedrock.faults.short_pages(3)
    assert discovering.poll().jobs_discovered == 25
    assert {item["jobArn"] for item in discovering.items("jobs")} == arns


def test_discovery_tracks_only_jobs_with_the_prefix(cloud: Cloud) -> None:
    """Jobs with other names are not tracked, also if the prefix is inside the name."""
    cloud = cloud.with_settings(discovery_prefix="nightly-")
    wanted = submit(cloud, job_name="nightly-summaries")
    submit(cloud, job_name="not-nightly-summaries")
    submit(cloud, job_name="weekly")
    assert cloud.poll().jobs_discovered == 1
    assert [item["jobArn"] for item in cloud.items("jobs")] == [wanted]


def test_discovery_tracks_only_jobs_that_match_every_limit(cloud: Cloud) -> None:
    """Prefix, pattern and models are set."""
    cloud = cloud.with_settings(
        discovery_prefix="nightly-",
        discovery_pattern="*-prod",
        discovery_models=frozenset({"amazon.nova-lite-v1:0"}),
    )
    model = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
    wanted = submit(cloud, job_name="nightly-1-prod", model_id=model)
    submit(cloud, job_name="nightly-1-test", model_id=model)
    submit(cloud, job_name="weekly-1-prod", model_id=model)
    submit(cloud, job_name="nightly-2-prod", model_id="amazon.nova-pro-v1:0")
    assert cloud.poll().jobs_discovered == 1
    assert [item["jobArn"] for item in cloud.items("jobs")] == [wanted]


def test_untracked_job_is_not_tracked_again(discovering: Cloud) -> None:
    """The job stays in the lists, and out of polling."""
    arn = submit(discovering)
    discovering.poll()
    discovering.dynamodb.update_item(
        TableName="jobs", Key={"jobArn": {"S": arn}}, UpdateExpression="REMOVE tracking"
    )
    discovering.bedrock.clock.advance(MINUTE)
    summary = discovering.poll()
    assert (summary.jobs_discovered, summary.jobs_active) == (0, 0)
    assert "tracking" not in (discovering.job(arn) or {})


def test_failed_list_is_repeated_by_the_next_poll(discovering: Cloud) -> None:
    """Without the permission to list, tracked jobs are still read, and later no job is skipped."""
    tracked = discovering.add_job("InProgress")
    fault = discovering.bedrock.faults.deny(operation="ListModelInvocationJobs")
    summary = discovering.poll()
    assert summary.errors == {"Bedrock.AccessDeniedException": 1}
    assert len(discovering.history(tracked)) == 1
    discovering.bedrock.clock.advance(MINUTE)
    arn = submit(discovering, "Completed")
    discovering.bedrock.clock.advance(2 * HOUR)
    discovering.bedrock.faults.remove(fault)
    assert discovering.poll().jobs_discovered == 1
    assert len(discovering.history(arn)) == 1


def test_list_without_new_jobs_costs_one_call_and_no_write(discovering: Cloud) -> None:
    """The bookmark is stored now and then."""
    discovering.poll()
    written = []
    asked = discovering.bedrock.calls["ListModelInvocationJobs", "OK"]
    for _ in range(10):
        discovering.bedrock.clock.advance(MINUTE)
        with discovering.counting() as made:
            discovering.poll()
        written.append(made["UpdateItem"])
    assert discovering.bedrock.calls["ListModelInvocationJobs", "OK"] - asked == 10
    assert sum(written) == 2


def test_interrupted_list_continues_in_the_next_poll(
    discovering: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When time runs out within a long list, the next poll lists the rest."""
    monkeypatch.setattr(discover, "BATCH", 25)
    discovering.poll()
    for _ in range(62):
        discovering.bedrock.clock.advance(MINUTE)
        submit(discovering)
    found = 0
    for _ in range(6):
        looks = [0]

        def left(looks: list[int] = looks) -> float:
            looks[0] += 1
            return 900 if looks[0] < 100 else 10

        found += discovering.monitor.poll(left).jobs_discovered
    assert found == 62
    assert len(discovering.items("jobs")) == 62


def test_invalid_bookmark_does_not_stop_discovery(discovering: Cloud) -> None:
    """A state item that cannot be read is counted, and the list begins without a bookmark."""
    discovering.dynamodb.put_item(
        TableName="state",
        Item={"scope": {"S": f"{ACCOUNT}/{REGION}"}, "discoveredUntil": {"S": "yesterday"}},
    )
    arn = submit(discovering, "Failed")
    summary = discovering.poll()
    assert summary.errors == {"Item.InvalidState": 1}
    assert len(discovering.history(arn)) == 1
    assert discovering.poll().errors == {}


def test_bookmark_that_cannot_be_read_now_is_kept(discovering: Cloud) -> None:
    """While the state table refuses, discovery waits instead of starting without a bookmark."""
    discovering.poll()
    discovering.bedrock.clock.advance(MINUTE)
    arn = submit(discovering, "Failed")
    before = discovering.items("state")

    class Refusing:
        def __getattr__(self, _: str) -> object:
            def refuse(*_: object, **__: object) -> None:
                throttled = ServiceError("DynamoDB", "ThrottlingException", "slow down")
                raise throttled

            return refuse

    refused = replace(discovering, monitor=replace(discovering.monitor, state=Refusing()))  # type: ignore[arg-type]
    assert refused.poll().jobs_discovered == 0
    assert discovering.items("state") == before
    assert discovering.poll().jobs_discovered == 1
    assert len(discovering.history(arn)) == 1
