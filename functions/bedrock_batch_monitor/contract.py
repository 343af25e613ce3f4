"""The names that stack, function and tools share: indexes, key attributes, events, metrics."""

from __future__ import annotations

from typing import Final

# Jobs table: one item per tracked job.
ACTIVE_JOBS_INDEX: Final = "active-jobs"
TRACKING: Final = "tracking"
TRACKING_ACTIVE: Final = "ACTIVE"

# Jobs with an event that is still to be sent; sparse, as the active-jobs index is.
PENDING_EVENTS_INDEX: Final = "pending-events"
EVENT_PENDING: Final = "eventPending"
EVENT_PENDING_VALUE: Final = "PENDING"
PENDING_SINCE: Final = "pendingSince"

# Jobs whose token counts are to be looked for again; sparse, too.
USAGE_PENDING_INDEX: Final = "usage-pending"
USAGE_PENDING: Final = "usagePending"
USAGE_PENDING_VALUE: Final = "PENDING"
USAGE_DUE_AT: Final = "usageDueAt"

# How often a Step Functions task was registered for a job's end. The tokens are secrets, and are in
# the outbox table alone.
TASK_REVISION: Final = "taskRevision"

# When the last command on a job's tracking was sent; an older one does not count.
COMMAND_AT: Final = "commandAt"

# What a poll needs to know of a job before it asks Bedrock; the rest stays in the base table. An
# index projects at most 20 attributes.
ACTIVE_JOBS_PROJECTION: Final = (
    "status",
    "sequence",
    "changedAt",
    "submitTime",
    "lastModifiedTime",
    "firstInProgressAt",
    "totalRecordCount",
    "processedRecordCount",
    "successRecordCount",
    "errorRecordCount",
    "progressAt",
    "lastError",
    "unreadablePolls",
    "unreachableSince",
    "stalledSince",
    "recordsPerMinute",
    "atRiskSince",
    "eventId",
    "failingSince",
    "taskRevision",
)

# History table: one item per observed transition.
BY_STATUS_INDEX: Final = "by-status"
BY_STATUS_PROJECTION: Final = (
    "previousStatus",
    "changedAt",
    "jobName",
    "modelId",
    "message",
    "totalRecordCount",
    "processedRecordCount",
    "successRecordCount",
    "errorRecordCount",
)
EXPIRES_AT: Final = "expiresAt"

# State table: the monitor's own bookmarks, one item per monitored account and region.
STATE_KEY: Final = "scope"

# Outbox table: what the monitor still has to send that no reader of the jobs table may see (task
# tokens), and what must survive an item that is put again (events of conditions). Key: `jobArn`
# and this; items have `expiresAt` as their time to live.
OUTBOX_ENTRY: Final = "entry"

EVENT_SOURCE: Final = "bedrock-batch-monitor"
JOB_ENDED: Final = "Batch Inference Job Ended"
JOB_STATUS_CHANGED: Final = "Batch Inference Job Status Changed"
JOB_STALLED: Final = "Batch Inference Job Stalled"
JOB_UNREACHABLE: Final = "Batch Inference Job Unreachable"
JOB_AT_RISK: Final = "Batch Inference Job At Risk"

METRICS_NAMESPACE: Final = "BedrockBatchMonitor"


def member_role_arn(partition: str, account: str, name: str, region: str) -> str:
    """The ARN of the role to assume for the jobs of an account in a region.

    A role belongs to an account, not to a region; with the region in its name each stack in the
    account has a role of its own, for that region's jobs alone.
    """
    return f"arn:{partition}:iam::{account}:role/{member_role_name(name, region)}"


def member_role_name(name: str, region: str) -> str:
    """The name of that role."""
    return f"{name}-{region}"


def function_role_name(module: str, region: str) -> str:
    """The name of a function's role, where roles of other accounts are to trust it."""
    return f"BedrockBatchMonitor-{module}-{region}"


def external_id(account: str, region: str) -> str:
    """What a member's role asks for unless a setting says otherwise: whose monitor it is."""
    return f"{account}/{region}"
