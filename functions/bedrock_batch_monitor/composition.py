"""The composition root: turns the function's settings into a monitor that is ready to poll."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bedrock_batch_monitor.deliver import Courier
from bedrock_batch_monitor.domain.times import to_milliseconds
from bedrock_batch_monitor.observe import Observer
from bedrock_batch_monitor.poll import CONCURRENCY, Monitor
from bedrock_batch_monitor.services import dynamodb
from bedrock_batch_monitor.services.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.services.dynamodb import HistoryTable, JobsTable, StateTable
from bedrock_batch_monitor.services.eventbridge import EventBus

if TYPE_CHECKING:
    from collections.abc import Callable

    import boto3
    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.settings import Settings


def utc_now() -> datetime:
    """The time now, in the precision in which times are stored."""
    return to_milliseconds(datetime.now(UTC))


def compose(
    settings: Settings,
    session: boto3.Session,
    logger: Logger,
    clock: Callable[[], datetime] = utc_now,
) -> Monitor:
    """Build the monitor of the deployment's own account and region; makes no call."""
    client = dynamodb.connect(session, CONCURRENCY)
    history = HistoryTable(client, settings.history_table_name, settings.history_retention)
    jobs = JobsTable(client, settings.jobs_table_name, history)
    return Monitor(
        scope=settings.scope,
        jobs=jobs,
        state=StateTable(client, settings.state_table_name),
        observer=Observer(
            scope=settings.scope,
            bedrock=BatchInferenceJobs.connect(session, settings.scope.region, CONCURRENCY),
            jobs=jobs,
            history=history,
            clock=clock,
            rules=settings.rules,
        ),
        courier=Courier(
            bus=EventBus.connect(session, settings.event_bus_name, CONCURRENCY),
            jobs=jobs,
            history=history,
        ),
        clock=clock,
        logger=logger,
    )
