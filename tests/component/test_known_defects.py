"""Ten defects found in other monitors of batch jobs: none of them exists here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest

from bedrock_batch_monitor.app.composition import compose_inbox
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.requests import MalformedEventError, request_of
from local.bedrock import Phase, Script
from tests.support.monitor import native_event

from .conftest import ACCOUNT, REGION, SETTINGS, Cloud
from .test_poll import between_read_and_write

MINUTE = 60
HOUR = 3600


def submit(cloud: Cloud, status: str = "InProgress", **attributes: Any) -> str:
    script = Script((Phase(status, None),))  # type: ignore[arg-type]
    return cloud.bedrock.add_job(script=script, account=ACCOUNT, region=REGION, **attributes)


def look(cloud: Cloud, event: dict[str, Any]) -> None:
    """Follow an event as the inbox function does, and send what is pending."""
    inbox = compose_inbox(
        replace(SETTINGS, discovery_prefix=""),
        boto3.Session(region_name=REGION),
        clock=cloud.bedrock.clock.now,
    )
    request = request_of(event, SETTINGS.scopes, cloud.bedrock.clock.now())
    batch = inbox.batch(lambda: 60.0, cloud.monitor.logger)
    assert batch.process({"message-0": request}) == []


def test_defect_1_all_five_terminal_statuses_end_a_job(cloud: Cloud) -> None:
    """Stopped, Expired and PartiallyCompleted as well as Completed and Failed."""
    arns = {ending: cloud.add_job(ending) for ending in statuses.TERMINAL}
    cloud.poll()
    ended = {event["detail"]["data"]["status"] for event in cloud.new_events()}
    assert ended == set(statuses.TERMINAL)
    assert all("tracking" not in (cloud.job(arn) or {}) for arn in arns.values())
    assert cloud.poll().jobs_active == 0


def test_defect_2_event_before_the_item_is_not_lost(cloud: Cloud) -> None:
    """An event of a job without an item is processed at once."""
    arn = submit(cloud, "Completed")
    look(cloud, native_event(arn))
    assert [item["status"] for item in cloud.history(arn)] == ["Completed"]
    assert len(cloud.new_events()) == 1


@pytest.mark.parametrize("detail", [{}, {"status": "Failed"}, {"failureMessage": None}])
def test_defect_3_event_with_missing_fields_is_processed(
    cloud: Cloud, detail: dict[str, Any]
) -> None:
    """Without failureMessage, status or anything but the ARN an event is still a hint."""
    arn = submit(cloud, "Failed")
    look(cloud, native_event(arn, **detail))
    assert len(cloud.new_events()) == 1


def test_defect_3_event_of_another_account_is_refused(cloud: Cloud) -> None:
    """With a reason, before any call."""
    arn = submit(cloud).replace(ACCOUNT, "210987654321")
    with pytest.raises(MalformedEventError, match="names 210987654321/us-east-1"):
        look(cloud, native_event(arn))
    assert cloud.asked() == 0


def test_defect_4_overlapping_polls_record_and_send_once(cloud: Cloud) -> None:
    """Whichever of them ends in between, no event is lost."""
    arn = cloud.add_job("Failed")
    between_read_and_write(cloud, cloud.with_settings().poll)
    cloud.poll()
    assert len(cloud.history(arn)) == 1
    assert len(cloud.new_events()) == 1


def test_defect_5_failing_jobs_do_not_starve_others(cloud: Cloud) -> None:
    """Denied and deleted jobs at the beginning of the index delay no job after them."""
    bad = sorted(submit(cloud) for _ in range(30))
    for arn in bad:
        cloud.bedrock.faults.hide(arn)
        cloud.track(arn)
    good = cloud.track(submit(cloud, "Completed"))
    cloud.poll()
    assert [item["status"] for item in cloud.history(good)] == ["Completed"]
    for _ in range(5):
        cloud.bedrock.clock.advance(MINUTE)
        cloud.poll()
    asked = cloud.asked()
    for _ in range(15):
        cloud.bedrock.clock.advance(MINUTE)
        cloud.poll()
    # Each is read once in 15 minutes, so they cost very little.
    assert cloud.asked() - asked == len(bad)


def test_defect_6_throttled_call_is_recognized_and_retried(cloud: Cloud) -> None:
    """Throttling is distinguished from other errors; the same poll retries once."""
    arn = cloud.add_job("Completed")
    cloud.bedrock.faults.throttle(next_calls=1)
    summary = cloud.poll()
    assert summary.errors == {"Bedrock.ThrottlingException": 1}
    assert [item["status"] for item in cloud.history(arn)] == ["Completed"]


def test_defect_6_every_page_of_a_list_is_read(cloud: Cloud) -> None:
    """No event costs a scan of a table."""
    cloud = cloud.with_settings(discovery_prefix="")
    arns = {submit(cloud) for _ in range(30)}
    cloud.bedrock.faults.short_pages(7)
    with cloud.counting() as made:
        cloud.poll()
    assert {item["jobArn"] for item in cloud.items("jobs")} == arns
    assert made["Scan"] == 0


def test_defect_7_output_uri_ends_with_the_folder_of_the_job(cloud: Cloud) -> None:
    """Bedrock writes into the folder with the job's ID."""
    arn = cloud.add_job("Completed")
    cloud.poll()
    [event] = cloud.new_events()
    assert event["detail"]["data"]["outputS3Uri"].endswith(f"/{arn.rsplit('/', 1)[-1]}/")


