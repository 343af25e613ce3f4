"""The conditional writes of a read, as DynamoDB gets them: what they set, and on what condition."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.dynamodb import write_conditions
from bedrock_batch_monitor.adapters.dynamodb.acks import Acks
from bedrock_batch_monitor.adapters.dynamodb.error_analyses import ErrorAnalyses
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.dynamodb.history_table import HistoryTable
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
from bedrock_batch_monitor.adapters.dynamodb.usage_writes import UsageWrites
from bedrock_batch_monitor.domain.deadlines import SetBy
from bedrock_batch_monitor.domain.error_analysis import ErrorAnalysis
from bedrock_batch_monitor.domain.event_kinds import STALLED
from bedrock_batch_monitor.domain.events import PendingEvent
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    JobRecord,
    TrackedJob,
    Usage,
)
from bedrock_batch_monitor.domain.owners import Owner
from bedrock_batch_monitor.domain.progress import UNKNOWN
from bedrock_batch_monitor.domain.read_failures import Unreadable
from bedrock_batch_monitor.domain.times import CLOCK_TOLERANCE, to_iso
from bedrock_batch_monitor.domain.transitions import Refresh, Transition, decide
from tests.support import full_job
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW

AGO = NOW - timedelta(hours=1)
JOB = TrackedJob(ARN, sequence=2, status="InProgress")
UNMOVED = "sequence = 2 AND status = InProgress"
NO_WAITERS = "attribute_not_exists(taskRevision) AND attribute_not_exists(backfilled)"
PENDING = PendingEvent(STALLED.name, 3, AGO, NOW)
ENDED = frozenset({"Ended#3"})


@dataclass
class Client:
    """DynamoDB: the requests that it got."""

    requests: list[dict[str, Any]] = field(default_factory=list)

    def update_item(self, **request: Any) -> None:
        """One item."""
        self.requests.append(request)

    def transact_write_items(self, *, TransactItems: Any) -> None:  # noqa: N803 - as in the API
        """All or nothing."""
        self.requests += TransactItems


def plain(text: str, names: dict[str, str], values: dict[str, Any]) -> str:
    """An expression with names and values in the place of their placeholders."""

    def shown(found: re.Match[str]) -> str:
        (value,) = values[found[0]].values()
        return str(value)

    text = re.sub(r"#\w+", lambda found: names[found[0]], text)
    return re.sub(r":v\d+", shown, text)


@dataclass(frozen=True)
class Sent:
    """What was sent to the jobs table, and next to it in the same transaction.

    `changed` has the names of the attributes in each clause of the update.
    """

    update: str
    condition: str
    others: tuple[dict[str, Any], ...]
    changed: dict[str, list[str]]

    @property
    def removed(self) -> list[str]:
        """The attributes that the update removes."""
        return self.update.partition(" REMOVE ")[2].partition(" ADD ")[0].split(", ")


def sent(client: Any) -> Sent:
    """The requests of one write."""
    first, *others = client.requests
    request = first.get("Update", first)
    names, values = (
        request["ExpressionAttributeNames"],
        request.get("ExpressionAttributeValues", {}),
    )
    return Sent(
        plain(request["UpdateExpression"], names, values),
        plain(request["ConditionExpression"], names, values),
        tuple(others),
        {
            clause: re.findall(r"(?:^|, )#(\w+)", rest)
            for clause, rest in re.findall(
                r"([A-Z]+) (.+?)(?= [A-Z]+ #|$)", request["UpdateExpression"]
            )
        },
    )


def sent_by(write: Callable[[Any], object]) -> Sent:
    """The requests of a write on a client."""
    client = Client()
    write(client)
    return sent(client)


def writes_on(client: Any) -> TransitionWrites:
    """The writes of a poll."""
    history, outbox = HistoryTable(client, "history", None), OutboxTable(client, "outbox")
    return TransitionWrites(client, "jobs", history, outbox)


def transition(job: TrackedJob, status: str) -> Transition:
    """What an answer with this status means."""
    answer = JobObservation(ARN, status, last_modified_time=NOW)
    decision = decide(job, answer, now=NOW, observed_by="poll", rules=RULES)
    assert isinstance(decision, Transition)
    return decision


def recorded(job: TrackedJob, status: str = "Completed", **arguments: Any) -> Sent:
    """The write of a transition."""
    client = Client()
    options: dict[str, Any] = {"pending_events": ENDED, **arguments}
    writes_on(client).record(transition(job, status).record, expected=job, **options)
    return sent(client)


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({}, f"{UNMOVED} AND {NO_WAITERS}"),
        (
            {"task_revision": 2},
            f"{UNMOVED} AND taskRevision = 2 AND attribute_not_exists(backfilled)",
        ),
        (
            {"backfilled": True},
            f"{UNMOVED} AND attribute_not_exists(taskRevision) AND attribute_exists(backfilled)",
        ),
        ({"status": None}, f"sequence = 2 AND {NO_WAITERS}"),
        (
            {"sequence": 0},
            f"attribute_exists(jobArn) AND attribute_not_exists(sequence) AND {NO_WAITERS}",
        ),
    ],
)
def test_end_is_written_only_over_the_job_that_was_read(
    changes: dict[str, Any], condition: str
) -> None:
    """A task that was registered meanwhile would never be called back."""
    assert recorded(replace(JOB, **changes)).condition == condition


def test_change_that_is_no_end_does_not_depend_on_tasks() -> None:
    """Each registered task would be a conflict."""
    assert recorded(replace(JOB, status="Submitted"), "InProgress").condition == (
        "sequence = 2 AND status = Submitted"
    )


def test_end_stops_polling_and_is_pending() -> None:
    found = recorded(JOB)
    assert "tracking" in found.removed
    assert "eventPending = " in found.update
    assert "ADD pendingEvents ['Ended#3']" in found.update
    assert f"pendingSince = if_not_exists(pendingSince, {to_iso(NOW)})" in found.update
    (history,) = found.others
    assert history["Put"]["TableName"] == "history"
    assert history["Put"]["ConditionExpression"] == "attribute_not_exists(jobArn)"


def test_transition_without_an_event_does_not_enter_the_index() -> None:
    assert "eventPending" not in recorded(JOB, pending_events=frozenset()).update


def test_tasks_of_an_earlier_item_are_counted() -> None:
    """Those that only the outbox has."""
    assert "ADD taskRevision 1" in recorded(replace(JOB, carries_tasks=True)).update
    assert "ADD taskRevision 1" not in recorded(JOB).update


def test_conditions_that_hold_are_written_and_others_removed() -> None:
    """A missed deadline is still shown of a job that has ended."""
    held = recorded(JOB, conditions={STALLED.name: AGO}).update
    assert f"conditions = {{'{STALLED.name}': {{'S': '{to_iso(AGO)}'}}}}" in held
    assert "conditions = " not in recorded(JOB).update
    assert "conditions" in recorded(JOB).removed


EPISODE = f"lastStalled = {{'began': {{'S': '{to_iso(AGO)}'}}, 'ended': {{'S': '{to_iso(NOW)}'}}}}"


def test_condition_that_ends_is_kept_as_the_last_episode() -> None:
    """With a transition, and with newer values of the same status."""
    stalled = replace(JOB, conditions={STALLED.name: AGO})
    assert EPISODE in recorded(stalled).update
    assert "lastStalled" not in recorded(stalled, conditions={STALLED.name: AGO}).update
    client: Any = Client()
    refresh = Refresh(JobObservation(ARN, "InProgress"))
    writes_on(client).refresh(refresh, expected=stalled, now=NOW)
    assert EPISODE in sent(client).update


def test_job_that_was_put_by_hand_has_who_tracked_it_and_when() -> None:
    """Only if the item does not say so."""
    update = recorded(JOB).update
    assert "trackedBy = if_not_exists(trackedBy, user)" in update
    assert f"trackedAt = if_not_exists(trackedAt, {to_iso(NOW)})" in update


def test_job_that_is_tracked_again_is_no_longer_for_the_history_alone() -> None:
    """Its later events are sent."""
    backfilled = replace(JOB, backfilled=True)
    assert "backfilled" in recorded(backfilled).removed
    assert "backfilled" not in recorded(replace(backfilled, sequence=0)).removed
    assert "backfilled" not in recorded(JOB).removed


def test_event_of_a_condition_is_copied_and_begins_once() -> None:
    """Another poll may have recorded the condition, with another event id."""
    found = recorded(JOB, copied=(PENDING,))
    assert found.condition == (f"{UNMOVED} AND {NO_WAITERS} AND attribute_not_exists(conditions)")
    _, copy = found.others
    assert copy["Put"]["TableName"] == "outbox"
    assert copy["Put"]["Item"]["entry"] == {"S": f"event#{PENDING}"}
    known = recorded(replace(JOB, conditions={STALLED.name: AGO}), copied=(PENDING,))
    assert known.condition.endswith(f"conditions = {{'{STALLED.name}': {{'S': '{to_iso(AGO)}'}}}}")


@pytest.mark.parametrize("name", ["record", "restore"])
def test_tags_and_deadline_are_written_unless_somebody_else_has_set_them(name: str) -> None:
    """A deadline that a person sets meanwhile must not be lost."""
    client = Client()
    owner = Owner({"team": "search"}, False, "a moment", SetBy.TAG)  # noqa: FBT003
    write = getattr(writes_on(client), name)
    write(transition(JOB, "Completed").record, expected=JOB, pending_events=ENDED, owner=owner)
    found = sent(client)
    assert "tags = {'team': {'S': 'search'}}" in found.update
    assert "deadline = a moment, deadlineBy = tag" in found.update
    assert found.condition == (
        f"{UNMOVED} AND {NO_WAITERS} AND attribute_not_exists(tagsPending) "
        "AND attribute_not_exists(deadline)"
    )


def test_restored_job_is_written_without_its_history() -> None:
    """The history has the entry."""
    client = Client()
    record = transition(JOB, "Completed").record
    writes_on(client).restore(record, expected=JOB, pending_events=ENDED)
    assert sent(client).others == ()
    assert sent(client).condition == f"{UNMOVED} AND {NO_WAITERS}"


def test_command_is_superseded_by_a_later_one_that_is_not_from_the_future() -> None:
    """Both limits are part of what counts: the same command again, and the clock's tolerance."""
    update = UpdateExpression()
    condition = write_conditions.not_superseded(AGO, NOW, update)
    latest: datetime = NOW + CLOCK_TOLERANCE
    assert plain(condition, update.names, update.values) == (
        f"(attribute_not_exists(commandAt) OR commandAt <= {to_iso(AGO)} "
        f"OR commandAt > {to_iso(latest)})"
    )


