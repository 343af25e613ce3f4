"""DynamoDB items on one side, the domain's values on the other, by the table in `attributes`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes
from bedrock_batch_monitor.adapters.dynamodb.attributes import Attribute, Group, Kind
from bedrock_batch_monitor.domain.forecast import Sample, sample_of
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
from bedrock_batch_monitor.domain.tags import tags_in
from bedrock_batch_monitor.domain.times import from_iso, to_iso
from bedrock_batch_monitor.domain.token_usage import MOST_TOKENS, FollowUp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item: TypeAlias = Mapping[str, AttributeValueTypeDef]
    WritableItem: TypeAlias = dict[str, AttributeValueTypeDef]

# What an item says while the job cannot be read.
OF_UNREADABLE: Final = attributes.in_groups(Group.UNREADABLE)

_NO_SEQUENCE: Final = {"N": "0"}
_SHOWN_CHARACTERS: Final = 80
_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class InvalidItemError(ValueError):
    """An item whose attribute has another type or form than the contract gives it."""


@dataclass(frozen=True, slots=True)
class InvalidItem:
    """An item of the jobs table that cannot be read, and why."""

    job_arn: str
    error: JobError
    last_error: JobError | None


# Single values


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
    """An error as a map: code and message."""
    return {"M": {"code": text(value.code), "message": text(value.message)}}


def plain(item: Item) -> dict[str, Any]:
    """An item as plain values, numbers as Decimal."""
    return {name: _deserialize(value) for name, value in item.items()}


# Items to write. Unknown values are left out.


def written(value: object, rows: Iterable[Attribute]) -> WritableItem:
    """The attributes of a domain value, its record counts included."""
    item: WritableItem = {}
    for attribute in rows:
        holder = value.counts if attribute.field in attributes.COUNT_FIELDS else value  # type: ignore[attr-defined]
        found = getattr(holder, attribute.field)
        if found is not None and found is not False:
            item[attribute.name] = _WRITERS[attribute.kind](found)
    return item


def observed_attributes(observation: JobObservation) -> WritableItem:
    """The attributes of a job's item that come from Bedrock's answer."""
    return written(observation, _OBSERVED)


def transition_attributes(entry: HistoryEntry, first_in_progress: datetime | None) -> WritableItem:
    """The attributes of a job's item that repeat its last transition."""
    item = written(entry, _TRANSITION) | usage_attributes(entry.usage)
    item[attributes.PROGRESS_AT] = time(entry.observed_at)
    return item | _first_in_progress(first_in_progress)


def history_item(
    entry: HistoryEntry, expires_at: datetime | None, record: JobRecord | None = None
) -> WritableItem:
    """A history entry as the table keeps it; `expiresAt` is in epoch seconds, as TTL requires.

    The entry of an end has the whole `record` of the job, so that a lost item can be restored even
    if Bedrock no longer returns the job.
    """
    item = written(entry, attributes.OF_ENTRY) | usage_attributes(entry.usage)
    if expires_at is not None:
        item[contract.EXPIRES_AT] = number(int(expires_at.timestamp()))
    if record is None:
        return item
    whole = observed_attributes(record.observation)
    if record.tags:
        whole[contract.TAGS] = tags(record.tags)
    return whole | _first_in_progress(record.first_in_progress_at) | item


def _first_in_progress(moment: datetime | None) -> WritableItem:
    return {} if moment is None else {attributes.FIRST_IN_PROGRESS_AT: time(moment)}


def tags(value: Mapping[str, str]) -> AttributeValueTypeDef:
    """Tags as a DynamoDB map."""
    return {"M": {name: text(tag) for name, tag in value.items()}}


def estimate_attributes(estimate: Estimate) -> WritableItem:
    """The attributes of a job's item that say when it will end."""
    return written(estimate, _ESTIMATE)


