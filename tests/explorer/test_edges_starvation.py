"""Nothing that is refused delays other work: entries, poison messages, tokens, the bus, reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.requests import Hint, Track
from bedrock_batch_monitor.domain.tasks import WaitingTask
from tests.explorer.dynamodb import refusal
from tests.explorer.edges import HOUR, MINUTE, Story, Watched
from tests.explorer.simulation import World, job_arn
from tests.support.monitor import SETTINGS


def backlog(story: Story, count: int) -> None:
    """So many jobs with the end of another job in their items, and its event pending."""
    arn = story.job(statuses.IN_PROGRESS, statuses.FAILED)
    story.poll()
    story.end(arn)
    story.world.refuses = True
    story.poll()
    template = story.item(arn)
    for number in range(1000, 1000 + count):
        since = {"S": f"2026-11-24T20:{number // 60 % 60:02}:{number % 60:02}.000Z"}
        story.write(job_arn(number), **{**template, "jobArn": {"S": job_arn(number)}})
        story.write(job_arn(number), pendingSince=since)


def test_bus_that_refuses_every_entry_delays_no_read() -> None:
    """A backlog of 3,000 events; each call of DynamoDB takes 8 ms, and polls have 55 s."""
    story = Story()
    backlog(story, 3000)
    running = story.job()
    story.end(running)
    calls = {"GetItem": 0.008, "BatchGetItem": 0.008, "Query": 0.008, "PutEvents": 0.05}
    summary = story.poll(watched=Watched(story.world, seconds=calls), within=55)
    assert summary.complete
    assert story.history(running) == [(1, statuses.COMPLETED)]
    # It stops after a call in which nothing was accepted.
    watched = Watched(story.world, seconds=calls)
    story.poll(watched=watched, within=55)
    assert watched.made["PutEvents"] <= 2


def test_refused_entry_at_the_front_of_the_backlog_delays_no_other() -> None:
    """EventBridge refuses ten entries permanently; the next flush begins after them."""
    story = Story()
    arns = story.jobs(30)
    story.poll()
    story.end(*arns[:10])
    story.world.refuses = True
    story.poll()
    story.end(*arns[10:])
    story.poll()
    story.world.refuses = False
    poison = set(arns[:10])
    take = story.world.take_events

    def take_others(entries: list[dict[str, Any]], refused: frozenset[int]) -> dict[str, Any]:
        places = {n for n, entry in enumerate(entries) if entry["Resources"][0] in poison}
        return take(entries, refused | places)

    story.world.take_events = take_others  # type: ignore[method-assign]
    story.poll(6)
    assert all(story.has_ended(arn) for arn in arns[10:])
    assert all(story.pending(arn) for arn in poison)
    poison.clear()
    story.poll(6)
    assert all(story.has_ended(arn) for arn in arns)


def test_malformed_pending_event_delays_no_other() -> None:
    """A hundred items with such an event have been pending for longest."""
    story = Story()
    arns = story.jobs(5)
    story.poll()
    story.world.refuses = True
    story.end(*arns)
    story.poll()
    for number in range(1000, 1120):
        story.write(
            job_arn(number),
            eventPending={"S": contract.EVENT_PENDING_VALUE},
            pendingSince={"S": "2026-11-24T00:00:00.000Z"},
            sequence={"S": "one"} if number % 2 else {"N": "1"},
            pendingEvents={"SS": ["Ended#x"]},
        )
    story.world.refuses = False
    story.poll(3)
    assert all(story.has_ended(arn) for arn in arns)


def waited_for(story: Story, tokens: Mapping[str, str]) -> list[str]:
    """Jobs for which tasks wait, by the names of their tokens; they end in this order."""
    arns = []
    for token in tokens:
        arn = story.job()
        story.poll()
        story.world.waiting[token] = arn
        assert story.process(Track(arn, story.world.now, WaitingTask(token))) == []
        arns.append(arn)
    return arns


@pytest.mark.parametrize(
    "code", ["ValidationException", "KmsAccessDeniedException", "InvalidToken", "SomethingNew"]
)
def test_refused_token_delays_no_other_task(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its job ended first, so it is first in every poll."""
    story = Story()
    arns = waited_for(story, dict.fromkeys(["bad", "good-1", "good-2"], ""))
    answer = World._answer

    def refusing(self: World, token: str, status: str) -> dict[str, Any]:
        if token == "bad":  # noqa: S105 - no real one
            operation = "SendTaskSuccess"
            raise refusal(operation, code, "not this one")
        return answer(self, token, status)

    monkeypatch.setattr(World, "_answer", refusing)
    for arn in arns:
        story.end(arn)
        story.poll()
    assert story.world.answered.keys() == {"good-1", "good-2"}


