"""The published schemas and samples: a common part, and the fields of each kind of event.

`make docs` writes them to `schemas/`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import PARTITIONS, Scope
from bedrock_batch_monitor.domain.conditions import Finding
from bedrock_batch_monitor.domain.error_analysis import ErrorGroup, RecordTotals, analysis_of
from bedrock_batch_monitor.domain.event_kinds import (
    ENDED,
    ERRORS_ANALYZED,
    KINDS,
    SLOTS_AVAILABLE,
    STATUS_CHANGED,
    DataField,
    EventKind,
    FieldType,
)
from bedrock_batch_monitor.domain.events import (
    SCHEMA_VERSION,
    MonitorEvent,
    condition_event,
    errors_event,
    pending_condition,
    slots_event,
    status_event,
)
from bedrock_batch_monitor.domain.jobs import (
    TEXT_CHARACTERS,
    HistoryEntry,
    JobError,
    JobObservation,
    JobRecord,
    RecordCounts,
    StoredJob,
    Usage,
)
from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.outcomes import OUTCOMES
from bedrock_batch_monitor.domain.slots import PendingSlots
from bedrock_batch_monitor.domain.times import from_iso
from bedrock_batch_monitor.domain.transitions import end_id
from tests.support.contracts import FILES, SCHEMAS, as_delivered

Schema = dict[str, Any]

_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"
_UUID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
_ARN: Final = (
    f"^arn:({'|'.join(sorted(PARTITIONS))}):bedrock:[a-z0-9-]{{1,20}}:[0-9]{{12}}"
    ":model-invocation-job/[a-z0-9]{12}$"
)
_MODEL_ARN: Final = (
    f"^arn:({'|'.join(sorted(PARTITIONS))}):bedrock:[a-z0-9-]{{1,20}}::foundation-model/.+$"
)


# The function that analyzes errors is triggered by the event of the end.
_OBSERVED_BY: Final = {ERRORS_ANALYZED: ["event"]}


def _text(description: str, **more: object) -> Schema:
    return {"type": "string", **more, "description": description}


def _time(description: str) -> Schema:
    return _text(description, pattern=_TIME)


def _whole(description: str, minimum: int = 0) -> Schema:
    return {"type": "integer", "minimum": minimum, "description": description}


def _number(description: str, **more: object) -> Schema:
    return {"type": "number", "minimum": 0, **more, "description": description}


def _object(properties: Mapping[str, Schema], required: Iterable[str] = (), **more: str) -> Schema:
    found = {"required": list(required)} if required else {}
    return {"type": "object", **more, **found, "properties": dict(properties)}


def schema_for(kind: EventKind) -> Schema:
    """The schema of the whole event, in JSON Schema Draft 4."""
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": kind.detail_type.replace(" ", ""),
        "description": f"{kind.description} When it is sent: {kind.when_sent}",
        **_object(
            {
                "source": _text("The monitor.", enum=[contract.EVENT_SOURCE]),
                "detail-type": _text("The kind of event.", enum=[kind.detail_type]),
                "resources": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 1,
                    "items": {
                        "type": "string",
                        "pattern": _ARN if kind.is_about_job else _MODEL_ARN,
                    },
                    "description": "The job's ARN." if kind.is_about_job else "The model's ARN.",
                },
                "detail": _object(
                    {"metadata": _metadata(kind), "data": _data(kind)}, ("metadata", "data")
                ),
            },
            ("source", "detail-type", "resources", "detail"),
        ),
    }


def _metadata(kind: EventKind) -> Schema:
    is_transition = kind.since is None
    properties = {
        "schemaVersion": _text(
            "The version of this schema. A version only gets additional optional fields.",
            enum=[SCHEMA_VERSION],
        ),
        "eventId": _text(
            "The same on every delivery of this event: use it to discard duplicates.",
            pattern=_UUID,
        ),
        "sequence": _whole(
            "The number of the event: a higher one of the same account and Region is newer."
            if not kind.is_about_job
            else "The number of the recorded transition: with the job's ARN, the key of its "
            "history item."
            if is_transition
            else "How many transitions of the job are recorded; 0 for a job that was never read.",
            minimum=int(is_transition),
        ),
        "observedBy": _text(
            "Whether a poll detected it, or a read that one of Bedrock's own events triggered.",
            enum=_OBSERVED_BY.get(kind, ["poll", "event"] if is_transition else ["poll"]),
        ),
        "observedAt": _time("When the monitor detected it."),
    }
    return _object(properties, properties, description="About the event itself.")


def _data(kind: EventKind) -> Schema:
    if not kind.is_about_job:
        return _data_of_model(kind)
    properties = _job(kind)
    required = ["jobArn", "account", "region"]
    if kind is not STATUS_CHANGED:
        # Another event can be sent after the end, and then has what was known at the end.
        properties |= _of_an_end()
    if kind is ERRORS_ANALYZED:
        properties |= _of_an_analysis()
        required += ["errorGroups", "errorAnalysis"]
    if kind in {ENDED, STATUS_CHANGED, ERRORS_ANALYZED}:
        required.append("status")
    for each in (*(() if kind.since is None else (kind.since,)), *kind.fields):
        _add(properties, required, each)
    if kind.has_error:
        properties["error"] = _object(
            {
                "code": _text(
                    "The error code of the API, such as AccessDeniedException, or the name of an "
                    "exception of the SDK."
                ),
                "message": _text("The text of the error."),
            },
            ("code", "message"),
            description="The last error. Absent if the job was read again before this event was "
            "sent.",
        )
    return _object(properties, required, description="The job.")


def _data_of_model(kind: EventKind) -> Schema:
    properties: Schema = {
        "account": _text("The account of the slots.", pattern="^[0-9]{12}$"),
        "region": _text("The Region of the slots."),
    }
    required = ["account", "region"]
    for each in kind.fields:
        _add(properties, required, each)
    return _object(properties, required, description="The model and its slots.")


def _job(kind: EventKind) -> Schema:
    """What every event says about the job."""
    terminal = _text(
        "The recorded status. It is terminal if the job has ended.", enum=list(statuses.TERMINAL)
    )
    last = {
        ENDED: terminal,
        ERRORS_ANALYZED: terminal,
        STATUS_CHANGED: _text(
            "The new status. A status that the API does not list yet is passed on unchanged.",
            **{"not": {"enum": list(statuses.TERMINAL)}},
        ),
    }
    properties = {
        "jobArn": _text("The job's ARN.", pattern=_ARN),
        "jobName": _text("The job's name."),
        "modelId": _text("The model as Bedrock reports it."),
        "account": _text("The account of the job.", pattern="^[0-9]{12}$"),
        "region": _text("The Region of the job."),
        "status": last.get(
            kind, _text("The last recorded status. Absent for a job that was never read.")
        ),
        "previousStatus": _text(
            "The status that was recorded before. Absent if the status is the first recorded one."
        ),
        "message": _text(
            "Bedrock's message about the status, such as why a job failed. It can contain customer "
            "data.",
            maxLength=TEXT_CHARACTERS,
        ),
        "submitTime": _time("When the job was submitted."),
        "changedAt": _time("Bedrock's lastModifiedTime when the status was observed."),
        "durations": _object(
            {
                "queuedSeconds": _whole(
                    "From the submission until the job was first observed as InProgress."
                ),
                "runningSeconds": _whole("From the first observation of InProgress to the end."),
                "totalSeconds": _whole("From the submission to the end."),
            },
            description="Whole seconds. An unknown duration is absent.",
        ),
        "records": _object(
            {
                "total": _whole("Records in the input."),
                "processed": _whole("Records that were processed."),
                "success": _whole("Records that succeeded."),
                "error": _whole("Records that failed."),
                "errorShare": _number(
                    "Failed records / processed records, from 0 to 1 with five decimals.",
                    maximum=1,
                ),
            },
            description="Record counts as Bedrock reports them. An unknown count is absent.",
        ),
        "tags": {
            "type": "object",
            "description": "The tags of the job, by key. Absent if the job has none, if they could "
            "not be read yet, and with `readTags=false`.",
            "additionalProperties": {"type": "string"},
        },
        "inputS3Uri": _text("The location of the input."),
        "outputS3Uri": _text(
            "The folder of this job's output: the configured prefix and the job's id.",
            pattern="^s3://.+/$",
        ),
        "modelInvocationType": _text("InvokeModel or Converse."),
        "outcome": _text("The outcome of an ended job.", enum=list(OUTCOMES)),
        "endTime": _time("When the job ended."),
    }
    if kind is STATUS_CHANGED:
        for name in ("outcome", "endTime"):
            del properties[name]
        for name in ("runningSeconds", "totalSeconds"):
            del properties["durations"]["properties"][name]
    return properties


def _of_an_end() -> Schema:
    return {
        "tokens": _object(
            {
                "input": _whole("Tokens of the input."),
                "output": _whole("Tokens of the output."),
            },
            description="Token counts of the manifest, if it could be read when the end was "
            "detected. An unknown count is absent.",
        ),
        "estimatedCostUsd": _number(
            "The cost of the tokens at the prices in the settings, in USD, rounded to a millionth."
        ),
    }


def _of_an_analysis() -> Schema:
    group = _object(
        {
            "errorCode": {
                "type": ["integer", "string"],
                "description": "The error code of the records. Absent if they have none.",
            },
            "pattern": _text(
                "The message of the records; numbers, ids and quoted values are replaced. Absent "
                "with `recordMessages=false`.",
                maxLength=300,
            ),
            "count": _whole("Records in the group.", 1),
            "recordIds": {
                "type": "array",
                "maxItems": 5,
                "items": {"type": "string"},
                "description": "Some ids, in order. Absent with `recordMessages=false`.",
            },
        },
        ("count",),
    )
    records = {
        "total": _whole("Records of the job."),
        "success": _whole("Records with an output."),
        "error": _whole("Records with an error."),
        "missing": _whole("Records of the input without a result."),
    }
    retry_file = _object(
        {
            "s3Uri": _text("The file: a valid input of a new job.", pattern="^s3://.+$"),
            "records": _whole("Records in the file.", 1),
        },
        ("s3Uri", "records"),
        description="The failed and the missing records, if `retryFilePrefix` is set.",
    )
    return {
        "errorGroups": {
            "type": "array",
            "maxItems": 5,
            "items": group,
            "description": "The five largest groups of failed records, the largest first.",
        },
        "errorAnalysis": _object(
            {
                "analyzedAt": _time("When the results were read."),
                "complete": {
                    "type": "boolean",
                    "description": "Whether everything was read. If not, the numbers are those of "
                    "the records that were read, and there is no retry file.",
                },
                "records": _object(
                    records,
                    ("success", "error"),
                    description="Numbers of records by their results. An unknown number is absent.",
                ),
                "retryFile": retry_file,
            },
            ("analyzedAt", "complete", "records"),
            description="What was read.",
        ),
    }


def _add(properties: Schema, required: list[str], field: DataField) -> None:
    """Add a field; a name with a dot is a field of an inner object."""
    outer, _, inner = field.name.rpartition(".")
    schema = {
        FieldType.TEXT: _text,
        FieldType.TIME: _time,
        FieldType.WHOLE: _whole,
        FieldType.NUMBER: _number,
    }[field.type](field.description)
    if not outer:
        properties[inner] = schema
        if field.is_required:
            required.append(inner)
        return
    within = properties.setdefault(outer, _object({}, description="An unknown value is absent."))
    within["properties"][inner] = schema
    if field.is_required:
        within.setdefault("required", []).append(inner)
        if outer not in required:
            required.append(outer)


# Samples

_NOW: Final = from_iso("2026-11-24T20:30:16.123Z")
_ARN_OF_SAMPLE: Final = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdef123456"
_SUBMITTED: Final = _NOW - timedelta(seconds=3720)
_TAGS: Final = {"team": "search"}
_STARTED: Final = _SUBMITTED + timedelta(seconds=120)
_OBSERVATION: Final = JobObservation(
    job_arn=_ARN_OF_SAMPLE,
    status=statuses.IN_PROGRESS,
    model_id="anthropic.claude-sonnet-4-20250514-v1:0",
    job_name="nightly-summaries",
    submit_time=_SUBMITTED,
    last_modified_time=_STARTED,
    model_invocation_type="InvokeModel",
    input_data_config={"s3InputDataConfig": {"s3Uri": "s3://in/records.jsonl"}},
    output_data_config={"s3OutputDataConfig": {"s3Uri": "s3://out/results"}},
    counts=RecordCounts(1000, 420, 420, 0),
)
_ENTRY: Final = HistoryEntry(
    job_arn=_ARN_OF_SAMPLE,
    sequence=4,
    status=statuses.IN_PROGRESS,
    previous_status="Scheduled",
    observed_at=_NOW,
    observed_by="poll",
    changed_at=_STARTED,
    job_name=_OBSERVATION.job_name,
    model_id=_OBSERVATION.model_id,
    counts=_OBSERVATION.counts,
)


_ANALYSIS: Final = analysis_of(
    (
        ErrorGroup(429, "Too many requests, please wait <n> s.", 1, ("CALL0000017",)),
        ErrorGroup(400, "messages.<n>.content: Input should be a valid list", 1, ("CALL0000003",)),
    ),
    RecordTotals(998, 2, 0),
    complete=True,
    now=_NOW + timedelta(seconds=42),
    retry=(S3Uri("retries", "batch/abcdef123456/retry.jsonl"), 2),
    with_messages=True,
)


def sample_of(kind: EventKind) -> dict[str, Any]:
    """A sample event as a subscriber receives it."""
    delivered = as_delivered(_event_of(kind))
    name = uuid.UUID(delivered["detail"]["metadata"]["eventId"])
    return {
        "version": "0",
        "id": str(uuid.uuid5(name, "EventBridge's own id")),
        "detail-type": delivered["detail-type"],
        "source": delivered["source"],
        "account": "123456789012",
        "time": "2026-11-24T20:30:16Z",
        "region": "us-east-1",
        "resources": delivered["resources"],
        "detail": delivered["detail"],
    }


def _event_of(kind: EventKind) -> MonitorEvent:
    if kind in {ENDED, ERRORS_ANALYZED}:
        counts = RecordCounts(1000, 1000, 998, 2)
        entry = replace(
            _ENTRY,
            sequence=5,
            status=statuses.COMPLETED,
            previous_status=statuses.IN_PROGRESS,
            event_id=end_id(_ARN_OF_SAMPLE),
            changed_at=_NOW,
            counts=counts,
            usage=Usage(812_345, 104_020, Decimal("1.998668")),
            outcome="CompletedWithErrors",
        )
        observation = replace(
            _OBSERVATION, status=entry.status, end_time=_NOW, last_modified_time=_NOW
        )
        record = JobRecord(observation, entry, _STARTED, _TAGS)
        if kind is ERRORS_ANALYZED:
            return errors_event(StoredJob(_ARN_OF_SAMPLE, record), _ANALYSIS)
        return status_event(record, entry)
    if kind is SLOTS_AVAILABLE:
        values = {field.name: field.example for field in kind.fields}
        pending = PendingSlots(
            model_id=str(values["modelId"]),
            sequence=3,
            since=from_iso(str(values["fullSince"])),
            detected_at=_NOW,
            active=18,
            limit=20,
            name=str(values["slots.quotaName"]),
        )
        return slots_event(pending, Scope("123456789012", "us-east-1"), "aws")
    if kind is STATUS_CHANGED:
        entry = replace(_ENTRY, counts=RecordCounts(total=1000))
        return status_event(JobRecord(_OBSERVATION, entry, _STARTED, _TAGS), entry)
    assert kind.since is not None
    finding = Finding(
        kind,
        from_iso(str(kind.since.example)),
        {field.name: field.example for field in kind.fields},
    )
    stored = StoredJob(
        _ARN_OF_SAMPLE,
        JobRecord(_OBSERVATION, _ENTRY, _STARTED, _TAGS),
        last_error=JobError("AccessDeniedException", "not authorized to read the job"),
    )
    return condition_event(stored, pending_condition(finding, _ENTRY.sequence, now=_NOW))


def files() -> dict[str, str]:
    """The text of each published file, by its path below `schemas/`."""
    return {
        f"v{SCHEMA_VERSION}/{folder}{FILES[kind.detail_type]}": _as_text(document)
        for kind in KINDS
        for folder, document in (("", schema_for(kind)), ("samples/", sample_of(kind)))
    }


def write() -> None:
    """Write the published files."""
    for name, text in files().items():
        (SCHEMAS / name).write_text(text)


def _as_text(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
