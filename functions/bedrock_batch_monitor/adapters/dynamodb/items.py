"""DynamoDB items on one side, the domain's values on the other; names are Bedrock's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain.discovery import Bookmark
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobError,
    JobObservation,
    JobRecord,
    RecordCounts,
    StoredJob,
    TrackedJob,
    Usage,
)
from bedrock_batch_monitor.domain.progress import Estimate
from bedrock_batch_monitor.domain.state import ListPosition, State
from bedrock_batch_monitor.domain.times import from_iso, to_iso
from bedrock_batch_monitor.domain.token_usage import MOST_TOKENS, FollowUp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item = Mapping[str, AttributeValueTypeDef]
    WritableItem = dict[str, AttributeValueTypeDef]

T = TypeVar("T")

PENDING_EVENTS: Final = "pendingEvents"
BACKFILLED: Final = "backfilled"
COUNT_NAMES: Final = {
    "total": "totalRecordCount",
    "processed": "processedRecordCount",
    "success": "successRecordCount",
    "error": "errorRecordCount",
}
# What an observation sets in a job's item, or removes from it where Bedrock no longer reports it.
OBSERVED: Final = (
    "jobName",
    "modelId",
    "status",
    "message",
    "submitTime",
    "lastModifiedTime",
    "endTime",
    "jobExpirationTime",
    "timeoutDurationInHours",
    "roleArn",
    "clientRequestToken",
    "modelInvocationType",
    "inputDataConfig",
    "outputDataConfig",
    "vpcConfig",
    *COUNT_NAMES.values(),
)
# What an observation removes from a job's item where it does not have it. Times that are known stay
# known: without them an older answer could not be told from a newer one.
REPLACED: Final = tuple(
    name for name in OBSERVED if name not in {"submitTime", "lastModifiedTime", "jobExpirationTime"}
)
# What a transition sets in a job's item, or removes from it where it is unknown.
OF_TRANSITION: Final = (
    "sequence",
    "previousStatus",
    "changedAt",
    "observedAt",
    "observedBy",
    "secondsInPreviousStatus",
    "eventId",
    "firstInProgressAt",
    "progressAt",
)
# What an item says while the job cannot be read; gone with the next successful read.
OF_UNREADABLE: Final = (
    "lastError",
    "lastErrorAt",
    "unreadablePolls",
    "unreachableSince",
    "failingSince",
)
STALLED_SINCE: Final = "stalledSince"
TOKENS: Final = "tokens"
ESTIMATED_COST_USD: Final = "estimatedCostUsd"
USAGE_ERROR: Final = "usageError"
USAGE_READ_AT: Final = "usageReadAt"
# What a job used, or why that is not known and when to look again.
OF_USAGE: Final = (
    TOKENS,
    ESTIMATED_COST_USD,
    USAGE_READ_AT,
    USAGE_ERROR,
    contract.USAGE_PENDING,
    contract.USAGE_DUE_AT,
)
# What is to be expected of a job that runs, where it is known; gone when the job does not run or
# move any more.
RECORDS_PER_MINUTE: Final = "recordsPerMinute"
ESTIMATED_END_TIME: Final = "estimatedEndTime"
OF_ESTIMATE: Final = (RECORDS_PER_MINUTE, ESTIMATED_END_TIME)
AT_RISK_SINCE: Final = "atRiskSince"

_SHOWN_CHARACTERS: Final = 80
_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class InvalidItemError(ValueError):
    """An item whose attribute has another type or form than the contract gives it."""


def text(value: str) -> AttributeValueTypeDef:
    """A DynamoDB string."""
    return {"S": value}


def number(value: int) -> AttributeValueTypeDef:
    """A DynamoDB number."""
    return {"N": str(value)}


def time(value: datetime) -> AttributeValueTypeDef:
    """A time, as a DynamoDB string in the contract's form."""
    return {"S": to_iso(value)}


def error(value: JobError) -> AttributeValueTypeDef:
    """The `lastError` map: code and message."""
    return {"M": {"code": text(value.code), "message": text(value.message)}}


