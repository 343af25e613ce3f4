"""The composition root: turns the settings into a monitor, or an inbox, that is ready to work."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bedrock_batch_monitor.deliver import Courier
from bedrock_batch_monitor.discover import Discoverer
from bedrock_batch_monitor.domain.times import to_milliseconds
from bedrock_batch_monitor.inbox import Inbox
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
    parts = _Parts(settings, session, clock, CONCURRENCY)
    return Monitor(
        scope=settings.scope,
        jobs=parts.jobs,
        state=StateTable(parts.client, settings.state_table_name),
        observer=parts.observer,
        courier=parts.courier,
        discoverer=(
            None
            if settings.discovery_prefix is None
            else Discoverer(
                bedrock=parts.observer.bedrock,
                jobs=parts.jobs,
                clock=clock,
                prefix=settings.discovery_prefix,
            )
        ),
        clock=clock,
        logger=logger,
    )


def compose_inbox(
    settings: Settings, session: boto3.Session, clock: Callable[[], datetime] = utc_now
) -> Inbox:
    """Build what follows events and commands, one at a time; makes no call."""
    parts = _Parts(settings, session, clock, concurrency=1)
    return Inbox(
        observer=parts.observer,
        jobs=parts.jobs,
        courier=parts.courier,
        clock=clock,
        discovery_prefix=settings.discovery_prefix,
    )


class _Parts:
    """What both functions are made of."""

    def __init__(
        self,
        settings: Settings,
        session: boto3.Session,
        clock: Callable[[], datetime],
        concurrency: int,
    ) -> None:
        self.client = dynamodb.connect(session, concurrency)
        history = HistoryTable(self.client, settings.history_table_name, settings.history_retention)
        self.jobs = JobsTable(self.client, settings.jobs_table_name, history)
        self.observer = Observer(
            scope=settings.scope,
            bedrock=BatchInferenceJobs.connect(session, settings.scope.region, concurrency),
            jobs=self.jobs,
            history=history,
            clock=clock,
            rules=settings.rules,
        )
        self.courier = Courier(
            bus=EventBus.connect(session, settings.event_bus_name, concurrency),
            jobs=self.jobs,
            history=history,
        )
