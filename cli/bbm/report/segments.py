"""When a job had which status: the input of the report's timeline."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.presentation.attributes import Item, count_of, text_of, time_of
from bedrock_batch_monitor.presentation.job_view import STATUS_CHARACTERS, Job


class Transition(NamedTuple):
    """One recorded transition; `at` is Bedrock's time, or the time of observation without one."""

    sequence: int
    status: str
    previous: str | None
    at: datetime


class Segment(NamedTuple):
    """The time span in which a job had a status."""

    status: str
    start: datetime
    end: datetime


def transition_of(item: Item) -> Transition | None:
    """Read an item of the history table or its index; None without a status, sequence or time."""
    status = text_of(item, "status", STATUS_CHARACTERS)
    at = time_of(item, "changedAt") or time_of(item, "observedAt")
    sequence = count_of(item, "sequence")
    if status is None or at is None or sequence is None:
        return None
    return Transition(sequence, status, text_of(item, "previousStatus", STATUS_CHARACTERS), at)


def segments(
    job: Job, transitions: Iterable[Transition], since: datetime, until: datetime
) -> tuple[Segment, ...]:
    """The known segments of a job between two times, in order.

    `transitions` are those recorded from `since` on. Before the first of them the job had its
    `previous` status; a job without transitions kept its status. A terminal status has no length.
    """
    ordered = sorted(transitions)
    found = []
    if not ordered:
        if job.status is not None and not job.has_ended:
            found.append(Segment(job.status, job.changed or job.submitted or since, until))
    else:
        found += _before(job, ordered[0], since)
        ends = [after.at for after in ordered[1:]]
        last = ordered[-1]
        ends.append(last.at if last.status in statuses.TERMINAL else until)
        found += [
            Segment(transition.status, transition.at, max(end, transition.at))
            for transition, end in zip(ordered, ends, strict=True)
        ]
    return tuple(
        Segment(segment.status, max(segment.start, since), min(segment.end, until))
        for segment in found
        if segment.start <= until and segment.end >= since
    )


def _before(job: Job, first: Transition, since: datetime) -> list[Segment]:
    """What is known about a job before its first transition in the period.

    A short job can end before it is observed for the first time. Its item has the times of its
    submission and, if it was observed, of its first `InProgress`.
    """
    if first.previous is not None:
        begin = since if job.submitted is None else min(max(since, job.submitted), first.at)
        return [Segment(first.previous, begin, first.at)]
    if job.submitted is None or job.submitted >= first.at:
        return []
    if job.began is None or not job.submitted <= job.began < first.at:
        return [Segment(statuses.SUBMITTED, job.submitted, first.at)]
    return [
        Segment(statuses.SUBMITTED, job.submitted, job.began),
        Segment(statuses.IN_PROGRESS, job.began, first.at),
    ]
