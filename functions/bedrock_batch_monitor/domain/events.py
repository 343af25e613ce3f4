"""Where an event is shaped: one envelope for all, and no key for a value that is unknown."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import JobArn
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobRecord,
    StoredJob,
    TrackedJob,
    Usage,
)
from bedrock_batch_monitor.domain.locations import input_s3_uri, output_s3_uri
from bedrock_batch_monitor.domain.progress import Estimate, seconds_past
from bedrock_batch_monitor.domain.times import from_iso, seconds_between, to_iso
from bedrock_batch_monitor.domain.transitions import end_id, event_id, status_change_id

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
_AT_RISK: Final = "AtRisk"
_TASKS: Final = "Tasks"
_DETAIL_TYPES: Final = {
    _ENDED: contract.JOB_ENDED,
    _STATUS_CHANGED: contract.JOB_STATUS_CHANGED,
    _STALLED: contract.JOB_STALLED,
    _UNREACHABLE: contract.JOB_UNREACHABLE,
    _AT_RISK: contract.JOB_AT_RISK,
}
_EPISODES: Final = (_STALLED, _UNREACHABLE, _AT_RISK)


# What a mark can tell of the moment at which an episode was noticed, and how its text is read.
_PROCESSED: Final = "processed"
_TOTAL: Final = "total"
_RECORDS_PER_MINUTE: Final = "recordsPerMinute"
_ESTIMATED_END_TIME: Final = "estimatedEndTime"
_JOB_EXPIRATION_TIME: Final = "jobExpirationTime"
_SECONDS_PAST_EXPIRATION: Final = "secondsPastExpiration"


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        message = f"{text!r} is no whole number"
        raise ValueError(message)
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        message = f"{text!r} is no finite number"
        raise ValueError(message)
    return value


def _time(text: str) -> str:
    return to_iso(from_iso(text))


_FACTS: Final[Mapping[str, Callable[[str], Any]]] = {
    _PROCESSED: _whole,
    _TOTAL: _whole,
    _RECORDS_PER_MINUTE: _finite,
    _ESTIMATED_END_TIME: _time,
    _JOB_EXPIRATION_TIME: _time,
    _SECONDS_PAST_EXPIRATION: _whole,
}


def _facts(values: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in values.items() if value is not None)


@dataclass(frozen=True, slots=True)
class MonitorEvent:
    """One event, ready to be put on the bus.

    `pending_event` is the entry of the item's `pendingEvents` for this event. `all_pending` are all
    entries of that item, if they are known where the event is made, and empty otherwise.
    """

    job_arn: str
    pending_event: str
    detail_type: str
    detail: str
    time: datetime
    all_pending: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def has_copy(self) -> bool:
        """Whether the outbox table has a copy of it: an item that is put again loses the rest."""
        return self.detail_type not in {contract.JOB_ENDED, contract.JOB_STATUS_CHANGED}

    @property
    def size(self) -> int:
        """Bytes as EventBridge counts them: time, source, detail type, detail, resources."""
        texts = (contract.EVENT_SOURCE, self.detail_type, self.detail, self.job_arn)
        return _TIME_BYTES + sum(len(text.encode()) for text in texts)


def pending_for(
    entries: Iterable[HistoryEntry], *, emit_status_changes: bool, has_tasks: bool = False
) -> frozenset[str]:
    """The pending events of transitions, as marks `<kind>#<sequence>`.

    The end of a job that is recorded for the history alone (`backfilled`) has no event. With
    `has_tasks`, the Step Functions tasks that wait for the end are still to be called back.
    """
    pending_events = set()
    for entry in entries:
        pending_event = _pending_event_of(entry)
        is_end = pending_event.kind == _ENDED
        if is_end and entry.event_id is None:
            # Its status was not known as terminal when it was recorded: a later entry is the end.
            continue
        if (emit_status_changes or is_end) and not entry.backfilled:
            pending_events.add(str(pending_event))
        if is_end and has_tasks:
            pending_events.add(str(pending_callbacks(entry.sequence)))
    return frozenset(pending_events)


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """A pending event, as the job's item names it: `Ended#5`, `Unreachable#4#<since>#<seen at>`.

    `sequence` is the number of transitions recorded when it became due. An episode, stalled or
    unreachable or at risk, also has the time at which it began and the time at which it was
    noticed. `facts` are what the event says about that moment, as `<name>=<value>`: the item
    goes on, and every delivery of the event is to say the same.
    `Tasks#5` stands for no event but for the callbacks of the Step Functions tasks that wait for
    the end with this sequence.
    """

    kind: str
    sequence: int
    since: datetime | None = None
    seen_at: datetime | None = None
    facts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> PendingEvent:
        """Read a mark; raises ValueError for a text that the monitor did not write."""
        kind, *parts = text.split("#")
        try:
            if kind in _EPISODES:
                sequence, since, seen_at, *facts = parts
                pending_event = cls(
                    kind, int(sequence), from_iso(since), from_iso(seen_at), tuple(facts)
                )
                pending_event.told()
                return pending_event
            (sequence,) = parts
            if (kind in _DETAIL_TYPES or kind == _TASKS) and sequence.isdecimal():
                return cls(kind, int(sequence))
        except ValueError:
            pass
        message = f"{text!r} is no mark of an event, such as 'Ended#5'"
        raise ValueError(message)

    @property
    def is_episode(self) -> bool:
        """Whether it stands for an episode and not for a transition."""
        return self.kind in _EPISODES

    @property
    def is_tasks(self) -> bool:
        """Whether it stands for the callbacks of tasks, which are no event."""
        return self.kind == _TASKS

    def told(self) -> dict[str, Any]:
        """The facts as an event tells them; raises ValueError for one that is none."""
        facts = {}
        for fact in self.facts:
            name, _, value = fact.partition("=")
            if name not in _FACTS:
                message = f"{fact!r} is no fact of an episode"
                raise ValueError(message)
            facts[name] = _FACTS[name](value)
        return facts

    @property
    def name(self) -> str:
        """What tells the mark from the job's others."""
        times = (to_iso(time) for time in (self.since, self.seen_at) if time is not None)
        return "#".join((self.kind, str(self.sequence), *times))

    def __str__(self) -> str:
        """The mark as the item has it."""
        return "#".join((self.name, *self.facts))


