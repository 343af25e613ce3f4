"""When the manifest of a job is read, and what an attempt without figures leaves to later polls."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.app.usage import Reading, UsageReader
from bedrock_batch_monitor.domain.jobs import HistoryEntry, JobObservation, RecordCounts, Usage
from bedrock_batch_monitor.domain.token_usage import OutputBucket, UsageRules
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
