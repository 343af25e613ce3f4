"""The deployed stack, used as its users use it: tables, function payload, events, outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bedrock_batch_monitor.domain import statuses
from local.bedrock import Phase, Script
from local.cloud import Cloud
from local.deployment import PollError
from local.subscription import Subscription
from local.waiting import wait_for
from tests.support.contracts import assert_keeps_to_schema

EVENTS = Path(__file__).parents[1] / "events"
OWN_JOBS = "arn:aws:bedrock:us-east-1:000000000000:model-invocation-job/abcdef123456"
SECRET = "the text of a patient's record"  # noqa: S105 - a customer's text in a message


def job_in(cloud: Cloud, status: str, **attributes: Any) -> str:
    """A job that is in this status for good, tracked by hand."""
    arn = cloud.bedrock.add_job(script=Script((Phase(status, None),)), **attributes)
    cloud.monitor.track(arn)
    return arn


def once(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events without repeats, which at-least-once delivery allows."""
    return list({event["detail"]["metadata"]["eventId"]: event for event in events}.values())


def received(subscription: Subscription, count: int) -> list[dict[str, Any]]:
    """So many different events, however often each of them came."""
    events: list[dict[str, Any]] = []

    def enough() -> bool:
        events.extend(subscription.receive(0))
        return len(once(events)) >= count

    wait_for(enough, 30, what=f"{count} events")
    return once(events)


def poll_until_recorded(cloud: Cloud, *arns: str) -> None:
    """Poll until each job has a history: the schedule polls too, and may be the one to record."""

    def recorded() -> bool:
        cloud.monitor.poll()
        return all(cloud.monitor.history(arn) for arn in arns)

    wait_for(recorded, 30, what="every job to be recorded")


def role_of(cloud: Cloud) -> str:
    configuration = cloud.monitor.client("lambda").get_function_configuration(
        FunctionName=cloud.monitor.outputs.monitor_function_name
    )
    return configuration["Role"].rsplit("/", 1)[-1]


def outbox_of(cloud: Cloud) -> str:
    """The name of the outbox table, which no output of the stack tells."""
    configuration = cloud.monitor.client("lambda").get_function_configuration(
        FunctionName=cloud.monitor.outputs.monitor_function_name
    )
    return str(configuration["Environment"]["Variables"]["OUTBOX_TABLE_NAME"])


@contextmanager
def denied(cloud: Cloud, action: str, *, role: str | None = None) -> Iterator[None]:
    """Take a permission from a role, by default the monitor function's, by mistake and a while."""
    iam, role = cloud.monitor.client("iam"), role or role_of(cloud)
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Deny", "Action": action, "Resource": "*"}],
    }
    iam.put_role_policy(RoleName=role, PolicyName="denied", PolicyDocument=json.dumps(document))
    try:
        yield
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="denied")


def test_tracked_job_is_recorded_and_published_to_its_end(cloud: Cloud) -> None:
    """Two attributes put a job in; statuses, history, event and the end of tracking come out."""
    running = Script((Phase("InProgress", 3600), Phase("Completed", None)))
    arn = cloud.bedrock.add_job(script=running, job_name="nightly", total_records=1000)
    with cloud.monitor.subscribe() as subscription:
        cloud.monitor.track(arn)
        poll_until_recorded(cloud, arn)
        job = cloud.monitor.job(arn)
        assert job is not None
        assert (job["status"], job["sequence"], job["tracking"]) == ("InProgress", 1, "ACTIVE")
        assert job["jobName"] == "nightly"

        cloud.bedrock.clock.advance(3600)
        cloud.monitor.poll()
        [event] = once([e for e in subscription.receive() if e["resources"] == [arn]])
    assert_keeps_to_schema(event)
    first, last = cloud.monitor.history(arn)
    assert (first["status"], last["status"]) == ("InProgress", "Completed")
    assert last["previousStatus"] == "InProgress"
    assert event["detail"]["metadata"]["eventId"] == last["eventId"]
    assert event["detail"]["metadata"]["sequence"] == last["sequence"] == 2
    job = cloud.monitor.job(arn)
    assert job is not None
    assert not {"tracking", "eventPending", "pendingEvents", "lastError"} & set(job)
    assert {name: job.get(name) for name in last} == last


def ends_with(status: str) -> dict[str, Any]:
    """A pattern for the jobs that end in this status."""
    return {
        "source": ["bedrock-batch-monitor"],
        "detail-type": ["Batch Inference Job Ended"],
        "detail": {"data": {"status": [status]}},
    }