def test_defect_7_absent_count_stays_absent(cloud: Cloud) -> None:
    """A job that never ran has no counts, neither in the tables nor in events."""
    arn = cloud.add_job("Expired")
    cloud.poll()
    [event] = cloud.new_events()
    assert "records" not in event["detail"]["data"]
    assert not [name for name in cloud.job(arn) or {} if name.endswith("RecordCount")]


def test_defect_8_every_bedrock_operation_is_permitted() -> None:
    """The runtime calls three Bedrock operations, which the roles allow."""
    runtime = Path(__file__).parents[2] / "functions" / "bedrock_batch_monitor"
    model = botocore.session.get_session().get_service_model("bedrock")
    names = {botocore.xform_name(name): name for name in model.operation_names}
    code = "\n".join(path.read_text() for path in runtime.rglob("*.py"))
    called = {name for python, name in names.items() if python in code}
    assert called == {"GetModelInvocationJob", "ListModelInvocationJobs", "ListTagsForResource"}
    [template] = (Path(__file__).parents[1] / "infra" / "__snapshots__").glob("**/*.json")
    assert all(f'"bedrock:{name}"' in template.read_text() for name in called)


def test_defect_9_job_is_tracked_for_168_hours(cloud: Cloud) -> None:
    """A job that runs for its whole time-out is tracked to its end."""
    script = Script((Phase("InProgress", 168 * HOUR), Phase("PartiallyCompleted", None)))
    arn = cloud.add_job(script)
    for _ in range(29):
        cloud.poll()
        cloud.bedrock.clock.advance(6 * HOUR)
    assert [item["status"] for item in cloud.history(arn)] == ["InProgress", "PartiallyCompleted"]


def test_defect_9_terminal_status_is_never_reverted(cloud: Cloud) -> None:
    """Once the end is recorded, no response and no event changes the job."""
    arn = cloud.add_job("Completed")
    cloud.poll()
    before = cloud.job(arn)
    cloud.bedrock.faults.override(arn, {"status": "InProgress"})
    look(cloud, native_event(arn, status="InProgress"))
    cloud.poll()
    assert cloud.job(arn) == before
    assert len(cloud.history(arn)) == 1


def test_defect_10_unsent_event_is_in_the_summary(cloud: Cloud) -> None:
    """An event that could not be sent is in the summary, with its age, until it is sent."""
    cloud.events.remove_targets(Rule="all", EventBusName="monitor", Ids=["queue"])
    cloud.events.delete_rule(Name="all", EventBusName="monitor")
    cloud.events.delete_event_bus(Name="monitor")
    cloud.add_job("Completed")
    cloud.poll()
    cloud.bedrock.clock.advance(HOUR)
    summary = cloud.poll()
    assert (summary.events_pending, summary.oldest_pending_event_seconds) == (1, HOUR)
    cloud.events.create_event_bus(Name="monitor")
    summary = cloud.poll()
    assert (summary.events_sent, summary.events_pending) == (1, 0)


def test_defect_10_job_whose_arn_was_lost_is_discovered(cloud: Cloud) -> None:
    """It is recorded and its end is published."""
    cloud = cloud.with_settings(discovery_prefix="")
    cloud.poll()
    cloud.bedrock.clock.advance(MINUTE)
    submit(cloud, "Completed", job_name="orphan")
    cloud.poll()
    [event] = cloud.new_events()
    assert event["detail"]["data"]["jobName"] == "orphan"
