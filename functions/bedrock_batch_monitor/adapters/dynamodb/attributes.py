"""The attributes of the monitor's items: their names, types, fields in the domain, and lifetimes.

Everything that reads or writes an item, and the projections of the indexes, follows from this
table. A domain type has an attribute if it has the attribute's field: the name in snake_case,
unless the row names another one. Record counts are fields of `RecordCounts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import Enum, IntEnum, auto
from typing import Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.domain.event_kinds import CONDITIONS
from bedrock_batch_monitor.domain.jobs import (
    HistoryEntry,
    JobObservation,
    RecordCounts,
    TrackedJob,
)

PROGRESS_AT: Final = "progressAt"
FIRST_IN_PROGRESS_AT: Final = "firstInProgressAt"
LAST_MODIFIED_TIME: Final = "lastModifiedTime"
UNREADABLE_POLLS: Final = "unreadablePolls"
UNREACHABLE_SINCE: Final = "unreachableSince"
FAILING_SINCE: Final = "failingSince"
RECORDS_PER_MINUTE: Final = "recordsPerMinute"
ESTIMATED_END_TIME: Final = "estimatedEndTime"
PENDING_EVENTS: Final = "pendingEvents"
BACKFILLED: Final = "backfilled"
TOKENS: Final = "tokens"
ESTIMATED_COST_USD: Final = "estimatedCostUsd"
USAGE_ERROR: Final = "usageError"
ERROR_GROUPS: Final = "errorGroups"
ERROR_ANALYSIS: Final = "errorAnalysis"
USAGE_READ_AT: Final = "usageReadAt"
DEADLINE: Final = "deadline"
DEADLINE_BY: Final = "deadlineBy"
TAGS_PENDING: Final = "tagsPending"
EVENT_PUBLISHED_AT: Final = "eventPublishedAt"
TASK_TOKEN_ERROR: Final = "taskTokenError"  # noqa: S105 - the name of an attribute
TASK_TOKEN_ERROR_AT: Final = "taskTokenErrorAt"  # noqa: S105 - the name of an attribute

START_AT: Final = "startAt"
PENDING_FROM: Final = "pendingFrom"
RESYNCED_UNTIL: Final = "resyncedUntil"
BACKFILLED_SINCE: Final = "backfilledSince"
DISCOVERY_BEGAN_AT: Final = "discoveryBeganAt"
DISCOVERED_UNTIL: Final = "discoveredUntil"
DISCOVERY_OFF_SINCE: Final = "discoveryOffSince"
DISCOVERY_ON_AGAIN_AT: Final = "discoveryOnAgainAt"
QUOTAS: Final = "quotas"
QUOTAS_DUE_AT: Final = "quotasDueAt"
FULL_MODELS: Final = "fullModels"
PENDING_SLOTS: Final = "pendingSlots"
REVISION: Final = "revision"
# What the item about slots has, in the state table.
OF_SLOTS: Final = (
    QUOTAS,
    QUOTAS_DUE_AT,
    FULL_MODELS,
    PENDING_SLOTS,
    contract.SEQUENCE,
    REVISION,
)


class Kind(IntEnum):
    """The type of an attribute: how it is written, and what is accepted when it is read.

    An `IntEnum`, whose hash is quick: the kind of each attribute of each item is looked up.
    """

    TEXT = auto()
    NUMBER = auto()
    """A whole number from 0."""
    RATE = auto()
    """A number above 0."""
    SHARE = auto()
    """A number from 0 to 1."""
    TIME = auto()
    OPTIONAL_TIME = auto()
    """A time on which nothing depends: another value is read as an unknown one."""
    OPTIONAL_TEXT = auto()
    """A text on which nothing else depends: another value is read as an unknown one."""
    TAGS = auto()
    """A map of texts; another value is read as no tags."""
    MAP = auto()
    TIMES = auto()
    """A map of times by name."""
    TEXT_SET = auto()
    FLAG = auto()
    """True, or absent."""
    ERROR = auto()
    """A code and a message; another value is read as an unknown one and replaced."""
    USAGE = auto()
    """Part of a `Usage`, read leniently."""
    ANALYSIS = auto()
    """Part of an `ErrorAnalysis`, read leniently."""


class Group(Enum):
    """What replaces an attribute of a job's item, or removes it where it is unknown by then."""

    ITEM = auto()
    """Writes of its own."""
    OBSERVED = auto()
    """The next answer of Bedrock."""
    KEPT = auto()
    """The next answer that has it: without these an older answer would not be recognized."""
    UNREADABLE = auto()
    """The next successful read."""
    TRANSITION = auto()
    """The next transition."""
    CONDITION = auto()
    """The conditions that hold, at each write of an answer."""
    ESTIMATE = auto()
    """Counts that move, a stall, or the next transition."""
    USAGE = auto()
    """The manifest, or the next transition."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute.

    `is_indexed` says whether the active-jobs index has it if a `TrackedJob` does, `in_by_status`
    whether the index of the history has it.
    """

    name: str
    kind: Kind
    group: Group
    field: str
    is_indexed: bool = True
    in_by_status: bool = False