def observed_attributes(observation: JobObservation) -> WritableItem:
    """The attributes of a job's item that come from Bedrock's answer; unknown ones are left out."""
    attributes: WritableItem = {}
    for name, value in (
        ("jobName", observation.job_name),
        ("modelId", observation.model_id),
        ("status", observation.status),
        ("message", observation.message),
        ("roleArn", observation.role_arn),
        ("clientRequestToken", observation.client_request_token),
        ("modelInvocationType", observation.model_invocation_type),
    ):
        if value is not None:
            attributes[name] = text(value)
    for name, moment in (
        ("submitTime", observation.submit_time),
        ("lastModifiedTime", observation.last_modified_time),
        ("endTime", observation.end_time),
        ("jobExpirationTime", observation.job_expiration_time),
    ):
        if moment is not None:
            attributes[name] = time(moment)
    for name, config in (
        ("inputDataConfig", observation.input_data_config),
        ("outputDataConfig", observation.output_data_config),
        ("vpcConfig", observation.vpc_config),
    ):
        if config is not None:
            attributes[name] = _serialize(dict(config))
    if observation.timeout_duration_in_hours is not None:
        attributes["timeoutDurationInHours"] = number(observation.timeout_duration_in_hours)
    return attributes | _counts(observation.counts)


def transition_attributes(entry: HistoryEntry, first_in_progress: datetime | None) -> WritableItem:
    """The attributes of a job's item that repeat its last transition; unknown ones are left out."""
    attributes: WritableItem = {
        "sequence": number(entry.sequence),
        "observedAt": time(entry.observed_at),
        "observedBy": text(entry.observed_by),
        "progressAt": time(entry.observed_at),
    }
    if first_in_progress is not None:
        attributes["firstInProgressAt"] = time(first_in_progress)
    if entry.backfilled:
        attributes[BACKFILLED] = {"BOOL": True}
    return attributes | _of_entry(entry)


def estimate_attributes(estimate: Estimate) -> WritableItem:
    """The attributes of a job's item that say what is to be expected; unknown ones left out."""
    attributes: WritableItem = {}
    if estimate.records_per_minute is not None:
        attributes[RECORDS_PER_MINUTE] = {"N": f"{Decimal(str(estimate.records_per_minute)):f}"}
    if estimate.ends_at is not None:
        attributes[ESTIMATED_END_TIME] = time(estimate.ends_at)
    return attributes


def history_item(
    entry: HistoryEntry, expires_at: datetime | None, record: JobRecord | None = None
) -> WritableItem:
    """A history entry as the table keeps it; `expiresAt` is in epoch seconds, as TTL asks.

    The entry of an end has the whole `record` of the job, so that a lost item can be restored even
    if Bedrock no longer returns the job.
    """
    item: WritableItem = {
        "jobArn": text(entry.job_arn),
        "sequence": number(entry.sequence),
        "status": text(entry.status),
        "observedAt": time(entry.observed_at),
        "observedBy": text(entry.observed_by),
    }
    for name, value in (
        ("jobName", entry.job_name),
        ("modelId", entry.model_id),
        ("message", entry.message),
    ):
        if value is not None:
            item[name] = text(value)
    if expires_at is not None:
        item[contract.EXPIRES_AT] = number(int(expires_at.timestamp()))
    if entry.backfilled:
        item[BACKFILLED] = {"BOOL": True}
    whole: WritableItem = {}
    if record is not None:
        whole = observed_attributes(record.observation)
        if record.first_in_progress_at is not None:
            whole["firstInProgressAt"] = time(record.first_in_progress_at)
    return whole | item | _of_entry(entry) | _counts(entry.counts)


def usage_attributes(usage: Usage | None) -> WritableItem:
    """`tokens` and `estimatedCostUsd`, in a job's item and in the history alike."""
    if usage is None:
        return {}
    counts = {"input": usage.input_tokens, "output": usage.output_tokens}
    known = {name: number(count) for name, count in counts.items() if count is not None}
    attributes: WritableItem = {TOKENS: {"M": known}} if known else {}
    if usage.estimated_cost_usd is not None:
        attributes[ESTIMATED_COST_USD] = {"N": f"{usage.estimated_cost_usd:f}"}
    return attributes