def usage_attributes(usage: Usage | None) -> WritableItem:
    """`tokens` and `estimatedCostUsd`, in a job's item and in the history alike."""
    if usage is None:
        return {}
    counts = {"input": usage.input_tokens, "output": usage.output_tokens}
    known = {name: number(count) for name, count in counts.items() if count is not None}
    item: WritableItem = {attributes.TOKENS: {"M": known}} if known else {}
    if usage.estimated_cost_usd is not None:
        item[attributes.ESTIMATED_COST_USD] = {"N": f"{usage.estimated_cost_usd:f}"}
    return item


def times(values: Mapping[str, datetime]) -> AttributeValueTypeDef:
    """Times by name, as a DynamoDB map."""
    return {"M": {name: time(value) for name, value in values.items()}}


def follow_up_attributes(follow_up: FollowUp | None) -> WritableItem:
    """Why a job's token counts are not known, and when to look for them again."""
    if follow_up is None:
        return {}
    problem = JobError(follow_up.problem.code, follow_up.problem.message)
    item: WritableItem = {attributes.USAGE_ERROR: error(problem)}
    if follow_up.due_at is not None:
        item[contract.USAGE_PENDING] = text(contract.USAGE_PENDING_VALUE)
        item[contract.USAGE_DUE_AT] = time(follow_up.due_at)
    return item


# Items that were read. All raise `InvalidItemError` naming the attribute unless they say otherwise.


def tracked_job(item: Item) -> TrackedJob:
    """Read an item of the jobs table or of its active-jobs index.

    Without a `sequence` nothing was recorded of the job yet, whatever else its item holds.
    """
    if item.get(contract.SEQUENCE, _NO_SEQUENCE) == _NO_SEQUENCE:
        return TrackedJob(**_read_unrecorded(item))
    _require(item, contract.STATUS)
    return TrackedJob(**_read_tracked(item))


def tracked_or_invalid(item: Item) -> TrackedJob | InvalidItem:
    """Read an item as `tracked_job` does; one that cannot be read is a value. Raises nothing."""
    try:
        return tracked_job(item)
    except InvalidItemError as problem:
        return InvalidItem(
            job_arn=item[contract.JOB_ARN]["S"],
            error=JobError("InvalidItem", str(problem)),
            last_error=last_error(item),
        )


def stored_job(item: Item) -> StoredJob:
    """Read a whole item of the jobs table."""
    return StoredJob(
        **_read_stored(item),
        record=job_record(item) if contract.SEQUENCE in item else None,
        usage_is_pending=contract.USAGE_PENDING in item,
    )


def job_record(item: Item) -> JobRecord:
    """Read what is recorded of a job that was read at least once."""
    first = attributes.FIRST_IN_PROGRESS_AT
    return JobRecord(
        observation=JobObservation(**_read_observation(item)),
        last=history_entry(item),
        first_in_progress_at=_time(item, first) if first in item else None,
        tags=_tags(item, contract.TAGS) if contract.TAGS in item else {},
    )


def sample(item: Item) -> Sample | None:
    """What an ended job says about the times of others; None if it says nothing. Raises nothing."""
    records = _decimal(item, "processedRecordCount") if "processedRecordCount" in item else None
    return sample_of(
        _optional_time(item, "submitTime"),
        _optional_time(item, attributes.FIRST_IN_PROGRESS_AT),
        _optional_time(item, "endTime"),
        None if records is None or records < 1 else int(records),
    )


def model_id(item: Item) -> str:
    """The model of a job, "" if it is not known."""
    return item.get(contract.MODEL_ID, {}).get("S", "")


def history_entry(item: Item) -> HistoryEntry:
    """Read an item of the history table, or the last transition out of a job's item."""
    return HistoryEntry(
        **_read_entry(item),
        usage=None if attributes.USAGE_READ_AT in item else usage(item),
    )


