"""A job as it is recorded, and the answers of Bedrock as they can be compared with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import botocore.session
import pytest

from bedrock_batch_monitor.domain.jobs import (
    CUT,
    HistoryEntry,
    JobError,
    JobObservation,
    RecordCounts,
    StoredJob,
    TrackedJob,
    bounded,
    first_in_progress_at,
    normalized,
    with_status_of,
)
from tests.support.strategies import ARN, NOW

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
SINCE = NOW - HOUR
JOB = TrackedJob(
    ARN,
    sequence=2,
    status="InProgress",
    changed_at=SINCE,
    last_modified_time=SINCE,
    submit_time=NOW - 2 * HOUR,
)
SEEN = JobObservation(ARN, "InProgress", last_modified_time=NOW)


def normal(job: TrackedJob = JOB, observation: JobObservation = SEEN, **changes: Any) -> Any:
    """The answer as it can be compared, with its message."""
    return normalized(job, replace(observation, **changes), NOW, with_message=True)


def test_text_of_the_longest_length_is_kept() -> None:
    """Bedrock's service model has it for messages; one character more, and the end is cut."""
    service = botocore.session.get_session().get_service_model("bedrock")
    most: int = service.shape_for("Message").metadata["max"]
    assert bounded("x" * most) == "x" * most
    assert bounded("x" * most + "y") == "x" * (most - len(CUT)) + CUT


@pytest.mark.parametrize(
    ("found", "known", "merged", "is_behind"),
    [
        ((10, 5, 4, 1), (10, 5, 4, 1), (10, 5, 4, 1), False),
        ((10, 6, 5, 1), (10, 5, 4, 1), (10, 6, 5, 1), False),
        ((10, 4, 4, 1), (10, 5, 4, 1), (10, 5, 4, 1), True),
        ((10, 6, 5, 0), (10, 5, 4, 1), (10, 6, 5, 1), True),
        ((None, 6, None, 1), (10, 5, 4, None), (10, 6, 4, 1), False),
        ((None, None, None, None), (10, 5, 4, 1), (10, 5, 4, 1), False),
        ((10, 5, 4, 1), (None, None, None, None), (10, 5, 4, 1), False),
        ((None, None, 0, None), (None, None, 0, None), (None, None, 0, None), False),
    ],
)
def test_counts_never_fall(
    found: tuple[int | None, ...],
    known: tuple[int | None, ...],
    merged: tuple[int | None, ...],
    *,
    is_behind: bool,
) -> None:
    """A count that is missing or lower is as it was; a lower one shows an older answer."""
    one, other = RecordCounts(*found), RecordCounts(*known)
    assert one.not_below(other) == RecordCounts(*merged)
    assert one.is_behind(other) == is_behind


@pytest.mark.parametrize(
    ("status", "known", "modified", "expected"),
    [
        ("InProgress", SINCE, NOW, NOW),
        ("InProgress", SINCE, None, SINCE),
        ("InProgress", SINCE, NOW - 2 * HOUR, NOW - 2 * HOUR),
        ("InProgress", NOW + 3 * HOUR, None, None),
        ("InProgress", SINCE, NOW + 3 * HOUR, SINCE),
        # Another status has its own time.
        ("Stopping", SINCE, None, None),
        ("Stopping", SINCE, NOW - 2 * HOUR, NOW - 2 * HOUR),
        # The end is never before what was known.
        ("Completed", SINCE, NOW - 2 * HOUR, SINCE),
        ("Completed", SINCE, NOW, NOW),
        ("Completed", SINCE, None, None),
        ("Completed", None, NOW, NOW),
        ("Completed", NOW + 3 * HOUR, NOW, NOW),
    ],
)
def test_time_of_the_last_change_is_comparable(
    status: str, known: datetime | None, modified: datetime | None, expected: datetime | None
) -> None:
    """Whatever clock it comes from."""
    job = replace(JOB, last_modified_time=known)
    assert normal(job, status=status, last_modified_time=modified).last_modified_time == expected


def test_implausible_times_of_an_answer_are_left_out() -> None:
    """A job expires up to thirty days from now, and nothing else happens in the future."""
    later = NOW + 3 * HOUR
    found = normal(submit_time=later, end_time=later, job_expiration_time=later)
    assert (found.submit_time, found.end_time) == (JOB.submit_time, None)
    assert found.job_expiration_time == later
    last = NOW + timedelta(days=30)
    assert normal(job_expiration_time=last).job_expiration_time == last
    assert normal(job_expiration_time=last + SECOND).job_expiration_time is None
    found = normal(submit_time=SINCE, end_time=NOW)
    assert (found.submit_time, found.end_time) == (SINCE, NOW)
    unknown = replace(JOB, submit_time=later)
    assert normal(unknown, submit_time=None).submit_time is None


