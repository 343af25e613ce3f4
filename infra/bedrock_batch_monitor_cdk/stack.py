"""The stack: a monitor and its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aws_cdk import Stack

from bedrock_batch_monitor import __version__
from bedrock_batch_monitor_cdk.construct import BedrockBatchMonitor
from bedrock_batch_monitor_cdk.deployed_settings import record_settings
from bedrock_batch_monitor_cdk.service import TRANSPARENT_ID

if TYPE_CHECKING:
    from aws_cdk import Environment
    from constructs import Construct

    from bedrock_batch_monitor_cdk.config import MonitorConfig

STACK_ID: Final = "BedrockBatchMonitor"
VERSION_TAG: Final = "bedrock-batch-monitor:version"


class MonitorStack(Stack):
    """The monitor of the account and Region that it is deployed to, and of others in the settings.

    `env` is that account and Region; it is needed only if the settings name others. Raises
    `ConfigError` if the settings do not fit it.
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
            scope,
            construct_id,
            description="Monitors Amazon Bedrock batch inference jobs",
            env=env,
            tags={VERSION_TAG: __version__},
        )
        record_settings(self, config)
        self.monitor = BedrockBatchMonitor(self, TRANSPARENT_ID, config=config)
        self.monitor.add_outputs()
