"""The names that stack, function and tools share: indexes, key attributes, events, metrics."""

from __future__ import annotations

from typing import Final

# In the items of the jobs and the history table. The other attributes are in
# `adapters/dynamodb/attributes.py`, with the types of all.
JOB_ARN: Final = "jobArn"
SEQUENCE: Final = "sequence"
STATUS: Final = "status"
MODEL_ID: Final = "modelId"
OBSERVED_AT: Final = "observedAt"
EVENT_ID: Final = "eventId"
OUTCOME: Final = "outcome"
ERROR_SHARE: Final = "errorShare"
CONDITIONS: Final = "conditions"
TAGS: Final = "tags"

# Jobs table: one item per tracked job.
ACTIVE_JOBS_INDEX: Final = "active-jobs"
TRACKING: Final = "tracking"
TRACKING_ACTIVE: Final = "ACTIVE"
TRACKED_BY: Final = "trackedBy"
TRACKED_AT: Final = "trackedAt"
LAST_ERROR: Final = "lastError"
LAST_ERROR_AT: Final = "lastErrorAt"

# Jobs with a pending event; sparse, as the active-jobs index is.
PENDING_EVENTS_INDEX: Final = "pending-events"
EVENT_PENDING: Final = "eventPending"
EVENT_PENDING_VALUE: Final = "PENDING"
PENDING_SINCE: Final = "pendingSince"

# Jobs whose token counts are still to be read; sparse, too.
USAGE_PENDING_INDEX: Final = "usage-pending"
USAGE_PENDING: Final = "usagePending"
USAGE_PENDING_VALUE: Final = "PENDING"
USAGE_DUE_AT: Final = "usageDueAt"

# How many Step Functions tasks were registered for a job's end. The tokens are secrets and are
# stored in the outbox table alone.
TASK_REVISION: Final = "taskRevision"

# When the last command on a job's tracking was sent; an older command is ignored.
COMMAND_AT: Final = "commandAt"

# History table: one item per observed transition.
BY_STATUS_INDEX: Final = "by-status"
EXPIRES_AT: Final = "expiresAt"

# State table: the monitor's own bookmarks, one item per monitored account and Region.
STATE_KEY: Final = "scope"


def slots_key(scope: str) -> str:
    """The key of the item about slots of an account and Region, in the state table."""
    return f"{scope}#slots"


# Outbox table: what readers of the jobs table must not see (task tokens), and what an item that is
# put again would lose (pending events of conditions). Key: `jobArn` and this; items have
# `expiresAt` as their time to live.
OUTBOX_ENTRY: Final = "entry"

EVENT_SOURCE: Final = "bedrock-batch-monitor"

METRICS_NAMESPACE: Final = "BedrockBatchMonitor"


def member_role_arn(partition: str, account: str, name: str, region: str) -> str:
    """The ARN of the role to assume for the jobs of an account in a Region.

    Roles are global in an account. With the Region in its name, the stack in each Region has a role
    of its own, for the jobs of that Region alone.
    """
    return f"arn:{partition}:iam::{account}:role/{member_role_name(name, region)}"


def member_role_name(name: str, region: str) -> str:
    """The name of that role."""
    return f"{name}-{region}"


def external_id(account: str, region: str) -> str:
    """The default external ID that a member's role requires: the monitor's account and Region."""
    return f"{account}/{region}"