def follow_up_attributes(follow_up: FollowUp | None) -> WritableItem:
    """Why a job's figures are not known, and the mark that has them looked for again."""
    if follow_up is None:
        return {}
    problem = JobError(follow_up.problem.code, follow_up.problem.message)
    attributes: WritableItem = {USAGE_ERROR: error(problem)}
    if follow_up.due_at is not None:
        attributes[contract.USAGE_PENDING] = text(contract.USAGE_PENDING_VALUE)
        attributes[contract.USAGE_DUE_AT] = time(follow_up.due_at)
    return attributes


def tracked_job(item: Item) -> TrackedJob:
    """Read an item of the active-jobs index; raises `InvalidItemError` naming the attribute.

    Without a `sequence` nothing was recorded of the job yet, whatever else its item holds.
    """
    job_arn = _required(item, "jobArn", _text)
    sequence = _optional(item, "sequence", _number) or 0
    unrecorded = TrackedJob(
        job_arn=job_arn,
        last_error=last_error(item),
        unreadable_polls=_optional(item, "unreadablePolls", _number) or 0,
        unreachable_since=_optional(item, "unreachableSince", _time),
        failing_since=_optional(item, "failingSince", _time),
        backfilled=BACKFILLED in item,
        task_revision=_optional(item, contract.TASK_REVISION, _number) or 0,
    )
    if sequence == 0:
        return unrecorded
    return replace(
        unrecorded,
        sequence=sequence,
        status=_required(item, "status", _text),
        changed_at=_optional(item, "changedAt", _time),
        last_modified_time=_optional(item, "lastModifiedTime", _time),
        first_in_progress_at=_optional(item, "firstInProgressAt", _time),
        counts=_counts_of(item),
        progress_at=_optional(item, "progressAt", _time),
        stalled_since=_optional(item, "stalledSince", _time),
        submit_time=_optional(item, "submitTime", _time),
        records_per_minute=_optional(item, RECORDS_PER_MINUTE, _pace),
        at_risk_since=_optional(item, AT_RISK_SINCE, _time),
        event_id=_optional(item, "eventId", _text),
    )


def state(item: Item) -> State:
    """Read the monitor's bookmarks; raises `InvalidItemError` naming the attribute."""
    return State(
        exists=bool(item),
        start_at=_optional(item, "startAt", _text),
        pending_from=_optional(item, "pendingFrom", _time),
        discovery=_bookmark(item),
        resynced_until=_optional(item, "resyncedUntil", _time),
        backfilled_since=_optional(item, "backfilledSince", _time),
        list_position=_list_position(item),
    )


def bookmark_attributes(bookmark: Bookmark) -> WritableItem:
    """The attributes of the state item that say how far discovery has come."""
    attributes: WritableItem = {
        "discoveryBeganAt": time(bookmark.began_at),
        "discoveredUntil": time(bookmark.seen_until),
    }
    for name, moment in (
        ("fullListAt", bookmark.full_list_at),
        ("discoveryOffSince", bookmark.off_since),
        ("discoveryOnAgainAt", bookmark.on_again_at),
    ):
        if moment is not None:
            attributes[name] = time(moment)
    if bookmark.table_id is not None:
        attributes["jobsTableId"] = text(bookmark.table_id)
    return attributes


OF_BOOKMARK: Final = (
    "discoveryBeganAt",
    "discoveredUntil",
    "fullListAt",
    "discoveryOffSince",
    "discoveryOnAgainAt",
    "jobsTableId",
)


def _bookmark(item: Item) -> Bookmark | None:
    began_at = _optional(item, "discoveryBeganAt", _time)
    seen_until = _optional(item, "discoveredUntil", _time)
    if began_at is None or seen_until is None:
        return None
    return Bookmark(
        began_at=began_at,
        seen_until=seen_until,
        full_list_at=_optional(item, "fullListAt", _time),
        off_since=_optional(item, "discoveryOffSince", _time),
        on_again_at=_optional(item, "discoveryOnAgainAt", _time),
        table_id=_optional(item, "jobsTableId", _text),
    )


