"""The figures of a poll: what each result adds, and which conditions began or ended with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bedrock_batch_monitor.domain.jobs import HistoryEntry, TrackedJob, Usage
from bedrock_batch_monitor.domain.summary import (
    CONDITION_METRICS,
    ConditionChange,
    PollSummary,
    ReconcileResult,
    by_code,
    changes_of,
)
from tests.support.strategies import ARN, NOW

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
ENTRY = HistoryEntry(
    ARN,
    sequence=3,
    status="InProgress",
    observed_at=NOW,
    observed_by="poll",
    previous_status="Scheduled",
    changed_at=NOW - timedelta(seconds=40),
)
FIRST = replace(ENTRY, sequence=1, previous_status=None)
ENDED = replace(ENTRY, status="Completed", outcome="Completed")


def figures_of(*results: ReconcileResult) -> dict[str, Any]:
    """The figures that are not as in a poll without a job."""
    summary, empty = PollSummary(), PollSummary().as_json()
    for result in results:
        summary.count(result)
    return {name: value for name, value in summary.as_json().items() if value != empty[name]}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (ReconcileResult(), {}),
        (ReconcileResult(was_read=True), {"jobsRead": 1}),
        (ReconcileResult(conditions=frozenset({"AtRisk", "Stalled"})), {"AtRisk", "Stalled"}),
        (ReconcileResult(outdated=True), {"observationsOutdated": 1}),
        (ReconcileResult(is_conflict=True), {"lostRaces": 1}),
        (ReconcileResult(unknown_status=True), {"unknownStatuses": 1}),
        (ReconcileResult(errors=("Item.Odd", "Item.Odd")), {"errors": {"Item.Odd": 2}}),
        (ReconcileResult(backfilled=True, entry=ENDED), {"jobsBackfilled": 1}),
        (ReconcileResult(given_up=True), {"jobsGivenUp": 1}),
        (ReconcileResult(newly_unreachable=True), {"jobsNewlyUnreachable": 1}),
        (ReconcileResult(entry=ENTRY), {"jobsChanged": 1, "detectionSeconds": 40}),
        # Nobody knows when a job that is new to the monitor got its status.
        (ReconcileResult(entry=FIRST), {"jobsChanged": 1}),
        (ReconcileResult(entry=replace(ENTRY, changed_at=None)), {"jobsChanged": 1}),
        (
            ReconcileResult(entry=ENDED),
            {"jobsChanged": 1, "jobsEnded": 1, "detectionSeconds": 40},
        ),
        (
            ReconcileResult(entry=replace(ENDED, outcome="AllRecordsFailed", previous_status=None)),
            {"jobsChanged": 1, "jobsEnded": 1, "jobsWithFailedRecords": 1},
        ),
    ],
)
def test_each_result_adds_to_its_own_figures(
    result: ReconcileResult, expected: dict[str, Any] | set[str]
) -> None:
    """Twice the same result counts twice, and the longest time until a detection counts once."""
    if isinstance(expected, set):
        names = {kind: metric for metric, kind in CONDITION_METRICS.items()}
        expected = {names[kind][0].lower() + names[kind][1:]: 1 for kind in expected}
    assert figures_of(result) == expected
    assert figures_of(result, result) == {
        name: value
        if name == "detectionSeconds"
        else {code: 2 * count for code, count in value.items()}
        if isinstance(value, dict)
        else 2 * value
        for name, value in expected.items()
    }


def test_figures_of_a_poll_without_a_job_are_zero() -> None:
    """Nothing is counted that did not happen."""
    assert set(PollSummary().figures().values()) == {0}
    assert PollSummary().as_json()["seconds"] == 0
    assert (PollSummary().refused, PollSummary().newly_unknown) == (0, 0)


def test_refusals_and_unknown_statuses_of_a_transition_are_counted() -> None:
    """The alarm about jobs that need attention counts a status that this version does not know."""
    summary = PollSummary()
    summary.count(ReconcileResult(refused=True))
    for known in (ENTRY, ENDED):
        summary.count(ReconcileResult(entry=known))
    summary.count(ReconcileResult(entry=replace(ENTRY, status="Paused")))
    summary.count(ReconcileResult(newly_unreachable=True))
    assert (summary.refused, summary.newly_unknown) == (1, 1)
    assert summary.figures()["JobsNeedAttention"] == 2


def test_detection_takes_as_long_as_that_of_the_latest_job() -> None:
    """The order of the results does not matter."""
    summary = PollSummary()
    for seconds in (10, 90, 30):
        changed_at = NOW - timedelta(seconds=seconds)
        summary.count(ReconcileResult(entry=replace(ENTRY, changed_at=changed_at)))
    assert summary.detection_seconds == 90
    assert summary.jobs_changed == 3


def test_tokens_are_added_up_by_model() -> None:
    """By the id at the end of an ARN; a count that is not known adds nothing."""
    summary = PollSummary()
    entry = replace(ENDED, model_id=MODEL, usage=Usage(100, 20))
    summary.count(ReconcileResult(entry=entry))
    summary.count_usage(f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}", Usage(7, None))
    summary.count_usage(None, Usage(None, 5))
    summary.count_usage(MODEL, None)
    assert summary.tokens == {
        ("InputTokens", MODEL): 107,
        ("OutputTokens", MODEL): 20,
        ("OutputTokens", "unknown"): 5,
    }


def test_job_that_a_list_confirms_counts_as_read_with_its_conditions() -> None:
    """A Get would have reported the same."""
    summary = PollSummary()
    summary.count_listed(TrackedJob(ARN))
    summary.count_listed(TrackedJob(ARN, conditions={"AtRisk": NOW}))
    assert (summary.jobs_read, summary.jobs_listed) == (2, 2)
    assert summary.conditions == {"AtRisk": 1}


def test_summary_as_json_has_what_the_function_returns() -> None:
    """Errors by code in their order, seconds to a millisecond, and no figure of an alarm."""
    summary = PollSummary(
        jobs_active=4,
        jobs_listed=1,
        conditions=Counter({"Stalled": 2}),
        errors=Counter({"DynamoDB.Odd": 1, "Bedrock.Odd": 3}),
        has_answer=False,
        complete=False,
        seconds=1.23456,
    )
    found = summary.as_json()
    assert list(found["errors"].items()) == [("Bedrock.Odd", 3), ("DynamoDB.Odd", 1)]
    assert (found["answered"], found["complete"], found["seconds"]) == (False, False, 1.235)
    assert (found["jobsActive"], found["jobsListed"], found["jobsStalled"]) == (4, 1, 2)
    assert not found.keys() & {"pollSeconds", "eventsMalformed", "jobsNeedAttention", "lateSeconds"}
    assert PollSummary().as_json()["answered"]
    assert PollSummary().as_json()["complete"]


def test_result_is_conclusive_unless_something_is_left_to_do() -> None:
    """A job that has to be tried again, or lost a race, is still to be read."""
    assert ReconcileResult(was_read=True).is_conclusive
    assert ReconcileResult().is_conclusive
    assert not ReconcileResult(was_read=True, is_conflict=True).is_conclusive
    assert not ReconcileResult(try_again=True).is_conclusive


def test_job_that_was_read_was_answered_whatever_came_after() -> None:
    """Its answer shows that Bedrock works, also if the table refused to record it."""
    assert ReconcileResult(was_read=True, errors=("DynamoDB.Odd",), try_again=True).was_answered
    assert ReconcileResult().was_answered
    assert not ReconcileResult(errors=("Item.Odd", "DynamoDB.Odd")).was_answered
    assert not ReconcileResult(errors=("Item.Odd",), try_again=True).was_answered
    assert not ReconcileResult(errors=("Item.Odd",), refused=True).was_answered


SINCE = NOW - timedelta(hours=1)
STALLED_JOB = TrackedJob(ARN, conditions={"Stalled": SINCE})
UNREACHABLE_JOB = TrackedJob(ARN, unreachable_since=SINCE)
READ = ReconcileResult(was_read=True)
LOST = ReconcileResult(newly_unreachable=True, is_unreachable=True)


def began(name: str) -> ConditionChange:
    """The change of a condition that was not recorded before."""
    return ConditionChange(ARN, name, has_begun=True)


def ended(name: str, since: datetime = SINCE) -> ConditionChange:
    """The change of a condition that is over."""
    return ConditionChange(ARN, name, has_begun=False, since=since)


@pytest.mark.parametrize(
    ("job", "result", "changes"),
    [
        (TrackedJob(ARN), READ, ()),
        (TrackedJob(ARN), replace(READ, conditions=frozenset({"AtRisk"})), (began("AtRisk"),)),
        (STALLED_JOB, READ, (ended("Stalled"),)),
        (STALLED_JOB, replace(READ, conditions=frozenset({"Stalled"})), ()),
        (
            STALLED_JOB,
            replace(READ, conditions=frozenset({"AtRisk"})),
            (began("AtRisk"), ended("Stalled")),
        ),
        # A job that can be read again is no longer unreachable.
        (UNREACHABLE_JOB, READ, (ended("Unreachable"),)),
        (TrackedJob(ARN), LOST, (began("Unreachable"),)),
        # What it had before is not known to have ended.
        (STALLED_JOB, LOST, (began("Unreachable"),)),
        # An item that is wrong makes no job unreachable.
        (STALLED_JOB, ReconcileResult(newly_unreachable=True), ()),
        (STALLED_JOB, replace(LOST, newly_unreachable=False), ()),
        # What another execution recorded, or an older answer, says nothing.
        (STALLED_JOB, replace(READ, is_conflict=True), ()),
        (STALLED_JOB, replace(READ, outdated=True), ()),
        (STALLED_JOB, ReconcileResult(), ()),
    ],
)
def test_changes_are_the_conditions_that_began_or_ended(
    job: TrackedJob, result: ReconcileResult, changes: tuple[ConditionChange, ...]
) -> None:
    """Compared with what was recorded before, by name."""
    assert changes_of(job, result) == changes


def test_unread_jobs_are_grouped_by_their_first_error_code() -> None:
    """The number of all, and the ARNs of the first ones."""
    unread = {"a": ("Odd", "Rare"), "b": ("Even",), "c": ("Odd",), "d": ("Odd",)}
    assert list(by_code(unread, at_most=2).items()) == [
        ("Even", {"count": 1, "jobArns": ["b"]}),
        ("Odd", {"count": 3, "jobArns": ["a", "c"]}),
    ]
