"""The monitor as one construct, for any CDK app: its resources, outputs and grants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_events as eventbridge
from constructs import Construct

from bedrock_batch_monitor import __version__, contract
from bedrock_batch_monitor.domain import statuses
from bedrock_batch_monitor.domain.event_kinds import ENDED, UNREACHABLE
from bedrock_batch_monitor.domain.outcomes import OUTCOMES
from bedrock_batch_monitor_cdk import grants
from bedrock_batch_monitor_cdk.alarms import Alarms
from bedrock_batch_monitor_cdk.config import MonitorConfig
from bedrock_batch_monitor_cdk.dashboard import Dashboard, dashboard_name
from bedrock_batch_monitor_cdk.encryption import customer_key
from bedrock_batch_monitor_cdk.events import Events
from bedrock_batch_monitor_cdk.inbox import Inbox
from bedrock_batch_monitor_cdk.monitor import Monitor, PollSchedule
from bedrock_batch_monitor_cdk.multi_scope import multi_scope_of
from bedrock_batch_monitor_cdk.notifications import Notifications
from bedrock_batch_monitor_cdk.record_errors import RecordErrors
from bedrock_batch_monitor_cdk.schema_registry import SchemaRegistry
from bedrock_batch_monitor_cdk.service import name_service
from bedrock_batch_monitor_cdk.tables import Tables
from bedrock_batch_monitor_cdk.widget import Widget

if TYPE_CHECKING:
    from aws_cdk import aws_cloudwatch as cloudwatch
    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_eventschemas as eventschemas
    from aws_cdk import aws_iam as iam
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_sns as sns
    from aws_cdk import aws_sqs as sqs


class BedrockBatchMonitor(Construct):
    """The monitor of its stack's account and Region, and of others that the settings name.

    `config` holds the settings; without it every setting has its default. With `regions` or
    `accounts` the stack needs an `env`. Raises `ConfigError` if the settings do not fit it, or
    exceed a limit of AWS together.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: MonitorConfig | None = None
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config = config or MonitorConfig()
        name_service(self)
        multi_scope = multi_scope_of(self, config)
        key = customer_key(self, config)
        self._tables = tables = Tables(self, "Tables", config, key)
        self._events = events = Events(self, "Events", config, key, multi_scope)
        self._notifications = (
            Notifications(self, "Notifications", config=config, events=events)
            if config.notifies
            else None
        )
        self._monitor = Monitor(
            self,
            "Monitor",
            config=config,
            tables=tables,
            events=events,
            topics=self._topics_of_polls(),
        )
        self._inbox = Inbox(self, "Inbox", config=config, tables=tables, events=events)
        self._record_errors = (
            RecordErrors(self, "RecordErrors", config=config, tables=tables, events=events)
            if config.reads_record_errors
            else None
        )
        PollSchedule(self, "Poll", config=config, function=self.function, events=events)
        self._alarms = Alarms(
            self,
            "Alarms",
            config=config,
            events=events,
            inbox=self._inbox.queue,
            dashboard_name=dashboard_name(self),
        )
        widget = Widget(self, "Widget", config=config, tables=tables, events=events)
        self._schemas = SchemaRegistry(self, "Schemas") if config.schema_registry else None
        self._dashboard = self._build_dashboard(widget)
        # Rules that others add, in a scope apart from the construct's own names.
        self._rules = Construct(self, "Rules")

    def _topics_of_polls(self) -> Mapping[str, sns.Topic]:
        """The topics to which the monitor function itself publishes."""
        if self._notifications is None or UNREACHABLE.name not in self._config.notified_outcomes:
            return {}
        return self._notifications.topics

    def _build_dashboard(self, widget: Widget) -> Dashboard:
        functions = {"monitor": self._monitor.function, "inbox": self._inbox.function}
        if self._notifications is not None:
            functions["notifications"] = self._notifications.function
        queues = {"dead letters": self.dead_letter_queue, "inbox": self._inbox.queue}
        if self._record_errors is not None:
            functions["record errors"] = self._record_errors.function
            queues["record errors"] = self._record_errors.queue
        return Dashboard(
            self,
            "Overview",
            alarms=self.alarms,
            functions=functions,
            widget=widget.function,
            logs=[self._monitor.log_group, self._inbox.log_group],
            queues=queues,
            tables={"jobs": self.jobs_table, "history": self.history_table},
            poll_interval=Duration.minutes(self._config.poll_interval_minutes),
            by_scope=self._events.multi_scope is not None,
            shows_usage=self._config.output_buckets is not None,
        )

    @property
    def jobs_table(self) -> dynamodb.TableV2:
        """One item per tracked job."""
        return self._tables.jobs

    @property
    def history_table(self) -> dynamodb.TableV2:
        """One item per observed status transition."""
        return self._tables.history

    @property
    def event_bus(self) -> eventbridge.EventBus:
        """The bus that the monitor sends events to and receives commands from."""
        return self._events.bus

    @property
    def function(self) -> lambda_.Function:
        """The monitor function: invoked with the payload `{}`, it runs one poll."""
        return self._monitor.function

    @property
    def dead_letter_queue(self) -> sqs.Queue:
        """The queue of messages that could not be delivered or handled."""
        return self._events.dead_letters

    @property
    def failed_polls_queue(self) -> sqs.Queue:
        """The queue that says for one day why a poll failed or did not start."""
        return self._events.failed_polls

    @property
    def dashboard(self) -> cloudwatch.Dashboard:
        """The dashboard with alarms, jobs and metrics."""
        return self._dashboard.dashboard

    @property
    def alarms(self) -> Sequence[cloudwatch.IAlarm]:
        """The alarms on the monitor itself."""
        return tuple(self._alarms.alarms)

    @property
    def alarm_topic(self) -> sns.Topic:
        """The topic that the alarms report to."""
        return self._alarms.topic

    @property
    def email_topic(self) -> sns.Topic | None:
        """The topic of the emails about jobs; None without `notifyEmail`."""
        return None if self._notifications is None else self._notifications.email_topic

    @property
    def chat_topic(self) -> sns.Topic | None:
        """The topic for Amazon Q Developer; None without `notifyChat`."""
        return None if self._notifications is None else self._notifications.chat_topic

    @property
    def schema_registry(self) -> eventschemas.CfnRegistry | None:
        """The registry of the events' schemas; None without `schemaRegistry`."""
        return None if self._schemas is None else self._schemas.registry

    def on_job_ended(
        self,
        rule_id: str,
        target: eventbridge.IRuleTarget | None = None,
        *,
        statuses: Sequence[str] | None = None,
        outcomes: Sequence[str] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> eventbridge.Rule:
        """A rule on the bus that sends `Batch Inference Job Ended` to a target.

        `statuses` limits it to some of the five terminal statuses, such as `["Failed", "Expired"]`,
        `outcomes` to some outcomes, such as `["AllRecordsFailed"]`. `data` is a further
        EventBridge pattern for `detail.data`: `{"jobName": [{"prefix": "nightly-"}]}`. Raises
        `ValueError` for another status or outcome.
        """
        return eventbridge.Rule(
            self._rules,
            rule_id,
            event_bus=self.event_bus,
            event_pattern=_job_ended(statuses, outcomes, data or {}),
            targets=[] if target is None else [target],
        )

    def grant_track(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow tracking and untracking jobs by hand in the jobs table: two attributes, no more.

        `bbm track` needs more, because it reads before it writes: see `docs/command-line.md`.
        """
        return grants.grant_track(grantee, self._tables, self._events.key)

    def grant_send_commands(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow tracking and untracking jobs by commands on the bus, and sending no other event."""
        return grants.grant_send_commands(grantee, self.event_bus)

    def grant_query(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow reading both tables by key and by index, also in PartiQL; no scans."""
        return grants.grant_query(grantee, self._tables, self._events.key)

    def add_outputs(self) -> None:
        """Add the stack outputs that `bbm` and the commands of the documentation use."""
        outputs = {
            "JobsTableName": self.jobs_table.table_name,
            "HistoryTableName": self.history_table.table_name,
            "StateTableName": self._tables.state.table_name,
            "EventBusName": self.event_bus.event_bus_name,
            "MonitorFunctionName": self.function.function_name,
            "DeadLetterQueueUrl": self.dead_letter_queue.queue_url,
            "FailedPollsQueueUrl": self.failed_polls_queue.queue_url,
            "DashboardName": self.dashboard.dashboard_name,
            "AlarmTopicArn": self.alarm_topic.topic_arn,
            "Version": __version__,
        }
        if not self._config.record_messages:
            # `bbm replay` then publishes no message, even if one was recorded earlier.
            outputs["RecordMessages"] = "false"
        if self._events.multi_scope is not None:
            outputs["EventBusArn"] = self.event_bus.event_bus_arn
        if self.email_topic is not None:
            outputs["EmailTopicArn"] = self.email_topic.topic_arn
        if self.chat_topic is not None:
            outputs["ChatTopicArn"] = self.chat_topic.topic_arn
        if self.schema_registry is not None:
            outputs["SchemaRegistryName"] = self.schema_registry.attr_registry_name
        for name, value in outputs.items():
            CfnOutput(Stack.of(self), name, value=value)


def _job_ended(
    wanted_statuses: Sequence[str] | None,
    wanted_outcomes: Sequence[str] | None,
    data: Mapping[str, Any],
) -> eventbridge.EventPattern:
    for name, key, wanted, known in (
        ("statuses", contract.STATUS, wanted_statuses, statuses.TERMINAL),
        ("outcomes", contract.OUTCOME, wanted_outcomes, tuple(OUTCOMES)),
    ):
        if wanted is None:
            continue
        if isinstance(wanted, str) or not wanted or not set(wanted) <= set(known):
            message = f"{name} is {wanted!r}: it must be a list out of {', '.join(known)}"
            raise ValueError(message)
        if key in data:
            message = f"data has the key {key!r}, and so has the rule from `{name}`: give one"
            raise ValueError(message)
        data = {key: list(wanted), **data}
    return eventbridge.EventPattern(
        source=[contract.EVENT_SOURCE],
        detail_type=[ENDED.detail_type],
        detail={"data": dict(data)} if data else None,
    )
