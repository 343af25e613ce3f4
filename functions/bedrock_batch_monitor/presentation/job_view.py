"""A job as a page shows it, read from an item that anybody may have written.

Nothing here raises for what an item holds: an attribute of another type or form counts as absent,
a number that is negative or absurd does as well, and a text is cleaned and cut. So the size of what
is rendered depends on the number of jobs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn
from bedrock_batch_monitor.domain.locations import output_s3_uri
from bedrock_batch_monitor.domain.plain_text import IMPLAUSIBLE, clean
from bedrock_batch_monitor.domain.times import from_iso, seconds_between

Item = Mapping[str, Any]

# What is kept of a text at most: Bedrock's own limits, with room where it has none.
NAME_CHARACTERS: Final = 256
STATUS_CHARACTERS: Final = 40
MESSAGE_CHARACTERS: Final = 2048
# A bucket's name, the longest key, and what is around them. A longer URI leads nowhere.
_URI_CHARACTERS: Final = 1100
# Room for every form of a time that the standard library reads.
_TIME_CHARACTERS: Final = 64


class Transition(NamedTuple):
    """One recorded change of status; `at` is Bedrock's time, or else when it was seen."""

    sequence: int
    status: str
    previous: str | None
    at: datetime


class Segment(NamedTuple):
    """A job had this status from start to end."""

    status: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """What a page tells of one job; None is unknown. Durations are in seconds."""

    arn: str
    job_id: str
    name: str | None = None
    model: str | None = None
    status: str | None = None
    message: str | None = None
    error: str | None = None
    submitted: datetime | None = None
    began: datetime | None = None
    changed: datetime | None = None
    ended: datetime | None = None
    expires: datetime | None = None
    estimated_end: datetime | None = None
    records_per_minute: float | None = None
    total: int | None = None
    processed: int | None = None
    failed: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    dollars: float | None = None
    output_uri: str | None = None
    is_tracked: bool = False
    is_stalled: bool = False
    is_at_risk: bool = False
    is_unreachable: bool = False

    @property
    def label(self) -> str:
        """What people call the job."""
        return self.name or self.job_id

    @property
    def has_ended(self) -> bool:
        """Whether its status is final."""
        return self.status in statuses.TERMINAL

    @property
    def is_active(self) -> bool:
        """Whether the monitor follows it."""
        return self.is_tracked and not self.has_ended

    @property
    def progress(self) -> float | None:
        """The share of its records that are processed, from 0 to 1."""
        if self.total is None or self.processed is None or self.total <= 0:
            return None
        return min(1.0, self.processed / self.total)

    @property
    def queued_seconds(self) -> int | None:
        """From the submission until it was first seen to run."""
        return seconds_between(self.submitted, self.began)

    @property
    def running_seconds(self) -> int | None:
        """From when it was first seen to run until its end."""
        return seconds_between(self.began, self.ended)

    @property
    def total_seconds(self) -> int | None:
        """From the submission until its end."""
        return seconds_between(self.submitted, self.ended)

    def troubles(self, now: datetime) -> tuple[str, ...]:
        """What a person should look at while it has not ended, the worst first."""
        if self.has_ended:
            return ()
        found = []
        if self.is_unreachable:
            found.append("unreachable")
        elif self.error is not None:
            found.append("not readable")
        if self.is_stalled:
            found.append("stalled")
        if self.expires is not None and now >= self.expires:
            found.append("past its time limit")
        elif self.is_late:
            found.append("at risk")
        return tuple(found)

    @property
    def is_late(self) -> bool:
        """Whether it will run into its time limit before it is done, as far as can be told."""
        return self.is_at_risk or (
            self.expires is not None
            and self.estimated_end is not None
            and self.estimated_end > self.expires
        )