def test_every_end_reaches_the_subscriber_to_its_status_only(cloud: Cloud) -> None:
    """A rule on the status receives the jobs that ended so, and no others."""
    with ExitStack() as stack:
        subscriptions = {
            status: stack.enter_context(cloud.monitor.subscribe(ends_with(status)))
            for status in statuses.TERMINAL
        }
        arns = {status: job_in(cloud, status) for status in statuses.TERMINAL}
        poll_until_recorded(cloud, *arns.values())
        for status, subscription in subscriptions.items():
            events = subscription.receive()
            assert [event["resources"] for event in once(events)] == [[arns[status]]]
            assert_keeps_to_schema(events[0])


def test_schedule_polls_without_an_invocation(cloud: Cloud) -> None:
    """A tracked job is recorded within two intervals though nobody invokes the function."""
    arn = job_in(cloud, "Failed")
    wait_for(lambda: cloud.monitor.history(arn), 130, what="the schedule to poll")
    assert [item["status"] for item in cloud.monitor.history(arn)] == ["Failed"]


def test_one_query_returns_every_failure_since_a_time(cloud: Cloud) -> None:
    """The by-status index answers with what a person needs to see, from one moment on."""
    earlier = job_in(cloud, "Failed", job_name="earlier")
    poll_until_recorded(cloud, earlier)
    since = cloud.monitor.history(earlier)[-1]["observedAt"]
    later = job_in(cloud, "Failed", job_name="later")
    poll_until_recorded(cloud, later)
    answer = cloud.monitor.client("dynamodb").query(
        TableName=cloud.monitor.outputs.history_table_name,
        IndexName="by-status",
        KeyConditionExpression="#status = :failed AND observedAt > :since",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":failed": {"S": "Failed"}, ":since": {"S": since}},
    )
    [item] = answer["Items"]
    assert (item["jobArn"]["S"], item["jobName"]["S"]) == (later, "later")
    assert {"sequence", "modelId", "changedAt"} <= set(item)


def test_many_simultaneous_ends_are_published_exactly_once(cloud: Cloud) -> None:
    """Three hundred jobs that end together are recorded and emitted, each exactly once."""
    with cloud.monitor.subscribe() as subscription:
        arns = {job_in(cloud, "Completed") for _ in range(300)}
        poll_until_recorded(cloud, *arns)
        events = received(subscription, 300)
    assert {event["resources"][0] for event in events} == arns
    assert len({event["detail"]["metadata"]["eventId"] for event in events}) == 300
    assert all(len(cloud.monitor.history(arn)) == 1 for arn in arns)


def test_overlapping_polls_record_each_transition_once(cloud: Cloud) -> None:
    """Polls at the same time write one history item per transition and leave no event pending."""
    arns = [job_in(cloud, "Stopped") for _ in range(40)]
    with cloud.monitor.subscribe() as subscription, ThreadPoolExecutor(3) as threads:
        summaries = list(threads.map(lambda _: cloud.monitor.poll(), range(3)))
        poll_until_recorded(cloud, *arns)
        events = received(subscription, 40)
    assert all(not summary["errors"] for summary in summaries)
    assert all(len(cloud.monitor.history(arn)) == 1 for arn in arns)
    ids = {event["detail"]["metadata"]["eventId"] for event in events}
    assert ids == {cloud.monitor.history(arn)[0]["eventId"] for arn in arns}


def test_invalid_arn_gets_an_error_in_its_item(cloud: Cloud) -> None:
    """A mistaken item keeps its place with the reason and the remedy, and others go on."""
    cloud.monitor.track("i-am-no-arn")
    try:
        arn = job_in(cloud, "Completed")
        poll_until_recorded(cloud, arn)
        item = cloud.monitor.job("i-am-no-arn")
        assert item is not None
        assert item["lastError"]["code"] == "InvalidJobArn"
        assert (
            "'i-am-no-arn' is not the ARN of a batch inference job" in item["lastError"]["message"]
        )
    finally:
        cloud.monitor.client("dynamodb").delete_item(
            TableName=cloud.monitor.outputs.jobs_table_name, Key={"jobArn": {"S": "i-am-no-arn"}}
        )


def test_temporary_bedrock_faults_lose_no_job(cloud: Cloud) -> None:
    """Throttled, denied and failing reads are noted or waited out; all is recorded in the end."""
    arns = [job_in(cloud, "PartiallyCompleted") for _ in range(20)]
    faults = cloud.bedrock.faults
    faults.throttle(share=0.6)
    faults.deny(arns[0])
    try:
        summary = cloud.monitor.poll()
        assert summary["errors"]["Bedrock.ThrottlingException"] > 0
        wait_for(
            lambda: cloud.monitor.poll() and "lastError" in (cloud.monitor.job(arns[0]) or {}),
            30,
            what="the denied job to say so",
        )
    finally:
        faults.clear()
    poll_until_recorded(cloud, *arns)
    assert "lastError" not in (cloud.monitor.job(arns[0]) or {})


