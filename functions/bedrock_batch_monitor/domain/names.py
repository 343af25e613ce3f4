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

# What a poll needs to know of a job before it asks Bedrock; the rest stays in the base table.
ACTIVE_JOBS_PROJECTION: Final = (
    "status",
    "sequence",
    "changedAt",
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

EVENT_SOURCE: Final = "bedrock-batch-monitor"
JOB_ENDED: Final = "Batch Inference Job Ended"
JOB_STATUS_CHANGED: Final = "Batch Inference Job Status Changed"
JOB_STALLED: Final = "Batch Inference Job Stalled"
JOB_UNREACHABLE: Final = "Batch Inference Job Unreachable"

METRICS_NAMESPACE: Final = "BedrockBatchMonitor"