def job_of(item: Item) -> Job:
    """Read an item of the jobs table, as plain values under the table's names."""
    arn = _arn(item)
    job_id = _job_id(arn)
    status = _text(item, "status", STATUS_CHARACTERS)
    changed = _time(item, "changedAt")
    error = item.get("lastError")
    tokens = item.get("tokens")
    # Bedrock reports 0 for every count until it has validated the job: they are unknown then.
    counts = {} if _whole(item, "totalRecordCount") == 0 else item
    return Job(
        arn=arn,
        job_id=job_id,
        name=_text(item, "jobName", NAME_CHARACTERS),
        model=_text(item, "modelId", NAME_CHARACTERS),
        status=status,
        message=_text(item, "message", MESSAGE_CHARACTERS),
        error=_error(error) if isinstance(error, Mapping) else None,
        submitted=_time(item, "submitTime"),
        began=_time(item, "firstInProgressAt"),
        changed=changed,
        ended=(_time(item, "endTime") or changed) if status in statuses.TERMINAL else None,
        expires=_time(item, "jobExpirationTime"),
        estimated_end=_time(item, "estimatedEndTime"),
        records_per_minute=_number(item, "recordsPerMinute"),
        total=_whole(counts, "totalRecordCount"),
        processed=_whole(counts, "processedRecordCount"),
        failed=_whole(counts, "errorRecordCount"),
        input_tokens=_whole(tokens, "input") if isinstance(tokens, Mapping) else None,
        output_tokens=_whole(tokens, "output") if isinstance(tokens, Mapping) else None,
        dollars=_number(item, "estimatedCostUsd"),
        output_uri=_uri(output_s3_uri(_map(item, "outputDataConfig"), job_id)),
        is_tracked=item.get(contract.TRACKING) == contract.TRACKING_ACTIVE,
        is_stalled="stalledSince" in item,
        is_at_risk="atRiskSince" in item,
        is_unreachable="unreachableSince" in item,
    )


def transition_of(item: Item) -> Transition | None:
    """Read a history item, or an entry of its index; None where it does not tell what and when."""
    status = _text(item, "status", STATUS_CHARACTERS)
    at = _time(item, "changedAt") or _time(item, "observedAt")
    sequence = _whole(item, "sequence")
    if status is None or at is None or sequence is None:
        return None
    return Transition(sequence, status, _text(item, "previousStatus", STATUS_CHARACTERS), at)


def segments(
    job: Job, transitions: Iterable[Transition], since: datetime, until: datetime
) -> tuple[Segment, ...]:
    """Which status a job had when, as far as it is known, cut to the span of the page.

    `transitions` are those from `since` on; what was before the first of them is its previous
    status. A job without any had one status all the while. An ending has no length.
    """
    ordered = sorted(transitions)
    found = []
    if not ordered:
        if job.status is not None and not job.has_ended:
            found.append(Segment(job.status, job.changed or job.submitted or since, until))
    else:
        first = ordered[0]
        if first.previous is not None:
            begin = since if job.submitted is None else min(max(since, job.submitted), first.at)
            found.append(Segment(first.previous, begin, first.at))
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


def _job_id(arn: str) -> str:
    try:
        return JobArn.parse(arn).job_id
    except InvalidJobArnError:
        return clean(arn.rpartition(":")[2], NAME_CHARACTERS) or "unknown"


def _error(error: Mapping[str, Any]) -> str:
    parts = (_text(error, "code", NAME_CHARACTERS), _text(error, "message", MESSAGE_CHARACTERS))
    return ": ".join(part for part in parts if part is not None) or "unknown error"


def _arn(item: Item) -> str:
    """The key of the item, which stays as it is: items are looked up by it."""
    value = item.get("jobArn")
    return value if isinstance(value, str) else ""


def _uri(uri: str | None) -> str | None:
    return uri if uri is not None and len(uri) <= _URI_CHARACTERS else None


def _text(item: Item, name: str, characters: int) -> str | None:
    value = item.get(name)
    return clean(value, characters).strip() or None if isinstance(value, str) else None


def _map(item: Item, name: str) -> Mapping[str, Any] | None:
    value = item.get(name)
    return value if isinstance(value, Mapping) else None


def _number(item: Item, name: str) -> float | None:
    value = item.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    # Compared before it is converted: a whole number can be larger than any float.
    return float(value) if 0 <= value < IMPLAUSIBLE else None


def _whole(item: Item, name: str) -> int | None:
    value = _number(item, name)
    return None if value is None else int(value)


def _time(item: Item, name: str) -> datetime | None:
    value = item.get(name)
    try:
        return from_iso(value[:_TIME_CHARACTERS]) if isinstance(value, str) else None
    except ValueError:
        return None