def test_message_of_an_answer_is_kept_only_with_its_setting() -> None:
    """`recordMessages` off: not even in memory."""
    answer = replace(SEEN, message="a customer's text")
    assert normalized(JOB, answer, NOW, with_message=True).message == "a customer's text"
    assert normalized(JOB, answer, NOW, with_message=False).message is None


@pytest.mark.parametrize(
    "failure",
    [
        {"last_error": JobError("Odd", "no")},
        {"unreadable_polls": 1},
        {"failing_since": SINCE},
    ],
)
def test_job_without_errors_has_no_read_failures(failure: dict[str, Any]) -> None:
    """Everything else about it is as before."""
    failing = replace(JOB, **failure, unreachable_since=SINCE, conditions={"AtRisk": SINCE})
    assert failing.has_read_failures
    clean = failing.without_errors()
    assert not clean.has_read_failures
    assert clean == replace(JOB, conditions={"AtRisk": SINCE})


ENTRY = HistoryEntry(
    ARN,
    sequence=3,
    status="Completed",
    observed_at=NOW,
    observed_by="poll",
    event_id="an id",
    changed_at=NOW - SECOND,
    message="done",
    counts=RecordCounts(10, 10, 10, 0),
)


def test_job_after_a_transition_has_its_values() -> None:
    """What belonged to the status before is gone."""
    job = replace(
        JOB,
        first_in_progress_at=SINCE,
        conditions={"AtRisk": SINCE},
        last_error=JobError("Odd", "no"),
        records_per_minute=1.0,
    )
    assert job.after(ENTRY) == TrackedJob(
        ARN,
        sequence=3,
        status="Completed",
        changed_at=NOW - SECOND,
        last_modified_time=NOW - SECOND,
        first_in_progress_at=SINCE,
        counts=RecordCounts(10, 10, 10, 0),
        progress_at=NOW,
        event_id="an id",
    )
    assert not job.after(ENTRY).backfilled
    assert replace(job, backfilled=True).after(ENTRY).backfilled
    assert job.after(replace(ENTRY, backfilled=True)).backfilled


def test_end_is_recorded_with_an_event_id() -> None:
    """A version that did not know the status recorded it without one."""
    ended = JOB.after(ENTRY)
    assert (ended.has_ended, ended.has_terminal_status) == (True, True)
    unknown = JOB.after(replace(ENTRY, event_id=None))
    assert (unknown.has_ended, unknown.has_terminal_status) == (False, True)
    for job in (JOB, TrackedJob(ARN), replace(JOB, event_id="an id")):
        assert (job.has_ended, job.has_terminal_status) == (False, False)


def test_job_of_which_nothing_is_known_waits_for_nothing() -> None:
    """No task, no tags and no token counts are to be handled."""
    new, stored = TrackedJob(ARN), StoredJob(ARN)
    assert (new.sequence, new.task_revision, stored.task_revision) == (0, 0, 0)
    known = (new.carries_tasks, new.tags_pending, new.backfilled, new.has_read_failures)
    assert not any((*known, stored.tags_pending, stored.usage_is_pending, stored.pending_events))


def test_first_time_in_progress_stays_as_it_is_known() -> None:
    """A job can be seen to run again after another status."""
    running = replace(ENTRY, status="InProgress")
    assert first_in_progress_at(None, running) == NOW - SECOND
    assert first_in_progress_at(SINCE, running) == SINCE
    assert first_in_progress_at(None, ENTRY) is None
    assert first_in_progress_at(SINCE, ENTRY) == SINCE


def test_observation_can_have_the_status_of_an_entry() -> None:
    """Everything that belongs to the status comes from it, and the rest stays."""
    answer = replace(SEEN, job_name="nightly", message="a newer text", end_time=NOW)
    assert with_status_of(answer, ENTRY) == JobObservation(
        ARN,
        "Completed",
        job_name="nightly",
        message="done",
        last_modified_time=NOW - SECOND,
        end_time=NOW,
        counts=RecordCounts(10, 10, 10, 0),
    )
