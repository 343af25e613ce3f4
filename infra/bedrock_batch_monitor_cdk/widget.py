"""The function behind the dashboard's widget.

The CloudWatch console invokes it with the permissions of the person who views the dashboard. So no
policy here allows invoking it: viewers need `lambda:InvokeFunction` in your own policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Duration
from constructs import Construct

from bedrock_batch_monitor import settings
from bedrock_batch_monitor_cdk.function import build_function, build_log_group
from bedrock_batch_monitor_cdk.function_roles import widget_role
from bedrock_batch_monitor_cdk.service import service_of

if TYPE_CHECKING:
    from bedrock_batch_monitor_cdk.config import MonitorConfig
    from bedrock_batch_monitor_cdk.events import Events
    from bedrock_batch_monitor_cdk.tables import Tables

_TIMEOUT: Final = Duration.seconds(30)


class Widget(Construct):
    """Reads the tables and returns the live table of jobs."""

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
        log_group = build_log_group(self, config, events.key)
        self.function = build_function(
            self,
            module="widget",
            description="Shows Bedrock batch inference jobs on the dashboard",
            config=config,
            role=widget_role(self, log_group, config=config, tables=tables, events=events),
            log_group=log_group,
            timeout=_TIMEOUT,
            environment={
                settings.JOBS_TABLE_NAME: tables.jobs.table_name,
                settings.HISTORY_TABLE_NAME: tables.history.table_name,
                **(
                    {settings.STATE_TABLE_NAME: tables.state.table_name}
                    if config.read_quotas
                    else {}
                ),
                "POWERTOOLS_SERVICE_NAME": service_of(self),
                "POWERTOOLS_LOG_LEVEL": config.log_level,
            },
        )