def _attribute(
    name: str,
    kind: Kind,
    group: Group = Group.ITEM,
    field: str | None = None,
    **flags: bool,
) -> Attribute:
    snake_case = re.sub(r"([A-Z])", lambda match: f"_{match[1].lower()}", name)
    return Attribute(name, kind, group, snake_case if field is None else field, **flags)


def last_episode(condition: str) -> str:
    """The attribute with the times `began` and `ended` of the last episode of a condition."""
    return f"last{condition}"


JOB_ATTRIBUTES: Final = (
    _attribute(contract.JOB_ARN, Kind.TEXT, is_indexed=False),
    # The last transition
    _attribute(contract.SEQUENCE, Kind.NUMBER, Group.TRANSITION),
    _attribute("previousStatus", Kind.TEXT, Group.TRANSITION, in_by_status=True),
    _attribute("changedAt", Kind.TIME, Group.TRANSITION, in_by_status=True),
    _attribute(contract.OBSERVED_AT, Kind.TIME, Group.TRANSITION),
    _attribute("observedBy", Kind.TEXT, Group.TRANSITION),
    _attribute("secondsInPreviousStatus", Kind.NUMBER, Group.TRANSITION),
    # The index, which is full, does not have it: only an ended job that is tracked again needs it.
    _attribute(contract.EVENT_ID, Kind.TEXT, Group.TRANSITION, is_indexed=False),
    _attribute(contract.OUTCOME, Kind.TEXT, Group.TRANSITION, in_by_status=True),
    _attribute(contract.ERROR_SHARE, Kind.SHARE, Group.TRANSITION),
    _attribute(FIRST_IN_PROGRESS_AT, Kind.TIME, Group.TRANSITION),
    _attribute(PROGRESS_AT, Kind.TIME, Group.TRANSITION),
    # GetModelInvocationJob
    _attribute("jobName", Kind.TEXT, Group.OBSERVED, in_by_status=True),
    _attribute("modelId", Kind.TEXT, Group.OBSERVED, in_by_status=True),
    _attribute(contract.STATUS, Kind.TEXT, Group.OBSERVED),
    _attribute("message", Kind.TEXT, Group.OBSERVED, in_by_status=True),
    _attribute("submitTime", Kind.TIME, Group.KEPT),
    _attribute(LAST_MODIFIED_TIME, Kind.TIME, Group.KEPT),
    _attribute("endTime", Kind.TIME, Group.OBSERVED),
    _attribute("jobExpirationTime", Kind.TIME, Group.KEPT),
    _attribute("timeoutDurationInHours", Kind.NUMBER, Group.OBSERVED),
    _attribute("roleArn", Kind.TEXT, Group.OBSERVED),
    _attribute("clientRequestToken", Kind.TEXT, Group.OBSERVED),
    _attribute("modelInvocationType", Kind.TEXT, Group.OBSERVED),
    _attribute("inputDataConfig", Kind.MAP, Group.OBSERVED),
    _attribute("outputDataConfig", Kind.MAP, Group.OBSERVED),
    _attribute("vpcConfig", Kind.MAP, Group.OBSERVED),
    _attribute("totalRecordCount", Kind.NUMBER, Group.OBSERVED, "total", in_by_status=True),
    _attribute("processedRecordCount", Kind.NUMBER, Group.OBSERVED, "processed", in_by_status=True),
    _attribute("successRecordCount", Kind.NUMBER, Group.OBSERVED, "success", in_by_status=True),
    _attribute("errorRecordCount", Kind.NUMBER, Group.OBSERVED, "error", in_by_status=True),
    # Tracking
    _attribute(contract.TRACKING, Kind.TEXT),
    _attribute(contract.TRACKED_BY, Kind.TEXT),
    _attribute(contract.TRACKED_AT, Kind.TIME),
    _attribute(contract.COMMAND_AT, Kind.OPTIONAL_TIME),
    # The index does not have it: writes that depend on it find out.
    _attribute(BACKFILLED, Kind.FLAG, is_indexed=False),
    # Owner and deadline
    _attribute(contract.TAGS, Kind.TAGS),
    _attribute(TAGS_PENDING, Kind.FLAG),
    _attribute(DEADLINE, Kind.TEXT),
    _attribute(DEADLINE_BY, Kind.OPTIONAL_TEXT),
    # Reads that fail, and conditions
    _attribute(contract.LAST_ERROR, Kind.ERROR, Group.UNREADABLE),
    _attribute(contract.LAST_ERROR_AT, Kind.TIME, Group.UNREADABLE),
    _attribute(UNREADABLE_POLLS, Kind.NUMBER, Group.UNREADABLE),
    _attribute(UNREACHABLE_SINCE, Kind.TIME, Group.UNREADABLE),
    _attribute(FAILING_SINCE, Kind.TIME, Group.UNREADABLE),
    _attribute(contract.CONDITIONS, Kind.TIMES, Group.CONDITION),
    *(_attribute(last_episode(kind.name), Kind.MAP) for kind in CONDITIONS),
    _attribute(RECORDS_PER_MINUTE, Kind.RATE, Group.ESTIMATE),
    _attribute(ESTIMATED_END_TIME, Kind.TIME, Group.ESTIMATE, "ends_at"),
    # Pending events and Step Functions tasks
    _attribute(contract.EVENT_PENDING, Kind.TEXT),
    _attribute(contract.PENDING_SINCE, Kind.OPTIONAL_TIME),
    _attribute(PENDING_EVENTS, Kind.TEXT_SET),
    _attribute(EVENT_PUBLISHED_AT, Kind.OPTIONAL_TIME),
    _attribute(contract.TASK_REVISION, Kind.NUMBER),
    _attribute(TASK_TOKEN_ERROR, Kind.TEXT),
    _attribute(TASK_TOKEN_ERROR_AT, Kind.TIME),
    # Usage
    _attribute(TOKENS, Kind.USAGE, Group.USAGE),
    _attribute(ESTIMATED_COST_USD, Kind.USAGE, Group.USAGE),
    _attribute(USAGE_READ_AT, Kind.TIME, Group.USAGE),
    _attribute(USAGE_ERROR, Kind.ERROR, Group.USAGE),
    _attribute(contract.USAGE_PENDING, Kind.TEXT, Group.USAGE),
    _attribute(contract.USAGE_DUE_AT, Kind.OPTIONAL_TIME, Group.USAGE),
    # Errors of records
    _attribute(ERROR_GROUPS, Kind.ANALYSIS),
    _attribute(ERROR_ANALYSIS, Kind.ANALYSIS),
)

