"""What follows from the history of a job whose item was put again or restored."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    JobRecord,
    RecordCounts,
)
from bedrock_batch_monitor.domain.restoring import decide_from_history
from bedrock_batch_monitor.domain.transitions import Transition
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW

EARLIER = NOW - timedelta(hours=1)
COUNTS = RecordCounts(100, 50, 50, 0)


def entry(sequence: int, status: str, event_id: str | None = None) -> JobRecord:
    """One entry of a history."""
    last = HistoryEntry(
        ARN,
        sequence,
        status,
        EARLIER,
        "poll",
        event_id=event_id,
        changed_at=EARLIER,
        counts=COUNTS,
    )
    return JobRecord(JobObservation(ARN, status, counts=COUNTS), last)


RUNNING = (entry(1, "Submitted"), entry(2, "InProgress"))


def decided(
    history: tuple[JobRecord, ...], answer: JobObservation | None
) -> Transition | JobRecord:
    return decide_from_history(history, answer, now=NOW, observed_by="poll", rules=RULES)


def test_end_in_the_history_is_restored_for_any_response() -> None:
    history = (*RUNNING, entry(3, "Completed", event_id="an-id"))
    assert decided(history, None) == history[-1]
    assert decided(history, JobObservation(ARN, "InProgress")) == history[-1]


def test_new_status_continues_the_sequence_and_keeps_the_counts() -> None:
    decision = decided(RUNNING, JobObservation(ARN, "Failed", last_modified_time=NOW))
    assert isinstance(decision, Transition)
    assert (decision.entry.sequence, decision.entry.previous_status) == (3, "InProgress")
    assert decision.entry.counts == COUNTS
    assert decision.first_in_progress_at == EARLIER


def test_last_entry_is_restored_when_bedrock_does_not_return_the_job() -> None:
    decision = decided(RUNNING, None)
    assert decision == JobRecord(RUNNING[-1].observation, RUNNING[-1].last, EARLIER)


def test_last_entry_is_restored_with_a_response_that_is_not_newer() -> None:
    """An older response is ignored; one of the same status adds what the history does not have."""
    older = JobObservation(ARN, "Submitted", last_modified_time=EARLIER - timedelta(hours=1))
    decision = decided(RUNNING, older)
    assert isinstance(decision, JobRecord)
    assert decision.observation.status == "InProgress"
    same = JobObservation(ARN, "InProgress", last_modified_time=EARLIER, role_arn="a-role")
    decision = decided(RUNNING, same)
    assert isinstance(decision, JobRecord)
    assert (decision.observation.role_arn, decision.observation.counts) == ("a-role", COUNTS)


def test_terminal_status_without_an_event_is_recorded_as_the_end() -> None:
    """A version that did not know the status as terminal has recorded it."""
    decision = decided((*RUNNING, entry(3, "Expired")), None)
    assert isinstance(decision, Transition)
    assert decision.entry.sequence == 4
    assert decision.entry.event_id is not None


def test_message_of_a_response_is_restored_only_with_its_setting() -> None:
    """`recordMessages` off: it is in no item."""
    answer = JobObservation(ARN, "Failed", last_modified_time=NOW, message="a customer's text")
    for records, expected in ((True, "a customer's text"), (False, None)):
        rules = replace(RULES, record_messages=records)
        decision = decide_from_history(RUNNING, answer, now=NOW, observed_by="poll", rules=rules)
        assert isinstance(decision, Transition)
        assert decision.entry.message == expected
        assert decision.entry.observed_by == "poll"


def test_restored_record_has_the_time_of_its_entry() -> None:
    """And it knows since when the job runs, with a response or without one."""
    same = JobObservation(ARN, "InProgress", last_modified_time=NOW, message="a newer text")
    for answer in (None, same):
        decision = decided(RUNNING, answer)
        assert isinstance(decision, JobRecord)
        assert (decision.last, decision.first_in_progress_at) == (RUNNING[-1].last, EARLIER)
        assert decision.observation.message is None
