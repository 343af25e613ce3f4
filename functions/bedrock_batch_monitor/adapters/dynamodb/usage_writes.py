"""Token counts that were not known at a job's end: which are due, and what is found of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import attributes, items, write_conditions
from bedrock_batch_monitor.adapters.dynamodb.attributes import Group
from bedrock_batch_monitor.adapters.dynamodb.connection import query
from bedrock_batch_monitor.adapters.dynamodb.expressions import UpdateExpression
from bedrock_batch_monitor.adapters.dynamodb.job_items import JobItems
from bedrock_batch_monitor.adapters.dynamodb.writes import WriteResult
from bedrock_batch_monitor.domain.jobs import Usage
from bedrock_batch_monitor.domain.token_usage import FollowUp

_USAGE: Final = attributes.in_groups(Group.USAGE)
_FOLLOW_UP: Final = (attributes.USAGE_ERROR, contract.USAGE_PENDING, contract.USAGE_DUE_AT)


class UsageWrites(JobItems):
    """The token counts of ended jobs, in their items. All raise `ServiceError`.

    A conflict means that another poll has looked for the counts meanwhile.
    """

    def with_usage_due(self, now: datetime) -> Iterator[str]:
        """ARNs of the jobs whose token counts are due to be read, longest due first."""
        for item in query(
            self._client,
            {
                "TableName": self._name,
                "IndexName": contract.USAGE_PENDING_INDEX,
                "KeyConditionExpression": (
                    f"{contract.USAGE_PENDING} = :pending AND {contract.USAGE_DUE_AT} <= :now"
                ),
                "ExpressionAttributeValues": {
                    ":pending": items.text(contract.USAGE_PENDING_VALUE),
                    ":now": items.time(now),
                },
            },
        ):
            yield item[contract.JOB_ARN]["S"]

    def add_usage(
        self, job_arn: str, usage: Usage, *, due_at: datetime, now: datetime
    ) -> WriteResult:
        """Store what a job used.

        `usageReadAt` distinguishes such figures from those that the event of the job's end has.
        """
        update = UpdateExpression()
        found = items.usage_attributes(usage) | {attributes.USAGE_READ_AT: items.time(now)}
        update.replace(found, out_of=_USAGE)
        return self._update(job_arn, update, write_conditions.still_due(due_at, update))

    def postpone_usage(self, job_arn: str, follow_up: FollowUp, *, due_at: datetime) -> WriteResult:
        """Store when to look for a job's token counts again, or that this is over."""
        update = UpdateExpression()
        update.replace(items.follow_up_attributes(follow_up), out_of=_FOLLOW_UP)
        return self._update(job_arn, update, write_conditions.still_due(due_at, update))

    def forget_usage(self, job_arn: str) -> WriteResult:
        """Remove a job from the usage-pending index, whatever its item says."""
        update = UpdateExpression()
        update.remove(contract.USAGE_PENDING, contract.USAGE_DUE_AT)
        return self._update(job_arn, update, update.exists(contract.USAGE_PENDING))