def test_role_allows_only_the_operations_in_use(cloud: Cloud) -> None:
    """Bedrock's stand-in asks nobody, so the role's own policy is asked what it allows there."""
    may = cloud.monitor.may
    assert may("bedrock:GetModelInvocationJob", OWN_JOBS)
    assert may("bedrock:ListModelInvocationJobs")
    assert not may("bedrock:GetModelInvocationJob", OWN_JOBS.replace("us-east-1", "eu-west-1"))
    assert not may("bedrock:StopModelInvocationJob", OWN_JOBS)
    assert not may("bedrock:CreateModelInvocationJob")
    assert not may("dynamodb:DeleteTable")
    assert not may("dynamodb:Scan")


def test_denied_put_events_loses_no_event(cloud: Cloud) -> None:
    """Endings are recorded while the bus refuses; the events follow once it is allowed again."""
    with cloud.monitor.subscribe() as subscription:
        with denied(cloud, "events:PutEvents"):
            arns = {job_in(cloud, "Expired") for _ in range(3)}
            poll_until_recorded(cloud, *arns)
            # Each poll tries again what is pending.
            assert cloud.monitor.poll()["eventsPending"] >= 3
            assert subscription.receive(0) == []
        wait_for(
            lambda: cloud.monitor.poll()["eventsPending"] == 0, 30, what="the bus to take them"
        )
        events = received(subscription, 3)
    assert {event["resources"][0] for event in events} == arns


def test_failed_poll_is_in_its_queue_and_the_next_poll_succeeds(
    cloud: Cloud,
) -> None:
    """Without access to the jobs table an invocation fails visibly, and leaves no dead letter."""
    cloud.monitor.take_dead_letters()
    cloud.monitor.take_failed_polls()
    with denied(cloud, "dynamodb:Query"):
        arn = job_in(cloud, "Failed")
        with pytest.raises(PollError, match=r"cannot be listed: DynamoDB\.AccessDeniedException"):
            cloud.monitor.poll()
        # As the schedule does it: asynchronously.
        cloud.monitor.client("lambda").invoke(
            FunctionName=cloud.monitor.outputs.monitor_function_name,
            Payload=b"{}",
            InvocationType="Event",
        )
        letters = wait_for(cloud.monitor.take_failed_polls, 60, what="a failed poll")
        assert "DynamoDB.AccessDeniedException" in letters[0]
        assert cloud.monitor.take_dead_letters() == []
    assert cloud.monitor.history(arn) == []
    poll_until_recorded(cloud, arn)


def test_messages_are_in_tables_and_events_and_in_no_log(cloud: Cloud) -> None:
    """A job's message can hold customer data: it is stored and emitted, never logged."""
    script = Script((Phase("Failed", None, SECRET),))
    arn = cloud.bedrock.add_job(script=script)
    with cloud.monitor.subscribe() as subscription:
        cloud.monitor.track(arn)
        poll_until_recorded(cloud, arn)
        ends = [e for e in subscription.receive() if e["detail-type"].endswith("Ended")]
        [event] = once(ends)
    assert event["detail"]["data"]["message"] == SECRET
    assert cloud.monitor.history(arn)[-1]["message"] == SECRET
    log = wait_for(
        lambda: log if arn in (log := cloud.monitor.function_log()) else None,
        10,
        what="the poll's log",
    )
    assert "job changed" in log
    assert SECRET not in log


def test_job_without_a_command_is_discovered(cloud: Cloud) -> None:
    """With the default settings a job needs no more than to be submitted."""
    cloud.monitor.poll()
    with cloud.monitor.subscribe() as subscription:
        arn = cloud.bedrock.add_job(script=Script((Phase("Completed", None),)))
        poll_until_recorded(cloud, arn)
        [event] = once([e for e in subscription.receive() if e["resources"] == [arn]])
    assert event["detail"]["data"]["status"] == "Completed"
    assert (cloud.monitor.job(arn) or {})["trackedBy"] == "discovery"


def test_many_jobs_are_listed_and_changed_ones_fetched(cloud: Cloud) -> None:
    """With many active jobs lists spare most of their Get, and an ending is recorded as ever."""
    ending = Script((Phase("InProgress", 3600), Phase("Failed", None)))
    still = [job_in(cloud, status) for status in ("Scheduled", "InProgress") * 25]
    arn = cloud.bedrock.add_job(script=ending)
    cloud.monitor.track(arn)
    poll_until_recorded(cloud, arn, *still)
    wait_for(lambda: cloud.monitor.poll()["jobsListed"] >= len(still), 30, what="jobs to be listed")
    cloud.bedrock.clock.advance(3600)
    wait_for(
        lambda: cloud.monitor.poll() and len(cloud.monitor.history(arn)) == 2, 30, what="the end"
    )
    assert all(len(cloud.monitor.history(other)) == 1 for other in still)
    for other in still:
        cloud.monitor.client("dynamodb").update_item(
            TableName=cloud.monitor.outputs.jobs_table_name,
            Key={"jobArn": {"S": other}},
            UpdateExpression="REMOVE tracking",
        )