def test_access_denied_by_step_functions_loses_no_callback() -> None:
    """The error affects every token: all callbacks stay pending, and events are sent."""
    story = Story()
    arns = waited_for(story, dict.fromkeys(["one", "two"], ""))
    story.end(*arns)
    denied = Watched(story.world, dict.fromkeys(("SendTaskSuccess",), "denied"))
    story.poll(60, watched=denied)
    assert story.world.answered == {}
    assert all(story.ids(arn) for arn in arns)
    story.poll(2)
    assert story.world.answered.keys() == {"one", "two"}


@pytest.mark.parametrize("is_missing", [False, True], ids=["refusing bus", "missing bus"])
def test_task_behind_many_pending_events_is_called_back_without_a_bus(*, is_missing: bool) -> None:
    """Its first callback failed; 150 jobs have been pending for longer."""
    story = Story()
    arns = story.jobs(150)
    story.poll()
    story.end(*arns)
    story.world.refuses = True
    if is_missing:
        story.world.delete_bus()
    story.poll()
    [last] = waited_for(story, {"token": ""})
    story.end(last)
    story.poll(watched=Watched(story.world, {"SendTaskSuccess": "throttled"}, first=1))
    story.poll(3)
    assert story.world.answered.keys() == {"token"}


def test_failed_write_does_not_consume_a_resync_slot() -> None:
    """Lists are stale; the read in the job's slot has a conflict and is repeated."""
    rules = replace(SETTINGS.rules, full_read=SETTINGS.rules.poll_interval * 60)
    story = Story(replace(SETTINGS, rules=rules), sweeps=True)
    story.world.list_page_size = 1000
    arns = story.jobs(8)
    story.world.tick(MINUTE)
    story.poll(3)
    story.world.lists_end = story.world.now
    story.end(*arns)
    watched = Watched(story.world, {"TransactWriteItems": "conflict"}, first=8)
    ended = story.world.now
    while not all(story.has_ended(arn) for arn in arns):
        story.poll(watched=watched)
        assert (story.world.now - ended).total_seconds() < HOUR + 5 * MINUTE


def test_denied_jobs_do_not_delay_reads_of_others() -> None:
    """Forty denied jobs and one that can be read, whose ARN is the last."""
    story = Story()
    arns = story.jobs(41)
    denied = {arn: story.world.jobs.pop(arn) for arn in arns[:-1]}
    story.end(arns[-1])
    story.poll()
    assert story.has_ended(arns[-1])
    assert len(denied) == 40


def test_hints_alone_never_make_a_job_unreachable() -> None:
    """Three events within seconds, right after the job was created."""
    story = Story(replace(SETTINGS, discovery_prefix=""))
    story.poll()
    arn = story.job(tracked=False)
    job = story.world.jobs.pop(arn)
    for _ in range(5):
        story.process(Hint(arn))
    assert story.events(arn, event_kinds.UNREACHABLE.detail_type) == []
    assert "unreachableSince" not in story.item(arn)
    story.poll(2)
    assert story.events(arn, event_kinds.UNREACHABLE.detail_type) == []
    story.poll()
    assert len(story.events(arn, event_kinds.UNREACHABLE.detail_type)) == 1
    story.world.jobs[arn] = job


@pytest.mark.parametrize("kind", ["denied", "throttled"])
def test_job_that_cannot_be_read_for_a_day_has_an_error(kind: str) -> None:
    """A refusal is recorded at once; throttling after an hour, with no write per poll before."""
    story = Story()
    arn = story.job()
    story.poll()
    watched = Watched(story.world, {"GetModelInvocationJob": kind})
    story.poll(watched=watched)
    assert ("lastError" in story.item(arn)) is (kind == "denied")
    story.poll(70, watched=watched)
    assert story.item(arn)["lastError"]["M"]["code"]["S"].startswith(
        "AccessDenied" if kind == "denied" else "Throttling"
    )
    assert len(story.events(arn, event_kinds.UNREACHABLE.detail_type)) == 1
    writes = [request for operation, request in watched.asked if operation == "UpdateItem"]
    assert len([each for each in writes if each["TableName"] == "jobs"]) <= 6
    story.end(arn)
    story.poll(2, after=20 * MINUTE)
    assert story.has_ended(arn)
