"""The outcome of an ended job, and the share of its failed records."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.event_kinds import (
    AT_RISK,
    DEADLINE_MISSED,
    STALLED,
    UNREACHABLE,
    EventKind,
)
from bedrock_batch_monitor.domain.jobs import JobObservation, RecordCounts, TrackedJob
from bedrock_batch_monitor.domain.outcomes import (
    NOTIFIABLE,
    OUTCOMES,
    WITH_FAILED_RECORDS,
    error_share,
    outcome_of,
)
from bedrock_batch_monitor.domain.plain_text import percent
from bedrock_batch_monitor.domain.transitions import Transition, decide
from tests.support.monitor import RULES
from tests.support.strategies import ARN, NOW, counts


@pytest.mark.parametrize(
    ("found", "max_error_share", "outcome", "share"),
    [
        (RecordCounts(), 0, "Completed", None),
        (RecordCounts(total=1000), 0, "Completed", None),
        (RecordCounts(1000, 1000, 1000, 0), 0, "Completed", 0),
        (RecordCounts(1000, 1000, 998, 2), 0, "CompletedWithErrors", 0.002),
        (RecordCounts(1000, 1000, 998, 2), 0.002, "Completed", 0.002),
        (RecordCounts(1000, 1000, 998, 2), 0.0019, "CompletedWithErrors", 0.002),
        (RecordCounts(1000, 1000, 0, 1000), 1, "AllRecordsFailed", 1),
        (RecordCounts(1000, 10, 0, 10), 0, "AllRecordsFailed", 1),
        # A count that Bedrock does not report follows from the others.
        (RecordCounts(1000, None, 998, 2), 0, "CompletedWithErrors", 0.002),
        (RecordCounts(1000, 1000, 998, None), 0, "CompletedWithErrors", 0.002),
        (RecordCounts(1000, 1000, None, 1000), 0, "AllRecordsFailed", 1),
        (RecordCounts(1000, None, None, 2), 0, "Completed", None),
        (RecordCounts(0, 0, 0, 0), 0, "Completed", None),
        (RecordCounts(1, 1, 0, 1), 0, "AllRecordsFailed", 1),
        (RecordCounts(None, 9, 10, None), 0, "Completed", 0),
        (RecordCounts(None, 10, 10, None), 0, "Completed", 0),
        (RecordCounts(None, 10, 9, None), 0.1, "Completed", 0.1),
        (RecordCounts(3, 3, 2, 1), 0.33333, "CompletedWithErrors", 0.33333),
        # One in a million is not zero, and all but one is not all.
        (RecordCounts(10**6, 10**6, 10**6 - 1, 1), 0, "CompletedWithErrors", 0.00001),
        (RecordCounts(10**6, 10**6, 1, 10**6 - 1), 0, "CompletedWithErrors", 0.99999),
        # Counts that contradict each other.
        (RecordCounts(10, 10, 10, 20), 0, "AllRecordsFailed", 1),
    ],
)
def test_outcome_of_a_completed_job_depends_on_the_error_share(
    found: RecordCounts, max_error_share: float, outcome: str, share: float | None
) -> None:
    """The share of failed records among those processed decides."""
    assert outcome_of("Completed", found, max_error_share) == outcome
    assert error_share(found) == share


@given(st.sampled_from(statuses.TERMINAL), counts, st.floats(0, 1))
def test_outcome_is_the_status_unless_the_job_completed(
    status: str, found: RecordCounts, max_error_share: float
) -> None:
    """For any counts, the outcome is a known one and the share is between 0 and 1."""
    outcome = outcome_of(status, found, max_error_share)
    assert outcome in OUTCOMES
    assert outcome == status or (status == "Completed" and outcome in WITH_FAILED_RECORDS)
    share = error_share(found)
    assert share is None or (0 <= share <= 1 and share == round(share, 5))
    if outcome in WITH_FAILED_RECORDS:
        assert share


@given(st.sampled_from(statuses.KNOWN), counts)
def test_only_an_ended_job_has_an_outcome(status: str, found: RecordCounts) -> None:
    """It is in the history entry, from which item and event get it."""
    observation = JobObservation(ARN, status, counts=found)
    rules = replace(RULES, max_error_share=0.5)
    decision = decide(TrackedJob(ARN), observation, now=NOW, observed_by="poll", rules=rules)
    assert isinstance(decision, Transition)
    ended = statuses.is_terminal(status)
    assert decision.entry.outcome == (outcome_of(status, found, 0.5) if ended else None)
    assert decision.entry.error_share == (error_share(found) if ended else None)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (0.00001, "below 0.01 %"),
        (0.0001, "0.01 %"),
        (0.002, "0.2 %"),
        (0.12345, "12.3 %"),
        (0.00009, "below 0.01 %"),
        (0.998, "99.8 %"),
        (0.9986, "99.9 %"),
        (0.99912, "99.91 %"),
        (0.9996, "99.96 %"),
        (0.9999, "99.99 %"),
        (0.99991, "above 99.99 %"),
        (0.99999, "above 99.99 %"),
        (1, "100 %"),
    ],
)
def test_error_share_is_rounded_to_neither_zero_nor_one(share: float, text: str) -> None:
    """A small share does not read as zero, and a large one not as all."""
    assert percent(share) == text


def test_severity_of_an_outcome_follows_from_its_output() -> None:
    """A person has nothing to do, or records to submit again, or no output at all."""
    found = {name: str(words.severity) for name, words in OUTCOMES.items()}
    assert found == {
        "Completed": "note",
        "Stopped": "note",
        "CompletedWithErrors": "warning",
        "PartiallyCompleted": "warning",
        "AllRecordsFailed": "alarm",
        "Failed": "alarm",
        "Expired": "alarm",
    }


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (STALLED, "warning"),
        (AT_RISK, "warning"),
        (DEADLINE_MISSED, "alarm"),
        (UNREACHABLE, "alarm"),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_severity_of_a_condition_follows_from_what_is_certain(
    kind: EventKind, severity: str
) -> None:
    """A deadline that passed, or a job that cannot be followed; the others can still end well."""
    assert NOTIFIABLE[kind.name].severity == severity


def test_people_can_be_notified_of_every_outcome_and_condition() -> None:
    """Not of an event that has no words for people."""
    conditions = {"Stalled", "AtRisk", "DeadlineMissed", "Unreachable"}
    assert NOTIFIABLE.keys() == OUTCOMES.keys() | conditions
