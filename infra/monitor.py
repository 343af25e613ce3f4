"""The monitor function and the schedule that invokes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from bedrock_batch_monitor import settings
from bedrock_batch_monitor.domain import names
from infra.bundling import function_code
from infra.permissions import monitor_role, schedule_role

if TYPE_CHECKING:
    from infra.config import MonitorConfig
    from infra.events import Events
    from infra.tables import Tables

HANDLER: Final = "bedrock_batch_monitor.handlers.monitor.handler"

_SECONDS_BETWEEN_POLLS: Final = 5
_LONGEST_TIMEOUT_SECONDS: Final = 900
_SCHEDULER_RETRIES: Final = 2


class Monitor(Construct):
    """Reads the active jobs from Bedrock, records their transitions and sends their events."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: MonitorConfig,
        tables: Tables,
        events: Events,
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self.log_group = self._build_log_group()
        self.function = self._build_function(tables, events)

    def _build_log_group(self) -> logs.LogGroup:
        return logs.LogGroup(
            self,
            "Log",
            retention=self._config.log_retention,
            # What a deployment leaves behind is in the tables; its log goes with it.
            removal_policy=RemovalPolicy.DESTROY,
        )

    def _build_function(self, tables: Tables, events: Events) -> lambda_.Function:
        return lambda_.Function(
            self,
            "Function",
            description="Polls Bedrock batch inference jobs, records changes, sends events",
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            handler=HANDLER,
            code=function_code(),
            role=monitor_role(self, tables, events.bus, self.log_group),
            memory_size=self._config.function_memory_megabytes,
            timeout=_timeout(self._config),
            environment=self._environment(tables, events),
            log_group=self.log_group,
            # Every line that the function writes is JSON already. Lambda's own JSON format would
            # bring a second log level, which drops what Powertools was told to let through.
            logging_format=lambda_.LoggingFormat.TEXT,
            # The next scheduled poll is the retry of a failed one.
            retry_attempts=0,
            max_event_age=_interval(self._config),
            on_failure=destinations.SqsDestination(events.dead_letters),
        )

    def _environment(self, tables: Tables, events: Events) -> dict[str, str]:
        stack = Stack.of(self)
        environment = {
            settings.JOBS_TABLE_NAME: tables.jobs.table_name,
            settings.HISTORY_TABLE_NAME: tables.history.table_name,
            settings.STATE_TABLE_NAME: tables.state.table_name,
            settings.EVENT_BUS_NAME: events.bus.event_bus_name,
            settings.MONITORED_ACCOUNT: stack.account,
            settings.MONITORED_REGION: stack.region,
            settings.EMIT_STATUS_CHANGES: "true" if self._config.emit_status_changes else "false",
            settings.PROGRESS_INTERVAL_MINUTES: str(self._config.progress_interval_minutes),
            "POWERTOOLS_SERVICE_NAME": stack.stack_name,
            "POWERTOOLS_METRICS_NAMESPACE": names.METRICS_NAMESPACE,
            "POWERTOOLS_LOG_LEVEL": self._config.log_level,
        }
        if self._config.history_retention_days is not None:
            environment[settings.HISTORY_RETENTION_DAYS] = str(self._config.history_retention_days)
        return environment


class PollSchedule(Construct):
    """Invokes the monitor function at a fixed rate with the payload `{}`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: MonitorConfig,
        function: lambda_.IFunction,
        events: Events,
    ) -> None:
        super().__init__(scope, construct_id)
        self.schedule = scheduler.Schedule(
            self,
            "Schedule",
            description="Polls Bedrock batch inference jobs",
            schedule=scheduler.ScheduleExpression.rate(_interval(config)),
            time_window=scheduler.TimeWindow.off(),
            target=targets.LambdaInvoke(
                function,
                input=scheduler.ScheduleTargetInput.from_object({}),
                # A poll that could not be started within its interval is the next one's work.
                retry_attempts=_SCHEDULER_RETRIES,
                max_event_age=_interval(config),
                dead_letter_queue=events.dead_letters,
                role=schedule_role(self, function, events.dead_letters),
            ),
        )


def _interval(config: MonitorConfig) -> Duration:
    return Duration.minutes(config.poll_interval_minutes)


def _timeout(config: MonitorConfig) -> Duration:
    """End a poll before the next is due.

    Overlapping polls do no harm to what is recorded, but they read every job twice and share the
    same request limits, so a slow poll would make the following ones slower still. The monitor
    itself stops in good time before the time-out and leaves the rest to the next poll.
    """
    until_next = config.poll_interval_minutes * 60 - _SECONDS_BETWEEN_POLLS
    return Duration.seconds(min(until_next, _LONGEST_TIMEOUT_SECONDS))
