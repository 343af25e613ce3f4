"""Ten defects read in other people's monitors of batch jobs; each is a promise of this one."""

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
    assert batch.follow({"message-0": request}) == []


def native(arn: str, **detail: Any) -> dict[str, Any]:
    return {
        "source": "aws.bedrock",
        "detail-type": "Batch Inference Job State Change",
        "detail": {"batchJobArn": arn, **detail},
    }


def test_defect_1_a_terminal_status_is_missing(cloud: Cloud) -> None:
    """Stopped, Expired and PartiallyCompleted end a job as Completed and Failed do."""
    arns = {ending: cloud.add_job(ending) for ending in statuses.TERMINAL}
    cloud.poll()
    ended = {event["detail"]["data"]["status"] for event in cloud.new_events()}
    assert ended == set(statuses.TERMINAL)
    assert all("tracking" not in (cloud.job(arn) or {}) for arn in arns.values())
    assert cloud.poll().jobs_active == 0


def test_defect_2_the_event_arrives_before_the_row(cloud: Cloud) -> None:
    """An event of a job that has no item yet is neither dropped nor waited out."""
    arn = submit(cloud, "Completed")
    look(cloud, native(arn))
    assert [item["status"] for item in cloud.history(arn)] == ["Completed"]
    assert len(cloud.new_events()) == 1


@pytest.mark.parametrize("detail", [{}, {"status": "Failed"}, {"failureMessage": None}])
def test_defect_3_an_event_with_less_in_it_crashes(cloud: Cloud, detail: dict[str, Any]) -> None:
    """Without failureMessage, status or anything but the ARN an event is as good a hint."""
    arn = submit(cloud, "Failed")
    look(cloud, native(arn, **detail))
    assert len(cloud.new_events()) == 1


def test_defect_3_a_job_of_somebody_else_crashes(cloud: Cloud) -> None:
    """An event of another account's job is refused with a reason, before any call."""
    arn = submit(cloud).replace(ACCOUNT, "210987654321")
    with pytest.raises(MalformedEventError, match="names 210987654321/us-east-1"):
        look(cloud, native(arn))
    assert cloud.asked() == 0


def test_defect_4_overlapping_runs_do_the_work_twice(cloud: Cloud) -> None:
    """Two polls that overlap record and send once, and neither order of crash loses the event."""
    arn = cloud.add_job("Failed")
    between_read_and_write(cloud, cloud.with_settings().poll)
    cloud.poll()
    assert len(cloud.history(arn)) == 1
    assert len(cloud.new_events()) == 1


def test_defect_5_jobs_that_fail_for_ever_starve_the_others(cloud: Cloud) -> None:
    """Denied and deleted jobs at the head of the index keep no job behind them from being read."""
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
    # In a quarter of an hour each is asked for once: they cost next to nothing.
    assert cloud.asked() - asked == len(bad)


def test_defect_6_a_throttled_call_is_not_seen_as_one(cloud: Cloud) -> None:
    """Throttling is told apart from other errors, and the same poll tries once more."""
    arn = cloud.add_job("Completed")
    cloud.bedrock.faults.throttle(next_calls=1)
    summary = cloud.poll()
    assert summary.errors == {"Bedrock.ThrottlingException": 1}
    assert [item["status"] for item in cloud.history(arn)] == ["Completed"]


def test_defect_6_the_first_page_is_taken_for_everything(cloud: Cloud) -> None:
    """All pages of a list are read, and no event costs a scan of a table."""
    cloud = cloud.with_settings(discovery_prefix="")
    arns = {submit(cloud) for _ in range(30)}
    cloud.bedrock.faults.short_pages(7)
    with cloud.counting() as made:
        cloud.poll()
    assert {item["jobArn"] for item in cloud.items("jobs")} == arns
    assert made["Scan"] == 0


def test_defect_7_the_output_path_lacks_the_job(cloud: Cloud) -> None:
    """The output URI ends in the folder of the job's id, where Bedrock puts it."""
    arn = cloud.add_job("Completed")
    cloud.poll()
    [event] = cloud.new_events()
    assert event["detail"]["data"]["outputS3Uri"].endswith(f"/{arn.rsplit('/', 1)[-1]}/")


def test_defect_7_an_absent_count_becomes_zero(cloud: Cloud) -> None:
    """A job that never ran has no counts, in no place."""
    arn = cloud.add_job("Expired")
    cloud.poll()
    [event] = cloud.new_events()
    assert "records" not in event["detail"]["data"]
    assert not [name for name in cloud.job(arn) or {} if name.endswith("RecordCount")]


def test_defect_8_a_permission_is_found_missing_in_production() -> None:
    """Every Bedrock operation that the runtime calls is one of three, which the roles allow."""
    runtime = Path(__file__).parents[2] / "functions" / "bedrock_batch_monitor"
    model = botocore.session.get_session().get_service_model("bedrock")
    names = {botocore.xform_name(name): name for name in model.operation_names}
    code = "\n".join(path.read_text() for path in runtime.rglob("*.py"))
    called = {name for python, name in names.items() if python in code}
    assert called == {"GetModelInvocationJob", "ListModelInvocationJobs", "ListTagsForResource"}
    [template] = (Path(__file__).parents[1] / "infra" / "__snapshots__").glob("**/*.json")
    assert all(f'"bedrock:{name}"' in template.read_text() for name in called)


def test_defect_9_a_waiter_gives_up(cloud: Cloud) -> None:
    """A job that runs for its whole 168 hours is followed to its end."""
    script = Script((Phase("InProgress", 168 * HOUR), Phase("PartiallyCompleted", None)))
    arn = cloud.add_job(script)
    for _ in range(29):
        cloud.poll()
        cloud.bedrock.clock.advance(6 * HOUR)
    assert [item["status"] for item in cloud.history(arn)] == ["InProgress", "PartiallyCompleted"]


def test_defect_9_a_write_turns_a_terminal_status_back(cloud: Cloud) -> None:
    """Once the end is recorded, no answer and no event moves the job again."""
    arn = cloud.add_job("Completed")
    cloud.poll()
    before = cloud.job(arn)
    cloud.bedrock.faults.override(arn, {"status": "InProgress"})
    look(cloud, native(arn, status="InProgress"))
    cloud.poll()
    assert cloud.job(arn) == before
    assert len(cloud.history(arn)) == 1


def test_defect_10_a_callback_is_lost_while_all_looks_well(cloud: Cloud) -> None:
    """An event that could not be sent shows in the summary, with its age, until it is sent."""
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


def test_defect_10_a_job_is_lost_whose_id_nobody_kept(cloud: Cloud) -> None:
    """A job whose submitter lost its ARN is found, recorded and told of all the same."""
    cloud = cloud.with_settings(discovery_prefix="")
    cloud.poll()
    cloud.bedrock.clock.advance(MINUTE)
    submit(cloud, "Completed", job_name="orphan")
    cloud.poll()
    [event] = cloud.new_events()
    assert event["detail"]["data"]["jobName"] == "orphan"
