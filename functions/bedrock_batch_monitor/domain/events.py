"""Where an event is shaped: one envelope for all, and no key for a value that is unknown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import event_kinds, statuses
from bedrock_batch_monitor.domain.arns import JobArn, Scope
from bedrock_batch_monitor.domain.conditions import Finding, beginning
from bedrock_batch_monitor.domain.error_analysis import ErrorAnalysis
from bedrock_batch_monitor.domain.event_kinds import (
    ENDED,
    ERRORS_ANALYZED,
    SLOTS_AVAILABLE,
    STATUS_CHANGED,
    UNREACHABLE,
)
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobRecord,
    StoredJob,
    TrackedJob,
    Usage,
)
from bedrock_batch_monitor.domain.locations import input_s3_uri, output_s3_uri
from bedrock_batch_monitor.domain.outcomes import error_share
from bedrock_batch_monitor.domain.slots import PendingSlots
from bedrock_batch_monitor.domain.times import from_iso, seconds_between, to_iso
from bedrock_batch_monitor.domain.transitions import end_id, event_id, status_change_id

SCHEMA_VERSION: Final = "1"

# PutEvents takes ten entries a call. The size limit of a call has been 256 KB for years; newer
# texts say 1 MB, and the smaller one is safe under both.
ENTRIES_PER_CALL: Final = 10
BYTES_PER_CALL: Final = 256 * 1024
_TIME_BYTES: Final = 14  # what EventBridge counts for an entry's Time

# In place of the name of an event kind, for the callbacks of Step Functions tasks.
_TASKS: Final = "Tasks"


@dataclass(frozen=True, slots=True)
class MonitorEvent:
    """One event, ready to be put on the bus.

    `resource` is the ARN of the job that it is about, or of a model. `pending_event` is the entry
    of the item's `pendingEvents` for this event. `all_pending` are all entries of that item, if
    they are known where the event is made, and empty otherwise. An event about a model is pending
    in the item about slots of an account and Region, `slots_of`; None for an event about a job.
    """

    resource: str
    pending_event: str
    detail_type: str
    detail: str
    time: datetime
    all_pending: frozenset[str] = field(default=frozenset(), compare=False)
    slots_of: Scope | None = None

    @property
    def has_copy(self) -> bool:
        """Whether the outbox table has a copy of it, as the history does not have the event."""
        return self.slots_of is None and self.detail_type not in {
            ENDED.detail_type,
            STATUS_CHANGED.detail_type,
        }

    @property
    def size(self) -> int:
        """Bytes as EventBridge counts them: time, source, detail type, detail, resources."""
        texts = (contract.EVENT_SOURCE, self.detail_type, self.detail, self.resource)
        return _TIME_BYTES + sum(len(text.encode()) for text in texts)


def event_id_of(event: MonitorEvent) -> str:
    """The `eventId` by which subscribers discard duplicates."""
    return str(json.loads(event.detail)["metadata"]["eventId"])


def pending_for(
    entries: Iterable[HistoryEntry], *, emit_status_changes: bool, has_tasks: bool = False
) -> frozenset[str]:
    """The pending events of transitions, as the job's item names them.

    The end of a job that is recorded for the history alone (`backfilled`) has no event. With
    `has_tasks`, the Step Functions tasks that wait for the end are still to be called back.
    """
    pending_events = set()
    for entry in entries:
        pending_event = _pending_event_of(entry)
        is_end = pending_event.kind == ENDED.name
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
    """A pending event, as the job's item names it: `Ended#5`, `Unreachable#4#<since>#<detected>`.

    `kind` is the name of an event kind, `sequence` the number of transitions recorded when the
    event became due. The event of a condition also has the times at which the condition began and
    was detected, and `facts`: what the event says about that moment, as `<name>=<value>`. The item
    changes, and every delivery of the event says the same.
    `Tasks#5` is not an event: the Step Functions tasks that wait for the end with this sequence are
    to be called back.
    """

    kind: str
    sequence: int
    since: datetime | None = None
    detected_at: datetime | None = None
    facts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> PendingEvent:
        """Read a pending event; raises ValueError for a text that the monitor did not write."""
        name, *parts = text.split("#")
        kind = event_kinds.BY_NAME.get(name)
        try:
            if kind is not None and kind.since is not None:
                sequence, since, detected_at, *facts = parts
                pending_event = cls(
                    name, int(sequence), from_iso(since), from_iso(detected_at), tuple(facts)
                )
                pending_event.fact_values()
                return pending_event
            (sequence,) = parts
            if (kind is not None or name == _TASKS) and sequence.isdecimal():
                return cls(name, int(sequence))
        except ValueError:
            pass
        message = f"{text!r} is not a pending event, such as 'Ended#5'"
        raise ValueError(message)

    @property
    def is_condition(self) -> bool:
        """Whether it is the event of a condition and not of a transition."""
        return self.since is not None

    @property
    def is_tasks(self) -> bool:
        """Whether it is about the callbacks of tasks, which are not events."""
        return self.kind == _TASKS

    def fact_values(self) -> dict[str, Any]:
        """The facts as the event has them; raises ValueError for one that its kind does not have.

        A name with a dot is a field of an inner object.
        """
        fields = {field.name: field for field in event_kinds.BY_NAME[self.kind].fields}
        values: dict[str, Any] = {}
        for fact in self.facts:
            name, _, text = fact.partition("=")
            if name not in fields:
                message = f"{fact!r} is not a fact of {self.kind}"
                raise ValueError(message)
            outer, _, inner = name.rpartition(".")
            target = values.setdefault(outer, {}) if outer else values
            target[inner] = fields[name].type.parse(text)
        return values

    @property
    def name(self) -> str:
        """What distinguishes it from the job's other pending events."""
        times = (to_iso(time) for time in (self.since, self.detected_at) if time is not None)
        return "#".join((self.kind, str(self.sequence), *times))

    def __str__(self) -> str:
        """The text in the item."""
        return "#".join((self.name, *self.facts))


