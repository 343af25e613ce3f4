"""The tables as the dashboard's widget reads them: a bounded look, however many jobs there are.

It reads the index of active jobs up to a few pages, the endings of each status up to a page, and
the items of the jobs that are shown. All reads are eventually consistent: a table that people look
at every minute need not know of the last second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from bedrock_batch_monitor import contract
from bedrock_batch_monitor.adapters.dynamodb import connection, items
from bedrock_batch_monitor.adapters.dynamodb.connection import SERVICE
from bedrock_batch_monitor.adapters.dynamodb.slots_table import key_of, slot_state
from bedrock_batch_monitor.adapters.errors import ServiceError, calling
from bedrock_batch_monitor.adapters.sdk import pages_of
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.arns import Scope
from bedrock_batch_monitor.domain.slots import ModelSlots, slots_of
from bedrock_batch_monitor.domain.times import to_iso
from bedrock_batch_monitor.presentation.attention import concerns
from bedrock_batch_monitor.presentation.job_table import LiveView, in_order_of_need, newest_ended
from bedrock_batch_monitor.presentation.job_view import Job, job_of, models_in_use
from bedrock_batch_monitor.presentation.tally import ended_jobs, tally

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from bedrock_batch_monitor.adapters.sdk import Session
    from bedrock_batch_monitor.settings import OverviewSettings

# What is shown in full; together no more than a BatchGetItem takes.
ACTIVE_SHOWN: Final = 60
ENDED_SHOWN: Final = 40
# A page has a megabyte, which is some thousands of entries and 128 read units.
PAGES_OF_ACTIVE: Final = 4
_OF_INDEX: Final = (
    "jobArn",
    contract.TRACKING,
    "status",
    "changedAt",
    "lastError",
    "unreachableSince",
    contract.CONDITIONS,
)


class Overview:
    """The jobs and history tables, read for people to look at."""

    def __init__(self, client: DynamoDBClient, settings: OverviewSettings) -> None:
        self._client = client
        self._jobs_table = settings.jobs_table_name
        self._history_table = settings.history_table_name
        self._state_table = settings.state_table_name

    @classmethod
    def connect(cls, session: Session, settings: OverviewSettings) -> Overview:
        """A reader for one call at a time; makes no call."""
        return cls(connection.connect(session, concurrency=1), settings)

    def read(self, since: datetime, now: datetime) -> LiveView:
        """The active jobs and those that have ended since then; raises `ServiceError`."""
        active, active_is_partial = self._active()
        ended, ended_is_partial = self._ended(since)
        # An end is final, also if the item was put again and has not been polled since.
        final = {job.arn for job in ended}
        active = [job for job in active if job.arn not in final]
        newest = newest_ended(ended, ENDED_SHOWN, now)
        nominated = in_order_of_need(active, now)[:ACTIVE_SHOWN]
        found = self._whole([*(job.arn for job in nominated), *(job.arn for job in newest)])
        # By now a job may have ended that the index has as active; the item decides.
        shown = [found.get(job.arn, job) for job in nominated]
        by_status = tally(active).by_status
        by_status.subtract(
            indexed.shown_status
            for indexed, job in zip(nominated, shown, strict=True)
            if not job.is_active
        )
        return LiveView(
            active=in_order_of_need([job for job in shown if job.is_active], now),
            ended=ended_jobs(newest, found),
            active_by_status=+by_status,
            ended_by_status=tally(ended).by_status,
            since=since,
            active_is_partial=active_is_partial,
            ended_is_partial=ended_is_partial,
            needing_attention=len(concerns((*active, *ended), now)),
            slots=() if active_is_partial or len(active) > ACTIVE_SHOWN else self._slots(shown),
        )

    def _active(self) -> tuple[list[Job], bool]:
        pages = pages_of(
            SERVICE,
            self._client.get_paginator("query").paginate(
                TableName=self._jobs_table,
                IndexName=contract.ACTIVE_JOBS_INDEX,
                KeyConditionExpression=f"{contract.TRACKING} = :active",
                ExpressionAttributeValues={":active": items.text(contract.TRACKING_ACTIVE)},
                ProjectionExpression=", ".join(f"#{index}" for index in range(len(_OF_INDEX))),
                ExpressionAttributeNames={
                    f"#{index}": name for index, name in enumerate(_OF_INDEX)
                },
            ),
        )
        found: list[Job] = []
        last: Mapping[str, Any] = {}
        for page in islice(pages, PAGES_OF_ACTIVE):
            found.extend(job_of(items.plain(item)) for item in page["Items"])
            last = page.get("LastEvaluatedKey", {})
        return found, bool(last)

    def _ended(self, since: datetime) -> tuple[tuple[Job, ...], bool]:
        """The jobs that ended, as the history shows them."""
        found: list[Job] = []
        is_partial = False
        for status in statuses.TERMINAL:
            with calling(SERVICE):
                page = self._client.query(
                    TableName=self._history_table,
                    IndexName=contract.BY_STATUS_INDEX,
                    KeyConditionExpression="#status = :status AND observedAt >= :since",
                    ExpressionAttributeNames={"#status": "status", "#sequence": "sequence"},
                    ExpressionAttributeValues={
                        ":status": items.text(status),
                        ":since": items.text(to_iso(since)),
                    },
                    ProjectionExpression="jobArn, #sequence, #status, observedAt, "
                    f"changedAt, jobName, modelId, {contract.OUTCOME}",
                    ScanIndexForward=False,
                )
            is_partial = is_partial or bool(page.get("LastEvaluatedKey"))
            found.extend(job_of(items.plain(item)) for item in page["Items"])
        return ended_jobs(found, {}), is_partial

    def _slots(self, jobs: Sequence[Job]) -> tuple[tuple[Scope, ModelSlots], ...]:
        """The slots of these active jobs, where quotas are known; the index has no models."""
        by_scope = models_in_use(jobs)
        if self._state_table is None or not by_scope:
            return ()
        keys = [key_of(scope) for scope in by_scope]
        try:
            with calling(SERVICE):
                answer = self._client.batch_get_item(
                    RequestItems={self._state_table: {"Keys": keys}}
                )
        except ServiceError:
            # The jobs are shown without them. A poll that cannot read the table reports it.
            return ()
        found = {
            item[contract.STATE_KEY]["S"]: item
            for item in answer["Responses"].get(self._state_table, ())
        }
        shown = []
        for scope, models in by_scope.items():
            try:
                limits = slot_state(found.get(contract.slots_key(str(scope)), {})).limits
            except items.InvalidItemError:
                # The poll reports it.
                continue
            if limits:
                shown += [(scope, each) for each in slots_of(models, limits)]
        return tuple(shown)

    def _whole(self, arns: list[str]) -> dict[str, Job]:
        """The items of these jobs by ARN.

        A key that DynamoDB leaves unprocessed is not asked for again: of that job the widget shows
        what the index knows, and the next refresh the rest.
        """
        keys = [{"jobArn": items.text(arn)} for arn in dict.fromkeys(arns)]
        if not keys:
            return {}
        with calling(SERVICE):
            answer = self._client.batch_get_item(RequestItems={self._jobs_table: {"Keys": keys}})
        jobs = (job_of(items.plain(item)) for item in answer["Responses"].get(self._jobs_table, ()))
        return {job.arn: job for job in jobs}
