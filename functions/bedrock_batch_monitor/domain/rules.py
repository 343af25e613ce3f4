"""The settings of one deployment that decide what is recorded and which events are sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from bedrock_batch_monitor.domain.deadlines import DeadlineRule


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for recording and sending.

    Changed record counts of a job are written at most once per `progress_interval`, when they have
    changed enough. A job whose status and counts do not change for `stalled_after` is stalled
    (None: never). A job that cannot be read in `unreachable_after_polls` consecutive polls is
    unreachable. Each job is read with its own call at least once per `full_read`, even if list
    summaries show no change. `emit_at_risk` says whether to send an event for a job that is
    expected to end after its expiration time.

    A completed job has an outcome with errors if its share of failed records, from 0 to 1, exceeds
    `max_error_share`. `read_tags` says whether the tags of jobs are read. A job whose deadline
    nobody set has the one in its tag `deadline_tag`, else the first of `deadlines` that matches.
    """

    progress_interval: timedelta
    poll_interval: timedelta
    unreachable_after_polls: int
    stalled_after: timedelta | None = None
    emit_status_changes: bool = False
    record_messages: bool = True
    full_read: timedelta = timedelta(hours=24)
    emit_at_risk: bool = False
    max_error_share: float = 0.0
    read_tags: bool = False
    deadline_tag: str = "bbm:deadline"
    deadlines: tuple[DeadlineRule, ...] = ()