def test_time_of_publication_is_in_the_item_of_an_ended_job_alone() -> None:
    """`bbm` shows when the event of the end was sent."""
    for event, published in (("Ended#3", NOW), ("Ended#3", None), ("StatusChanged#2", NOW)):
        client: Any = Client()
        Acks(client, "jobs").ack(ARN, event, published)
        is_set = f"eventPublishedAt = {to_iso(NOW)}" in sent(client).update
        assert is_set is (event == "Ended#3" and published is not None)


def test_time_of_publication_is_in_the_items_of_jobs_that_end_together() -> None:
    client: Any = Client()
    Acks(client, "jobs").ack_batch({ARN: ENDED}, NOW)
    assert f"eventPublishedAt = {to_iso(NOW)}" in sent(client).update


def test_callbacks_are_done_only_if_no_task_was_registered_meanwhile() -> None:
    client: Any = Client()
    Acks(client, "jobs").ack_callbacks(ARN, "Tasks#3", revision=2, refusal="InvalidToken", now=NOW)
    found = sent(client)
    assert found.condition == "pendingEvents = ['Tasks#3'] AND taskRevision = 2"
    assert found.update.startswith(
        f"SET taskTokenError = InvalidToken, taskTokenErrorAt = {to_iso(NOW)} REMOVE"
    )
    without: Any = Client()
    Acks(without, "jobs").ack_callbacks(ARN, "Tasks#3", revision=0, refusal=None, now=NOW)
    assert sent(without).condition.endswith("AND attribute_not_exists(taskRevision)")
    assert "taskTokenError" not in sent(without).update


