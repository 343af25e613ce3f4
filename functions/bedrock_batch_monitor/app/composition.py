"""The composition root: builds the monitor and the inbox from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_batch_monitor.adapters.bedrock import BatchInferenceJobs
from bedrock_batch_monitor.adapters.dynamodb.acks import Acks
from bedrock_batch_monitor.adapters.dynamodb.completed_jobs import CompletedJobs
from bedrock_batch_monitor.adapters.dynamodb.connection import connect
from bedrock_batch_monitor.adapters.dynamodb.history_table import HistoryTable
from bedrock_batch_monitor.adapters.dynamodb.jobs_table import JobsTable
from bedrock_batch_monitor.adapters.dynamodb.outbox_table import OutboxTable
from bedrock_batch_monitor.adapters.dynamodb.slots_table import SlotsTable
from bedrock_batch_monitor.adapters.dynamodb.state_table import StateTable
from bedrock_batch_monitor.adapters.dynamodb.tag_writes import TagWrites
from bedrock_batch_monitor.adapters.dynamodb.transition_writes import TransitionWrites
from bedrock_batch_monitor.adapters.dynamodb.usage_writes import UsageWrites
from bedrock_batch_monitor.adapters.eventbridge import EventBus
from bedrock_batch_monitor.adapters.s3 import Manifests
from bedrock_batch_monitor.adapters.service_quotas import BatchQuotas
from bedrock_batch_monitor.adapters.stepfunctions import TaskClient
from bedrock_batch_monitor.adapters.sts import RoleSessions
from bedrock_batch_monitor.app.clock import utc_now
from bedrock_batch_monitor.app.commands import Commands
from bedrock_batch_monitor.app.discover import Discoverer
from bedrock_batch_monitor.app.forecasts import Forecasts
from bedrock_batch_monitor.app.inbox_batch import Inbox
from bedrock_batch_monitor.app.models import Models
from bedrock_batch_monitor.app.poll import Monitor
from bedrock_batch_monitor.app.reconcile import Reconciler
from bedrock_batch_monitor.app.slots import SlotWatch
from bedrock_batch_monitor.app.tag_reads import TagReader, TagRetries
from bedrock_batch_monitor.app.usage import UsageReader, UsageRetries
from bedrock_batch_monitor.app.worker_pool import CONCURRENCY
from bedrock_batch_monitor.listing.list_scan import ListScan
from bedrock_batch_monitor.outbox.relay import Relay
from bedrock_batch_monitor.outbox.task_callbacks import TaskCallbacks

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aws_lambda_powertools import Logger

    from bedrock_batch_monitor.adapters.sdk import Session
    from bedrock_batch_monitor.app.notifier import Notifier
    from bedrock_batch_monitor.domain.arns import Scope
    from bedrock_batch_monitor.settings import Settings


def compose(
    settings: Settings,
    session: Session,
    logger: Logger,
    clock: Callable[[], datetime] = utc_now,
) -> Monitor:
    """Build the monitor of the deployment's own account and region; makes no call."""
    return Container(settings, session, clock, CONCURRENCY).monitor(settings.scope, logger)


def compose_inbox(
    settings: Settings, session: Session, clock: Callable[[], datetime] = utc_now
) -> Inbox:
    """Build what processes events and commands, one at a time; makes no call."""
    return Container(settings, session, clock, concurrency=1).inbox()