def reader_of(
    domain_type: type[Any], rows: Iterable[Attribute]
) -> Callable[[Item], dict[str, Any]]:
    """A function that reads the fields of a domain type that an item has.

    Those without a default are required. What does not depend on the item is calculated once,
    because a poll reads every active job.
    """
    required = {
        each.name
        for each in fields(domain_type)
        if each.default is MISSING and each.default_factory is MISSING
    }
    rows = tuple(rows)
    needed = tuple(each.name for each in rows if each.field in required)
    readings = tuple(
        (each.name, each.field, _READERS[each.kind])
        for each in rows
        if each.field not in attributes.COUNT_FIELDS
    )
    names = {each.field: each.name for each in rows}
    of_counts = tuple(names[field] for field in RecordCounts._fields if field in names)

    def read(item: Item) -> dict[str, Any]:
        for name in needed:
            _require(item, name)
        values = {field: reader(item, name) for name, field, reader in readings if name in item}
        if of_counts:
            counts = [_number(item, name) if name in item else None for name in of_counts]
            values["counts"] = RecordCounts(*counts)
        return values

    return read


def usage(item: Item) -> Usage | None:
    """What an item says that the job used; a value of another form is unknown. Raises nothing.

    Otherwise an event could stay pending because somebody wrote a text here.
    """
    tokens = item.get(attributes.TOKENS, {}).get("M", {})
    found = Usage(
        _tokens(tokens.get("input", {})),
        _tokens(tokens.get("output", {})),
        _cost(item.get(attributes.ESTIMATED_COST_USD, {})),
    )
    return None if found == Usage() else found


def last_error(item: Item) -> JobError | None:
    """The item's `lastError`; None for another form than a map of texts. Raises nothing."""
    return _error(item, contract.LAST_ERROR)


def command_at(item: Item) -> datetime | None:
    """When the last command on the job's tracking was sent, if known. Raises nothing."""
    return _optional_time(item, contract.COMMAND_AT)


def pending_since(item: Item) -> datetime | None:
    """Since when the job has had a pending event, if known. Raises nothing."""
    return _optional_time(item, contract.PENDING_SINCE)


def number_in(item: Item, name: str) -> int:
    """A whole number of an item, 0 if it has none."""
    return _number(item, name) if name in item else 0


def time_in(item: Item, name: str) -> datetime | None:
    """A time of an item; None if it has none."""
    return _time(item, name) if name in item else None


def is_tracked(item: Item) -> bool:
    """Whether an item of the jobs table takes part in polling."""
    return item.get(contract.TRACKING) == {"S": contract.TRACKING_ACTIVE}


# Readers of single attributes


def _require(item: Item, name: str) -> None:
    if name not in item:
        message = f"attribute {name} is missing"
        raise InvalidItemError(message)


def _text(item: Item, name: str) -> str:
    value = item[name].get("S")
    if value is None:
        raise _wrong(item, name, "a string")
    return value


def _number(item: Item, name: str) -> int:
    value = item[name].get("N", "")
    # Of ASCII, because `isdigit` is true of digits that `int` refuses.
    if value.isdigit() and value.isascii():
        return int(value)
    raise _wrong(item, name, "a whole number from 0")


def _optional_text(item: Item, name: str) -> str | None:
    return item[name].get("S")


def _tags(item: Item, name: str) -> dict[str, str]:
    return tags_in(_deserialize({"M": item[name].get("M", {})}))


def _rate(item: Item, name: str) -> float:
    value = _decimal(item, name)
    if value is None or value <= 0:
        raise _wrong(item, name, "a number above 0")
    return float(value)


def _share(item: Item, name: str) -> float:
    value = _decimal(item, name)
    if value is None or not 0 <= value <= 1:
        raise _wrong(item, name, "a number from 0 to 1")
    return float(value)


def _decimal(item: Item, name: str) -> Decimal | None:
    try:
        value = Decimal(item[name].get("N", ""))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _digits(value: float) -> AttributeValueTypeDef:
    # Never an exponent.
    return {"N": f"{Decimal(str(value)):f}"}


def _time(item: Item, name: str) -> datetime:
    try:
        return from_iso(item[name].get("S") or "")
    except ValueError as cause:
        raise _wrong(item, name, "a time such as 2026-11-24T20:30:16.123Z") from cause