# What each write sets and removes

OBSERVED = (
    *("status", "modelId", "jobName", "message", "endTime", "timeoutDurationInHours", "roleArn"),
    *("clientRequestToken", "modelInvocationType", "inputDataConfig", "outputDataConfig"),
    *("vpcConfig", "totalRecordCount", "processedRecordCount"),
    *("successRecordCount", "errorRecordCount"),
)
KEPT = ("submitTime", "lastModifiedTime", "jobExpirationTime")
ERRORS = ("lastError", "lastErrorAt", "unreadablePolls", "unreachableSince", "failingSince")
LAST_TRANSITION = (
    *("sequence", "previousStatus", "changedAt", "observedAt", "observedBy"),
    *("secondsInPreviousStatus", "eventId", "outcome", "errorShare"),
    *("firstInProgressAt", "progressAt"),
)
ESTIMATE = ("recordsPerMinute", "estimatedEndTime")
USAGE = ("tokens", "estimatedCostUsd", "usageReadAt", *full_job.OF_FOLLOW_UP)
TRACKED = ("trackedBy", "trackedAt")
BARE = JobObservation(ARN, "Validating")
FIRST = JobRecord(BARE, HistoryEntry(ARN, 1, "Validating", NOW, "poll"))
ALL_SET: dict[str, tuple[Callable[[Any], object], tuple[str, ...], tuple[str, ...]]] = {
    "a transition": (
        lambda client: writes_on(client).record(
            full_job.RECORD,
            expected=replace(JOB, backfilled=True),
            pending_events=frozenset(),
            follow_up=full_job.FOLLOW_UP,
        ),
        # Tags are written on their own.
        (*OBSERVED, *KEPT, *LAST_TRANSITION, "backfilled", *set(USAGE) - {"usageReadAt"}, *TRACKED),
        (*ERRORS, *ESTIMATE, "usageReadAt", "conditions", "tracking"),
    ),
    "a transition of which little is known": (
        lambda client: writes_on(client).record(
            FIRST, expected=TrackedJob(ARN), pending_events=frozenset()
        ),
        ("status", "sequence", "observedAt", "observedBy", "progressAt", *TRACKED),
        (
            *set(OBSERVED) - {"status"},
            *set(LAST_TRANSITION) - {"sequence", "observedAt", "observedBy", "progressAt"},
            *(*ERRORS, *ESTIMATE, *USAGE, "conditions"),
        ),
    ),
    "newer values": (
        lambda client: writes_on(client).refresh(
            Refresh(full_job.OBSERVATION, counts_moved=True, estimate=full_job.ESTIMATE),
            expected=JOB,
            now=NOW,
        ),
        (*OBSERVED, *KEPT, "progressAt", *ESTIMATE),
        ERRORS,
    ),
    "newer values of which little is known": (
        lambda client: writes_on(client).refresh(
            Refresh(BARE, estimate=UNKNOWN), expected=JOB, now=NOW
        ),
        ("status",),
        (*set(OBSERVED) - {"status"}, *ERRORS, *ESTIMATE),
    ),
    "newer values with the known estimate": (
        lambda client: writes_on(client).refresh(Refresh(BARE), expected=JOB, now=NOW),
        ("status",),
        (*set(OBSERVED) - {"status"}, *ERRORS),
    ),
    "an error of a read": (
        lambda client: writes_on(client).record_unreadable(
            Unreadable(full_job.ERROR, 3, AGO), expected=JOB, now=NOW
        ),
        ("lastError", "lastErrorAt", "unreadablePolls", "unreachableSince"),
        (),
    ),
    "an error before the first read": (
        lambda client: writes_on(client).record_error(ARN, full_job.ERROR, NOW),
        ("lastError", "lastErrorAt", "failingSince"),
        (),
    ),
    "a job that is given up": (
        lambda client: writes_on(client).give_up(JOB, full_job.ERROR, NOW),
        ("lastError", "lastErrorAt"),
        ("tracking",),
    ),
    "a job that is polled again": (
        lambda client: JobsTable(client, "jobs").resume_tracking(ARN, at=AGO, now=NOW),
        ("tracking", "commandAt"),
        ERRORS,
    ),
    "token counts": (
        lambda client: UsageWrites(client, "jobs").add_usage(
            ARN, full_job.USAGE, due_at=AGO, now=NOW
        ),
        ("tokens", "estimatedCostUsd", "usageReadAt"),
        tuple(full_job.OF_FOLLOW_UP),
    ),
    "token counts that are not known": (
        lambda client: UsageWrites(client, "jobs").add_usage(ARN, Usage(), due_at=AGO, now=NOW),
        ("usageReadAt",),
        (*set(USAGE) - {"usageReadAt"},),
    ),
    "the next attempt to read token counts": (
        lambda client: UsageWrites(client, "jobs").postpone_usage(
            ARN, full_job.FOLLOW_UP, due_at=AGO
        ),
        tuple(full_job.OF_FOLLOW_UP),
        (),
    ),
    "no further attempt to read token counts": (
        lambda client: UsageWrites(client, "jobs").postpone_usage(
            ARN, replace(full_job.FOLLOW_UP, due_at=None), due_at=AGO
        ),
        ("usageError",),
        ("usagePending", "usageDueAt"),
    ),
}


