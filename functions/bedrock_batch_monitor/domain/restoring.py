"""The decision for a job whose item lacks entries of its history: it was put again, or restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bedrock_batch_monitor.domain.jobs import (
    JobObservation,
    JobRecord,
    normalized,
    tracked_from_history,
    with_status_of,
)
from bedrock_batch_monitor.domain.rules import Rules
from bedrock_batch_monitor.domain.transitions import Outdated, Transition, decide


def decide_from_history(
    records: Sequence[JobRecord],
    answer: JobObservation | None,
    *,
    now: datetime,
    observed_by: str,
    rules: Rules,
) -> Transition | JobRecord:
    """The transition that follows the history, or the record to restore if there is none.

    `records` is the history, oldest first and not empty. `answer` is Bedrock's answer, None if
    Bedrock does not return the job.
    """
    last = records[-1]
    entry = last.last
    recorded = tracked_from_history(entry.job_arn, tuple(record.last for record in records))
    if recorded.has_ended:
        return last
    if answer is None and recorded.has_terminal_status:
        # Recorded by a version that did not know the status as terminal: this is the end.
        answer = last.observation
    if answer is None:
        return replace(last, first_in_progress_at=recorded.first_in_progress_at)
    observation = normalized(recorded, answer, now, with_message=rules.record_messages)
    decision = decide(recorded, observation, now=now, observed_by=observed_by, rules=rules)
    if isinstance(decision, Transition):
        return decision
    if isinstance(decision, Outdated):
        observation = last.observation
    return JobRecord(with_status_of(observation, entry), entry, recorded.first_in_progress_at)
