from __future__ import annotations

import itertools
import uuid
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobError,
    JobObservation,
    RecordCounts,
    TrackedJob,
    tracked_from_history,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.transitions import (
    Decision,
    Outdated,
    Refresh,
    Transition,
    Unchanged,
    decide,
    end_id,
    event_id,
    status_change_id,
)
from tests.support.monitor import RULES
from tests.support.strategies import (
    ARN,
    NOW,
    all_rules,
    any_status,
    new_jobs,
    observations,
    optional_times,
    seen_jobs,
    times,
    tracked_jobs,
)

UNKNOWN = "Paused"
BEFORE = NOW - timedelta(hours=1)


def decided(tracked: TrackedJob, observation: JobObservation, now: datetime = NOW) -> Decision:
    return decide(tracked, observation, now=now, observed_by="poll", rules=RULES)


@pytest.mark.parametrize(
    ("known", "observed"),
    [
        (known, observed)
        for known in (None, *statuses.KNOWN, UNKNOWN)
        for observed in (*statuses.KNOWN, UNKNOWN)
    ],
)
def test_later_observation_with_another_status_is_a_transition(
    known: str | None, observed: str
) -> None:
    """Except after a terminal status, which is final."""
    tracked = TrackedJob(
        job_arn=ARN,
        sequence=0 if known is None else 3,
        status=known,
        event_id="an-id" if known in statuses.TERMINAL else None,
        changed_at=None if known is None else BEFORE,
        last_modified_time=None if known is None else BEFORE,
    )
    decision = decided(
        tracked, JobObservation(job_arn=ARN, status=observed, last_modified_time=NOW)
    )
    if known == observed:
        assert decision == Unchanged()
    elif known in statuses.TERMINAL:
        assert decision == Outdated()
    else:
        assert isinstance(decision, Transition)
        assert decision.entry.status == observed
        assert decision.entry.previous_status == known
        assert decision.entry.sequence == tracked.sequence + 1
        assert (decision.entry.sequence == 1) == (known is None)
        assert decision.is_terminal == (observed in statuses.TERMINAL)
        assert decision.entry.seconds_in_previous_status == (None if known is None else 3600)


@given(tracked_jobs, observations, times, all_rules)
def test_decision_for_any_input_is_valid(
    tracked: TrackedJob, observation: JobObservation, now: datetime, rules: Rules
) -> None:
    """No input makes the decision fail, and a transition is complete."""
    decision = decide(tracked, observation, now=now, observed_by="event", rules=rules)
    assert isinstance(decision, Unchanged | Outdated | Refresh | Transition)
    if isinstance(decision, Transition):
        entry = decision.entry
        assert entry.sequence == tracked.sequence + 1
        assert entry.status == observation.status
        assert entry.previous_status == tracked.status
        assert entry.status != tracked.status or (entry.event_id and not tracked.event_id)
        assert (entry.observed_at, entry.observed_by) == (now, "event")
        assert (entry.event_id is not None) == statuses.is_terminal(entry.status)
        assert entry.message == observation.message
        assert entry.counts == observation.counts.not_below(tracked.counts)
        assert entry.changed_at == observation.last_modified_time
        assert entry.seconds_in_previous_status is None or entry.seconds_in_previous_status >= 0


SEEN = JobObservation(
    ARN,
    "Completed",
    model_id="a-model",
    job_name="nightly",
    message="done",
    last_modified_time=NOW,
    counts=RecordCounts(10, 10, 9, 1),
)
RUNNING = TrackedJob(
    ARN,
    sequence=2,
    status="InProgress",
    changed_at=BEFORE,
    last_modified_time=BEFORE,
    first_in_progress_at=BEFORE,
    counts=RecordCounts(10, 5, 5, 0),
    progress_at=BEFORE,
)


