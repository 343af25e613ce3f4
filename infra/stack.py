"""The stack: one construct per capability, and the outputs that others hold on to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import CfnOutput, Stack

from infra.dashboard import Dashboard
from infra.events import Events
from infra.inbox import Inbox
from infra.monitor import Monitor, PollSchedule
from infra.tables import Tables

if TYPE_CHECKING:
    from constructs import Construct

    from infra.config import MonitorConfig

STACK_ID: Final = "BedrockBatchMonitor"


class MonitorStack(Stack):
    """The monitor of one account and region, those that it is deployed to."""

    def __init__(self, scope: Construct, construct_id: str, *, config: MonitorConfig) -> None:
        super().__init__(
            scope, construct_id, description="Monitors Amazon Bedrock batch inference jobs"
        )
        tables = Tables(self, "Tables", config)
        events = Events(self, "Events", config)
        monitor = Monitor(self, "Monitor", config=config, tables=tables, events=events)
        Inbox(self, "Inbox", config=config, tables=tables, events=events)
        PollSchedule(self, "Poll", config=config, function=monitor.function, events=events)
        dashboard = Dashboard(
            self, "Overview", function=monitor.function, dead_letters=events.dead_letters
        )

        self._output("JobsTableName", tables.jobs.table_name)
        self._output("HistoryTableName", tables.history.table_name)
        self._output("EventBusName", events.bus.event_bus_name)
        self._output("MonitorFunctionName", monitor.function.function_name)
        self._output("DeadLetterQueueUrl", events.dead_letters.queue_url)
        self._output("DashboardName", dashboard.dashboard.dashboard_name)

    def _output(self, name: str, value: str) -> None:
        CfnOutput(self, name, value=value)