def _pending_event_of(entry: HistoryEntry) -> PendingEvent:
    return PendingEvent(
        _ENDED if statuses.is_terminal(entry.status) else _STATUS_CHANGED, entry.sequence
    )


def pending_stalled(job: TrackedJob, *, since: datetime, now: datetime) -> PendingEvent:
    """The pending event of a job that stalled, with its last progress."""
    facts = {
        _PROCESSED: job.counts.processed,
        _TOTAL: job.counts.total,
        _RECORDS_PER_MINUTE: job.records_per_minute,
    }
    return PendingEvent(_STALLED, job.sequence, since, now, _facts(facts))


def pending_at_risk(
    sequence: int, estimate: Estimate, expiration: datetime | None, *, now: datetime
) -> PendingEvent:
    """The pending event of a job whose estimated end is past its expiration for the first time."""
    facts = {
        _RECORDS_PER_MINUTE: estimate.records_per_minute,
        _ESTIMATED_END_TIME: _iso(estimate.ends_at),
        _JOB_EXPIRATION_TIME: _iso(expiration),
        _SECONDS_PAST_EXPIRATION: seconds_past(estimate.ends_at, expiration),
    }
    return PendingEvent(_AT_RISK, sequence, now, now, _facts(facts))


def pending_unreachable(sequence: int, *, now: datetime) -> PendingEvent:
    """The pending event of a job that becomes unreachable."""
    return PendingEvent(_UNREACHABLE, sequence, now, now)


def pending_callbacks(sequence: int) -> PendingEvent:
    """The mark of a job that has ended while Step Functions tasks wait for it."""
    return PendingEvent(_TASKS, sequence)


