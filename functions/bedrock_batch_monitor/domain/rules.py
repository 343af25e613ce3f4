"""The rules of one deployment by which observations are judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say about recording and emitting.

    Record counts that moved are written at most once per `progress_interval` and job. A job whose
    status and counts stand still for `stalled_after` has stalled (None: never). A job that cannot
    be read in `unreachable_after_polls` polls in a row is unreachable. Whatever the lists say, each
    job is got at least once in `full_read`. `emit_at_risk` says whether to tell of
    a job that is expected to end past its expiration.
    """

    progress_interval: timedelta
    poll_interval: timedelta
    unreachable_after_polls: int
    stalled_after: timedelta | None = None
    emit_status_changes: bool = False
    record_messages: bool = True
    full_read: timedelta = timedelta(hours=24)
    emit_at_risk: bool = False