def test_transition_has_what_was_observed_and_what_follows_from_it() -> None:
    """The entry of an end has an outcome and the share of failed records."""
    decision = decide(RUNNING, SEEN, now=NOW, observed_by="event", rules=RULES)
    assert isinstance(decision, Transition)
    assert decision.entry == HistoryEntry(
        ARN,
        sequence=3,
        status="Completed",
        observed_at=NOW,
        observed_by="event",
        event_id=end_id(ARN),
        previous_status="InProgress",
        changed_at=NOW,
        seconds_in_previous_status=3600,
        job_name="nightly",
        model_id="a-model",
        message="done",
        counts=RecordCounts(10, 10, 9, 1),
        outcome="CompletedWithErrors",
        error_share=0.1,
    )
    assert decision.first_in_progress_at == BEFORE
    assert decision.record.observation == SEEN


@pytest.mark.parametrize(
    ("backfilled", "sequence", "status", "expected"),
    [
        (True, 0, "Completed", True),
        (True, 0, "InProgress", False),
        (True, 1, "Completed", False),
        (False, 0, "Completed", False),
    ],
)
def test_only_the_first_entry_of_a_backfilled_job_is_for_the_history_alone(
    *, backfilled: bool, sequence: int, status: str, expected: bool
) -> None:
    """A job that was seen to run first is followed like any other."""
    tracked = TrackedJob(ARN, sequence=sequence, backfilled=backfilled)
    decision = decided(tracked, replace(SEEN, status=status))
    assert isinstance(decision, Transition)
    assert decision.entry.backfilled == expected


def test_small_change_of_counts_is_written_with_a_condition_that_begins() -> None:
    """The condition follows from the estimate of these counts."""
    job = replace(
        RUNNING,
        counts=RecordCounts(1000, 500),
        progress_at=NOW - timedelta(minutes=10),
        records_per_minute=1.0,
    )
    rules = replace(RULES, emit_at_risk=True)
    # The other 490 records take 490 minutes.
    answer = JobObservation(ARN, "InProgress", counts=RecordCounts(1000, 510))
    assert decide(job, answer, now=NOW, observed_by="poll", rules=rules) == Unchanged()
    expires = replace(answer, job_expiration_time=NOW + timedelta(minutes=489))
    decision = decide(job, expires, now=NOW, observed_by="poll", rules=rules)
    assert isinstance(decision, Refresh)
    assert (decision.counts_moved, decision.observation) == (True, expires)
    assert decision.estimate is not None
    assert decision.estimate.ends_at == NOW + timedelta(minutes=490)
    # Counts that may not be written yet are not, and neither is their estimate.
    recent = replace(job, progress_at=NOW - timedelta(minutes=4), unreadable_polls=0)
    assert decide(recent, expires, now=NOW, observed_by="poll", rules=rules) == Unchanged()


@given(seen_jobs, observations)
def test_terminal_status_is_final(tracked: TrackedJob, observation: JobObservation) -> None:
    """Once a terminal status is recorded, no observation changes the job again."""
    ended = replace(tracked, status="PartiallyCompleted", event_id="an-id")
    assert isinstance(decided(ended, observation), Unchanged | Outdated)


@given(seen_jobs, observations, st.sampled_from(statuses.TERMINAL))
def test_terminal_status_recorded_as_unknown_is_recorded_as_an_end(
    tracked: TrackedJob, observation: JobObservation, status: str
) -> None:
    """A version that knows more statuses publishes the end that an earlier one did not know."""
    tracked = replace(tracked, status=status, event_id=None)
    decision = decided(tracked, replace(observation, status=status))
    assert isinstance(decision, Transition)
    assert decision.entry.event_id == end_id(ARN)
    # What still runs cannot be: a terminal status is never taken back.
    assert decided(tracked, replace(observation, status="InProgress")) == Outdated()


@given(
    tracked_jobs.filter(lambda job: not job.has_ended),
    observations,
    st.sampled_from(statuses.TERMINAL),
)
def test_observed_terminal_status_is_always_recorded(
    tracked: TrackedJob, observation: JobObservation, ending: str
) -> None:
    """Whatever its time is, so that a wrong clock cannot lose an end."""
    decision = decided(tracked, replace(observation, status=ending))
    assert isinstance(decision, Transition)
    assert decision.is_terminal


