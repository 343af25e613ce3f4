"""Where an event is shaped: one envelope for all, and no key for a value that is unknown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bedrock_batch_monitor.domain import names, statuses
from bedrock_batch_monitor.domain.arns import JobArn
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    JobRecord,
    StoredJob,
    Usage,
)
from bedrock_batch_monitor.domain.times import from_iso, seconds_between, to_iso
from bedrock_batch_monitor.domain.transitions import event_id, named_id

SCHEMA_VERSION: Final = "1"

# PutEvents takes ten entries a call. The size limit of a call has been 256 KB for years; newer
# texts say 1 MB, and the smaller one is safe under both.
ENTRIES_PER_CALL: Final = 10
BYTES_PER_CALL: Final = 256 * 1024
_TIME_BYTES: Final = 14  # what EventBridge counts for an entry's Time

_ENDED: Final = "Ended"
_STATUS_CHANGED: Final = "StatusChanged"
_STALLED: Final = "Stalled"
_UNREACHABLE: Final = "Unreachable"
_DETAIL_TYPES: Final = {
    _ENDED: names.JOB_ENDED,
    _STATUS_CHANGED: names.JOB_STATUS_CHANGED,
    _STALLED: names.JOB_STALLED,
    _UNREACHABLE: names.JOB_UNREACHABLE,
}
_EPISODES: Final = (_STALLED, _UNREACHABLE)


@dataclass(frozen=True, slots=True)
class MonitorEvent:
    """One event, ready to be put on the bus.

    `mark` is the name under which the job's item says that this event is still to be sent.
    """

    job_arn: str
    mark: str
    detail_type: str
    detail: str
    time: datetime

    @property
    def size(self) -> int:
        """Bytes as EventBridge counts them: time, source, detail type, detail, resources."""
        texts = (names.EVENT_SOURCE, self.detail_type, self.detail, self.job_arn)
        return _TIME_BYTES + sum(len(text.encode()) for text in texts)


def marks_for(entry: HistoryEntry, *, emit_status_changes: bool) -> frozenset[str]:
    """The events that a transition owes, as marks `<kind>#<sequence>`."""
    mark = _mark_of(entry)
    return frozenset({str(mark)} if emit_status_changes or mark.kind == _ENDED else ())


@dataclass(frozen=True, slots=True)
class Mark:
    """An event that a job owes, as its item names it: `Ended#5`, `Stalled#4#<since>#<seen at>`.

    `sequence` is the number of transitions recorded when it became due. An episode, stalled or
    unreachable, has the time at which it began and the one at which it was noticed besides.
    """

    kind: str
    sequence: int
    since: datetime | None = None
    seen_at: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> Mark:
        """Read a mark; raises ValueError for a text that the monitor did not write."""
        kind, *parts = text.split("#")
        try:
            if kind in _EPISODES:
                sequence, since, seen_at = parts
                return cls(kind, int(sequence), from_iso(since), from_iso(seen_at))
            (sequence,) = parts
            if kind in _DETAIL_TYPES and sequence.isdecimal():
                return cls(kind, int(sequence))
        except ValueError:
            pass
        message = f"{text!r} is no mark of an event, such as 'Ended#5'"
        raise ValueError(message)

    @property
    def is_episode(self) -> bool:
        """Whether it stands for an episode and not for a transition."""
        return self.kind in _EPISODES

    def __str__(self) -> str:
        """The mark as the item has it."""
        times = (to_iso(time) for time in (self.since, self.seen_at) if time is not None)
        return "#".join((self.kind, str(self.sequence), *times))


def _mark_of(entry: HistoryEntry) -> Mark:
    return Mark(_ENDED if statuses.is_terminal(entry.status) else _STATUS_CHANGED, entry.sequence)


def stalled_mark(sequence: int, *, since: datetime, now: datetime) -> Mark:
    """What a job owes when it is found to have stalled."""
    return Mark(_STALLED, sequence, since, now)


def unreachable_mark(sequence: int, *, now: datetime) -> Mark:
    """What a job owes when it becomes unreachable."""
    return Mark(_UNREACHABLE, sequence, now, now)


def status_event(job: JobRecord, entry: HistoryEntry) -> MonitorEvent:
    """The event for one recorded transition: `... Job Ended` or `... Job Status Changed`."""
    return _event(
        entry.job_arn,
        _mark_of(entry),
        event_id=entry.event_id or event_id(entry.job_arn, entry.sequence),
        observed_by=entry.observed_by,
        observed_at=entry.observed_at,
        data=_data(job, entry),
    )


def episode_event(job: StoredJob, mark: Mark) -> MonitorEvent:
    """The event for an episode: `... Job Stalled` or `... Job Unreachable`.

    Raises ValueError for a mark of a transition.
    """
    if mark.since is None or mark.seen_at is None:
        message = f"{mark} is not the mark of an episode"
        raise ValueError(message)
    stalled = mark.kind == _STALLED
    arn = JobArn.parse(job.job_arn)
    known = {} if job.record is None else _data(job.record, job.record.last)
    error = job.last_error
    data = {"jobArn": job.job_arn, "account": arn.account, "region": arn.region} | known
    data |= {
        "stalledSince" if stalled else "unreachableSince": to_iso(mark.since),
    }
    if stalled:
        data["stalledSeconds"] = seconds_between(mark.since, mark.seen_at)
    elif error is not None:
        data["error"] = {"code": error.code, "message": error.message}
    return _event(
        job.job_arn,
        mark,
        event_id=named_id(job.job_arn, str(mark)),
        observed_by="poll",
        observed_at=mark.seen_at,
        data=data,
    )


def _event(  # noqa: PLR0913 - the parts of the envelope, all named
    job_arn: str,
    mark: Mark,
    *,
    event_id: str,
    observed_by: str,
    observed_at: datetime,
    data: Mapping[str, Any],
) -> MonitorEvent:
    detail = {
        "metadata": {
            "schemaVersion": SCHEMA_VERSION,
            "eventId": event_id,
            "sequence": mark.sequence,
            "observedBy": observed_by,
            "observedAt": to_iso(observed_at),
        },
        "data": data,
    }
    return MonitorEvent(
        job_arn=job_arn,
        mark=str(mark),
        detail_type=_DETAIL_TYPES[mark.kind],
        detail=json.dumps(detail, ensure_ascii=False, separators=(",", ":")),
        time=observed_at,
    )


def _data(job: JobRecord, entry: HistoryEntry) -> dict[str, Any]:
    observation = job.observation
    arn = JobArn.parse(entry.job_arn)
    ended = statuses.is_terminal(entry.status)
    return _known(
        {
            "jobArn": entry.job_arn,
            "jobName": entry.job_name,
            "modelId": entry.model_id,
            "account": arn.account,
            "region": arn.region,
            "status": entry.status,
            "previousStatus": entry.previous_status,
            "message": entry.message,
            "submitTime": _iso(observation.submit_time),
            "endTime": _iso(observation.end_time) if ended else None,
            "changedAt": _iso(entry.changed_at),
            "durations": _durations(job, entry, ended=ended),
            "records": _known(
                {
                    "total": entry.counts.total,
                    "processed": entry.counts.processed,
                    "success": entry.counts.success,
                    "error": entry.counts.error,
                }
            ),
            "tokens": _tokens(entry.usage),
            "estimatedCostUsd": _cost(entry.usage),
            "inputS3Uri": _input_s3_uri(observation),
            "outputS3Uri": _output_s3_uri(observation, arn.job_id),
            "modelInvocationType": observation.model_invocation_type,
        }
    )


def _durations(job: JobRecord, entry: HistoryEntry, *, ended: bool) -> dict[str, Any]:
    observation = job.observation
    queued = seconds_between(observation.submit_time, _running_since(job, entry, ended=ended))
    total = seconds_between(observation.submit_time, observation.end_time) if ended else None
    # An end before the first sight of InProgress is a fault of the clocks, not a negative duration.
    running = total - queued if total is not None and queued is not None else None
    return _known(
        {
            "queuedSeconds": queued,
            "runningSeconds": running if running is not None and running >= 0 else None,
            "totalSeconds": total,
        }
    )


def _tokens(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    return _known({"input": usage.input_tokens, "output": usage.output_tokens})


def _cost(usage: Usage | None) -> float | None:
    if usage is None or usage.estimated_cost_usd is None:
        return None
    return float(usage.estimated_cost_usd)


def _running_since(job: JobRecord, entry: HistoryEntry, *, ended: bool) -> datetime | None:
    """When the job was first seen to run, as far as that was known at this transition.

    An event that had to wait tells the same as its first copy, though more is known by now.
    """
    since = job.first_in_progress_at
    if ended or since is None:
        return since
    return since if entry.changed_at is not None and since <= entry.changed_at else None


def _input_s3_uri(observation: JobObservation) -> str | None:
    return _text_at(observation.input_data_config, "s3InputDataConfig", "s3Uri")


def _output_s3_uri(observation: JobObservation, job_id: str) -> str | None:
    """Where Bedrock writes: `<s3Uri>/<job id>/`, whether or not the prefix ends in a slash."""
    prefix = _text_at(observation.output_data_config, "s3OutputDataConfig", "s3Uri")
    return f"{prefix.rstrip('/')}/{job_id}/" if prefix else None


def _text_at(config: Mapping[str, Any] | None, *path: str) -> str | None:
    value: Any = config
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) and value else None


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else to_iso(moment)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != {}}


def calls(events: Iterable[MonitorEvent]) -> Iterator[tuple[MonitorEvent, ...]]:
    """Group events into PutEvents calls: ten entries and 256 KB at most, in the order given."""
    group: list[MonitorEvent] = []
    size = 0
    for event in events:
        if group and (len(group) == ENTRIES_PER_CALL or size + event.size > BYTES_PER_CALL):
            yield tuple(group)
            group, size = [], 0
        group.append(event)
        size += event.size
    if group:
        yield tuple(group)
