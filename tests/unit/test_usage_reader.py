"""When the manifest of a job is read, and what an attempt without figures leaves to later polls."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import pytest

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.dynamodb.writes import DONE, WriteOutcome, WriteResult
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.usage import Reading, UsageReader, UsageResult, UsageRetries
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    JobRecord,
    RecordCounts,
    StoredJob,
    Usage,
)
from bedrock_batch_monitor.domain.token_usage import OutputBucket, TokenPrice, UsageRules
from tests.support.strategies import ARN

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CONFIG = {"s3OutputDataConfig": {"s3Uri": "s3://results/out/"}}
OBSERVATION = JobObservation(ARN, "Completed", output_data_config=CONFIG)
END = HistoryEntry(ARN, 3, "Completed", NOW, "poll", counts=RecordCounts(9, 9, 9, 0))
# Nothing was processed, so nothing is charged.
IDLE = replace(END, status="Failed", counts=RecordCounts(9, 0, 0, 0))
MANIFEST = json.dumps({"inputTokenCount": 7, "outputTokenCount": 8}).encode()
NO_ANSWER = ServiceError("S3", "ReadTimeoutError", "m")
NO_KEY = ServiceError("S3", "NoSuchKey", "m", status=404)


class Case:
    """A reader whose storage returns these answers, with a clock to set."""

    def __init__(self, *answers: bytes | ServiceError) -> None:
        self.now = NOW
        self.answers = list(answers)
        self.reads = 0
        manifests: Any = self
        rules = UsageRules((OutputBucket("results"),))
        self.reader = UsageReader(manifests, rules, lambda: self.now)

    def read(self, _: object) -> bytes:
        """The next answer."""
        self.reads += 1
        answer = self.answers.pop(0)
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    def at_end(self, entry: HistoryEntry = END, **changes: Any) -> Reading:
        """The attempt at the end of a job."""
        return self.reader.at_end(replace(OBSERVATION, **changes), entry)

    def code(self, entry: HistoryEntry = END, **changes: Any) -> str | None:
        """Why the figures are not known."""
        follow_up = self.at_end(entry, **changes).follow_up
        return None if follow_up is None else follow_up.problem.code


def test_manifest_has_the_figures_of_a_job() -> None:
    """They are read before the end is recorded."""
    assert Case(MANIFEST).at_end() == Reading(Usage(7, 8))


def test_job_that_is_not_charged_has_no_figures() -> None:
    """Neither now nor later."""
    case = Case()
    assert case.at_end(IDLE) == Reading()
    assert case.reader.follow_up(IDLE) is None
    assert case.reader.follow_up(replace(IDLE, usage=Usage(7, 8))) is None
    assert case.reads == 0


def test_end_with_figures_needs_no_other_attempt() -> None:
    """An end without them is due at once."""
    case = Case()
    assert case.reader.follow_up(replace(END, usage=Usage(7, 8))) is None
    due = case.reader.follow_up(END)
    assert due is not None
    assert (due.problem.code, due.due_at) == ("NotReadYet", NOW)
    assert case.reader.defer_usage().at_end(OBSERVATION, END) == Reading(follow_up=due)
    assert case.reads == 0


def test_storage_that_does_not_answer_is_left_alone_for_a_minute() -> None:
    """So that no end waits for it; a refusal keeps nobody else from an answer."""
    case = Case(NO_ANSWER, MANIFEST)
    assert case.code() == "ReadTimeoutError"
    case.now += 60 * SECOND - SECOND
    assert (case.code(), case.reads) == ("NotReadYet", 1)
    case.now += SECOND
    assert (case.code(), case.reads) == (None, 2)

    refused = Case(NO_KEY, MANIFEST)
    assert [refused.code(), refused.code()] == ["NoSuchKey", None]


@pytest.mark.parametrize(
    ("status", "hours", "code", "is_due"),
    [
        ("Completed", 23, "NoSuchKey", True),
        ("Completed", 24, "NoSuchKey", False),
        ("Failed", 23, "NoSuchKey", True),
        ("Failed", 24, "NoManifest", False),
    ],
)
def test_missing_manifest_is_given_up_after_a_day(
    status: str,
    hours: float,
    code: str,
    is_due: bool,  # noqa: FBT001 - a value of the table
) -> None:
    """For a job without results it is usual that there is none."""
    case = Case(NO_KEY)
    case.now += hours * 3600 * SECOND
    found = case.at_end(replace(END, status=status)).follow_up
    assert found is not None
    assert (found.problem.code, found.due_at is not None) == (code, is_due)


@pytest.mark.parametrize(
    ("config", "answer", "code"),
    [
        (None, MANIFEST, "NoOutputLocation"),
        ({"s3OutputDataConfig": {"s3Uri": "s3://other/"}}, MANIFEST, "BucketNotNamed"),
        (CONFIG, b"{}", "NoTokenCounts"),
        (CONFIG, b"[", "MalformedManifest"),
    ],
)
def test_reason_without_figures_is_named(config: Any, answer: bytes, code: str) -> None:
    """Only a manifest that cannot be read is read again."""
    case = Case(answer)
    found = case.at_end(output_data_config=config).follow_up
    assert found is not None
    assert found.problem.code == code
    assert (found.due_at is not None) is (code == "MalformedManifest")


def test_figures_have_a_cost_where_the_model_has_a_price() -> None:
    """By the prices of the deployment."""
    case = Case(MANIFEST, MANIFEST)
    price = TokenPrice("m", Decimal(1), Decimal(2))
    rules = UsageRules((OutputBucket("results"),), (price,))
    reader = replace(case.reader, rules=rules)
    found = reader.at_end(replace(OBSERVATION, model_id="m"), END).usage
    assert found is not None
    assert found.estimated_cost_usd == Decimal("0.023")
    assert reader.at_end(replace(OBSERVATION, model_id="n"), END) == Reading(Usage(7, 8))


# Later attempts


STORED = StoredJob(
    ARN,
    JobRecord(OBSERVATION, replace(END, model_id="m")),
    usage_is_pending=True,
    usage_due_at=NOW,
)
CONFLICT = WriteResult(WriteOutcome.CONFLICT)


def retried(
    stored: Any, *answers: bytes | ServiceError, hours: float = 0, written: WriteResult = DONE
) -> tuple[UsageResult, list[str]]:
    """One more attempt so many hours after the end: its result, and the names of the writes."""
    case = Case(*answers)
    case.now += hours * 3600 * SECOND
    jobs: Any = Mock()
    jobs.get.side_effect = [stored]
    for name in ("add_usage", "postpone_usage", "forget_usage"):
        getattr(jobs, name).return_value = written
    result = UsageRetries(case.reader, jobs, lambda: case.now).read_again(ARN)
    return result, [name for name, _, _ in jobs.mock_calls if name != "get"]


def test_later_figures_are_added_to_the_item_once() -> None:
    """On a conflict another poll has counted them."""
    found = UsageResult(ARN, "m", Usage(7, 8))
    assert retried(STORED, MANIFEST) == (found, ["add_usage"])
    conflict = retried(STORED, MANIFEST, written=CONFLICT)
    assert conflict == (UsageResult(ARN, "m"), ["add_usage"])


@pytest.mark.parametrize(
    "stored",
    [None, replace(STORED, usage_is_pending=False), replace(STORED, usage_due_at=NOW + SECOND)],
)
def test_figures_that_are_not_due_are_not_read(stored: StoredJob | None) -> None:
    """The index can lag behind the items."""
    assert retried(stored) == (UsageResult(ARN), [])


@pytest.mark.parametrize(
    ("entry", "hours", "written", "code"),
    [
        (END, 1, DONE, None),
        (END, 24, DONE, "NoSuchKey"),
        (END, 24, CONFLICT, None),
        (replace(END, status="Failed"), 24, DONE, None),
    ],
)
def test_problem_is_reported_when_there_is_no_other_attempt(
    entry: HistoryEntry, hours: float, written: WriteResult, code: str | None
) -> None:
    """That a job without results has no manifest is no problem of the deployment."""
    stored = replace(STORED, record=JobRecord(OBSERVATION, entry))
    result, writes = retried(stored, NO_KEY, hours=hours, written=written)
    assert writes == ["postpone_usage"]
    assert (result.problem and result.problem.code) == code
    assert result.usage is None


@pytest.mark.parametrize(
    "stored",
    [replace(STORED, record=None), replace(STORED, usage_due_at=None), InvalidItemError("m")],
)
def test_item_that_was_changed_by_hand_is_given_up(stored: Any) -> None:
    """It would stay due indefinitely; on a conflict another poll has given it up."""
    result, writes = retried(stored)
    assert (result.problem and result.problem.code, writes) == ("InvalidItem", ["forget_usage"])
    assert retried(stored, written=CONFLICT)[0] == UsageResult(ARN)


def test_error_of_a_later_attempt_is_reported() -> None:
    """Nothing that a service causes is raised."""
    error = ServiceError("DynamoDB", "InternalServerError", "m")
    assert retried(error) == (UsageResult(ARN, errors=(error.code,)), [])


def test_due_jobs_are_those_of_the_key_partition_up_to_a_limit() -> None:
    """Each poll reads a bounded number."""
    jobs: Any = Mock()
    jobs.with_usage_due.return_value = (f"{number}" for number in range(500))
    even: Any = {f"{number}" for number in range(0, 500, 2)}
    due = [*UsageRetries(Case().reader, jobs, lambda: NOW).due(even)]
    assert due == [f"{number}" for number in range(0, 400, 2)]
    jobs.with_usage_due.assert_called_once_with(NOW)