class Container:
    """What both functions are made of; what depends on no scope is there once, and shared."""

    def __init__(
        self,
        settings: Settings,
        session: Session,
        clock: Callable[[], datetime],
        concurrency: int,
    ) -> None:
        self.settings = settings
        self._session = session
        self._clock = clock
        self._concurrency = concurrency
        self._dynamodb = connect(session, concurrency)
        self._history = HistoryTable(
            self._dynamodb, settings.history_table_name, settings.history_retention
        )
        self._usage = (
            None
            if settings.usage is None
            else UsageReader(Manifests.connect(session, concurrency), settings.usage, clock)
        )
        self._outbox = OutboxTable(self._dynamodb, settings.outbox_table_name)
        jobs = (self._dynamodb, settings.jobs_table_name)
        self._jobs = JobsTable(*jobs)
        self._writes = TransitionWrites(*jobs, self._history, self._outbox)
        self._slots = SlotsTable(self._dynamodb, settings.state_table_name)
        self._completed = CompletedJobs(*jobs, settings.history_table_name)
        self._usage_writes = UsageWrites(*jobs)
        self._tag_writes = TagWrites(*jobs)
        acks = Acks(*jobs)
        record_messages = settings.rules.record_messages
        self._relay = Relay(
            bus=EventBus.connect(session, settings.event_bus_name, concurrency),
            jobs=acks,
            history=self._history,
            outbox=self._outbox,
            slots=self._slots,
            record_messages=record_messages,
            clock=clock,
        )
        self._callbacks = TaskCallbacks(
            tasks=TaskClient.connect(session, concurrency),
            outbox=self._outbox,
            jobs=acks,
            clock=clock,
            record_messages=record_messages,
        )
        self._reconcilers: dict[Scope, Reconciler] = {}
        members = settings.members
        self._roles = None if members is None else RoleSessions(session, members.external_id, clock)

    def monitor(self, scope: Scope, logger: Logger) -> Monitor:
        """The monitor of one of the deployment's scopes; makes no call."""
        reconciler = self.reconciler(scope)
        wanted = self.settings.wanted
        return Monitor(
            scope=scope,
            jobs=self._jobs,
            state=StateTable(self._dynamodb, self.settings.state_table_name),
            reconciler=reconciler,
            relay=self._relay,
            callbacks=self._callbacks,
            scan=ListScan(bedrock=reconciler.bedrock, rules=self.settings.rules, clock=self._clock),
            discoverer=(
                None
                if wanted is None
                else Discoverer(
                    bedrock=reconciler.bedrock,
                    jobs=self._jobs,
                    clock=self._clock,
                    wanted=wanted,
                    reach=self.settings.backfill,
                )
            ),
            clock=self._clock,
            logger=logger,
            keys=self.settings.scopes.keys_of(scope),
            home=self.settings.scope,
            usage=(
                None
                if self._usage is None
                else UsageRetries(self._usage, self._usage_writes, self._clock)
            ),
            tags=(
                None
                if reconciler.tags is None
                else TagRetries(reconciler.tags, self._tag_writes, self.settings.rules)
            ),
            slots=self._slot_watch(scope) if self.settings.read_quotas else None,
            forecasts=Forecasts(
                scope=scope,
                models=Models(self._jobs),
                completed=self._completed,
                clock=self._clock,
            ),
            new_notifier=self._notifier if any(self.settings.topic_arns) else None,
        )

    def _slot_watch(self, scope: Scope) -> SlotWatch:
        return SlotWatch(
            scope=scope,
            partition=self.settings.partition,
            models=Models(self._jobs),
            table=self._slots,
            quotas=BatchQuotas(self._session_for(scope), scope.region),
            clock=self._clock,
            emits_events=self.settings.emit_slots_available,
        )

    def _notifier(self) -> Notifier:
        """What notifies people; its modules and client are needed by few polls."""
        from bedrock_batch_monitor.adapters.sns import topics  # noqa: PLC0415
        from bedrock_batch_monitor.app.notifier import Notifier  # noqa: PLC0415

        return Notifier(*topics(self._session, *self.settings.topic_arns))

    def inbox(self) -> Inbox:
        """The inbox of every scope; makes no call."""
        return Inbox(
            monitored=self.settings.scopes,
            reconciler_of=self.reconciler,
            commands=Commands(self._jobs, self._outbox, self._clock),
            jobs=self._jobs,
            relay=self._relay,
            callbacks=self._callbacks,
            clock=self._clock,
            wanted=self.settings.wanted,
            takes_tasks=self.settings.task_tokens,
        )

    def reconciler(self, scope: Scope) -> Reconciler:
        """The reconciler of a scope, made when it is first needed; makes no call."""
        if scope not in self._reconcilers:
            bedrock = BatchInferenceJobs.connect(
                self._session_for(scope), scope.region, self._concurrency
            )
            self._reconcilers[scope] = Reconciler(
                scope=scope,
                monitored=self.settings.scopes,
                bedrock=bedrock,
                jobs=self._jobs,
                writes=self._writes,
                history=self._history,
                outbox=self._outbox,
                clock=self._clock,
                rules=self.settings.rules,
                usage=self._usage,
                tags=TagReader(bedrock, self._clock) if self.settings.rules.read_tags else None,
            )
        return self._reconcilers[scope]

    def _session_for(self, scope: Scope) -> Session:
        members = self.settings.members
        if scope.account == self.settings.scope.account or self._roles is None or members is None:
            return self._session
        return self._roles.of(members.arn_in(scope))