def _optional_time(item: Item, name: str) -> datetime | None:
    try:
        return _time(item, name) if name in item else None
    except InvalidItemError:
        return None


def _map(item: Item, name: str) -> Mapping[str, Any]:
    if "M" not in item[name]:
        raise _wrong(item, name, "a map")
    value: Mapping[str, Any] = _deserialize(item[name])
    return value


def _times(item: Item, name: str) -> dict[str, datetime]:
    value = item[name].get("M")
    if value is None:
        raise _wrong(item, name, "a map of times")
    try:
        return {key: _time(value, key) for key in value}
    except InvalidItemError as cause:
        raise _wrong(item, name, "a map of times") from cause


def _text_set(item: Item, name: str) -> frozenset[str]:
    value = item[name].get("SS")
    if value is None:
        raise _wrong(item, name, "a set of strings")
    return frozenset(value)


def _error(item: Item, name: str) -> JobError | None:
    parts = item.get(name, {}).get("M", {})
    code, message = parts.get("code", {}).get("S"), parts.get("message", {}).get("S")
    return None if code is None or message is None else JobError(code, message)


def _tokens(value: AttributeValueTypeDef | dict[str, Any]) -> int | None:
    digits = value.get("N", "")
    is_count = digits.isascii() and digits.isdigit() and len(digits) <= len(str(MOST_TOKENS))
    return int(digits) if is_count else None


def _cost(value: AttributeValueTypeDef | dict[str, Any]) -> Decimal | None:
    return Decimal(value["N"]) if "N" in value else None


def _wrong(item: Item, name: str, expected: str) -> InvalidItemError:
    shown = str(item[name])
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "…"
    return InvalidItemError(
        f"attribute {name} is {shown}, expected {expected}: delete the item and put it again with "
        "jobArn and tracking alone"
    )


_READERS: Final[Mapping[Kind, Callable[[Item, str], Any]]] = {
    Kind.TEXT: _text,
    Kind.NUMBER: _number,
    Kind.RATE: _rate,
    Kind.SHARE: _share,
    Kind.TIME: _time,
    Kind.OPTIONAL_TIME: _optional_time,
    Kind.MAP: _map,
    Kind.OPTIONAL_TEXT: _optional_text,
    Kind.TAGS: _tags,
    Kind.TIMES: _times,
    Kind.TEXT_SET: _text_set,
    Kind.FLAG: lambda _item, _name: True,
    Kind.ERROR: _error,
}
_WRITERS: Final[Mapping[Kind, Callable[[Any], AttributeValueTypeDef]]] = {
    Kind.TEXT: text,
    Kind.NUMBER: number,
    Kind.RATE: _digits,
    Kind.SHARE: _digits,
    Kind.TIME: time,
    Kind.OPTIONAL_TIME: time,
    Kind.MAP: lambda value: _serialize(dict(value)),
    Kind.OPTIONAL_TEXT: text,
    Kind.TAGS: tags,
    Kind.TIMES: times,
    Kind.FLAG: lambda value: {"BOOL": value},
    Kind.ERROR: error,
}
_OBSERVED: Final = tuple(
    each for each in attributes.OF_OBSERVATION if each.name != contract.JOB_ARN
)
_TRANSITION: Final = tuple(
    each
    for each in attributes.OF_ENTRY
    if each.group is Group.TRANSITION or each.name == attributes.BACKFILLED
)
_ESTIMATE: Final = attributes.of_type(Estimate)
_TRACKED: Final = attributes.of_type(TrackedJob)
_read_tracked: Final = reader_of(TrackedJob, _TRACKED)
_read_unrecorded: Final = reader_of(
    TrackedJob, (each for each in _TRACKED if each.group in {Group.ITEM, Group.UNREADABLE})
)
_read_stored: Final = reader_of(StoredJob, attributes.of_type(StoredJob))
_read_observation: Final = reader_of(JobObservation, attributes.OF_OBSERVATION)
_read_entry: Final = reader_of(HistoryEntry, attributes.OF_ENTRY)