@pytest.mark.parametrize("name", ALL_SET)
def test_write_sets_what_it_knows_and_removes_what_it_replaces(name: str) -> None:
    """Each attribute once: DynamoDB refuses an update with two clauses for the same one."""
    write, is_set, is_removed = ALL_SET[name]
    changed = sent_by(write).changed
    assert sorted(changed.get("SET", ())) == sorted(is_set)
    assert sorted(changed.get("REMOVE", ())) == sorted(is_removed)
    assert changed.keys() <= {"SET", "REMOVE"}


def test_analysis_of_errors_is_read_as_it_was_written() -> None:
    """Once for each end."""
    analysis = ErrorAnalysis(
        ({"errorCode": 400, "count": 1},),
        {
            "analyzedAt": "2026-11-24T20:15:16.123Z",
            "complete": True,
            "records": {"success": 8, "error": 1},
        },
    )
    client: Any = Client()
    assert ErrorAnalyses(client, "jobs").add(ARN, analysis).is_done
    (request,) = client.requests
    assert [*request["ExpressionAttributeValues"].values()] == [*full_job.OF_ANALYSIS.values()]
    assert sent(client).changed == {"SET": ["errorGroups", "errorAnalysis"]}
    assert sent(client).condition == (
        "attribute_exists(eventId) AND attribute_not_exists(errorAnalysis)"
    )
    client.get_item = lambda **_: {"Item": full_job.ITEM}
    found = ErrorAnalyses(client, "jobs").job(ARN)
    assert found is not None
    assert found[1] == analysis