def _pending_event_of(entry: HistoryEntry) -> PendingEvent:
    kind = ENDED if statuses.is_terminal(entry.status) else STATUS_CHANGED
    return PendingEvent(kind.name, entry.sequence)


def pending_condition(finding: Finding, sequence: int, *, now: datetime) -> PendingEvent:
    """The pending event of a condition that begins."""
    facts = (f"{name}={value}" for name, value in finding.facts.items() if value is not None)
    return PendingEvent(finding.kind.name, sequence, finding.since, now, tuple(facts))


def pending_conditions(
    job: TrackedJob, findings: Iterable[Finding], sequence: int, *, now: datetime
) -> tuple[PendingEvent, ...]:
    """The pending events of the conditions that begin with these findings."""
    return tuple(
        pending_condition(finding, sequence, now=now) for finding in beginning(job, findings)
    )


def pending_unreachable(sequence: int, *, now: datetime) -> PendingEvent:
    """The pending event of a job that becomes unreachable."""
    return pending_condition(Finding(UNREACHABLE, now), sequence, now=now)


def pending_callbacks(sequence: int) -> PendingEvent:
    """The pending callbacks of a job that has ended while Step Functions tasks wait for it."""
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


def condition_event(
    job: StoredJob, pending_event: PendingEvent, *, with_message: bool = True
) -> MonitorEvent:
    """The event of a condition, such as `... Job Stalled`.

    Raises ValueError for a pending event of a transition.
    """
    kind = event_kinds.BY_NAME.get(pending_event.kind)
    since, detected_at = pending_event.since, pending_event.detected_at
    if kind is None or kind.since is None or since is None or detected_at is None:
        message = f"{pending_event} is not the event of a condition"
        raise ValueError(message)
    arn = JobArn.parse(job.job_arn)
    data: dict[str, Any] = {
        "jobArn": job.job_arn,
        "account": arn.account,
        "region": arn.region,
    }
    if job.record is not None:
        data |= _data(job.record, job.record.last, with_message=with_message)
    data |= {kind.since.name: to_iso(since)} | pending_event.fact_values()
    if kind.has_error and job.last_error is not None:
        data |= {"error": {"code": job.last_error.code, "message": job.last_error.message}}
    return _event(
        job.job_arn,
        pending_event,
        event_id=event_id(job.job_arn, f"{kind.name}#{to_iso(since)}"),
        observed_by="poll",
        observed_at=detected_at,
        data=data,
        all_pending=job.pending_events,
    )


def errors_event(
    job: StoredJob, analysis: ErrorAnalysis, *, with_message: bool = True
) -> MonitorEvent:
    """The event `... Job Errors Analyzed`; raises ValueError for a job that was never read."""
    if job.record is None:
        message = f"{job.job_arn} was never read"
        raise ValueError(message)
    entry = job.record.last
    data = _data(job.record, entry, with_message=with_message) | {
        "errorGroups": list(analysis.groups),
        "errorAnalysis": dict(analysis.summary),
    }
    return _event(
        job.job_arn,
        PendingEvent(ERRORS_ANALYZED.name, entry.sequence),
        event_id=event_id(job.job_arn, ERRORS_ANALYZED.name),
        observed_by="event",
        observed_at=analysis.analyzed_at,
        data=data,
        all_pending=frozenset(),
    )


def slots_event(pending: PendingSlots, scope: Scope, partition: str) -> MonitorEvent:
    """The event `Batch Inference Slots Available` of an account and Region."""
    resource = pending.resource(scope, partition)
    detail = _detail(
        event_id=event_id(resource, pending.fact(scope)),
        sequence=pending.sequence,
        observed_by="poll",
        observed_at=pending.detected_at,
        data=pending.data(scope),
    )
    return MonitorEvent(
        resource=resource,
        pending_event=str(pending),
        detail_type=SLOTS_AVAILABLE.detail_type,
        detail=detail,
        time=pending.detected_at,
        slots_of=scope,
    )


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
    return MonitorEvent(
        resource=job_arn,
        pending_event=str(pending_event),
        detail_type=event_kinds.BY_NAME[pending_event.kind].detail_type,
        detail=_detail(
            event_id=event_id,
            sequence=pending_event.sequence,
            observed_by=observed_by,
            observed_at=observed_at,
            data=data,
        ),
        time=observed_at,
        all_pending=all_pending,
    )


def _detail(
    *,
    event_id: str,
    sequence: int,
    observed_by: str,
    observed_at: datetime,
    data: Mapping[str, Any],
) -> str:
    detail = {
        "metadata": {
            "schemaVersion": SCHEMA_VERSION,
            "eventId": event_id,
            "sequence": sequence,
            "observedBy": observed_by,
            "observedAt": to_iso(observed_at),
        },
        "data": data,
    }
    return json.dumps(detail, ensure_ascii=False, separators=(",", ":"))


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
            "outcome": entry.outcome,
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
                    "errorShare": error_share(entry.counts),
                }
            ),
            "tokens": _tokens(entry.usage),
            "estimatedCostUsd": _cost(entry.usage),
            "tags": job.tags,
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

    A repeated event has the same content as the first one, although more is known by now.
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
