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
    Stalled,
    Transition,
    Unchanged,
    decide,
    event_id,
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
def test_every_pair_of_statuses(known: str | None, observed: str) -> None:
    """A later observation with another status is a transition, except that an ending is final."""
    tracked = TrackedJob(
        job_arn=ARN,
        sequence=0 if known is None else 3,
        status=known,
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
        assert decision.is_first_sight == (known is None)
        assert decision.is_terminal == (observed in statuses.TERMINAL)
        assert decision.entry.seconds_in_previous_status == (None if known is None else 3600)


@given(tracked_jobs, observations, times, all_rules)
def test_a_decision_is_always_one_of_five(
    tracked: TrackedJob, observation: JobObservation, now: datetime, rules: Rules
) -> None:
    """No input, however odd, makes the decision fail, and a transition is complete."""
    decision = decide(tracked, observation, now=now, observed_by="event", rules=rules)
    assert isinstance(decision, Unchanged | Outdated | Refresh | Stalled | Transition)
    if isinstance(decision, Transition):
        entry = decision.entry
        assert entry.sequence == tracked.sequence + 1
        assert entry.status == observation.status != entry.previous_status == tracked.status
        assert (entry.observed_at, entry.observed_by) == (now, "event")
        assert (entry.event_id is not None) == statuses.is_terminal(entry.status)
        assert entry.message == observation.message
        assert entry.counts == observation.counts
        assert entry.changed_at == observation.last_modified_time
        assert entry.seconds_in_previous_status is None or entry.seconds_in_previous_status >= 0


@given(seen_jobs, observations)
def test_an_ending_is_final(tracked: TrackedJob, observation: JobObservation) -> None:
    """Once a terminal status is recorded, no observation moves the job again."""
    ended = replace(tracked, status="PartiallyCompleted")
    assert isinstance(decided(ended, observation), Unchanged | Outdated)


@given(
    tracked_jobs.filter(lambda job: not job.has_ended),
    observations,
    st.sampled_from(statuses.TERMINAL),
)
def test_an_observed_ending_is_always_recorded(
    tracked: TrackedJob, observation: JobObservation, ending: str
) -> None:
    """An ending is believed whatever its time says, so that clocks cannot lose it."""
    decision = decided(tracked, replace(observation, status=ending))
    assert isinstance(decision, Transition)
    assert decision.is_terminal


@given(new_jobs, observations)
def test_the_first_sight_is_always_recorded(
    tracked: TrackedJob, observation: JobObservation
) -> None:
    """A job of which nothing is known gets entry 1, without a previous status."""
    decision = decided(tracked, observation)
    assert isinstance(decision, Transition)
    assert decision.is_first_sight
    assert decision.entry.previous_status is None
    assert decision.entry.seconds_in_previous_status is None


@given(
    seen_jobs,
    observations,
    times,
    st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=9)),
)
def test_an_older_observation_changes_nothing(
    tracked: TrackedJob, observation: JobObservation, known_at: datetime, age: timedelta
) -> None:
    """A non-terminal observation from before what is known is ignored."""
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
def test_without_times_the_order_of_statuses_decides(
    known: str, observed: str, expected: type
) -> None:
    """Where Bedrock gives no lastModifiedTime, a step back in the lifecycle counts as older."""
    tracked = TrackedJob(job_arn=ARN, sequence=2, status=known)
    assert isinstance(decided(tracked, JobObservation(job_arn=ARN, status=observed)), expected)


@given(seen_jobs, any_status, optional_times)
def test_repeating_an_observation_changes_nothing(
    tracked: TrackedJob, status: str, changed_at: datetime | None
) -> None:
    """The state after a transition takes the same observation as no news."""
    observation = JobObservation(
        job_arn=ARN, status=status, last_modified_time=changed_at, counts=RecordCounts(10, 5, 5, 0)
    )
    decision = decided(replace(tracked, last_error=None, unreadable_polls=0), observation)
    if isinstance(decision, Transition):
        assert decided(tracked.after(decision.entry), observation) == Unchanged()


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
    """Counts that moved wait for the interval; counts that did not move are never written."""
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


def test_a_job_that_can_be_read_again_is_refreshed() -> None:
    """A noted error goes away with the first good answer, though nothing else changed."""
    tracked = TrackedJob(
        job_arn=ARN, sequence=1, status="InProgress", last_error=JobError("Denied", "no")
    )
    assert decided(tracked, JobObservation(job_arn=ARN, status="InProgress")) == Refresh(
        counts_moved=False
    )


@given(st.lists(observations, min_size=1, max_size=12))
def test_any_run_of_observations_leaves_a_whole_history(seen: list[JobObservation]) -> None:
    """Sequences are 1..n, each entry follows its predecessor, one ending at most and only last."""
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


def test_event_ids_are_names() -> None:
    """The id depends on job and sequence alone; this one must never change."""
    assert event_id(ARN, 5) == "c85ffda8-76f8-5ab4-a905-f392e041ae0d"
    assert uuid.UUID(event_id(ARN, 5)).version == 5
    assert event_id(ARN, 5) != event_id(ARN, 6)
    assert event_id(ARN, 5) != event_id(ARN.replace("abcdef", "fedcba"), 5)
