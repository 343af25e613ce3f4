"""The stack: one construct per capability, and the outputs that others hold on to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import CfnOutput, Stack

from bedrock_batch_monitor_cdk.alarms import Alarms
from bedrock_batch_monitor_cdk.dashboard import Dashboard
from bedrock_batch_monitor_cdk.encryption import customer_key
from bedrock_batch_monitor_cdk.events import Events
from bedrock_batch_monitor_cdk.inbox import Inbox
from bedrock_batch_monitor_cdk.monitor import Monitor, PollSchedule
from bedrock_batch_monitor_cdk.tables import Tables

if TYPE_CHECKING:
    from constructs import Construct

    from bedrock_batch_monitor_cdk.config import MonitorConfig

STACK_ID: Final = "BedrockBatchMonitor"


class MonitorStack(Stack):
    """The monitor of one account and region, those that it is deployed to."""

    def __init__(self, scope: Construct, construct_id: str, *, config: MonitorConfig) -> None:
        super().__init__(
            scope, construct_id, description="Monitors Amazon Bedrock batch inference jobs"
        )
        key = customer_key(self, config)
        tables = Tables(self, "Tables", config, key)
        events = Events(self, "Events", config, key)
        monitor = Monitor(self, "Monitor", config=config, tables=tables, events=events)
        inbox = Inbox(self, "Inbox", config=config, tables=tables, events=events)
        PollSchedule(self, "Poll", config=config, function=monitor.function, events=events)
        alarms = Alarms(
            self,
            "Alarms",
            config=config,
            function=monitor.function,
            events=events,
        )
        dashboard = Dashboard(
            self,
            "Overview",
            alarms=alarms.alarms,
            functions={"monitor": monitor.function, "inbox": inbox.function},
            queues={"dead letters": events.dead_letters, "inbox": inbox.queue},
        )

        self._output("JobsTableName", tables.jobs.table_name)
        self._output("HistoryTableName", tables.history.table_name)
        self._output("EventBusName", events.bus.event_bus_name)
        self._output("MonitorFunctionName", monitor.function.function_name)
        self._output("DeadLetterQueueUrl", events.dead_letters.queue_url)
        self._output("DashboardName", dashboard.dashboard.dashboard_name)

    def _output(self, name: str, value: str) -> None:
        CfnOutput(self, name, value=value)