# The state table; each row names the field of `State`, `Bookmark` or `ListPosition`.
STATE_ATTRIBUTES: Final = (
    _attribute(START_AT, Kind.TEXT),
    _attribute(PENDING_FROM, Kind.TIME),
    _attribute(RESYNCED_UNTIL, Kind.TIME),
    _attribute(BACKFILLED_SINCE, Kind.TIME),
)
BOOKMARK_ATTRIBUTES: Final = (
    _attribute(DISCOVERY_BEGAN_AT, Kind.TIME, field="began_at"),
    _attribute(DISCOVERED_UNTIL, Kind.TIME, field="seen_until"),
    _attribute("fullListAt", Kind.TIME),
    _attribute(DISCOVERY_OFF_SINCE, Kind.TIME, field="off_since"),
    _attribute(DISCOVERY_ON_AGAIN_AT, Kind.TIME, field="on_again_at"),
    _attribute("jobsTableId", Kind.TEXT, field="table_id"),
)
LIST_POSITION_ATTRIBUTES: Final = (
    _attribute("listedFrom", Kind.TIME, field="submitted_after"),
    _attribute("listToken", Kind.TEXT, field="token"),
)


COUNT_FIELDS: Final = frozenset(RecordCounts._fields)


def of_type(domain_type: type[Any]) -> tuple[Attribute, ...]:
    """The attributes of a job that a domain type has fields for, its record counts included."""
    names = {each.name for each in fields(domain_type)}
    if "counts" in names:
        names |= COUNT_FIELDS
    return tuple(each for each in JOB_ATTRIBUTES if each.field in names)


def in_groups(*groups: Group) -> tuple[str, ...]:
    """The names of the attributes in these groups."""
    return tuple(each.name for each in JOB_ATTRIBUTES if each.group in groups)


def names_of(attributes: Iterable[Attribute]) -> tuple[str, ...]:
    """The names of these attributes."""
    return tuple(each.name for each in attributes)


OBSERVED: Final = in_groups(Group.OBSERVED, Group.KEPT)

# What a poll needs to know of a job before it calls Bedrock: what `TrackedJob` has fields for. An
# index projects at most 20 attributes.
ACTIVE_JOBS_PROJECTION: Final = names_of(each for each in of_type(TrackedJob) if each.is_indexed)
BY_STATUS_PROJECTION: Final = names_of(each for each in JOB_ATTRIBUTES if each.in_by_status)

# What each kind of history entry has; `expiresAt` and usage come in addition.
OF_ENTRY: Final = of_type(HistoryEntry)
OF_OBSERVATION: Final = of_type(JobObservation)
