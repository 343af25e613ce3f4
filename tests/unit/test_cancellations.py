"""What the reasons of a cancelled transaction mean: a conflict, or an error to count."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_batch_monitor.adapters.dynamodb.history_table import HistoryTable
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain.jobs import JobObservation, TrackedJob
from bedrock_batch_monitor.domain.transitions import Transition, decide
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW

FAILED, CONFLICT = "ConditionalCheckFailed", "TransactionConflict"


class Cancelling:
    """A client of DynamoDB that cancels every transaction, for these reasons or without any."""

    def __init__(self, reasons: list[str] | None, item: dict[str, Any] | None = None) -> None:
        self.reasons = reasons
        self.item = item

    def transact_write_items(self, **_: Any) -> None:
        """Cancel."""
        answer: dict[str, Any] = {
            "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
            "ResponseMetadata": {"HTTPStatusCode": 400},
        }
        if self.reasons is not None:
            answer["CancellationReasons"] = [{"Code": code} for code in self.reasons]
        if self.item is not None:
            answer["CancellationReasons"][0]["Item"] = self.item
        raise ClientError(answer, "TransactWriteItems")  # type: ignore[arg-type]


def record(reasons: list[str] | None, item: dict[str, Any] | None = None) -> WriteResult:
    """Move a job on, in a transaction that is cancelled for these reasons."""
    client: Any = Cancelling(reasons, item)
    jobs = TransitionWrites(
        client, "jobs", HistoryTable(client, "history", None), OutboxTable(client, "outbox")
    )
    job, observation = TrackedJob(ARN), JobObservation(ARN, "InProgress")
    decision = decide(job, observation, now=NOW, observed_by="poll", rules=RULES)
    assert isinstance(decision, Transition)
    return jobs.record(decision.record, expected=job, pending_events=frozenset())


@pytest.mark.parametrize(
    ("reasons", "outcome"),
    [
        ([FAILED, "None"], WriteOutcome.CONFLICT),
        ([FAILED, FAILED], WriteOutcome.CONFLICT),
        ([CONFLICT, "None"], WriteOutcome.CONFLICT),
        ([CONFLICT, FAILED], WriteOutcome.CONFLICT),
        ([FAILED, CONFLICT], WriteOutcome.CONFLICT),
        ([CONFLICT, CONFLICT], WriteOutcome.CONFLICT),
        # Nobody knows what the other transaction did: the history is not ahead for certain.
        (["None", CONFLICT], WriteOutcome.CONFLICT),
        (["None", FAILED], WriteOutcome.HISTORY_AHEAD),
    ],
    ids=str,
)
def test_transaction_that_met_another_write_is_a_conflict(
    reasons: list[str], outcome: WriteOutcome
) -> None:
    assert record(reasons) == WriteResult(outcome)


@pytest.mark.parametrize(
    ("reasons", "code", "is_retryable"),
    [
        ([FAILED, "ThrottlingError"], "ThrottlingError", True),
        (["ThrottlingError", FAILED], "ThrottlingError", True),
        ([CONFLICT, "ProvisionedThroughputExceeded"], "ProvisionedThroughputExceeded", True),
        (["None", "ThrottlingError"], "ThrottlingError", True),
        ([FAILED, "ValidationError"], "ValidationError", False),
        (["None", "ItemCollectionSizeLimitExceeded"], "ItemCollectionSizeLimitExceeded", False),
        (["None", "None"], "TransactionCanceledException", False),
        ([], "TransactionCanceledException", False),
        (None, "TransactionCanceledException", False),
    ],
    ids=str,
)
def test_transaction_that_failed_for_another_reason_is_an_error(
    reasons: list[str] | None,
    code: str,
    is_retryable: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """A throttled write that passes for a conflict would not be counted as an error."""
    with pytest.raises(ServiceError) as caught:
        record(reasons)
    assert caught.value.code == f"DynamoDB.{code}"
    assert caught.value.is_retryable is is_retryable


def test_conflict_has_the_item_that_dynamodb_returned() -> None:
    """The reason for the job's own update has it; a conflict of two transactions has no item."""
    item = {"jobArn": {"S": ARN}}
    assert record([FAILED, "None"], item) == WriteResult(WriteOutcome.CONFLICT, item)
    assert record([CONFLICT, "None"]) == WriteResult(WriteOutcome.CONFLICT)