@given(new_jobs, observations)
def test_first_observation_is_always_recorded(
    tracked: TrackedJob, observation: JobObservation
) -> None:
    """A new job gets entry 1, without a previous status."""
    decision = decided(tracked, observation)
    assert isinstance(decision, Transition)
    assert decision.entry.sequence == 1
    assert decision.entry.previous_status is None
    assert decision.entry.seconds_in_previous_status is None


@given(
    seen_jobs,
    observations,
    times,
    st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=9)),
)
def test_older_observation_changes_nothing(
    tracked: TrackedJob, observation: JobObservation, known_at: datetime, age: timedelta
) -> None:
    """A non-terminal observation that is older than the recorded state is ignored."""
    tracked = replace(tracked, last_modified_time=known_at, status="InProgress")
    older = replace(observation, status="Scheduled", last_modified_time=known_at - age)
    assert decided(tracked, older) == Outdated()


@pytest.mark.parametrize(
    ("known", "observed", "expected"),
    [
        ("InProgress", "Submitted", Outdated),
        ("Stopping", "InProgress", Outdated),
        ("Submitted", "InProgress", Transition),
        ("InProgress", UNKNOWN, Transition),
        (UNKNOWN, "Submitted", Transition),
        ("InProgress", "Completed", Transition),
    ],
)
def test_order_of_statuses_decides_without_times(known: str, observed: str, expected: type) -> None:
    """Without a lastModifiedTime, a step back in the lifecycle counts as older."""
    tracked = TrackedJob(job_arn=ARN, sequence=2, status=known)
    assert isinstance(decided(tracked, JobObservation(job_arn=ARN, status=observed)), expected)


@given(seen_jobs, any_status, optional_times)
def test_repeated_observation_changes_nothing(
    tracked: TrackedJob, status: str, changed_at: datetime | None
) -> None:
    """The state after a transition is unchanged by the same observation."""
    observation = JobObservation(
        job_arn=ARN, status=status, last_modified_time=changed_at, counts=RecordCounts(10, 5, 5, 0)
    )
    decision = decided(replace(tracked, last_error=None, unreadable_polls=0), observation)
    if isinstance(decision, Transition):
        # An answer with lower counts than are known is an older one.
        again = decided(tracked.after(decision.entry), observation)
        assert isinstance(again, Unchanged | Outdated)


@pytest.mark.parametrize(
    ("since_last_write", "counts", "expected"),
    [
        (timedelta(minutes=4, seconds=59), RecordCounts(10, 6, 6, 0), Unchanged),
        (timedelta(minutes=5), RecordCounts(10, 6, 6, 0), Refresh),
        (timedelta(days=1), RecordCounts(10, 5, 5, 0), Unchanged),
    ],
)
def test_counts_are_written_at_most_once_per_interval(
    since_last_write: timedelta, counts: RecordCounts, expected: type
) -> None:
    """Counts that changed wait for the interval; unchanged counts are never written."""
    tracked = TrackedJob(
        job_arn=ARN,
        sequence=2,
        status="InProgress",
        last_modified_time=BEFORE,
        counts=RecordCounts(10, 5, 5, 0),
        progress_at=NOW - since_last_write,
    )
    observation = JobObservation(
        job_arn=ARN, status="InProgress", last_modified_time=NOW, counts=counts
    )
    assert isinstance(decided(tracked, observation), expected)


def test_successful_read_removes_the_last_error() -> None:
    """The item is refreshed even if nothing else changed."""
    tracked = TrackedJob(
        job_arn=ARN, sequence=1, status="InProgress", last_error=JobError("Denied", "no")
    )
    observation = JobObservation(job_arn=ARN, status="InProgress")
    assert decided(tracked, observation) == Refresh(observation, counts_moved=False)


