"""The requests of the tables: reads that must be consistent, and what an answer means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from bedrock_batch_monitor.adapters.dynamodb import items
from bedrock_batch_monitor.adapters.dynamodb.acks import Acks
from bedrock_batch_monitor.adapters.dynamodb.history_table import HistoryTable
from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.dynamodb.job_items import read_batch
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import (
    KEPT_FOR,
    OutboxEntries,
    OutboxTable,
)
from bedrock_batch_monitor.adapters.dynamodb.state_table import StateTable
from bedrock_batch_monitor.adapters.dynamodb.writes import (
    DONE,
    WriteOutcome,
    WriteResult,
    transact,
    write,
)
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.models import Models
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.discovery import Bookmark
from bedrock_batch_monitor.domain.state import ListPosition, State
from bedrock_batch_monitor.domain.tasks import WaitingTask
from tests.support import full_job
from tests.support.full_job import at
from tests.support.strategies import ARN, NOW

KEY = {"jobArn": {"S": ARN}}
ITEM = {**KEY, "taskRevision": {"N": "1"}}


@dataclass
class Client:
    """DynamoDB: its answer, and the requests that it got."""

    answer: Any = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def __getattr__(self, _operation: str) -> Callable[..., Any]:
        """Any operation."""
        return self._call

    def get_paginator(self, _operation: str) -> Client:
        """The only page is the answer."""
        return self

    def paginate(self, **request: Any) -> list[Any]:
        """All pages."""
        return [self._call(**request)]

    def _call(self, **request: Any) -> Any:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def answering(answer: Any) -> Any:
    """A client with this answer."""
    return Client(answer)


# Reads


def test_job_is_read_consistently() -> None:
    """A write that is decided from an older item would be a conflict, or a command lost."""
    client = answering({"Item": ITEM})
    assert JobsTable(client, "jobs").item(ARN) == ITEM
    assert client.requests == [{"TableName": "jobs", "Key": KEY, "ConsistentRead": True}]
    assert JobsTable(answering({}), "jobs").item(ARN) is None


def test_history_is_read_consistently() -> None:
    """An older one would have a restored job continue from an earlier transition."""
    client = answering({"Items": []})
    assert HistoryTable(client, "history", None).records(ARN) == ()
    assert client.requests[0]["ConsistentRead"] is True
    client = answering({})
    assert HistoryTable(client, "history", None).get(ARN, 2) is None
    assert client.requests == [
        {
            "TableName": "history",
            "Key": {**KEY, "sequence": {"N": "2"}},
            "ConsistentRead": True,
        }
    ]


def test_pending_events_are_read_consistently() -> None:
    """An event that was acknowledged before would be sent twice."""
    client = answering({"Responses": {}})
    assert Acks(client, "jobs").stored([ARN]).found == {}
    assert client.requests == [{"RequestItems": {"jobs": {"Keys": [KEY], "ConsistentRead": True}}}]


def test_items_that_cannot_be_read_do_not_hide_the_others() -> None:
    """They are counted: an event in them waits for somebody to correct the item."""
    left = ARN.replace("abcdef", "fedcba")
    wrong = {"jobArn": {"S": ARN + "0"}, "taskRevision": {"S": "one"}}
    answer = {
        "Responses": {"jobs": [ITEM, {**wrong, "sequence": {"S": "x"}, "status": {"N": "1"}}]},
        "UnprocessedKeys": {"jobs": {"Keys": [{"jobArn": {"S": left}}]}},
    }
    found = Acks(answering(answer), "jobs").stored([ARN, ARN + "0", left])
    assert set(found.found) == {ARN}
    assert found.unreadable == {ARN + "0"}
    assert found.unprocessed == {left}


def test_models_of_jobs_are_read_consistently() -> None:
    client = answering({"Responses": {"jobs": [{**KEY, "modelId": {"S": "model"}}]}})
    assert JobsTable(client, "jobs").model_ids([ARN]) == {ARN: "model"}
    (request,) = client.requests
    assert request["RequestItems"]["jobs"]["ConsistentRead"] is True


def test_models_of_many_jobs_are_read_with_100_keys_for_each_call() -> None:
    """A BatchGetItem has no more."""
    client = answering({"Responses": {}})
    models = Models(JobsTable(client, "jobs"))
    assert models.read([f"{ARN}{number}" for number in range(201)], lambda: True)
    assert [len(request["RequestItems"]["jobs"]["Keys"]) for request in client.requests] == [
        *(100, 100, 1)
    ]


# The outbox


def entry(name: str, **attributes: Any) -> dict[str, Any]:
    """An entry of the outbox."""
    return {**KEY, "entry": {"S": name}, **attributes}


def test_outbox_is_read_consistently_with_its_events_and_tasks() -> None:
    """What it has would be lost with the item that was put again."""
    client = answering({"Items": [entry("event#Stalled#1"), entry("task#abc")]})
    found = OutboxTable(client, "outbox").entries(ARN)
    assert found == OutboxEntries(frozenset({"Stalled#1"}), has_tasks=True)
    assert client.requests == [
        {
            "TableName": "outbox",
            "KeyConditionExpression": "jobArn = :jobArn",
            "ExpressionAttributeValues": {":jobArn": {"S": ARN}},
            "ConsistentRead": True,
            "Limit": 100,
        }
    ]


def test_outbox_without_entries_has_neither_events_nor_tasks() -> None:
    assert OutboxTable(answering({"Items": []}), "outbox").entries(ARN) == OutboxEntries()


@pytest.mark.parametrize(("count", "has_tasks"), [(0, False), (99, False), (100, True)])
def test_full_page_of_events_may_hide_a_task(count: int, *, has_tasks: bool) -> None:
    entries = [entry(f"event#Stalled#{number}") for number in range(count)]
    found = OutboxTable(answering({"Items": entries}), "outbox").entries(ARN)
    assert (len(found.events), found.has_tasks) == (count, has_tasks)


def test_tasks_are_read_with_what_counts_as_success() -> None:
    """Older entries have no flags, and a foreign one no token."""
    client = answering(
        {
            "Items": [
                entry("task#a", token={"S": "a"}),
                entry(
                    "task#b",
                    token={"S": "b"},
                    partiallyCompletedIsSuccess={"BOOL": True},
                    completedWithErrorsIsSuccess={"BOOL": False},
                ),
                entry("task#c"),
                entry("task#d", token={"N": "1"}),
            ]
        }
    )
    assert OutboxTable(client, "outbox").tasks(ARN) == (
        WaitingTask("a", partially_completed_is_success=False),
        WaitingTask(
            "b", partially_completed_is_success=True, completed_with_errors_is_success=False
        ),
    )
    (request,) = client.requests
    assert request["KeyConditionExpression"] == "jobArn = :jobArn AND begins_with(entry, :prefix)"
    assert request["ExpressionAttributeValues"][":prefix"] == {"S": "task#"}


def test_task_is_stored_for_as_long_as_an_execution_can_run() -> None:
    client = answering({})
    task = WaitingTask("token", partially_completed_is_success=True)
    outbox = OutboxTable(client, "outbox")
    outbox.put_task(ARN, task, NOW)
    # 2027-11-25T20:30:16Z, which is 366 days later.
    expires_at = {"N": "1827174616"}
    assert client.requests.pop() == {
        "TableName": "outbox",
        "Item": {
            **entry(f"task#{task.id}"),
            "token": {"S": "token"},
            "partiallyCompletedIsSuccess": {"BOOL": True},
            "completedWithErrorsIsSuccess": {"BOOL": True},
            "expiresAt": expires_at,
        },
    }
    assert outbox.event_put(ARN, "Stalled#1", NOW) == {
        "TableName": "outbox",
        "Item": {**entry("event#Stalled#1"), "expiresAt": expires_at},
    }
    assert timedelta(days=365) <= KEPT_FOR


def test_entry_that_is_done_is_deleted() -> None:
    client = answering({})
    outbox, task = OutboxTable(client, "outbox"), WaitingTask("token")
    outbox.delete_task(ARN, task)
    outbox.delete_event(ARN, "Stalled#1")
    assert [request["Key"] for request in client.requests] == [
        entry(f"task#{task.id}"),
        entry("event#Stalled#1"),
    ]


# The bookmarks

SCOPE = Scope("123456789012", "eu-west-1")
BOOKMARK = Bookmark(at(1), at(2), at(3), at(4), at(5), "a-table-id")
POSITION = ListPosition(at(6), "a-token")
OF_BOOKMARK: full_job.Item = {
    "discoveryBeganAt": {"S": "2026-11-24T20:01:16.123Z"},
    "discoveredUntil": {"S": "2026-11-24T20:02:16.123Z"},
    "fullListAt": {"S": "2026-11-24T20:03:16.123Z"},
    "discoveryOffSince": {"S": "2026-11-24T20:04:16.123Z"},
    "discoveryOnAgainAt": {"S": "2026-11-24T20:05:16.123Z"},
    "jobsTableId": {"S": "a-table-id"},
}
OF_POSITION: full_job.Item = {
    "listedFrom": {"S": "2026-11-24T20:06:16.123Z"},
    "listToken": {"S": "a-token"},
}
OF_POLLS: full_job.Item = {
    "startAt": {"S": ARN},
    "pendingFrom": {"S": "2026-11-24T20:07:16.123Z"},
    "resyncedUntil": {"S": "2026-11-24T20:08:16.123Z"},
    "backfilledSince": {"S": "2026-11-24T20:09:16.123Z"},
}
STATE = OF_BOOKMARK | OF_POSITION | OF_POLLS


def test_bookmarks_of_a_scope_are_read_as_they_were_written() -> None:
    found = StateTable(answering({"Item": STATE}), "state").load(SCOPE)
    assert found == State(True, ARN, at(7), BOOKMARK, at(8), at(9), POSITION)  # noqa: FBT003
    assert StateTable(answering({}), "state").load(SCOPE) == State(exists=False)


@pytest.mark.parametrize(
    ("write", "is_set", "is_removed"),
    [
        (
            lambda table: table.set_discovery(SCOPE, BOOKMARK, POSITION),
            OF_BOOKMARK | OF_POSITION,
            set(),
        ),
        (lambda table: table.set_discovery(SCOPE, BOOKMARK, None), OF_BOOKMARK, {*OF_POSITION}),
        (
            lambda table: table.set_discovery(SCOPE, Bookmark(at(1), at(2)), None),
            {name: OF_BOOKMARK[name] for name in ("discoveryBeganAt", "discoveredUntil")},
            {"fullListAt", "discoveryOffSince", "discoveryOnAgainAt", "jobsTableId", *OF_POSITION},
        ),
        (
            lambda table: table.set_discovery_off(SCOPE, at(4)),
            {"discoveryOffSince": OF_BOOKMARK["discoveryOffSince"]},
            {"discoveryOnAgainAt"},
        ),
        (lambda table: table.set_start_at(SCOPE, None), {}, {"startAt"}),
        (lambda table: table.set_pending_from(SCOPE, None), {}, {"pendingFrom"}),
    ],
)
def test_bookmarks_are_written_or_removed_if_they_are_not_known(
    write: Callable[[StateTable], None], is_set: full_job.Item, is_removed: set[str]
) -> None:
    client = answering({})
    write(StateTable(client, "state"))
    (request,) = client.requests
    assert request["Key"] == {"scope": {"S": "123456789012/eu-west-1"}}
    sets, _, removes = f" {request['UpdateExpression']}".partition(" REMOVE ")
    values = request.get("ExpressionAttributeValues", {})
    assert {name: values[value] for name, value in re.findall(r"#(\w+) = (:\w+)", sets)} == is_set
    assert {*re.findall(r"#(\w+)", removes)} == is_removed


@pytest.mark.parametrize("name", STATE)
def test_bookmark_of_another_type_is_refused(name: str) -> None:
    """A poll then lists all jobs that may run."""
    wrong = {"N": "1"} if name in {"startAt", "jobsTableId", "listToken"} else {"S": "soon"}
    with pytest.raises(InvalidItemError, match=f"^attribute {name} is "):
        StateTable(answering({"Item": STATE | {name: wrong}}), "state").load(SCOPE)


# New items


def test_new_item_says_all_that_is_known_of_the_job() -> None:
    client = answering({})
    jobs = JobsTable(client, "jobs")
    common = {**KEY, "trackedBy": {"S": "event"}, "trackedAt": items.time(NOW)}
    assert jobs.start_tracking(ARN, tracked_by="event", now=NOW).is_done
    assert client.requests[-1] == {
        "TableName": "jobs",
        "Item": {**common, "tracking": {"S": "ACTIVE"}},
        "ConditionExpression": "attribute_not_exists(jobArn)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    jobs.start_tracking(
        ARN, tracked_by="event", now=NOW, backfilled=True, has_task=True, command_at=NOW
    )
    assert client.requests[-1]["Item"] == {
        **common,
        "tracking": {"S": "ACTIVE"},
        "backfilled": {"BOOL": True},
        "taskRevision": {"N": "1"},
        "commandAt": items.time(NOW),
    }
    jobs.put_untracked(ARN, tracked_by="event", at=NOW)
    assert client.requests[-1]["Item"] == {**common, "commandAt": items.time(NOW)}


# Outcomes


def refusal(code: str, **answer: Any) -> ClientError:
    """An error response of DynamoDB."""
    response: Any = {
        "Error": {"Code": code, "Message": "text"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
        **answer,
    }
    return ClientError(response, "Operation")


def cancelled(*reasons: dict[str, Any]) -> ClientError:
    """A cancelled transaction."""
    return refusal("TransactionCanceledException", CancellationReasons=list(reasons))


FAILED = {"Code": "ConditionalCheckFailed", "Item": ITEM}
BUSY = {"Code": "TransactionConflict"}
FINE = {"Code": "None"}
SLOW = {"Code": "ThrottlingError"}


def test_write_whose_condition_fails_returns_the_item() -> None:
    """The caller decides with it, without another read."""
    client = answering(refusal("ConditionalCheckFailedException", Item=ITEM))
    assert write(client.put_item) == WriteResult(WriteOutcome.CONFLICT, ITEM)
    assert write(answering({}).put_item) == DONE


def test_write_that_fails_otherwise_is_no_conflict() -> None:
    """It is reported, and not left to the next poll in silence."""
    with pytest.raises(ServiceError, match="text") as caught:
        write(answering(refusal("ThrottlingException")).put_item)
    assert caught.value.code == "DynamoDB.ThrottlingException"


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ((FAILED, FINE), WriteResult(WriteOutcome.CONFLICT, ITEM)),
        ((BUSY, FINE), WriteResult(WriteOutcome.CONFLICT)),
        ((FINE, BUSY), WriteResult(WriteOutcome.CONFLICT)),
        ((FINE, FAILED), WriteResult(WriteOutcome.HISTORY_AHEAD)),
        ((FINE, BUSY, FAILED), WriteResult(WriteOutcome.HISTORY_AHEAD)),
        ((FAILED, FAILED), WriteResult(WriteOutcome.CONFLICT, ITEM)),
        ((BUSY, FAILED), WriteResult(WriteOutcome.CONFLICT)),
    ],
)
def test_cancelled_transaction_says_what_moved_on(
    reasons: tuple[dict[str, Any], ...], expected: WriteResult
) -> None:
    """The job's item comes first; a history that is ahead is restored from."""
    assert transact(answering(cancelled(*reasons)), []) == expected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (cancelled(FAILED, SLOW), "ThrottlingError"),
        (cancelled(SLOW, FAILED), "ThrottlingError"),
        (cancelled(FINE, FINE), "TransactionCanceledException"),
        (cancelled(), "TransactionCanceledException"),
        (cancelled({}), "TransactionCanceledException"),
        (refusal("TransactionCanceledException"), "TransactionCanceledException"),
        (refusal("ThrottlingException"), "ThrottlingException"),
        (refusal("ThrottlingException", CancellationReasons=[FAILED]), "ThrottlingException"),
    ],
)
def test_transaction_that_fails_for_another_reason_is_no_conflict(
    error: ClientError, code: str
) -> None:
    """Throttling passes, and the write is repeated; a conflict would be counted as one."""
    with pytest.raises(ServiceError) as caught:
        transact(answering(error), [])
    assert caught.value.code == f"DynamoDB.{code}"


def test_transaction_that_is_written_is_done() -> None:
    client = answering({})
    assert transact(client, []) == DONE
    assert client.requests == [{"TransactItems": []}]


def test_batch_with_keys_that_were_not_processed_is_an_error() -> None:
    """Jobs that are missing from the answer would pass for jobs that nobody tracks."""
    client: Any = Mock()
    item = {"jobArn": items.text(ARN)}
    client.batch_get_item.return_value = {"Responses": {"jobs": [item]}, "UnprocessedKeys": {}}
    assert read_batch(client, "jobs", [ARN]) == [item]
    client.batch_get_item.return_value["UnprocessedKeys"] = {"jobs": {"Keys": [item]}}
    with pytest.raises(ServiceError, match="UnprocessedKeys"):
        read_batch(client, "jobs", [ARN])