def _list_position(item: Item) -> ListPosition | None:
    submitted_after = _optional(item, "listedFrom", _time)
    token = _optional(item, "listToken", _text)
    if submitted_after is None or token is None:
        return None
    return ListPosition(submitted_after, token)


def command_at(item: Item) -> datetime | None:
    """When the last command on the job's tracking was sent; None if that is not known."""
    try:
        return _optional(item, contract.COMMAND_AT, _time)
    except InvalidItemError:
        return None


def pending_since(item: Item) -> datetime | None:
    """Since when a job has a pending event; None where that is not a time."""
    try:
        return _optional(item, contract.PENDING_SINCE, _time)
    except InvalidItemError:
        return None


def plain(item: Item) -> dict[str, Any]:
    """An item as plain values, numbers as Decimal."""
    return {name: _deserialize(value) for name, value in item.items()}


def is_tracked(item: Item) -> bool:
    """Whether an item of the jobs table takes part in polling."""
    return item.get(contract.TRACKING) == {"S": contract.TRACKING_ACTIVE}


def last_error(item: Item) -> JobError | None:
    """The item's `lastError`; one that is no map of texts counts as none and is written anew."""
    fields = item.get("lastError", {}).get("M", {})
    code, message = fields.get("code", {}).get("S"), fields.get("message", {}).get("S")
    return None if code is None or message is None else JobError(code, message)


def stored_job(item: Item) -> StoredJob:
    """Read a whole item of the jobs table; raises `InvalidItemError` naming the attribute."""
    return StoredJob(
        job_arn=_required(item, "jobArn", _text),
        record=job_record(item) if "sequence" in item else None,
        pending_events=frozenset(_optional(item, PENDING_EVENTS, _text_set) or ()),
        last_error=last_error(item),
        usage_is_pending=contract.USAGE_PENDING in item,
        usage_due_at=_usage_due_at(item),
        task_revision=_optional(item, contract.TASK_REVISION, _number) or 0,
        pending_since=pending_since(item),
    )


def job_record(item: Item) -> JobRecord:
    """Read what is recorded of a job that was seen; raises `InvalidItemError`."""
    observation = JobObservation(
        job_arn=_required(item, "jobArn", _text),
        status=_required(item, "status", _text),
        model_id=_optional(item, "modelId", _text),
        job_name=_optional(item, "jobName", _text),
        message=_optional(item, "message", _text),
        submit_time=_optional(item, "submitTime", _time),
        last_modified_time=_optional(item, "lastModifiedTime", _time),
        end_time=_optional(item, "endTime", _time),
        job_expiration_time=_optional(item, "jobExpirationTime", _time),
        timeout_duration_in_hours=_optional(item, "timeoutDurationInHours", _number),
        role_arn=_optional(item, "roleArn", _text),
        client_request_token=_optional(item, "clientRequestToken", _text),
        model_invocation_type=_optional(item, "modelInvocationType", _text),
        input_data_config=_optional(item, "inputDataConfig", _map),
        output_data_config=_optional(item, "outputDataConfig", _map),
        vpc_config=_optional(item, "vpcConfig", _map),
        counts=_counts_of(item),
    )
    return JobRecord(
        observation=observation,
        last=history_entry(item),
        first_in_progress_at=_optional(item, "firstInProgressAt", _time),
    )


def history_entry(item: Item) -> HistoryEntry:
    """Read an item of the history table, or the last transition out of a job's item."""
    return HistoryEntry(
        job_arn=_required(item, "jobArn", _text),
        sequence=_required(item, "sequence", _number),
        status=_required(item, "status", _text),
        observed_at=_required(item, "observedAt", _time),
        observed_by=_required(item, "observedBy", _text),
        event_id=_optional(item, "eventId", _text),
        previous_status=_optional(item, "previousStatus", _text),
        changed_at=_optional(item, "changedAt", _time),
        seconds_in_previous_status=_optional(item, "secondsInPreviousStatus", _number),
        job_name=_optional(item, "jobName", _text),
        model_id=_optional(item, "modelId", _text),
        message=_optional(item, "message", _text),
        counts=_counts_of(item),
        usage=None if USAGE_READ_AT in item else usage(item),
        backfilled=BACKFILLED in item,
    )


