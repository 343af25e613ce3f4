"""The stack: a monitor, and the outputs that others hold on to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Stack

from bedrock_batch_monitor_cdk.construct import BedrockBatchMonitor
from bedrock_batch_monitor_cdk.service import TRANSPARENT_ID

if TYPE_CHECKING:
    from aws_cdk import Environment
    from constructs import Construct

    from bedrock_batch_monitor_cdk.config import MonitorConfig

STACK_ID: Final = "BedrockBatchMonitor"


class MonitorStack(Stack):
    """The monitor of the account and region that it is deployed to, and of others that are named.

    `env` says which account and region that is; it is needed only where others are named. Raises
    `ConfigError` where the settings do not fit it.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: MonitorConfig,
        env: Environment | None = None,
    ) -> None:
        super().__init__(
            scope, construct_id, description="Monitors Amazon Bedrock batch inference jobs", env=env
        )
        self.monitor = BedrockBatchMonitor(self, TRANSPARENT_ID, config=config)
        self.monitor.add_outputs()
