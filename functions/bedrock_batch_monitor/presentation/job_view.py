"""A job as a page shows it, read from an item of the jobs table.

Anyone who can write to the table can write any item, so the item is read with the lenient readers
of `attributes`: nothing here raises, and the size of a rendered job is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import InvalidJobArnError, JobArn, Scope, scope_of
from bedrock_batch_monitor.domain.deadlines import moment_of
from bedrock_batch_monitor.domain.event_kinds import Severity
from bedrock_batch_monitor.domain.locations import output_s3_uri
from bedrock_batch_monitor.domain.outcomes import OUTCOMES, WITH_FAILED_RECORDS
from bedrock_batch_monitor.domain.plain_text import clean
from bedrock_batch_monitor.domain.summary import ABOUT_ONE_JOB
from bedrock_batch_monitor.domain.tags import tags_in
from bedrock_batch_monitor.domain.times import seconds_between
from bedrock_batch_monitor.presentation.attributes import (
    Item,
    count_of,
    map_of,
    number_of,
    text_of,
    time_of,
)

# Longer texts are cut. Bedrock's own limits, where it has one.
NAME_CHARACTERS: Final = 256
STATUS_CHARACTERS: Final = 40
MESSAGE_CHARACTERS: Final = 2048
# Room for a bucket name and the longest key. A longer URI names no object.
_URI_CHARACTERS: Final = 1100
_CODE_CHARACTERS: Final = 40
# What stands for the status of a job that has none.
NOT_POLLED: Final = "Not polled yet"
NEVER_READ: Final = "Never read"


@dataclass(frozen=True, slots=True)
class Job:
    """The values of one job that a page shows; None is unknown. Durations are in seconds."""

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
    observed: datetime | None = None
    sequence: int | None = None
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
    conditions: Mapping[str, datetime | None] = field(default_factory=dict)
    outcome: str | None = None
    is_unreachable: bool = False
    error_code: str | None = None
    unreachable_since: datetime | None = None
    error_at: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    deadline: datetime | None = None
    top_reason: str | None = None
    """Why most of the failed records failed, if `recordErrors` has found that out."""

    @property
    def label(self) -> str:
        """The name of the job, or its id if the name is unknown."""
        return self.name or self.job_id

    @property
    def shown_status(self) -> str:
        """The status, or why there is none. All counts by status use these words."""
        return self.status or (NOT_POLLED if self.error is None else NEVER_READ)

    @property
    def has_ended(self) -> bool:
        """Whether the status is terminal."""
        return self.status in statuses.TERMINAL

    @property
    def has_errors(self) -> bool:
        """Whether the job completed, and more of its records failed than `maxErrorShare` allows."""
        return self.outcome in WITH_FAILED_RECORDS

    @property
    def has_failed(self) -> bool:
        """Whether the job ended without all of its output: failed, partially completed, expired."""
        words = OUTCOMES.get(self.status or "")
        return words is not None and words.severity is not Severity.NOTE

    @property
    def is_active(self) -> bool:
        """Whether the job is tracked and has not ended."""
        return self.is_tracked and not self.has_ended

    @property
    def progress(self) -> float | None:
        """The fraction of the records that is processed, from 0 to 1."""
        if self.total is None or self.processed is None or self.total <= 0:
            return None
        return min(1.0, self.processed / self.total)

    @property
    def queued_seconds(self) -> int | None:
        """From the submission until the job was first observed as `InProgress`."""
        return seconds_between(self.submitted, self.began)

    @property
    def running_seconds(self) -> int | None:
        """From the first observation of `InProgress` to the end."""
        return seconds_between(self.began, self.ended)

    @property
    def total_seconds(self) -> int | None:
        """From the submission to the end."""
        return seconds_between(self.submitted, self.ended)


def models_in_use(jobs: Iterable[Job]) -> dict[Scope, list[str]]:
    """The model of each job that uses a slot, by account and Region, in their order.

    As in a poll, a job that Bedrock does not know uses no slot.
    """
    by_scope: dict[Scope, list[str]] = {}
    for job in jobs:
        is_gone = job.is_unreachable and job.error_code in ABOUT_ONE_JOB
        scope = scope_of(job.arn)
        if job.is_active and not is_gone and job.model is not None and scope is not None:
            by_scope.setdefault(scope, []).append(job.model)
    return dict(sorted(by_scope.items()))


def job_of(item: Item) -> Job:
    """Read an item of the jobs table: plain values (not DynamoDB's types) by attribute name."""
    arn = _arn(item)
    job_id = _job_id(arn)
    status = text_of(item, "status", STATUS_CHARACTERS)
    changed = time_of(item, "changedAt")
    observed = time_of(item, "observedAt")
    error = item.get("lastError")
    tokens = item.get("tokens")
    conditions = map_of(item, contract.CONDITIONS) or {}
    # Bedrock reports 0 for every count until it has validated the job, so they are unknown.
    counts = {} if count_of(item, "totalRecordCount") == 0 else item
    return Job(
        arn=arn,
        job_id=job_id,
        name=text_of(item, "jobName", NAME_CHARACTERS),
        model=text_of(item, "modelId", NAME_CHARACTERS),
        status=status,
        message=text_of(item, "message", MESSAGE_CHARACTERS),
        error=_error(error) if isinstance(error, Mapping) else None,
        submitted=time_of(item, "submitTime"),
        began=time_of(item, "firstInProgressAt"),
        changed=changed,
        observed=observed,
        sequence=count_of(item, "sequence"),
        ended=_ended(item, changed or observed) if status in statuses.TERMINAL else None,
        expires=time_of(item, "jobExpirationTime"),
        estimated_end=time_of(item, "estimatedEndTime"),
        records_per_minute=number_of(item, "recordsPerMinute"),
        total=count_of(counts, "totalRecordCount"),
        processed=count_of(counts, "processedRecordCount"),
        failed=count_of(counts, "errorRecordCount"),
        input_tokens=count_of(tokens, "input") if isinstance(tokens, Mapping) else None,
        output_tokens=count_of(tokens, "output") if isinstance(tokens, Mapping) else None,
        dollars=number_of(item, "estimatedCostUsd"),
        output_uri=_uri(output_s3_uri(map_of(item, "outputDataConfig"), job_id)),
        is_tracked=item.get(contract.TRACKING) == contract.TRACKING_ACTIVE,
        conditions={name: time_of(conditions, name) for name in conditions},
        outcome=_outcome(item, status),
        is_unreachable="unreachableSince" in item,
        error_code=text_of(error, "code", NAME_CHARACTERS) if isinstance(error, Mapping) else None,
        unreachable_since=time_of(item, "unreachableSince"),
        error_at=time_of(item, contract.LAST_ERROR_AT),
        tags=tags_in(item.get(contract.TAGS)),
        deadline=_deadline(item),
        top_reason=_top_reason(item),
    )


def _deadline(item: Item) -> datetime | None:
    text = item.get("deadline")
    return moment_of(text, time_of(item, "submitTime")) if isinstance(text, str) else None


def _outcome(item: Item, status: str | None) -> str | None:
    """The outcome of an ended job; its status if the item has no known outcome."""
    outcome = text_of(item, contract.OUTCOME, STATUS_CHARACTERS)
    return status if status in statuses.TERMINAL and outcome not in OUTCOMES else outcome


def _top_reason(item: Item) -> str | None:
    """The code and the message of the largest group of failed records."""
    groups = item.get("errorGroups")
    first = groups[0] if isinstance(groups, list) and groups else None
    if not isinstance(first, Mapping):
        return None
    number = count_of(first, "errorCode")
    code = text_of(first, "errorCode", _CODE_CHARACTERS) if number is None else str(number)
    parts = (code, text_of(first, "pattern", MESSAGE_CHARACTERS))
    return ": ".join(part for part in parts if part is not None) or None


def _ended(item: Item, otherwise: datetime | None) -> datetime | None:
    return time_of(item, "endTime") or otherwise


def _job_id(arn: str) -> str:
    try:
        return JobArn.parse(arn).job_id
    except InvalidJobArnError:
        return clean(arn.rpartition(":")[2], NAME_CHARACTERS) or "unknown"


def _error(error: Mapping[str, Any]) -> str:
    parts = (text_of(error, "code", NAME_CHARACTERS), text_of(error, "message", MESSAGE_CHARACTERS))
    return ": ".join(part for part in parts if part is not None) or "unknown error"


def _arn(item: Item) -> str:
    """The key of the item, unchanged, because items are looked up by it."""
    value = item.get("jobArn")
    return value if isinstance(value, str) else ""


def _uri(uri: str | None) -> str | None:
    return uri if uri is not None and len(uri) <= _URI_CHARACTERS else None
