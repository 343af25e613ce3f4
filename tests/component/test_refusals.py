"""Jobs that cannot be read: what is a refusal, what is temporary, and when each is recorded."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError

from bedrock_batch_monitor.domain.summary import PollSummary
from bedrock_batch_monitor.handlers import inbox as inbox_module

from .conftest import Cloud
from .test_inbox import Inbox, command, inbox, native, submit

__all__ = ["inbox"]

MINUTE = 60
HOUR = 3600
DAY = 24 * HOUR
UNREACHABLE = "Batch Inference Job Unreachable"


class Body(io.BytesIO):
    """The body of an answer, as urllib3 streams it."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        """The whole body at once."""
        yield self.read()


def refuse(bedrock: Any, code: str, status: int = 403) -> None:
    """Have Bedrock answer every call with this error."""

    def answer(request: Any, **_: Any) -> AWSResponse:
        headers = {"x-amzn-ErrorType": code, "content-type": "application/json"}
        body = Body(json.dumps({"message": "refused"}).encode())
        return AWSResponse(request.url, status, headers, body)  # type: ignore[no-untyped-call]

    bedrock._client.meta.events.register("before-send.bedrock", answer)


def unresolvable(bedrock: Any) -> None:
    """Have every call of Bedrock end without an answer."""

    def fail(request: Any, **_: Any) -> None:
        raise EndpointConnectionError(endpoint_url=request.url)

    bedrock._client.meta.events.register("before-send.bedrock", fail)


def polls(cloud: Cloud, count: int, seconds: float = MINUTE) -> list[PollSummary]:
    """Run polls, a minute apart by default."""
    summaries = []
    for _ in range(count):
        summaries.append(cloud.poll())
        cloud.bedrock.clock.advance(seconds)
    return summaries


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("UnrecognizedClientException", 403),
        ("InvalidSignatureException", 403),
        ("ExpiredTokenException", 403),
        ("UnknownOperationException", 404),
        ("SomethingNewException", 400),
    ],
)
def test_every_refusal_is_recorded_at_once_and_makes_the_job_unreachable(
    cloud: Cloud, code: str, status: int
) -> None:
    """A Region that is not enabled, for a day: the item has the reason, and people are notified."""
    arn = cloud.add_job("InProgress")
    refuse(cloud.monitor.reconciler.bedrock, code, status)
    first = cloud.poll()
    assert first.errors == {f"Bedrock.{code}": 1}
    assert first.refused == 1
    assert (cloud.job(arn) or {})["lastError"] == {"code": code, "message": "refused"}
    cloud.bedrock.clock.advance(MINUTE)
    assert [each.conditions["Unreachable"] for each in polls(cloud, 2)] == [0, 1]
    summaries = polls(cloud, 24, HOUR)
    [event] = cloud.new_events()
    assert event["detail-type"] == UNREACHABLE
    assert event["detail"]["data"]["error"]["code"] == code
    assert all(each.conditions["Unreachable"] == 1 for each in summaries)


def test_job_whose_host_cannot_be_resolved_has_an_error_after_an_hour(cloud: Cloud) -> None:
    """A temporary error costs no write per poll; after an hour it is handled like a refusal."""
    arn = cloud.add_job("InProgress")
    cloud.poll()
    cloud.bedrock.clock.advance(MINUTE)
    unresolvable(cloud.monitor.reconciler.bedrock)
    with cloud.counting() as made:
        polls(cloud, 60)
    # Where the next poll begins; and since when, after a quarter of an hour. The repeat in the same
    # poll finds that noted.
    assert made["UpdateItem"] <= 3
    assert "lastError" not in (cloud.job(arn) or {})
    assert cloud.new_events() == []
    summary = cloud.poll()
    assert summary.conditions["Unreachable"] == 1
    assert (cloud.job(arn) or {})["lastError"]["code"] == "EndpointConnectionError"
    [event] = cloud.new_events()
    assert event["detail-type"] == UNREACHABLE
    with cloud.counting() as made:
        polls(cloud, 30)
    # Where the next poll begins, around each of the few reads of an unreachable job.
    assert made["UpdateItem"] <= 6
    assert made["TransactWriteItems"] == 0
    assert cloud.new_events() == []


def test_hour_of_failing_reads_continues_in_a_new_environment(cloud: Cloud) -> None:
    """A deployment during the hour does not restart it."""
    arn = cloud.add_job("InProgress")
    cloud.poll()
    cloud.bedrock.faults.fail()
    polls(cloud, 30)
    fresh = cloud.with_rules()
    polls(fresh, 30)
    assert "lastError" not in (cloud.job(arn) or {})
    assert fresh.poll().conditions["Unreachable"] == 1
    assert (cloud.job(arn) or {})["lastError"]["code"] == "InternalServerException"


def test_successful_read_ends_the_hour_of_failing_reads(cloud: Cloud) -> None:
    """Occasional failures of Bedrock make no job unreachable."""
    arn = cloud.add_job("InProgress")
    for _ in range(3):
        fault = cloud.bedrock.faults.fail()
        polls(cloud, 50)
        cloud.bedrock.faults.remove(fault)
        polls(cloud, 1)
        assert "failingSince" not in (cloud.job(arn) or {})
    assert "lastError" not in (cloud.job(arn) or {})
    assert cloud.new_events() == []


def test_refused_hints_make_no_job_unreachable(inbox: Inbox) -> None:
    """Three events within seconds are not three polls."""
    arn = inbox.cloud.track(submit(inbox.cloud, "InProgress"))
    inbox.cloud.poll()
    inbox.cloud.bedrock.faults.deny(job_arn=arn)
    for _ in range(5):
        assert inbox.receives(native(arn)) == []
    job = inbox.cloud.job(arn) or {}
    assert job["lastError"]["code"] == "AccessDeniedException"
    assert "unreachableSince" not in job
    assert inbox.cloud.new_events() == []
    polls(inbox.cloud, 3)
    assert [event["detail-type"] for event in inbox.cloud.new_events()] == [UNREACHABLE]


def test_arn_that_was_never_readable_is_untracked_after_seven_days(inbox: Inbox) -> None:
    """Its item has the reason, and the ARN can be tracked again manually and by command."""
    cloud = inbox.cloud
    unknown = cloud.track(
        "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/doesnotexist"
    )
    known = cloud.add_job("InProgress")
    cloud.poll()
    cloud.bedrock.faults.hide(known)
    polls(cloud, 3)
    cloud.bedrock.clock.advance(7 * DAY - 5 * MINUTE)
    assert cloud.poll().jobs_given_up == 0
    cloud.bedrock.clock.advance(HOUR)
    summary = cloud.poll()
    assert summary.jobs_given_up == 1
    job = cloud.job(unknown) or {}
    assert "tracking" not in job
    assert job["lastError"]["message"].startswith("untracked, because the job could not be read")
    # A job that was read once is never untracked.
    assert (cloud.job(known) or {})["tracking"] == "ACTIVE"

    inbox.receives(command("Track", unknown))
    assert (cloud.job(unknown) or {})["tracking"] == "ACTIVE"
    cloud.bedrock.clock.advance(MINUTE)
    assert cloud.poll().jobs_given_up == 0
    cloud.track(unknown)
    cloud.bedrock.clock.advance(MINUTE)
    assert cloud.poll().jobs_given_up == 0
    assert (cloud.job(unknown) or {})["tracking"] == "ACTIVE"


@dataclass
class Told:
    """A notifier that keeps what it is to send."""

    summaries: list[Sequence[tuple[str, str]]] = field(default_factory=list)

    def publish_never_readable(self, pairs: Sequence[tuple[str, str]]) -> tuple[()]:
        """Take a summary."""
        self.summaries.append(list(pairs))
        return ()


def test_arns_that_were_never_readable_are_notified_in_one_summary(cloud: Cloud) -> None:
    """However many ARNs are tracked, a poll sends one message about them, once."""
    told = Told()
    cloud = replace(
        cloud,
        monitor=replace(cloud.monitor, new_notifier=lambda: told),  # type: ignore[arg-type,return-value]
    )
    prefix = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/none"
    arns = {cloud.track(f"{prefix}{number:08}") for number in range(25)}
    polls(cloud, 6)
    [summary] = told.summaries
    assert {arn for arn, _ in summary} == arns
    assert {code for _, code in summary} == {"ResourceNotFoundException"}


@pytest.mark.parametrize("fault", ["denied", "throttled"])
def test_command_without_a_token_does_not_depend_on_bedrock(inbox: Inbox, fault: str) -> None:
    """The jobs table has it, and the polls do the rest: no command becomes a dead letter."""
    arn = submit(inbox.cloud, "InProgress")
    faults = inbox.cloud.bedrock.faults
    _ = faults.deny() if fault == "denied" else faults.throttle()
    assert inbox.receives(command("Track", arn)) == []
    assert (inbox.cloud.job(arn) or {})["tracking"] == "ACTIVE"
    assert inbox_module.inbox().jobs.find(arn) is not None


def test_new_environment_does_not_end_the_report_of_an_outage(cloud: Cloud) -> None:
    """While every job is unreachable and waits, a cold start gives no new information."""
    cloud.add_job("InProgress")
    cloud.bedrock.faults.deny()
    assert not polls(cloud, 5)[-1].has_answer
    started_again = cloud.with_settings()
    assert not started_again.poll().has_answer

    cloud.bedrock.faults.clear()
    cloud.bedrock.clock.advance(HOUR)
    assert started_again.poll().has_answer


def test_missing_job_is_not_an_outage_in_a_new_environment(cloud: Cloud) -> None:
    """A job that no longer exists proves nothing about the service."""
    cloud.bedrock.faults.hide(cloud.add_job("InProgress"))
    assert polls(cloud, 5)[-1].has_answer
    assert cloud.with_settings().poll().has_answer