def status_event(
    job: JobRecord,
    entry: HistoryEntry,
    *,
    all_pending: frozenset[str] = frozenset(),
    with_message: bool = True,
) -> MonitorEvent:
    """The event for one recorded transition: `... Job Ended` or `... Job Status Changed`.

    Without `with_message` the event has no `message`, whatever is recorded.
    """
    return _event(
        entry.job_arn,
        _pending_event_of(entry),
        event_id=(
            end_id(entry.job_arn)
            if statuses.is_terminal(entry.status)
            else status_change_id(entry.job_arn, entry.sequence, entry.status)
        ),
        observed_by=entry.observed_by,
        observed_at=entry.observed_at,
        data=_data(job, entry, with_message=with_message),
        all_pending=all_pending,
    )


def episode_event(
    job: StoredJob, pending_event: PendingEvent, *, with_message: bool = True
) -> MonitorEvent:
    """The event for an episode: `... Job Stalled`, `... Job Unreachable` or `... Job At Risk`.

    Raises ValueError for a mark of a transition.
    """
    if pending_event.since is None or pending_event.seen_at is None:
        message = f"{pending_event} is not the mark of an episode"
        raise ValueError(message)
    arn = JobArn.parse(job.job_arn)
    known = (
        {} if job.record is None else _data(job.record, job.record.last, with_message=with_message)
    )
    data = {"jobArn": job.job_arn, "account": arn.account, "region": arn.region} | known
    data |= _of_episode(
        job, pending_event, since=pending_event.since, seen_at=pending_event.seen_at
    )
    return _event(
        job.job_arn,
        pending_event,
        event_id=event_id(job.job_arn, f"{pending_event.kind}#{to_iso(pending_event.since)}"),
        observed_by="poll",
        observed_at=pending_event.seen_at,
        data=data,
        all_pending=job.pending_events,
    )


def _of_episode(
    job: StoredJob, pending_event: PendingEvent, *, since: datetime, seen_at: datetime
) -> dict[str, Any]:
    """What an episode's event says in addition to what is known of the job."""
    if pending_event.kind == _STALLED:
        return {
            "stalledSince": to_iso(since),
            "stalledSeconds": seconds_between(since, seen_at),
            "lastProgress": {"at": to_iso(since)} | pending_event.told(),
        }
    if pending_event.kind == _AT_RISK:
        return {"atRiskSince": to_iso(since)} | pending_event.told()
    error = job.last_error
    why = {} if error is None else {"error": {"code": error.code, "message": error.message}}
    return {"unreachableSince": to_iso(since)} | why


def _event(  # noqa: PLR0913 - the parts of the envelope, all named
    job_arn: str,
    pending_event: PendingEvent,
    *,
    event_id: str,
    observed_by: str,
    observed_at: datetime,
    data: Mapping[str, Any],
    all_pending: frozenset[str],
) -> MonitorEvent:
    detail = {
        "metadata": {
            "schemaVersion": SCHEMA_VERSION,
            "eventId": event_id,
            "sequence": pending_event.sequence,
            "observedBy": observed_by,
            "observedAt": to_iso(observed_at),
        },
        "data": data,
    }
    return MonitorEvent(
        job_arn=job_arn,
        pending_event=str(pending_event),
        detail_type=_DETAIL_TYPES[pending_event.kind],
        detail=json.dumps(detail, ensure_ascii=False, separators=(",", ":")),
        time=observed_at,
        all_pending=all_pending,
    )


def _data(job: JobRecord, entry: HistoryEntry, *, with_message: bool) -> dict[str, Any]:
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
            "message": entry.message if with_message else None,
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
            "inputS3Uri": input_s3_uri(observation.input_data_config),
            "outputS3Uri": output_s3_uri(observation.output_data_config, arn.job_id),
            "modelInvocationType": observation.model_invocation_type,
        }
    )


def durations(job: JobRecord) -> dict[str, int]:
    """What is known of a job's times by its last transition, under the names of the event."""
    return _durations(job, job.last, ended=statuses.is_terminal(job.last.status))


def _durations(job: JobRecord, entry: HistoryEntry, *, ended: bool) -> dict[str, int]:
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