def usage(item: Item) -> Usage | None:
    """What an item says that the job used; what has another form counts as unknown.

    An event must not wait for ever because somebody wrote a text here.
    """
    tokens = item.get(TOKENS, {}).get("M", {})
    found = Usage(
        _tokens(tokens.get("input", {})),
        _tokens(tokens.get("output", {})),
        _cost(item.get(ESTIMATED_COST_USD, {})),
    )
    return None if found == Usage() else found


def _usage_due_at(item: Item) -> datetime | None:
    try:
        return _optional(item, contract.USAGE_DUE_AT, _time)
    except InvalidItemError:
        # No event must wait for it.
        return None


def _tokens(value: AttributeValueTypeDef | dict[str, Any]) -> int | None:
    digits = value.get("N", "")
    is_count = digits.isascii() and digits.isdigit() and len(digits) <= len(str(MOST_TOKENS))
    return int(digits) if is_count else None


def _cost(value: AttributeValueTypeDef | dict[str, Any]) -> Decimal | None:
    return Decimal(value["N"]) if "N" in value else None


def _of_entry(entry: HistoryEntry) -> WritableItem:
    """The attributes that a job's item and a history item share."""
    attributes: WritableItem = {}
    if entry.previous_status is not None:
        attributes["previousStatus"] = text(entry.previous_status)
    if entry.changed_at is not None:
        attributes["changedAt"] = time(entry.changed_at)
    if entry.seconds_in_previous_status is not None:
        attributes["secondsInPreviousStatus"] = number(entry.seconds_in_previous_status)
    if entry.event_id is not None:
        attributes["eventId"] = text(entry.event_id)
    return attributes | usage_attributes(entry.usage)


def _counts(counts: RecordCounts) -> WritableItem:
    return {
        name: number(value)
        for field, name in COUNT_NAMES.items()
        if (value := getattr(counts, field)) is not None
    }


def _counts_of(item: Item) -> RecordCounts:
    return RecordCounts(
        **{field: _optional(item, name, _number) for field, name in COUNT_NAMES.items()}
    )


def _required(item: Item, name: str, read: Callable[[Item, str], T]) -> T:
    if name not in item:
        message = f"attribute {name} is missing"
        raise InvalidItemError(message)
    return read(item, name)


def _optional(item: Item, name: str, read: Callable[[Item, str], T]) -> T | None:
    return read(item, name) if name in item else None


def _text(item: Item, name: str) -> str:
    value = item[name].get("S")
    if value is None:
        raise _wrong(item, name, "a string")
    return value


def _number(item: Item, name: str) -> int:
    value = item[name].get("N", "")
    if not (value.isascii() and value.isdigit()):
        raise _wrong(item, name, "a whole number from 0")
    return int(value)


def _pace(item: Item, name: str) -> float:
    try:
        value = Decimal(item[name].get("N", ""))
    except InvalidOperation:
        value = Decimal(0)
    if not (value.is_finite() and value > 0):
        raise _wrong(item, name, "a number above 0")
    return float(value)


def _time(item: Item, name: str) -> datetime:
    try:
        return from_iso(_text(item, name))
    except ValueError as cause:
        raise _wrong(item, name, "a time such as 2026-11-24T20:30:16.123Z") from cause


def _map(item: Item, name: str) -> Mapping[str, Any]:
    if "M" not in item[name]:
        raise _wrong(item, name, "a map")
    value: Mapping[str, Any] = _deserialize(item[name])
    return value


def _text_set(item: Item, name: str) -> tuple[str, ...]:
    value = item[name].get("SS")
    if value is None:
        raise _wrong(item, name, "a set of strings")
    return tuple(value)


def _wrong(item: Item, name: str, expected: str) -> InvalidItemError:
    shown = str(item[name])
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "…"
    return InvalidItemError(
        f"attribute {name} is {shown}, expected {expected}: delete the item and put it again with "
        "jobArn and tracking alone"
    )
