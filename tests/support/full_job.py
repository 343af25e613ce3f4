"""A job with every attribute: as the domain's values, and as the items that DynamoDB stores.

The items are literal: together they are the stored format, which the tables of a deployment that is
updated already have.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

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
from bedrock_batch_monitor.domain.token_usage import FollowUp, UsageProblem
from tests.support.strategies import ARN

Item = dict[str, Any]
KEY: Final[Item] = {"jobArn": {"S": ARN}}


def at(minute: int) -> datetime:
    """A time of its own for each attribute."""
    return datetime(2026, 11, 24, 20, minute, 16, 123000, tzinfo=UTC)


# What Bedrock answers.
OBSERVATION: Final = JobObservation(
    job_arn=ARN,
    status="Completed",
    model_id="amazon.nova-lite-v1:0",
    job_name="nightly",
    message="one record failed",
    submit_time=at(1),
    last_modified_time=at(2),
    end_time=at(3),
    job_expiration_time=at(4),
    timeout_duration_in_hours=24,
    role_arn="arn:aws:iam::123456789012:role/batch",
    client_request_token="a-token",  # noqa: S106 - an idempotency token
    model_invocation_type="Converse",
    input_data_config={"s3InputDataConfig": {"s3Uri": "s3://in/", "s3InputFormat": "JSONL"}},
    output_data_config={"s3OutputDataConfig": {"s3Uri": "s3://out/"}},
    vpc_config={"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1", "sg-2"]},
    counts=RecordCounts(10, 9, 8, 1),
)
OF_OBSERVATION: Final[Item] = {
    "status": {"S": "Completed"},
    "modelId": {"S": "amazon.nova-lite-v1:0"},
    "jobName": {"S": "nightly"},
    "message": {"S": "one record failed"},
    "submitTime": {"S": "2026-11-24T20:01:16.123Z"},
    "lastModifiedTime": {"S": "2026-11-24T20:02:16.123Z"},
    "endTime": {"S": "2026-11-24T20:03:16.123Z"},
    "jobExpirationTime": {"S": "2026-11-24T20:04:16.123Z"},
    "timeoutDurationInHours": {"N": "24"},
    "roleArn": {"S": "arn:aws:iam::123456789012:role/batch"},
    "clientRequestToken": {"S": "a-token"},
    "modelInvocationType": {"S": "Converse"},
    "inputDataConfig": {
        "M": {
            "s3InputDataConfig": {
                "M": {"s3Uri": {"S": "s3://in/"}, "s3InputFormat": {"S": "JSONL"}}
            }
        }
    },
    "outputDataConfig": {"M": {"s3OutputDataConfig": {"M": {"s3Uri": {"S": "s3://out/"}}}}},
    "vpcConfig": {
        "M": {
            "subnetIds": {"L": [{"S": "subnet-1"}]},
            "securityGroupIds": {"L": [{"S": "sg-1"}, {"S": "sg-2"}]},
        }
    },
    "totalRecordCount": {"N": "10"},
    "processedRecordCount": {"N": "9"},
    "successRecordCount": {"N": "8"},
    "errorRecordCount": {"N": "1"},
}

# What a job used, found at its end.
USAGE: Final = Usage(1200, 340, Decimal("0.000123"))
OF_USAGE: Final[Item] = {
    "tokens": {"M": {"input": {"N": "1200"}, "output": {"N": "340"}}},
    "estimatedCostUsd": {"N": "0.000123"},
}

# The last transition: in the job's item, and in the history.
ENTRY: Final = HistoryEntry(
    job_arn=ARN,
    sequence=3,
    status="Completed",
    observed_at=at(5),
    observed_by="poll",
    event_id="an-event-id",
    previous_status="InProgress",
    changed_at=at(6),
    seconds_in_previous_status=600,
    job_name=OBSERVATION.job_name,
    model_id=OBSERVATION.model_id,
    message=OBSERVATION.message,
    counts=OBSERVATION.counts,
    usage=USAGE,
    backfilled=True,
    outcome="CompletedWithErrors",
    error_share=0.125,
)
OF_TRANSITION: Final[Item] = {
    "sequence": {"N": "3"},
    "previousStatus": {"S": "InProgress"},
    "changedAt": {"S": "2026-11-24T20:06:16.123Z"},
    "observedAt": {"S": "2026-11-24T20:05:16.123Z"},
    "observedBy": {"S": "poll"},
    "secondsInPreviousStatus": {"N": "600"},
    "eventId": {"S": "an-event-id"},
    "outcome": {"S": "CompletedWithErrors"},
    "errorShare": {"N": "0.125"},
    "backfilled": {"BOOL": True},
}
OF_ENTRY: Final[Item] = {
    **KEY,
    **OF_TRANSITION,
    **OF_USAGE,
    **{
        name: OF_OBSERVATION[name]
        for name in (
            *("status", "jobName", "modelId", "message"),
            *("totalRecordCount", "processedRecordCount"),
            *("successRecordCount", "errorRecordCount"),
        )
    },
}

TAGS: Final = {"team": "search", "stage": "prod"}
OF_TAGS: Final[Item] = {"tags": {"M": {"team": {"S": "search"}, "stage": {"S": "prod"}}}}
RECORD: Final = JobRecord(OBSERVATION, ENTRY, at(7), TAGS)
OF_FIRST_IN_PROGRESS: Final[Item] = {"firstInProgressAt": {"S": "2026-11-24T20:07:16.123Z"}}

# When the job will end.
ESTIMATE: Final = Estimate(12.5, at(8))
OF_ESTIMATE: Final[Item] = {
    "recordsPerMinute": {"N": "12.5"},
    "estimatedEndTime": {"S": "2026-11-24T20:08:16.123Z"},
}

# Token counts that are still to be read.
FOLLOW_UP: Final = FollowUp(UsageProblem("NoManifest", "there is none yet"), at(9))
OF_FOLLOW_UP: Final[Item] = {
    "usageError": {"M": {"code": {"S": "NoManifest"}, "message": {"S": "there is none yet"}}},
    "usagePending": {"S": "PENDING"},
    "usageDueAt": {"S": "2026-11-24T20:09:16.123Z"},
}

# Reads that failed.
ERROR: Final = JobError("AccessDeniedException", "no")
OF_ERRORS: Final[Item] = {
    "lastError": {"M": {"code": {"S": "AccessDeniedException"}, "message": {"S": "no"}}},
    "lastErrorAt": {"S": "2026-11-24T20:10:16.123Z"},
    "unreadablePolls": {"N": "2"},
    "unreachableSince": {"S": "2026-11-24T20:11:16.123Z"},
    "failingSince": {"S": "2026-11-24T20:12:16.123Z"},
}

# The rest, which is written by itself.
EPISODE: Final[Item] = {
    "M": {"began": {"S": "2026-11-24T20:13:16.123Z"}, "ended": {"S": "2026-11-24T20:14:16.123Z"}}
}
OF_ANALYSIS: Final[Item] = {
    "errorGroups": {"L": [{"M": {"errorCode": {"N": "400"}, "count": {"N": "1"}}}]},
    "errorAnalysis": {
        "M": {
            "analyzedAt": {"S": "2026-11-24T20:15:16.123Z"},
            "complete": {"BOOL": True},
            "records": {"M": {"success": {"N": "8"}, "error": {"N": "1"}}},
        }
    },
}
ITEM: Final[Item] = {
    **KEY,
    **OF_OBSERVATION,
    **OF_TRANSITION,
    **OF_USAGE,
    **OF_FIRST_IN_PROGRESS,
    **OF_ESTIMATE,
    **OF_FOLLOW_UP,
    **OF_ERRORS,
    **OF_TAGS,
    **OF_ANALYSIS,
    "progressAt": {"S": "2026-11-24T20:16:16.123Z"},
    "tracking": {"S": "ACTIVE"},
    "trackedBy": {"S": "discovery"},
    "trackedAt": {"S": "2026-11-24T20:17:16.123Z"},
    "commandAt": {"S": "2026-11-24T20:18:16.123Z"},
    "tagsPending": {"BOOL": True},
    "deadline": {"S": "2026-11-24T20:19:16.123Z"},
    "deadlineBy": {"S": "tag"},
    "conditions": {
        "M": {
            "Stalled": {"S": "2026-11-24T20:20:16.123Z"},
            "AtRisk": {"S": "2026-11-24T20:21:16.123Z"},
        }
    },
    "lastStalled": EPISODE,
    "lastAtRisk": EPISODE,
    "lastDeadlineMissed": EPISODE,
    "lastUnreachable": EPISODE,
    "eventPending": {"S": "PENDING"},
    "pendingSince": {"S": "2026-11-24T20:22:16.123Z"},
    "pendingEvents": {"SS": ["Ended#3", "Tasks#3"]},
    "eventPublishedAt": {"S": "2026-11-24T20:23:16.123Z"},
    "taskRevision": {"N": "4"},
    "taskTokenError": {"S": "InvalidToken"},
    "taskTokenErrorAt": {"S": "2026-11-24T20:24:16.123Z"},
    "usageReadAt": {"S": "2026-11-24T20:25:16.123Z"},
}

TRACKED: Final = TrackedJob(
    job_arn=ARN,
    sequence=3,
    status="Completed",
    changed_at=at(6),
    last_modified_time=at(2),
    first_in_progress_at=at(7),
    counts=OBSERVATION.counts,
    progress_at=at(16),
    last_error=ERROR,
    unreadable_polls=2,
    unreachable_since=at(11),
    submit_time=at(1),
    records_per_minute=12.5,
    conditions={"Stalled": at(20), "AtRisk": at(21)},
    event_id="an-event-id",
    failing_since=at(12),
    backfilled=True,
    task_revision=4,
    deadline="2026-11-24T20:19:16.123Z",
    tags_pending=True,
)
STORED: Final = StoredJob(
    job_arn=ARN,
    record=RECORD,
    pending_events=frozenset({"Ended#3", "Tasks#3"}),
    last_error=ERROR,
    usage_is_pending=True,
    usage_due_at=at(9),
    task_revision=4,
    pending_since=at(22),
    tags_pending=True,
    deadline_by="tag",
)