def test_commands_on_the_bus_track_and_untrack_a_job(cloud: Cloud) -> None:
    """An application tracks a job, and takes it out again, with an event on the monitor's bus."""
    arn = cloud.bedrock.add_job(script=Script((Phase("InProgress", None),)))
    cloud.monitor.send("Track Batch Inference Job", {"jobArn": arn})
    wait_for(lambda: cloud.monitor.history(arn), 30, what="the tracked job to be recorded")
    cloud.monitor.send("Untrack Batch Inference Job", {"jobArn": arn})
    wait_for(
        lambda: "tracking" not in (cloud.monitor.job(arn) or {}), 30, what="the job to be untracked"
    )


def test_native_event_is_recorded_without_a_poll(cloud: Cloud) -> None:
    """Bedrock's own event matches the rule, and what its target gets is processed at once.

    Nobody but AWS may put an event with this source, so the pattern is tested with
    TestEventPattern and the event handed to the rule's target, as EventBridge would.
    """
    arn = cloud.bedrock.add_job(script=Script((Phase("Failed", None),)))
    # The schedule's own poll must not be faster.
    hidden = cloud.bedrock.faults.stale_lists(leave_out=[arn])
    event = json.loads((EVENTS / "native-failed.json").read_text())
    event |= {"resources": [arn], "time": "2026-11-24T20:00:00Z", "account": "000000000000"}
    event["detail"]["batchJobArn"] = arn
    events = cloud.monitor.client("events")
    [rule] = [
        rule
        for rule in events.list_rules()["Rules"]
        if "aws.bedrock" in rule.get("EventPattern", "")
    ]
    matches = events.test_event_pattern(EventPattern=rule["EventPattern"], Event=json.dumps(event))
    assert matches["Result"]
    [target] = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    sqs = cloud.monitor.client("sqs")
    url = sqs.get_queue_url(QueueName=target["Arn"].rsplit(":", 1)[-1])["QueueUrl"]
    with cloud.monitor.subscribe() as subscription:
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
        wait_for(lambda: cloud.monitor.history(arn), 30, what="the event to be processed")
        received = once([e for e in subscription.receive() if e["resources"] == [arn]])
    assert [item["observedBy"] for item in cloud.monitor.history(arn)] == ["event"]
    assert [e["detail"]["metadata"]["observedBy"] for e in received] == ["event"]
    cloud.bedrock.faults.remove(hidden)


def test_dead_letter_can_be_redriven(cloud: Cloud) -> None:
    """What the inbox could not process five times is a dead letter that still can be processed.

    `StartMessageMoveTask`, which moves letters on AWS, is not in the local cloud: the letter is put
    back into the queue as that does, body unchanged.
    """
    arn = cloud.bedrock.add_job(script=Script((Phase("Failed", None),)))
    hidden = cloud.bedrock.faults.stale_lists(leave_out=[arn])
    cloud.monitor.take_dead_letters()
    lambda_, sqs = cloud.monitor.client("lambda"), cloud.monitor.client("sqs")
    [mapping] = [
        each
        for each in lambda_.list_event_source_mappings()["EventSourceMappings"]
        if "Inbox" in each["FunctionArn"]
    ]
    url = sqs.get_queue_url(QueueName=mapping["EventSourceArn"].rsplit(":", 1)[-1])["QueueUrl"]
    configuration = lambda_.get_function_configuration(FunctionName=mapping["FunctionArn"])
    role = configuration["Role"].rsplit("/", 1)[-1]
    timeout = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
    # Five attempts are to take seconds here, not a quarter of an hour.
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    command = {"detail-type": "Track Batch Inference Job", "detail": {"jobArn": arn}}
    try:
        with denied(cloud, "dynamodb:GetItem", role=role):
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps(command))
            [letter] = wait_for(cloud.monitor.take_dead_letters, 120, what="the dead letter")
        assert cloud.monitor.history(arn) == []
        sqs.send_message(QueueUrl=url, MessageBody=letter)
        wait_for(lambda: cloud.monitor.history(arn), 60, what="the letter to be processed")
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=timeout["Attributes"])
        cloud.bedrock.faults.remove(hidden)