@given(st.lists(observations, min_size=1, max_size=12))
def test_any_sequence_of_observations_makes_a_complete_history(seen: list[JobObservation]) -> None:
    """Sequences are 1..n, each entry follows its predecessor, and only the last can be terminal."""
    tracked = TrackedJob(job_arn=ARN)
    entries = []
    for position, observation in enumerate(seen):
        decision = decided(tracked, observation, NOW + timedelta(minutes=position))
        if isinstance(decision, Transition):
            entries.append(decision.entry)
            tracked = tracked.after(decision.entry)
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    for before, after in itertools.pairwise(entries):
        assert after.previous_status == before.status
        assert not statuses.is_terminal(before.status)
    assert tracked == tracked_from_history(ARN, tuple(entries))
    running = next((entry for entry in entries if entry.status == "InProgress"), None)
    assert tracked.first_in_progress_at == (
        next((e.changed_at for e in entries if e.status == "InProgress" and e.changed_at), None)
        if running
        else None
    )


@pytest.mark.parametrize(
    ("known", "observed", "expected"),
    [
        (RecordCounts(10, 5, 5, 0), RecordCounts(10, 4, 4, 0), Outdated),
        (RecordCounts(10, 5, 5, 0), RecordCounts(10, 6, 5, 0), Refresh),
        (RecordCounts(10, 5, 5, 0), RecordCounts(10, 6, 4, 2), Outdated),
        (RecordCounts(10, 5, 5, 0), RecordCounts(10, 6, 6, 0), Refresh),
        (RecordCounts(10, 5, 5, 0), RecordCounts(), Unchanged),
        (RecordCounts(), RecordCounts(10, 0, 0, 0), Refresh),
    ],
)
@pytest.mark.parametrize("modified", [BEFORE, None])
def test_counts_with_the_same_time_never_fall(
    known: RecordCounts, observed: RecordCounts, expected: type, modified: datetime | None
) -> None:
    """Of two responses with the same lastModifiedTime the one with fewer records is older."""
    tracked = TrackedJob(
        ARN, sequence=2, status="InProgress", last_modified_time=BEFORE, counts=known
    )
    observation = JobObservation(ARN, "InProgress", last_modified_time=modified, counts=observed)
    assert isinstance(decided(tracked, observation), expected)


@pytest.mark.parametrize(
    "moment", [NOW.replace(year=1), NOW + timedelta(hours=3), NOW.replace(year=2090)]
)
def test_implausible_time_delays_no_transition(moment: datetime) -> None:
    """One recorded time in the far future must not make every later response an older one."""
    tracked = TrackedJob(ARN, sequence=2, status="Scheduled", last_modified_time=moment)
    later = JobObservation(ARN, "InProgress", last_modified_time=NOW)
    assert isinstance(decided(tracked, later), Transition)
    earlier = JobObservation(ARN, "Submitted", last_modified_time=NOW)
    assert decided(tracked, earlier) == Outdated()


def test_order_of_statuses_decides_between_equal_times() -> None:
    """Bedrock's times have a precision of one second: a job can change twice within one."""
    tracked = TrackedJob(ARN, sequence=2, status="Scheduled", last_modified_time=NOW)
    forward = JobObservation(ARN, "InProgress", last_modified_time=NOW)
    back = JobObservation(ARN, "Validating", last_modified_time=NOW)
    assert isinstance(decided(tracked, forward), Transition)
    assert decided(tracked, back) == Outdated()


def test_event_id_is_unique_per_fact_and_stable() -> None:
    """Published ids must never change."""
    assert end_id(ARN) == "d663c803-4dfd-5630-9de9-2e8bdc5851e1"
    assert status_change_id(ARN, 4, "InProgress") == "25fb0f6c-e79e-5e8e-9f22-19dbe6db945b"
    assert uuid.UUID(end_id(ARN)).version == 5
    ids = {
        end_id(ARN),
        end_id(ARN.replace("abcdef", "fedcba")),
        # A sequence can restart with an expired history: the status is part of the name.
        status_change_id(ARN, 4, "InProgress"),
        status_change_id(ARN, 4, "Scheduled"),
        status_change_id(ARN, 5, "InProgress"),
        event_id(ARN, "Stalled#2026-11-24T20:30:16.123Z"),
        event_id(ARN, "Unreachable#2026-11-24T20:30:16.123Z"),
    }
    assert len(ids) == 7
